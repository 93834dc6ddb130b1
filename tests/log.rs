//! The access log: one line for each finished exchange, on standard output, in the combined format followed
//! by the route, the backend and the origin of the status.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::mpsc;
use support::{Apex, Backend, Refusing, SOON, all, echo, get, ok, route};

/// A line of the log, taken apart as far as the combined format goes.
#[derive(Debug)]
struct Line {
    client: String,
    date: String,
    request: String,
    status: u16,
    octets: String,
    referer: String,
    user_agent: String,
    rest: String,
}

impl Line {
    /// `127.0.0.1 - - [22/Nov/2026:19:51:00 +0000] "GET / HTTP/1.1" 200 12 "-" "-" …`
    fn parse(line: &str) -> Self {
        Self::try_parse(line).unwrap_or_else(|| panic!("not the combined format: {line}"))
    }

    fn try_parse(line: &str) -> Option<Self> {
        let (client, rest) = line.split_once(" - - [")?;
        let (date, rest) = rest.split_once("] \"")?;
        let (request, rest) = rest.split_once("\" ")?;
        let (status, rest) = rest.split_once(' ')?;
        let (octets, rest) = rest.split_once(" \"")?;
        let (referer, rest) = rest.split_once("\" \"")?;
        let (user_agent, rest) = rest.split_once('"')?;
        Some(Self {
            client: client.to_owned(),
            date: date.to_owned(),
            request: request.to_owned(),
            status: status.parse().ok()?,
            octets: octets.to_owned(),
            referer: referer.to_owned(),
            user_agent: user_agent.to_owned(),
            rest: rest.to_owned(),
        })
    }

    /// The words behind the combined format that are not numbers.
    fn words(&self) -> BTreeSet<String> {
        let words = self
            .rest
            .split([' ', '"'])
            .filter(|word| !word.is_empty() && !word.contains(|c: char| c.is_ascii_digit()));
        words.map(str::to_owned).collect()
    }
}

/// The line of the exchange whose target this is.
fn line_of(apex: &Apex, target: &str) -> Line {
    Line::parse(&apex.stdout.find(|line| line.contains(&format!(" {target} HTTP/"))))
}

#[test]
fn an_exchange_has_its_line() {
    let origin = echo();
    let apex = Apex::start(&route("my-api", "", &[origin.local_addr()]));
    apex.client().ask("GET /bytes/12?a=b HTTP/1.1\r\nHost: test\r\nReferer: http://from/\r\nUser-Agent: tester/1 (x)\r\n\r\n");
    let line = line_of(&apex, "/bytes/12?a=b");
    assert_eq!((line.client.as_str(), line.request.as_str()), ("127.0.0.1", "GET /bytes/12?a=b HTTP/1.1"));
    assert_eq!((line.status, line.octets.as_str()), (200, "12"));
    assert_eq!((line.referer.as_str(), line.user_agent.as_str()), ("http://from/", "tester/1 (x)"));
    assert!(line.rest.contains("my-api"), "{}", line.rest);
    assert!(line.rest.contains(&origin.local_addr().to_string()), "{}", line.rest);
    let shape: String = line.date.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert!(shape.starts_with("99/") && shape.ends_with("/9999:99:99:99 +9999"), "{}", line.date);
}

#[test]
fn what_is_missing_is_a_dash() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    apex.client().ask(get("/plain"));
    let line = line_of(&apex, "/plain");
    assert_eq!((line.referer.as_str(), line.user_agent.as_str()), ("-", "-"));
}

#[test]
fn each_request_of_a_connection_has_its_line() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    for number in 0..10 {
        client.ask(get(&format!("/n{number}")));
    }
    for number in 0..10 {
        assert_eq!(line_of(&apex, &format!("/n{number}")).status, 200);
    }
}

#[test]
fn a_line_says_where_its_status_came_from() {
    let (refusing, backend) =
        (Refusing::new(), Backend::answering("HTTP/1.1 502 Theirs\r\nContent-Length: 2\r\n\r\nhi"));
    let routes = [
        route("same", "path_prefix = \"/ours\"", &[refusing.addr()]),
        route("theirs", "path_prefix = \"/theirs\"", &[backend.addr()]),
    ]
    .concat();
    let apex = Apex::start(&routes);
    let mut client = apex.client();
    let ours = client.ask(get("/ours")).status();
    assert_eq!(client.ask(get("/theirs")).status(), 502);
    assert_eq!(client.ask(get("/nobody")).status(), 404);
    let [ours_line, theirs, nobody] = ["/ours", "/theirs", "/nobody"].map(|target| line_of(&apex, target));
    assert_eq!((ours_line.status, theirs.status, nobody.status), (ours, 502, 404));
    let names = BTreeSet::from(["same".to_owned(), "theirs".to_owned()]);
    let said = |line: &Line| line.words().difference(&names).cloned().collect::<Vec<_>>();
    assert_ne!(said(&ours_line), said(&theirs), "a 502 of Apex's own and one passed on look alike");
    assert_ne!(said(&nobody), said(&theirs));
    assert_ne!(said(&nobody), said(&ours_line));
    assert!(nobody.words().is_disjoint(&names), "no route took it: {}", nobody.rest);
}

#[test]
fn a_request_that_cannot_be_read_has_its_line() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    apex.client().ask("GET /unreadable HTTP/1.1\r\nHost : a\r\n\r\n");
    assert_eq!(line_of(&apex, "/unreadable").status, 400);
}

#[test]
fn a_client_that_was_gone_is_told_apart() {
    let (tell, asked) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        wire.request();
        tell.send(()).unwrap();
        wire.rest();
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    client.send(get("/gone"));
    asked.recv_timeout(SOON).unwrap();
    client.reset();
    assert_eq!(line_of(&apex, "/gone").status, 499);
}

#[test]
fn a_cut_answer_is_told_apart() {
    let cut = Backend::start(|_, mut wire| {
        wire.request();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
    let whole = Backend::answering(ok("half"));
    let routes =
        [route("r", "path_prefix = \"/cut\"", &[cut.addr()]), route("s", "", &[whole.addr()])].concat();
    let apex = Apex::start(&routes);
    apex.client().ask(get("/cut"));
    apex.client().ask(get("/whole"));
    let (cut, whole) = (line_of(&apex, "/cut"), line_of(&apex, "/whole"));
    assert_eq!((cut.status, whole.status), (200, 200));
    assert_eq!((cut.octets.as_str(), whole.octets.as_str()), ("4", "4"));
    let words =
        |line: &Line| line.words().into_iter().filter(|word| word != "r" && word != "s").collect::<Vec<_>>();
    assert_ne!(words(&cut), words(&whole));
}

#[test]
fn no_client_can_forge_a_line() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let answer = apex.client().ask("GET /forged HTTP/1.1\r\nHost: test\r\nUser-Agent: a\" \"b\\\tc\r\n\r\n");
    assert_eq!(answer.status(), 200);
    let line = apex.stdout.find(|line| line.contains("/forged"));
    assert!(!line.contains("a\" \"b") && !line.contains('\t'), "{line}");
}

#[test]
fn what_is_no_name_of_apex_is_not_told_as_one() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    client.ask("GET /named HTTP/1.1\r\nHost: test\r\nX-Request-Id: the-clients-own\r\n\r\n");
    let line = apex.stdout.find(|line| line.contains("/named"));
    assert!(!line.contains("the-clients-own"), "{line}");
}

#[test]
fn tls_on_a_plain_port_is_named() {
    let origin = echo();
    let apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert_eq!(client.response().status(), 400);
    client.expect_end();
    apex.stdout.find(|line| line.contains("cause=\"TLS on a plain port\""));
}

#[test]
fn the_log_can_be_off() {
    let origin = echo();
    let mut apex = Apex::with("access_log = false", &all(&[origin.local_addr()]));
    apex.client().ask(get("/silent"));
    apex.signal(rustix::process::Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    assert!(!apex.stdout.all().iter().any(|line| line.contains("/silent")));
}

#[test]
fn no_line_is_lost_at_the_end() {
    let origin = echo();
    let mut apex = Apex::start(&all(&[origin.local_addr()]));
    let mut client = apex.client();
    for number in 0..200 {
        client.ask(get(&format!("/l{number}")));
    }
    drop(client);
    apex.signal(rustix::process::Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    line_of(&apex, "/l199");
    let lines = apex.stdout.all().iter().filter(|line| line.contains(" /l")).count();
    assert_eq!(lines, 200);
}
