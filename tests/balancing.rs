//! The choice of a backend: routes by host and path, then the balancing of their pool, by weight.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc;
use support::{
    Apex, Backend, SOON, Wire, all, echo, get, ok, raise_descriptor_limit, route, say, weighted_route,
};

/// A backend that says its name.
fn named(name: &'static str) -> Backend {
    Backend::answering(ok(name))
}

/// How often each name came in so many answers on one connection.
fn counts(client: &mut Wire, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        *counts.entry(client.ask(get("/")).text().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn turns_follow_the_weights() {
    let (heavy, light) = (named("heavy"), named("light"));
    let apex = Apex::start(&weighted_route("all", "", &[(heavy.addr(), 3), (light.addr(), 1)]));
    let mut client = apex.client();
    for _ in 0..3 {
        let counts = counts(&mut client, 8);
        assert_eq!((counts["heavy"], counts["light"]), (6, 2));
    }
}

/// Reloads that come before each request: nobody is always first.
#[test]
fn a_reload_does_not_begin_with_the_same_backend() {
    let (one, two) = (named("one"), named("two"));
    let routes = all(&[one.addr(), two.addr()]);
    let apex = Apex::start(&routes);
    let mut counts = BTreeMap::new();
    for round in 0..16 {
        let before = apex.stderr.count();
        apex.rewrite(&format!("timeout_secs = {}", round + 20), &routes);
        apex.signal(rustix::process::Signal::HUP);
        apex.stderr.find_behind(before, |line| line.contains("reloaded"));
        *counts.entry(apex.client().ask(get("/")).text().to_owned()).or_insert(0) += 1;
    }
    // By chance it is all one of them once in 32,768 runs.
    assert_eq!(counts.len(), 2, "{counts:?}");
}

#[test]
fn weighted_turns_are_spread_out() {
    let (heavy, light) = (named("heavy"), named("light"));
    let apex = Apex::start(&weighted_route("all", "", &[(heavy.addr(), 4), (light.addr(), 4)]));
    let mut client = apex.client();
    for _ in 0..4 {
        let counts = counts(&mut client, 2);
        assert_eq!(
            (counts["heavy"], counts["light"]),
            (1, 1),
            "equal weights take turns, whatever their size"
        );
    }
}

#[test]
fn chance_is_fair() {
    let (one, two) = (named("one"), named("two"));
    let keys = "load_balancing = \"random\"";
    let apex = Apex::start(&route("all", keys, &[one.addr(), two.addr()]));
    let even = counts(&mut apex.client(), 400);
    // 200 expected, standard deviation 10: six of them on either side.
    assert!((140..=260).contains(&even["one"]), "{even:?}");

    let apex = Apex::start(&weighted_route("all", keys, &[(one.addr(), 9), (two.addr(), 1)]));
    let uneven = counts(&mut apex.client(), 400);
    // 360 expected, standard deviation 6.
    assert!((324..=396).contains(&uneven["one"]), "{uneven:?}");
}

/// Backends that hold every request open and tell which of them has it.
fn holding(count: usize) -> (Vec<Backend>, mpsc::Receiver<usize>) {
    let (tell, taken) = mpsc::channel();
    let backends = (0..count).map(|name| {
        let tell = tell.clone();
        Backend::start(move |_, mut wire| {
            while wire.try_request().is_some() {
                tell.send(name).unwrap();
            }
        })
    });
    (backends.collect(), taken)
}

#[test]
fn the_least_busy_backend_is_chosen() {
    let (backends, taken) = holding(3);
    let addrs: Vec<SocketAddr> = backends.iter().map(Backend::addr).collect();
    let apex = Apex::with("workers = 2", &route("all", "load_balancing = \"least_connections\"", &addrs));
    let mut open: Vec<(usize, Wire)> = Vec::new();
    for _ in 0..6 {
        let mut client = apex.client();
        client.send(get("/"));
        open.push((taken.recv_timeout(SOON).unwrap(), client));
    }
    for name in 0..3 {
        assert_eq!(open.iter().filter(|(taker, _)| *taker == name).count(), 2, "backend {name}");
    }
}

#[test]
fn the_least_busy_backend_is_chosen_by_weight() {
    let (backends, taken) = holding(2);
    let weighted = [(backends[0].addr(), 3), (backends[1].addr(), 1)];
    let apex = Apex::start(&weighted_route("all", "load_balancing = \"least_connections\"", &weighted));
    let mut open = Vec::new();
    let mut heavy = 0;
    for _ in 0..8 {
        let mut client = apex.client();
        client.send(get("/"));
        heavy += usize::from(taken.recv_timeout(SOON).unwrap() == 0);
        open.push(client);
    }
    assert_eq!(heavy, 6);
}

#[test]
fn a_finished_exchange_counts_no_more() {
    let (tell, held) = mpsc::channel();
    let backends = ["one", "two"].map(|name| {
        let tell = tell.clone();
        Backend::start(move |_, mut wire| {
            while let Some(request) = wire.try_request() {
                if request.head.start.contains("/hold") {
                    tell.send(name).unwrap();
                } else {
                    wire.send(ok(name));
                }
            }
        })
    });
    let apex = Apex::start(&route(
        "all",
        "load_balancing = \"least_connections\"",
        &backends.each_ref().map(Backend::addr),
    ));
    let mut holder = apex.client();
    holder.send(get("/hold"));
    let busy = held.recv_timeout(SOON).unwrap();
    // Were finished exchanges still counted, the busy backend would have its turn among these.
    let counts = counts(&mut apex.client(), 10);
    assert_eq!(counts.get(busy), None, "{counts:?}");
}

#[test]
fn the_most_exact_route_wins() {
    let names = ["any", "any-path", "wild", "long-wild", "exact", "exact-path"];
    let backends = names.map(named);
    let keys = [
        ("*", "/"),
        ("*", "/api/v1"),
        ("*.example.com", "/"),
        ("*.shop.example.com", "/"),
        ("www.example.com", "/"),
        ("www.example.com", "/api"),
    ];
    // The order of the file must not matter, so the least exact stands first.
    let routes: String = (0..names.len())
        .map(|at| {
            let keys = format!("host = \"{}\"\npath_prefix = \"{}\"", keys[at].0, keys[at].1);
            route(names[at], &keys, &[backends[at].addr()])
        })
        .collect();
    let apex = Apex::start(&routes);
    let cases = [
        ("other.org", "/", "any"),
        ("other.org", "/api", "any"),
        ("other.org", "/api/v1/x?y", "any-path"),
        ("other.org", "/api/v1?y", "any-path"),
        ("other.org", "/api/v10", "any"),
        ("other.org", "/API/V1", "any"),
        ("a.example.com", "/", "wild"),
        ("a.b.example.com", "/", "wild"),
        ("example.com", "/", "any"),
        ("badexample.com", "/", "any"),
        ("a.shop.example.com", "/", "long-wild"),
        ("shop.example.com", "/", "wild"),
        ("www.example.com", "/", "exact"),
        ("WWW.Example.COM", "/", "exact"),
        ("www.example.com:8080", "/x", "exact"),
        ("www.example.com", "/api/x", "exact-path"),
        ("www.example.com", "/apix", "exact"),
        // A more exact host wins over a longer prefix.
        ("a.example.com", "/api/v1", "wild"),
    ];
    let mut client = apex.client();
    for (host, target, taker) in cases {
        let answer = client.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.text(), taker, "{host} {target}");
    }
    assert_eq!(
        client.ask("GET http://www.example.com/api HTTP/1.1\r\nHost: other.org\r\n\r\n").text(),
        "exact-path"
    );
    let old = apex.client().ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.text(), "any", "a request without a host is for the routes of any host");
}

#[test]
fn many_routes_are_told_apart() {
    let origin = echo();
    let port = origin.local_addr().port();
    let routes: String = (0..500)
        .map(|number| {
            let keys =
                format!("host = \"h{number}.example\"\npath_prefix = \"/p{number}\"\nstrip_prefix = true");
            route(&format!("r{number}"), &keys, &[origin.local_addr()])
        })
        .collect();
    let apex = Apex::start(&routes);
    let mut client = apex.client();
    for number in [0, 1, 250, 499] {
        let ask = |path| format!("GET /p{path}/x HTTP/1.1\r\nHost: h{number}.example\r\n\r\n");
        assert_eq!(client.ask(ask(number)).text(), format!("port {port} GET /x\n"));
        assert_eq!(client.ask(ask(number + 1)).status(), 404);
    }
}

#[test]
fn workers_serve_together() {
    let (one, two) = (echo(), echo());
    let apex = Apex::with("workers = 4", &all(&[one.local_addr(), two.local_addr()]));
    let clients: Vec<_> = (0..32).map(|_| apex.client()).collect();
    for mut client in clients {
        for _ in 0..4 {
            assert_eq!(client.ask(get("/")).status(), 200);
        }
    }
}

/// More clients ask at once than one poll tells of: their requests go by pooled connections all the same.
#[test]
fn a_busy_crowd_shares_pooled_connections() {
    const CLIENTS: usize = 1_000;
    const ROUNDS: usize = 6;
    let limit = raise_descriptor_limit(3 * CLIENTS + 256);
    let crowd = CLIENTS.min(limit.saturating_sub(256) / 3);
    let backend = named("one");
    let apex = Apex::with("workers = 1", &all(&[backend.addr()]));
    let mut clients: Vec<Wire> = (0..crowd).map(|_| apex.client()).collect();
    for _ in 0..ROUNDS {
        for client in &mut clients {
            client.send(get("/"));
        }
        for client in &mut clients {
            assert_eq!(client.response().text(), "one");
        }
    }
    let accepted = backend.accepted();
    say(&format!("{} requests of {crowd} clients by {accepted} connections", ROUNDS * crowd));
    assert!(accepted <= 2 * crowd, "{accepted} connections for {crowd} clients");
}
