//! What two processes say to each other while one takes the other's place: a line for each message, with sockets beside some.
//!
//! ```text
//! the one that runs                     the one that it started
//!                                 <--   Hello: it takes names, too
//! Begin, Listen, More, …, End     -->
//! Name, …, NamesEnd               -->   if it said Hello
//!                                 <--   Ready: it could serve now, and accepts nobody yet
//! Go                              -->
//!                                 <--   Done: it accepts
//! the end of the channel          -->   the service manager was told, and the other one leaves
//! ```
//!
//! Up to `Go` the new process may be ended by anything at all, and nothing is lost.
//!
//! A message that an older process does not know ends the upgrade. So nothing new is said unless the other one is known to
//! understand it: the process that runs says so by the variable [`SPEAKS`], the one that it started by `Hello`.

use super::super::event::Then;
use crate::base::Address;
use crate::net::Listener;
use crate::net::handover::{Channel, Received};
use crate::worker::Ownership;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// It has the number of the process that runs, whose place is to be taken. What matters besides is on the standard input.
pub(in crate::control) const VARIABLE: &str = "APEX_UPGRADE";

/// What the running process understands beside [`VERSION`]: `names PID`. Its number is part of it, because the variable of an earlier
/// process may still be in the environment.
pub(in crate::control) const SPEAKS: &str = "APEX_UPGRADE_SPEAKS";

/// The version of these words. Another one is not understood, and the process that runs goes on.
const VERSION: u32 = 1;

/// The version that a successor says of itself.
const HELLO: u32 = 2;

/// What [`SPEAKS`] says of a process with that number.
pub(in crate::control) fn speaks(number: u32) -> String {
    format!("names {number}")
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Message {
    /// The first one, in this version.
    Begin(u32),
    /// An address as in `listen`, and who owns its sockets, which come with it.
    Listen(Address, Ownership),
    /// More sockets of that address.
    More,
    /// That was all.
    End,
    /// The successor's own version: names may be sent to it.
    Hello(u32),
    /// A backend's name, and its addresses.
    Name(String, Vec<IpAddr>),
    /// Those were all names.
    NamesEnd,
    /// All is prepared. These addresses are not wanted, counted from 0.
    Ready(Vec<usize>),
    /// Accept; and then read the file once more, where somebody asked for it meanwhile.
    Go(Then),
    /// Whoever comes is accepted.
    Done,
}

impl Message {
    /// The first message.
    pub(in crate::control) fn begin() -> Self {
        Self::Begin(VERSION)
    }

    /// What a successor says first to a process that understands it.
    pub(in crate::control) fn hello() -> Self {
        Self::Hello(HELLO)
    }

    fn text(&self) -> String {
        match self {
            Self::Begin(version) => format!("apex {version}"),
            Self::Listen(address, Ownership::Shared) => format!("listen-shared {address}"),
            Self::Listen(address, Ownership::Exclusive | Ownership::HandedOver) => {
                format!("listen {address}")
            }
            Self::More => String::from("more"),
            Self::End => String::from("end"),
            Self::Hello(version) => format!("hello {version}"),
            Self::Name(host, addresses) => {
                let addresses: Vec<String> = addresses.iter().map(|address| format!(" {address}")).collect();
                format!("name {host}{}", addresses.concat())
            }
            Self::NamesEnd => String::from("names-end"),
            Self::Ready(unwanted) => {
                let unwanted: Vec<String> = unwanted.iter().map(|index| format!(" {index}")).collect();
                format!("ready{}", unwanted.concat())
            }
            Self::Go(Then::Serve) => String::from("go"),
            Self::Go(Then::Reload) => String::from("go-and-reload"),
            Self::Done => String::from("done"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some((word @ ("listen" | "listen-shared"), address)) = text.split_once(' ') {
            // The path of a Unix socket may have spaces.
            let owner = if word == "listen" { Ownership::Exclusive } else { Ownership::Shared };
            return address.parse().ok().map(|address| Self::Listen(address, owner));
        }
        let mut words = text.split(' ');
        let message = match (words.next()?, &mut words) {
            ("apex", words) => Self::Begin(words.next()?.parse().ok()?),
            ("more", _) => Self::More,
            ("end", _) => Self::End,
            ("hello", words) => Self::Hello(words.next()?.parse().ok()?),
            ("name", words) => {
                let host = words.next().filter(|host| !host.is_empty())?.to_owned();
                Self::Name(host, words.map(|address| address.parse().ok()).collect::<Option<_>>()?)
            }
            ("names-end", _) => Self::NamesEnd,
            ("ready", words) => Self::Ready(words.map(|index| index.parse().ok()).collect::<Option<_>>()?),
            ("go", _) => Self::Go(Then::Serve),
            ("go-and-reload", _) => Self::Go(Then::Reload),
            ("done", _) => Self::Done,
            _ => return None,
        };
        words.next().is_none().then_some(message)
    }
}

/// Sends a message, with these sockets beside it.
///
/// # Errors
/// In words.
pub(in crate::control) fn send(
    channel: &Channel,
    message: &Message,
    sockets: &[Listener],
    patience: Duration,
) -> Result<(), String> {
    channel.send(&message.text(), sockets, patience).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => String::from("it does not listen"),
        io::ErrorKind::TimedOut => String::from("it reads nothing"),
        _ => format!("it cannot be told: {error}"),
    })
}

/// Waits for a message: for `patience`, or without a limit.
///
/// # Errors
/// None came, or none that could be understood; why, in words.
pub(in crate::control) fn receive(
    channel: &Channel,
    patience: Option<Duration>,
) -> Result<(Message, Vec<Listener>), Silence> {
    match channel.receive(patience) {
        Ok(Received::Record(text, sockets)) => match Message::parse(&text) {
            Some(message) => Ok((message, sockets)),
            None => Err(Silence::Other(String::from("it says what is not understood"))),
        },
        Ok(Received::Closed) => Err(Silence::Closed),
        Ok(Received::Nothing) => Err(Silence::Late),
        Err(error) => Err(Silence::Other(format!("what it says cannot be read: {error}"))),
    }
}

/// Why no message came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Silence {
    /// The other end is closed.
    Closed,
    /// The time is up.
    Late,
    /// In words.
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_read_as_it_was_written() {
        let [address, path] =
            ["[::1]:8080", "unix:/run/a b.sock"].map(|text| text.parse::<Address>().unwrap());
        for message in [
            Message::begin(),
            Message::Begin(7),
            Message::Listen(address.clone(), Ownership::Exclusive),
            Message::Listen(address, Ownership::Shared),
            Message::Listen(path.clone(), Ownership::Exclusive),
            Message::Listen(path, Ownership::Shared),
            Message::More,
            Message::End,
            Message::hello(),
            Message::Name("a.test".to_owned(), vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()]),
            Message::Name("none.test".to_owned(), Vec::new()),
            Message::NamesEnd,
            Message::Ready(Vec::new()),
            Message::Ready(vec![0, 12]),
            Message::Go(Then::Serve),
            Message::Go(Then::Reload),
            Message::Done,
        ] {
            assert_eq!(Message::parse(&message.text()).as_ref(), Some(&message), "{message:?}");
        }
    }

    #[test]
    fn nothing_else_is_a_message() {
        for text in [
            "",
            " ",
            "apex",
            "apex one",
            "listen",
            "listen 8080",
            "go on",
            "ready 1 x",
            "READY",
            "done ",
            "hello",
            "name",
            "name  ::1",
            "name a b",
        ] {
            assert_eq!(Message::parse(text), None, "{text:?}");
        }
    }
}
