//! Properties of every head, golden or not: no prefix is accepted, nothing panics, no unclean field is
//! accepted. The golden tables are in `requests` and `responses`.

mod requests;
mod responses;

use super::*;
use crate::http::field::{is_token, slots};

/// Parses a request and passes it on; the slots live during the call.
fn read_request<T>(
    wire: &[u8],
    limits: &HeadLimits,
    then: impl FnOnce(Result<Option<Request<'_, '_>>, LocalReply>) -> T,
) -> T {
    let mut slots = slots();
    then(request(wire, &mut slots, limits))
}

/// Parses a response and passes it on.
fn read_response<T>(
    wire: &[u8],
    limits: &HeadLimits,
    asked: Method,
    then: impl FnOnce(Result<Option<Response<'_, '_>>, LocalReply>) -> T,
) -> T {
    let mut slots = slots();
    then(response(wire, &mut slots, limits, asked))
}

/// Nothing in an accepted head can be mistaken for the end of a line or of a string.
fn assert_clean(fields: &[Field<'_>], head: &[u8]) {
    assert!(head.ends_with(b"\r\n\r\n"), "{}", head.escape_ascii());
    for (at, _) in head.iter().enumerate().filter(|(_, b)| **b == b'\n') {
        assert_eq!(head[at - 1], b'\r', "bare LF: {}", head.escape_ascii());
    }
    for (at, _) in head.iter().enumerate().filter(|(_, b)| **b == b'\r') {
        assert_eq!(head[at + 1], b'\n', "bare CR: {}", head.escape_ascii());
    }
    for field in fields {
        assert!(is_token(field.name.as_bytes()), "{field:?}");
        let control = |b: &u8| *b != b'\t' && b.is_ascii_control();
        assert!(!field.value.iter().any(control), "{field:?}");
        assert!(!field.value.starts_with(b" ") && !field.value.ends_with(b" "), "{field:?}");
        assert!(!field.value.starts_with(b"\t") && !field.value.ends_with(b"\t"), "{field:?}");
    }
}

fn assert_request_clean(wire: &[u8], request: &Request<'_, '_>) {
    assert_clean(request.fields, &wire[..request.head_bytes]);
    assert!(is_token(request.method_text.as_bytes()));
    let forbidden = |b: &u8| *b <= b' ' || *b == 0x7f || *b == b'#';
    assert!(!request.target_text.iter().any(forbidden), "{}", wire.escape_ascii());
    assert!(!request.target.path().is_empty());
    assert!(request.version == Version::Http10 || request.authority.is_some());
    assert!(request.framing != Framing::UntilClose);
}

#[test]
fn no_prefix_of_a_request_is_taken() {
    for case in requests::TAKEN {
        let wire = case.wire;
        for end in 0..wire.len() {
            read_request(&wire[..end], &HeadLimits::DEFAULT, |read| {
                assert!(matches!(read, Ok(None)), "{}, {end} octets: {read:?}", case.name);
            });
        }
    }
    for case in requests::REFUSED {
        for end in 0..case.wire.len() {
            read_request(&case.wire[..end], &HeadLimits::DEFAULT, |read| {
                assert!(!matches!(read, Ok(Some(_))), "{}, {end} octets: {read:?}", case.name);
            });
        }
    }
}

#[test]
fn no_prefix_of_a_response_is_taken() {
    for case in responses::TAKEN {
        for end in 0..case.wire.len() {
            read_response(&case.wire[..end], &HeadLimits::DEFAULT, case.asked, |read| {
                assert!(matches!(read, Ok(None)), "{}, {end} octets: {read:?}", case.name);
            });
        }
    }
    for &(name, wire) in responses::REFUSED {
        for end in 0..wire.len() {
            read_response(&wire[..end], &HeadLimits::DEFAULT, Method::Get, |read| {
                assert!(!matches!(read, Ok(Some(_))), "{name}, {end} octets: {read:?}");
            });
        }
    }
}

#[test]
fn what_follows_a_head_changes_nothing() {
    for case in requests::TAKEN {
        let alone = requests::summary(case.wire);
        for surplus in [&b"GET / HTTP/1.1\r\n"[..], b"\n", b"\r\n", b"\0", b" x: y\r\n\r\n"] {
            let both = [case.wire, surplus].concat();
            assert_eq!(requests::summary(&both), alone, "{}", case.name);
        }
    }
}

/// xorshift64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

const SPLICES: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"#",
    b"\x7f",
    b"\x0b",
    b"\x80",
    b"\xc3\xa9",
    b"\r\n ",
    b"0",
    b"\n\n",
    b"Host: a\r\n",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.1",
    b"HTTP/1.2",
    b"*",
    b"http://",
];

/// Removes, inserts or doubles octets at a random place, one to four times.
fn mutate(wire: &[u8], random: &mut Random) -> Vec<u8> {
    let mut wire = wire.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(wire.len() + 1);
        let to = (at + random.below(6)).min(wire.len());
        match random.below(4) {
            0 => drop(wire.drain(at..to)),
            1 => drop(wire.splice(at..at, SPLICES[random.below(SPLICES.len())].iter().copied())),
            2 => drop(wire.splice(at..to, SPLICES[random.below(SPLICES.len())].iter().copied())),
            _ => wire.extend_from_within(at..to),
        }
    }
    wire
}

#[test]
fn mutated_heads_never_panic_and_what_is_taken_is_clean() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut taken = 0;
    for _ in 0..100 {
        for case in requests::TAKEN {
            let wire = mutate(case.wire, &mut random);
            read_request(&wire, &HeadLimits::DEFAULT, |read| {
                if let Ok(Some(request)) = read {
                    taken += 1;
                    assert_request_clean(&wire, &request);
                }
            });
        }
        for case in responses::TAKEN {
            let wire = mutate(case.wire, &mut random);
            read_response(&wire, &HeadLimits::DEFAULT, case.asked, |read| {
                if let Ok(Some(response)) = read {
                    taken += 1;
                    assert_clean(response.fields, &wire[..response.head_bytes]);
                    assert!(!response.reason.iter().any(|b| *b != b'\t' && b.is_ascii_control()));
                }
            });
        }
    }
    // The mutations are gentle enough that many heads are still accepted.
    assert!(taken > 1000, "{taken}");
}
