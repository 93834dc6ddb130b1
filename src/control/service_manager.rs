//! What Apex tells the service manager that started it, by the protocol of systemd's `sd_notify`: ready, reloading, stopping. Where
//! nobody asked to be told, nothing is.

use super::report::info;
use crate::net::process;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The manager that is told, if any.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

/// What the manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State<'a> {
    /// It serves; in words, what.
    Ready(&'a str),
    /// The file is being read again. `Ready` follows, whatever comes of it.
    Reloading,
    /// It leaves.
    Stopping,
    /// Another process has taken its place. Whatever is told from now on is that one's.
    Replaced(u32),
}

impl ServiceManager {
    /// The manager that `NOTIFY_SOCKET` names.
    pub(super) fn from_env() -> Self {
        Self::at(std::env::var_os("NOTIFY_SOCKET").as_deref())
    }

    fn at(name: Option<&OsStr>) -> Self {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Self { socket: None } };
        let made = address(name).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // A manager that does not read delays nobody.
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        if let Err(error) = &made {
            info(format_args!("the service manager cannot be told at {}: {error}", name.display()));
        }
        Self { socket: made.ok() }
    }

    /// Tells it.
    pub(super) fn tell(&self, state: State<'_>) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(text(state).as_bytes(), address) {
            info(format_args!("the service manager cannot be told: {error}"));
        }
    }
}

/// A path, or an abstract name after `@` (unix(7)).
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    }
}

/// The assignments of one message, a line each.
fn text(state: State<'_>) -> String {
    match state {
        State::Ready(words) => {
            // A line of its own would be another assignment.
            let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("READY=1\nMAINPID={}\nSTATUS={words}\n", std::process::id())
        }
        State::Reloading => {
            format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reloading\n", process::monotonic_us())
        }
        State::Stopping => String::from("STOPPING=1\nSTATUS=leaving\n"),
        State::Replaced(number) => format!("MAINPID={number}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a manager at that address hears of these.
    fn heard(manager: &UnixDatagram, name: &OsStr, states: &[State<'_>]) -> Vec<String> {
        let told = ServiceManager::at(Some(name));
        let mut octets = [0; 4096];
        let hear = |state: &State<'_>| {
            told.tell(*state);
            let count = manager.recv(&mut octets).unwrap();
            String::from_utf8(octets[..count].to_vec()).unwrap()
        };
        states.iter().map(hear).collect()
    }

    #[test]
    fn tells_a_manager_with_an_abstract_name() {
        let name = format!("apex-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let before = process::monotonic_us();
        let states = [State::Ready("two\nwords"), State::Reloading, State::Stopping, State::Replaced(7)];
        let texts = heard(&manager, format!("@{name}").as_ref(), &states);
        let pid = std::process::id();
        assert_eq!(texts[0], format!("READY=1\nMAINPID={pid}\nSTATUS=two words\n"));
        let since = texts[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let since: u64 = since.lines().next().unwrap().parse().unwrap();
        assert!(before <= since && since <= process::monotonic_us(), "{since}");
        assert_eq!(texts[2..], ["STOPPING=1\nSTATUS=leaving\n", "MAINPID=7\n"]);
    }

    #[test]
    fn a_manager_that_is_not_there_is_done_without() {
        for name in [None, Some(""), Some("nonsense"), Some("/no/such/socket"), Some("@apex-nobody")] {
            ServiceManager::at(name.map(OsStr::new)).tell(State::Stopping);
        }
        assert!(address(OsStr::new("vsock:2:1")).is_err());
    }
}
