//! Connected sockets: connect, read, write, half-close; one system call per function on an open socket. Only
//! this file knows what a kind of socket cannot do.

use super::{keep_alive, pacing};
use crate::base::Address;
use nix::sys::socket::sockopt::{GetStruct, SetUsize};
use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
    SocketType, ipproto, sockopt,
};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// The kind of a socket, which decides its capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Tcp,
    /// No segments to hold back, no low-water mark in epoll (`unix_poll`), no reset.
    Unix,
}

/// A connected socket, nonblocking and close-on-exec.
#[derive(Debug)]
pub struct Stream {
    socket: OwnedFd,
    family: Family,
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Stream {
    pub(super) fn new(socket: OwnedFd, family: Family) -> Self {
        Self { socket, family }
    }

    /// Starts to connect and returns at once; the first write reports the result. TCP sends small pieces at
    /// once (`TCP_NODELAY`), because each piece is a whole message.
    ///
    /// # Errors
    /// The process is out of descriptors, the address is out of ports, or it is unreachable (connect(2)); for
    /// a Unix socket also: its accept queue is full.
    pub fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Ip(address) => Self::connect_tcp(*address),
            Address::Unix(path) => Self::connect_unix(path),
        }
    }

    fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        keep_alive(&socket)?;
        // Before the connect: BBR leaves some of its pacing on a connection that has begun.
        if address.ip().is_loopback() && pacing::is_paced(&socket) {
            pacing::spare(&socket);
        }
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self::new(socket, Family::Tcp)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn connect_unix(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self::new(socket, Family::Unix))
    }

    /// Reads into the spare capacity of `bytes`, of which there must be some. Returns 0 at the end of the
    /// stream (recv(2)).
    ///
    /// # Errors
    /// `WouldBlock` if there is no data; otherwise the connection failed.
    pub fn read(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        // recv(2) reaches the socket directly, read(2) passes through the file layer.
        let recv = || rustix::net::recv(&self.socket, spare_capacity(bytes), RecvFlags::empty());
        let (_, count) = retry_on_intr(recv)?;
        Ok(count)
    }

    /// Whether a connection is open and has no unread data (recv(2), `MSG_PEEK`).
    pub fn is_quiet(&self) -> bool {
        let mut octet = [0];
        let peek = || rustix::net::recv(&self.socket, &mut octet, RecvFlags::PEEK).map(|(_, count)| count);
        retry_on_intr(peek) == Err(Errno::AGAIN)
    }

    /// Writes the pieces in order, as far as there is room (send(2), sendmsg(2)). A closed connection raises
    /// no signal. If `more` follows at once, a partial segment is held back until then (`MSG_MORE`), until
    /// [`Stream::push`] at the latest.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; otherwise the connection failed.
    pub fn write(&self, pieces: [&[u8]; 3], more: bool) -> io::Result<usize> {
        // `MSG_MORE` has no effect on a Unix socket.
        let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
        // The usual case: a single piece costs less without an array.
        if let [piece, [], []] | [[], piece, []] = pieces {
            return Ok(retry_on_intr(|| rustix::net::send(&self.socket, piece, flags))?);
        }
        let gathered = pieces.map(IoSlice::new);
        // A leading empty piece costs the kernel almost nothing.
        let send =
            || rustix::net::sendmsg(&self.socket, &gathered, &mut SendAncillaryBuffer::default(), flags);
        Ok(retry_on_intr(send)?)
    }

    /// Sends a partial segment that was held back (tcp(7): setting `TCP_NODELAY` again flushes).
    pub fn push(&self) {
        if self.family == Family::Tcp {
            // A closed connection has nothing to send.
            let _ = sockopt::set_tcp_nodelay(&self.socket, true);
        }
    }

    /// Has epoll report the socket as readable from `octets` octets on, at the end of the stream, or when its
    /// buffer is full (socket(7), `SO_RCVLOWAT`). Reads return available data at any time. After the mark is
    /// lowered, data that is already there is reported at once.
    ///
    /// # Errors
    /// The system does not have this option for this kind of socket.
    pub fn set_low_water(&self, octets: usize) -> io::Result<()> {
        if self.family == Family::Unix {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(nix::sys::socket::setsockopt(&self.socket, ReceiveLowWater, &octets)?)
    }

    /// Octets that the peer has acknowledged since the connection was opened (tcp(7), `TCP_INFO`); `None` if
    /// the kernel does not count them.
    pub fn acknowledged(&self) -> Option<u64> {
        let asked = self.family == Family::Tcp;
        let info = asked.then(|| nix::sys::socket::getsockopt(&self.socket, TcpInfo).ok())??;
        Some(info.bytes_acked)
    }

    /// Shuts down the sending side (shutdown(2)). On a closed connection this has no effect.
    pub fn shut_down(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Closes a connection with a reset, so that the peer cannot take it for a regular end (socket(7),
    /// `SO_LINGER` of 0).
    pub fn close_by_reset(self) {
        // If the option is refused, or the kind has no reset, the connection is closed normally.
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
        drop(self);
    }
}

/// Whether this error is a limit of this machine: no descriptor, memory or epoll watch is left. All other
/// failures to connect concern the address, including a missing local address (`EADDRNOTAVAIL`) or route:
/// other addresses may be reachable.
pub fn is_out_of_resources(error: &io::Error) -> bool {
    // ENOSPC: epoll_ctl(2), `max_user_watches`.
    let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC];
    Errno::from_io_error(error).is_some_and(|errno| own.contains(&errno))
}

/// `SO_RCVLOWAT` of socket(7), which rustix lacks.
#[derive(Debug, Clone, Copy)]
struct ReceiveLowWater;

nix::setsockopt_impl!(ReceiveLowWater, libc::SOL_SOCKET, libc::SO_RCVLOWAT, usize, SetUsize);

/// `TCP_INFO` of tcp(7).
#[derive(Debug, Clone, Copy)]
struct TcpInfo;

nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, TcpFront, GetStruct<TcpFront>);

/// The first fields of the kernel's `tcp_info`, which grows at its end: those that Linux has since 4.2.
/// libc's whole structure is larger than that of an older kernel.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct TcpFront {
    _states: [u8; 8],
    _counts: [u32; 24],
    _pacing_rates: [u64; 2],
    bytes_acked: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container without IPv6 has no local address for the IPv6 address of a name (`EADDRNOTAVAIL`). Its
    /// other addresses, and other backends, are reachable.
    #[test]
    fn which_errors_name_a_limit_of_this_machine() {
        for (errno, is_own) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOBUFS, true),
            (Errno::NOMEM, true),
            (Errno::NOSPC, true),
            (Errno::ADDRNOTAVAIL, false),
            (Errno::AFNOSUPPORT, false),
            (Errno::NETUNREACH, false),
            (Errno::HOSTUNREACH, false),
            (Errno::CONNREFUSED, false),
            (Errno::PERM, false),
            (Errno::NOENT, false),
        ] {
            assert_eq!(is_out_of_resources(&errno.into()), is_own, "{errno}");
        }
        assert!(!is_out_of_resources(&io::ErrorKind::AddrNotAvailable.into()), "no error of the system");
    }
}
