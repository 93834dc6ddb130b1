//! Pacing of what is sent (tcp(7), `TCP_CONGESTION`), which connections within one machine are spared.
//!
//! BBR sends by a timer for each connection, so that queues on the way to a peer stay short. To a peer on the same machine there
//! is no way: each timer interrupts a core, and where BBR is the system's choice these took a third to half of the time that long
//! content costs, at both ends. The kernel paces nowhere else but where an administrator asked for it.

use rustix::fd::AsFd;
use rustix::net::sockopt;

/// What algorithms that pace begin with: those of later versions are named `bbr2` and `bbr3`.
const PACES: &str = "bbr";

/// Every kernel has it, and any process may ask for it (`net.ipv4.tcp_allowed_congestion_control`). What it is bad at, long ways
/// that lose segments, a machine does not have within.
const DOES_NOT_PACE: &str = "reno";

/// Does that connection pace, or will those that a listener accepts?
pub fn is_paced(socket: impl AsFd) -> bool {
    sockopt::tcp_congestion(socket).is_ok_and(|name| name.starts_with(PACES))
}

/// Has a connection not pace, or those that a listener accepts from now on.
pub fn spare(socket: impl AsFd) {
    // Where the kernel refuses, it works as before.
    let _ = sockopt::set_tcp_congestion(socket, DOES_NOT_PACE);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::net::{Stream, listener};
    use std::io::{self, Write};
    use std::net::{Ipv4Addr, TcpStream};

    /// Has a socket pace whatever the system's choice is; false, and said, where it has nothing that does.
    pub(crate) fn pace(socket: impl AsFd) -> bool {
        let paces = sockopt::set_tcp_congestion(&socket, PACES).is_ok();
        if !paces {
            let _ = writeln!(io::stderr(), "SKIPPED: no `{PACES}` here, or not for this user");
        }
        paces
    }

    #[test]
    fn what_a_listener_accepts_goes_by_its_choice() {
        let listener = listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let accepted = || {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            listener.accept().unwrap().0
        };
        if pace(&listener) {
            assert!(is_paced(&listener) && is_paced(accepted()));
        }
        spare(&listener);
        assert!(!is_paced(&listener) && !is_paced(accepted()));
    }

    #[test]
    fn a_connection_within_the_machine_is_spared() {
        let listener = listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        assert!(!is_paced(Stream::connect(&listener.local_addr().unwrap().into()).unwrap()));
    }
}
