//! The load: sends requests over many connections from one thread and checks each answer's status and length. Closed loop, or
//! open loop at a rate, where a latency counts from the time at which the request was to be sent, so that waiting is seen.
//!
//! The proxy's time on its core is read at the same moment as the count of answers, so that the two belong together.
#![forbid(unsafe_code)]

mod client;
mod options;
mod tally;

use apex_peers::answer::{Answer, Seen};
use apex_peers::socket;
use apex_peers::watch::Group;
use client::{Client, Fault, News, State};
use options::{Options, Pace};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tally::Tally;

/// Events taken in one turn.
const EVENTS_MAX: usize = 1024;
/// Octets read at once. Pages that only dropped content would fill are never touched.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Pause before a connection that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// An exchange that takes so long is told as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(2);
/// Requests of a file are taken so far apart (a prime), so that neighbours in it are not neighbours in time.
const MESSAGE_STRIDE: usize = 7919;
/// The token of the standard input; clients count from 0.
const INPUT: u64 = u64::MAX;

struct Load {
    options: Options,
    epoll: OwnedFd,
    clients: Vec<Client>,
    /// Clients of an open loop with nothing to do, the longest at rest first.
    idle: VecDeque<usize>,
    /// Clients whose connection failed.
    failed: Vec<usize>,
    retry_at: Instant,
    /// Clients that were begun, where each is begun once.
    begun: usize,
    message: usize,
    /// The open loop's first moment, and how many requests were sent since.
    start: Instant,
    sent: u64,
    seen: Seen,
    buffer: Vec<u8>,
    tally: Tally,
}

fn main() -> ExitCode {
    socket::raise_descriptor_limit();
    let run = || -> Result<(), Box<dyn std::error::Error>> { Load::new(Options::read()?)?.run() };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "load: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Load {
    fn new(mut options: Options) -> rustix::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, rustix::stdio::stdin(), EventData::new_u64(INPUT), EventFlags::IN)?;
        let now = clock();
        let mut watched = std::mem::take(&mut options.watched);
        watched.push(Group { name: "load".to_owned(), pids: vec![std::process::id()] });
        let tally = Tally::new(now, watched);
        Ok(Self {
            epoll,
            clients: (0..options.connections).map(|_| Client::new(now)).collect(),
            idle: VecDeque::new(),
            failed: Vec::new(),
            retry_at: now,
            begun: options.at_first(),
            message: 0,
            start: now,
            sent: 0,
            seen: Seen::default(),
            buffer: vec![0; BUFFER_BYTES],
            tally,
            options,
        })
    }

    fn run(mut self) -> Result<(), Box<dyn std::error::Error>> {
        match self.options.pace {
            Pace::Rate(_) => self.idle.extend(0..self.clients.len()),
            Pace::Closed | Pace::Once => (0..self.begun).for_each(|key| self.begin(key, clock())),
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.send_what_is_due();
            let patience = self.patience();
            events.clear();
            let room = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, room, patience.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if !self.failed.is_empty() && self.retry_at <= clock() {
                for key in std::mem::take(&mut self.failed) {
                    self.begin(key, clock());
                }
            }
            for event in &events {
                // Copied out: the fields of the kernel's struct are not aligned.
                let (token, flags) = (event.data.u64(), event.flags);
                if token == INPUT {
                    if !self.end_spans()? {
                        return Ok(());
                    }
                } else if let Ok(key) = usize::try_from(token) {
                    // A stale event of a connection that was closed in this turn marks its successor once too often, which
                    // is harmless: every call may answer that there is nothing.
                    self.clients[key].mark(flags);
                    self.drive(key);
                }
            }
        }
    }

    /// How long to wait for events: the open loop's next request has its time.
    fn patience(&self) -> Option<Timespec> {
        let due = match self.due() {
            Some(due) if !self.idle.is_empty() => Some(due.saturating_duration_since(clock())),
            _ => None,
        };
        let retry = (!self.failed.is_empty()).then_some(RETRY_PAUSE);
        due.into_iter().chain(retry).min().and_then(|pause| Timespec::try_from(pause).ok())
    }

    /// When the next request of an open loop is to be sent.
    fn due(&self) -> Option<Instant> {
        let Pace::Rate(rate) = self.options.pace else { return None };
        let ns = u128::from(self.sent) * 1_000_000_000 / u128::from(rate);
        Some(self.start + Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)))
    }

    fn send_what_is_due(&mut self) {
        while let Some(due) = self.due().filter(|due| *due <= clock()) {
            let Some(key) = self.idle.pop_front() else { break };
            self.sent += 1;
            self.begin(key, due);
        }
    }

    /// Sends the next request on a client's connection, which is opened where there is none.
    fn begin(&mut self, key: usize, at: Instant) {
        let client = &mut self.clients[key];
        client.begun = at;
        let all = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let opened = match client.open(self.options.target) {
            Ok(None) => Ok(()),
            Ok(Some(socket)) => epoll::add(&self.epoll, socket, EventData::new_u64(key as u64), all)
                .map_err(|_| Fault::Socket),
            Err(fault) => Err(fault),
        };
        let sent = opened.and_then(|()| {
            client.state = State::Asking { message: self.message, sent: 0 };
            self.message = (self.message + MESSAGE_STRIDE) % self.options.messages.len();
            client.send(&self.options.messages)
        });
        if let Err(fault) = sent {
            self.fail(key, fault);
        }
    }

    fn drive(&mut self, key: usize) {
        let client = &mut self.clients[key];
        let news = client
            .send(&self.options.messages)
            .and_then(|()| client.receive(&mut self.buffer, &mut self.seen));
        match news {
            Ok(News::Nothing) => {}
            Ok(News::Answer(answer)) => self.take_answer(key, answer),
            Ok(News::End) => {
                let goes_on = client.state == State::Closing;
                client.close();
                if goes_on {
                    self.go_on(key, clock());
                }
            }
            Err(fault) => self.fail(key, fault),
        }
    }

    fn take_answer(&mut self, key: usize, answer: Answer) {
        let now = clock();
        let client = &mut self.clients[key];
        self.tally.answer(answer, self.options.expect_bytes, now.duration_since(client.begun));
        client.state = State::Resting;
        if self.options.closes {
            client.state = State::Closing;
            // The end has often come with the answer.
            return self.drive(key);
        }
        if answer.closes {
            client.close();
        }
        self.go_on(key, now);
    }

    /// A client is ready for its next request.
    fn go_on(&mut self, key: usize, now: Instant) {
        match self.options.pace {
            Pace::Closed => self.begin(key, now),
            Pace::Rate(_) => {
                self.idle.push_back(key);
                self.send_what_is_due();
            }
            Pace::Once if self.begun < self.clients.len() => {
                self.begun += 1;
                self.begin(self.begun - 1, now);
            }
            Pace::Once => {}
        }
    }

    fn fail(&mut self, key: usize, fault: Fault) {
        self.tally.fault(fault);
        self.clients[key].close();
        match self.options.pace {
            Pace::Rate(_) => self.idle.push_back(key),
            Pace::Closed | Pace::Once => {
                if self.failed.is_empty() {
                    self.retry_at = clock() + RETRY_PAUSE;
                }
                self.failed.push(key);
            }
        }
    }

    /// Tells one span for each line of the standard input; false at its end.
    fn end_spans(&mut self) -> std::io::Result<bool> {
        let mut octets = [0; 64];
        let count = rustix::io::read(rustix::stdio::stdin(), &mut octets)?;
        let mut out = std::io::stdout().lock();
        for _ in octets[..count].iter().filter(|octet| **octet == b'\n') {
            let now = clock();
            let is_stuck = |client: &&Client| {
                client.state != State::Resting && now.duration_since(client.begun) > STUCK_AFTER
            };
            let stuck = self.clients.iter().filter(is_stuck).count();
            let behind = self.due().map_or(0, |due| {
                let Pace::Rate(rate) = self.options.pace else { return 0 };
                let late_ns = now.saturating_duration_since(due).as_nanos();
                u64::try_from(late_ns * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
            });
            out.write_all(self.tally.end_span(now, stuck, behind).as_bytes())?;
        }
        out.flush()?;
        Ok(count > 0)
    }
}

#[expect(clippy::disallowed_methods, reason = "the load takes the time of each answer for itself")]
fn clock() -> Instant {
    Instant::now()
}
