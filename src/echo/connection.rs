//! One client connection of the origin: its buffers, its current exchange, and the calls on its socket. It
//! owns no timer and no loop: it returns when it wants to be called again.

use super::answer::{self, Content, Framing, Made, Style};
use super::body::Body;
use super::request::{Ask, Request};
use mio::event::Event;
use mio::net::TcpStream;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// Octets per read; doubled after a read that fills them.
const INPUT_BYTES: usize = 4 * 1024;
/// Maximum length of a head, and of one read.
const INPUT_BYTES_MAX: usize = 128 * 1024;
/// Octets of answers generated before they are written.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Larger buffers are freed when the connection becomes idle.
const REST_BYTES_MAX: usize = 16 * 1024;
/// Rounds of read, generate and write for one connection before other connections are served.
const ROUNDS_MAX: usize = 16;
/// Time for which a refused client may continue to send before its connection is dropped.
const LINGER: Duration = Duration::from_secs(1);

/// FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    port: u16,
    input: Vec<u8>,
    input_start: usize,
    input_end: usize,
    output: Vec<u8>,
    output_start: usize,
    /// An answer made when the request head was read, held until the body is read and the delay is over.
    held: Vec<u8>,
    state: State,
    readable: bool,
    writable: bool,
    tail: Tail,
}

/// Whether the client can send more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// It can.
    Open,
    /// The client has stopped sending: the end of its data must be read, because no further edge reports it.
    Closing,
    /// The end was read.
    Ended,
}

/// State of a connection.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Reading a request head.
    Head,
    /// Reading the body of a request.
    Body(Body, Sink, Next),
    /// Holding the answer until a time.
    Delay(Instant, Next),
    /// Writing the answer.
    Answer(Next),
    /// The last answer is written: all input is discarded until this time.
    Linger(Instant),
    /// Writing the last answer; then the connection ends.
    Last(Ending),
}

/// How a connection ends after its last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// At once: the client has nothing more to send, or must see a truncated answer.
    Now,
    /// After discarding input: the client may still be sending, and an immediate close would reset the
    /// connection and could lose the answer.
    Drained,
}

/// Destination of a body's octets.
#[derive(Debug, Clone, Copy)]
enum Sink {
    Discard,
    Echo { chunked: bool },
    Upload { octets: u64, checksum: u64, head_only: bool },
}

/// What follows a body.
#[derive(Debug, Clone, Copy)]
struct Next {
    content: Content,
    delay: Option<Duration>,
    style: Style,
    ending: Ending,
}

/// What a connection needs before it can continue.
enum Want {
    Input,
    Room,
    Time,
    End,
}

/// What the loop does with a connection that was driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Waits for an event or for this time.
    Wait(Option<Instant>),
    /// Has more to do, after other connections.
    Again,
    /// Is closed.
    Over,
}

impl Connection {
    /// A connection that was accepted on `port`.
    pub(super) fn new(socket: TcpStream, port: u16) -> Self {
        Self {
            socket,
            port,
            input: Vec::new(),
            input_start: 0,
            input_end: 0,
            output: Vec::new(),
            output_start: 0,
            held: Vec::new(),
            state: State::Head,
            readable: false,
            writable: true,
            tail: Tail::Open,
        }
    }

    /// Records an event.
    pub(super) fn mark(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        if self.tail == Tail::Open && (event.is_read_closed() || event.is_error()) {
            self.tail = Tail::Closing;
        }
    }

    /// Continues as far as possible at `now`.
    pub(super) fn drive(&mut self, now: Instant) -> Verdict {
        for _ in 0..ROUNDS_MAX {
            let want = self.advance(now);
            if self.flush().is_err() {
                return Verdict::Over;
            }
            let is_flushed = self.output.is_empty();
            match want {
                Want::Input if self.tail == Tail::Ended => {
                    return if is_flushed { Verdict::Over } else { Verdict::Wait(None) };
                }
                Want::Input if !self.readable => {
                    self.rest();
                    return Verdict::Wait(self.due());
                }
                Want::Input => {
                    if self.fill().is_err() {
                        return Verdict::Over;
                    }
                }
                Want::Room | Want::End if !is_flushed => return Verdict::Wait(None),
                Want::Room => {}
                Want::Time => return Verdict::Wait(self.due()),
                Want::End => {
                    if !matches!(self.state, State::Last(Ending::Drained)) || self.tail == Tail::Ended {
                        return Verdict::Over;
                    }
                    if self.socket.shutdown(Shutdown::Write).is_err() {
                        return Verdict::Over;
                    }
                    self.state = State::Linger(now + LINGER);
                }
            }
        }
        Verdict::Again
    }

    /// Generates output from input until it needs something.
    fn advance(&mut self, now: Instant) -> Want {
        loop {
            let step = match self.state {
                State::Head => self.take_head(),
                State::Body(body, sink, next) => self.take_body(body, sink, next, now),
                State::Delay(due, next) if due <= now => {
                    self.release_answer(next);
                    None
                }
                State::Delay(..) => Some(Want::Time),
                State::Answer(mut next) => {
                    let made = next.content.make(&mut self.output, OUTPUT_BYTES_MAX, now);
                    self.state = State::Answer(next);
                    match made {
                        Made::All => {
                            self.state =
                                if next.style.close { State::Last(next.ending) } else { State::Head };
                            None
                        }
                        Made::Full => Some(Want::Room),
                        Made::Until(_) => Some(Want::Time),
                    }
                }
                State::Linger(until) => {
                    (self.input_start, self.input_end) = (0, 0);
                    Some(if until <= now { Want::End } else { Want::Input })
                }
                State::Last(_) => Some(Want::End),
            };
            if let Some(want) = step {
                return want;
            }
        }
    }

    fn take_head(&mut self) -> Option<Want> {
        if self.output.len() >= OUTPUT_BYTES_MAX {
            return Some(Want::Room);
        }
        let bytes = &self.input[self.input_start..self.input_end];
        if bytes.is_empty() {
            return Some(Want::Input);
        }
        let request = match Request::read(bytes) {
            Ok(Some(request)) => request,
            Ok(None) if bytes.len() < INPUT_BYTES_MAX => return Some(Want::Input),
            Ok(None) | Err(_) => return self.refuse(),
        };
        let head = &bytes[..request.head_bytes];
        let is_early = matches!(request.ask, Ask::Early(_));
        let holds_back = request.expects_continue && head.len() == bytes.len() && request.body != Body::Done;
        let close = request.close
            || matches!(request.ask, Ask::UntilClose(_))
            || (request.is_old && is_streamed(request.ask))
            // A client that holds its body back may never send it after a final answer.
            || (is_early && holds_back);
        let style = Style { is_old: request.is_old, close };
        if holds_back && !is_early {
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let body = if is_early && holds_back { Body::Done } else { request.body };
        let ending = if is_early && holds_back { Ending::Drained } else { Ending::Now };
        let delay = if let Ask::Delay(delay) = request.ask { Some(delay) } else { None };
        let head_only = request.method == "HEAD";
        let sink = match request.ask {
            Ask::Echo => start_echo(&mut self.output, body, head_only, style),
            Ask::Upload => Sink::Upload { octets: 0, checksum: FNV_BASIS, head_only },
            _ => Sink::Discard,
        };
        let waits = delay.is_some() || (body != Body::Done && !is_early);
        let out = if waits { &mut self.held } else { &mut self.output };
        let content = answer::begin(out, &request, head, self.port, style);
        self.input_start += request.head_bytes;
        self.state = State::Body(body, sink, Next { content, delay, style, ending });
        None
    }

    fn take_body(&mut self, mut body: Body, mut sink: Sink, next: Next, now: Instant) -> Option<Want> {
        while body != Body::Done {
            let room = OUTPUT_BYTES_MAX.saturating_sub(self.output.len());
            let data_max = match sink {
                Sink::Echo { chunked: true } => answer::chunk_room(room),
                Sink::Echo { chunked: false } => room,
                Sink::Discard | Sink::Upload { .. } => usize::MAX,
            };
            let bytes = &self.input[self.input_start..self.input_end];
            let want = if data_max == 0 { Some(Want::Room) } else { None };
            let taken = if want.is_some() { Ok((0, &[][..])) } else { body.take(bytes, data_max) };
            let Ok((used, data)) = taken else {
                return if matches!(sink, Sink::Echo { .. }) { self.cut() } else { self.refuse() };
            };
            match &mut sink {
                Sink::Discard => {}
                Sink::Echo { .. } if data.is_empty() => {}
                Sink::Echo { chunked: true } => answer::chunk(&mut self.output, data),
                Sink::Echo { chunked: false } => self.output.extend_from_slice(data),
                Sink::Upload { octets, checksum, .. } => {
                    *octets += data.len() as u64;
                    *checksum = fnv(*checksum, data);
                }
            }
            self.input_start += used;
            if used == 0 {
                self.state = State::Body(body, sink, next);
                return Some(want.unwrap_or(Want::Input));
            }
        }
        match sink {
            Sink::Discard | Sink::Echo { chunked: false } => {}
            Sink::Echo { chunked: true } => self.output.extend_from_slice(b"0\r\n\r\n"),
            Sink::Upload { octets, checksum, head_only } => {
                let text = format!("length {octets} fnv1a64 {checksum:016x}\n");
                let method = if head_only { "HEAD" } else { "" };
                answer::text(&mut self.output, method, 200, text.as_bytes(), next.style);
            }
        }
        match next.delay {
            Some(delay) => self.state = State::Delay(now + delay, next),
            None => self.release_answer(next),
        }
        None
    }

    fn release_answer(&mut self, next: Next) {
        self.output.append(&mut self.held);
        self.state = State::Answer(next);
    }

    /// Answers 400. The end of this request is unknown, so no more of it is parsed.
    fn refuse(&mut self) -> Option<Want> {
        self.held.clear();
        let style = Style { is_old: false, close: true };
        answer::text(&mut self.output, "", 400, b"the request cannot be read\n", style);
        self.state = State::Last(Ending::Drained);
        None
    }

    /// Truncates an echo whose request is malformed, so that its answer does not look complete.
    fn cut(&mut self) -> Option<Want> {
        self.state = State::Last(Ending::Now);
        None
    }

    /// The time at which this connection must be called without an event.
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Delay(due, _) | State::Linger(due) => Some(due),
            State::Answer(Next { content: Content::Events { due, .. }, .. }) => due,
            _ => None,
        }
    }

    /// Writes the output until it is empty or the socket's buffer is full.
    fn flush(&mut self) -> io::Result<()> {
        while self.writable && self.output_start < self.output.len() {
            match self.socket.write(&self.output[self.output_start..]) {
                Ok(octets) => self.output_start += octets,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.output_start == self.output.len() {
            self.output.clear();
            self.output_start = 0;
        } else if self.output_start > OUTPUT_BYTES_MAX / 2 {
            self.output.drain(..self.output_start);
            self.output_start = 0;
        }
        Ok(())
    }

    /// Reads once.
    fn fill(&mut self) -> io::Result<()> {
        if self.input_start == self.input_end {
            (self.input_start, self.input_end) = (0, 0);
        }
        if self.input_end == self.input.len() {
            if self.input_start > 0 {
                self.input.copy_within(self.input_start..self.input_end, 0);
                self.input_end -= self.input_start;
                self.input_start = 0;
            } else {
                let octets = (self.input.len() * 2).clamp(INPUT_BYTES, INPUT_BYTES_MAX);
                self.input.resize(octets, 0);
            }
        }
        let space = &mut self.input[self.input_end..];
        let size = space.len();
        match self.socket.read(space) {
            Ok(0) => {
                self.tail = Tail::Ended;
                self.readable = false;
            }
            Ok(octets) => {
                self.input_end += octets;
                // A short read emptied the socket; only the end of the stream could follow without a new
                // edge.
                self.readable = octets == size || self.tail == Tail::Closing;
                if octets == size && self.input.len() < INPUT_BYTES_MAX {
                    self.input.resize(self.input.len() * 2, 0);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Frees large buffers between two requests.
    fn rest(&mut self) {
        if matches!(self.state, State::Head) && self.input_start == self.input_end {
            if self.input.len() > REST_BYTES_MAX {
                (self.input, self.input_start, self.input_end) = (Vec::new(), 0, 0);
            }
            if self.output.capacity() > REST_BYTES_MAX && self.output.is_empty() {
                self.output = Vec::new();
            }
        }
    }
}

/// Whether an HTTP/1.0 client detects the end of this answer only by the end of the connection.
fn is_streamed(ask: Ask) -> bool {
    matches!(ask, Ask::Chunked { .. } | Ask::Events { .. } | Ask::Trailers)
}

fn start_echo(out: &mut Vec<u8>, body: Body, head_only: bool, style: Style) -> Sink {
    let framing = match body {
        Body::Length(octets) => Framing::Length(octets),
        Body::Size => Framing::Chunked,
        _ => Framing::Length(0),
    };
    answer::start(out, 200, "application/octet-stream", framing, style);
    if head_only || body == Body::Done {
        return Sink::Discard;
    }
    Sink::Echo { chunked: framing == Framing::Chunked }
}

fn fnv(checksum: u64, data: &[u8]) -> u64 {
    data.iter().fold(checksum, |sum, &octet| (sum ^ u64::from(octet)).wrapping_mul(FNV_PRIME))
}
