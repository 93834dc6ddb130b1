//! Sockets, listeners, kernel pipes, networks of addresses and what else the kernel gives: thin and without policy; only here
//! are rustix and nix named.

pub mod file;
pub mod handover;
mod kernel;
pub mod listener;
pub mod network;
pub mod pacing;
pub mod pipe;
pub mod process;
mod socket_file;
pub mod stream;
pub mod system;
pub mod timer;
pub mod watch;

pub use kernel::{Epoch, Kernel, Waker};
pub use listener::Listener;
pub use stream::Stream;
pub use system::System;

use rustix::fd::AsFd;
use rustix::net::sockopt;
use std::time::Duration;

/// A peer that says nothing is asked whether it is still there after so long, and then again.
const PROBE_IDLE: Duration = Duration::from_secs(60);
/// Between two unanswered probes; the kernel's default of 9 of them decides.
const PROBE_AGAIN: Duration = Duration::from_secs(10);

/// Finds out peers that vanished (tcp(7), `TCP_KEEPIDLE`): a tunnel has no deadline that would.
fn keep_alive(socket: impl AsFd) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, PROBE_IDLE)?;
    sockopt::set_tcp_keepintvl(&socket, PROBE_AGAIN)
}
