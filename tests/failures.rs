//! Failures of the backend, and what a client sees of them: a retry if that is safe, else a status that names
//! the side at fault, and never a clean end of a response that was cut (RFC 9110 section 9.2.2, RFC 9112
//! sections 8 and 9).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use support::{Apex, Backend, End, Refusing, SOON, all, echo, get, ok};

const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_backend_that_refuses_is_passed_over() {
    let (refusing, origin) = (Refusing::new(), echo());
    let apex = Apex::start(&all(&[refusing.addr(), origin.local_addr()]));
    let mut client = apex.client();
    for _ in 0..6 {
        assert_eq!(client.ask(get("/")).status(), 200);
        // Nothing was sent to the backend that refused, so even a POST may go to another.
        assert_eq!(client.ask(POST).status(), 200);
    }
}

#[test]
fn all_backends_refuse() {
    let refusing = [Refusing::new(), Refusing::new()];
    let apex = Apex::start(&all(&[refusing[0].addr(), refusing[1].addr()]));
    let mut client = apex.client();
    for _ in 0..3 {
        let answer = client.ask(get("/"));
        assert!(matches!(answer.status(), 502 | 503), "{}", answer.status());
        assert!(answer.field("Date").is_some() && answer.end == End::Whole);
    }
}

#[test]
fn a_backend_that_comes_back_is_used_again() {
    let refusing = Refusing::new();
    let addr = refusing.addr();
    let apex = Apex::start(&all(&[addr]));
    assert!(apex.client().ask(get("/")).status() >= 502);
    // Both share the port; only a socket that listens is given connections.
    let _origin = apex::echo::Server::start(addr, 1).unwrap();
    // A mark of failure must never turn into an outage: the only backend is tried all the same.
    assert_eq!(apex.client().ask(get("/")).status(), 200);
}

#[test]
fn a_reset_before_the_response_costs_a_get_nothing() {
    let resetting = Backend::start(|_, mut wire| {
        wire.request();
        wire.reset();
    });
    let origin = echo();
    let apex = Apex::start(&all(&[resetting.addr(), origin.local_addr()]));
    for _ in 0..4 {
        assert_eq!(apex.client().ask(get("/")).status(), 200);
    }
    assert!(resetting.accepted() > 0);
}

#[test]
fn a_post_is_never_sent_twice() {
    let (tell, seen) = mpsc::channel();
    let resetting = || {
        let tell = tell.clone();
        Backend::start(move |_, mut wire| {
            tell.send(wire.request().content).unwrap();
            wire.reset();
        })
    };
    let (one, two) = (resetting(), resetting());
    let apex = Apex::start(&all(&[one.addr(), two.addr()]));
    let answer = apex.client().ask(POST);
    assert_eq!(answer.status(), 502);
    assert_eq!(seen.recv_timeout(SOON).unwrap(), b"hi");
    assert!(seen.recv_timeout(Duration::from_millis(300)).is_err(), "the POST was sent again");
}

/// However many backends there are: `retries_max` is 3 where the file does not say otherwise.
#[test]
fn a_request_is_sent_four_times_at_most() {
    let backends: Vec<_> = (0..6)
        .map(|_| {
            Backend::start(|_, mut wire| {
                wire.request();
            })
        })
        .collect();
    let addrs: Vec<_> = backends.iter().map(Backend::addr).collect();
    let apex = Apex::start(&all(&addrs));
    assert_eq!(apex.client().ask(get("/")).status(), 502);
    assert_eq!(backends.iter().map(Backend::accepted).sum::<usize>(), 4);
}

#[test]
fn a_stale_connection_is_nobodys_502() {
    // Closes behind each answer without saying so: Apex may find out only as it uses the connection again.
    let silent = Backend::start(|_, mut wire| {
        wire.request();
        wire.send(ok("hi"));
    });
    // Takes the second request of each connection and closes instead of answering.
    let racing = Backend::start(|_, mut wire| {
        wire.request();
        wire.send(ok("hi"));
        wire.try_request();
    });
    for backend in [silent, racing] {
        let apex = Apex::start(&all(&[backend.addr()]));
        let mut client = apex.client();
        for number in 0..50 {
            assert_eq!(client.ask(get("/")).status(), 200, "request {number}");
        }
    }
}

#[test]
fn a_stale_connection_does_not_repeat_a_post() {
    let (tell, seen) = mpsc::channel();
    let racing = Backend::start(move |_, mut wire| {
        tell.send(wire.request().content).unwrap();
        wire.send(ok("hi"));
        if let Some(request) = wire.try_request() {
            tell.send(request.content).unwrap();
        }
    });
    let apex = Apex::start(&all(&[racing.addr()]));
    let mut client = apex.client();
    assert_eq!(client.ask(get("/")).status(), 200);
    let status = client.ask(POST).status();
    // A proxy may give every POST a fresh connection; on the old one it is lost, and that must be said.
    assert!(status == 502 || (status == 200 && racing.accepted() == 2), "{status}");
    let seen: Vec<_> = std::iter::from_fn(|| seen.recv_timeout(Duration::from_millis(300)).ok()).collect();
    assert_eq!(seen, [&b""[..], b"hi"], "the POST was sent again");
}

#[test]
fn bytes_that_nobody_asked_for_go_to_nobody() {
    let backend = Backend::start(|_, mut wire| {
        wire.request();
        wire.send(format!("{}{}", ok("mine"), ok("smuggled")));
        wire.rest();
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    for _ in 0..3 {
        assert_eq!(client.ask(get("/")).text(), "mine");
    }
    assert_eq!(backend.accepted(), 3);
}

/// A poll that tells of a request and of octets on the connection at rest that would take it tells in the order in which they
/// came: those at rest are looked at first all the same.
#[test]
fn what_an_idle_connection_brought_is_seen_before_it_is_used() {
    let (tell, told) = mpsc::channel::<()>();
    let (done, sent) = mpsc::channel();
    let told = Mutex::new(told);
    let backend = Backend::start(move |number, mut wire| {
        wire.request();
        wire.send(ok("mine"));
        if number == 0 {
            told.lock().unwrap().recv_timeout(SOON).unwrap();
            wire.send(ok("smuggled"));
            done.send(()).unwrap();
        }
        wire.rest();
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    assert_eq!(client.ask(get("/")).text(), "mine");
    apex.pause();
    client.send(get("/"));
    tell.send(()).unwrap();
    sent.recv_timeout(SOON).unwrap();
    apex.resume();
    assert_eq!(client.response().text(), "mine");
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn a_silent_backend_is_given_up() {
    let backend = Backend::start(|_, mut wire| {
        wire.request();
        wire.rest();
    });
    let apex = Apex::with("timeout_secs = 0.4", &all(&[backend.addr()]));
    for request in [get("/"), POST.to_owned()] {
        let began = Instant::now();
        let mut client = apex.client();
        assert_eq!(client.ask(&request).status(), 504, "{request:?}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(350) && took < Duration::from_secs(4), "{took:?}");
    }
}

#[test]
fn a_slow_but_steady_backend_is_waited_for() {
    let origin = echo();
    let apex = Apex::with("timeout_secs = 0.4", &all(&[origin.local_addr()]));
    // The limit is for each next piece, not for the whole answer, which takes 900 ms.
    let answer = apex.client().ask(get("/sse/7?ms=150"));
    assert_eq!((answer.status(), answer.end), (200, End::Whole));
    assert!(answer.text().ends_with("data: 6\n\n"));
}

#[test]
fn an_answer_that_stalls_is_cut() {
    let backend = Backend::start(|_, mut wire| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        wire.rest();
    });
    let apex = Apex::with("timeout_secs = 0.4", &all(&[backend.addr()]));
    let answer = apex.client().ask(get("/"));
    assert_eq!((answer.status(), answer.text(), answer.end), (200, "half", End::Cut));
}

#[test]
fn an_answer_that_is_cut_short_shows_it() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        ("short of its length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_owned()),
        ("no last chunk", format!("{chunked}4\r\nhalf\r\n")),
        ("within a chunk", format!("{chunked}a\r\nhalf")),
        ("no end of the trailers", format!("{chunked}4\r\nhalf\r\n0\r\nA: b\r\n")),
        ("broken chunk", format!("{chunked}4\r\nhalf\r\nxyz\r\n")),
        ("no CRLF behind the data", format!("{chunked}4\r\nhalfXX0\r\n\r\n")),
    ];
    for (case, answer) in cases {
        let backend = Backend::start(move |_, mut wire| {
            wire.request();
            wire.send(&answer);
        });
        let apex = Apex::start(&all(&[backend.addr()]));
        let mut client = apex.client();
        let answer = client.ask(get("/"));
        // Where all of it came at once, Apex may see the break before it sends a head; then it can say so.
        if answer.status() != 502 {
            assert_eq!((answer.status(), answer.end), (200, End::Cut), "{case}");
            assert!("half".starts_with(answer.text()), "{case}: {}", answer.text());
        }
    }
}

#[test]
fn a_reset_is_no_end_of_content() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |_, mut wire| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\n\r\nhalf");
        wait.lock().unwrap().recv_timeout(SOON).unwrap();
        wire.reset();
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(get("/"));
    let head = client.head();
    assert_eq!(head.field("Transfer-Encoding"), Some("chunked"));
    assert_eq!(client.take(9), b"4\r\nhalf\r\n");
    go.send(()).unwrap();
    // A last chunk would call the content complete.
    client.expect_end();
}

#[test]
fn answers_that_are_not_http() {
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "v".repeat(40_000));
    let cases = [
        ("garbage", "SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        ("nothing", ""),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("another version", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status under 100", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
        ("obs-fold", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("space before the colon", "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n"),
        ("NUL", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
        ("differing lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi"),
        ("length that is no number", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi"),
        (
            "coding that does not end in chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nhi",
        ),
        ("too large a head", &large),
    ];
    for (case, answer) in cases {
        let answer = answer.to_owned();
        let backend = Backend::start(move |_, mut wire| {
            wire.request();
            wire.send(&answer);
        });
        let apex = Apex::start(&all(&[backend.addr()]));
        let answer = apex.client().ask(POST);
        assert_eq!(answer.status(), 502, "{case}: {}", answer.head.start);
        assert_eq!(answer.end, End::Whole, "{case}");
    }
}

#[test]
fn endless_interim_responses_are_refused() {
    let backend = Backend::start(|_, mut wire| {
        wire.request();
        while wire.try_send("HTTP/1.1 102 Processing\r\n\r\n") {}
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(get("/"));
    let last = std::iter::from_fn(|| client.try_head()).take(1000).find(|head| head.status() >= 200);
    assert_eq!(last.map(|head| head.status()), Some(502));
}

#[test]
fn a_client_that_goes_away_ends_the_exchange() {
    let (tell, seen) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        wire.request();
        tell.send("asked").unwrap();
        wire.rest();
        tell.send("ended").unwrap();
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(get("/"));
    assert_eq!(seen.recv_timeout(SOON).unwrap(), "asked");
    client.reset();
    // The rest that the backend waits for ends with its connection, long before the timeout of 30 s.
    assert_eq!(seen.recv_timeout(SOON).unwrap(), "ended");
}

#[test]
fn a_client_that_leaves_its_body_unfinished_is_not_taken_for_complete() {
    let (tell, seen) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        if let Some(request) = wire.try_request() {
            tell.send((request.content.len(), request.end)).unwrap();
        }
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    for framing in ["Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n10000\r\n"] {
        let mut client = apex.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{framing}{}", "x".repeat(1000)));
        client.finish();
        client.rest();
        // Where Apex had not yet asked a backend, none has anything to be misled by.
        if let Ok((octets, end)) = seen.recv_timeout(Duration::from_secs(1)) {
            assert!(octets <= 1000 && end == End::Cut, "{framing:?}: {octets} octets, {end:?}");
        }
    }
}
