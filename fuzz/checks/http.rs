//! What must hold for any bytes that are taken for a part of HTTP: heads, targets, framing, chunks, and what is forwarded.

use apex::http::authority;
use apex::http::chunked::{self, Decoder, Found};
use apex::http::field::{Field, Name, classify, slots};
use apex::http::forward::{self, RequestEdits, ResponseEdits};
use apex::http::framing::Framing;
use apex::http::head::{self, Method, Persistence, Request, Response, Version};
use apex::http::limits::{CONNECTION_NAMES_MAX, FIELDS_CEILING, HeadLimits};
use apex::http::local_reply::LocalReply;
use apex::http::target::{self, Target};
use apex::http::trailers;

/// The limits of a file that names none, and tight ones that short inputs reach.
const LIMITS: [HeadLimits; 2] =
    [HeadLimits::DEFAULT, HeadLimits { head_bytes_max: 256, fields_max: 4, target_bytes_max: 32 }];

/// For heads that Apex wrote: it may add to what was within the limits.
pub(super) const WIDE: HeadLimits =
    HeadLimits { head_bytes_max: 1 << 20, fields_max: FIELDS_CEILING, target_bytes_max: 1 << 20 };

const METHODS: [Method; 2] = [Method::Get, Method::Head];

/// Front parts of a head that are tried: all of a short one, some of a long one.
const FRONTS_MAX: usize = 256;

/// Reading a head never panics, holds its limits, and comes to the same verdict however the head arrives and whatever
/// stands behind it.
pub(crate) fn head(data: &[u8]) {
    for limits in &LIMITS {
        let mut room = slots();
        match head::request(data, &mut room, limits) {
            Ok(Some(request)) => request_holds(data, &request, limits),
            Ok(None) => {}
            Err(reply) => {
                assert!(matches!(reply.status, 400 | 414 | 417 | 431 | 501 | 505), "{reply:?}");
            }
        }
        for asked in METHODS {
            let mut room = slots();
            match head::response(data, &mut room, limits, asked) {
                Ok(Some(response)) => response_holds(data, &response, limits, asked),
                Ok(None) => {}
                Err(reply) => assert_eq!(reply.status, 502, "{reply:?}"),
            }
        }
    }
}

fn request_holds(data: &[u8], request: &Request<'_, '_>, limits: &HeadLimits) {
    assert!(request.target_text.len() <= limits.target_bytes_max);
    assert!(request.authority.is_some() || request.version == Version::Http10);
    fields_hold(data, request.head_bytes, request.fields, limits);
    let verdict = format!("{request:?}");
    let bytes = &data[..request.head_bytes];
    let mut room = slots();
    let alone = head::request(bytes, &mut room, limits).expect("accepted, accepted without what follows");
    assert_eq!(verdict, format!("{:?}", alone.expect("complete")));
    for front in fronts(bytes) {
        let mut room = slots();
        let part = head::request(front, &mut room, limits);
        assert!(matches!(part, Ok(None)), "the front of an accepted head is incomplete: {part:?}");
    }
}

fn response_holds(data: &[u8], response: &Response<'_, '_>, limits: &HeadLimits, asked: Method) {
    assert!((100..=999).contains(&response.status));
    assert!(response.reason.iter().all(|byte| !matches!(byte, 0 | b'\r' | b'\n')));
    fields_hold(data, response.head_bytes, response.fields, limits);
    let verdict = format!("{response:?}");
    let bytes = &data[..response.head_bytes];
    let mut room = slots();
    let alone =
        head::response(bytes, &mut room, limits, asked).expect("accepted, accepted without what follows");
    assert_eq!(verdict, format!("{:?}", alone.expect("complete")));
    for front in fronts(bytes) {
        let mut room = slots();
        let part = head::response(front, &mut room, limits, asked);
        assert!(matches!(part, Ok(None)), "the front of an accepted head is incomplete: {part:?}");
    }
}

fn fronts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let step = bytes.len().div_ceil(FRONTS_MAX).max(1);
    (0..bytes.len()).rev().step_by(step).map(|length| &bytes[..length])
}

fn fields_hold(data: &[u8], head_bytes: usize, fields: &[Field<'_>], limits: &HeadLimits) {
    // RFC 9112 section 2.2: empty lines before a request line are no part of the head.
    let empty_lines = data.chunks_exact(2).take_while(|pair| pair == b"\r\n").count();
    assert!(head_bytes <= data.len() && head_bytes - 2 * empty_lines <= limits.head_bytes_max);
    assert!(data[..head_bytes].ends_with(b"\r\n\r\n"));
    assert!(fields.len() <= limits.fields_max);
    // RFC 9110 section 7.6.1: each may name a field that ends at this hop, and each is looked for.
    let options = values(fields, "connection");
    let named = options.iter().flat_map(|value| value.split(|&byte| byte == b','));
    assert!(named.filter(|option| !option.trim_ascii().is_empty()).count() <= CONNECTION_NAMES_MAX);
    for field in fields {
        assert!(!field.name.is_empty() && field.name.bytes().all(is_token));
        assert!(field.value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)));
        assert_eq!(field.value.trim_ascii(), field.value, "white space around a value is no part of it");
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A judged target has a path, holds nothing that ends a request line, and is judged the same when it comes again.
pub(crate) fn target(data: &[u8]) {
    if let Some(found) = authority::parse(data) {
        assert_eq!(found.text, data);
        assert!(!found.host.is_empty() && data.starts_with(found.host));
        assert!(!found.text.iter().any(|byte| matches!(byte, 0..=b' ' | b'/' | b'?' | b'#' | b'@' | 0x7f)));
    }
    for method in ["GET", "OPTIONS", "CONNECT"] {
        match target::judge(method, data) {
            Ok(found) => target_holds(method, &found),
            Err(LocalReply { status, .. }) => assert!(matches!(status, 400 | 501), "{status}"),
        }
    }
}

fn target_holds(method: &str, found: &Target<'_>) {
    let sent = sent_target(found);
    assert!(!sent.iter().any(|byte| matches!(byte, 0..=b' ' | b'#' | 0x7f)), "{sent:?}");
    if sent == b"*" {
        assert_eq!((method, found.path()), ("OPTIONS", &b"*"[..]));
        return;
    }
    assert_ne!(method, "CONNECT");
    assert!(sent.starts_with(b"/") && found.path().starts_with(b"/"));
    assert!(!found.path().contains(&b'?'));
    let again = target::judge(method, &sent).expect("what is sent is accepted");
    assert_eq!((again.path(), again.authority), (found.path(), None));
    assert_eq!(sent_target(&again), sent);
}

/// The target as it goes to the backend.
fn sent_target(target: &Target<'_>) -> Vec<u8> {
    let slash: &[u8] = if target.slash_missing { b"/" } else { b"" };
    [slash, target.path_and_query].concat()
}

/// Where an accepted message ends is what a naive reading of its fields says, and there is only one such reading.
///
/// The input is read as a head, and as the field lines of one.
pub(crate) fn framing(data: &[u8]) {
    request_framing(data);
    response_framing(data);
    for start in ["POST / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.0\r\n"] {
        request_framing(&[start.as_bytes(), data, b"\r\n\r\n"].concat());
    }
    for start in ["HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 204 \r\n", "HTTP/1.1 103 \r\n"] {
        response_framing(&[start.as_bytes(), data, b"\r\n\r\n"].concat());
    }
}

/// The values of all fields of that name.
fn values<'b>(fields: &[Field<'b>], name: &str) -> Vec<&'b [u8]> {
    fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value).collect()
}

/// A length as RFC 9112 section 6.3 lets it be read in one way: digits that fit 63 bits.
fn length(value: &[u8]) -> u64 {
    assert!(!value.is_empty() && value.iter().all(u8::is_ascii_digit), "{value:?}");
    let number: u64 = str::from_utf8(value).expect("digits").parse().expect("it fits");
    assert!(i64::try_from(number).is_ok());
    number
}

fn request_framing(bytes: &[u8]) {
    let mut room = slots();
    let Ok(Some(request)) = head::request(bytes, &mut room, &HeadLimits::DEFAULT) else { return };
    let lengths = values(request.fields, "content-length");
    let codings = values(request.fields, "transfer-encoding");
    match (&lengths[..], &codings[..]) {
        ([], []) => assert_eq!(request.framing, Framing::None),
        ([value], []) => assert_eq!(request.framing, Framing::Length(length(value))),
        ([], [value]) => {
            assert!(value.eq_ignore_ascii_case(b"chunked"), "{value:?}");
            assert_eq!((request.framing, request.version), (Framing::Chunked, Version::Http11));
        }
        both => panic!("a request that can be read in two ways was accepted: {both:?}"),
    }
}

fn response_framing(bytes: &[u8]) {
    for asked in METHODS {
        let mut room = slots();
        let Ok(Some(response)) = head::response(bytes, &mut room, &HeadLimits::DEFAULT, asked) else {
            continue;
        };
        let lengths = values(response.fields, "content-length");
        let codings = values(response.fields, "transfer-encoding");
        if asked == Method::Head || matches!(response.status, 100..=199 | 204 | 304) {
            assert_eq!(response.framing, Framing::None);
        } else if let Some(last) = codings.last() {
            // A coding that Apex does not undo would be lost, for the field is written anew.
            assert!(codings.len() == 1 && last.eq_ignore_ascii_case(b"chunked"), "{codings:?}");
            assert_eq!(response.framing, Framing::Chunked);
            assert!(lengths.is_empty() || response.persistence == Persistence::Close);
        } else if let Some(first) = lengths.first() {
            let number = length(first.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii());
            assert_eq!(response.framing, Framing::Length(number));
            for part in lengths.iter().flat_map(|value| value.split(|&byte| byte == b',')) {
                assert_eq!(length(part.trim_ascii()), number, "differing lengths were accepted");
            }
        } else {
            assert_eq!(response.framing, Framing::UntilClose);
        }
    }
}

/// What a chunked body turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) content: Vec<u8>,
    pub(super) end: End,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Incomplete,
    /// The trailer section begins at this place.
    Trailers(usize),
    Refused(LocalReply),
}

/// Decodes `bytes` as they arrive in pieces whose lengths `piece` says.
pub(super) fn decode(mut decoder: Decoder, bytes: &[u8], mut piece: impl FnMut() -> usize) -> Outcome {
    let mut content = Vec::new();
    let (mut place, mut arrived) = (0, 0);
    loop {
        if place == arrived {
            if arrived == bytes.len() {
                return Outcome { content, end: End::Incomplete };
            }
            arrived = bytes.len().min(arrived + piece().max(1));
        }
        let here = &bytes[place..arrived];
        if decoder.data_left() > 0 {
            let take = usize::try_from(decoder.data_left()).unwrap_or(usize::MAX).min(here.len());
            content.extend_from_slice(&here[..take]);
            decoder.take_data(take as u64);
            place += take;
            continue;
        }
        match decoder.read(here) {
            Err(reply) => return Outcome { content, end: End::Refused(reply) },
            Ok((used, found)) => {
                assert!(used <= here.len());
                place += used;
                match found {
                    Found::More => assert_eq!(used, here.len(), "more are needed, so all were used"),
                    Found::Data => assert!(decoder.data_left() > 0),
                    Found::Trailers => return Outcome { content, end: End::Trailers(place) },
                }
            }
        }
    }
}

/// A chunked body has one outcome however it is split; written anew, it decodes to the same content; and its trailer
/// section is read the same whether it is forwarded or not.
pub(crate) fn chunked(data: &[u8]) {
    let [strict, lenient] = [Decoder::new(), Decoder::of_response()].map(|decoder| chunked_by(decoder, data));
    // What is taken of a request is taken of a response in the same way.
    if !matches!(strict.end, End::Refused(_)) {
        assert_eq!(strict, lenient);
    }
}

fn chunked_by(decoder: Decoder, data: &[u8]) -> Outcome {
    let whole = decode(decoder, data, || usize::MAX);
    assert_eq!(whole, decode(decoder, data, || 1), "octet by octet");
    // The input itself says where it is split, so that a failing one replays.
    for seed in [0x9e37_79b9_7f4a_7c15_u64, 0xd1b5_4a32_d192_ed03] {
        let mut random =
            data.iter().fold(seed, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let split = decode(decoder, data, || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % 9) as usize
        });
        assert_eq!(whole, split);
    }
    if let End::Refused(reply) = whole.end {
        assert_eq!(reply.status, 400);
    }
    let mut anew = Vec::new();
    for part in whole.content.chunks(17) {
        chunked::write_size_line(&mut anew, part.len() as u64);
        anew.extend_from_slice(part);
        anew.extend_from_slice(b"\r\n");
    }
    anew.extend_from_slice(chunked::LAST_CHUNK);
    let again = decode(Decoder::new(), &anew, || usize::MAX);
    assert_eq!((again.content, again.end), (whole.content.clone(), End::Trailers(anew.len())));
    if let End::Trailers(place) = whole.end {
        trailers_hold(&data[place..]);
    }
    trailers_hold(data);
    whole
}

fn trailers_hold(bytes: &[u8]) {
    for limits in &LIMITS {
        let mut out = Vec::new();
        let verdict = trailers::forward(bytes, limits, Some(&mut out));
        assert_eq!(verdict, trailers::forward(bytes, limits, None));
        match verdict {
            Ok(None) => assert!(out.is_empty()),
            Err(reply) => assert!(matches!(reply.status, 400 | 431) && out.is_empty(), "{reply:?}"),
            Ok(Some(used)) => {
                let section = &bytes[..used];
                assert!(section == b"\r\n" || section.ends_with(b"\r\n\r\n"));
                for front in fronts(section) {
                    assert_eq!(trailers::forward(front, limits, None), Ok(None));
                }
                // What is forwarded is a trailer section that is forwarded whole.
                out.extend_from_slice(b"\r\n");
                let mut again = Vec::new();
                assert_eq!(trailers::forward(&out, &WIDE, Some(&mut again)), Ok(Some(out.len())));
                again.extend_from_slice(b"\r\n");
                assert_eq!(again, out);
            }
        }
    }
}

/// A head that Apex sends is read by Apex as the one that it judged: same message, same end, nothing of the last hop.
pub(crate) fn forward(data: &[u8]) {
    let mut room = slots();
    let request = head::request(data, &mut room, &HeadLimits::DEFAULT).ok().flatten();
    // RFC 9110 section 7.6.2: a request that may go no further is answered, not forwarded.
    if let Some(request) = request.filter(|request| request.max_forwards != Some(0)) {
        for client_trusted in [false, true] {
            forwarded_request(&request, 0, client_trusted);
        }
        let path = request.target.path();
        if !request.target.slash_missing && path.len() > 1 {
            forwarded_request(&request, path.len(), false);
        }
    }
    for asked in METHODS {
        let mut room = slots();
        if let Ok(Some(response)) = head::response(data, &mut room, &HeadLimits::DEFAULT, asked) {
            for connection in [None, Some(Persistence::KeepAlive), Some(Persistence::Close)] {
                forwarded_response(&response, asked, connection);
            }
        }
    }
}

fn forwarded_request(request: &Request<'_, '_>, strip_bytes: usize, client_trusted: bool) {
    let edits = RequestEdits {
        strip_bytes,
        client_address: Some(b"192.0.2.7"),
        client_trusted,
        host_fallback: "fallback.example",
        via: None,
        request_id: None,
    };
    let mut out = Vec::new();
    forward::request(&mut out, request, &edits);
    let mut room = slots();
    let sent =
        head::request(&out, &mut room, &WIDE).expect("what is sent is accepted").expect("and complete");
    assert_eq!((sent.head_bytes, sent.version), (out.len(), Version::Http11));
    assert_eq!((sent.method, sent.method_text), (request.method, request.method_text));
    assert_eq!(sent.framing, request.framing);
    assert_eq!(sent.expects_continue, request.expects_continue);
    assert_eq!(sent.upgrades, request.upgrades);
    assert_eq!(sent.persistence, Persistence::KeepAlive);
    if strip_bytes == 0 {
        assert_eq!(sent_target(&sent.target), sent_target(&request.target));
    } else {
        assert!(sent.target.path().starts_with(b"/"));
    }
    let asked = request.authority.map_or(&b"fallback.example"[..], |authority| authority.text);
    assert_eq!(sent.authority.map(|authority| authority.text), Some(asked));
    let addresses = values(sent.fields, "x-forwarded-for");
    assert_eq!(addresses.len(), 1);
    assert!(addresses[0].ends_with(b"192.0.2.7") && (client_trusted || addresses[0] == b"192.0.2.7"));
    let count = |name| sent.fields.iter().filter(|field| classify(field.name) == name).count();
    // A trusted peer's own are kept, however many. A 1.0 client that names no host has none to be told of.
    let most = if client_trusted { usize::MAX } else { 1 };
    assert!((1..=most).contains(&count(Name::ForwardedProto)));
    assert!((usize::from(request.authority.is_some())..=most).contains(&count(Name::ForwardedHost)));
    nothing_of_the_last_hop(request.fields, sent.fields, request.upgrades);
}

fn forwarded_response(response: &Response<'_, '_>, asked: Method, connection: Option<Persistence>) {
    // As a 1.1 client is answered.
    let framing = if response.framing == Framing::UntilClose { Framing::Chunked } else { response.framing };
    let upgrades = response.status == 101;
    let edits = ResponseEdits { framing, connection: if upgrades { None } else { connection }, upgrades };
    let mut out = Vec::new();
    forward::response(&mut out, response, &edits);
    let mut room = slots();
    let sent = head::response(&out, &mut room, &WIDE, asked)
        .expect("what is sent is accepted")
        .expect("and complete");
    assert_eq!((sent.head_bytes, sent.version), (out.len(), Version::Http11));
    assert_eq!((sent.status, sent.reason), (response.status, response.reason));
    assert_eq!(sent.framing, framing);
    if !matches!(response.status, 100..=199 | 204) {
        assert_eq!(sent.length_hint, response.length_hint);
    }
    assert!(
        values(sent.fields, "content-length").len() + values(sent.fields, "transfer-encoding").len() <= 1
    );
    if !upgrades {
        assert_eq!(sent.persistence, connection.unwrap_or(Persistence::KeepAlive));
    }
    nothing_of_the_last_hop(response.fields, sent.fields, upgrades);
}

/// RFC 9110 section 7.6.1: what spoke of one connection stays there, and every other field goes on, in its order.
fn nothing_of_the_last_hop(came: &[Field<'_>], sent: &[Field<'_>], upgrades: bool) {
    for field in sent {
        match classify(field.name) {
            Name::KeepAlive | Name::ProxyConnection | Name::ProxyCredentials => {
                panic!("{} was sent on", field.name)
            }
            Name::Upgrade => assert!(upgrades),
            Name::Te => assert!(field.value.eq_ignore_ascii_case(b"trailers")),
            _ => {}
        }
    }
    let options = values(came, "connection");
    let named = |name: &str| {
        let mut parts = options.iter().flat_map(|value| value.split(|&byte| byte == b','));
        parts.any(|part| part.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    };
    let end_to_end = |fields: &[Field<'_>]| -> Vec<(String, Vec<u8>)> {
        let kept = fields.iter().filter(|field| classify(field.name) == Name::Other && !named(field.name));
        // `Via` is added where it is switched on.
        let kept = kept.filter(|field| !field.name.eq_ignore_ascii_case("via"));
        kept.map(|field| (field.name.to_owned(), field.value.to_vec())).collect()
    };
    assert_eq!(end_to_end(came), end_to_end(sent));
    let leaked = sent.iter().find(|field| classify(field.name) == Name::Other && named(field.name));
    assert!(leaked.is_none(), "named in Connection and sent on: {leaked:?}");
}
