//! Signals to a running Apex: a new file (SIGHUP), an orderly exit (SIGTERM), an immediate exit.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use rustix::process::Signal;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::process::{FIRST_ROUTE_LINE, until};
use support::{Apex, Backend, SOON, all, echo, get, ok, route};

/// Asks until the answer is this one.
fn await_answer(apex: &Apex, target: &str, wanted: &str) {
    until(wanted, || (apex.client().ask(get(target)).text() == wanted).then_some(()));
}

#[test]
fn a_new_file_takes_effect_without_closing_anything() {
    let (one, two) = (Backend::answering(ok("one")), Backend::answering(ok("two")));
    let apex = Apex::start(&all(&[one.addr()]));
    let mut client = apex.client();
    assert_eq!(client.ask(get("/")).text(), "one");
    apex.rewrite("", &all(&[two.addr()]));
    apex.signal(Signal::HUP);
    await_answer(&apex, "/", "two");
    assert_eq!(client.ask(get("/")).text(), "two", "the connection that was open goes on, by the new table");
}

#[test]
fn an_exchange_under_way_keeps_its_backend() {
    let (backend, asked, release) = Backend::held();
    let two = Backend::answering(ok("two"));
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(get("/"));
    asked.recv_timeout(SOON).unwrap();
    apex.rewrite("", &all(&[two.addr()]));
    apex.signal(Signal::HUP);
    // Not by asking again and again: what is asked before the new table is there would be held too.
    until("reloaded", || apex.stderr.all().iter().any(|line| line.contains("reloaded")).then_some(()));
    assert_eq!(apex.client().ask(get("/")).text(), "two");
    release.send(()).unwrap();
    assert_eq!(client.response().text(), "held");
}

/// Reloads, and waits until that is told.
fn reload(apex: &Apex, server: &str, routes: &str) -> String {
    apex.rewrite(server, routes);
    let before = apex.stderr.count();
    apex.signal(Signal::HUP);
    apex.stderr.find_behind(before, |line| line.contains("reloaded"))
}

/// A backend that tells when a connection to it has ended, with its number.
fn telling(content: &'static str) -> (Backend, mpsc::Receiver<usize>) {
    let (tell, ended) = mpsc::channel();
    let backend = Backend::start(move |number, mut wire| {
        while wire.try_request().is_some() && wire.try_send(ok(content)) {}
        let _ = tell.send(number);
    });
    (backend, ended)
}

/// No timer is to close what rests.
const AT_REST: &str = "backend_idle_timeout_secs = 600";

#[test]
fn connections_to_backends_that_stay_are_kept() {
    let ((one, ended), (two, _)) = (telling("one"), telling("two"));
    let to = |keys: &str, backends: &[_]| route("r", keys, backends);
    let apex = Apex::with(AT_REST, &to("", &[one.addr()]));
    assert_eq!(apex.client().ask(get("/")).text(), "one");
    // Everything else about it changes: other routes, other balancing, another weight, a second backend beside it.
    let others = [
        (AT_REST.to_owned(), to("path_prefix = \"/a\"", &[one.addr()])),
        (AT_REST.to_owned(), to("load_balancing = \"random\"", &[one.addr(), two.addr()])),
        (AT_REST.to_owned(), route("other", "", &[two.addr()]) + &to("path_prefix = \"/a\"", &[one.addr()])),
        (format!("{AT_REST}\ntimeout_secs = 7"), to("load_balancing = \"least_connections\"", &[one.addr()])),
    ];
    for (server, routes) in others {
        assert!(reload(&apex, &server, &routes).contains(": reloaded "));
        // More often than any balancing leaves one out, so that a second connection would show.
        until("one answers", || (apex.client().ask(get("/a")).text() == "one").then_some(()));
    }
    assert_eq!((one.accepted(), ended.try_recv().ok()), (1, None), "a connection was not used again");
}

#[test]
fn connections_to_a_backend_that_goes_are_closed() {
    let ((one, ended), (two, two_ended)) = (telling("one"), telling("two"));
    let apex = Apex::with(AT_REST, &all(&[one.addr(), two.addr()]));
    let mut client = apex.client();
    for _ in 0..2 {
        client.ask(get("/"));
    }
    assert_eq!([one.accepted(), two.accepted()], [1, 1]);
    reload(&apex, AT_REST, &all(&[two.addr()]));
    assert_eq!(ended.recv_timeout(SOON), Ok(0), "a connection at rest stays");
    // Another backend in its place has nothing of it, and comes back as if it were new.
    let three = Backend::answering(ok("three"));
    reload(&apex, AT_REST, &all(&[three.addr()]));
    assert_eq!((two_ended.recv_timeout(SOON), client.ask(get("/")).text()), (Ok(0), "three"));
    reload(&apex, AT_REST, &all(&[one.addr()]));
    assert_eq!(client.ask(get("/")).text(), "one");
    assert_eq!([one.accepted(), two.accepted(), three.accepted()], [2, 1, 1]);
}

#[test]
fn an_exchange_with_a_backend_that_went_ends_and_its_connection_closes() {
    let (asked, release, ended, one) = {
        let (tell, asked) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let (gone, ended) = mpsc::channel();
        let released = std::sync::Mutex::new(released);
        let one = Backend::start(move |_, mut wire| {
            while wire.try_request().is_some() {
                tell.send(()).unwrap();
                let _ = released.lock().unwrap().recv_timeout(SOON);
                wire.try_send(ok("one"));
            }
            let _ = gone.send(());
        });
        (asked, release, ended, one)
    };
    let ((two, _), (three, _)) = (telling("two"), telling("three"));
    let apex = Apex::with(AT_REST, &all(&[one.addr()]));
    let (mut early, mut late) = (apex.client(), apex.client());
    early.send(get("/"));
    asked.recv_timeout(SOON).unwrap();
    // In the second version after it, another backend has the slot of the first, and a connection at rest.
    reload(&apex, AT_REST, &all(&[two.addr()]));
    reload(&apex, AT_REST, &all(&[three.addr()]));
    assert_eq!(late.ask(get("/")).text(), "three");
    release.send(()).unwrap();
    assert_eq!(early.response().text(), "one");
    ended.recv_timeout(SOON).expect("its connection stays");
    for client in [&mut early, &mut late] {
        assert_eq!(client.ask(get("/")).text(), "three");
    }
    assert_eq!(three.accepted(), 1, "its connection was lost by that of the other");
}

#[test]
fn counts_of_a_backend_that_stays_are_kept() {
    let (one, asked, release) = Backend::held();
    let two = Backend::answering(ok("two"));
    let least = |backends: &[_]| route("all", "load_balancing = \"least_connections\"", backends);
    let apex = Apex::start(&least(&[one.addr()]));
    let mut under_way = [apex.client(), apex.client()];
    for client in &mut under_way {
        client.send(get("/"));
        asked.recv_timeout(SOON).unwrap();
    }
    reload(&apex, "", &least(&[one.addr(), two.addr()]));
    // The first has two exchanges more than the second has whenever it is asked: by equal counts they would take turns.
    let mut client = apex.client();
    for _ in 0..6 {
        assert_eq!(client.ask(get("/")).text(), "two");
    }
    for mut client in under_way {
        release.send(()).unwrap();
        assert_eq!(client.response().text(), "held");
    }
    // Their ends were counted where their beginnings were, so that they take turns from here on.
    let answers: Vec<String> = (0..4)
        .map(|_| {
            release.send(()).unwrap();
            client.ask(get("/")).text().to_owned()
        })
        .collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "held").count(), 2, "{answers:?}");
}

#[test]
fn timeouts_and_limits_change_for_new_exchanges_alone() {
    let (backend, asked, release) = Backend::held();
    let routes = all(&[backend.addr()]);
    let apex = Apex::start(&routes);
    let (mut upload, mut waiting, mut client) = (apex.client(), apex.client(), apex.client());
    let start = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n";
    // One whose content is not there yet, and one that waits for its answer.
    upload.send(start);
    waiting.send(get("/"));
    asked.recv_timeout(SOON).unwrap();
    until("the upload reaches the backend", || (backend.accepted() == 2).then_some(()));
    reload(&apex, "timeout_secs = 0.2\nbody_bytes_max = 50", &routes);
    let refused = apex.client().ask(start);
    assert_eq!((refused.status(), refused.field("Connection")), (413, Some("close")));
    client.send(get("/"));
    assert_eq!(client.response().status(), 504, "by the new timeout");
    upload.send([b'x'; 100]);
    for _ in 0..3 {
        release.send(()).unwrap();
    }
    assert_eq!([waiting.response().status(), upload.response().status()], [200, 200], "as they began");
}

#[test]
fn routes_come_and_go() {
    let origin = echo();
    let port = origin.local_addr().port();
    let apex = Apex::start(&route("a", "path_prefix = \"/a\"", &[origin.local_addr()]));
    assert_eq!(apex.client().ask(get("/b")).status(), 404);
    apex.rewrite("", &route("b", "path_prefix = \"/b\"", &[origin.local_addr()]));
    apex.signal(Signal::HUP);
    await_answer(&apex, "/b", &format!("port {port} GET /b\n"));
    assert_eq!(apex.client().ask(get("/a")).status(), 404);
}

#[test]
fn a_broken_file_changes_nothing_and_is_named() {
    let origin = Backend::answering(ok("one"));
    let apex = Apex::start(&all(&[origin.addr()]));
    let good = all(&[origin.addr()]);
    // What is wrong, and the line of it, counted from that of `[[routes]]`.
    let cases = [
        ("an unknown key", format!("{good}path_prefx = \"/\"\n"), 4),
        ("a wrong type", good.replace("name = \"all\"", "name = 7"), 1),
        ("not TOML", format!("{good}oh no\n"), 4),
        ("no such balancing", format!("{good}load_balancing = \"best\"\n"), 4),
    ];
    for (case, routes, line) in cases {
        apex.rewrite("", &routes);
        let before = apex.stderr.all().len();
        apex.signal(Signal::HUP);
        let place = format!("apex.toml:{}:", FIRST_ROUTE_LINE + line);
        let said = apex.stderr.find_behind(before, |text| text.contains(&place));
        let column = said.split(&place).nth(1).unwrap();
        assert!(column.starts_with(|c: char| c.is_ascii_digit()), "{case}: no column in {said:?}");
        assert_eq!(apex.client().ask(get("/")).text(), "one", "{case}");
    }
    // And a good file is taken up again behind them.
    let two = Backend::answering(ok("two"));
    apex.rewrite("", &all(&[two.addr()]));
    apex.signal(Signal::HUP);
    await_answer(&apex, "/", "two");
}

#[test]
fn no_request_is_lost_while_files_change() {
    let (one, two) = (echo(), echo());
    let apex = Apex::start(&all(&[one.local_addr()]));
    let mut client = apex.client();
    for round in 0..20 {
        let origin = if round % 2 == 0 { &two } else { &one };
        apex.rewrite("", &all(&[origin.local_addr()]));
        apex.signal(Signal::HUP);
        for _ in 0..20 {
            assert_eq!(client.ask(get("/")).status(), 200, "round {round}");
        }
    }
}

#[test]
fn an_orderly_end_finishes_what_is_open() {
    let (backend, asked, release) = Backend::held();
    let mut apex = Apex::start(&all(&[backend.addr()]));
    let (mut client, mut idle) = (apex.client(), apex.client());
    client.send(get("/"));
    asked.recv_timeout(SOON).unwrap();
    apex.signal(Signal::TERM);
    apex.await_refusing();
    idle.expect_end();
    assert!(!apex.has_ended(), "an exchange is open still");
    release.send(()).unwrap();
    let answer = client.response();
    assert_eq!((answer.text(), answer.field("Connection")), ("held", Some("close")));
    client.expect_end();
    assert_eq!(apex.exit().code(), Some(0));
}

/// A request whose head is half there when the signal comes is no connection at rest.
#[test]
fn a_request_that_comes_while_it_leaves_is_answered_and_said_to_be_the_last() {
    let origin = Backend::answering(ok("here"));
    let mut apex = Apex::with("workers = 2", &all(&[origin.addr()]));
    let mut halves: Vec<_> = (0..8).map(|_| apex.client()).collect();
    for client in &mut halves {
        // It has answered before, as one that is kept.
        assert_eq!(client.ask(get("/")).field("Connection"), None);
        client.send("GET / HTTP/1.1\r\nHo");
    }
    // Those halves have arrived before the signal has: the worker takes events in order, and others are answered behind them.
    let mut others: Vec<_> = (0..8).map(|_| apex.client()).collect();
    for client in &mut others {
        assert_eq!(client.ask(get("/")).text(), "here");
    }
    apex.signal(Signal::TERM);
    apex.await_refusing();
    for client in &mut others {
        client.expect_end();
    }
    for mut client in halves {
        client.send("st: test\r\n\r\n");
        let answer = client.response();
        assert_eq!((answer.text(), answer.field("Connection")), ("here", Some("close")));
        client.expect_end();
    }
    assert_eq!(apex.exit().code(), Some(0));
    assert!(apex.stderr.all().iter().any(|line| line.contains("left, all exchanges finished")));
}

/// Requests on connections at rest that arrive in the same moment as the signal are answered, not reset.
#[test]
fn a_request_that_comes_together_with_the_signal_is_answered() {
    let origin = Backend::answering(ok("here"));
    let mut apex = Apex::with("workers = 2", &all(&[origin.addr()]));
    let mut clients: Vec<_> = (0..32).map(|_| apex.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(get("/")).text(), "here");
    }
    apex.pause();
    apex.signal(Signal::TERM);
    for client in &mut clients {
        client.send(get("/"));
    }
    apex.resume();
    for mut client in clients {
        let answer = client.response();
        assert_eq!(answer.text(), "here");
        // A worker that has not heard yet may keep it, and closes it at rest.
        assert!([None, Some("close")].contains(&answer.field("Connection")));
        client.expect_end();
    }
    assert_eq!(apex.exit().code(), Some(0));
}

#[test]
fn who_is_about_to_ask_is_served_at_an_orderly_end() {
    let origin = Backend::answering(ok("here"));
    let mut apex = Apex::start(&all(&[origin.addr()]));
    let (mut served, mut fresh, mut silent) = (apex.client(), apex.client(), apex.client());
    // Clients are accepted in their order: with the last one answered, all are known.
    assert_eq!(served.ask(get("/")).text(), "here");
    assert_eq!(apex.client().ask(get("/")).text(), "here");
    apex.signal(Signal::TERM);
    apex.stderr.find(|line| line.contains("leaving"));
    for client in [&mut served, &mut fresh] {
        let answer = client.ask(get("/"));
        assert_eq!((answer.text(), answer.field("Connection")), ("here", Some("close")));
        client.expect_end();
    }
    silent.expect_end();
    assert_eq!(apex.exit().code(), Some(0));
}

#[test]
fn an_orderly_end_does_not_wait_for_ever() {
    let (backend, asked, _release) = Backend::held();
    let mut apex = Apex::with("shutdown_timeout_secs = 0.5", &all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(get("/"));
    asked.recv_timeout(SOON).unwrap();
    let began = Instant::now();
    apex.signal(Signal::TERM);
    apex.exit();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let (backend, asked, _release) = Backend::held();
        let mut apex = Apex::start(&all(&[backend.addr()]));
        let mut client = apex.client();
        client.send(get("/"));
        asked.recv_timeout(SOON).unwrap();
        apex.signal(Signal::TERM);
        // Refused connections show that the first signal was taken; two of a kind at once could count as one.
        apex.await_refusing();
        assert!(!apex.has_ended());
        let began = Instant::now();
        apex.signal(second);
        apex.exit();
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_delayed_end_serves_on_until_then() {
    let (one, two) = (Backend::answering(ok("one")), Backend::answering(ok("two")));
    let keys = "shutdown_delay_secs = 2.5";
    let mut apex = Apex::with(keys, &all(&[one.addr()]));
    let mut client = apex.client();
    assert_eq!(client.ask(get("/")).text(), "one");
    let began = Instant::now();
    apex.signal(Signal::TERM);
    apex.stderr.find(|line| line.contains("leaving in 2.5 s"));
    // Old and new connections are as they were, and a reload is done.
    for client in [&mut client, &mut apex.client()] {
        let answer = client.ask(get("/"));
        assert_eq!((answer.text(), answer.field("Connection")), ("one", None));
    }
    apex.rewrite(keys, &all(&[two.addr()]));
    apex.signal(Signal::HUP);
    await_answer(&apex, "/", "two");
    client.expect_end();
    assert_eq!(apex.exit().code(), Some(0));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(2500) && took < Duration::from_secs(8), "{took:?}");
    assert!(apex.stderr.all().iter().any(|line| line.contains("left, all exchanges finished")));
}

#[test]
fn a_second_signal_ends_a_delay_too() {
    let origin = echo();
    let mut apex = Apex::with("shutdown_delay_secs = 3600", &all(&[origin.local_addr()]));
    let mut client = apex.client();
    client.ask(get("/"));
    apex.signal(Signal::TERM);
    apex.stderr.find(|line| line.contains("leaving in 3600 s"));
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    client.expect_end();
}

#[test]
fn an_idle_apex_ends_at_once() {
    let origin = echo();
    for signal in [Signal::TERM, Signal::INT] {
        let mut apex = Apex::start(&all(&[origin.local_addr()]));
        apex.client().ask(get("/"));
        apex.signal(signal);
        let status = apex.exit();
        assert!(signal != Signal::TERM || status.code() == Some(0), "{status}");
    }
}
