//! The heads that a backend and a client receive: rewritten, without hop-by-hop fields, and with the client's
//! address (RFC 9110 section 7.6).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use std::sync::mpsc::{self, Receiver};
use support::process::until;
use support::{Apex, Backend, Head, SOON, all, echo, get, ok, route};

/// A backend that answers every request alike and tells its test what it saw.
fn watching(answer: String) -> (Backend, Receiver<Head>) {
    let (tell, seen) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        while let Some(request) = wire.try_request() {
            tell.send(request.head).unwrap();
            wire.send(&answer);
        }
    });
    (backend, seen)
}

/// The request as a backend sees it behind Apex with these keys of `[server]` and of the route.
fn seen_through(server: &str, keys: &str, request: &str) -> Head {
    let (backend, seen) = watching(ok("hi"));
    let apex = Apex::with(server, &route("all", keys, &[backend.addr()]));
    let answer = apex.client().ask(request);
    assert_eq!(answer.status(), 200, "{request:?}: {}", answer.text());
    seen.recv_timeout(SOON).unwrap()
}

/// The lines of a head, but for the X-Forwarded-* that Apex adds.
fn lines_less_forwarded(head: &Head) -> Vec<String> {
    let text: String = head.raw.iter().map(|&octet| char::from(octet)).collect();
    let lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
    lines.filter(|line| !line.to_lowercase().starts_with("x-forwarded-")).map(str::to_owned).collect()
}

#[test]
fn a_plain_head_passes_octet_by_octet() {
    let mut client_head =
        b"PURGE /a%2Fb//../c?x=1&y=%zz HTTP/1.1\r\nHost: Shop.Example:8080\r\nx-LOWER: 1\r\nX-Twice: a\r\n\
        Accept: */*\r\nX-Twice: b\r\nX-Text: caf\xe9\r\nX-Empty: \r\n\r\n"
            .to_vec();
    let (backend, seen) = watching(ok("hi"));
    let apex = Apex::start(&all(&[backend.addr()]));
    apex.client().ask(&client_head);
    let head = seen.recv_timeout(SOON).unwrap();

    client_head.truncate(client_head.len() - 4);
    let sent: String = client_head.iter().map(|&octet| char::from(octet)).collect();
    let trimmed =
        |lines: Vec<String>| -> Vec<_> { lines.iter().map(|line| line.trim_end().to_owned()).collect() };
    // An empty value may lose the optional white space before it; every other octet is the client's.
    let sent: Vec<_> = sent.split("\r\n").map(str::to_owned).collect();
    assert_eq!(trimmed(lines_less_forwarded(&head)), trimmed(sent));
    assert_eq!(head.field("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(head.field("X-Forwarded-Proto"), Some("http"));
    assert_eq!(head.field("X-Forwarded-Host"), Some("Shop.Example:8080"));
}

#[test]
fn a_plain_answer_passes_octet_by_octet() {
    let sent = "HTTP/1.1 299 Fine, thanks\r\nServer: x\r\nSet-Cookie: a=1\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
        Set-Cookie: b=2\r\nx-lower: Y";
    let backend = Backend::answering(format!("{sent}\r\nContent-Length: 2\r\n\r\nhi"));
    let apex = Apex::start(&all(&[backend.addr()]));
    let answer = apex.client().ask(get("/"));
    // The framing field is written anew, wherever Apex puts it.
    let lines = lines_less_forwarded(&answer.head);
    let lines: Vec<_> =
        lines.iter().filter(|line| !line.to_lowercase().starts_with("content-length:")).collect();
    assert_eq!(lines, sent.split("\r\n").collect::<Vec<_>>());
    assert_eq!(answer.field("Content-Length"), Some("2"));
}

#[test]
fn fields_of_one_hop_go_no_further() {
    let cases = [
        ("Keep-Alive: timeout=5\r\n", "Keep-Alive"),
        ("Proxy-Connection: keep-alive\r\n", "Proxy-Connection"),
        ("Proxy-Authorization: Basic eA==\r\n", "Proxy-Authorization"),
        ("Proxy-Authenticate: Basic\r\n", "Proxy-Authenticate"),
        ("TE: gzip\r\n", "TE"),
        ("Upgrade: websocket\r\n", "Upgrade"),
        ("Connection: x-named, X-Other\r\nX-Named: 1\r\nX-Other: 2\r\n", "X-Named"),
        ("X-Named: 1\r\nX-Other: 2\r\nConnection: X-Other\r\nConnection: x-named\r\n", "X-Other"),
        ("Connection: keep-alive\r\n", "Connection"),
        ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n", "Upgrade"),
        ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n", "HTTP2-Settings"),
    ];
    for (fields, gone) in cases {
        let head =
            seen_through("", "", &format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}X-Kept: 1\r\n\r\n"));
        assert_eq!(head.all(gone), Vec::<&str>::new(), "{fields:?}");
        assert_eq!(head.field("X-Kept"), Some("1"), "{fields:?}");
    }
}

#[test]
fn fields_of_one_hop_come_no_further() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\nConnection: X-Named\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
         Upgrade: h2c\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nhi",
    );
    let apex = Apex::start(&all(&[backend.addr()]));
    let answer = apex.client().ask(get("/"));
    for gone in ["Connection", "X-Named", "Keep-Alive", "Proxy-Authenticate", "Upgrade"] {
        assert_eq!(answer.field(gone), None, "{gone}");
    }
    assert_eq!((answer.field("X-Kept"), answer.text()), (Some("1"), "hi"));
}

#[test]
fn a_client_cannot_have_fields_removed_that_apex_relies_on() {
    for named in ["Host", "Content-Length", "X-Forwarded-For, x-forwarded-proto, X-Forwarded-Host"] {
        let head = seen_through(
            "",
            "",
            &format!("POST / HTTP/1.1\r\nHost: test\r\nConnection: {named}\r\nContent-Length: 2\r\n\r\nhi"),
        );
        let told = ["Host", "Content-Length", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"];
        let values = told.map(|name| head.field(name));
        assert_eq!(
            values,
            [Some("test"), Some("2"), Some("127.0.0.1"), Some("http"), Some("test")],
            "{named}"
        );
    }
}

#[test]
fn te_trailers_is_said_again() {
    let request = "GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
    let head = seen_through("", "", request);
    assert_eq!(head.field("TE"), Some("trailers"));
    assert_eq!(head.field("Connection").map(str::to_lowercase).as_deref(), Some("te"));
}

#[test]
fn only_a_trusted_peer_is_believed() {
    let request = "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: public\r\n\r\n";
    let told = |server| {
        let head = seen_through(server, "", request);
        ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"].map(|name| head.all(name).join(", "))
    };
    assert_eq!(told(""), ["127.0.0.1", "http", "test"]);
    assert_eq!(told("trusted_proxies = [\"127.0.0.0/8\"]"), ["192.0.2.1, 127.0.0.1", "https", "public"]);
    assert_eq!(told("trusted_proxies = [\"10.0.0.0/8\"]"), ["127.0.0.1", "http", "test"]);
}

#[test]
fn a_request_has_a_name_where_that_is_asked() {
    let (backend, seen) = watching(ok("hi"));
    let apex = Apex::with("via = \"edge\"\nrequest_id = true", &all(&[backend.addr()]));
    let mut client = apex.client();
    let mut names = Vec::new();
    for _ in 0..2 {
        client.ask("GET / HTTP/1.1\r\nHost: test\r\nX-Request-Id: forged\r\n\r\n");
        let head = seen.recv_timeout(SOON).unwrap();
        assert_eq!(head.all("Via"), ["1.1 edge"]);
        let [name] = head.all("X-Request-Id")[..] else { panic!("one name") };
        assert!(name.len() == 32 && name.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}");
        names.push(name.to_owned());
    }
    assert_ne!(names[0], names[1]);
    // The log tells them too.
    for name in names {
        let told = format!("request_id=\"{name}\"");
        until(&told, || apex.stdout.all().iter().any(|line| line.contains(&told)).then_some(()));
    }
}

#[test]
fn the_prefix_is_taken_off_where_that_is_asked() {
    let cases = [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?q=1", "/?q=1"),
        ("/api/x/y?q=1", "/x/y?q=1"),
        ("/api//x", "//x"),
        ("/api//", "//"),
        ("/api/%2e/", "/%2e/"),
        // Nothing is decoded, merged or resolved: what lies behind the cut is for the backend to read.
        ("/api/../x", "/../x"),
        ("/api/./", "/./"),
        ("/api/%2F", "/%2F"),
        ("/api/@host/x", "/@host/x"),
        ("/api?//x", "/?//x"),
    ];
    let (backend, seen) = watching(ok("hi"));
    let apex = Apex::start(&route("api", "path_prefix = \"/api\"\nstrip_prefix = true", &[backend.addr()]));
    let mut client = apex.client();
    for (target, sent) in cases {
        client.ask(get(target));
        assert_eq!(seen.recv_timeout(SOON).unwrap().start, format!("GET {sent} HTTP/1.1"), "{target}");
    }
    // Nor before it: only the prefix as it is written is one.
    for other in
        ["/apix", "/api%2Fx", "/%61pi/x", "/api;x", "/api%00", "/api\\x", "//api/x", "/./api/x", "/API/x"]
    {
        assert_eq!(client.ask(get(other)).status(), 404, "{other}");
    }
}

#[test]
fn an_absolute_target_goes_on_in_origin_form() {
    let cases = [
        ("GET http://shop.example/a?b HTTP/1.1", "GET /a?b HTTP/1.1", "shop.example"),
        ("GET http://shop.example:81 HTTP/1.1", "GET / HTTP/1.1", "shop.example:81"),
        ("GET HTTP://shop.example?b HTTP/1.1", "GET /?b HTTP/1.1", "shop.example"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1", "other"),
    ];
    for (sent, start, host) in cases {
        let head = seen_through("", "", &format!("{sent}\r\nHost: other\r\n\r\n"));
        assert_eq!((head.start.as_str(), head.field("Host")), (start, Some(host)), "{sent}");
    }
}

#[test]
fn an_old_request_goes_on_as_a_new_one() {
    let head = seen_through("", "", "GET /a HTTP/1.0\r\n\r\n");
    assert_eq!(head.start, "GET /a HTTP/1.1");
    assert!(head.field("Host").is_some(), "RFC 9112 section 3.2: a request of 1.1 names its host");
    let head = seen_through("", "", "GET /a HTTP/1.2\r\nHost: test\r\n\r\n");
    assert_eq!(head.start, "GET /a HTTP/1.1");
}

#[test]
fn framing_is_written_anew() {
    let cases = [
        ("Content-Length: 2\r\n\r\nhi", Some("2"), None),
        ("content-length:  02 \r\n\r\nhi", Some("2"), None),
        ("Content-Length: 0\r\n\r\n", Some("0"), None),
        ("Transfer-Encoding: \tChunked \r\n\r\n2\r\nhi\r\n0\r\n\r\n", None, Some("chunked")),
    ];
    for (rest, length, coding) in cases {
        let head = seen_through("", "", &format!("POST / HTTP/1.1\r\nHost: test\r\n{rest}"));
        let framing = (head.field("Content-Length"), head.field("Transfer-Encoding"));
        assert_eq!(framing, (length, coding), "{rest:?}");
    }
}

#[test]
fn max_forwards_is_counted_down() {
    let ask = |number: u32| format!("OPTIONS / HTTP/1.1\r\nHost: test\r\nMax-Forwards: {number}\r\n\r\n");
    assert_eq!(seen_through("", "", &ask(5)).field("Max-Forwards"), Some("4"));

    // RFC 9110 section 7.6.2: at 0 the recipient answers by itself.
    let backend = Backend::answering(ok("hi"));
    let apex = Apex::start(&all(&[backend.addr()]));
    apex.client().ask(ask(0));
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn a_response_with_two_framings_is_chunked_and_the_last() {
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let backend = Backend::answering(answer);
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    for turn in 1..=2 {
        assert_eq!(client.ask(get("/")).text(), "hi");
        assert_eq!(backend.accepted(), turn, "such a connection is not used again");
    }
}

#[test]
fn a_large_head_passes_whole() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let value = "v".repeat(20_000);
    let fields = (0..100).map(|number| format!("X-{number}: {number}\r\n")).collect::<Vec<_>>().concat();
    let answer =
        apex.client().ask(format!("GET /headers HTTP/1.1\r\nHost: test\r\nX-Large: {value}\r\n{fields}\r\n"));
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains(&value) && answer.text().contains(&fields));
}
