//! A scripted backend, an address that refuses connections, and one that does not answer.

use super::wire::unix_stream;
use super::{SOON, Wire, ok};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The address of a backend.
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A scripted backend: each accepted connection runs the script in a thread of its own.
pub struct Backend {
    place: Place,
    accepted: Arc<AtomicUsize>,
    stops: Arc<AtomicBool>,
}

impl Backend {
    /// `script` gets each connection and its number, from 0. It sends its results to the test through a
    /// channel: a panic in the script ends only its own connection.
    pub fn start(script: impl Fn(usize, Wire) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), script)
    }

    /// Listens at an address that has refused connections so far.
    pub fn start_at(refusing: &Refusing, script: impl Fn(usize, Wire) + Send + Sync + 'static) -> Self {
        let socket = refusing.another();
        rustix::net::listen(&socket, 64).unwrap();
        Self::on(socket.into(), script)
    }

    fn on(listener: TcpListener, script: impl Fn(usize, Wire) + Send + Sync + 'static) -> Self {
        let addr = listener.local_addr().unwrap();
        Self::run(Place::Tcp(addr), move || listener.accept().map(|(socket, _)| socket), script)
    }

    /// Listens at a Unix socket.
    pub fn unix(path: &Path, script: impl Fn(usize, Wire) + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let accept = move || listener.accept().map(|(socket, _)| TcpStream::from(OwnedFd::from(socket)));
        Self::run(Place::Unix(path.to_owned()), accept, script)
    }

    fn run(
        place: Place,
        accept: impl Fn() -> io::Result<TcpStream> + Send + 'static,
        script: impl Fn(usize, Wire) + Send + Sync + 'static,
    ) -> Self {
        let accepted = Arc::new(AtomicUsize::new(0));
        let stops = Arc::new(AtomicBool::new(false));
        let (counter, stop, script) = (Arc::clone(&accepted), Arc::clone(&stops), Arc::new(script));
        thread::spawn(move || {
            while let Ok(socket) = accept() {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let (number, script) = (counter.fetch_add(1, Ordering::AcqRel), Arc::clone(&script));
                thread::spawn(move || script(number, Wire::new(socket)));
            }
        });
        Self { place, accepted, stops }
    }

    /// Answers every request of every connection with the same octets.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, mut wire| while wire.try_request().is_some() && wire.try_send(&answer) {})
    }

    /// Holds each request until the test releases it, then answers `held`; reports each request that arrives.
    pub fn held() -> (Self, Receiver<()>, Sender<()>) {
        let (tell, asked) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let backend = Self::start(move |_, mut wire| {
            while wire.try_request().is_some() {
                tell.send(()).unwrap();
                if released.lock().unwrap().recv_timeout(SOON).is_err() {
                    return;
                }
                wire.try_send(ok("held"));
            }
        });
        (backend, asked, release)
    }

    pub fn addr(&self) -> SocketAddr {
        match self.place {
            Place::Tcp(addr) => addr,
            Place::Unix(_) => panic!("a Unix socket has no address"),
        }
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Acquire)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Release);
        // A last connection wakes the accepting thread; if that fails, the thread ends with the process.
        let _ = match &self.place {
            Place::Tcp(addr) => TcpStream::connect(addr),
            Place::Unix(path) => unix_stream(path),
        };
    }
}

/// An address that refuses connections while this value lives: bound, so that its port is not given to
/// another program, but not listening. A listener with `SO_REUSEPORT` may join it.
pub struct Refusing {
    addr: SocketAddr,
    _socket: OwnedFd,
}

impl Refusing {
    pub fn new() -> Self {
        let socket = bound((Ipv4Addr::LOCALHOST, 0).into());
        let addr = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
        Self { addr, _socket: socket }
    }

    /// Another socket that is bound to the address.
    fn another(&self) -> OwnedFd {
        bound(self.addr)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A socket that shares its address with others.
fn bound(addr: SocketAddr) -> OwnedFd {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .unwrap();
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    rustix::net::sockopt::set_socket_reuseport(&socket, true).unwrap();
    rustix::net::bind(&socket, &addr).unwrap();
    socket
}

/// An address that does not answer: its accept queue is full, so that the kernel drops further SYNs.
pub struct BlackHole {
    addr: SocketAddr,
    _socket: OwnedFd,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    pub fn new() -> Self {
        let socket = bound((Ipv4Addr::LOCALHOST, 0).into());
        rustix::net::listen(&socket, 0).unwrap();
        let addr = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
        let mut queued = Vec::new();
        while let Ok(one) = TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
            queued.push(one);
            assert!(queued.len() < 16, "a queue of no length takes all");
        }
        Self { addr, _socket: socket, _queued: queued }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
