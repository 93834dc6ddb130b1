//! Another binary takes this one's place (SIGUSR2): the file that this process was started from is started again, is given the
//! listening sockets, and says when it is ready. Whatever becomes of it until then, this process serves on. What the other one
//! does is in `inherit`.
//!
//! Which of the two ends, when this process is told to leave (SIGTERM):
//!
//! - Until it has heard that its successor accepts (`Done`), this process is the service: both end. A successor that was not let
//!   accept has no client, and is killed. One that was let is told to leave (SIGTERM), finishes what it may have accepted, and is
//!   killed by the second signal, or when this process has waited for it for `shutdown_timeout_secs`.
//! - From then on the successor is the service, and has a number of its own: this process leaves anyhow, its first signal changes
//!   nothing, and the second one closes its connections. The successor serves on.
//!
//! Told to leave before it was let accept, a successor ends, and the process before serves on.

use super::super::event::{Event, Job, Progress, Then};
use super::super::listeners::Passed;
use super::super::resolve::{Known, Resolver};
use super::executable::Executable;
use super::protocol::{Message, Silence, receive, send};
use crate::net::Listener;
use crate::net::handover::{Channel, SOCKETS_MAX};
use crate::net::process;
use crate::worker::Epoch;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// How long a successor may take from `Go` to `Done`. It only has to wake its workers: after this time it is stuck, even on a busy
/// machine, and is killed with the clients that it may have accepted.
const DONE_WAIT: Duration = Duration::from_secs(30);

/// SIGKILL, by which a successor is ended that is not to be.
const KILL: i32 = 9;

/// An upgrade under way.
#[derive(Debug)]
pub(in crate::control) struct Upgrade {
    job: Job,
    channel: Arc<Channel>,
    /// The successor, once it was started.
    child: Option<Child>,
    /// What follows on the start of the successor.
    go: Option<Sender<Then>>,
    state: State,
    then: Then,
}

/// How far an upgrade is.
#[derive(Debug)]
enum State {
    /// The successor starts, and accepts nobody.
    Preparing,
    /// It was let accept. These addresses it does not want.
    Going(Vec<usize>),
    /// It serves, and this process leaves.
    Done,
    /// It is not to be; why, in words.
    Failed(String),
    /// This process was told to leave.
    GivenUp,
}

/// What came of an upgrade.
#[derive(Debug)]
pub(in crate::control) enum Outcome {
    /// The successor served, and has ended before this process.
    Served,
    /// There is none; why, in words, and what was asked for meanwhile.
    Failed(String, Then),
    /// There is none, because this process was told to leave.
    GivenUp,
}

impl Upgrade {
    /// Begins: everything that takes its time is done in a thread of its own, which tells `events`.
    pub(in crate::control) fn start(
        job: Job,
        program: Executable,
        passed: Vec<Passed<Arc<[Listener]>>>,
        resolver: Resolver,
        limit: Duration,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let channel = Arc::new(channel);
        let (go, told) = mpsc::channel();
        let epoch = Epoch::start();
        let escort = Escort { job, channel: Arc::clone(&channel), resolver, epoch, limit, events };
        std::thread::Builder::new().name("upgrade".to_owned()).spawn(move || {
            let started = program.start(theirs).map_err(|error| {
                let path = program.path().display();
                format!("{path} cannot be started: {error}")
            });
            escort.lead(started, passed, &told);
        })?;
        Ok(Self { job, channel, child: None, go: Some(go), state: State::Preparing, then: Then::Serve })
    }

    /// Its number.
    pub(in crate::control) fn job(&self) -> Job {
        self.job
    }

    /// The successor was started. One that is not to be any more is ended.
    pub(in crate::control) fn started(&mut self, child: Child) {
        self.child = Some(child);
        if !matches!(self.state, State::Preparing) {
            self.kill();
        }
    }

    /// Has the successor read the file once more when it serves: it was told to be read, and may have been read too early.
    pub(in crate::control) fn reload_then(&mut self) {
        self.then = Then::Reload;
    }

    /// The successor is ready: it is let accept, unless it is not to be any more.
    pub(in crate::control) fn go(&mut self, unwanted: Vec<usize>) {
        if matches!(self.state, State::Preparing) {
            self.state = State::Going(unwanted);
            if let Some(go) = self.go.take() {
                let _ = go.send(self.then);
            }
        }
    }

    /// The successor accepts. With its number and what it does not want, this process is to leave; none where both are to end.
    pub(in crate::control) fn done(&mut self) -> Option<(u32, Vec<usize>)> {
        let State::Going(unwanted) = &mut self.state else { return None };
        let unwanted = std::mem::take(unwanted);
        self.state = State::Done;
        self.child.as_ref().map(|child| (child.id(), unwanted))
    }

    /// With this the successor knows that the service manager was told, and tells it by itself.
    pub(in crate::control) fn release(&self) {
        self.channel.shut();
    }

    /// The successor is not to be; why, in words.
    pub(in crate::control) fn fail(&mut self, words: String) {
        if matches!(self.state, State::Preparing | State::Going(_)) {
            self.state = State::Failed(words);
        }
        // Whatever it was to be: a successor that was given up ends by itself, or has failed.
        self.kill();
    }

    /// This process was told to leave: there is to be no successor. False where there is one already.
    pub(in crate::control) fn give_up(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::GivenUp) {
            State::Done => {
                self.state = State::Done;
                return false;
            }
            // It may have clients. The channel stays open: with its end the successor would take the place.
            State::Going(_) => self.child.iter().for_each(process::ask_to_end),
            State::Preparing | State::Failed(_) | State::GivenUp => self.kill(),
        }
        true
    }

    /// Is there a successor that is to end, and has not?
    pub(in crate::control) fn is_ending(&self) -> bool {
        !matches!(self.state, State::Done)
    }

    /// Ends a successor that is not to be, at once.
    pub(in crate::control) fn kill(&mut self) {
        if matches!(self.state, State::Done) {
            return;
        }
        // Not waited for: `Progress::Ended` follows.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
        self.go = None;
        self.channel.shut();
    }

    /// The successor has ended: collects it, and says what came of the upgrade.
    pub(in crate::control) fn ended(mut self) -> Outcome {
        let status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        let number = self.child.as_ref().map(Child::id);
        let words = match self.state {
            State::Done => return Outcome::Served,
            State::GivenUp => return Outcome::GivenUp,
            State::Failed(words) => words,
            State::Preparing | State::Going(_) => String::from("it closed the channel"),
        };
        let words = match (number, status) {
            (Some(number), Some(status)) if status.signal() != Some(KILL) => {
                format!("process {number} ended with {status}")
            }
            (Some(number), _) => format!("process {number}: {words}"),
            (None, _) => words,
        };
        Outcome::Failed(words, self.then)
    }
}

/// What leads a successor to where it serves, within a time.
struct Escort {
    job: Job,
    channel: Arc<Channel>,
    resolver: Resolver,
    epoch: Epoch,
    limit: Duration,
    events: Sender<Event>,
}

impl Escort {
    /// Leads it from its start to its end.
    fn lead(
        &self,
        started: Result<Child, String>,
        passed: Vec<Passed<Arc<[Listener]>>>,
        told: &Receiver<Then>,
    ) {
        let child = match started {
            Ok(child) => child,
            Err(words) => {
                self.tell(Progress::Failed(words));
                self.tell(Progress::Ended);
                return;
            }
        };
        let number = child.id();
        self.tell(Progress::Started(child));
        match self.prepare(passed) {
            Ok(unwanted) => {
                self.tell(Progress::Ready(unwanted));
                // Nothing is told where it is given up.
                if let Ok(then) = told.recv() {
                    self.tell(self.go(then).map_or_else(Progress::Failed, |()| Progress::Done));
                }
            }
            Err(words) => self.tell(Progress::Failed(words)),
        }
        // As long as both live, this one has to take notice of the other's end.
        process::await_end(number);
        self.tell(Progress::Ended);
    }

    /// The control thread listens for as long as the process lives.
    fn tell(&self, progress: Progress) {
        let _ = self.events.send(Event::Successor(self.job, progress));
    }

    /// Gives it the sockets, and waits until it is ready. Says which addresses it does not want.
    fn prepare(&self, passed: Vec<Passed<Arc<[Listener]>>>) -> Result<Vec<usize>, String> {
        self.send(&Message::begin(), &[])?;
        for Passed { asked, owner, sockets } in passed {
            let mut parts = sockets.chunks(SOCKETS_MAX);
            self.send(&Message::Listen(asked, owner), parts.next().unwrap_or_default())?;
            parts.try_for_each(|part| self.send(&Message::More, part))?;
        }
        self.send(&Message::End, &[])?;
        loop {
            match receive(&self.channel, Some(self.left())) {
                // A successor that takes names says so before it is ready.
                Ok((Message::Hello(_), _)) => self.send_names(self.resolver.known())?,
                Ok((Message::Ready(unwanted), _)) => return Ok(unwanted),
                other => return Err(self.unexpected(other)),
            }
        }
    }

    fn send_names(&self, known: Vec<Known>) -> Result<(), String> {
        for (host, addresses) in known {
            self.send(&Message::Name(host, addresses), &[])?;
        }
        self.send(&Message::NamesEnd, &[])
    }

    /// Lets it accept.
    fn go(&self, then: Then) -> Result<(), String> {
        send(&self.channel, &Message::Go(then), &[], DONE_WAIT)?;
        match receive(&self.channel, Some(DONE_WAIT)) {
            Ok((Message::Done, _)) => Ok(()),
            Err(Silence::Late) => {
                Err(format!("it did not accept within {} s after it was told to", DONE_WAIT.as_secs()))
            }
            other => Err(self.unexpected(other)),
        }
    }

    fn send(&self, message: &Message, sockets: &[Listener]) -> Result<(), String> {
        send(&self.channel, message, sockets, self.left())
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(Duration::from_micros(self.epoch.now().0))
    }

    fn unexpected(&self, other: Result<(Message, Vec<Listener>), Silence>) -> String {
        match other {
            Ok(_) => String::from("it sent a message out of turn"),
            Err(Silence::Closed) => String::from("it closed the channel"),
            Err(Silence::Late) => format!("it was not ready within {} s", self.limit.as_secs_f64()),
            Err(Silence::Other(words)) => words,
        }
    }
}
