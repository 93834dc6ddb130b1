//! The interface to the kernel: sockets, listeners, pipes, networks of addresses, and the rest. Thin and
//! without policy. No other module uses rustix or nix.

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

/// Idle time before a silent peer is probed.
const PROBE_IDLE: Duration = Duration::from_secs(60);
/// Time between two unanswered probes. The kernel's default of 9 probes applies.
const PROBE_AGAIN: Duration = Duration::from_secs(10);

/// Detects peers that vanished (tcp(7), `TCP_KEEPIDLE`). A tunnel has no deadline that would.
fn keep_alive(socket: impl AsFd) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, PROBE_IDLE)?;
    sockopt::set_tcp_keepintvl(&socket, PROBE_AGAIN)
}
