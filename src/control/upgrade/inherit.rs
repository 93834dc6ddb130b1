//! What the process was given when it was started: sockets by a service manager, or the place of another Apex, which is told when
//! all is prepared, and leaves.

use super::super::event::Event;
use super::super::listeners::Passed;
use super::super::report::warn;
use super::super::resolve::Known;
use super::protocol::{Message, SPEAKS, Silence, VARIABLE, receive, send, speaks};
use crate::net::Listener;
use crate::net::handover::Channel;
use crate::net::process;
use crate::worker::Ownership;
use listenfd::ListenFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// How long the running process may take to send its sockets or read a message. It does so at once, unless it is stuck.
const PREDECESSOR_WAIT: Duration = Duration::from_secs(10);

/// Listening sockets, by address.
type Sockets = Vec<Passed<Vec<Listener>>>;

/// What the process was given.
#[derive(Debug)]
pub struct Inherited {
    pub(in crate::control) passed: Sockets,
    /// What the process before knew of the names of backends.
    pub(in crate::control) names: Vec<Known>,
    pub(in crate::control) predecessor: Option<Predecessor>,
}

/// The process whose place this one is about to take.
#[derive(Debug)]
pub(in crate::control) struct Predecessor {
    channel: Arc<Channel>,
}

impl Inherited {
    /// Takes what there is. Inherited descriptors are taken by way of the environment, which is edited: so it runs before any
    /// thread.
    ///
    /// # Errors
    /// In words: somebody's place is to be taken, and cannot be.
    pub fn take() -> Result<Self, String> {
        let activated = activated();
        let Some(channel) = channel()? else {
            return Ok(Self { passed: activated, names: Vec::new(), predecessor: None });
        };
        let predecessor = std::os::unix::process::parent_id();
        let sends_names = std::env::var_os(SPEAKS).is_some_and(|words| words == *speaks(predecessor));
        let (passed, names) = receive_all(&channel, sends_names)
            .map_err(|words| format!("the place of process {predecessor} cannot be taken: {words}"))?;
        Ok(Self { passed, names, predecessor: Some(Predecessor { channel: Arc::new(channel) }) })
    }
}

/// Listeners that the process was started with (systemd's `LISTEN_FDS`). Whoever opened them has them still.
fn activated() -> Sockets {
    // More than there can be is a mistake, and would be a list of so many before any is looked at.
    let limit = process::descriptor_limit();
    if let Some(count) = std::env::var_os("LISTEN_FDS")
        && let Some(count) = count.to_str().and_then(|count| count.trim().parse::<u64>().ok())
        && count > limit
    {
        warn(format_args!("LISTEN_FDS={count} is ignored: the descriptor limit is {limit}"));
        return Vec::new();
    }
    let mut descriptors = ListenFd::from_env();
    let mut passed: Sockets = Vec::new();
    for index in 0..descriptors.len() {
        let tcp = descriptors.take_tcp_listener(index).map(|socket| socket.map(OwnedFd::from));
        let Ok(Some(socket)) =
            tcp.or_else(|_| descriptors.take_unix_listener(index).map(|socket| socket.map(OwnedFd::from)))
        else {
            continue;
        };
        let Ok(socket) = Listener::adopt(socket) else { continue };
        let Ok(asked) = socket.address() else { continue };
        match passed.iter_mut().find(|one| one.asked == asked) {
            Some(one) => one.sockets.push(socket),
            None => passed.push(Passed { asked, owner: Ownership::Shared, sockets: vec![socket] }),
        }
    }
    passed
}

/// The channel to a process whose place is to be taken. The variable stays in the environment, and may reach programs that are no successor:
/// it counts only with such a channel.
fn channel() -> Result<Option<Channel>, String> {
    let Some(number) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let Ok(channel) = Channel::from_standard_input() else { return Ok(None) };
    // Were it another, its end would not be noticed, nor would ours by it.
    let parent = std::os::unix::process::parent_id().to_string();
    if number != parent.as_str() {
        let number = number.display();
        return Err(format!("the place of process {number} cannot be taken: the parent is {parent}"));
    }
    Ok(Some(channel))
}

/// Takes the sockets and the names.
fn receive_all(channel: &Channel, sends_names: bool) -> Result<(Sockets, Vec<Known>), String> {
    let next = || receive(channel, Some(PREDECESSOR_WAIT)).map_err(words);
    if sends_names {
        send(channel, &Message::hello(), &[], PREDECESSOR_WAIT)?;
    }
    match next()?.0 {
        begin if begin == Message::begin() => {}
        Message::Begin(version) => {
            return Err(format!(
                "it hands over in version {version}, which is not understood: a restart is needed"
            ));
        }
        _ => return Err(String::from("it does not begin as it should")),
    }
    let mut passed: Sockets = Vec::new();
    loop {
        match (next()?, passed.last_mut()) {
            ((Message::Listen(asked, owner), sockets), _) => passed.push(Passed { asked, owner, sockets }),
            ((Message::More, more), Some(last)) => last.sockets.extend(more),
            ((Message::End, _), _) => break,
            _ => return Err(String::from("it sent a message out of turn")),
        }
    }
    let mut names = Vec::new();
    if !sends_names {
        return Ok((passed, names));
    }
    loop {
        match next()?.0 {
            Message::Name(host, addresses) => names.push((host, addresses)),
            Message::NamesEnd => return Ok((passed, names)),
            _ => return Err(String::from("it sent a message out of turn")),
        }
    }
}

fn words(silence: Silence) -> String {
    match silence {
        Silence::Closed => String::from("it was given up"),
        Silence::Late => String::from("it says nothing"),
        Silence::Other(words) => words,
    }
}

impl Predecessor {
    /// Says that all is prepared: [`Event::Go`] follows when this process may accept. Meanwhile the other one serves, and this one
    /// may end without a loss. [`Event::Alone`] follows when the other one leaves.
    ///
    /// # Errors
    /// In words: it is not to be.
    pub(in crate::control) fn ready(
        &self,
        unwanted: Vec<usize>,
        events: &Sender<Event>,
    ) -> Result<(), String> {
        self.send(&Message::Ready(unwanted), PREDECESSOR_WAIT)?;
        let (channel, events) = (Arc::clone(&self.channel), events.clone());
        let listening = std::thread::Builder::new().name("handover".to_owned());
        let spawned = listening.spawn(move || {
            let go = match receive(&channel, None) {
                Ok((Message::Go(then), _)) => Ok(then),
                Ok(_) => Err(String::from("it sent a message out of turn")),
                Err(silence) => Err(words(silence)),
            };
            let goes = go.is_ok();
            if events.send(Event::Go(go)).is_ok() && goes {
                // It sends no more: this is the end of the channel, or of the process.
                let _ = receive(&channel, None);
                let _ = events.send(Event::Alone);
            }
        });
        spawned.map(drop).map_err(|error| error.to_string())
    }

    /// Says that this process accepts clients.
    pub(in crate::control) fn done(&self) {
        // There is room for it: the other one has read what came before. Unheard, this process serves all the same.
        let _ = self.send(&Message::Done, Duration::ZERO);
    }

    fn send(&self, message: &Message, patience: Duration) -> Result<(), String> {
        send(&self.channel, message, &[], patience)
    }
}
