//! Clients that connect one after the other, each with a connection of its own, and their results.

use super::SOON;
use super::process::until;
use super::wire::unix_stream;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// The results of the clients.
#[derive(Debug, Default)]
pub struct Met {
    pub answered: AtomicUsize,
    /// No connection: there is no listener.
    pub refused: AtomicUsize,
    /// A connection, but no answer.
    pub lost: AtomicUsize,
}

/// A request over a connection of its own.
fn ask_once(mut socket: TcpStream) -> bool {
    let mut ask = || -> io::Result<Vec<u8>> {
        socket.set_read_timeout(Some(SOON))?;
        socket.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"here"))
}

/// Clients that connect one after the other in several threads, until they are stopped.
pub struct Clients {
    met: Arc<Met>,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Clients {
    pub fn come(addr: SocketAddr, threads: usize) -> Self {
        Self::connecting(threads, move || TcpStream::connect_timeout(&addr, SOON))
    }

    /// To a Unix socket.
    pub fn come_to(path: &Path, threads: usize) -> Self {
        let path = path.to_owned();
        Self::connecting(threads, move || unix_stream(&path))
    }

    fn connecting(
        threads: usize,
        connect: impl Fn() -> io::Result<TcpStream> + Clone + Send + 'static,
    ) -> Self {
        let (met, stop) = (Arc::new(Met::default()), Arc::new(AtomicBool::new(false)));
        let threads = (0..threads).map(|_| {
            let (met, stop, connect) = (Arc::clone(&met), Arc::clone(&stop), connect.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let count = match connect().map(ask_once) {
                        Ok(true) => &met.answered,
                        Ok(false) => &met.lost,
                        Err(_) => &met.refused,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self { threads: threads.collect(), met, stop }
    }

    /// Waits until `count` more requests have been answered, or refused.
    pub fn await_more(&self, of: impl Fn(&Met) -> &AtomicUsize, count: usize) {
        let wanted = of(&self.met).load(Ordering::Relaxed) + count;
        until("clients meet with nothing new", || {
            thread::yield_now();
            (of(&self.met).load(Ordering::Relaxed) >= wanted).then_some(())
        });
    }

    pub fn stop(self) -> Met {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        Arc::into_inner(self.met).unwrap()
    }
}
