//! Another binary replaces the running one (SIGUSR2): no client notices, and after any failure the old
//! process continues to serve.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::process::{free_addr, until};
use support::successor::children_of;
use support::{Apex, Backend, Clients, SOON, Wire, all, get, ok, size};

fn origin() -> Backend {
    Backend::answering(ok("here"))
}

fn await_refused(addr: SocketAddr) {
    until("connections are still accepted", || {
        TcpStream::connect_timeout(&addr, SOON).is_err().then_some(())
    });
}

/// Waits until something was said behind the first `count` lines.
fn said(apex: &Apex, count: usize, words: &str) -> String {
    apex.stderr.find_behind(count, |line| line.contains(words))
}

/// `listen` with these addresses.
fn listen(addresses: &[SocketAddr]) -> String {
    let quoted: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("listen = [{}]", quoted.join(", "))
}

#[test]
fn another_process_takes_the_place() {
    let origin = origin();
    let mut apex = Apex::linked(&[], "workers = 2", &all(&[origin.addr()]));
    let mut at_rest = apex.client();
    assert_eq!(at_rest.ask(get("/")).text(), "here");
    let (first, began) = (apex.number(), Instant::now());
    let old = apex.upgrade();
    at_rest.expect_end();
    assert_eq!(apex.exit_of(old).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(9), "it waited for nobody: {:?}", began.elapsed());
    assert_ne!(apex.number(), first);
    assert_eq!(apex.client().ask(get("/")).text(), "here");
    // And so on.
    for _ in 0..2 {
        let old = apex.upgrade();
        assert_eq!(apex.client().ask(get("/")).text(), "here");
        assert_eq!(apex.exit_of(old).code(), Some(0));
    }
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    apex.await_refusing();
    let cut: Vec<_> = apex.stderr.all().into_iter().filter(|line| line.contains("left, ")).collect();
    assert!(
        cut.len() == 4 && cut.iter().all(|line| line.ends_with("left, all exchanges finished")),
        "{cut:?}"
    );
}

#[test]
fn no_connection_is_lost_under_full_load() {
    let origin = origin();
    let mut apex = Apex::linked(&[], "workers = 2\naccess_log = false", &all(&[origin.addr()]));
    let rounds = size("APEX_UPGRADES", 3);
    let clients = Clients::come(apex.addr(), 4);
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        clients.await_more(|met| &met.answered, 100);
        let signalled = Instant::now();
        let old = apex.upgrade();
        longest = longest.max(signalled.elapsed());
        assert_eq!(apex.exit_of(old).code(), Some(0));
    }
    clients.await_more(|met| &met.answered, 100);
    let (took, met) = (began.elapsed(), clients.stop());
    support::say(&format!(
        "{rounds} upgrades in {took:?}, the longest until the new process served {longest:?}: {met:?}"
    ));
    let counts = [met.answered, met.refused, met.lost].map(AtomicUsize::into_inner);
    assert!(counts[0] > 100 * rounds && counts[1..] == [0, 0], "{counts:?}");
    assert_eq!(children_of(apex.number()), []);
    // Each of two workers has a listener, and there are connections to the backend, two at most of each client.
    apex.await_sockets_at_most(2 + 8, "sockets were closed");
}

#[test]
fn who_asks_again_and_again_over_one_connection_is_always_answered() {
    let origin = origin();
    let mut apex = Apex::linked(&[], "workers = 2\naccess_log = false", &all(&[origin.addr()]));
    let (addr, stop) = (apex.addr(), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let (mut connections, mut answers) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Wire::connect(addr);
                    connections += 1;
                    // It goes on until it is told that the connection closes.
                    loop {
                        let answer = client.ask(get("/"));
                        assert_eq!(answer.text(), "here");
                        answers += 1;
                        if answer.field("Connection") == Some("close") || stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
                (connections, answers)
            })
        })
        .collect();
    for _ in 0..size("APEX_UPGRADES", 3) {
        let old = apex.upgrade();
        assert_eq!(apex.exit_of(old).code(), Some(0));
    }
    stop.store(true, Ordering::Relaxed);
    let met: Vec<(usize, usize)> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    support::say(&format!("connections and answers of each client: {met:?}"));
    assert!(met.iter().all(|&(connections, answers)| connections > 1 && answers > connections), "{met:?}");
}

#[test]
fn an_exchange_under_way_ends_where_it_began() {
    let (backend, asked, release) = Backend::held();
    let mut apex = Apex::linked(&[], "", &all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(get("/"));
    asked.recv_timeout(SOON).unwrap();
    let two = Backend::answering(ok("two"));
    apex.rewrite("", &all(&[two.addr()]));
    let old = apex.upgrade();
    assert_eq!(apex.client().ask(get("/")).text(), "two");
    assert_eq!(apex.status_of(old), None, "an exchange is open still");
    // What is said to the old one does nothing: it leaves.
    let before = apex.stderr.all().len();
    kill_process(old, Signal::HUP).unwrap();
    kill_process(old, Signal::USR2).unwrap();
    said(&apex, before, "no upgrade: this process leaves");
    release.send(()).unwrap();
    let answer = client.response();
    assert_eq!((answer.text(), answer.field("Connection")), ("held", Some("close")));
    client.expect_end();
    assert_eq!(apex.exit_of(old).code(), Some(0));
}

#[test]
fn a_tunnel_stays_until_the_time_is_up() {
    let backend = Backend::start(|_, mut wire| {
        wire.request();
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        loop {
            let bytes = wire.some();
            if bytes.is_empty() || !wire.try_send(bytes) {
                return;
            }
        }
    });
    let mut apex = Apex::linked(&[], "shutdown_timeout_secs = 1.5", &all(&[backend.addr()]));
    let mut client = apex.client();
    let head = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").head;
    assert_eq!(head.status(), 101);
    let began = Instant::now();
    let old = apex.upgrade();
    client.send("ping");
    assert_eq!(client.take(4), b"ping");
    client.expect_end();
    assert_eq!(apex.exit_of(old).code(), Some(0));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1400) && took < Duration::from_secs(6), "{took:?}");
    said(&apex, 0, "left, 1 exchange cut");
}

#[test]
fn the_first_signal_to_one_that_leaves_cuts_nothing() {
    let (backend, asked, release) = Backend::held();
    let mut apex = Apex::linked(&[], "", &all(&[backend.addr()]));
    let mut clients = [apex.client(), apex.client()];
    for client in &mut clients {
        client.send(get("/"));
        asked.recv_timeout(SOON).unwrap();
    }
    let old = apex.upgrade();
    // A service that is ended, with all its processes.
    kill_process(old, Signal::TERM).unwrap();
    let new = apex.number();
    apex.signal(Signal::TERM);
    // Its parent, the old one, takes notice of its end.
    until("the new one does not end", || (!fs::exists(format!("/proc/{new}")).unwrap()).then_some(()));
    assert_eq!(apex.status_of(old), None, "exchanges are open still");
    release.send(()).unwrap();
    // The backend answers one of them, whichever it is.
    let answered = until("no answer", || {
        (0..2).find(|&index| clients[index].has_more_within(Duration::from_millis(10)))
    });
    assert_eq!(clients[answered].response().text(), "held");
    let cut = &mut clients[1 - answered];
    kill_process(old, Signal::TERM).unwrap();
    said(&apex, 0, "second signal: closing all connections now");
    cut.rest();
    assert_eq!(apex.exit_of(old).code(), Some(0));
}

#[test]
fn whatever_a_new_program_does_the_old_one_serves_on() {
    let origin = origin();
    let keys = "upgrade_timeout_secs = 0.3";
    let mut apex = Apex::linked(&[], keys, &all(&[origin.addr()]));
    let mut client = apex.client();
    let cases = [
        ("exit 1", "ended with exit status: 1; this process serves on"),
        ("kill -SEGV $$", "ended with signal: 11"),
        ("exec sleep 3600", ": it was not ready within 0.3 s; this process serves on"),
        ("exec sleep 3600 </dev/null", "; this process serves on"),
        ("exec </no/such/file", "ended with exit status: 2"),
    ];
    for (script, words) in cases {
        apex.script(script);
        let before = apex.stderr.all().len();
        apex.signal(Signal::USR2);
        let line = said(&apex, before, "the upgrade failed: process ");
        assert!(line.contains(words), "{script}: {line}");
        assert_eq!(client.ask(get("/")).text(), "here", "{script}");
        assert_eq!(apex.client().ask(get("/")).text(), "here", "{script}");
        assert_eq!(children_of(apex.number()), [], "{script}");
    }
    for (program, words) in [
        (apex.beside("missing"), "cannot be started: No such file or directory"),
        (apex.file(), "cannot be started: Permission denied"),
    ] {
        apex.link_to(&program);
        let before = apex.stderr.all().len();
        apex.signal(Signal::USR2);
        let line = said(&apex, before, "the upgrade failed: ");
        assert!(line.contains(words), "{line}");
        assert_eq!(client.ask(get("/")).text(), "here");
    }
    // With a good one again it is done.
    apex.link_back();
    let old = apex.upgrade();
    assert_eq!(apex.exit_of(old).code(), Some(0));
    assert_eq!(apex.client().ask(get("/")).text(), "here");
}

#[test]
fn a_file_that_a_new_process_cannot_serve_leaves_the_old_one_serving() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let apex = Apex::linked(&[], "", &routes);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listen(&[apex.addr(), other.local_addr().unwrap()]);
    for (server, routes, why) in [
        ("", "nonsense", "apex.toml:5:"),
        (&*taken, &*routes, "cannot listen on 127.0.0.1:"),
        ("pid_file = \"/no/such/folder/pid\"", &*routes, "/no/such/folder/pid cannot be written: "),
    ] {
        apex.rewrite(server, routes);
        let before = apex.stderr.all().len();
        apex.signal(Signal::USR2);
        said(&apex, before, why);
        let line = said(&apex, before, "the upgrade failed: ");
        assert!(line.contains("ended with exit status: 1; this process serves on"), "{line}");
        assert_eq!(apex.client().ask(get("/")).text(), "here");
        assert_eq!(children_of(apex.number()), []);
    }
}

#[test]
fn signals_during_an_upgrade_are_heard() {
    let (one, two) = (Backend::answering(ok("one")), Backend::answering(ok("two")));
    let mut apex = Apex::linked(&[], "upgrade_timeout_secs = 3600", &all(&[one.addr()]));
    apex.script("exec sleep 3600");
    apex.signal(Signal::USR2);
    let child = until("no process is started", || children_of(apex.number()).first().copied());
    // A second one is told so, and a reload waits.
    apex.signal(Signal::USR2);
    said(&apex, 0, "an upgrade is under way already");
    apex.rewrite("upgrade_timeout_secs = 3600", &all(&[two.addr()]));
    apex.signal(Signal::HUP);
    said(&apex, 0, "the file is read when the upgrade is over");
    assert_eq!(apex.client().ask(get("/")).text(), "one");
    kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::TERM).unwrap();
    said(&apex, 0, "ended with signal: 15 (SIGTERM); this process serves on");
    said(&apex, 0, "reloaded");
    assert_eq!(apex.client().ask(get("/")).text(), "two");
    // Told to leave, it leaves, and nobody is left behind.
    apex.signal(Signal::USR2);
    let child = until("no process is started", || children_of(apex.number()).first().copied());
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    assert!(!fs::exists(format!("/proc/{child}")).unwrap());
    said(&apex, 0, "the upgrade is given up: this process was told to leave");
}

#[test]
fn a_reload_that_was_asked_for_meanwhile_is_done_by_the_new_process() {
    let (one, two) = (Backend::answering(ok("one")), Backend::answering(ok("two")));
    let mut apex = Apex::linked(&[], "", &all(&[one.addr()]));
    let (binary, waits, goes) =
        (fs::read_link(apex.program()).unwrap(), apex.beside("waits"), apex.beside("goes"));
    // It has read the old file when it is stopped, before it says that it is ready.
    apex.script(&format!(
        "touch {}; while ! test -e {}; do sleep 0.01; done; exec {} \"$@\"",
        waits.display(),
        goes.display(),
        binary.display()
    ));
    let before = apex.stderr.all().len();
    apex.signal(Signal::USR2);
    until("the script does not begin", || waits.exists().then_some(()));
    apex.signal(Signal::HUP);
    said(&apex, before, "the file is read when the upgrade is over");
    fs::write(goes, "").unwrap();
    let old = apex.replaced(before);
    said(&apex, before, ": nothing changed");
    apex.rewrite("", &all(&[two.addr()]));
    apex.signal(Signal::HUP);
    until("two", || (apex.client().ask(get("/")).text() == "two").then_some(()));
    assert_eq!(apex.exit_of(old).code(), Some(0));
}

#[test]
fn the_number_of_workers_changes() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let mut apex = Apex::linked(&[], "workers = 2\naccess_log = false", &routes);
    let clients = Clients::come(apex.addr(), 2);
    for (workers, listeners) in [(1, 2), (5, 5), (3, 5), (1, 5), (2, 5)] {
        apex.rewrite(&format!("workers = {workers}\naccess_log = false"), &routes);
        let before = apex.stderr.all().len();
        apex.signal(Signal::HUP);
        said(&apex, before, "by an upgrade (SIGUSR2) or a restart only: workers");
        let old = apex.upgrade();
        said(&apex, before, &format!("with {workers} worker(s)"));
        clients.await_more(|met| &met.answered, 50);
        assert_eq!(apex.exit_of(old).code(), Some(0));
        assert_eq!(apex.listening(), listeners, "{workers} workers");
    }
    let met = clients.stop();
    let counts = [met.answered, met.refused, met.lost].map(AtomicUsize::into_inner);
    assert!(counts[0] > 250 && counts[1..] == [0, 0], "{counts:?}");
}

#[test]
fn addresses_come_and_go_with_an_upgrade() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let mut apex = Apex::linked(&[], "workers = 2", &routes);
    let (first, second, third) = (apex.addr(), free_addr(), free_addr());
    for (from, to) in [(first, second), (second, third)] {
        apex.rewrite(&listen(&[from, to]), &routes);
        apex.upgrade();
        for addr in [from, to] {
            assert_eq!(Wire::connect(addr).ask(get("/")).text(), "here");
        }
        // Who waits where an address goes is served by the process that had it.
        apex.pause();
        let waiting: Vec<_> = (0..16)
            .map(|_| {
                let mut client = Wire::connect(from);
                client.send(get("/"));
                client
            })
            .collect();
        apex.rewrite(&listen(&[to]), &routes);
        let before = apex.stderr.all().len();
        apex.signal(Signal::USR2);
        apex.resume();
        apex.replaced(before);
        for mut client in waiting {
            assert_eq!(client.response().text(), "here");
        }
        await_refused(from);
        assert_eq!(Wire::connect(to).ask(get("/")).text(), "here");
        // What was handed over may go by a reload, as any other.
        let (before, everywhere) = (apex.stderr.all().len(), SocketAddr::from(([0, 0, 0, 0], to.port())));
        apex.rewrite(&listen(&[everywhere]), &routes);
        apex.signal(Signal::HUP);
        said(&apex, before, &format!("listen: +{everywhere}, -{to}"));
        apex.rewrite(&listen(&[to]), &routes);
        apex.upgrade();
        assert_eq!(Wire::connect(to).ask(get("/")).text(), "here");
    }
}

#[test]
fn a_port_that_the_kernel_chose_stays() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let mut apex = Apex::linked(&[], "workers = 2", &routes);
    let keys = format!("listen = [\"{}\", \"127.0.0.1:0\"]", apex.addr());
    apex.rewrite(&keys, &routes);
    apex.signal(Signal::HUP);
    let line = said(&apex, 0, "127.0.0.1:0 is ");
    let chosen: SocketAddr = line.split(" is ").nth(1).unwrap().parse().unwrap();
    for _ in 0..2 {
        let old = apex.upgrade();
        assert_eq!(apex.exit_of(old).code(), Some(0));
        assert_eq!(Wire::connect(chosen).ask(get("/")).text(), "here");
    }
}

#[test]
fn listeners_of_socket_activation_live_on() {
    let origin = origin();
    let listener = support::process::listener();
    let addr = listener.local_addr().unwrap();
    let mut apex = Apex::activated(listener.try_clone().unwrap(), "workers = 2", &all(&[origin.addr()]));
    for _ in 0..2 {
        let old = apex.upgrade();
        assert_eq!(apex.exit_of(old).code(), Some(0));
        assert_eq!(apex.client().ask(get("/")).text(), "here");
    }
    // Whoever opened it has it still, and nobody shut the door.
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    let _waiting = TcpStream::connect_timeout(&addr, SOON).unwrap();
    assert!(listener.accept().is_ok());
}

#[test]
fn a_new_process_has_nothing_of_the_old_one_but_its_listeners() {
    let (backend, asked, release) = Backend::held();
    let mut apex = Apex::linked(&[], "workers = 2", &all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(get("/"));
    asked.recv_timeout(SOON).unwrap();
    let listeners = apex.socket_numbers();
    apex.upgrade();
    let theirs = apex.socket_numbers();
    let shared: Vec<_> = theirs.iter().filter(|number| listeners.contains(number)).collect();
    // Two sockets, and by two descriptors each: the worker's, and the one that is kept for a later process.
    assert_eq!((theirs.len(), shared.len()), (4, 4), "{theirs:?} {listeners:?}");
    release.send(()).unwrap();
    assert_eq!(client.response().text(), "held");
}

#[test]
fn a_file_that_was_replaced_while_it_ran_is_found() {
    let origin = origin();
    let apex_file = |apex: &Apex| apex.beside("copy");
    let mut apex = Apex::linked(&[], "", &all(&[origin.addr()]));
    // A copy, so that the running file itself goes.
    let binary = fs::read_link(apex.program()).unwrap();
    let copy = || {
        let new = apex.beside("new-copy");
        fs::copy(&binary, &new).unwrap();
        fs::rename(new, apex_file(&apex)).unwrap();
    };
    copy();
    let running = |apex: &Apex| fs::read_link(format!("/proc/{}/exe", apex.number())).unwrap();
    copy();
    apex.link_to(&apex_file(&apex));
    apex.upgrade();
    assert_eq!(running(&apex), apex_file(&apex));
    fs::copy(&binary, apex.beside("newer")).unwrap();
    fs::rename(apex.beside("newer"), apex_file(&apex)).unwrap();
    assert!(running(&apex).to_string_lossy().ends_with(" (deleted)"));
    apex.upgrade();
    assert_eq!(running(&apex), apex_file(&apex));
    assert_eq!(apex.client().ask(get("/")).text(), "here");
}

#[test]
fn the_variable_alone_changes_nothing() {
    let origin = origin();
    let apex = Apex::with_env(&[("APEX_UPGRADE", "1")], "", &all(&[origin.addr()]));
    assert_eq!(apex.client().ask(get("/")).text(), "here");
}

#[test]
fn the_pid_file_has_the_number_of_who_serves() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let mut apex = Apex::linked(&[], "", &routes);
    let [path, other] = ["pid", "other"].map(|name| apex.beside(name));
    let keys = |path: &Path| format!("pid_file = \"{}\"", path.display());
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let reload = |apex: &Apex, server: &str| {
        apex.rewrite(server, &routes);
        let before = apex.stderr.all().len();
        apex.signal(Signal::HUP);
        said(apex, before, ": reloaded ")
    };
    assert!(reload(&apex, &keys(&path)).ends_with(": server: pid_file"));
    assert_eq!(read(&path), format!("{}\n", apex.number()));
    // Who takes the place takes the file, and it outlives the one that leaves.
    let old = apex.upgrade();
    assert_eq!(apex.exit_of(old).code(), Some(0));
    assert_eq!(read(&path), format!("{}\n", apex.number()));
    // With another name for it, the one that leaves takes its own along.
    apex.rewrite(&keys(&other), &routes);
    let old = apex.upgrade();
    assert_eq!(apex.exit_of(old).code(), Some(0));
    assert_eq!(read(&other), format!("{}\n", apex.number()));
    assert!(!path.exists());
    // Where it cannot be written it stays where it was, and all else is done.
    let before = apex.stderr.all().len();
    let words = reload(&apex, &format!("{}\nvia = \"x\"", keys(Path::new("/no/such/folder/pid"))));
    assert!(words.ends_with(": server: via"), "{words}");
    said(&apex, before, "the PID file /no/such/folder/pid cannot be written: No such file or directory");
    assert!(other.exists());
    assert!(reload(&apex, &keys(&path)).ends_with(": server: via, pid_file"));
    assert!(path.exists() && !other.exists());
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn addresses_of_names_are_handed_over() {
    let origin = origin();
    let routes = format!(
        "[[routes]]\nname = \"all\"\nbackends = [{{ url = \"http://localhost:{}\" }}]\n",
        origin.addr().port()
    );
    let mut apex = Apex::linked(&[], "", &routes);
    if apex.client().ask(get("/")).text() != "here" {
        return support::say("SKIPPED: localhost does not resolve");
    }
    let told = |apex: &Apex| apex.stderr.all().iter().filter(|line| line.contains("localhost is ")).count();
    said(&apex, 0, "localhost is ");
    for _ in 0..2 {
        let old = apex.upgrade();
        assert_eq!(apex.client().ask(get("/")).text(), "here");
        assert_eq!(apex.exit_of(old).code(), Some(0));
    }
    // What the process before knew is no news.
    assert_eq!(told(&apex), 1);
}
