//! Listening sockets: made, set up, bound. Owns no loop, accepts nothing.

use super::keep_alive;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that the kernel holds ready before they are accepted. A burst of reconnecting clients fits; the kernel
/// cuts the number down to `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;

/// Makes a listener on `addr`; port 0 takes a free one.
///
/// It is nonblocking and close-on-exec. `SO_REUSEPORT` lets every thread have a listener of its own on the same port, between
/// which the kernel spreads connections; it also means that a second process of the same user binds without an error.
/// `TCP_NODELAY` and `SO_KEEPALIVE` are inherited by accepted sockets on Linux, which saves system calls for each; the latter
/// finds out clients that vanished from a tunnel. An IPv6 listener takes IPv6
/// only, so that `0.0.0.0` and `[::]` can stand side by side.
///
/// # Errors
/// What the kernel refused: the address is in use, not ours, or its port needs a privilege.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    keep_alive(&socket)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &addr)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Sets up an inherited listener as one of [`bind`] would be. What it was bound with stays.
///
/// # Errors
/// It is no socket that the kernel knows these of.
pub fn adopt(listener: &TcpListener) -> io::Result<()> {
    sockopt::set_tcp_nodelay(listener, true)?;
    keep_alive(listener)?;
    listener.set_nonblocking(true)
}

/// Asks whether an address can be had, alone: without `SO_REUSEPORT` the kernel refuses one that anybody else listens on.
///
/// # Errors
/// As [`bind`].
pub fn is_free(addr: SocketAddr) -> io::Result<()> {
    if addr.port() == 0 {
        return Ok(());
    }
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket =
        rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &addr)?;
    Ok(rustix::net::listen(&socket, 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn two_listeners_share_a_port() {
        let first = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let addr = first.local_addr().unwrap();
        let second = bind(addr).unwrap();
        assert_eq!(second.local_addr().unwrap(), addr);
    }

    #[test]
    fn a_port_in_use_is_not_free() {
        let first = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let addr = first.local_addr().unwrap();
        assert_eq!(is_free(addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(is_free(addr).is_ok());
    }

    #[test]
    fn accepting_never_blocks() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_ipv6_listener_leaves_ipv4_alone() {
        // A machine without IPv6 has nothing to show here.
        let Ok(six) = bind((Ipv6Addr::UNSPECIFIED, 0).into()) else { return };
        let port = six.local_addr().unwrap().port();
        assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    }
}
