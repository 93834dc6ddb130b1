//! A signal is handled whatever the process is doing: reading a file that hangs, upgrading to a program that
//! hangs, removing a PID file that hangs. A signal with a meaning in other servers does not end the process.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use support::process::until;
use support::successor::children_of;
use support::{Apex, Backend, all, get, ok};

/// What a signal may take to be acted upon. It is milliseconds; the rest is for machines that are busy.
const AT_ONCE: Duration = Duration::from_secs(5);

fn origin() -> Backend {
    Backend::answering(ok("here"))
}

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Tells it to leave; how long that took.
fn leave(apex: &mut Apex) -> Duration {
    let began = Instant::now();
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    began.elapsed()
}

#[test]
fn signals_that_others_use_do_not_end_it() {
    let origin = origin();
    let mut apex = Apex::start(&all(&[origin.addr()]));
    let mut client = apex.client();
    assert_eq!(client.ask(get("/")).text(), "here");
    let before = apex.stderr.count();
    for signal in [
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::PIPE,
        Signal::XCPU,
        Signal::XFSZ,
        Signal::WINCH,
        Signal::CHILD,
        Signal::URG,
        Signal::CONT,
    ] {
        apex.signal(signal);
        assert_eq!(client.ask(get("/")).text(), "here", "{signal:?}");
    }
    let number = apex.number();
    let ended = std::process::Command::new("sh")
        .args(["-c", &format!("for s in 16 35 40 64; do kill -$s {number} || exit 1; done")])
        .status();
    assert!(ended.is_ok_and(|status| status.success()));
    // It is heard in their order, so that this answer comes after all of them.
    apex.signal(Signal::USR1);
    let counts = apex.stderr.find_behind(before, |line| line.contains("since the start: "));
    assert!(counts.contains(" responses_2xx=12") && counts.contains("connections_accepted="), "{counts}");
    assert_eq!(client.ask(get("/")).text(), "here");
    assert!(leave(&mut apex) < AT_ONCE);
    let said = apex.stderr.all();
    let end = &said[said.len() - 2..];
    assert!(end[0].contains("since the start: ") && end[1].contains("left, "), "{end:?}");
}

#[test]
fn a_fifo_in_place_of_the_file_is_refused_and_signals_are_heard() {
    let origin = origin();
    let mut apex = Apex::start(&all(&[origin.addr()]));
    fs::remove_file(apex.file()).unwrap();
    make_fifo(&apex.file());
    for _ in 0..3 {
        let before = apex.stderr.count();
        apex.signal(Signal::HUP);
        apex.stderr.find_behind(before, |line| line.contains("it is a FIFO, not a regular file"));
        apex.stderr.find_behind(before, |line| line.contains("was not reloaded"));
    }
    assert_eq!(apex.client().ask(get("/")).text(), "here");
    assert!(leave(&mut apex) < AT_ONCE);
}

#[test]
fn a_fifo_in_place_of_the_pid_file_does_not_hold_up_the_end() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let mut apex = Apex::start(&routes);
    let path = apex.beside("pid");
    apex.rewrite(&format!("pid_file = \"{}\"", path.display()), &routes);
    apex.signal(Signal::HUP);
    apex.stderr.find(|line| line.contains(": server: pid_file"));
    fs::remove_file(&path).unwrap();
    make_fifo(&path);
    assert!(leave(&mut apex) < AT_ONCE);
    assert!(path.exists());
}

#[test]
fn what_is_no_regular_file_is_no_pid_file() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let apex = Apex::start(&routes);
    let (fifo, own) = (apex.beside("fifo"), apex.file());
    make_fifo(&fifo);
    for (path, reason) in [
        (Path::new("/dev/null"), "it is a device, not a regular file"),
        (&*fifo, "it is a FIFO, not a regular file"),
        (&*own, "it is the configuration file"),
        (own.parent().unwrap(), "it is a directory, not a regular file"),
    ] {
        apex.rewrite(&format!("pid_file = \"{}\"", path.display()), &routes);
        let before = apex.stderr.count();
        apex.signal(Signal::HUP);
        apex.stderr.find_behind(before, |line| line.contains(reason));
        assert!(fs::read_to_string(&own).unwrap().contains("pid_file"), "the file was written over");
    }
}

/// A program that takes a place, is ready at once, and then never says that it serves. It stops where the process before has been
/// told that it is ready.
const NEVER_DONE: &str = r#"
import os, socket, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN if IGNORE else signal.SIG_DFL)
s = socket.socket(fileno=0)
s.settimeout(30)
while s.recvmsg(65536, 65536)[0] != b"end": pass
s.send(b"ready")
s.recvmsg(65536, 65536)
open(WAITS, "w").close()
signal.pause()
"#;

/// Has `apex` upgrade to such a program, and waits until that was let accept. None where there is no Python.
fn begin_endless_upgrade(apex: &Apex, ignores_signals: bool) -> Option<Pid> {
    let python =
        ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| Path::new(path).exists());
    let Some(python) = python else {
        support::say("SKIPPED: no python3");
        return None;
    };
    let (program, waits) = (apex.beside("never.py"), apex.beside("waits"));
    let text = NEVER_DONE
        .replace("WAITS", &format!("\"{}\"", waits.display()))
        .replace("IGNORE", if ignores_signals { "True" } else { "False" });
    fs::write(&program, text).unwrap();
    apex.script(&format!("exec {python} {}", program.display()));
    apex.signal(Signal::USR2);
    until("the program is not let accept", || waits.exists().then_some(()));
    let child = children_of(apex.number())[0];
    Pid::from_raw(child.cast_signed())
}

fn lives(process: Pid) -> bool {
    kill_process(process, Signal::CONT).is_ok()
}

#[test]
fn a_signal_while_a_successor_hangs_ends_both() {
    let origin = origin();
    let mut apex = Apex::linked(&[], "", &all(&[origin.addr()]));
    let Some(child) = begin_endless_upgrade(&apex, false) else { return };
    assert_eq!(apex.client().ask(get("/")).text(), "here");
    assert!(leave(&mut apex) < AT_ONCE, "{:#?}", apex.stderr.all());
    apex.stderr.find(|line| line.contains("the upgrade is given up: this process was told to leave"));
    assert!(!lives(child));
    apex.await_refusing();
}

#[test]
fn a_second_signal_ends_a_successor_that_listens_to_none() {
    let origin = origin();
    let mut apex = Apex::linked(&[], "", &all(&[origin.addr()]));
    let Some(child) = begin_endless_upgrade(&apex, true) else { return };
    apex.signal(Signal::TERM);
    apex.stderr.find(|line| line.contains("leaving: "));
    apex.await_refusing();
    assert!(!apex.has_ended() && lives(child), "a successor is asked to end first");
    assert!(leave(&mut apex) < AT_ONCE);
    assert!(!lives(child));
}

#[test]
fn an_upgrade_that_is_asked_for_during_a_reload_is_done_after_it() {
    let (one, two) = (Backend::answering(ok("one")), Backend::answering(ok("two")));
    let mut apex = Apex::linked(&[], "", &all(&[one.addr()]));
    apex.rewrite("", &all(&[two.addr()]));
    let before = apex.stderr.count();
    apex.pause();
    apex.signal(Signal::HUP);
    apex.signal(Signal::USR2);
    apex.resume();
    let old = apex.replaced(before);
    assert_eq!(apex.exit_of(old).code(), Some(0));
    assert_eq!(apex.client().ask(get("/")).text(), "two");
}

#[test]
fn a_number_of_sockets_that_cannot_be_is_not_believed() {
    let origin = origin();
    let env = [("LISTEN_FDS", "1000000000"), ("LISTEN_FDS_FIRST_FD", "3")];
    let apex = Apex::with_env(&env, "", &all(&[origin.addr()]));
    apex.stderr.find(|line| line.contains("LISTEN_FDS=1000000000 is ignored: the descriptor limit is "));
    assert_eq!(apex.client().ask(get("/")).text(), "here");
    assert!(apex.resident_bytes() < 100 << 20);
}

#[test]
fn a_signal_while_the_file_is_awaited_at_the_start_is_heard() {
    let file = std::env::temp_dir().join(format!("apex-signals-{}.toml", std::process::id()));
    make_fifo(&file);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_apex"))
        .arg("--config")
        .arg(&file)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // SIGUSR1 would end it, if it were not handled yet: it is when the FIFO is opened, and from then on.
    let writer = fs::OpenOptions::new().write(true).open(&file).unwrap();
    for signal in [Signal::USR1, Signal::HUP, Signal::TERM] {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    let began = Instant::now();
    let status = until("it does not end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < AT_ONCE);
    drop(writer);
    fs::remove_file(file).unwrap();
}
