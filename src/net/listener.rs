//! Listening sockets: made, set up, bound. Owns no loop, accepts nothing.

use super::socket_file::{self, SocketFile};
use super::stream::Family;
use super::system::Peer;
use super::{Stream, keep_alive, pacing};
use crate::base::Address;
use nix::sys::socket::sockopt::SetUsize;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, sockopt};
use socket2::{SockFilter, SockRef};
use std::ffi::OsStr;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Connections that the kernel holds ready before they are accepted. A burst of reconnecting clients fits; the kernel
/// cuts the number down to `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;

/// Errors of a connection that failed while it waited, which accept(2) passes on: the next connection may be accepted at once.
const ERRORS_OF_CONNECTIONS: [Errno; 11] = [
    Errno::CONNABORTED,
    Errno::CONNRESET,
    Errno::NETDOWN,
    Errno::PROTO,
    Errno::NOPROTOOPT,
    Errno::HOSTDOWN,
    Errno::NONET,
    Errno::HOSTUNREACH,
    Errno::OPNOTSUPP,
    Errno::NETUNREACH,
    // A firewall forbids this one.
    Errno::PERM,
];

/// `ConnectionAborted` for an error of one connection, else the error as it is.
fn accept_error(errno: Errno) -> io::Error {
    if ERRORS_OF_CONNECTIONS.contains(&errno) {
        io::ErrorKind::ConnectionAborted.into()
    } else {
        errno.into()
    }
}

/// A listening socket, nonblocking and close-on-exec.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    family: Family,
    /// What it accepts is paced, which peers on this machine are to be spared.
    is_paced: bool,
    /// Of a Unix listener.
    file: Option<Arc<SocketFile>>,
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self { socket: socket.into(), family: Family::Tcp, is_paced: false, file: None }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Listener {
    /// Listens on an address. A TCP port may be shared ([`bind`]); a Unix listener takes the place of a dead one, and removes its
    /// file when the last of its clones is dropped.
    ///
    /// # Errors
    /// As [`bind`]; of a Unix path also what [`is_free`] finds there, and that its folder cannot be written to.
    pub fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Ip(address) => bind(*address).map(Self::from),
            Address::Unix(path) => Self::bind_unix(path),
        }
    }

    fn bind_unix(path: &Arc<Path>) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(&**path)?;
        socket_file::make_room(path)?;
        rustix::net::bind(&socket, &address)?;
        let file = Some(Arc::new(SocketFile::bound(path)?));
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(Self { socket, family: Family::Unix, is_paced: false, file })
    }

    /// Takes over a listening socket that another process made, and sets it up as [`Listener::bind`] would. What it was bound with
    /// stays, and a Unix socket's file is that process's to remove until [`Listener::set_ours`].
    ///
    /// # Errors
    /// It is not a stream socket of a kind that is known here.
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let family = match (sockopt::socket_domain(&socket)?, sockopt::socket_type(&socket)?) {
            (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM) => Family::Tcp,
            (AddressFamily::UNIX, SocketType::STREAM) => Family::Unix,
            _ => return Err(Errno::PROTOTYPE.into()),
        };
        rustix::io::ioctl_fionbio(&socket, true)?;
        if family == Family::Tcp {
            sockopt::set_tcp_nodelay(&socket, true)?;
            keep_alive(&socket)?;
        }
        let mut listener = Self { socket, family, is_paced: false, file: None };
        if let Address::Unix(path) = listener.address()? {
            listener.file = Some(Arc::new(SocketFile::found(&path)));
        }
        Ok(listener)
    }

    /// Another handle of the same socket.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self { socket, family: self.family, is_paced: self.is_paced, file: self.file.clone() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// It is a Unix socket without a path.
    pub fn address(&self) -> io::Result<Address> {
        let address = rustix::net::getsockname(&self.socket)?;
        if self.family == Family::Tcp {
            return Ok(Address::Ip(SocketAddr::try_from(address)?));
        }
        let address = SocketAddrUnix::try_from(address)?;
        let path = address.path().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Address::Unix(Path::new(OsStr::from_bytes(path.to_bytes())).into()))
    }

    /// Says whether it is this process that removes the file of a Unix listener; of any other it changes nothing.
    pub fn set_ours(&self, is_ours: bool) {
        if let Some(file) = &self.file {
            file.set_ours(is_ours);
        }
    }

    /// Removes the file of a Unix listener, if that is this process's to do: no more clients come, and those that did are to be
    /// accepted. Of any other it changes nothing.
    pub fn remove_file(&self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }

    /// Spares connections within this machine their pacing: who connects to a loopback address is on this machine; who connects to
    /// another may be, and [`Listener::accept`] looks.
    pub(super) fn spare_pacing(&mut self) {
        self.is_paced = self.family == Family::Tcp && pacing::is_paced(&self.socket);
        let is_loopback = |address: &Address| address.ip().is_some_and(|address| address.ip().is_loopback());
        if self.is_paced && self.address().as_ref().is_ok_and(is_loopback) {
            pacing::spare(&self.socket);
            self.is_paced = false;
        }
    }

    /// Takes a connection that waits (accept4(2)).
    ///
    /// # Errors
    /// `WouldBlock` where none waits; `ConnectionAborted` where the one that waited failed; no descriptor is left.
    pub fn accept(&self) -> io::Result<(Stream, Peer)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        if self.family == Family::Unix {
            let socket = rustix::net::accept_with(&self.socket, flags).map_err(accept_error)?;
            return Ok((Stream::new(socket, Family::Unix), Peer::Unix));
        }
        let (socket, address) = rustix::net::acceptfrom_with(&self.socket, flags).map_err(accept_error)?;
        let address = address.ok_or(io::ErrorKind::ConnectionAborted)?;
        let peer = SocketAddr::try_from(address).map_err(|_| io::ErrorKind::ConnectionAborted)?.ip();
        // It has begun to pace, and keeps some of that: it is spared most of it, where a listener's choice spares all.
        if self.is_paced && peer.is_loopback() {
            pacing::spare(&socket);
        }
        Ok((Stream::new(socket, Family::Tcp), Peer::Ip(peer)))
    }

    /// Has the kernel begin no more connections, and finish those that have begun: [`begin_no_more`] of a TCP listener, and a Unix
    /// one is not found any more.
    ///
    /// # Errors
    /// As there.
    pub fn begin_no_more(&self) -> io::Result<()> {
        match self.family {
            Family::Tcp => begin_no_more(&self.socket),
            Family::Unix => {
                self.remove_file();
                Ok(())
            }
        }
    }
}

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

/// `SO_BINDTOIFINDEX` of socket(7), which rustix does not have.
#[derive(Debug, Clone, Copy)]
struct BoundInterface;

/// The highest index that an interface could have, and none has.
const NO_INTERFACE: usize = i32::MAX as usize;

nix::setsockopt_impl!(BoundInterface, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, usize, SetUsize);

/// Has the kernel begin no more connections at a listener, and finish those that have begun. Without this, a client that connects
/// between the last accept(2) and close(2) is reset.
///
/// The listener is bound to an interface that does not exist: no first segment comes by that, while a handshake that has begun keeps
/// the interface that it began with. A client that connects meanwhile is refused, as after the close; where other listeners
/// of the port are left (`SO_REUSEPORT`) they are found, or the segment is dropped and the client repeats it after a second. It
/// needs no privilege since Linux 5.7.
///
/// It is a property of the socket: of one that other processes have too, it would shut the door for them.
///
/// # Errors
/// The kernel refused that, and a filter too.
pub fn begin_no_more(listener: impl AsFd) -> io::Result<()> {
    let bound = nix::sys::socket::setsockopt(&listener, BoundInterface, &NO_INTERFACE);
    bound.or_else(|_| drop_first_segments(listener)).map_err(io::Error::from)
}

/// The same by a filter that drops each segment that would open a connection (socket(7), `SO_ATTACH_FILTER`): for kernels before
/// 5.7. Since 6.18 it takes `CAP_NET_ADMIN`.
fn drop_first_segments(listener: impl AsFd) -> nix::Result<()> {
    // A filter of a TCP socket sees the segment from its first octet. Accepted sockets inherit it; to them it does nothing.
    const LOAD_OCTET: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // RFC 9293 section 3.1: the flags stand in octet 13, among them SYN and ACK. The first segment has SYN alone.
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let filter = [
        SockFilter::new(LOAD_OCTET, 0, 0, FLAGS_AT),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    let attached = SockRef::from(&listener).attach_filter(&filter);
    attached.map_err(|error| nix::Error::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// Asks whether an address can be had, alone: without `SO_REUSEPORT` the kernel refuses one that anybody else listens on.
///
/// # Errors
/// As [`bind`]; of a Unix path that somebody listens there, or that what is there is no socket.
pub fn is_free(address: &Address) -> io::Result<()> {
    let addr = match address {
        Address::Ip(address) => *address,
        Address::Unix(path) => return socket_file::is_free(path),
    };
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
    // It never listens: a client that connects meanwhile would be reset.
    Ok(rustix::net::bind(&socket, &addr)?)
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
        assert_eq!(is_free(&addr.into()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(is_free(&addr.into()).is_ok());
    }

    #[test]
    fn no_client_is_accepted_by_asking_whether_an_address_is_free() {
        let addr = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap().local_addr().unwrap();
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| (0..2000).all(|_| is_free(&addr.into()).is_ok()));
            while !asking.is_finished() {
                // From another address: a client must not be given the very port, and find itself.
                let client =
                    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
                client.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
                let refused = client.connect(&addr.into()).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            }
            assert!(asking.join().unwrap());
        });
    }

    #[test]
    fn errors_of_one_connection_are_told_from_those_of_the_system() {
        let kind = |errno: i32| accept_error(Errno::from_raw_os_error(errno)).kind();
        for errno in [
            libc::ECONNABORTED,
            libc::ENETDOWN,
            libc::EPROTO,
            libc::ENOPROTOOPT,
            libc::EHOSTDOWN,
            libc::ENONET,
            libc::EHOSTUNREACH,
            libc::EOPNOTSUPP,
            libc::ENETUNREACH,
            libc::EPERM,
        ] {
            assert_eq!(kind(errno), io::ErrorKind::ConnectionAborted, "{errno}");
        }
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EAGAIN, libc::EINTR] {
            assert_ne!(kind(errno), io::ErrorKind::ConnectionAborted, "{errno}");
        }
    }

    #[test]
    fn accepting_never_blocks() {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn clients_on_this_machine_are_spared_pacing() {
        for (address, is_open_to_others) in [(Ipv4Addr::LOCALHOST, false), (Ipv4Addr::UNSPECIFIED, true)] {
            let socket = bind((address, 0).into()).unwrap();
            let paces = pacing::tests::pace(&socket);
            let port = socket.local_addr().unwrap().port();
            let mut listener = Listener::from(socket);
            listener.spare_pacing();
            // Others, who may come from afar, are paced as the system would.
            assert_eq!(listener.is_paced, paces && is_open_to_others);
            assert_eq!(pacing::is_paced(&listener), paces && is_open_to_others);
            let _client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let (stream, peer) = listener.accept().unwrap();
            assert_eq!(peer, Peer::Ip(Ipv4Addr::LOCALHOST.into()));
            assert!(!pacing::is_paced(&stream));
        }
    }

    #[test]
    fn connections_that_have_begun_are_finished_and_no_others_begin() {
        use std::io::{Read, Write};
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut early = std::net::TcpStream::connect(addr).unwrap();
        begin_no_more(&listener).unwrap();
        let late = std::net::TcpStream::connect(addr).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::ConnectionRefused);
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(false).unwrap();
        early.write_all(b"a").unwrap();
        let mut octet = [0];
        accepted.read_exact(&mut octet).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        // Another one of the port is not touched.
        drop(listener);
        let _other = bind(addr).unwrap();
        assert!(std::net::TcpStream::connect(addr).is_ok());
    }

    #[test]
    fn an_ipv6_listener_leaves_ipv4_alone() {
        // A machine without IPv6 has nothing to show here.
        let Ok(six) = bind((Ipv6Addr::UNSPECIFIED, 0).into()) else { return };
        let port = six.local_addr().unwrap().port();
        assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    }
}
