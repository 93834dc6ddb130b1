//! Endpoints that fail: each is remembered, skipped and tried again, so that a failed endpoint costs few
//! requests, and the log names it. The first part runs the program, the second one a worker whose names the
//! test resolves.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use apex::log::writer::Writer;
use apex::route::spec::RouteSpec;
use apex::worker::{self, Bound, Epoch, Handle, ListenGroup, Ownership, Phase, Setup, Shared, Snapshot};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use support::{Apex, Backend, BlackHole, Refusing, SOON, Wire, all, echo, get, ok};

const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";

/// No way leads there, on any machine: TCP has no multicast.
const UNREACHABLE: &str = "[ff02::1]:80";

/// A backend that accepts and never answers, as a process that was stopped does.
fn stopped() -> Backend {
    Backend::start(|_, mut wire| {
        wire.rest();
    })
}

/// What the access line of that target says was tried in vain.
fn tried(apex: &Apex, target: &str) -> Option<String> {
    let line = apex.stdout.find(|line| line.contains(&format!(" {target} HTTP/")));
    let (_, tried) = line.split_once(" tried=\"")?;
    Some(tried.split('"').next().unwrap().to_owned())
}

/// What the operator was told of a backend so far.
fn told(apex: &Apex, backend: &str) -> Vec<String> {
    let lines = apex.stderr.all().into_iter();
    let about = format!("backend {backend} ");
    let said = |line: String| {
        let words = line.strip_prefix("apex: ")?;
        Some(words.strip_prefix("warning: ").unwrap_or(words).strip_prefix(&about)?.to_owned())
    };
    lines.filter_map(said).collect()
}

#[test]
fn an_address_without_a_way_to_it_is_passed_over() {
    let origin = echo();
    let apex = Apex::start(&all(&[UNREACHABLE.parse().unwrap(), origin.local_addr()]));
    let mut client = apex.client();
    for _ in 0..10 {
        assert_eq!(client.ask(get("/")).status(), 200);
        assert_eq!(client.ask(POST).status(), 200);
    }
    apex.stderr.find(|line| line.contains("is taken out"));
    assert_eq!(told(&apex, UNREACHABLE), ["is taken out for 1 s: it cannot be reached"]);
}

/// 100 backends are gone and one is there: the first request finds it.
#[test]
fn the_one_that_works_is_found_among_many() {
    let refusing: Vec<_> = (0..100).map(|_| Refusing::new()).collect();
    let origin = echo();
    let mut backends: Vec<_> = refusing.iter().map(Refusing::addr).collect();
    backends.push(origin.local_addr());
    let apex = Apex::start(&all(&backends));
    let mut client = apex.client();
    for number in 0..10 {
        assert_eq!(client.ask(get(&format!("/{number}"))).status(), 200, "request {number}");
    }
    let lines = (0..10).filter_map(|number| tried(&apex, &format!("/{number}")));
    let listed: Vec<_> = lines.collect();
    assert!(listed[0].contains(":refused,"), "{}", listed[0]);
    assert!(listed.iter().all(|list| list.len() < 300), "the list is bounded: {listed:?}");
}

/// Where all are out, all are tried, but a request does not multiply the outage by the number of backends.
#[test]
fn an_outage_is_not_multiplied() {
    let refusing: Vec<_> = (0..20).map(|_| Refusing::new()).collect();
    let backends: Vec<_> = refusing.iter().map(Refusing::addr).collect();
    let apex = Apex::start(&all(&backends));
    let mut client = apex.client();
    assert_eq!(client.ask(get("/first")).status(), 502);
    assert_eq!(client.ask(get("/second")).status(), 502);
    assert!(tried(&apex, "/first").unwrap().ends_with(",+12"), "each was tried");
    assert_eq!(tried(&apex, "/second").unwrap().matches("refused").count(), 4);
}

/// Two machines, of which one drops what would begin a connection, and requests that come eight at a time.
#[test]
fn a_black_hole_costs_one_trial_at_a_time() {
    let (hole, origin) = (BlackHole::new(), echo());
    let apex = Apex::with("connect_timeout_secs = 0.3", &all(&[hole.addr(), origin.local_addr()]));
    let mut clients: Vec<_> = (0..8).map(|_| apex.client()).collect();
    let mut slow_in_round = |round: usize| {
        for client in &mut clients {
            client.send(get(&format!("/round{round}")));
        }
        for client in &mut clients {
            assert_eq!(client.response().status(), 200);
        }
        let lines = apex.stdout.first(8 * (round + 1));
        lines.iter().skip(8 * round).filter(|line| line.contains(":connect_timeout\"")).count()
    };
    assert_eq!(slow_in_round(0), 4, "nobody knows yet");
    let began = Instant::now();
    let slow = (1..5_000).map(slow_in_round).find(|&slow| slow > 0);
    let took = began.elapsed();
    assert_eq!(slow, Some(1), "one trial, also while it is being connected");
    assert!(took >= Duration::from_millis(900) && took < SOON, "{took:?}");
    assert_eq!(told(&apex, &hole.addr().to_string()), ["is taken out for 1 s: connecting timed out"]);
}

#[test]
fn a_stopped_backend_costs_three_requests() {
    let (stopped, origin) = (stopped(), echo());
    let apex = Apex::with("timeout_secs = 0.2", &all(&[stopped.addr(), origin.local_addr()]));
    let mut client = apex.client();
    let mut ask = || client.ask(get("/")).status();
    let statuses: Vec<_> = (0..40).map(|_| ask()).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 504).count(), 3, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 504)), "{statuses:?}");
    apex.stderr.find(|line| line.contains("is taken out"));
    assert_eq!(told(&apex, &stopped.addr().to_string()), ["is taken out for 1 s: it did not answer in time"]);
}

#[test]
fn a_backend_that_does_not_speak_http_costs_three_requests() {
    let other = Backend::start(|_, mut wire| {
        wire.request();
        wire.send("SSH-2.0-OpenSSH_9.6\r\n\r\n");
    });
    let origin = echo();
    let apex = Apex::start(&all(&[other.addr(), origin.local_addr()]));
    let mut client = apex.client();
    let mut ask = || client.ask(get("/")).status();
    let statuses: Vec<_> = (0..40).map(|_| ask()).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 502).count(), 3, "{statuses:?}");
    apex.stderr.find(|line| line.contains("is taken out"));
    assert_eq!(told(&apex, &other.addr().to_string()), ["is taken out for 1 s: its answers are not HTTP"]);
}

#[test]
fn a_backend_that_closes_instead_of_answering_is_asked_three_times() {
    let closing = Backend::start(|_, mut wire| {
        wire.request();
    });
    let origin = echo();
    let apex = Apex::start(&all(&[closing.addr(), origin.local_addr()]));
    let mut client = apex.client();
    for _ in 0..40 {
        assert_eq!(client.ask(get("/")).status(), 200);
    }
    assert_eq!(closing.accepted(), 3);
    apex.stderr.find(|line| line.contains("is taken out"));
    assert_eq!(
        told(&apex, &closing.addr().to_string()),
        ["is taken out for 1 s: it closed connections without an answer"]
    );
}

/// Failures that an answer interrupts are no row.
#[test]
fn an_answer_begins_the_count_anew() {
    // The first and the second request of three are not answered.
    let backend = Backend::start(|number, mut wire| {
        wire.request();
        if number % 3 == 2 {
            wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let apex = Apex::start(&all(&[backend.addr()]));
    let mut client = apex.client();
    for number in 0..15 {
        // Each on a connection of its own, and a POST is never sent twice.
        let status = client.ask(POST).status();
        assert_eq!(status, if number % 3 == 2 { 200 } else { 502 });
    }
    assert_eq!(told(&apex, &backend.addr().to_string()), [""; 0]);
}

#[test]
fn one_trial_brings_an_endpoint_back() {
    let (refusing, origin) = (Refusing::new(), Backend::answering(ok("other")));
    let apex = Apex::start(&all(&[refusing.addr(), origin.addr()]));
    let mut client = apex.client();
    for _ in 0..4 {
        assert_eq!(client.ask(get("/")).text(), "other");
    }
    let _back =
        Backend::start_at(
            &refusing,
            |_, mut wire| {
                while wire.try_request().is_some() && wire.try_send(ok("back")) {}
            },
        );
    let began = Instant::now();
    while client.ask(get("/")).text() != "back" {
        assert!(began.elapsed() < SOON, "it is not tried again");
    }
    assert_ne!(client.ask(get("/")).text(), client.ask(get("/")).text(), "it has its share again");
    apex.stderr.find(|line| line.contains("is back"));
    assert_eq!(
        told(&apex, &refusing.addr().to_string()),
        ["is taken out for 1 s: connection refused", "is back"]
    );
}

/// The client of a trial goes away before its answer: that says nothing of the endpoint, and the next request may try.
#[test]
fn a_trial_that_shows_nothing_is_followed_by_another() {
    let (refusing, origin) = (Refusing::new(), Backend::answering(ok("other")));
    let apex = Apex::start(&all(&[refusing.addr(), origin.addr()]));
    let mut client = apex.client();
    for _ in 0..4 {
        assert_eq!(client.ask(get("/")).text(), "other");
    }
    let (tell, asked) = mpsc::channel();
    let (ended, gone) = mpsc::channel();
    let ends = Mutex::new((tell, ended));
    let _back = Backend::start_at(&refusing, move |number, mut wire| {
        let (tell, ended) = ends.lock().unwrap().clone();
        while wire.try_request().is_some() {
            tell.send(number).unwrap();
            if number == 0 {
                // Never answered: its client goes.
                wire.rest();
                ended.send(()).unwrap();
                return;
            }
            wire.send(ok("back"));
        }
    });
    let began = Instant::now();
    let first = loop {
        assert!(began.elapsed() < SOON, "it is not tried again");
        let mut other = apex.client();
        other.send(get("/"));
        // Either the answer of the other one is there soon, or the request is the trial.
        match asked.recv_timeout(Duration::from_millis(20)) {
            Ok(number) => break (number, other),
            Err(_) => assert_eq!(other.response().text(), "other"),
        }
    };
    assert_eq!(first.0, 0);
    first.1.reset();
    gone.recv_timeout(SOON).unwrap();
    let began = Instant::now();
    while client.ask(get("/")).text() != "back" {
        assert!(began.elapsed() < Duration::from_secs(5), "the trial is not given back");
    }
}

#[test]
fn an_access_line_names_what_was_tried() {
    let (refusing, origin) = (Refusing::new(), echo());
    let apex = Apex::start(&all(&[refusing.addr(), origin.local_addr()]));
    let mut client = apex.client();
    let targets: Vec<_> = (0..6).map(|number| format!("/t{number}")).collect();
    for target in &targets {
        assert_eq!(client.ask(get(target)).status(), 200);
    }
    let lists: Vec<_> = targets.iter().filter_map(|target| tried(&apex, target)).collect();
    assert_eq!(lists, [format!("{}:refused", refusing.addr())], "and nothing where nothing failed");
}

/// A worker whose backends are named `name`, and a test that says which addresses that has.
struct Named {
    shared: Arc<Shared>,
    worker: Option<Handle>,
    address: SocketAddr,
}

impl Named {
    fn start(server: &str, addresses: &[SocketAddr]) -> Self {
        Self::start_with(server, "", addresses)
    }

    fn start_with(server: &str, keys: &str, addresses: &[SocketAddr]) -> Self {
        let routes =
            format!("[[routes]]\nname = \"all\"\n{keys}\nbackends = [{{ url = \"http://name\" }}]\n");
        let config = apex::config::parse(&format!("[server]\n{server}\n{routes}"), "apex.toml").unwrap();
        let socket = apex::net::listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let log = Writer::spawn(io::sink(), io::sink()).unwrap();
        let shared = Arc::new(Shared::new(snapshot(&config.routes, &config.server)));
        let setup = Setup {
            number: 0,
            listeners: vec![Bound {
                socket: socket.into(),
                group: Arc::new(ListenGroup::new(0, address.into(), Ownership::Exclusive)),
            }],
            shared: Arc::clone(&shared),
            counters: Arc::default(),
            lines: log.lines(),
            report: |_| {},
        };
        let worker = worker::spawn(setup, Epoch::start(), || {}, |_| {}).unwrap();
        let named = Self { shared, worker: Some(worker), address };
        named.resolves_to(addresses);
        named.shared.set_phase(Phase::Serving);
        named.worker.as_ref().unwrap().wake();
        named
    }

    fn resolves_to(&self, addresses: &[SocketAddr]) {
        let addresses: Vec<_> = addresses.iter().map(|&address| address.into()).collect();
        let snapshot = self.shared.snapshot.load();
        snapshot.table.backends().for_each(|backend| backend.resolved(&addresses));
        if let Some(worker) = &self.worker {
            worker.wake();
        }
    }

    fn client(&self) -> Wire {
        Wire::connect(self.address)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.shared.set_phase(Phase::Ending);
        if let Some(worker) = self.worker.take() {
            worker.wake();
            let _ = worker.thread.join();
        }
    }
}

fn snapshot(routes: &[RouteSpec], server: &apex::config::Server) -> Snapshot {
    Snapshot {
        table: apex::route::table::Table::compile(routes, None),
        settings: apex::exchange::Settings {
            head: server.head,
            header_timeout: server.header_timeout,
            policy: server.policy(),
            via: None,
            request_ids: apex::exchange::RequestIds::Passed,
            access_log: apex::exchange::AccessLog::Off,
        },
        idle_timeout: server.idle_timeout,
        backend_idle_timeout: server.backend_idle_timeout,
        trusted: Vec::new(),
        connections_max: 100,
    }
}

#[test]
fn a_name_is_served_by_the_addresses_that_can_be_reached() {
    let origin = Backend::answering(ok("here"));
    for other in [UNREACHABLE.parse().unwrap(), Refusing::new().addr()] {
        let named = Named::start("", &[other, origin.addr()]);
        for number in 0..20 {
            let mut client = named.client();
            assert_eq!(client.ask(get("/")).text(), "here", "{other}, request {number}");
            assert_eq!(client.ask(POST).text(), "here", "{other}, request {number}");
        }
    }
    let named = Named::start("", &[UNREACHABLE.parse().unwrap()]);
    assert_eq!(named.client().ask(get("/")).status(), 502, "all are through");
    named.resolves_to(&[]);
    assert_eq!(named.client().ask(get("/")).status(), 503, "there is none");
}

#[test]
fn a_dead_address_of_a_name_costs_one_request_in_a_second() {
    let (hole, origin) = (BlackHole::new(), Backend::answering(ok("here")));
    let named = Named::start("connect_timeout_secs = 0.6", &[hole.addr(), origin.addr()]);
    let began = Instant::now();
    let mut slow = 0;
    for _ in 0..60 {
        let asked = Instant::now();
        assert_eq!(named.client().ask(get("/")).text(), "here");
        slow += usize::from(asked.elapsed() >= Duration::from_millis(590));
    }
    // The first one, and then at most one trial a second.
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((1..=1 + seconds).contains(&slow), "{slow} slow requests in {seconds} s");
}

#[test]
fn an_address_that_went_gets_no_new_request() {
    let (tell, told) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    let old = Backend::start(move |_, mut wire| {
        wire.request();
        tell.send("asked").unwrap();
        released.lock().unwrap().recv_timeout(SOON).unwrap();
        wire.send(ok("held"));
        wire.rest();
        tell.send("closed").unwrap();
    });
    let new = Backend::answering(ok("new"));
    let named = Named::start("backend_idle_timeout_secs = 600", &[old.addr()]);
    let mut busy = named.client();
    busy.send(get("/"));
    assert_eq!(told.recv_timeout(SOON), Ok("asked"));
    named.resolves_to(&[new.addr()]);
    assert_eq!(named.client().ask(get("/")).text(), "new");
    release.send(()).unwrap();
    assert_eq!(busy.response().text(), "held", "what goes on there comes to its end");
    for _ in 0..10 {
        assert_eq!(busy.ask(get("/")).text(), "new", "its connection is not used again");
    }
    assert_eq!(told.recv_timeout(SOON), Ok("closed"), "and not kept");
}

#[test]
fn idle_connections_to_an_address_that_went_are_closed() {
    let (tell, ended) = mpsc::channel();
    let old = Backend::start(move |_, mut wire| {
        while wire.try_request().is_some() && wire.try_send(ok("old")) {}
        let _ = tell.send(());
    });
    let new = Backend::answering(ok("new"));
    let named = Named::start("backend_idle_timeout_secs = 600", &[old.addr()]);
    let mut client = named.client();
    assert_eq!(client.ask(get("/")).text(), "old");
    named.resolves_to(&[old.addr(), new.addr()]);
    assert!(ended.recv_timeout(Duration::from_millis(100)).is_err(), "its address is still there");
    named.resolves_to(&[new.addr()]);
    ended.recv_timeout(SOON).unwrap();
    assert_eq!(client.ask(get("/")).text(), "new");
}

/// With `least_connections` the addresses of a name have a load of their own.
#[test]
fn the_least_busy_address_of_a_name_is_chosen() {
    let (tell, asked) = mpsc::channel();
    let backends = [0, 1, 2].map(|name| {
        let tell = tell.clone();
        Backend::start(move |_, mut wire| {
            while wire.try_request().is_some() {
                tell.send(name).unwrap();
            }
        })
    });
    let keys = "load_balancing = \"least_connections\"";
    let named = Named::start_with("", keys, &backends.each_ref().map(Backend::addr));
    let mut open = Vec::new();
    let mut shares = [0; 3];
    for _ in 0..6 {
        let mut client = named.client();
        client.send(get("/"));
        shares[asked.recv_timeout(SOON).unwrap()] += 1;
        open.push(client);
    }
    assert_eq!(shares, [2; 3]);
    drop(open);
}
