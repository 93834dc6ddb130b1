//! The base of the end-to-end tests: Apex as a process, scripted peers, messages read from a socket under a
//! deadline. It judges nothing: every expectation is in a test.
#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub,
    reason = "each test file uses its part of it"
)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests measure their own deadlines")]
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a broken expectation ends a test")]

pub mod backend;
pub mod load;
pub mod measure;
pub mod process;
pub mod successor;
pub mod wire;

pub use backend::{Backend, BlackHole, Refusing};
pub use load::{Clients, Met};
pub use measure::{raise_descriptor_limit, say, size};
pub use process::Apex;
pub use wire::{End, Head, Message, Wire};

use apex::echo::Server;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The longest wait for anything that should come soon. Generous, for busy machines; a passing test never
/// waits that long.
pub const SOON: Duration = Duration::from_secs(10);

/// An origin inside this process.
pub fn echo() -> Server {
    Server::start((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap()
}

/// A route named `all` that matches every request, with these backends.
pub fn all(backends: &[SocketAddr]) -> String {
    route("all", "", backends)
}

/// A route with more keys (whole lines of TOML) and these backends.
pub fn route(name: &str, keys: &str, backends: &[SocketAddr]) -> String {
    let weighted: Vec<_> = backends.iter().map(|&addr| (addr, 1)).collect();
    weighted_route(name, keys, &weighted)
}

/// A route whose backends have weights.
pub fn weighted_route(name: &str, keys: &str, backends: &[(SocketAddr, u16)]) -> String {
    let backends: Vec<_> = backends
        .iter()
        .map(|(addr, weight)| format!("{{ url = \"http://{addr}\", weight = {weight} }}"))
        .collect();
    format!("[[routes]]\nname = \"{name}\"\n{keys}\nbackends = [{}]\n", backends.join(", "))
}

/// A whole GET head of HTTP/1.1.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// A whole answer of a scripted backend.
pub fn ok(content: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len())
}
