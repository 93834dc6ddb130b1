//! Many of a thing: a thousand routes, and ten thousand client connections at rest.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::peers::{any_route, apex, naming_nginx, route};
use crate::support::{Dir, lacks, load_secs, local, say, size};

/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A persistent connection that asks one thing at a time.
struct Client(TcpStream);

impl Client {
    fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, ANSWER_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self(stream))
    }

    /// Status and content of one answer; only answers with Content-Length are understood.
    fn get(&mut self, host: &str, path: &str) -> io::Result<(u16, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.0.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut room = [0; 4096];
        loop {
            let count = self.0.read(&mut room)?;
            if count == 0 {
                let text = String::from_utf8_lossy(&answer).into_owned();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            answer.extend_from_slice(&room[..count]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, content)) = text.split_once("\r\n\r\n") else { continue };
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status = status.ok_or_else(|| io::Error::other(format!("no status: {head}")))?;
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let length = length.ok_or_else(|| io::Error::other(format!("no length: {head}")))?;
            if content.len() == length {
                return Ok((status, content.to_owned()));
            }
            assert!(content.len() < length, "more than was announced: {text}");
        }
    }
}

#[test]
fn thousand_routes_lead_where_they_should() {
    const ROUTES: usize = 1_000;
    if lacks(&["nginx"]) {
        return;
    }
    let dir = Dir::new("routes");
    let backends = [naming_nginx(&dir, "even"), naming_nginx(&dir, "odd")];
    let mut routes = String::new();
    for number in 0..ROUTES {
        let backend = backends[number % 2].port();
        // A third by exact host, a third by wildcard, a third by path alone.
        let (host, prefix) = match number % 3 {
            0 => (format!("h{number}.example.com"), "/".to_owned()),
            1 => (format!("*.w{number}.example.com"), "/".to_owned()),
            _ => ("*".to_owned(), format!("/p{number}/inner")),
        };
        routes += &route(&format!("r{number}"), &host, &prefix, &[backend]);
    }
    let started = Instant::now();
    let apex = apex(&dir, "", &routes);
    say(&format!("{ROUTES} routes: ready after {:.1?}", started.elapsed()));

    let mut client = Client::connect(local(apex.port())).expect("connect");
    for number in (0..ROUTES).step_by(7).chain([ROUTES - 3, ROUTES - 2, ROUTES - 1]) {
        let (host, path) = match number % 3 {
            0 => (format!("H{number}.Example.com:{}", apex.port()), "/x".to_owned()),
            1 => (format!("a.b.w{number}.example.com"), "/x".to_owned()),
            _ => ("anything.test".to_owned(), format!("/p{number}/inner/x")),
        };
        let answer = client.get(&host, &path).unwrap_or_else(|error| panic!("{host}{path}: {error}"));
        let name = if number % 2 == 0 { "even" } else { "odd" };
        assert_eq!(answer, (200, format!("{name} {path}\n")), "{host}{path}");
    }
    let (status, _) = client.get("nobody.test", "/p2/innermost").expect("an answer");
    assert_eq!(status, 404, "no route takes this");
}

/// Makes room for descriptors, here and in the programs started from here; gives how many one process may have.
fn raise_descriptor_limit(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let room = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    if room(now.current) < wanted {
        let maximum = now.maximum.map(|maximum| maximum.max(wanted));
        // Only root may go past the hard limit; whoever may not takes all there is.
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
        if raised.is_err() {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
        }
    }
    room(getrlimit(Resource::Nofile).current)
}

/// How many connections to hold: `APEX_REAL_CONNECTIONS`, or 10,000, or what the limits leave.
fn connections() -> usize {
    let wanted = size("APEX_REAL_CONNECTIONS", 10_000);
    // A connection at rest has no backend's side. A third is left to the proxy for whatever else it holds open.
    let limit = raise_descriptor_limit(2 * wanted + 1_024);
    let possible = limit.saturating_sub(1_024) / 3 * 2;
    if possible < wanted {
        say(&format!("NOTE: scaled down to {possible} connections: only {limit} descriptors are allowed"));
    }
    usize::try_from(wanted.min(possible)).expect("a count of descriptors")
}

#[test]
fn idle_connections_stay_usable_and_cost_little() {
    if lacks(&["nginx"]) {
        return;
    }
    let count = connections();
    let dir = Dir::new("idle");
    let backend = naming_nginx(&dir, "origin");
    // Said outright: a default may well leave room for a backend's side of every connection.
    let more = format!("idle_timeout_secs = 600\nconnections_max = {}", count + 16);
    let apex = apex(&dir, &more, &any_route(&[backend.port()]));
    let to = local(apex.port());
    let expected = (200, "origin /x\n".to_owned());

    // One exchange first, so that what the proxy makes once is not counted against the connections.
    let mut first = Client::connect(to).expect("connect");
    assert_eq!(first.get("idle.test", "/x").expect("an answer"), expected);
    let before_bytes = apex.memory_bytes("VmRSS");

    let mut clients: Vec<Client> = Vec::with_capacity(count);
    let mut failures = String::new();
    for number in 0..count {
        let mut client = Client::connect(to).unwrap_or_else(|error| panic!("connection {number}: {error}"));
        let answer =
            client.get("idle.test", "/x").unwrap_or_else(|error| panic!("connection {number}: {error}"));
        assert_eq!(answer, expected, "connection {number}");
        clients.push(client);
    }

    // At rest for a while, longer than the pool of backend connections keeps them. Nothing ever comes on this channel.
    let (_rest, at_rest) = mpsc::channel::<()>();
    let rest_secs = load_secs().max(5);
    let _ = at_rest.recv_timeout(Duration::from_secs(rest_secs));
    let after_bytes = apex.memory_bytes("VmRSS");
    let each_bytes = after_bytes.saturating_sub(before_bytes) / u64::try_from(count).expect("a count");
    say(&format!(
        "{count} idle connections for {rest_secs} s: {each_bytes} bytes of memory each \
         ({before_bytes} before, {after_bytes} with them)"
    ));

    for (number, client) in clients.iter_mut().enumerate() {
        match client.get("idle.test", "/x") {
            Ok(answer) if answer == expected => {}
            other => writeln!(failures, "connection {number}: {other:?}").expect("write to a string"),
        }
        assert!(failures.lines().count() < 5, "no longer usable after {rest_secs} s:\n{failures}");
    }
    assert!(failures.is_empty(), "no longer usable after {rest_secs} s:\n{failures}");
}
