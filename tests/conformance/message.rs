//! Messages as a strict reader takes them: the judge of what a proxy lets through. It shares no code with Apex.
//!
//! What two readers could understand in two ways is broken here: a line end that is no CRLF, a second framing, a length that is
//! not digits alone (RFC 9112 sections 2.2, 5, 6.3 and 7.1).

use super::case::Framing;

/// A message, or what there is of it.
#[derive(Debug, Clone)]
pub struct Message {
    /// Start line and field lines, through the empty line.
    pub head: Vec<u8>,
    pub start: String,
    pub fields: Vec<(String, String)>,
    pub content: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub framing: Framing,
    /// As its framing says; for a message that ends with its connection, ended by a clean close.
    pub whole: bool,
}

/// Whose message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    /// The answer to HEAD, or to another method.
    Response {
        to_head: bool,
    },
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Open,
    Closed,
    Reset,
}

/// What stands at the front of the octets.
#[derive(Debug)]
pub enum Found {
    /// Not all of it came yet.
    More,
    /// The message, and how many octets it took.
    Message(Message, usize),
    /// No message, for this reason.
    Broken(String),
}

impl Message {
    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.start.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// The values of all fields of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        named.map(|field| field.1.as_str()).collect()
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }
}

/// The first octets through `\r\n\r\n`, if they are there.
pub fn head_of(bytes: &[u8]) -> Option<&[u8]> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| &bytes[..at + 4])
}

/// Reads the message at the front.
pub fn read(bytes: &[u8], kind: Kind, ended: Ended) -> Found {
    match try_read(bytes, kind, ended) {
        Ok(Some((message, used))) => Found::Message(message, used),
        Ok(None) => Found::More,
        Err(why) => Found::Broken(why),
    }
}

type Read<T> = Result<Option<T>, String>;

fn try_read(bytes: &[u8], kind: Kind, ended: Ended) -> Read<(Message, usize)> {
    let Some(head) = head_of(bytes) else {
        let bare = bytes.windows(2).any(|window| window == b"\n\n") || bytes.starts_with(b"\n");
        return if bare { Err(format!("bare line ends in {}", shown(bytes))) } else { Ok(None) };
    };
    let text: String = head[..head.len() - 4].iter().map(|&octet| char::from(octet)).collect();
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    if !is_start_line(&start, kind) {
        return Err(format!("start line {start:?}"));
    }
    let fields = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    let (framing, length) = framing(&start, &fields, kind)?;
    let mut message = Message {
        head: head.to_vec(),
        start,
        fields,
        content: Vec::new(),
        trailers: Vec::new(),
        framing,
        whole: true,
    };
    let body = &bytes[head.len()..];
    let used = match framing {
        Framing::None | Framing::Tunnel => Some(0),
        Framing::Length => {
            message.content = body[..length.min(body.len())].to_vec();
            (body.len() >= length).then_some(length)
        }
        Framing::Chunked => chunks(body, &mut message)?,
        Framing::UntilClose => {
            message.content = body.to_vec();
            (ended == Ended::Closed).then_some(body.len())
        }
    };
    match used {
        Some(used) => Ok(Some((message, head.len() + used))),
        None if ended == Ended::Open => Ok(None),
        None => {
            message.whole = false;
            Ok(Some((message, bytes.len())))
        }
    }
}

fn is_start_line(line: &str, kind: Kind) -> bool {
    let is_version = |text: &str| matches!(text, "HTTP/1.0" | "HTTP/1.1");
    if line.contains(|c: char| c.is_control() && c != '\t' && c < '\u{80}') {
        return false;
    }
    if kind == Kind::Request {
        let parts: Vec<_> = line.split(' ').collect();
        return matches!(parts[..], [method, target, version]
            if is_token(method) && !target.is_empty() && !target.contains(['\t', '#']) && is_version(version));
    }
    let (version, rest) = line.split_once(' ').unwrap_or_default();
    let (code, _) = rest.split_once(' ').unwrap_or((rest, ""));
    is_version(version) && code.len() == 3 && code.bytes().all(|octet| octet.is_ascii_digit())
}

fn is_token(text: &str) -> bool {
    let is_tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(is_tchar)
}

/// Name and value of a field line.
fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("no colon in {line:?}"))?;
    // RFC 9110 section 5.5 forbids CR, LF and NUL; other control characters may be kept.
    if !is_token(name) || value.contains(['\r', '\n', '\0']) {
        return Err(format!("field line {line:?}"));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

/// RFC 9112 section 6.3, with what is doubtful refused.
fn framing(start: &str, fields: &[(String, String)], kind: Kind) -> Result<(Framing, usize), String> {
    let all = |wanted: &str| {
        let named = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        named.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let (codings, lengths) = (all("transfer-encoding"), all("content-length"));
    if let Kind::Response { to_head } = kind {
        let status = start.get(9..12).unwrap_or("");
        if status == "101" {
            return Ok((Framing::Tunnel, 0));
        }
        if (status.starts_with('1') || status == "204") && codings.len() + lengths.len() > 0 {
            return Err(format!("framing fields in a {status}"));
        }
        if to_head || status.starts_with('1') || status == "204" || status == "304" {
            return Ok((Framing::None, 0));
        }
    }
    match (&codings[..], &lengths[..]) {
        ([], []) if kind == Kind::Request => Ok((Framing::None, 0)),
        ([], []) => Ok((Framing::UntilClose, 0)),
        // Other codings before the last are for the recipient to know; where the message ends is sure.
        ([coding], []) if coding.rsplit(',').next().is_some_and(is_chunked) && !is_doubled(coding) => {
            Ok((Framing::Chunked, 0))
        }
        ([], [digits]) if !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit()) => {
            let length = digits.parse::<i64>().map_err(|error| format!("{digits:?}: {error}"))?;
            usize::try_from(length).map(|length| (Framing::Length, length)).map_err(|error| error.to_string())
        }
        _ => Err(format!("framing in two ways: Transfer-Encoding {codings:?}, Content-Length {lengths:?}")),
    }
}

fn is_chunked(coding: &str) -> bool {
    coding.trim_matches([' ', '\t']).eq_ignore_ascii_case("chunked")
}

fn is_doubled(codings: &str) -> bool {
    codings.split(',').filter(|coding| is_chunked(coding)).count() > 1
}

/// Reads a chunked body; none: it is not whole.
fn chunks(body: &[u8], message: &mut Message) -> Read<usize> {
    let mut at = 0;
    loop {
        let Some((line, used)) = line_of(&body[at..])? else { return Ok(None) };
        at += used;
        let size = line.split(';').next().unwrap_or_default();
        if size.is_empty() || size.len() > 16 || !size.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return Err(format!("chunk size {line:?}"));
        }
        let size = usize::from_str_radix(size, 16).map_err(|error| format!("{line:?}: {error}"))?;
        if size == 0 {
            break;
        }
        let rest = &body[at..];
        message.content.extend_from_slice(&rest[..size.min(rest.len())]);
        if rest.len() < size.saturating_add(2) {
            return Ok(None);
        }
        if &rest[size..size + 2] != b"\r\n" {
            return Err(format!("chunk data ended by {}", shown(&rest[size..size + 2])));
        }
        at += size + 2;
    }
    loop {
        let Some((line, used)) = line_of(&body[at..])? else { return Ok(None) };
        at += used;
        if line.is_empty() {
            return Ok(Some(at));
        }
        message.trailers.push(field(&line)?);
    }
}

/// The octets before the first CRLF, as text, and how many they are with it.
fn line_of(bytes: &[u8]) -> Read<(String, usize)> {
    let Some(end) = bytes.iter().position(|&octet| octet == b'\n') else { return Ok(None) };
    match bytes[..end].split_last() {
        Some((b'\r', line)) if !line.contains(&b'\r') && !line.contains(&0) => {
            Ok(Some((line.iter().map(|&octet| char::from(octet)).collect(), end + 1)))
        }
        _ => Err(format!("line end in {}", shown(&bytes[..=end]))),
    }
}

/// Octets for a report, the front of them only.
pub fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 300;
    let more = if bytes.len() > SHOWN_MAX { "…" } else { "" };
    format!("\"{}{more}\"", bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii())
}

/// The judge can tell: what is ambiguous is never taken for a message.
#[test]
fn doubtful_messages_are_broken() {
    for head in [
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nX : a\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX",
    ] {
        let found = read(head.as_bytes(), Kind::Request, Ended::Closed);
        assert!(matches!(found, Found::Broken(_)), "{head:?}: {found:?}");
    }
    let whole = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nA: b\r\n\r\nrest";
    let Found::Message(message, used) = read(whole, Kind::Request, Ended::Open) else { panic!() };
    assert_eq!((used, &message.content[..], message.whole), (whole.len() - 4, &b"hi"[..], true));
    let short = read(&whole[..whole.len() - 6], Kind::Request, Ended::Closed);
    assert!(matches!(short, Found::Message(Message { whole: false, .. }, _)));
}
