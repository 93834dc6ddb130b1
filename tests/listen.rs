//! Addresses that are added and removed while Apex runs: which connections are accepted on them, and that no
//! client in an accept queue is lost.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicUsize;
use std::time::Instant;
use support::process::{free_addr, until};
use support::{Apex, Backend, Clients, Met, SOON, Wire, all, get, ok, size};

/// `listen` with these addresses, and two workers: each has a socket of its own on each.
fn listen(addresses: &[SocketAddr]) -> String {
    let quoted: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("listen = [{}]\nworkers = 2", quoted.join(", "))
}

/// Reloads, and gives back what Apex says of it.
fn reload(apex: &Apex, server: &str, routes: &str) -> String {
    apex.rewrite(server, routes);
    let before = apex.stderr.all().len();
    apex.signal(Signal::HUP);
    apex.stderr.find_behind(before, |line| line.contains(": reloaded "))
}

fn await_refused(addr: SocketAddr) {
    until("connections are still accepted", || {
        TcpStream::connect_timeout(&addr, SOON).is_err().then_some(())
    });
}

fn origin() -> Backend {
    Backend::answering(ok("here"))
}

#[test]
fn an_address_comes_and_goes_and_its_connections_stay() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let apex = Apex::with("workers = 2", &routes);
    let (first, second) = (apex.addr(), free_addr());
    let mut old = apex.client();
    assert_eq!(old.ask(get("/")).status(), 200);
    let said = reload(&apex, &listen(&[first, second]), &routes);
    assert!(said.ends_with(&format!(": listen: +{second}")), "{said}");
    let mut new = Wire::connect(second);
    assert_eq!(new.ask(get("/")).text(), "here");
    let said = reload(&apex, &listen(&[second]), &routes);
    assert!(said.ends_with(&format!(": listen: -{first}")), "{said}");
    await_refused(first);
    for client in [&mut old, &mut new, &mut Wire::connect(second)] {
        let answer = client.ask(get("/"));
        assert_eq!((answer.status(), answer.field("Connection")), (200, None));
    }
    // And back again.
    let said = reload(&apex, &listen(&[first]), &routes);
    assert!(said.ends_with(&format!(": listen: +{first}, -{second}")), "{said}");
    await_refused(second);
    assert_eq!(apex.client().ask(get("/")).text(), "here");
    assert!(reload(&apex, &listen(&[first]), &routes).ends_with("nothing changed"));
}

/// Clients that were never accepted, of both workers: their connections and requests wait in the kernel.
fn waiting(addr: SocketAddr) -> Vec<Wire> {
    let clients = (0..64).map(|_| {
        let mut client = Wire::connect(addr);
        client.send(get("/"));
        client
    });
    clients.collect()
}

#[test]
fn who_waits_at_an_address_that_goes_is_served() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let apex = Apex::with("workers = 2", &routes);
    let other = free_addr();
    apex.pause();
    let clients = waiting(apex.addr());
    apex.rewrite(&listen(&[other]), &routes);
    apex.signal(Signal::HUP);
    apex.resume();
    for mut client in clients {
        assert_eq!(client.response().text(), "here");
        assert_eq!(client.ask(get("/")).text(), "here", "it is a connection as any other");
    }
    await_refused(apex.addr());
}

#[test]
fn who_waits_beyond_the_limit_is_served_too() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let keys = |addresses: &[SocketAddr]| format!("{}\nconnections_max = 1", listen(addresses));
    let mut apex = Apex::with("workers = 2\nconnections_max = 1", &routes);
    let first = apex.addr();
    for leave in [false, true] {
        apex.pause();
        // One is served, 64 are told that there is no room, and the others wait for room.
        let clients: Vec<_> = (0..3).flat_map(|_| waiting(first)).collect();
        if leave {
            apex.signal(Signal::TERM);
        } else {
            apex.rewrite(&keys(&[free_addr()]), &routes);
            apex.signal(Signal::HUP);
        }
        apex.resume();
        for mut client in clients {
            let status = client.response().status();
            assert!([200, 503].contains(&status), "{status}");
        }
        if !leave {
            await_refused(first);
            reload(&apex, &keys(&[first]), &routes);
        }
    }
    assert_eq!(apex.exit().code(), Some(0));
}

#[test]
fn an_address_that_cannot_be_had_is_told_and_the_rest_is_done() {
    let (one, two) = (Backend::answering(ok("one")), Backend::answering(ok("two")));
    let apex = Apex::start(&all(&[one.addr()]));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let (third, routes) = (free_addr(), all(&[two.addr()]));
    let keys = listen(&[apex.addr(), taken, third]).replace("workers = 2", "");
    let said = reload(&apex, &keys, &routes);
    assert!(said.ends_with(&format!("; listen: +{third}")), "{said}");
    let said = apex.stderr.find(|line| line.contains(&format!("cannot listen on {taken}: ")));
    assert!(said.to_lowercase().contains("in use"), "{said}");
    for addr in [apex.addr(), third] {
        assert_eq!(Wire::connect(addr).ask(get("/")).text(), "two");
    }
    // Once it is free, a reload of the same file takes it.
    drop(other);
    assert!(reload(&apex, &keys, &routes).ends_with(&format!(": listen: +{taken}")));
    assert_eq!(Wire::connect(taken).ask(get("/")).text(), "two");
}

#[test]
fn a_reload_never_leaves_it_without_an_address() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let apex = Apex::with("workers = 2", &routes);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    reload(&apex, &listen(&[other.local_addr().unwrap()]), &routes);
    let first = apex.addr();
    apex.stderr.find(|line| line.contains(&format!("it still listens on {first}")));
    assert_eq!(apex.client().ask(get("/")).text(), "here");
}

#[test]
fn a_port_goes_from_one_address_to_another() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let apex = Apex::with("workers = 2", &routes);
    let everywhere = SocketAddr::from(([0, 0, 0, 0], apex.addr().port()));
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], apex.addr().port()));
    for (to, answers) in [(everywhere, true), (apex.addr(), false), (everywhere, true)] {
        let said = reload(&apex, &listen(&[to]), &routes);
        assert!(said.contains(&format!("listen: +{to}, -")), "{said} {:#?}", apex.stderr.all());
        assert_eq!(apex.client().ask(get("/")).text(), "here");
        if answers {
            assert_eq!(Wire::connect(elsewhere).ask(get("/")).text(), "here");
        } else {
            await_refused(elsewhere);
        }
    }
}

#[test]
fn nothing_is_lost_while_addresses_come_and_go() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let quiet = |addresses: &[SocketAddr]| format!("{}\naccess_log = false", listen(addresses));
    let apex = Apex::with("workers = 2\naccess_log = false", &routes);
    let (stays, goes) = (apex.addr(), free_addr());
    let rounds = size("APEX_LISTEN_ROUNDS", 5);
    let (staying, going) = (Clients::come(stays, 1), Clients::come(goes, 4));
    let mut at_rest = apex.client();
    let began = Instant::now();
    for _ in 0..rounds {
        reload(&apex, &quiet(&[stays, goes]), &routes);
        going.await_more(|met| &met.answered, 50);
        reload(&apex, &quiet(&[stays]), &routes);
        going.await_more(|met| &met.refused, 1);
        assert_eq!(at_rest.ask(get("/")).text(), "here");
    }
    let took = began.elapsed();
    let (staying, going) = (staying.stop(), going.stop());
    support::say(&format!(
        "{rounds} times in {took:?}: at the address that stays {staying:?}, at the other {going:?}"
    ));
    let counts = |met: Met| [met.answered, met.refused, met.lost].map(AtomicUsize::into_inner);
    let [answered, refused, lost] = counts(staying);
    assert!(answered > 0 && refused == 0 && lost == 0);
    let [answered, refused, lost] = counts(going);
    assert!(answered > 0 && refused > 0 && lost == 0);
    // Each of two workers has a socket where it stays; there is the connection at rest, and those to the backend, two at most
    // for each of the clients.
    apex.await_sockets_at_most(3 + 12, "listeners were closed");
}
