//! The origin that Apex is tried and measured with: a fast HTTP/1.1 server, one loop a thread, nothing shared between them.
//! It owns its sockets and threads; it is no part of the proxy, and takes nothing from a configuration.
//!
//! | path | answer |
//! | --- | --- |
//! | `/bytes/N` | N octets with `Content-Length`; octet number i (from 0) is i mod 251 |
//! | `/chunked/N?chunk=SIZE` | the same octets, chunked, SIZE (16384) data octets a chunk |
//! | `/close/N` | the same octets, ended by closing |
//! | `/delay/MILLIS` | the line of "anything else", after so long (600 s at most) |
//! | `/status/CODE` | that status, 200 to 999 |
//! | `/early/CODE` | that status before the body is read, which is then dropped |
//! | `/echo` | the request's body while it comes, framed as it came |
//! | `/upload` | `length <octets> fnv1a64 <16 hex digits>` of the request's body |
//! | `/headers` | the request's head, octet by octet |
//! | `/sse/N?ms=M` | N events (`data: 0`, `data: 1`, …), the first at once, M (0) milliseconds between two |
//! | `/trailers` | chunked, with a trailer `X-Trailer: at the end` |
//! | anything else | `port <port> <method> <target>` |
//!
//! A known path whose number makes no sense is answered 400. But for `/early` and `/echo`, the body of a request is read
//! before it is answered. `Expect: 100-continue`, HEAD, 1.0 clients, pipelining and `Connection` are honoured. A connection
//! holds at most 128 KiB of requests and 64 KiB of answers (and what one pipelined answer adds to them).

mod answer;
mod body;
mod connection;
mod reactor;
mod request;

use crate::net::listener;
use reactor::Reactor;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Threads of one server; more than any machine it is tried on has cores.
const THREADS_MAX: usize = 1024;

/// A running origin. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    addrs: Vec<SocketAddr>,
    stops: Arc<AtomicBool>,
    threads: Vec<(Arc<mio::Waker>, JoinHandle<io::Result<()>>)>,
}

impl Server {
    /// Starts on one address, in `threads` threads (at least one). Port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on, or a thread not be started.
    pub fn start(addr: SocketAddr, threads: usize) -> io::Result<Self> {
        Self::start_all(&[addr], threads)
    }

    /// Starts on several addresses, each of them served by every thread through a listener of its own.
    ///
    /// # Errors
    /// As [`Server::start`]; the error names the address.
    pub fn start_all(addrs: &[SocketAddr], threads: usize) -> io::Result<Self> {
        let mut server =
            Self { addrs: addrs.to_vec(), stops: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for number in 0..threads.clamp(1, THREADS_MAX) {
            let listeners = server.addrs.iter_mut().map(listen).collect::<io::Result<_>>()?;
            let reactor = Reactor::new(listeners)?;
            let waker = reactor.waker();
            let stops = Arc::clone(&server.stops);
            let thread =
                thread::Builder::new().name(format!("echo-{number}")).spawn(move || reactor.run(&stops))?;
            server.threads.push((waker, thread));
        }
        Ok(server)
    }

    /// Where it listens: the first address, its port as it was given by the system.
    pub fn local_addr(&self) -> SocketAddr {
        // A server without addresses serves nobody, at no address.
        self.addrs.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Waits for the threads, which end only by an error.
    ///
    /// # Errors
    /// What ended the first thread that failed.
    pub fn wait(mut self) -> io::Result<()> {
        self.join()
    }

    /// Ends the threads, closes all connections, and waits until that is done.
    pub fn stop(self) {
        drop(self);
    }

    fn join(&mut self) -> io::Result<()> {
        for (_, thread) in self.threads.drain(..) {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the origin panicked")))?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Release);
        for (waker, _) in &self.threads {
            // Without a wake-up the thread would be waited for in vain; it fails only where the loop is gone.
            let _ = waker.wake();
        }
        let _ = self.join();
    }
}

/// A listener on `addr`; a port that the system chose is written back, so that the next thread takes the same.
fn listen(addr: &mut SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}"));
    let listener = listener::bind(*addr).map_err(named)?;
    *addr = listener.local_addr()?;
    Ok(listener)
}
