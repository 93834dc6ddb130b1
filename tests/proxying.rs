//! The everyday work of a reverse proxy: requests to backends and responses back, over persistent
//! connections, in every framing and for every version of the client (RFC 9112 sections 6, 7 and 9).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use std::sync::mpsc;
use std::time::Duration;
use support::{Apex, Backend, End, SOON, all, echo, get, ok};

#[test]
fn backends_take_turns() {
    let (one, two) = (echo(), echo());
    let apex = Apex::start(&all(&[one.local_addr(), two.local_addr()]));
    let mut client = apex.client();
    let answers: Vec<_> = (0..6).map(|_| client.ask(get("/")).text().to_owned()).collect();
    assert!(answers.windows(2).all(|pair| pair[0] != pair[1]), "{answers:#?}");
    assert!(answers.windows(3).all(|pair| pair[0] == pair[2]), "{answers:#?}");
}

#[test]
fn connections_stay_open_on_both_sides() {
    let backend = Backend::answering(ok("hello"));
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    for _ in 0..5 {
        let answer = client.ask(get("/"));
        assert_eq!((answer.status(), answer.text()), (200, "hello"));
        assert_eq!(answer.field("Connection"), None);
    }
    drop(client);
    assert_eq!(apex.client().ask(get("/")).text(), "hello");
    assert_eq!(backend.accepted(), 1, "one backend connection serves one request at a time, of any client");
}

#[test]
fn close_is_honoured_and_said() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.status(), answer.field("Connection")), (200, Some("close")));
    client.expect_end();
}

#[test]
fn a_backend_that_closes_does_not_close_the_client() {
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    let backend = Backend::start(move |_, mut wire| {
        wire.request();
        wire.send(closing);
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    for _ in 0..3 {
        let answer = client.ask(get("/"));
        assert_eq!((answer.text(), answer.field("Connection")), ("hi", None));
    }
    assert_eq!(backend.accepted(), 3);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    let wire: String = (0..100).map(|number| get(&format!("/{number}"))).collect();
    client.send(wire);
    for number in 0..100 {
        let answer = client.response();
        assert!(answer.text().ends_with(&format!(" GET /{number}\n")), "{number}: {}", answer.text());
    }
}

#[test]
fn a_pipelined_post_keeps_its_body() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    let post = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
    client.send(format!("{post}{post}{}", get("/last")));
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.response().text(), "hello");
    assert!(client.response().text().ends_with("GET /last\n"));
}

#[test]
fn some_answers_have_no_content() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let chunked_head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let unchanged = "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n";
    let empty = "HTTP/1.1 204 No Content\r\nX-One: 1\r\n\r\n";
    for (method, answer, length) in [
        ("HEAD", head, Some("10")),
        ("HEAD", chunked_head, None),
        ("GET", unchanged, Some("10")),
        ("GET", empty, None),
    ] {
        let backend = Backend::answering(answer);
        let apex = Apex::start(&all(&[backend.addr()]));
        let mut client = apex.client();
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"));
            let got = client.bare_response();
            assert!(answer.starts_with(&got.head.start), "{method} {answer:?}: {}", got.head.start);
            assert_eq!(got.field("Content-Length"), length, "{method} {answer:?}");
        }
        assert_eq!(backend.accepted(), 1, "{method} {answer:?}");
    }
}

#[test]
fn interim_responses_reach_only_clients_that_know_them() {
    let backend = Backend::answering(format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok("hi")));
    let apex = Apex::start(&all(&[backend.addr()]));

    let mut client = apex.client();
    let hints = client.ask(get("/"));
    assert_eq!((hints.status(), hints.field("Link")), (103, Some("</a>")));
    assert_eq!(client.response().text(), "hi");

    let mut old = apex.client();
    let answer = old.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((answer.status(), answer.text()), (200, "hi"));
}

#[test]
fn a_held_back_body_is_asked_for_by_the_backend() {
    let (tell, seen) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        let head = wire.head();
        wire.send("HTTP/1.1 100 Continue\r\n\r\n");
        tell.send((head, wire.take(5))).unwrap();
        wire.send(ok("done"));
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    let go = client.ask("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(go.status(), 100);
    client.send("hello");
    assert_eq!(client.response().text(), "done");
    let (head, body) = seen.recv_timeout(SOON).unwrap();
    assert_eq!(head.field("Expect"), Some("100-continue"));
    assert_eq!(body, b"hello");
}

#[test]
fn a_held_back_body_can_be_refused() {
    let backend = Backend::start(|_, mut wire| {
        wire.head();
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        wire.rest();
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let answer = apex
        .client()
        .ask("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!((answer.status(), answer.text()), (403, "no"));
}

#[test]
fn a_client_need_not_wait_for_100() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    client
        .send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
    let first = client.response();
    let answer = if first.status() == 100 { client.response() } else { first };
    assert_eq!((answer.status(), answer.text()), (200, "hello"));
    assert!(client.ask(get("/next")).text().ends_with("GET /next\n"));
}

#[test]
fn old_clients_are_answered_in_their_way() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));

    let mut closing = apex.client();
    assert!(closing.ask("GET /a HTTP/1.0\r\n\r\n").text().ends_with("GET /a\n"));
    closing.expect_end();

    let mut keeping = apex.client();
    for _ in 0..2 {
        let answer = keeping.ask("GET /b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(answer.field("Connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
        assert!(answer.text().ends_with("GET /b\n"));
    }

    // RFC 9112 section 7: a client of 1.0 knows no transfer coding, so the end of the connection ends the content.
    let mut unchunked = apex.client();
    let answer = unchunked.ask("GET /chunked/1000?chunk=300 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(answer.field("Transfer-Encoding"), None);
    assert_eq!((answer.content.len(), answer.end), (1000, End::Closed));
}

#[test]
fn content_that_ends_with_its_connection_goes_out_chunked() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    for octets in [0, 1, 100_000] {
        let answer = client.ask(get(&format!("/close/{octets}")));
        assert_eq!((answer.content.len(), answer.end), (octets, End::Whole));
        assert_eq!(answer.field("Transfer-Encoding"), Some("chunked"));
    }
    let mut old = apex.client();
    assert_eq!(old.ask("GET /close/5 HTTP/1.0\r\n\r\n").content, [0, 1, 2, 3, 4]);
}

#[test]
fn bodies_of_every_framing_come_back_whole() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    for octets in [0_usize, 1, 5, 4096, 70_000, 300_000] {
        let body: Vec<u8> = (0..=250).cycle().take(octets).collect();
        for chunk_bytes in [None, Some(7_000), Some(100_000)] {
            let mut wire = b"POST /echo HTTP/1.1\r\nHost: test\r\n".to_vec();
            if let Some(chunk_bytes) = chunk_bytes {
                wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in body.chunks(chunk_bytes) {
                    wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                    wire.extend_from_slice(chunk);
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(b"0\r\n\r\n");
            } else {
                wire.extend_from_slice(format!("Content-Length: {octets}\r\n\r\n").as_bytes());
                wire.extend_from_slice(&body);
            }
            let answer = client.ask(wire);
            assert_eq!(answer.end, End::Whole);
            assert!(answer.content == body, "{octets} octets, chunks of {chunk_bytes:?}");
        }
    }
}

#[test]
fn trailers_pass_but_for_what_must_not_stand_there() {
    let (tell, seen) = mpsc::channel();
    let trailer = "X-Sum: 7\r\nContent-Length: 99\r\nHost: evil\r\nAuthorization: x\r\nX-Last: z\r\n\r\n";
    let backend = Backend::start(move |_, mut wire| {
        tell.send(wire.request()).unwrap();
        wire.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbye\r\n0\r\n{trailer}"));
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let chunked = "POST / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = apex.client().ask(format!("{chunked}2;name=value\r\nhi\r\n0\r\n{trailer}"));
    let kept = [("X-Sum", "7"), ("X-Last", "z")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = seen.recv_timeout(SOON).unwrap();
    assert_eq!((request.text(), &request.trailers[..]), ("hi", &kept[..]));
    assert_eq!((answer.text(), &answer.trailers[..]), ("bye", &kept[..]));
}

#[test]
fn pieces_of_content_are_not_held_back() {
    let (go, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |_, mut wire| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        while wait.lock().unwrap().recv_timeout(SOON).is_ok() {
            wire.send("3\r\nhi\n\r\n");
        }
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(get("/"));
    assert_eq!(client.head().status(), 200, "the head comes before any content");
    for _ in 0..3 {
        go.send(()).unwrap();
        assert_eq!(client.take(8), b"3\r\nhi\n\r\n");
    }
}

#[test]
fn pieces_of_a_body_are_not_held_back() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    for _ in 0..3 {
        client.send("3\r\nhi\n\r\n");
        assert_eq!(client.take(8), b"3\r\nhi\n\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.take(5), b"0\r\n\r\n");
}

#[test]
fn an_answer_may_come_before_the_body() {
    let backend = Backend::start(|_, mut wire| {
        wire.head();
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        wire.rest();
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nthe beginning");
    let answer = client.response();
    assert_eq!((answer.status(), answer.text()), (403, "no"));
    // RFC 9112 section 9.6: the backend connection lacks the rest of a request, so the next request must not follow on it.
    assert_eq!(apex.client().ask(get("/")).status(), 403);
    assert_eq!(backend.accepted(), 2);
}

#[test]
fn an_early_answer_lets_the_body_be_sent() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    client.send("POST /early/413 HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n");
    assert_eq!(client.response().status(), 413);
    // Apex reads on within bounds or closes; a client that goes on sending must not lose the answer it has, nor hang.
    client.try_send(vec![b'x'; 200_000]);
    if client.try_send(get("/next"))
        && let Some(head) = client.try_head()
    {
        assert_eq!(head.status(), 200);
    }
}

#[test]
fn an_early_answer_says_whether_more_can_follow() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    // What is still to come is told and within bounds, told and beyond them, or not told.
    for (framing, connection) in [
        ("Content-Length: 200000", None),
        ("Content-Length: 20000000", Some("close")),
        ("Transfer-Encoding: chunked", Some("close")),
    ] {
        let mut client = apex.client();
        client.send(format!("POST /early/413 HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
        let answer = client.response();
        assert_eq!((answer.status(), answer.field("Connection")), (413, connection), "{framing}");
    }
}

#[test]
fn a_client_that_sends_no_more_is_still_answered() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    client.send(format!("{}{}", get("/delay/100"), get("/bytes/100000")));
    client.finish();
    assert!(client.response().text().ends_with("GET /delay/100\n"));
    assert_eq!(client.response().content.len(), 100_000);
    client.expect_end();
}

#[test]
fn a_request_may_come_octet_by_octet() {
    // It answers when it has all of the request: an answer in front of the last chunk ends the connection.
    let origin = Backend::start(|_, mut wire| {
        while let Some(message) = wire.try_request() {
            wire.send(ok(message.text()));
        }
    });
    let apex = Apex::start(&all(&[origin.addr()]));
    let mut client = apex.client();
    let wire = "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nA: b\r\n\r\n";
    for octet in wire.bytes() {
        client.send([octet]);
    }
    assert_eq!(client.response().text(), "abcde");
    client.expect_silence(Duration::from_millis(50));
}

#[test]
fn an_answer_may_come_octet_by_octet() {
    let backend = Backend::start(|_, mut wire| {
        while wire.try_request().is_some() {
            for octet in "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".bytes()
            {
                wire.send([octet]);
            }
        }
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    for _ in 0..2 {
        let answer = client.ask(get("/"));
        assert_eq!((answer.text(), answer.end), ("abc", End::Whole));
    }
}

#[test]
fn empty_lines_before_a_request_are_passed_over() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    // Old clients sent an empty line behind a body (RFC 9112 section 2.2).
    let post = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";
    client.send(format!("\r\n{post}\r\n{}", get("/next")));
    assert_eq!(client.response().text(), "hi");
    assert!(client.response().text().ends_with("GET /next\n"));
}
