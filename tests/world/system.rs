//! The calls that a worker makes, answered by the simulation.

use super::client::Standing;
use super::pipe::Pipe;
use super::sim::{Dropped, Owner, Sim};
use super::trace::Entry;
use apex::base::{Address, Key, Tick};
use apex::net::stream;
use apex::net::system::{Event, Peer, Poll, System};
use rustix::io::Errno;
use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

/// A socket of the simulation: dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) id: usize,
    dropped: Dropped,
}

impl Handle {
    pub(crate) fn new(id: usize, dropped: &Dropped) -> Self {
        Self { id, dropped: dropped.clone() }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.dropped.push(self.id);
    }
}

/// A pipe that the worker has.
#[derive(Debug)]
pub(crate) struct PipeHandle {
    pipe: Pipe,
    /// Pipes that the worker has.
    open: Rc<Cell<usize>>,
}

impl Drop for PipeHandle {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

impl Sim {
    /// A call begins: what was dropped before is closed, and others may act meanwhile.
    fn enter(&mut self) {
        self.reap();
        self.interleave();
    }

    fn told(&mut self, call: &'static str, id: usize, result: io::Result<usize>) -> io::Result<usize> {
        let noted = result.as_ref().copied().map_err(|error| error.raw_os_error().unwrap_or(0));
        self.trace.note(Entry::Call(call, id, noted));
        if result.is_ok() {
            self.moved();
        }
        result
    }

    fn finds_no_descriptor(&mut self) -> bool {
        self.choices.percent(self.scene.no_descriptor)
    }

    /// What a backend sent to nobody is known by the next poll at the latest: its connection is not used then. Used within the very
    /// turn in which it came, the request may fail.
    fn check_clean(&mut self, id: usize, pieces: &[&[u8]]) {
        let Owner::Backend(at) = self.owners[id] else { return };
        let Some(late_at) = self.backends[at].late_at.filter(|_| !self.sockets[id].is_reset()) else {
            return;
        };
        let requests: Vec<_> = pieces.iter().flat_map(|piece| super::wire::requests_in(piece)).collect();
        if self.book.polls > late_at && !requests.is_empty() {
            self.fail(format!("socket {id} is used again although octets wait in it that belong to nothing"));
        }
        for request in requests {
            if let Some(record) = self.book.records.get_mut(request) {
                record.failed = true;
            }
        }
    }

    /// A request is written to who has closed: it may not come to an answer.
    fn note_stale(&mut self, id: usize, pieces: &[&[u8]]) {
        let socket = &self.sockets[id];
        if !socket.peer_closed && !socket.is_reset() {
            return;
        }
        for request in pieces.iter().flat_map(|piece| super::wire::requests_in(piece)) {
            if let Some(record) = self.book.records.get_mut(request) {
                record.stale = true;
            }
        }
    }
}

impl System for Sim {
    type Stream = Handle;
    type Listener = Handle;
    type Pipe = PipeHandle;

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Poll {
        events.clear();
        self.reap();
        self.turn_over();
        if timeout.is_some() {
            self.trace.note(Entry::Control("a poll that may not wait"));
        }
        self.wait(timeout == Some(Duration::ZERO));
        let is_frozen = self.freeze();
        self.book.polls += 1;
        if (is_frozen && self.choices.percent(50)) || self.choices.percent(self.scene.interrupts) {
            self.trace.note(Entry::Control("the poll is interrupted"));
            return Poll::Interrupted;
        }
        self.deliver(events)
    }

    fn set_alarm(&mut self, pause: Duration) -> io::Result<()> {
        let pause = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        self.alarm = Some(self.now.saturating_add(pause));
        self.trace.note(Entry::Call(
            "alarm in us",
            usize::MAX,
            Ok(usize::try_from(pause).unwrap_or(usize::MAX)),
        ));
        Ok(())
    }

    fn now(&mut self) -> Tick {
        self.now += 1;
        Tick(self.now)
    }

    fn chance(&mut self) -> u64 {
        self.choices.number()
    }

    fn wall(&mut self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_micros(self.now)
    }

    fn register(&mut self, stream: &mut Handle, key: Key) -> io::Result<()> {
        self.enter();
        if self.keys[stream.id].replace(key).is_some() {
            self.fail("a socket is registered a second time");
        }
        // One that is ready has an event at once.
        self.sockets[stream.id].edge.raise();
        if let Owner::Client(client) = self.owners[stream.id] {
            let [least, most] = self.control.connections_max();
            let (over_limit, surely) = (self.accepted >= least, self.accepted >= most);
            self.accepted += 1;
            self.clients[client].standing = Standing::In { since: self.now, over_limit, surely };
        }
        Ok(())
    }

    fn listen(&mut self, listener: &mut Handle, key: Key) -> io::Result<()> {
        self.enter();
        self.listeners[listener.id].key = Some(key);
        Ok(())
    }

    fn forget_listener(&mut self, listener: &mut Handle) {
        self.enter();
        let now = self.now;
        let listener = &mut self.listeners[listener.id];
        listener.key = None;
        listener.closes_since.get_or_insert(now);
    }

    fn begin_no_more(&mut self, listener: &mut Handle) -> io::Result<()> {
        self.enter();
        let now = self.now;
        self.trace.note(Entry::Call("begin no more", listener.id, Ok(0)));
        let listener = &mut self.listeners[listener.id];
        listener.closes_since.get_or_insert(now);
        if self.scene.no_filter {
            return Err(Errno::PERM.into());
        }
        listener.begins_no_more = true;
        Ok(())
    }

    fn accept(&mut self, listener: &Handle) -> io::Result<(Handle, Peer)> {
        self.enter();
        if !self.listeners[listener.id].has_waiting() {
            return Err(Errno::AGAIN.into());
        }
        if self.finds_no_descriptor() {
            self.trace.note(Entry::Control("no descriptor for a client"));
            return Err(Errno::MFILE.into());
        }
        let Some(id) = self.listeners[listener.id].accept() else { return Err(Errno::AGAIN.into()) };
        self.trace.note(Entry::Call("accept", id, Ok(0)));
        self.moved();
        if self.sockets[id].is_reset() && self.choices.percent(50) {
            self.sockets[id].close();
            return Err(Errno::CONNABORTED.into());
        }
        Ok((Handle::new(id, &self.streams_dropped), Peer::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))))
    }

    fn connect(&mut self, address: &Address) -> io::Result<Handle> {
        self.enter();
        if self.finds_no_descriptor() {
            self.book.descriptor_faults += 1;
            self.trace.note(Entry::Control("no descriptor for a backend"));
            return Err(Errno::MFILE.into());
        }
        let Some(address) = address.ip() else { return Err(Errno::NOENT.into()) };
        match Self::begin_to_connect(self, address) {
            Ok(id) => {
                self.trace.note(Entry::Call("connect", id, Ok(0)));
                self.moved();
                Ok(Handle::new(id, &self.streams_dropped))
            }
            Err(errno) => {
                self.trace.note(Entry::Control("an endpoint cannot be reached"));
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }

    fn is_out_of_resources(&self, error: &io::Error) -> bool {
        stream::is_out_of_resources(error)
    }

    fn read(&mut self, stream: &Handle, bytes: &mut Vec<u8>) -> io::Result<usize> {
        self.enter();
        let room = bytes.capacity() - bytes.len();
        if room == 0 {
            self.fail("a read without room");
        }
        let result = self.sockets[stream.id].read(bytes, room);
        self.told("read", stream.id, result)
    }

    fn write(&mut self, stream: &Handle, pieces: [&[u8]; 3], more: bool) -> io::Result<usize> {
        self.enter();
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        if offered == 0 {
            self.fail("a write of nothing");
        }
        let is_short = offered > 1 && self.choices.percent(self.scene.short_writes);
        let count_max = if is_short { self.choices.within(1, offered - 1) } else { usize::MAX };
        self.note_stale(stream.id, &pieces);
        self.check_clean(stream.id, &pieces);
        let result = self.sockets[stream.id].write(&pieces, more, count_max);
        self.told("write", stream.id, result)
    }

    fn pipe(&mut self) -> io::Result<PipeHandle> {
        self.enter();
        if self.choices.percent(self.scene.no_pipe) {
            return Err(Errno::MFILE.into());
        }
        self.pipes.set(self.pipes.get() + 1);
        Ok(PipeHandle {
            pipe: Pipe::draw(&mut self.choices, self.scene.is_eager()),
            open: Rc::clone(&self.pipes),
        })
    }

    fn held(&self, pipe: &PipeHandle) -> usize {
        pipe.pipe.held()
    }

    fn fill(&mut self, stream: &Handle, pipe: &mut PipeHandle, count_max: usize) -> io::Result<usize> {
        self.enter();
        if count_max == 0 {
            self.fail("a fill of nothing");
        }
        let result = self.sockets[stream.id].fill(&mut pipe.pipe, count_max, &mut self.choices);
        self.told("fill", stream.id, result)
    }

    fn drain(&mut self, stream: &Handle, pipe: &mut PipeHandle, count_max: usize) -> io::Result<usize> {
        self.enter();
        if pipe.pipe.held() == 0 || count_max == 0 {
            self.fail("a drain of nothing");
        }
        let result = self.sockets[stream.id].drain(&mut pipe.pipe, count_max);
        self.told("drain", stream.id, result)
    }

    fn push(&mut self, stream: &Handle) {
        self.enter();
        self.trace.note(Entry::Call("push", stream.id, Ok(0)));
        self.sockets[stream.id].push();
    }

    fn set_low_water(&mut self, stream: &Handle, octets: usize) -> io::Result<()> {
        self.enter();
        if self.scene.no_low_water {
            return Err(Errno::NOPROTOOPT.into());
        }
        self.trace.note(Entry::Call("low water", stream.id, Ok(octets)));
        self.sockets[stream.id].set_low_water(octets);
        Ok(())
    }

    fn is_quiet(&mut self, stream: &Handle) -> bool {
        self.enter();
        self.sockets[stream.id].is_quiet()
    }

    fn acknowledged(&mut self, stream: &Handle) -> Option<u64> {
        self.enter();
        Some(self.sockets[stream.id].acknowledged())
    }

    fn shut_down(&mut self, stream: &Handle) {
        self.enter();
        self.trace.note(Entry::Call("shutdown", stream.id, Ok(0)));
        self.sockets[stream.id].shutdown();
    }

    fn close_by_reset(&mut self, stream: Handle) {
        self.enter();
        self.close(stream.id, true);
    }
}
