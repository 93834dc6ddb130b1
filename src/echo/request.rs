//! Reads a request to the origin: httparse parses the head, the target selects one of the paths. Lenient
//! about syntax, exact about the end of the request.

use super::body::Body;
use std::time::Duration;

/// Maximum number of field lines in a head.
const FIELDS_MAX: usize = 192;
/// The longest delay between two pieces of an answer.
const DELAY_MAX: Duration = Duration::from_secs(600);
/// Data octets per chunk, unless the target sets another number.
const CHUNK_BYTES: u64 = 16 * 1024;

/// A request head. It borrows the input.
#[derive(Debug)]
pub(super) struct Request<'b> {
    pub(super) method: &'b str,
    pub(super) target: &'b str,
    pub(super) ask: Ask,
    pub(super) body: Body,
    /// The version is HTTP/1.0.
    pub(super) is_old: bool,
    /// The connection closes after this exchange.
    pub(super) close: bool,
    pub(super) expects_continue: bool,
    /// Octets of the head.
    pub(super) head_bytes: usize,
}

/// What the path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Any other path: port, method and target.
    Line,
    /// `/bytes/N`
    Bytes(u64),
    /// `/chunked/N?chunk=SIZE`
    Chunked { octets: u64, chunk: u64 },
    /// `/close/N`
    UntilClose(u64),
    /// `/delay/MILLIS`
    Delay(Duration),
    /// `/status/CODE`
    Status(u16),
    /// `/early/CODE`
    Early(u16),
    /// `/echo`
    Echo,
    /// `/upload`
    Upload,
    /// `/headers`
    Headers,
    /// `/sse/N?ms=M`
    Events { count: u64, every: Duration },
    /// `/trailers`
    Trailers,
    /// A known path with an invalid number.
    Nonsense,
}

/// The head is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

impl<'b> Request<'b> {
    /// Parses the head at the front of `bytes`; `None` while it is incomplete.
    pub(super) fn read(bytes: &'b [u8]) -> Result<Option<Self>, Unreadable> {
        let mut slots = [const { std::mem::MaybeUninit::uninit() }; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut []);
        let head_bytes = match parsed.parse_with_uninit_headers(bytes, &mut slots) {
            Ok(httparse::Status::Complete(octets)) => octets,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Unreadable),
        };
        let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Unreadable);
        };
        let is_old = version == 0;
        let mut request = Self {
            method,
            target,
            ask: Ask::of_target(target),
            body: Body::Done,
            is_old,
            close: is_old,
            expects_continue: false,
            head_bytes,
        };
        for field in parsed.headers.iter() {
            request.take_field(field)?;
        }
        Ok(Some(request))
    }

    fn take_field(&mut self, field: &httparse::Header<'_>) -> Result<(), Unreadable> {
        // Comparing lengths first rules out nearly all fields cheaply.
        let (name, value) = (field.name, field.value);
        match name.len() {
            6 if name.eq_ignore_ascii_case("expect") => {
                self.expects_continue = !self.is_old && value.eq_ignore_ascii_case(b"100-continue");
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in value.split(|&octet| octet == b',') {
                    match option.trim_ascii() {
                        option if option.eq_ignore_ascii_case(b"close") => self.close = true,
                        option if option.eq_ignore_ascii_case(b"keep-alive") => self.close = false,
                        _ => {}
                    }
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                let octets = number(value).ok_or(Unreadable)?;
                // RFC 9112 section 6.3, rule 3: Transfer-Encoding overrides Content-Length.
                if self.body != Body::Size {
                    self.body = Body::of_length(octets);
                }
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Unreadable);
                }
                self.body = Body::Size;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Ask {
    fn of_target(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut elements = path.strip_prefix('/').unwrap_or_default().split('/');
        let (first, second) = (elements.next().unwrap_or_default(), elements.next());
        if elements.next().is_some() {
            return Self::Line;
        }
        let ask = match (first, second) {
            ("echo", None) => Some(Self::Echo),
            ("upload", None) => Some(Self::Upload),
            ("headers", None) => Some(Self::Headers),
            ("trailers", None) => Some(Self::Trailers),
            ("bytes", Some(text)) => count(text).map(Self::Bytes),
            ("close", Some(text)) => count(text).map(Self::UntilClose),
            ("delay", Some(text)) => pause(text).map(Self::Delay),
            ("status", Some(text)) => status(text).map(Self::Status),
            ("early", Some(text)) => status(text).map(Self::Early),
            ("chunked", Some(text)) => count(text).and_then(|octets| {
                let chunk = setting(query, "chunk").map_or(Some(CHUNK_BYTES), count)?;
                (chunk > 0).then_some(Self::Chunked { octets, chunk })
            }),
            ("sse", Some(text)) => count(text).and_then(|count| {
                let every = setting(query, "ms").map_or(Some(Duration::ZERO), pause)?;
                Some(Self::Events { count, every })
            }),
            _ => Some(Self::Line),
        };
        ask.unwrap_or(Self::Nonsense)
    }
}

/// The value of a parameter in a query.
fn setting<'t>(query: &'t str, name: &str) -> Option<&'t str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// A number of digits only that fits 63 bits.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, octet| {
        let digit = u64::from(octet.checked_sub(b'0').filter(|&digit| digit < 10)?);
        sum.checked_mul(10)?.checked_add(digit).filter(|&sum| i64::try_from(sum).is_ok())
    })
}

fn count(text: &str) -> Option<u64> {
    number(text.as_bytes())
}

fn pause(text: &str) -> Option<Duration> {
    count(text).map(Duration::from_millis).filter(|&pause| pause <= DELAY_MAX)
}

fn status(text: &str) -> Option<u16> {
    count(text).and_then(|code| u16::try_from(code).ok()).filter(|code| (200..1000).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_say_what_is_asked() {
        let cases = [
            ("/", Ask::Line),
            ("/bytes/12", Ask::Bytes(12)),
            ("/bytes/x", Ask::Nonsense),
            ("/bytes/1/2", Ask::Line),
            ("/chunked/9", Ask::Chunked { octets: 9, chunk: CHUNK_BYTES }),
            ("/chunked/9?a=1&chunk=2", Ask::Chunked { octets: 9, chunk: 2 }),
            ("/chunked/9?chunk=0", Ask::Nonsense),
            ("/delay/5", Ask::Delay(Duration::from_millis(5))),
            ("/status/404", Ask::Status(404)),
            ("/status/99", Ask::Nonsense),
            ("/sse/3?ms=7", Ask::Events { count: 3, every: Duration::from_millis(7) }),
            ("/echo", Ask::Echo),
            ("/echo/x", Ask::Line),
        ];
        for (target, ask) in cases {
            assert_eq!(Ask::of_target(target), ask, "{target}");
        }
    }

    #[test]
    fn heads_say_how_the_request_ends() {
        let cases: &[(&str, Body, bool)] = &[
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Body::Done, false),
            ("GET / HTTP/1.1\r\nConnection: te, Close\r\n\r\n", Body::Done, true),
            ("GET / HTTP/1.0\r\n\r\n", Body::Done, true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Body::Done, false),
            ("POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\n", Body::Length(7), false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nContent-Length: 7\r\n\r\n", Body::Size, false),
        ];
        for &(wire, body, close) in cases {
            let request = Request::read(wire.as_bytes()).unwrap().unwrap();
            assert_eq!((request.body, request.close), (body, close), "{wire}");
        }
        for wire in [
            "POST / HTTP/1.1\r\nContent-Length: +7\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            "\u{1}",
        ] {
            assert_eq!(Request::read(wire.as_bytes()).unwrap_err(), Unreadable, "{wire}");
        }
    }
}
