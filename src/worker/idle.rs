//! Idle backend connections of one worker. The newest is used first: it is the least likely to have been
//! closed.

use crate::base::Key;
use crate::route::endpoint::EndpointId;
use std::collections::VecDeque;

/// Idle connections of one endpoint in one worker. Connections above this number are closed.
const IDLE_MAX: usize = 4096;

#[derive(Debug, Default)]
struct Stack {
    generation: u32,
    /// Connections that were quiet for at least one complete poll, oldest first. The oldest are usually the
    /// first to end.
    resting: VecDeque<Key>,
    /// Connections parked since the last complete poll. The next complete poll reports data that a backend
    /// sent after its response, so they are not used until then.
    parked: Vec<Key>,
    /// The slot is listed in [`Idle::parked_slots`].
    is_listed: bool,
}

/// An idle connection, taken for use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rested {
    pub(super) key: Key,
    /// The last poll was complete and reported nothing for it. If false, the caller must probe the
    /// connection.
    pub(super) is_quiet: bool,
}

/// Stacks by slot of the endpoint. Keys may be stale: a closed connection is detected when its key is taken.
#[derive(Debug, Default)]
pub(super) struct Idle {
    stacks: Vec<Stack>,
    /// Slots with parked connections.
    parked_slots: Vec<u32>,
    /// The last poll was not complete: further events are pending.
    is_behind: bool,
}

impl Idle {
    /// Parks a connection to an endpoint. At [`IDLE_MAX`] connections its key is returned.
    pub(super) fn park(&mut self, endpoint: EndpointId, key: Key) -> Result<(), Key> {
        let slot = endpoint.slot as usize;
        if slot >= self.stacks.len() {
            self.stacks.resize_with(slot + 1, Stack::default);
        }
        let stack = &mut self.stacks[slot];
        if stack.generation != endpoint.generation {
            // A slot is reused only after the last connection to its previous endpoint closed: these keys are
            // stale.
            stack.resting.clear();
            stack.parked.clear();
            stack.generation = endpoint.generation;
        }
        if stack.resting.len() + stack.parked.len() >= IDLE_MAX {
            return Err(key);
        }
        if !std::mem::replace(&mut stack.is_listed, true) {
            self.parked_slots.push(endpoint.slot);
        }
        stack.parked.push(key);
        Ok(())
    }

    /// Pops the newest connection that survived a complete poll. After an incomplete poll it falls back to
    /// one parked since; then the caller must probe it. The connection may have been closed.
    pub(super) fn take(&mut self, endpoint: EndpointId) -> Option<Rested> {
        let stack = self.stacks.get_mut(endpoint.slot as usize)?;
        if stack.generation != endpoint.generation {
            return None;
        }
        if let Some(key) = stack.resting.pop_back() {
            // An incomplete poll may have left out an event of this connection.
            return Some(Rested { key, is_quiet: !self.is_behind });
        }
        let key = if self.is_behind { stack.parked.pop()? } else { return None };
        Some(Rested { key, is_quiet: false })
    }

    /// Removes connections that are closed or lead to a retired endpoint.
    pub(super) fn drain_gone(&mut self, is_gone: impl Fn(Key) -> bool) -> Vec<Key> {
        let mut gone = Vec::new();
        let mut keeps = |key: &Key| {
            let is_gone = is_gone(*key);
            if is_gone {
                gone.push(*key);
            }
            !is_gone
        };
        for stack in &mut self.stacks {
            stack.resting.retain(&mut keeps);
            stack.parked.retain(&mut keeps);
        }
        gone
    }

    /// A poll reported connections that are not quiet: all of them, or some if it was full or interrupted.
    pub(super) fn polled(&mut self, is_full: bool) {
        self.is_behind = is_full;
        if is_full {
            return;
        }
        for slot in self.parked_slots.drain(..) {
            let stack = &mut self.stacks[slot as usize];
            stack.is_listed = false;
            stack.resting.extend(stack.parked.drain(..));
        }
    }

    /// Copies its lists into blocks of minimal size, where the allocator has room now.
    pub(super) fn trim(&mut self) {
        for stack in &mut self.stacks {
            stack.resting = stack.resting.clone();
            stack.parked = stack.parked.clone();
        }
    }

    /// Removes a connection that ended while idle.
    pub(super) fn forget(&mut self, endpoint: EndpointId, key: Key) {
        if let Some(stack) = self.stacks.get_mut(endpoint.slot as usize) {
            if let Some(at) = stack.resting.iter().position(|&other| other == key) {
                stack.resting.remove(at);
            } else if let Some(at) = stack.parked.iter().position(|&other| other == key) {
                stack.parked.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::Kind;
    use super::*;

    const ENDPOINT: EndpointId = EndpointId { slot: 3, generation: 1 };

    fn key(index: u32) -> Key {
        Key::new(Kind::Backend as u8, 1, index)
    }

    fn quiet(index: u32) -> Rested {
        Rested { key: key(index), is_quiet: true }
    }

    fn untold(index: u32) -> Rested {
        Rested { key: key(index), is_quiet: false }
    }

    #[test]
    fn newest_first_and_only_after_a_poll() {
        let mut idle = Idle::default();
        for index in 0..3 {
            assert_eq!(idle.park(ENDPOINT, key(index)), Ok(()));
        }
        assert_eq!(idle.take(ENDPOINT), None);
        idle.polled(false);
        idle.forget(ENDPOINT, key(1));
        assert_eq!(
            [idle.take(ENDPOINT), idle.take(ENDPOINT), idle.take(ENDPOINT)],
            [Some(quiet(2)), Some(quiet(0)), None]
        );
    }

    #[test]
    fn polls_that_are_full_for_long_leave_the_pool_usable() {
        let mut idle = Idle::default();
        assert_eq!(idle.park(ENDPOINT, key(0)), Ok(()));
        idle.polled(false);
        for round in 0..1_000 {
            // It is taken before connections that no poll covered.
            idle.polled(true);
            for index in 1..3 {
                assert_eq!(idle.park(ENDPOINT, key(index)), Ok(()));
            }
            assert_eq!(idle.take(ENDPOINT), if round == 0 { Some(untold(0)) } else { Some(untold(2)) });
            assert_eq!(idle.take(ENDPOINT), if round == 0 { Some(untold(2)) } else { Some(untold(1)) });
            assert_eq!(idle.take(ENDPOINT), if round == 0 { Some(untold(1)) } else { None });
            assert_eq!(idle.parked_slots.len(), 1);
        }
        assert_eq!(idle.park(ENDPOINT, key(3)), Ok(()));
        idle.polled(false);
        assert_eq!((idle.take(ENDPOINT), idle.parked_slots.len()), (Some(quiet(3)), 0));
        assert_eq!(idle.park(ENDPOINT, key(4)), Ok(()));
        assert_eq!(idle.take(ENDPOINT), None);
    }

    #[test]
    fn a_new_endpoint_in_the_slot_gets_none_of_the_old() {
        let mut idle = Idle::default();
        assert_eq!(idle.park(ENDPOINT, key(0)), Ok(()));
        idle.polled(false);
        let next = EndpointId { generation: 2, ..ENDPOINT };
        assert_eq!(idle.take(next), None);
        // Its connections were closed; otherwise the slot would not be reused.
        assert_eq!(idle.park(next, key(1)), Ok(()));
        idle.polled(false);
        assert_eq!((idle.take(ENDPOINT), idle.take(next), idle.take(next)), (None, Some(quiet(1)), None));
    }

    #[test]
    fn what_leads_to_endpoints_that_went_is_taken_out() {
        let mut idle = Idle::default();
        let other = EndpointId { slot: 0, generation: 7 };
        for (endpoint, index) in [(ENDPOINT, 0), (ENDPOINT, 1), (other, 2)] {
            assert_eq!(idle.park(endpoint, key(index)), Ok(()));
            idle.polled(false);
        }
        assert_eq!(idle.park(ENDPOINT, key(3)), Ok(()));
        assert_eq!(idle.drain_gone(|gone| gone == key(1) || gone == key(3)), [key(1), key(3)]);
        idle.polled(false);
        assert_eq!((idle.take(ENDPOINT), idle.take(ENDPOINT)), (Some(quiet(0)), None));
        assert_eq!(idle.take(other), Some(quiet(2)));
    }

    #[test]
    fn the_pool_has_an_end() {
        let mut idle = Idle::default();
        for index in 0..IDLE_MAX {
            assert_eq!(idle.park(ENDPOINT, key(u32::try_from(index).unwrap())), Ok(()));
        }
        assert_eq!(idle.park(ENDPOINT, key(9999)), Err(key(9999)));
    }
}
