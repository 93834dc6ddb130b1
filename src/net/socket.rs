//! Connected sockets: made, read, written, half-closed; one system call a function once a socket is there.

use super::{keep_alive, pacing};
use mio::net::TcpStream;
use nix::sys::socket::sockopt::SetUsize;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, SocketType, ipproto,
    sockopt,
};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

/// Begins to connect and does not wait: whether it worked, the first write tells.
///
/// The socket is nonblocking, close-on-exec, and sends small pieces at once (`TCP_NODELAY`): the pieces are whole messages.
///
/// # Errors
/// No descriptor or port is left, or the address cannot be reached at all (connect(2)).
pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    keep_alive(&socket)?;
    // Here, and not by who asks: an algorithm that has begun leaves some of its pacing behind.
    if addr.ip().is_loopback() && pacing::is_paced(&socket) {
        pacing::spare(&socket);
    }
    match rustix::net::connect(&socket, &addr) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from_std(socket.into())),
        Err(errno) => Err(errno.into()),
    }
}

/// Was a connection refused by this system and not by its peer: no descriptor, port or memory is left?
pub fn is_out_of_resources(error: &io::Error) -> bool {
    let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|errno| own.contains(&errno))
}

/// Reads into the spare capacity of `bytes`, which is not empty; 0 at the end of what the peer sent (recv(2)).
///
/// # Errors
/// `WouldBlock` where nothing is there; else the connection failed.
pub fn read(socket: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    // recv(2) goes to the socket at once, read(2) through the layer of files.
    let (_, count) = retry_on_intr(|| rustix::net::recv(socket, spare_capacity(bytes), RecvFlags::empty()))?;
    Ok(count)
}

/// Is a connection open, and has its peer sent nothing that was not read (recv(2), `MSG_PEEK`)?
pub fn is_quiet(socket: &TcpStream) -> bool {
    let mut octet = [0];
    let peek = || rustix::net::recv(socket, &mut octet, RecvFlags::PEEK).map(|(_, count)| count);
    retry_on_intr(peek) == Err(Errno::AGAIN)
}

/// Writes the pieces in their order, as far as there is room (send(2), sendmsg(2)). A closed connection raises no signal. Where
/// `more` follows at once, the last part of a segment waits for it (`MSG_MORE`), until [`push`] at the latest.
///
/// # Errors
/// `WouldBlock` where there is no room at all; else the connection failed.
pub fn write(socket: &TcpStream, pieces: [&[u8]; 3], more: bool) -> io::Result<usize> {
    let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    // One piece alone, which it mostly is, costs less without a list of them.
    if let [piece, [], []] | [[], piece, []] = pieces {
        return Ok(retry_on_intr(|| rustix::net::send(socket, piece, flags))?);
    }
    let gathered = pieces.map(IoSlice::new);
    // An empty piece in front costs the kernel a look at it and nothing more.
    let send = || rustix::net::sendmsg(socket, &gathered, &mut SendAncillaryBuffer::default(), flags);
    Ok(retry_on_intr(send)?)
}

/// Sends what waits for more (tcp(7): `TCP_NODELAY` is set already, and setting it flushes).
pub fn push(socket: &TcpStream) {
    // A connection that is gone has nothing to send.
    let _ = sockopt::set_tcp_nodelay(socket, true);
}

/// `SO_RCVLOWAT` of socket(7), which rustix does not have.
#[derive(Debug, Clone, Copy)]
struct ReceiveLowWater;

nix::setsockopt_impl!(ReceiveLowWater, libc::SOL_SOCKET, libc::SO_RCVLOWAT, usize, SetUsize);

/// Has epoll tell that there is something to read once there are so many octets, or the end, or no room for more (socket(7),
/// `SO_RCVLOWAT`). Reads take what there is at any time; lowered, what is there is told of at once.
///
/// # Errors
/// The system has no such option.
pub fn tell_from(socket: &TcpStream, count: usize) -> io::Result<()> {
    Ok(nix::sys::socket::setsockopt(socket, ReceiveLowWater, &count)?)
}

/// Shuts down the sending side (shutdown(2)). A connection that is gone already needs none, so that is no error.
pub fn shut_down(socket: &TcpStream) {
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
}

/// Closes a connection by a reset, so that the peer cannot take its end for a plain one (socket(7), `SO_LINGER` of 0).
pub fn close_by_reset(socket: TcpStream) {
    // Refused, it is closed as any other: no more can be done.
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    drop(socket);
}
