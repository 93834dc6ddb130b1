//! What Apex accepts means the same to a parser that shares nothing with it: Node's http_parser, in C. It never says which
//! requests must be refused: Apex may be the stricter of the two, and is.

use apex::http::chunked::{Decoder, Found};
use apex::http::field::slots;
use apex::http::framing::Framing;
use apex::http::head::{self, Version};
use apex::http::limits::HeadLimits;
use apex::http::trailers;
use http_muncher::{Parser, ParserHandler};
use std::ops::Range;

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// A request as one of the two read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Message {
    method: Vec<u8>,
    target: Vec<u8>,
    is_10: bool,
    fields: Lines,
    content: Vec<u8>,
    trailers: Lines,
}

/// How far a reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The message ends at this octet.
    At(usize),
    /// More is needed.
    Open,
    /// More of the trailer section is needed: what came of it was not all judged.
    OpenTrailers,
    /// What stands behind the head, or behind the content so far, was refused.
    Refused,
}

/// Apex's reading of a request whose head it accepted.
struct Ours {
    message: Message,
    end: End,
    /// Where things stand in the input, for the rewriting of what is explained.
    method_at: Range<usize>,
    target_at: Range<usize>,
    values_at: Vec<Range<usize>>,
    head_end: usize,
    trailers_at: usize,
}

/// Where `part` stands in `whole`, of which it is a part.
fn place(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    assert!(start + part.len() <= whole.len());
    start..start + part.len()
}

/// `None` where Apex accepts no head, or not yet.
fn ours(bytes: &[u8]) -> Option<Ours> {
    let mut room = slots();
    let request = head::request(bytes, &mut room, &HeadLimits::DEFAULT).ok()??;
    let head_end = request.head_bytes;
    let fields = request.fields.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec()));
    let mut read = Ours {
        message: Message {
            method: request.method_text.as_bytes().to_vec(),
            target: request.target_text.to_vec(),
            is_10: request.version == Version::Http10,
            fields: fields.collect(),
            ..Message::default()
        },
        end: End::At(head_end),
        method_at: place(bytes, request.method_text.as_bytes()),
        target_at: place(bytes, request.target_text),
        values_at: request.fields.iter().map(|field| place(bytes, field.value)).collect(),
        head_end,
        trailers_at: bytes.len(),
    };
    match request.framing {
        Framing::None => {}
        Framing::Length(length) => {
            let here = bytes.len() - head_end;
            let taken = usize::try_from(length).unwrap_or(usize::MAX).min(here);
            read.message.content = bytes[head_end..head_end + taken].to_vec();
            read.end = if taken as u64 == length { End::At(head_end + taken) } else { End::Open };
        }
        Framing::Chunked => chunked(bytes, &mut read),
        Framing::UntilClose => panic!("a request does not end with its connection"),
    }
    Some(read)
}

fn chunked(bytes: &[u8], read: &mut Ours) {
    let mut decoder = Decoder::new();
    let mut at = read.head_end;
    loop {
        let Ok((used, found)) = decoder.read(&bytes[at..]) else { return read.end = End::Refused };
        at += used;
        match found {
            Found::More => return read.end = End::Open,
            Found::Data => {
                let here = bytes.len() - at;
                let taken = usize::try_from(decoder.data_left()).unwrap_or(usize::MAX).min(here);
                read.message.content.extend_from_slice(&bytes[at..at + taken]);
                decoder.take_data(taken as u64);
                at += taken;
                if at == bytes.len() {
                    return read.end = End::Open;
                }
            }
            Found::Trailers => break,
        }
    }
    read.trailers_at = at;
    let mut out = Vec::new();
    read.end = match trailers::forward(&bytes[at..], &HeadLimits::DEFAULT, Some(&mut out)) {
        Ok(Some(used)) => End::At(at + used),
        Ok(None) => End::OpenTrailers,
        Err(_) => End::Refused,
    };
    read.message.trailers = lines(&out);
}

/// The field lines that Apex forwards.
fn lines(bytes: &[u8]) -> Lines {
    let text = bytes.split(|&b| b == b'\n').filter_map(|line| line.strip_suffix(b"\r"));
    text.map(|line| {
        let colon = line.iter().position(|&b| b == b':').expect("a field line");
        (line[..colon].to_vec(), trim(&line[colon + 1..]))
    })
    .collect()
}

/// Without optional white space around it (RFC 9110 section 5.6.3), which the other parser leaves behind a value.
fn trim(value: &[u8]) -> Vec<u8> {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().take_while(|b| blank(b)).count();
    let end = value.len() - value[start..].iter().rev().take_while(|b| blank(b)).count();
    value[start..end].to_vec()
}

/// The other parser's reading.
#[derive(Default)]
struct Theirs {
    message: Message,
    head_read: bool,
    whole: bool,
    last_was_value: bool,
    end: Option<usize>,
    error: &'static str,
}

impl Theirs {
    fn lines(&mut self) -> &mut Lines {
        if self.head_read { &mut self.message.trailers } else { &mut self.message.fields }
    }
}

impl ParserHandler for Theirs {
    fn on_url(&mut self, _: &mut Parser, part: &[u8]) -> bool {
        self.message.target.extend_from_slice(part);
        true
    }

    fn on_header_field(&mut self, _: &mut Parser, part: &[u8]) -> bool {
        if self.last_was_value || self.lines().is_empty() {
            self.lines().push((Vec::new(), Vec::new()));
        }
        self.last_was_value = false;
        self.lines().last_mut().expect("one was pushed").0.extend_from_slice(part);
        true
    }

    fn on_header_value(&mut self, _: &mut Parser, part: &[u8]) -> bool {
        self.last_was_value = true;
        self.lines().last_mut().expect("a name came first").1.extend_from_slice(part);
        true
    }

    fn on_headers_complete(&mut self, parser: &mut Parser) -> bool {
        self.head_read = true;
        let (major, minor) = parser.http_version();
        assert_eq!(major, 1);
        self.message.is_10 = minor == 0;
        true
    }

    fn on_body(&mut self, _: &mut Parser, part: &[u8]) -> bool {
        self.message.content.extend_from_slice(part);
        true
    }

    fn on_message_complete(&mut self, _: &mut Parser) -> bool {
        self.whole = true;
        // What follows is another message: the parser stops here.
        false
    }
}

fn theirs(bytes: &[u8]) -> Theirs {
    let mut read = Theirs::default();
    let mut parser = Parser::request();
    let used = parser.parse(&mut read, bytes);
    if read.head_read {
        // It is known to the wrapper only once the parser has returned.
        read.message.method = parser.http_method().as_bytes().to_vec();
    }
    for (_, value) in read.message.fields.iter_mut().chain(&mut read.message.trailers) {
        *value = trim(value);
    }
    if read.whole {
        read.end = Some(used);
    } else if parser.has_error() {
        read.error = parser.error();
    }
    read
}

/// Says what differs.
fn compare(ours: &Ours, theirs: &Theirs) -> Result<(), String> {
    let (our, their) = (&ours.message, &theirs.message);
    if !theirs.head_read {
        return Err("no head was read".into());
    }
    if (&our.method, &our.target, our.is_10) != (&their.method, &their.target, their.is_10) {
        return Err("another request line".into());
    }
    if our.fields != their.fields {
        return Err("other fields".into());
    }
    let (content_same, ends_same) = match ours.end {
        End::At(end) => (our.content == their.content, theirs.end == Some(end)),
        End::Open => (our.content == their.content, theirs.end.is_none() && theirs.error.is_empty()),
        End::OpenTrailers => (our.content == their.content, theirs.end.is_none()),
        // The content until then may have gone to a backend. The other hands out a chunk's content only with its CR.
        End::Refused => {
            let less = !theirs.error.is_empty() && our.content.starts_with(&their.content);
            (less || their.content.starts_with(&our.content), true)
        }
    };
    if !content_same {
        return Err("other content".into());
    }
    if !ends_same {
        return Err("another end".into());
    }
    // Some are not forwarded; those that are stand in their order.
    let mut there = their.trailers.iter();
    if matches!(ours.end, End::At(_)) && !our.trailers.iter().all(|line| there.any(|other| other == line)) {
        return Err("other trailers".into());
    }
    Ok(())
}

/// The methods that the other parser knows.
const METHODS: &str = "DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH \
    UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE \
    MKCALENDAR LINK UNLINK";

/// The input without the cause of one difference that is explained (the table in `fuzz/README.md`, in its order): its sign
/// and its cause must both be there. The rest must then be read the same.
fn explained(bytes: &[u8], ours: &Ours, theirs: &Theirs) -> Option<Vec<u8>> {
    let mut plain = bytes.to_vec();
    if theirs.error == "HPE_INVALID_METHOD" {
        let known = METHODS.split(' ').any(|known| known.as_bytes() == ours.message.method);
        plain.splice(ours.method_at.clone(), *b"OPTIONS");
        return (!known).then_some(plain);
    }
    if theirs.error == "HPE_INVALID_URL" {
        for octet in plain[ours.target_at.clone()].iter_mut().filter(|octet| !octet.is_ascii()) {
            *octet = b'x';
        }
        return (plain != bytes).then_some(plain);
    }
    let length_refused = theirs.error == "HPE_INVALID_CONTENT_LENGTH";
    let coding_missed = theirs.end == Some(ours.head_end);
    for ((name, _), at) in ours.message.fields.iter().zip(&ours.values_at) {
        let is_length = !theirs.head_read && length_refused && name.eq_ignore_ascii_case(b"content-length");
        let is_coding = coding_missed && name.eq_ignore_ascii_case(b"transfer-encoding");
        let behind = plain[at.end..].iter_mut().take_while(|octet| **octet != b'\r');
        if is_length || is_coding {
            behind.filter(|octet| **octet == b'\t').for_each(|octet| *octet = b' ');
        }
    }
    if plain != bytes {
        return Some(plain);
    }
    let repeated = theirs.error == "HPE_UNEXPECTED_CONTENT_LENGTH";
    if let End::At(end) = ours.end
        && theirs.head_read
        && (length_refused || repeated)
    {
        let mut at = ours.trailers_at;
        for line in bytes[ours.trailers_at..end].split_inclusive(|&b| b == b'\n') {
            if line.get(..15).is_some_and(|name| name.eq_ignore_ascii_case(b"content-length:")) {
                plain[at] = b'x';
            }
            at += line.len();
        }
    }
    (plain != bytes).then_some(plain)
}

/// Every message that Apex accepts at the front of `data` is read the same by both: method, target, version, fields, content
/// and end; and so is the one behind it.
pub(crate) fn differential(data: &[u8]) {
    let mut rest = data;
    while let Some(first) = ours(rest) {
        let end = first.end;
        same(rest, first);
        let End::At(end) = end else { return };
        rest = &rest[end..];
    }
}

fn same(bytes: &[u8], mut ours_now: Ours) {
    let mut bytes = bytes.to_vec();
    loop {
        let other = theirs(&bytes);
        let Err(difference) = compare(&ours_now, &other) else { return };
        let Some(plain) = explained(&bytes, &ours_now, &other) else {
            panic!(
                "{difference}\ninput: {}\nApex: {:?} {:?}\nother: {:?} {:?} {}",
                bytes.escape_ascii(),
                ours_now.end,
                ours_now.message,
                other.end,
                other.message,
                other.error
            );
        };
        // Apex does not see the cause of the difference: without it, it reads the same message.
        let again = ours(&plain).expect("still accepted");
        assert_eq!(again.message.content, ours_now.message.content);
        assert_eq!(again.message.fields.len(), ours_now.message.fields.len());
        let from_behind = |end, length| if let End::At(end) = end { Some(length - end) } else { None };
        assert_eq!(from_behind(again.end, plain.len()), from_behind(ours_now.end, bytes.len()));
        (bytes, ours_now) = (plain, again);
    }
}
