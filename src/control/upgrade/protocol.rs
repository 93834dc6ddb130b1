//! What two processes say to each other while one takes the other's place: a line for each message, with sockets beside some.
//!
//! ```text
//! the one that runs                     the one that it started
//! Begin, Listen, More, …, End     -->
//!                                 <--   Ready: it could serve now, and accepts nobody yet
//! Go                              -->
//!                                 <--   Done: it accepts
//! the end of the channel          -->   the service manager was told, and the other one leaves
//! ```
//!
//! Up to `Go` the new process may be ended by anything at all, and nothing is lost.

use crate::base::Address;
use crate::net::Listener;
use crate::net::handover::{Channel, Received};
use crate::worker::Ownership;
use std::io;
use std::time::Duration;

/// The version of these words. Another one is not understood, and the process that runs goes on.
const VERSION: u32 = 1;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Message {
    /// The first one, in this version.
    Begin(u32),
    /// An address, as `listen` has it, who has its sockets, and sockets.
    Listen(Address, Ownership),
    /// More sockets of that address.
    More,
    /// That was all.
    End,
    /// All is prepared. These addresses are not wanted, counted from 0.
    Ready(Vec<usize>),
    /// Accept; and then read the file once more, where somebody asked for it meanwhile.
    Go(Then),
    /// Whoever comes is accepted.
    Done,
}

/// What follows on the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Then {
    /// Nothing.
    Serve,
    /// A reload that was asked for meanwhile.
    Reload,
}

impl Message {
    /// The first message.
    pub(in crate::control) fn begin() -> Self {
        Self::Begin(VERSION)
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

/// Waits for a message, for so long or for ever.
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
        for text in
            ["", " ", "apex", "apex one", "listen", "listen 8080", "go on", "ready 1 x", "READY", "done "]
        {
            assert_eq!(Message::parse(text), None, "{text:?}");
        }
    }
}
