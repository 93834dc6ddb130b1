//! Connections that live: WebSocket messages both ways at once, and server-sent events one by one.
//!
//! Each script is both peers, so that the backend knows what has reached the client without guessing at times.

use std::time::Duration;

use crate::peers::{any_route, apex};
use crate::support::{Dir, Job, free_port, lacks, say, script};

const LIMIT: Duration = Duration::from_secs(120);

/// Runs a script that serves on one port and calls itself through Apex on another.
fn through_apex(name: &str) {
    if lacks(&["python3"]) {
        return;
    }
    let dir = Dir::new(name);
    // The script opens the backend's port only when it runs; Apex must start without its backends.
    let backend = free_port();
    let apex = apex(&dir, "", &any_route(&[backend]));
    let mut peers = script(name);
    peers.arg("--listen").arg(backend.to_string()).arg("--via").arg(apex.port().to_string());
    say(Job::start(peers).finish(LIMIT).trim());
}

#[test]
fn websocket_echoes_large_messages() {
    through_apex("websocket.py");
}

#[test]
fn server_sent_events_arrive_one_by_one() {
    through_apex("events.py");
}
