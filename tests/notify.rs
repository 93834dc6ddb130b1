//! The reports of Apex to the service manager that started it (the protocol of `sd_notify`): ready,
//! reloading, stopping, each at the right time.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use rustix::process::Signal;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use support::{Apex, Backend, SOON, all, get, ok};

/// A service manager, and the name that it listens at.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn new(test: &str) -> Self {
        let name = format!("apex-test-{test}-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, name: format!("@{name}") }
    }

    /// The assignments of the next message.
    fn hear(&self) -> Vec<String> {
        let mut octets = [0; 4096];
        let count = self.socket.recv(&mut octets).unwrap();
        String::from_utf8(octets[..count].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn each_state_is_told_when_it_is_so() {
    let (one, two) = (Backend::answering(ok("one")), Backend::answering(ok("two")));
    let manager = Manager::new("states");
    let mut apex = Apex::with_env(&[("NOTIFY_SOCKET", &manager.name)], "", &all(&[one.addr()]));
    let ready = |status: &str| {
        vec!["READY=1".to_owned(), format!("MAINPID={}", apex.number()), format!("STATUS={status}")]
    };
    let serving = format!("serving 1 route(s) on {}", apex.addr());
    assert_eq!(manager.hear(), ready(&serving));

    apex.rewrite("", &all(&[two.addr()]));
    apex.signal(Signal::HUP);
    let reloading = manager.hear();
    assert_eq!(reloading[0], "RELOADING=1");
    let since = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
    assert!(since > 0);
    assert_eq!(manager.hear(), ready(&serving));
    // Ready means that the new table is in force.
    assert_eq!(apex.client().ask(get("/")).text(), "two");

    // A broken file: it is ready again all the same, and says why nothing changed.
    apex.rewrite("", "nonsense");
    apex.signal(Signal::HUP);
    assert_eq!(manager.hear()[0], "RELOADING=1");
    let again = manager.hear();
    assert_eq!(again[0], "READY=1");
    assert!(again[2].ends_with("was not reloaded: the table in force stays"), "{again:?}");

    apex.signal(Signal::TERM);
    assert_eq!(manager.hear()[0], "STOPPING=1");
    assert_eq!(apex.exit().code(), Some(0));
}

#[test]
fn the_main_process_is_told_by_the_one_that_was_it() {
    let origin = Backend::answering(ok("here"));
    let manager = Manager::new("main");
    let mut apex = Apex::linked(&[("NOTIFY_SOCKET", &manager.name)], "", &all(&[origin.addr()]));
    assert_eq!(manager.hear()[0], "READY=1");
    // One that comes to nothing is none of the manager's business.
    apex.script("exit 1");
    let before = apex.stderr.all().len();
    apex.signal(Signal::USR2);
    apex.stderr.find_behind(before, |line| line.contains("the upgrade failed"));
    apex.link_back();
    for _ in 0..2 {
        let old = apex.upgrade();
        // A manager believes the main process alone: so the old one names the new one, and only then that one speaks.
        let main = format!("MAINPID={}", apex.number());
        assert_eq!(manager.hear(), [&*main]);
        let ready = manager.hear();
        assert_eq!(ready[..2], ["READY=1", &main]);
        // The old one leaves without a word: it would be taken for the service's.
        assert_eq!(apex.exit_of(old).code(), Some(0));
    }
    apex.signal(Signal::TERM);
    assert_eq!(manager.hear()[0], "STOPPING=1");
    assert_eq!(apex.exit().code(), Some(0));
}

#[test]
fn stopping_is_told_before_the_delay() {
    let origin = Backend::answering(ok("here"));
    let manager = Manager::new("delay");
    let keys = "shutdown_delay_secs = 3600";
    let mut apex = Apex::with_env(&[("NOTIFY_SOCKET", &manager.name)], keys, &all(&[origin.addr()]));
    assert_eq!(manager.hear()[0], "READY=1");
    apex.signal(Signal::TERM);
    assert_eq!(manager.hear()[0], "STOPPING=1");
    assert_eq!(apex.client().ask(get("/")).text(), "here");
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
}

#[test]
fn a_manager_that_left_takes_nothing_with_it() {
    let origin = Backend::answering(ok("here"));
    let apex = Apex::with_env(&[("NOTIFY_SOCKET", "@apex-test-nobody")], "", &all(&[origin.addr()]));
    apex.stderr.find(|line| line.contains("the service manager cannot be told: "));
    assert_eq!(apex.client().ask(get("/")).text(), "here");
}
