//! The blind relay: the floor that every proxy is compared with. Octets of a client go to a backend connection of its own and
//! back, and nobody looks at them: per request one read and one write on each side, and a share of one `epoll_wait`.
//!
//! One thread, edge-triggered: a socket is registered once, for everything, and no interest is ever changed. A read that does
//! not fill its buffer proves the socket empty. `--splice` moves the octets through a kernel pipe instead of memory. It never
//! waits on a slow peer, pools nothing, retries nothing, and has no timeout: it is no proxy to be used.
#![forbid(unsafe_code)]

use apex_peers::socket;
use lexopt::prelude::{Long, ValueExt};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use slab::Slab;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Octets read at once where the command line names no other number. Measured: 16 KiB to 256 KiB do not differ for short answers,
/// and 128 KiB is the cheapest for long ones.
const BUFFER_BYTES: usize = 128 * 1024;
/// Size asked for a pipe, and the most that is spliced into it at once.
const PIPE_BYTES: usize = 256 * 1024;
/// Reads of one direction before the others have their turn.
const STEPS_MAX: usize = 16;
/// Events taken in one turn.
const EVENTS_MAX: usize = 1024;
/// The listener's token; pairs count from 0.
const LISTENER: u64 = u64::MAX;

struct Options {
    listen: SocketAddr,
    backend: SocketAddr,
    splices: bool,
    buffer_bytes: usize,
}

/// One end of a pair.
struct End {
    socket: OwnedFd,
    readable: bool,
    writable: bool,
    tail: Tail,
    /// What it sent and the other end has not taken yet.
    held: Held,
}

/// Whether more comes from an end.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Tail {
    Open,
    /// The peer sends no more: its end is read for, since no further edge will tell.
    HungUp,
    /// The end of what it sent was read.
    Ended,
    /// The other end was told so.
    Told,
}

/// Octets under way: in memory, or in a pipe.
#[derive(Default)]
struct Held {
    octets: Vec<u8>,
    pipe: Option<(Pipe, usize)>,
}

struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// A client connection and its backend connection.
type Pair = [End; 2];

/// What became of a direction that was driven.
#[derive(PartialEq)]
enum Verdict {
    /// It waits for an edge.
    Waits,
    /// It has more to do after the others.
    Again,
    /// All was said.
    Over,
}

struct Relay {
    options: Options,
    epoll: OwnedFd,
    listener: OwnedFd,
    pairs: Slab<Pair>,
    buffer: Vec<u8>,
    /// Empty pipes.
    pipes: Vec<Pipe>,
    again: VecDeque<usize>,
}

fn main() -> ExitCode {
    socket::raise_descriptor_limit();
    let run = || -> Result<(), Box<dyn std::error::Error>> { Ok(Relay::new(read_arguments()?)?.run()?) };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "relay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read_arguments() -> Result<Options, lexopt::Error> {
    let (mut listen, mut backend, mut splices, mut buffer_bytes) = (None, None, false, None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("listen") => listen = Some(parser.value()?.parse()?),
            Long("backend") => backend = Some(parser.value()?.parse()?),
            Long("splice") => splices = true,
            Long("buffer-bytes") => buffer_bytes = Some(parser.value()?.parse()?),
            _ => return Err(argument.unexpected()),
        }
    }
    match (listen, backend) {
        (Some(listen), Some(backend)) => {
            let buffer_bytes: usize = buffer_bytes.unwrap_or(if splices { PIPE_BYTES } else { BUFFER_BYTES });
            Ok(Options { listen, backend, splices, buffer_bytes })
        }
        _ => Err("relay --listen ADDRESS --backend ADDRESS [--splice] [--buffer-bytes N]".into()),
    }
}

impl End {
    fn new(socket: OwnedFd, writable: bool) -> Self {
        Self { socket, readable: false, writable, tail: Tail::Open, held: Held::default() }
    }

    fn mark(&mut self, flags: EventFlags) {
        let over = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if over && self.tail == Tail::Open {
            self.tail = Tail::HungUp;
        }
        self.readable |= over || flags.contains(EventFlags::IN);
        self.writable |= over || flags.contains(EventFlags::OUT);
    }
}

impl Relay {
    fn new(options: Options) -> rustix::io::Result<Self> {
        let listener = socket::listen(options.listen)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        if let Some(addr) = socket::local_addr(&listener) {
            use std::io::Write;
            let _ = writeln!(std::io::stdout(), "relay: listening on {addr}");
        }
        let buffer = vec![0; options.buffer_bytes];
        let (pairs, pipes, again) = (Slab::new(), Vec::new(), VecDeque::new());
        Ok(Self { options, epoll, listener, pairs, buffer, pipes, again })
    }

    fn run(mut self) -> rustix::io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            events.clear();
            let patience = if self.again.is_empty() { None } else { Some(&at_once) };
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), patience) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            for _ in 0..self.again.len() {
                if let Some(key) = self.again.pop_front() {
                    self.drive(key);
                }
            }
            for event in &events {
                // Copied out: the fields of the kernel's struct are not aligned.
                let (token, flags) = (event.data.u64(), event.flags);
                if token == LISTENER {
                    self.accept()?;
                    continue;
                }
                // A stale event of a pair that was closed in this turn marks nobody, or its successor once too often: harmless,
                // for every call may answer that there is nothing.
                let Ok(token) = usize::try_from(token) else { continue };
                if let Some(pair) = self.pairs.get_mut(token / 2) {
                    pair[token % 2].mark(flags);
                    self.drive(token / 2);
                }
            }
        }
    }

    fn accept(&mut self) -> rustix::io::Result<()> {
        loop {
            let client = match socket::accept(&self.listener) {
                Ok(client) => client,
                Err(Errno::AGAIN | Errno::MFILE | Errno::NFILE) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(errno) => return Err(errno),
            };
            // Without a backend connection the client is dropped; that is all it is told.
            let Ok(backend) = socket::connect(self.options.backend) else { continue };
            let entry = self.pairs.vacant_entry();
            let token = entry.key() as u64 * 2;
            let all = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, &client, EventData::new_u64(token), all)?;
            epoll::add(&self.epoll, &backend, EventData::new_u64(token + 1), all)?;
            entry.insert([End::new(client, true), End::new(backend, false)]);
        }
    }

    fn drive(&mut self, key: usize) {
        let Some(pair) = self.pairs.get_mut(key) else { return };
        let mut verdicts = [Verdict::Waits, Verdict::Waits];
        for (place, verdict) in verdicts.iter_mut().enumerate() {
            let [client, backend] = pair;
            let (source, sink) = if place == 0 { (client, backend) } else { (backend, client) };
            let moved = if self.options.splices {
                pump_by_pipe(source, sink, &mut self.pipes, self.options.buffer_bytes)
            } else {
                pump(source, sink, &mut self.buffer)
            };
            if let Ok(said) = moved {
                *verdict = said;
            } else {
                // Closing the sockets takes them out of epoll, and tells both peers.
                self.pairs.remove(key);
                return;
            }
        }
        if verdicts == [Verdict::Over, Verdict::Over] {
            self.pairs.remove(key);
        } else if verdicts.contains(&Verdict::Again) {
            self.again.push_back(key);
        }
    }
}

/// Moves what `source` sent to `sink`, by memory.
fn pump(source: &mut End, sink: &mut End, buffer: &mut [u8]) -> rustix::io::Result<Verdict> {
    for _ in 0..STEPS_MAX {
        if !source.held.octets.is_empty() {
            let octets = std::mem::take(&mut source.held.octets);
            pass_on(&octets, sink, &mut source.held.octets)?;
            if !source.held.octets.is_empty() {
                return Ok(Verdict::Waits);
            }
        }
        if source.tail >= Tail::Ended {
            return tell_end(source, sink);
        }
        if !source.readable {
            return Ok(Verdict::Waits);
        }
        // recv(2) and send(2) take a shorter way through the kernel than read(2) and write(2): 4 % of a short request here.
        match recv(&source.socket, &mut *buffer, RecvFlags::empty()).map(|(_, count)| count) {
            Ok(0) => source.tail = Tail::Ended,
            Ok(count) => {
                source.readable = count == buffer.len() || source.tail == Tail::HungUp;
                pass_on(&buffer[..count], sink, &mut source.held.octets)?;
            }
            Err(Errno::AGAIN) => source.readable = false,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(Verdict::Again)
}

/// Writes `octets` to `sink`; what it does not take goes to `rest`, until it says that it is writable again.
fn pass_on(octets: &[u8], sink: &mut End, rest: &mut Vec<u8>) -> rustix::io::Result<()> {
    let count = if sink.writable {
        match send(&sink.socket, octets, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN | Errno::INTR) => 0,
            written => written?,
        }
    } else {
        0
    };
    if count < octets.len() {
        // A short write found the socket full: an edge comes.
        sink.writable = false;
        rest.extend_from_slice(&octets[count..]);
    }
    Ok(())
}

/// Moves what `source` sent to `sink`, by a pipe. A pipe with octets in it stays with its direction, an empty one goes back.
fn pump_by_pipe(
    source: &mut End,
    sink: &mut End,
    pipes: &mut Vec<Pipe>,
    count_max: usize,
) -> rustix::io::Result<Verdict> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    for _ in 0..STEPS_MAX {
        if let Some((pipe, mut count)) = source.held.pipe.take() {
            if sink.writable {
                match splice(&pipe.reader, None, &sink.socket, None, count, flags) {
                    Err(Errno::AGAIN) => sink.writable = false,
                    Err(Errno::INTR) => {}
                    moved => count -= moved?.min(count),
                }
            }
            if count == 0 {
                pipes.push(pipe);
            } else {
                source.held.pipe = Some((pipe, count));
                if !sink.writable {
                    return Ok(Verdict::Waits);
                }
                continue;
            }
        }
        if source.tail >= Tail::Ended {
            return tell_end(source, sink);
        }
        if !source.readable {
            return Ok(Verdict::Waits);
        }
        let pipe = pipes.pop().map_or_else(|| Pipe::new(count_max), Ok)?;
        match splice(&source.socket, None, &pipe.writer, None, count_max, flags) {
            Ok(0) => source.tail = Tail::Ended,
            Ok(count) => {
                source.held.pipe = Some((pipe, count));
                continue;
            }
            // The pipe was empty, so it is the socket that has nothing.
            Err(Errno::AGAIN) => source.readable = false,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        pipes.push(pipe);
    }
    Ok(Verdict::Again)
}

/// Passes on that no more comes; the direction is over then.
fn tell_end(source: &mut End, sink: &mut End) -> rustix::io::Result<Verdict> {
    // Where the sink has ended too, closing both says it.
    if source.tail < Tail::Told && sink.tail < Tail::Ended {
        match shutdown(&sink.socket, Shutdown::Write) {
            Ok(()) | Err(Errno::NOTCONN) => {}
            Err(errno) => return Err(errno),
        }
    }
    source.tail = Tail::Told;
    Ok(Verdict::Over)
}

impl Pipe {
    fn new(octets: usize) -> rustix::io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused to users without privilege beyond a limit of theirs; the pipe then keeps its 64 KiB.
        let _ = fcntl_setpipe_size(&writer, octets);
        Ok(Self { reader, writer })
    }
}
