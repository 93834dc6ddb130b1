//! Clients by the thousand that send something each and then do nothing.

use super::support::SOON;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

/// Addresses that connections come from in turns, so that the ports of one do not run short.
const SOURCES: u8 = 8;

/// Clients that hold their connections.
pub struct Crowd {
    sockets: Vec<TcpStream>,
}

impl Crowd {
    /// All of them connect and send `request`.
    pub fn come(addr: SocketAddr, count: usize, request: &[u8]) -> Self {
        let sources = (0..SOURCES).map(|number| Ipv4Addr::new(127, 0, 0, 2 + number));
        let sockets = sources.cycle().take(count).map(|source| {
            let socket =
                rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                    .unwrap();
            rustix::net::bind(&socket, &SocketAddr::from((source, 0))).unwrap();
            // What is sent to them waits where it comes from.
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
            rustix::net::connect(&socket, &addr).unwrap();
            let mut socket = TcpStream::from(socket);
            socket.set_write_timeout(Some(SOON)).unwrap();
            socket.write_all(request).unwrap();
            socket
        });
        Self { sockets: sockets.collect() }
    }

    /// They leave, but for `count` of them, spread over all.
    pub fn leave_all_but(&mut self, count: usize) {
        let step = self.sockets.len().checked_div(count).unwrap_or(usize::MAX);
        let mut number = 0;
        self.sockets.retain(|_| {
            number += 1;
            number % step == 0
        });
    }
}
