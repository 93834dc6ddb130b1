//! Connected sockets: made, read, written, half-closed; one system call a function once a socket is there. What a kind of socket
//! cannot do is known here alone.

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

/// What a socket is, and so what it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Tcp,
    /// It has no segments to wait for, counts no octets for epoll (`unix_poll` knows no low water) and cannot be reset.
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

    /// Begins to connect and does not wait: whether it worked, the first write tells. TCP sends small pieces at once
    /// (`TCP_NODELAY`): the pieces are whole messages.
    ///
    /// # Errors
    /// No descriptor or port is left, or the address cannot be reached at all (connect(2)); of a Unix socket also that its queue
    /// is full.
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
        // Here, and not by who asks: an algorithm that has begun leaves some of its pacing behind.
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

    /// Reads into the spare capacity of `bytes`, which is not empty; 0 at the end of what the peer sent (recv(2)).
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there; else the connection failed.
    pub fn read(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        // recv(2) goes to the socket at once, read(2) through the layer of files.
        let recv = || rustix::net::recv(&self.socket, spare_capacity(bytes), RecvFlags::empty());
        let (_, count) = retry_on_intr(recv)?;
        Ok(count)
    }

    /// Is a connection open, and has its peer sent nothing that was not read (recv(2), `MSG_PEEK`)?
    pub fn is_quiet(&self) -> bool {
        let mut octet = [0];
        let peek = || rustix::net::recv(&self.socket, &mut octet, RecvFlags::PEEK).map(|(_, count)| count);
        retry_on_intr(peek) == Err(Errno::AGAIN)
    }

    /// Writes the pieces in their order, as far as there is room (send(2), sendmsg(2)). A closed connection raises no signal. Where
    /// `more` follows at once, the last part of a segment waits for it (`MSG_MORE`), until [`Stream::push`] at the latest.
    ///
    /// # Errors
    /// `WouldBlock` where there is no room at all; else the connection failed.
    pub fn write(&self, pieces: [&[u8]; 3], more: bool) -> io::Result<usize> {
        // To a Unix socket `MSG_MORE` means nothing.
        let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
        // One piece alone, which it mostly is, costs less without a list of them.
        if let [piece, [], []] | [[], piece, []] = pieces {
            return Ok(retry_on_intr(|| rustix::net::send(&self.socket, piece, flags))?);
        }
        let gathered = pieces.map(IoSlice::new);
        // An empty piece in front costs the kernel a look at it and nothing more.
        let send =
            || rustix::net::sendmsg(&self.socket, &gathered, &mut SendAncillaryBuffer::default(), flags);
        Ok(retry_on_intr(send)?)
    }

    /// Sends what waits for more (tcp(7): `TCP_NODELAY` is set already, and setting it flushes).
    pub fn push(&self) {
        if self.family == Family::Tcp {
            // A connection that is gone has nothing to send.
            let _ = sockopt::set_tcp_nodelay(&self.socket, true);
        }
    }

    /// Has epoll tell that there is something to read once there are so many octets, or the end, or no room for more (socket(7),
    /// `SO_RCVLOWAT`). Reads take what there is at any time; lowered, what is there is told of at once.
    ///
    /// # Errors
    /// The system has no such option, or not for sockets of this kind.
    pub fn set_low_water(&self, octets: usize) -> io::Result<()> {
        if self.family == Family::Unix {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(nix::sys::socket::setsockopt(&self.socket, ReceiveLowWater, &octets)?)
    }

    /// Octets that the peer has acknowledged since the connection began (tcp(7), `TCP_INFO`); none where nobody counts them.
    pub fn acknowledged(&self) -> Option<u64> {
        let asked = self.family == Family::Tcp;
        let info = asked.then(|| nix::sys::socket::getsockopt(&self.socket, TcpInfo).ok())??;
        Some(info.bytes_acked)
    }

    /// Shuts down the sending side (shutdown(2)). A connection that is gone already needs none, so that is no error.
    pub fn shut_down(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Closes a connection by a reset, so that the peer cannot take its end for a plain one (socket(7), `SO_LINGER` of 0).
    pub fn close_by_reset(self) {
        // Refused, or of a kind that knows no reset, it is closed as any other: no more can be done.
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
        drop(self);
    }
}

/// Does this name a limit of this machine: no descriptor, no memory, no watch of epoll is left? Every other failure to connect is
/// that address's, also where no address of this machine (`EADDRNOTAVAIL`) or no route leads to it: others may be reached.
pub fn is_out_of_resources(error: &io::Error) -> bool {
    // ENOSPC: epoll_ctl(2), `max_user_watches`.
    let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC];
    Errno::from_io_error(error).is_some_and(|errno| own.contains(&errno))
}

/// `SO_RCVLOWAT` of socket(7), which rustix does not have.
#[derive(Debug, Clone, Copy)]
struct ReceiveLowWater;

nix::setsockopt_impl!(ReceiveLowWater, libc::SOL_SOCKET, libc::SO_RCVLOWAT, usize, SetUsize);

/// `TCP_INFO` of tcp(7).
#[derive(Debug, Clone, Copy)]
struct TcpInfo;

nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, TcpFront, GetStruct<TcpFront>);

/// The front of the kernel's `tcp_info`, which grows at its end: as much as Linux has had since 4.2. The whole of libc's would ask an
/// older kernel for more than it has.
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

    /// A container without IPv6 has no address to connect from to the IPv6 address of a name (`EADDRNOTAVAIL`): its other
    /// addresses, and other backends, can be reached.
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
