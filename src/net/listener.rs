//! Listening sockets: made, set up, bound. Owns no loop.

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

/// Length of the accept queue. A burst of reconnecting clients fits; the kernel cuts it down to
/// `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;

/// Errors of a connection that failed in the accept queue, which accept(2) passes on. The next connection can
/// be accepted at once.
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
    // A firewall rule forbids the connection.
    Errno::PERM,
];

/// `ConnectionAborted` for an error of one connection; otherwise the error itself.
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
    /// Accepted connections are paced; those of peers on this machine should not be.
    is_paced: bool,
    /// The socket file of a Unix listener.
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
    /// Listens on an address. Several sockets may share a TCP port ([`bind`]). A Unix listener replaces a
    /// stale socket file, and removes its file when its last clone is dropped.
    ///
    /// # Errors
    /// As [`bind`]; for a Unix path also the errors of [`is_free`], and a folder that is not writable.
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

    /// Adopts a listening socket of another process, and sets it up as [`Listener::bind`] does. Options from
    /// before its bind stay. The file of a Unix socket is removed by the other process, unless
    /// [`Listener::set_ours`] changes that.
    ///
    /// # Errors
    /// Not a stream socket of a known family.
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
    /// The process is out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self { socket, family: self.family, is_paced: self.is_paced, file: self.file.clone() })
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// A Unix socket without a path.
    pub fn address(&self) -> io::Result<Address> {
        let address = rustix::net::getsockname(&self.socket)?;
        if self.family == Family::Tcp {
            return Ok(Address::Ip(SocketAddr::try_from(address)?));
        }
        let address = SocketAddrUnix::try_from(address)?;
        let path = address.path().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Address::Unix(Path::new(OsStr::from_bytes(path.to_bytes())).into()))
    }

    /// Sets whether this process removes the file of a Unix listener. No effect on other listeners.
    pub fn set_ours(&self, is_ours: bool) {
        if let Some(file) = &self.file {
            file.set_ours(is_ours);
        }
    }

    /// Removes the file of a Unix listener, if this process is to remove it. Then no new clients can connect,
    /// but the accept queue must still be served. No effect on other listeners.
    pub fn remove_file(&self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }

    /// Turns off pacing for connections within this machine. Clients of a loopback address are always local;
    /// clients of other addresses may be, which [`Listener::accept`] checks.
    pub(super) fn spare_pacing(&mut self) {
        self.is_paced = self.family == Family::Tcp && pacing::is_paced(&self.socket);
        let is_loopback = |address: &Address| address.ip().is_some_and(|address| address.ip().is_loopback());
        if self.is_paced && self.address().as_ref().is_ok_and(is_loopback) {
            pacing::spare(&self.socket);
            self.is_paced = false;
        }
    }

    /// Takes a connection from the accept queue (accept4(2)).
    ///
    /// # Errors
    /// `WouldBlock` if the queue is empty; `ConnectionAborted` if the queued connection failed; the process
    /// is out of descriptors.
    pub fn accept(&self) -> io::Result<(Stream, Peer)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        if self.family == Family::Unix {
            let socket = rustix::net::accept_with(&self.socket, flags).map_err(accept_error)?;
            return Ok((Stream::new(socket, Family::Unix), Peer::Unix));
        }
        let (socket, address) = rustix::net::acceptfrom_with(&self.socket, flags).map_err(accept_error)?;
        let address = address.ok_or(io::ErrorKind::ConnectionAborted)?;
        let peer = SocketAddr::try_from(address).map_err(|_| io::ErrorKind::ConnectionAborted)?.ip();
        // Pacing has begun, and some of it stays. Only the option on the listener avoids all of it.
        if self.is_paced && peer.is_loopback() {
            pacing::spare(&socket);
        }
        Ok((Stream::new(socket, Family::Tcp), Peer::Ip(peer)))
    }

    /// Has the kernel start no new connections and complete handshakes in flight: [`begin_no_more`] for a TCP
    /// listener; the file of a Unix listener is removed.
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

/// Makes a listener on `addr`; port 0 selects a free port.
///
/// The socket is nonblocking and close-on-exec. With `SO_REUSEPORT` each thread has its own listener on the
/// same port, and the kernel distributes connections among them; a second process of the same user can bind,
/// too, without an error. On Linux accepted sockets inherit `TCP_NODELAY` and `SO_KEEPALIVE`, which saves
/// system calls; keep-alive detects vanished clients of a tunnel. An IPv6 listener is IPv6-only, so that
/// `0.0.0.0` and `[::]` can coexist.
///
/// # Errors
/// The kernel refused: the address is in use, not local, or its port requires a privilege.
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

/// `SO_BINDTOIFINDEX` of socket(7), which rustix lacks.
#[derive(Debug, Clone, Copy)]
struct BoundInterface;

/// The highest possible interface index, which no interface has.
const NO_INTERFACE: usize = i32::MAX as usize;

nix::setsockopt_impl!(BoundInterface, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, usize, SetUsize);

/// Has the kernel start no new connections at a listener and complete handshakes in flight. Otherwise a
/// client that connects between the last accept(2) and close(2) is reset.
///
/// Binds the listener to an interface that does not exist. No SYN arrives there, while a handshake in flight
/// keeps its interface. A client that connects then is refused, as after the close. If other listeners of the
/// port exist (`SO_REUSEPORT`), they get the SYN, or it is dropped and the client repeats it after a second.
/// Needs no privilege since Linux 5.7.
///
/// The option belongs to the socket: if other processes share it, their clients are refused as well.
///
/// # Errors
/// The kernel refused both this and a filter.
pub fn begin_no_more(listener: impl AsFd) -> io::Result<()> {
    let bound = nix::sys::socket::setsockopt(&listener, BoundInterface, &NO_INTERFACE);
    bound.or_else(|_| drop_first_segments(listener)).map_err(io::Error::from)
}

/// The same with a filter that drops each SYN (socket(7), `SO_ATTACH_FILTER`), for kernels before 5.7. Since
/// 6.18 this requires `CAP_NET_ADMIN`.
fn drop_first_segments(listener: impl AsFd) -> nix::Result<()> {
    // A filter on a TCP socket sees the segment from its first octet. Accepted sockets inherit the filter,
    // which has no effect on them.
    const LOAD_OCTET: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // RFC 9293 section 3.1: octet 13 holds the flags, among them SYN and ACK. The first segment has SYN
    // without ACK.
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

/// Checks that an address is free: without `SO_REUSEPORT` the kernel refuses an address with any other
/// listener.
///
/// # Errors
/// As [`bind`]; for a Unix path: another process listens there, or the file is not a socket.
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
    // It never listens, because clients that connect meanwhile would be reset.
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
                // From another local address: otherwise the client's port may equal the listener's, and the
                // client connects to itself.
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
            // Connections that may come from other machines keep the system's pacing.
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
        // Another listener on the port is not affected.
        drop(listener);
        let _other = bind(addr).unwrap();
        assert!(std::net::TcpStream::connect(addr).is_ok());
    }

    #[test]
    fn an_ipv6_listener_leaves_ipv4_alone() {
        // Without IPv6 there is nothing to test.
        let Ok(six) = bind((Ipv6Addr::UNSPECIFIED, 0).into()) else { return };
        let port = six.local_addr().unwrap().port();
        assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    }
}
