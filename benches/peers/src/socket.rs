//! Nonblocking TCP sockets over rustix. No policy, no loop.

use rustix::fd::OwnedFd;
use rustix::io::{self, Errno};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::net::SocketAddr;

/// Connections that wait to be accepted; the kernel takes its own maximum where that is less.
const BACKLOG: i32 = 4096;

/// A nonblocking listener.
///
/// # Errors
/// The address cannot be had.
pub fn listen(addr: SocketAddr) -> io::Result<OwnedFd> {
    let socket = open(addr)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &addr)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Where a listener listens; port 0 was replaced by a free one.
pub fn local_addr(listener: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(net::getsockname(listener).ok()?).ok()
}

/// The next connection, nonblocking and without Nagle's delay.
///
/// # Errors
/// `AGAIN` where none waits; else the system refused.
pub fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let socket = net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

/// A connection under way, nonblocking and without Nagle's delay: writable once it is made.
///
/// # Errors
/// It was refused at once, or the system has no descriptor or port left.
pub fn connect(addr: SocketAddr) -> io::Result<OwnedFd> {
    let socket = open(addr)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match net::connect(&socket, &addr) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

fn open(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    net::socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
}

/// Raises the soft limit of descriptors to the hard one; what cannot be raised stays.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
