//! Unix sockets at both ends: what clients and backends see, who owns the socket's file, and that no
//! connection is lost while listeners are added and removed.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

mod support;

use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use support::process::{free_addr, until};
use support::wire::unix_stream;
use support::{Apex, Backend, Clients, Met, SOON, Wire, all, get, ok, say, size};

/// A route to a Unix socket.
fn to(path: &Path) -> String {
    format!("[[routes]]\nname = \"all\"\nbackends = [{{ url = \"unix:{}\" }}]\n", path.display())
}

/// `listen` with the address of that process and these paths.
fn listen(apex: &Apex, paths: &[&Path]) -> String {
    let quoted: Vec<_> = paths.iter().map(|path| format!(", \"unix:{}\"", path.display())).collect();
    format!("listen = [\"{}\"{}]", apex.addr(), quoted.concat())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Reloads, and gives back what Apex says of it.
fn reload(apex: &Apex, server: &str, routes: &str) -> String {
    apex.rewrite(server, routes);
    let before = apex.stderr.count();
    apex.signal(Signal::HUP);
    apex.stderr.find_behind(before, |line| line.contains(": reloaded "))
}

/// Apex with a TCP listener and one at a path beside its file.
fn apex_at(name: &str, keys: &str, routes: &str) -> (Apex, PathBuf) {
    let apex = Apex::linked(&[], "workers = 2", routes);
    let path = apex.beside(name);
    let said = reload(&apex, &format!("{}\nworkers = 2\n{keys}", listen(&apex, &[&path])), routes);
    assert!(said.contains(&format!("+unix:{}", path.display())), "{said}");
    (apex, path)
}

fn origin() -> Backend {
    Backend::answering(ok("here"))
}

#[test]
fn a_request_goes_from_socket_to_socket() {
    let (tell, seen) = mpsc::channel();
    let (mut apex, path) = apex_at("front.sock", "", &all(&[origin().addr()]));
    let back = apex.beside("back.sock");
    let backend = Backend::unix(&back, move |_, mut wire| {
        while let Some(request) = wire.try_request() {
            tell.send(request.head).unwrap();
            wire.send(ok("unix"));
        }
    });
    reload(&apex, &listen(&apex, &[&path]), &to(&back));
    let mut client = Wire::unix(&path);
    for _ in 0..3 {
        let ask = "GET / HTTP/1.1\r\nHost: name.example\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
        assert_eq!(client.ask(ask).text(), "unix");
        let head = seen.recv_timeout(SOON).unwrap();
        assert_eq!((head.field("Host"), head.field("X-Forwarded-For")), (Some("name.example"), None));
        assert_eq!(head.field("X-Forwarded-Proto"), Some("http"));
    }
    assert_eq!(backend.accepted(), 1, "the connection is used again");
    // A client of 1.0 need not name a host, and a Unix socket has no name.
    assert_eq!(Wire::unix(&path).ask("GET / HTTP/1.0\r\n\r\n").text(), "unix");
    assert_eq!(seen.recv_timeout(SOON).unwrap().field("Host"), Some("localhost"));
    // By TCP, the same backend is told an address.
    assert_eq!(apex.client().ask(get("/")).text(), "unix");
    assert_eq!(seen.recv_timeout(SOON).unwrap().field("X-Forwarded-For"), Some("127.0.0.1"));
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    let line = &apex.stdout.all()[0];
    assert!(
        line.starts_with("unix: - - [") && line.contains(&format!("backend=\"unix:{}\"", back.display())),
        "{line}"
    );
    assert!(!path.exists() && back.exists(), "it removes its own file and no other");
}

#[test]
fn a_trusted_proxy_on_a_unix_socket_is_believed() {
    let (tell, seen) = mpsc::channel();
    let backend = Backend::start(move |_, mut wire| {
        while let Some(request) = wire.try_request() {
            tell.send(request.head).unwrap();
            wire.send(ok(""));
        }
    });
    let (_apex, path) = apex_at("front.sock", "trusted_proxies = [\"unix:\"]", &all(&[backend.addr()]));
    let mut client = Wire::unix(&path);
    let ask = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n";
    assert_eq!(client.ask(ask).status(), 200);
    let head = seen.recv_timeout(SOON).unwrap();
    assert_eq!(
        (head.field("X-Forwarded-For"), head.field("X-Forwarded-Proto")),
        (Some("192.0.2.1"), Some("https"))
    );
}

/// Much content, in a pattern that shows where octets are missing.
fn much() -> Vec<u8> {
    let count = size("APEX_UNIX_BYTES", 24 << 20);
    (0..count).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn long_content_is_spliced_both_ways() {
    let (apex, path) = apex_at("front.sock", "", &all(&[origin().addr()]));
    let back = apex.beside("back.sock");
    let _backend = Backend::unix(&back, |_, mut wire| {
        while let Some(request) = wire.try_request() {
            wire.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.content.len()));
            wire.try_send(request.content);
        }
    });
    reload(&apex, &listen(&apex, &[&path]), &to(&back));
    let much = much();
    // It reads while it writes, as the content is larger than what the sockets hold.
    let whole = [
        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", much.len()).into_bytes(),
        much.clone(),
    ];
    for mut client in [Wire::unix(&path), apex.client()] {
        let answer = client.ask(whole.concat());
        assert_eq!((answer.status(), answer.content.len()), (200, much.len()));
        assert!(answer.content == much, "octets were changed");
    }
    assert!(apex.pipes() > 0, "it goes by pipes");
}

#[test]
fn the_end_of_a_response_and_an_upgrade_pass() {
    let (apex, path) = apex_at("front.sock", "", &all(&[origin().addr()]));
    let back = apex.beside("back.sock");
    let _backend = Backend::unix(&back, |_, mut wire| {
        if wire.request().head.field("Upgrade").is_none() {
            return wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end");
        }
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        let heard = wire.rest();
        wire.send(heard);
    });
    reload(&apex, &listen(&apex, &[&path]), &to(&back));
    assert_eq!(Wire::unix(&path).ask(get("/")).text(), "until the end");
    let mut client = Wire::unix(&path);
    let ask = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nsaid";
    assert_eq!(client.ask(ask).status(), 101);
    client.finish();
    assert_eq!(client.take(4), b"said");
    client.expect_end();
}

#[test]
fn a_backend_that_is_not_there_is_502() {
    let (apex, path) = apex_at("front.sock", "", &all(&[origin().addr()]));
    let back = apex.beside("back.sock");
    reload(&apex, &listen(&apex, &[&path]), &to(&back));
    assert_eq!(Wire::unix(&path).ask(get("/")).status(), 502);
    drop(UnixListener::bind(&back).unwrap());
    assert_eq!(apex.client().ask(get("/")).status(), 502, "nobody listens any more");
}

#[test]
fn a_dead_socket_is_replaced_and_nothing_else() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let apex = Apex::linked(&[], "workers = 2", &routes);
    let [dead, live, file, missing] =
        ["dead.sock", "live.sock", "file", "none/a.sock"].map(|name| apex.beside(name));
    drop(UnixListener::bind(&dead).unwrap());
    let listener = UnixListener::bind(&live).unwrap();
    fs::write(&file, "kept").unwrap();
    reload(&apex, &listen(&apex, &[&dead, &live, &file, &missing]), &routes);
    assert_eq!(Wire::unix(&dead).ask(get("/")).text(), "here");
    for (path, words) in
        [(&live, "another process listens there"), (&file, "no socket"), (&missing, "No such file")]
    {
        let said =
            apex.stderr.find(|line| line.contains(&format!("cannot listen on unix:{}: ", path.display())));
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    listener.set_nonblocking(true).unwrap();
    let _ = listener.accept();
    unix_stream(&live).unwrap();
    assert!(listener.accept().is_ok(), "the other one has its socket still");
    let mode = fs::metadata(&dead).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666, "everybody may connect");
}

#[test]
fn a_file_that_took_its_place_stays() {
    let origin = origin();
    let (mut apex, path) = apex_at("front.sock", "", &all(&[origin.addr()]));
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    assert!(is_socket(&path));
}

#[test]
fn who_waits_at_a_socket_that_goes_is_served() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let (apex, path) = apex_at("front.sock", "", &routes);
    apex.pause();
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let mut client = Wire::unix(&path);
            client.send(get("/"));
            client
        })
        .collect();
    apex.rewrite(&format!("{}\nworkers = 2", listen(&apex, &[])), &routes);
    apex.signal(Signal::HUP);
    apex.resume();
    for mut client in clients {
        assert_eq!(client.response().text(), "here");
    }
    apex.stderr.find(|line| line.contains("listen: -unix:"));
    until("the file is still there", || (!path.exists()).then_some(()));
    // And back again.
    let said = reload(&apex, &format!("{}\nworkers = 2", listen(&apex, &[&path])), &routes);
    assert!(said.contains("listen: +unix:"), "{said}");
    assert_eq!(Wire::unix(&path).ask(get("/")).text(), "here");
}

#[test]
fn nothing_is_lost_while_a_socket_comes_and_goes() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let (apex, path) = apex_at("front.sock", "access_log = false", &routes);
    let rounds = size("APEX_LISTEN_ROUNDS", 5);
    let clients = Clients::come_to(&path, 4);
    let keys = |paths: &[&Path]| format!("{}\nworkers = 2\naccess_log = false", listen(&apex, paths));
    for _ in 0..rounds {
        reload(&apex, &keys(&[&path]), &routes);
        clients.await_more(|met| &met.answered, 50);
        reload(&apex, &keys(&[]), &routes);
        clients.await_more(|met| &met.refused, 1);
    }
    let Met { answered, refused, lost } = clients.stop();
    let [answered, refused, lost] = [answered, refused, lost].map(AtomicUsize::into_inner);
    say(&format!("{rounds} times: {answered} answered, {refused} refused, {lost} lost"));
    assert!(answered > 0 && refused > 0 && lost == 0);
}

#[test]
fn a_socket_passes_to_the_next_process() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let (mut apex, path) = apex_at("a b.sock", "access_log = false", &routes);
    let number = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let first = number(&path);
    let clients = Clients::come_to(&path, 2);
    for _ in 0..size("APEX_UNIX_UPGRADES", 2) {
        clients.await_more(|met| &met.answered, 50);
        let old = apex.upgrade();
        assert_eq!(apex.exit_of(old).code(), Some(0));
        assert_eq!(
            (is_socket(&path), number(&path)),
            (true, first),
            "the process that left took no file with it"
        );
    }
    clients.await_more(|met| &met.answered, 50);
    let Met { answered, refused, lost } = clients.stop();
    let [answered, refused, lost] = [answered, refused, lost].map(AtomicUsize::into_inner);
    assert!(answered > 0 && refused == 0 && lost == 0, "{answered} answered, {refused} refused, {lost} lost");
    // A successor that cannot serve takes nothing with it either.
    apex.script("exit 3");
    apex.link_to(&apex.beside("script"));
    let before = apex.stderr.count();
    apex.signal(Signal::USR2);
    apex.stderr.find_behind(before, |line| line.contains("the upgrade failed"));
    assert_eq!(Wire::unix(&path).ask(get("/")).text(), "here");
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    until("the file is still there", || (!path.exists()).then_some(()));
}

#[test]
fn a_process_that_is_killed_leaves_a_socket_that_the_next_one_replaces() {
    let origin = origin();
    let routes = all(&[origin.addr()]);
    let (mut apex, path) = apex_at("front.sock", "", &routes);
    apex.signal(Signal::KILL);
    apex.exit();
    assert!(is_socket(&path) && UnixStream::connect(&path).is_err());
    let next = Apex::with("", &routes);
    reload(&next, &listen(&next, &[&path]), &routes);
    assert_eq!(Wire::unix(&path).ask(get("/")).text(), "here");
}

#[test]
fn a_socket_that_a_service_manager_holds_is_served_and_stays() {
    let origin = origin();
    let path = std::env::temp_dir().join(format!("apex-activated-{}.sock", std::process::id()));
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let server = |addr| format!("listen = [\"{addr}\", \"unix:{}\"]\nworkers = 2", path.display());
    let given = listener.try_clone().unwrap().into();
    let mut apex = Apex::given(given, free_addr, server, &all(&[origin.addr()]));
    assert_eq!(Wire::unix(&path).ask(get("/")).text(), "here");
    apex.signal(Signal::TERM);
    assert_eq!(apex.exit().code(), Some(0));
    assert!(is_socket(&path), "who made it has it still");
    // Who connects now waits for the next process.
    let _waiting = UnixStream::connect(&path).unwrap();
    fs::remove_file(&path).unwrap();
}
