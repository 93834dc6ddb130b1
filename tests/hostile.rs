//! Peers that leave: each state of an exchange with a reset and a half-close, from either side. Each case
//! states what the other peer sees; other clients are served meanwhile, and no descriptor leaks.
//!
//! There is no state in which an exchange waits to dial: it connects in the turn in which its head is
//! complete, or is refused.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

#[path = "hostile/bench.rs"]
mod bench;
#[path = "hostile/slow.rs"]
mod slow;
mod support;

use bench::{Bench, LARGE, POST, Reach, backend_sees, client_sees, fill, pour};
use std::io::{ErrorKind, Read};
use std::thread;
use support::{SOON, Wire, get, ok};

const POST_LENGTH: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf";
const POST_CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
const POST_IN_CHUNK: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf";
const POST_HELD_BACK: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
const OK_LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhalf";
const OK_CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
const OK_IN_CHUNK: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf";
const OK_UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\nhalf";

/// What the other peer sees of an exchange whose messages are in memory.
struct State {
    name: &'static str,
    /// What the client has sent.
    request: &'static str,
    /// What the backend has sent.
    response: &'static str,
    /// What the backend sends to a client that has half-closed, before it closes; none: it can be given no response.
    rest: Option<&'static str>,
    /// What the backend sees of a client's reset.
    client_resets: &'static str,
    /// What both see where the client half-closes.
    client_half_closes: &'static str,
    /// What the client sees of a backend's reset.
    backend_resets: &'static str,
    backend_half_closes: &'static str,
}

const CUT: &str = "request Cut, an end";
const WHOLE: &str = "request Whole, an end";

/// The request is not whole, so it fails whoever leaves.
const fn of_request(name: &'static str, request: &'static str) -> State {
    State {
        name,
        request,
        response: "",
        rest: None,
        client_resets: CUT,
        client_half_closes: "400 Whole; request Cut, an end",
        backend_resets: "502 Whole",
        backend_half_closes: "502 Whole",
    }
}

/// The request is whole, and of the response nothing has reached the client that binds Apex.
const fn of_head(name: &'static str, response: &'static str, rest: &'static str) -> State {
    State {
        name,
        request: POST,
        response,
        rest: Some(rest),
        client_resets: WHOLE,
        client_half_closes: "200 Whole",
        backend_resets: "502 Whole",
        backend_half_closes: "502 Whole",
    }
}

/// Content of the response is on its way.
const fn of_content(name: &'static str, response: &'static str, rest: &'static str) -> State {
    let head = of_head(name, response, rest);
    State { backend_resets: "200 Cut", backend_half_closes: "200 Cut", ..head }
}

const STATES: [State; 12] = [
    of_request("request content, by length", POST_LENGTH),
    of_request("request content, between chunks", POST_CHUNKED),
    of_request("request content, within a chunk", POST_IN_CHUNK),
    of_request("request content, held back", POST_HELD_BACK),
    of_head("response head, awaited", "", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    of_head("response head, half of it", "HTTP/1.1 200 OK\r\nContent-Le", "ngth: 2\r\n\r\nhi"),
    of_head(
        "response head, behind an interim one",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ),
    of_content("response content, by length", OK_LENGTH, "xx"),
    of_content("response content, between chunks", OK_CHUNKED, "0\r\n\r\n"),
    of_content("response content, within a chunk", OK_IN_CHUNK, "xxxx\r\n0\r\n\r\n"),
    State {
        backend_half_closes: "200 Whole",
        ..of_content("response content, until the connection ends", OK_UNTIL_CLOSE, "")
    },
    State { request: POST_LENGTH, client_resets: CUT, ..of_content("content both ways", OK_LENGTH, "xx") },
];

#[test]
fn any_state_may_be_the_last() {
    let mut bench = Bench::new("");
    for state in &STATES {
        let name = state.name;
        bench.play(&format!("{name}: the client resets"), state.client_resets, |bench| {
            let (client, mut backend) = bench.under_way(state.request, state.response);
            client.reset();
            backend_sees(&mut backend)
        });
        bench.play(&format!("{name}: the client half-closes"), state.client_half_closes, |bench| {
            let (mut client, mut backend) = bench.under_way(state.request, state.response);
            client.finish();
            bench.serves_others(name);
            let Some(rest) = state.rest else {
                let backend = backend_sees(&mut backend);
                return format!("{}; {backend}", client_sees(&mut client));
            };
            backend.send(rest);
            drop_quietly(backend);
            client_sees(&mut client)
        });
        bench.play(&format!("{name}: the backend resets"), state.backend_resets, |bench| {
            let (mut client, backend) = bench.under_way(state.request, state.response);
            backend.reset();
            client_sees(&mut client)
        });
        bench.play(&format!("{name}: the backend half-closes"), state.backend_half_closes, |bench| {
            let (mut client, mut backend) = bench.under_way(state.request, state.response);
            backend.finish();
            client_sees(&mut client)
        });
        bench.play(&format!("{name}: both reset"), "nobody", |bench| {
            let (client, backend) = bench.under_way(state.request, state.response);
            client.reset();
            backend.reset();
            "nobody".to_owned()
        });
    }
}

/// Reads what has come, and closes: bytes that nobody read would turn the close into a reset.
fn drop_quietly(mut wire: Wire) {
    wire.some();
}

/// As [`State`], with a pipe that is full because the other peer takes nothing.
struct Stuck {
    name: &'static str,
    /// The response's head and framing in front of [`LARGE`] octets.
    front: String,
    /// What follows them.
    end: &'static str,
    backend_half_closes: &'static str,
}

#[test]
fn a_pipe_full_of_a_response_may_be_the_last() {
    let mut bench = Bench::new("");
    let head = "HTTP/1.1 200 OK\r\n";
    let full = |name, fields: String, end, backend_half_closes| Stuck {
        name,
        front: format!("{head}{fields}"),
        end,
        backend_half_closes,
    };
    for state in [
        full("by length", format!("Content-Length: {LARGE}\r\n\r\n"), "", "200 Cut"),
        full(
            "chunked",
            format!("Transfer-Encoding: chunked\r\n\r\n{LARGE:x}\r\n"),
            "\r\n0\r\n\r\n",
            "200 Cut",
        ),
        full("until the connection ends", "\r\n".to_owned(), "", "200 Whole"),
    ] {
        let reach = |bench: &mut Bench| {
            let (client, mut backend) = bench.under_way(POST, &state.front);
            assert_eq!(backend.request().text(), "hi");
            let left = fill(&backend);
            bench.serves_others(state.name);
            (client, backend, left)
        };
        let name = format!("response in a pipe, {}", state.name);
        bench.play(&format!("{name}: the client resets"), "an end", |bench| {
            let (client, mut backend, _) = reach(bench);
            client.reset();
            backend_sees(&mut backend)
        });
        bench.play(&format!("{name}: the client half-closes"), "200 Whole", |bench| {
            let (mut client, backend, left) = reach(bench);
            client.finish();
            bench.serves_others(&name);
            let poured = pour(backend, left, state.end);
            let seen = client_sees(&mut client);
            poured.join().unwrap();
            seen
        });
        bench.play(&format!("{name}: the backend resets"), "200 Cut", |bench| {
            let (mut client, backend, _) = reach(bench);
            backend.reset();
            client_sees(&mut client)
        });
        bench.play(&format!("{name}: the backend half-closes"), state.backend_half_closes, |bench| {
            let (mut client, mut backend, _) = reach(bench);
            backend.finish();
            client_sees(&mut client)
        });
    }
}

#[test]
fn a_pipe_full_of_a_request_may_be_the_last() {
    let mut bench = Bench::new("");
    for (name, fields) in [
        ("by length", format!("Content-Length: {LARGE}\r\n\r\n")),
        ("chunked", format!("Transfer-Encoding: chunked\r\n\r\n{LARGE:x}\r\n")),
    ] {
        let front = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}");
        let reach = |bench: &mut Bench| {
            let (client, backend) = bench.under_way(&front, "");
            fill(&client);
            bench.serves_others(name);
            (client, backend)
        };
        let name = format!("request in a pipe, {name}");
        bench.play(&format!("{name}: the client resets"), CUT, |bench| {
            let (client, mut backend) = reach(bench);
            client.reset();
            backend_sees(&mut backend)
        });
        bench.play(&format!("{name}: the client half-closes"), "400 Whole; request Cut, an end", |bench| {
            let (mut client, mut backend) = reach(bench);
            client.finish();
            bench.serves_others(&name);
            let backend = backend_sees(&mut backend);
            format!("{}; {backend}", client_sees(&mut client))
        });
        bench.play(&format!("{name}: the backend resets"), "502 Whole", |bench| {
            let (mut client, backend) = reach(bench);
            backend.reset();
            client_sees(&mut client)
        });
        bench.play(&format!("{name}: the backend half-closes"), "502 Whole", |bench| {
            let (mut client, mut backend) = reach(bench);
            backend.finish();
            client_sees(&mut client)
        });
    }
}

#[test]
fn a_client_may_leave_before_its_request_is_there() {
    let mut bench = Bench::new("");
    for (name, front) in
        [("before a head", ""), ("within a head", "GET / HTTP/1.1\r\nHos"), ("empty line", "\r\n")]
    {
        bench.play(&format!("{name}: the client resets"), "nobody", |bench| {
            let client = bench.client(front);
            bench.serves_others(name);
            client.reset();
            "nobody".to_owned()
        });
        bench.play(&format!("{name}: the client half-closes"), "an end", |bench| {
            let mut client = bench.client(front);
            bench.serves_others(name);
            client.finish();
            client_sees(&mut client)
        });
    }
}

/// A client whose request was answered, and the backend's connection at rest.
fn at_rest(bench: &mut Bench) -> (Wire, Wire) {
    let (mut client, mut backend) = bench.under_way(get("/"), "");
    backend.request();
    backend.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
    bench.serves_others("at rest");
    (client, backend)
}

#[test]
fn connections_at_rest_may_end() {
    let mut bench = Bench::new("");
    bench.play("at rest: the client resets", "the backend's goes on", |bench| {
        let (client, mut backend) = at_rest(bench);
        client.reset();
        bench.serves_others("at rest");
        let mut next = bench.client(get("/next"));
        assert!(backend.request().head.start.starts_with("GET /next "));
        backend.send(ok("hi"));
        format!("the backend's goes {}", if next.response().text() == "hi" { "on" } else { "wrong" })
    });
    bench.play("at rest: the client half-closes", "an end", |bench| {
        let (mut client, _backend) = at_rest(bench);
        client.finish();
        client_sees(&mut client)
    });
    for half in [false, true] {
        let how = if half { "half-closes" } else { "resets" };
        bench.play(&format!("at rest: the backend {how}"), "200 Whole", |bench| {
            let (mut client, mut backend) = at_rest(bench);
            // A half-closed one is held open by the test.
            let _held = if half {
                backend.finish();
                Some(backend)
            } else {
                backend.reset();
                None
            };
            bench.serves_others("at rest");
            client.send(get("/"));
            let mut fresh = bench.accept();
            fresh.request();
            fresh.send(ok("hi"));
            client_sees(&mut client)
        });
    }
}

#[test]
fn a_get_goes_out_again_where_its_connection_had_served() {
    let mut bench = Bench::new("");
    for half in [false, true] {
        let how = if half { "half-closes" } else { "resets" };
        bench.play(&format!("GET on a used connection: the backend {how}"), "200 Whole", |bench| {
            let (mut client, mut backend) = at_rest(bench);
            client.send(get("/"));
            backend.request();
            let _held = if half {
                backend.finish();
                Some(backend)
            } else {
                backend.reset();
                None
            };
            let mut fresh = bench.accept();
            fresh.request();
            fresh.send(ok("hi"));
            client_sees(&mut client)
        });
        bench.play(&format!("GET on a fresh connection: the backend {how}"), "502 Whole", |bench| {
            let (mut client, mut backend) = bench.under_way(get("/"), "");
            backend.request();
            let _held = if half {
                backend.finish();
                Some(backend)
            } else {
                backend.reset();
                None
            };
            // It was the only backend.
            client_sees(&mut client)
        });
    }
}

#[test]
fn only_a_reset_tells_an_old_client_of_a_cut() {
    let mut bench = Bench::new("");
    for (half, expected) in [(true, "half, an end"), (false, "half, a reset")] {
        let how = if half { "half-closes" } else { "resets" };
        bench.play(&format!("until close to 1.0: the backend {how}"), expected, |bench| {
            let (mut client, mut backend) = bench.under_way("GET / HTTP/1.0\r\n\r\n", OK_UNTIL_CLOSE);
            backend.request();
            assert_eq!(client.head().status(), 200);
            assert_eq!(client.take(4), b"half");
            let _held = if half {
                backend.finish();
                Some(backend)
            } else {
                backend.reset();
                None
            };
            let mut socket = client.socket();
            socket.set_read_timeout(Some(SOON)).unwrap();
            match socket.read(&mut [0; 1]) {
                Ok(0) => "half, an end".to_owned(),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => "half, a reset".to_owned(),
                other => format!("{other:?}"),
            }
        });
    }
}

/// A tunnel between the two.
fn tunnel(bench: &mut Bench) -> (Wire, Wire) {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n";
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n";
    let (mut client, mut backend) = bench.under_way(upgrade, answer);
    backend.head();
    assert_eq!(client.head().status(), 101);
    (client, backend)
}

/// Which direction of a tunnel is full, because nobody takes from it.
#[derive(Clone, Copy, PartialEq)]
enum Full {
    Neither,
    ToWhoLeaves,
    FromWhoLeaves,
}

#[test]
fn either_end_of_a_tunnel_may_leave() {
    let mut bench = Bench::new("");
    let kinds = [
        (Full::Neither, ""),
        (Full::ToWhoLeaves, ", full towards it"),
        (Full::FromWhoLeaves, ", full from it"),
    ];
    for (full, how) in kinds {
        for (who, client_leaves) in [("client", true), ("backend", false)] {
            let reach = |bench: &mut Bench| {
                let (client, backend) = tunnel(bench);
                let (leaves, stays) = if client_leaves { (client, backend) } else { (backend, client) };
                let sent = match full {
                    Full::Neither => 0,
                    Full::ToWhoLeaves => {
                        fill(&stays);
                        0
                    }
                    Full::FromWhoLeaves => LARGE - fill(&leaves),
                };
                bench.serves_others("tunnel");
                (leaves, stays, sent)
            };
            bench.play(&format!("tunnel{how}: the {who} resets"), "an end", |bench| {
                let (leaves, mut stays, sent) = reach(bench);
                leaves.reset();
                // Some of what was on its way may be lost.
                assert!(stays.rest().len() <= sent);
                "an end".to_owned()
            });
            bench.play(&format!("tunnel{how}: the {who} half-closes"), "an end, and is heard", |bench| {
                let (mut leaves, mut stays, sent) = reach(bench);
                // Where it is full, this stands behind all of it.
                let last = thread::spawn(move || {
                    leaves.send("last");
                    leaves.finish();
                    leaves
                });
                assert!(stays.take(sent + 4).ends_with(b"last"));
                stays.expect_end();
                let late = thread::spawn(move || {
                    stays.send("late");
                    stays.finish();
                });
                let heard = last.join().unwrap().rest();
                late.join().unwrap();
                assert!(heard.ends_with(b"late"), "{} octets", heard.len());
                "an end, and is heard".to_owned()
            });
        }
    }
}

#[test]
fn a_client_may_leave_behind_its_answer() {
    let mut bench = Bench::new("body_bytes_max = 1000");
    let discard = |bench: &mut Bench| {
        let (mut client, mut backend) = bench.under_way(POST_LENGTH, ok("hi"));
        assert_eq!(client.response().text(), "hi");
        // The backend is not kept waiting for the rest of the request.
        assert_eq!(backend_sees(&mut backend), CUT);
        client
    };
    let linger = |bench: &mut Bench| {
        let mut client = bench.client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\nhalf");
        assert_eq!(client.response().status(), 413);
        client.expect_end();
        client
    };
    let states: [(&str, Reach<'_>); 2] = [("discard", &discard), ("linger", &linger)];
    for (name, reach) in states {
        bench.play(&format!("{name}: the client resets"), "nobody", |bench| {
            reach(bench).reset();
            "nobody".to_owned()
        });
        bench.play(&format!("{name}: the client half-closes"), "an end", |bench| {
            let mut client = reach(bench);
            client.finish();
            client_sees(&mut client)
        });
    }
}
