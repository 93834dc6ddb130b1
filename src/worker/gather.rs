//! Waits for much: where long content comes fast, a worker is not woken for each piece of it, but for 128 KiB at a time.
//!
//! The kernel does the counting (`SO_RCVLOWAT`), and the exchange says for how much it waits. What is here bounds the wait: a sender
//! that pauses with less than that on the way is looked at after a moment, and from then on its octets are waited for one by one.

use super::arena::Key;
use super::client::{Active, Client};
use super::desk::Desk;
use super::reactor::Worker;
use crate::exchange::{ANY_BYTES, Readiness, Side};
use crate::net::socket;
use std::time::Duration;

/// How long an exchange waits for much; a poll rounds it up to the next millisecond.
const GATHER_TIME: Duration = Duration::from_millis(2);

const SIDES: [Side; 2] = [Side::Client, Side::Backend];

impl Worker {
    /// Exchanges that have waited for much long enough go on with what there is.
    pub(super) fn end_gathering(&mut self) {
        let now = self.desk.clock.now;
        while let Some(&(at, key)) = self.desk.gathering.front()
            && at <= now
        {
            self.desk.gathering.pop_front();
            let Some(client) = self.clients.get_mut(key) else { continue };
            client.gathering = false;
            let Some(active) = &mut client.active else { continue };
            let waiting = SIDES.map(|side| *active.low_water(side) > ANY_BYTES);
            let until = active.waits_since.after(GATHER_TIME);
            if waiting == [false, false] {
                continue;
            }
            if until > now {
                // It went on meanwhile, and waits again.
                client.gathering = true;
                self.desk.gathering.push_back((until, key));
                continue;
            }
            for (side, _) in SIDES.into_iter().zip(waiting).filter(|&(_, waits)| waits) {
                active.exchange.ready(side, Readiness { readable: true, ..Readiness::default() });
            }
            self.drive(key);
        }
    }
}

impl Desk {
    /// A wait begins: sockets tell of whatever comes, or only of much.
    pub(super) fn gather(&mut self, key: Key, client: &mut Client, active: &mut Active) {
        let mut gathers = false;
        for side in SIDES {
            let before = *active.low_water(side);
            if let Some(count) = active.exchange.waits_for(side, before) {
                self.tell_from(client, active, side, count);
                gathers |= *active.low_water(side) > ANY_BYTES;
            }
        }
        if gathers {
            active.waits_since = self.clock.now;
            if !std::mem::replace(&mut client.gathering, true) {
                self.gathering.push_back((self.clock.now.after(GATHER_TIME), key));
            }
        }
    }

    /// Has that side's socket tell of so many octets; where the system cannot, it is left as it was.
    pub(super) fn tell_from(&self, client: &Client, active: &mut Active, side: Side, count: usize) {
        if *active.low_water(side) != count
            && let Some(socket) = self.socket(client, active, side)
            && socket::tell_from(socket, count).is_ok()
        {
            *active.low_water(side) = count;
        }
    }
}
