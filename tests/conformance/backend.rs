//! The backend of a lane: it answers by the script of the case under way and writes down what it sees.

use super::case::{Reply, Then};
use super::message::{Ended, Found, Kind, Message, head_of, read};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A proxy closes a backend connection within this time of the backend's own close, or the case goes on without it.
const CLOSES_WITHIN: Duration = Duration::from_secs(1);

/// Between two pieces of a reply, so that they come in two reads.
pub const PIECE_GAP: Duration = Duration::from_millis(3);

/// All that the backend saw in one case.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Whole requests in the order of their ends.
    pub requests: Vec<Message>,
    /// The connection that each of them came on.
    pub links: Vec<usize>,
    /// What came of requests that never were whole.
    pub partial: Vec<Vec<u8>>,
    /// What came that was no request, or could be read in two ways.
    pub broken: Vec<String>,
}

#[derive(Default)]
struct State {
    script: Vec<Reply>,
    /// Requests that were given a reply of the script.
    begun: usize,
    /// Requests whose reply was sent to its end.
    given: usize,
    log: Log,
    /// Each connection, less those that are being reset, with its thread.
    links: Vec<(Option<TcpStream>, JoinHandle<()>)>,
    /// Connections whose threads have not ended.
    open: usize,
    /// The peers of the connections that were accepted.
    peers: Vec<SocketAddr>,
}

/// Shared by the threads of a backend.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A scripted backend.
pub struct Backend {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Backend {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared: Arc<Shared> = Arc::default();
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok((socket, peer)) = listener.accept() {
                accept(&accepting, socket, peer);
            }
        });
        Self { addr, shared }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on requests belong to this case.
    pub fn begin(&self, script: &[Reply]) {
        let mut state = self.shared.state();
        state.script = script.to_vec();
        state.begun = 0;
        state.given = 0;
        state.log = Log::default();
    }

    /// Waits until all replies of the script were sent to their ends.
    pub fn await_replies(&self, within: Duration) {
        let is_owed = |state: &mut State| state.given < state.script.len();
        let waited = self.shared.changed.wait_timeout_while(self.shared.state(), within, is_owed);
        drop(waited.unwrap());
    }

    /// Ends all connections and says what came on them. What the proxy sent before this call is seen for certain:
    /// connections are accepted in order, and each is read to its end.
    pub fn finish(&self) -> Log {
        let mark = TcpStream::connect(self.addr).unwrap();
        let mark_addr = mark.local_addr().unwrap();
        let links = {
            let is_missing = |state: &mut State| !state.peers.contains(&mark_addr);
            let mut state = self.shared.changed.wait_while(self.shared.state(), is_missing).unwrap();
            state.peers.clear();
            std::mem::take(&mut state.links)
        };
        drop(mark);
        for (socket, _) in links.iter().filter_map(|(socket, thread)| Some((socket.as_ref()?, thread))) {
            // The proxy sees the end, lets go of the connection, and so never uses it for the next case.
            let _ = socket.shutdown(Shutdown::Write);
        }
        let is_open = |state: &mut State| state.open > 0;
        drop(self.shared.changed.wait_timeout_while(self.shared.state(), CLOSES_WITHIN, is_open).unwrap());
        for (socket, thread) in links {
            let _ = socket.map(|socket| socket.shutdown(Shutdown::Both));
            let _ = thread.join();
        }
        std::mem::take(&mut self.shared.state().log)
    }
}

/// Takes a connection, which may have been reset already.
fn accept(shared: &Arc<Shared>, socket: TcpStream, peer: SocketAddr) {
    let reader = socket.try_clone().unwrap();
    let mut state = shared.state();
    let number = state.links.len();
    let serving = Arc::clone(shared);
    state.open += 1;
    let thread = thread::spawn(move || {
        let _open = Open(&serving);
        serve(&serving, number, reader);
    });
    state.links.push((Some(socket), thread));
    state.peers.push(peer);
    shared.changed.notify_all();
}

/// A connection counts as open until its thread ends.
struct Open<'a>(&'a Shared);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.state().open -= 1;
        self.0.changed.notify_all();
    }
}

/// One connection, to its end.
fn serve(shared: &Shared, link: usize, mut socket: TcpStream) {
    let mut bytes = Vec::new();
    let mut reply: Option<Reply> = None;
    loop {
        if reply.is_none() && head_of(&bytes).is_some() {
            let chosen = choose(shared, &bytes);
            let _ = socket.write_all(&chosen.on_head);
            reply = Some(chosen);
        }
        match read(&bytes, Kind::Request, Ended::Open) {
            Found::More => {
                if !receive(&mut socket, &mut bytes) {
                    break;
                }
            }
            Found::Broken(why) => {
                shared.state().log.broken.push(why);
                return;
            }
            Found::Message(request, used) => {
                bytes.drain(..used);
                {
                    let log = &mut shared.state().log;
                    log.requests.push(request);
                    log.links.push(link);
                }
                let Reply { pieces, then, .. } = reply.take().unwrap_or_default();
                if !give(shared, &mut socket, &pieces, then) {
                    if then == Then::Reset
                        && let Some((held, _)) = shared.state().links.get_mut(link)
                    {
                        *held = None;
                    }
                    return;
                }
            }
        }
    }
    if !bytes.is_empty() {
        shared.state().log.partial.push(bytes);
    }
}

/// The reply to the request whose head is at the front. The requests that look whether all is well have replies of their own.
fn choose(shared: &Shared, bytes: &[u8]) -> Reply {
    let plain = |content: &str| Reply {
        pieces: vec![
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}", content.len()).into_bytes(),
        ],
        ..Reply::default()
    };
    for (target, content) in [(&b"GET /probe "[..], "probe"), (b"GET /other ", "other")] {
        if bytes.starts_with(target) {
            return plain(content);
        }
    }
    let mut state = shared.state();
    state.begun += 1;
    state.script.get(state.begun - 1).cloned().unwrap_or_else(|| plain("ok"))
}

/// Sends the pieces; says whether the connection goes on.
fn give(shared: &Shared, socket: &mut TcpStream, pieces: &[Vec<u8>], then: Then) -> bool {
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            thread::sleep(PIECE_GAP);
        }
        if socket.write_all(piece).is_err() {
            return false;
        }
    }
    shared.state().given += 1;
    shared.changed.notify_all();
    match then {
        Then::Keep => return true,
        Then::Close => {
            let _ = socket.shutdown(Shutdown::Write);
            // Closing with unread octets would be a reset.
            while receive(socket, &mut Vec::new()) {}
        }
        Then::Reset => {
            // The reset comes as the last handle of the socket goes.
            let _ = rustix::net::sockopt::set_socket_linger(&*socket, Some(Duration::ZERO));
        }
        Then::Tunnel => {
            let mut bytes = Vec::new();
            while receive(socket, &mut bytes) {
                if bytes.ends_with(b"ping") {
                    let _ = socket.write_all(b"pong");
                }
            }
        }
    }
    false
}

/// Reads once; false at the end of the connection.
fn receive(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> bool {
    let mut piece = [0; 8 * 1024];
    loop {
        match socket.read(&mut piece) {
            Ok(0) => return false,
            Ok(count) => {
                bytes.extend_from_slice(&piece[..count]);
                return true;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}
