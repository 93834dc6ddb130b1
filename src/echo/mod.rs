//! The origin server for tests and measurements of Apex: a fast HTTP/1.1 server, one loop per thread, no
//! shared state. It owns its sockets and threads. It is not part of the proxy and reads no configuration.
//!
//! | path | answer |
//! | --- | --- |
//! | `/bytes/N` | N octets with `Content-Length`; octet number i (from 0) is i mod 251 |
//! | `/chunked/N?chunk=SIZE` | the same octets, chunked, SIZE (16384) data octets a chunk |
//! | `/close/N` | the same octets, ended by closing |
//! | `/delay/MILLIS` | the line of "anything else", after this time (600 s at most) |
//! | `/status/CODE` | that status, 200 to 999 |
//! | `/early/CODE` | that status before the body is read, which is then dropped |
//! | `/echo` | the request's body while it comes, framed as it came |
//! | `/upload` | `length <octets> fnv1a64 <16 hex digits>` of the request's body |
//! | `/headers` | the request's head, octet by octet |
//! | `/sse/N?ms=M` | N events (`data: 0`, `data: 1`, …), the first at once, M (0) milliseconds between two |
//! | `/trailers` | chunked, with a trailer `X-Trailer: at the end` |
//! | anything else | `port <port> <method> <target>` |
//!
//! A known path with an invalid number is answered 400. Except for `/early` and `/echo`, the body of a
//! request is read before the answer. `Expect: 100-continue`, HEAD, HTTP/1.0 clients, pipelining and
//! `Connection` are supported. A connection holds at most 128 KiB of requests and 64 KiB of answers (plus
//! what one pipelined answer adds).

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

/// Maximum number of threads of one server: more than the cores of any test machine.
const THREADS_MAX: usize = 1024;

/// A running origin. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    addrs: Vec<SocketAddr>,
    stops: Arc<AtomicBool>,
    threads: Vec<(Arc<mio::Waker>, JoinHandle<io::Result<()>>)>,
}

impl Server {
    /// Starts on one address, in `threads` threads (at least one). Port 0 selects a free port.
    ///
    /// # Errors
    /// The address cannot be bound, or a thread cannot be started.
    pub fn start(addr: SocketAddr, threads: usize) -> io::Result<Self> {
        Self::start_all(&[addr], threads)
    }

    /// Starts on several addresses. Every thread serves each of them with its own listener.
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

    /// The first address, with its actual port.
    pub fn local_addr(&self) -> SocketAddr {
        // A server without addresses has no clients and no address.
        self.addrs.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Waits for the threads, which end only on an error.
    ///
    /// # Errors
    /// The error that ended the first failed thread.
    pub fn wait(mut self) -> io::Result<()> {
        self.join()
    }

    /// Stops the threads, closes all connections, and waits for both.
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
            // Without a wake-up the join would wait forever. It fails only if the loop has ended.
            let _ = waker.wake();
        }
        let _ = self.join();
    }
}

/// A listener on `addr`. Writes the actual port back, so that the next thread uses the same port.
fn listen(addr: &mut SocketAddr) -> io::Result<TcpListener> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}"));
    let listener = listener::bind(*addr).map_err(named)?;
    *addr = listener.local_addr()?;
    Ok(listener)
}
