//! Another binary takes this one's place (SIGUSR2): the file that this process was started from is started again, is given the
//! listening sockets, and says when it is ready. Whatever becomes of it until then, this process serves on. What the other one
//! does is in `successor`.

use super::super::event::Event;
use super::super::event_loop::Control;
use super::super::listeners::Passed;
use super::super::report::info;
use super::super::service_manager::State;
use super::executable::Executable;
use super::protocol::{Message, Silence, Then, receive, send};
use crate::net::Listener;
use crate::net::handover::{Channel, SOCKETS_MAX};
use crate::worker::Epoch;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// A successor that is told to go has only to wake its workers: one that takes so long for it is stuck, even on a busy machine. Then
/// it is ended, with those whom it may have accepted.
const DONE_WAIT: Duration = Duration::from_secs(30);

/// SIGKILL, by which a successor is ended that is not to be.
const KILL: i32 = 9;

/// An upgrade under way.
#[derive(Debug)]
pub(in crate::control) struct Upgrade {
    channel: Arc<Channel>,
    /// What follows on the start of the successor. It is ended where this is gone before it was told.
    go: Option<Sender<Then>>,
    /// The number of the successor once it serves, or why it does not.
    outcome: Receiver<Result<u32, String>>,
    then: Then,
    thread: Option<JoinHandle<()>>,
}

/// How an upgrade goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Progress {
    /// The successor has all it needs. These addresses it does not want, counted from 0.
    Ready(Vec<usize>),
    /// There is none; why, in words.
    Failed(String),
}

impl Upgrade {
    /// Begins: everything that takes its time is done in a thread of its own, which tells `events`.
    fn start(
        program: Executable,
        passed: Vec<Passed<Arc<[Listener]>>>,
        limit: Duration,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let channel = Arc::new(channel);
        let ((go, told), (info, outcome)) = (mpsc::channel(), mpsc::channel());
        let escort = Escort { channel: Arc::clone(&channel), epoch: Epoch::start(), limit };
        let thread = std::thread::Builder::new().name("upgrade".to_owned()).spawn(move || {
            let mut child = match program.start(theirs) {
                Ok(child) => child,
                Err(error) => {
                    let words = format!("{} cannot be started: {error}", program.path().display());
                    let _ = events.send(Event::Successor(Progress::Failed(words)));
                    return;
                }
            };
            let prepared = escort.prepare(passed).map_err(|words| end(&mut child, &words));
            let progress = prepared.map_or_else(Progress::Failed, Progress::Ready);
            let is_ready = matches!(progress, Progress::Ready(_));
            if events.send(Event::Successor(progress)).is_err() || !is_ready {
                return;
            }
            let Ok(then) = told.recv() else {
                end(&mut child, "");
                return;
            };
            let begun = escort.go(then).map(|()| child.id()).map_err(|words| end(&mut child, &words));
            let _ = info.send(begun);
            // As long as both live, this one has to take notice of the other's end.
            let _ = child.wait();
        })?;
        Ok(Self { channel, go: Some(go), outcome, then: Then::Serve, thread: Some(thread) })
    }

    /// Has the successor read the file once more when it serves: it was told to be read, and may have been read too early.
    pub(in crate::control) fn reload_then(&mut self) {
        self.then = Then::Reload;
    }

    /// Lets the successor accept, and waits until it does.
    ///
    /// # Errors
    /// It does not; why, in words.
    fn finish(mut self) -> Result<(u32, Arc<Channel>), String> {
        let told = self.go.take().is_some_and(|go| go.send(self.then).is_ok());
        let outcome = self.outcome.recv().ok().filter(|_| told);
        // The thread goes on for as long as the successor.
        self.thread = None;
        let number = outcome.unwrap_or_else(|| Err(String::from("it was given up")))?;
        Ok((number, Arc::clone(&self.channel)))
    }
}

impl Drop for Upgrade {
    /// Inherited up, or failed: there is no successor any more.
    fn drop(&mut self) {
        self.go = None;
        if let Some(thread) = self.thread.take() {
            self.channel.shut();
            let _ = thread.join();
        }
    }
}

/// What leads a successor to where it serves, within a time.
#[derive(Debug)]
struct Escort {
    channel: Arc<Channel>,
    epoch: Epoch,
    limit: Duration,
}

impl Escort {
    /// Gives it the sockets, and waits until it is ready. Says which addresses it does not want.
    fn prepare(&self, passed: Vec<Passed<Arc<[Listener]>>>) -> Result<Vec<usize>, String> {
        self.send(&Message::begin(), &[])?;
        for Passed { asked, owner, sockets } in passed {
            let mut parts = sockets.chunks(SOCKETS_MAX);
            self.send(&Message::Listen(asked, owner), parts.next().unwrap_or_default())?;
            parts.try_for_each(|part| self.send(&Message::More, part))?;
        }
        self.send(&Message::End, &[])?;
        match receive(&self.channel, Some(self.left())) {
            Ok((Message::Ready(unwanted), _)) => Ok(unwanted),
            other => Err(self.unexpected(other)),
        }
    }

    /// Lets it accept.
    fn go(&self, then: Then) -> Result<(), String> {
        send(&self.channel, &Message::Go(then), &[], DONE_WAIT)?;
        match receive(&self.channel, Some(DONE_WAIT)) {
            Ok((Message::Done, _)) => Ok(()),
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
            Ok(_) => String::from("it says what it should not"),
            Err(Silence::Closed) => String::from("it closed the channel"),
            Err(Silence::Late) => format!("it was not ready within {} s", self.limit.as_secs_f64()),
            Err(Silence::Other(words)) => words,
        }
    }
}

/// Ends the successor, if it has not ended by itself; why, in words.
fn end(child: &mut Child, words: &str) -> String {
    let _ = child.kill();
    let number = child.id();
    match child.wait() {
        Ok(status) if status.signal() != Some(KILL) => format!("process {number} ended with {status}"),
        Ok(_) | Err(_) => format!("process {number}: {words}"),
    }
}

impl Control<'_> {
    /// Starts a successor.
    pub(in crate::control) fn begin_upgrade(&mut self) {
        if self.upgrade.is_some() {
            return info(format_args!("an upgrade is under way already"));
        }
        if let Err(words) = self.try_upgrade() {
            info(format_args!("no upgrade: {words}"));
        }
    }

    fn try_upgrade(&mut self) -> Result<(), String> {
        if self.path.is_none() {
            return Err(String::from("the demo ends with its process"));
        }
        if std::process::id() == 1 {
            return Err(String::from("everything here ends with process 1, which this is"));
        }
        let program = self.program.clone().ok_or("it cannot be told which file this process runs")?;
        let path = program.path().display().to_string();
        let limit = self.config.server.upgrade_timeout;
        let begun = Upgrade::start(program, self.listeners.to_pass(), limit, self.events.clone());
        self.upgrade = Some(begun.map_err(|error| error.to_string())?);
        info(format_args!("upgrade: {path} is started"));
        Ok(())
    }

    /// Something was heard of the successor. With its number, it serves, and this process is to leave.
    pub(in crate::control) fn hear_of_successor(&mut self, progress: Progress) -> Option<u32> {
        let upgrade = self.upgrade.take()?;
        let then = upgrade.then;
        let handed = match progress {
            Progress::Ready(unwanted) => upgrade.finish().map(|(number, channel)| {
                self.listeners.hand_over(&unwanted);
                self.manager.info(State::Replaced(number));
                // With this the successor knows that the service manager was told, and tells it by itself.
                channel.shut();
                number
            }),
            Progress::Failed(words) => Err(words),
        };
        match handed {
            Ok(number) => Some(number),
            Err(words) => {
                info(format_args!("the upgrade failed: {words}; this process serves on"));
                if then == Then::Reload {
                    self.reload();
                }
                None
            }
        }
    }

    /// Ends an upgrade that is under way.
    pub(in crate::control) fn give_up_upgrade(&mut self) {
        if let Some(upgrade) = self.upgrade.take() {
            drop(upgrade);
            info(format_args!("the upgrade is given up: this process was told to leave"));
        }
    }
}
