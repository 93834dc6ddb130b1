//! Pacing of sent data (tcp(7), `TCP_CONGESTION`), turned off for connections within this machine.
//!
//! BBR sends by a timer per connection, to keep queues on the path short. A connection within one machine has
//! no such queues, and the timers cost much CPU time (docs/performance.md). The kernel paces only where an
//! administrator chose an algorithm that does.

use rustix::fd::AsFd;
use rustix::net::sockopt;

/// Prefix of the names of pacing algorithms: later versions are `bbr2` and `bbr3`.
const PACES: &str = "bbr";

/// Every kernel has it, and any process may select it (`net.ipv4.tcp_allowed_congestion_control`). Its
/// weakness, long lossy paths, does not exist within a machine.
const DOES_NOT_PACE: &str = "reno";

/// Whether a connection, or the connections that a listener accepts, are paced.
pub fn is_paced(socket: impl AsFd) -> bool {
    sockopt::tcp_congestion(socket).is_ok_and(|name| name.starts_with(PACES))
}

/// Turns off pacing of a connection, or of the connections that a listener accepts from now on.
pub fn spare(socket: impl AsFd) {
    // If the kernel refuses, the connection stays paced.
    let _ = sockopt::set_tcp_congestion(socket, DOES_NOT_PACE);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::net::{Stream, listener};
    use std::io::{self, Write};
    use std::net::{Ipv4Addr, TcpStream};

    /// Turns pacing on, whatever the system's default is. Returns false, with a message, if the kernel has no
    /// such algorithm.
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
