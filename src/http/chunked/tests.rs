//! Golden cases of the chunked coding, each read whole and split at every place, and bodies that are decoded
//! and encoded again.

use super::*;

/// Content, and the octets consumed through the last size line (`None` while more are needed).
type Outcome = Result<(Vec<u8>, Option<usize>), &'static str>;

/// Feeds `wire` in pieces that end at the offsets in `cuts`, as a connection would deliver it.
fn decode(wire: &[u8], cuts: &[usize]) -> Outcome {
    decode_by(Decoder::new(), wire, cuts)
}

fn decode_by(mut decoder: Decoder, wire: &[u8], cuts: &[usize]) -> Outcome {
    let mut content = Vec::new();
    let mut at = 0;
    for &end in cuts.iter().chain([&wire.len()]) {
        loop {
            let (used, found) = decoder.read(&wire[at..end]).map_err(|reply| {
                assert_eq!(reply.status, 400);
                assert_eq!(decoder.data_left(), 0);
                assert!(decoder.read(b"0\r\n").is_err(), "a broken body was taken up again");
                reply.reason
            })?;
            at += used;
            match found {
                Found::Trailers => {
                    assert_eq!(decoder.read(b"X: y\r\n\r\n"), Ok((0, Found::Trailers)));
                    return Ok((content, Some(at)));
                }
                Found::More => {
                    assert_eq!((at, decoder.data_left()), (end, 0));
                    break;
                }
                Found::Data => {
                    let left = usize::try_from(decoder.data_left()).unwrap();
                    assert!(left > 0);
                    let taken = left.min(end - at);
                    content.extend_from_slice(&wire[at..at + taken]);
                    decoder.take_data(taken as u64);
                    at += taken;
                    if at == end {
                        break;
                    }
                }
            }
        }
    }
    Ok((content, None))
}

/// Every way to split once, and octet by octet.
fn decode_all_ways(name: &str, wire: &[u8]) -> Outcome {
    decode_all_ways_by(Decoder::new(), name, wire)
}

fn decode_all_ways_by(decoder: Decoder, name: &str, wire: &[u8]) -> Outcome {
    let whole = decode_by(decoder, wire, &[]);
    for cut in 0..=wire.len() {
        assert_eq!(decode_by(decoder, wire, &[cut]), whole, "{name}: split at {cut}");
    }
    let every: Vec<usize> = (0..=wire.len()).collect();
    assert_eq!(decode_by(decoder, wire, &every), whole, "{name}: octet by octet");
    whole
}

#[test]
fn accepts() {
    /// Name, wire in, content out, octets consumed through the last size line.
    type Case = (&'static str, &'static [u8], &'static [u8], Option<usize>);
    let cases: &[Case] = &[
        ("empty body", b"0\r\n\r\n", b"", Some(3)),
        ("one chunk", b"5\r\nhello\r\n0\r\n\r\n", b"hello", Some(13)),
        ("two chunks", b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc", Some(16)),
        (
            "upper and lower case",
            b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n",
            b"01234567890123456789",
            Some(33),
        ),
        ("leading zeros", b"0000000000000003\r\nabc\r\n0000\r\n\r\n", b"abc", Some(29)),
        ("data that looks like framing", b"5\r\n0\r\n\r\n\r\n0\r\n", b"0\r\n\r\n", Some(13)),
        ("extension", b"1;a\r\nx\r\n0;b\r\n", b"x", Some(13)),
        ("extension with value", b"1;a=b;c=d\r\nx\r\n0\r\n", b"x", Some(17)),
        ("white space behind ; and around =", b"1; a =\tb;\tc= \"d\"\r\nx\r\n0\r\n", b"x", Some(24)),
        ("quoted value", b"1;a=\"b;\\\"c \x80\t\"\r\nx\r\n0\r\n", b"x", Some(22)),
        ("quoted value, another behind", b"1;a=\"\";b\r\nx\r\n0\r\n", b"x", Some(16)),
        ("unfinished", b"5\r\nhel", b"hel", None),
        ("unfinished size", b"5", b"", None),
        ("nothing", b"", b"", None),
    ];
    for (name, wire, content, used) in cases {
        assert_eq!(decode_all_ways(name, wire), Ok((content.to_vec(), *used)), "{name}");
    }
}

#[test]
fn refuses() {
    let size = "malformed chunk size";
    let large = "chunk size too large";
    let extension = "malformed chunk extension";
    let line_end = "chunk line not ended by CRLF";
    let data_end = "chunk data not ended by CRLF";
    let cases: &[(&str, &[u8], &str)] = &[
        ("no size", b"\r\n", size),
        ("no size, extension", b";a\r\n", size),
        ("plus", b"+5\r\nhello\r\n", size),
        ("minus", b"-5\r\nhello\r\n", size),
        ("0x", b"0x5\r\nhello\r\n", size),
        ("underscore", b"1_0\r\n", size),
        ("space before", b" 5\r\nhello\r\n", size),
        ("space behind", b"5 \r\nhello\r\n", size),
        ("tab behind", b"5\t\r\nhello\r\n", size),
        ("space before ;", b"5 ;a\r\nhello\r\n", size),
        ("comma", b"5,5\r\nhello\r\n", size),
        ("not hex", b"g\r\n", size),
        ("NUL", b"5\0\r\nhello\r\n", size),
        ("17 digits", b"00000000000000005\r\nhello\r\n", large),
        ("64 bits", b"8000000000000000\r\n", large),
        ("65 bits", b"10000000000000000\r\n", large),
        ("all bits", b"ffffffffffffffff\r\n", large),
        ("wraps to 5", b"10000000000000005\r\nhello\r\n", large),
        ("bare LF behind size", b"5\nhello\r\n", size),
        ("bare CR behind size", b"5\rhello\r\n", line_end),
        ("CR CR LF", b"5\r\r\nhello\r\n", line_end),
        ("bare LF behind the last size", b"0\n\n", size),
        ("data too long", b"5\r\nhello!\r\n0\r\n", data_end),
        ("data without CRLF", b"5\r\nhello0\r\n\r\n", data_end),
        ("data, bare LF", b"5\r\nhello\n0\r\n\r\n", data_end),
        ("data, bare CR", b"5\r\nhello\r0\r\n\r\n", data_end),
        ("empty line for a size", b"1\r\na\r\n\r\n0\r\n", size),
        ("empty extension", b"5;\r\nhello\r\n", extension),
        ("empty extension, another behind", b"5;;a\r\nhello\r\n", extension),
        ("extension without name", b"5;=b\r\nhello\r\n", extension),
        ("extension without value", b"5;a=\r\nhello\r\n", extension),
        ("space behind extension", b"5;a \r\nhello\r\n", extension),
        ("space before a second ;", b"5;a ;b\r\nhello\r\n", extension),
        ("space behind value", b"5;a=b \r\nhello\r\n", extension),
        ("bare LF in extension", b"5;a\nhello\r\n", extension),
        ("bare CR in extension", b"5;a\rb\r\nhello\r\n", line_end),
        ("NUL in extension", b"5;a\0\r\nhello\r\n", extension),
        ("control in extension", b"5;a=\x01\r\nhello\r\n", extension),
        ("DEL in quoted value", b"5;a=\"\x7f\"\r\nhello\r\n", extension),
        ("CRLF in quoted value", b"5;a=\"\r\n0\r\n\r\n\"\r\nhello\r\n", extension),
        ("CR behind a backslash", b"5;a=\"\\\r\n\"\r\nhello\r\n", extension),
        ("text behind quoted value", b"5;a=\"b\"c\r\nhello\r\n", extension),
        ("obs-text in a token", b"5;a=\x80\r\nhello\r\n", extension),
        ("extension of the last chunk", b"0;\r\n\r\n", extension),
    ];
    for (name, wire, case) in cases {
        assert_eq!(decode_all_ways(name, wire), Err(*case), "{name}");
    }
}

#[test]
fn sizes_of_responses_may_be_padded() {
    /// Name, wire in, content out or the violated rule.
    type Case<'a> = (&'a str, &'a [u8], Result<&'a [u8], &'a str>);
    let size = "malformed chunk size";
    let extension = "malformed chunk extension";
    let long = format!("5{}\r\n", " ".repeat(CHUNK_LINE_BYTES_MAX));
    let cases: &[Case<'_>] = &[
        ("none", b"5\r\nhello\r\n0\r\n", Ok(b"hello")),
        ("spaces", b"5  \r\nhello\r\n0     \r\n", Ok(b"hello")),
        ("tabs", b"5\t\r\nhello\r\n0\t \r\n", Ok(b"hello")),
        ("before an extension", b"5 ;a=b\r\nhello\r\n0\r\n", Ok(b"hello")),
        ("before", b" 5\r\nhello\r\n", Err(size)),
        ("within", b"1 0\r\n", Err(extension)),
        ("text behind", b"5 x\r\nhello\r\n", Err(extension)),
        ("bare LF behind", b"5 \nhello\r\n", Err(extension)),
        ("bare CR behind", b"5 \rhello\r\n", Err("chunk line not ended by CRLF")),
        ("behind an extension", b"5;a \r\nhello\r\n", Err(extension)),
        ("no size", b" \r\n", Err(size)),
        ("too much", long.as_bytes(), Err(LINE_TOO_LONG.reason)),
    ];
    for (name, wire, expected) in cases {
        let decoded = decode_all_ways_by(Decoder::of_response(), name, wire);
        let expected = expected.map(|content| (content.to_vec(), Some(wire.len())));
        assert_eq!(decoded, expected, "{name}");
    }
}

#[test]
fn the_largest_size_fits_63_bits() {
    for (line, size) in
        [(&b"7fffffffffffffff\r\n"[..], (1 << 63) - 1), (b"0FFFFFFFFFFFFFFF\r\n", (1 << 60) - 1)]
    {
        for cut in 0..line.len() {
            let mut decoder = Decoder::new();
            assert_eq!(decoder.read(&line[..cut]), Ok((cut, Found::More)));
            assert_eq!(decoder.data_left(), 0);
            assert_eq!(decoder.read(&line[cut..]), Ok((line.len() - cut, Found::Data)));
            assert_eq!(decoder.data_left(), size);
            decoder.take_data(size - 1);
            assert_eq!(decoder.read(b"\r\n"), Ok((0, Found::Data)));
        }
    }
}

#[test]
fn a_size_line_has_a_longest_length() {
    let line = |length: usize| format!("1;{}\r\nx\r\n0\r\n", "a".repeat(length - 2));
    let longest = line(CHUNK_LINE_BYTES_MAX);
    assert_eq!(decode_all_ways("longest", longest.as_bytes()), Ok((b"x".to_vec(), Some(longest.len()))));
    let over = line(CHUNK_LINE_BYTES_MAX + 1);
    assert_eq!(decode_all_ways("over", over.as_bytes()), Err(LINE_TOO_LONG.reason));
}

#[test]
fn extensions_have_a_limit_in_total_that_grows_with_content() {
    let chunk =
        |data: usize| format!("{data:x};{}\r\n{}\r\n", "a".repeat(900), "d".repeat(data)).into_bytes();
    let small = [chunk(1).repeat(19), b"0\r\n".to_vec()].concat();
    assert_eq!(decode(&small, &[]), Err(LINE_TOO_LONG.reason));
    assert_eq!(decode(&small, &[5000, 9000, 16_384]), Err(LINE_TOO_LONG.reason));
    // A plain line does not reduce the excess, whether it comes whole or in pieces.
    let mixed = [b"1\r\nx\r\n".to_vec(), chunk(1)].concat().repeat(19);
    assert_eq!(decode(&mixed, &[]), Err(LINE_TOO_LONG.reason));
    assert_eq!(decode(&mixed, &(0..mixed.len()).collect::<Vec<_>>()), Err(LINE_TOO_LONG.reason));
    let large = [chunk(1000).repeat(100), b"0\r\n".to_vec()].concat();
    assert!(decode(&large, &[]).is_ok());
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "took 6 octets of 5"))]
fn taking_too_much_breaks_the_body() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.read(b"5\r\nhello\r\n"), Ok((3, Found::Data)));
    decoder.take_data(6);
    assert_eq!(decoder.data_left(), 0);
    assert!(decoder.read(b"\n0\r\n").is_err());
}

#[test]
fn size_lines_are_written_in_lower_case_without_zeros() {
    for size in [1, 9, 10, 15, 16, 255, 256, 0xABCD, 65_536, (1 << 63) - 1, u64::MAX] {
        let mut out = b"before".to_vec();
        write_size_line(&mut out, size);
        assert_eq!(out, format!("before{size:x}\r\n").into_bytes());
    }
    assert_eq!(decode(LAST_CHUNK, &[]), Ok((Vec::new(), Some(LAST_CHUNK.len()))));
}

/// Xorshift64*: the same numbers in every run, so that a seed replays a failure.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % bound
    }

    fn cuts(&mut self, length: usize) -> Vec<usize> {
        let mut cuts: Vec<usize> = (0..self.below(12)).map(|_| self.below(length + 1)).collect();
        cuts.sort_unstable();
        cuts
    }
}

#[test]
fn what_was_decoded_is_coded_again() {
    let extensions = ["", "", ";a", ";a=b", "; x=\" ;\\\"\";y"];
    for seed in 1..=400 {
        let mut numbers = Numbers(seed);
        let (mut wire, mut content) = (Vec::new(), Vec::new());
        for _ in 0..numbers.below(6) {
            let data: Vec<u8> = (0..=numbers.below(40)).map(|_| b"\r\n0;a5"[numbers.below(6)]).collect();
            let extension = extensions[numbers.below(extensions.len())];
            wire.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
            wire.extend_from_slice(&data);
            wire.extend_from_slice(b"\r\n");
            content.extend_from_slice(&data);
        }
        wire.extend_from_slice(LAST_CHUNK);
        let expected = Ok((content.clone(), Some(wire.len())));
        assert_eq!(decode(&wire, &numbers.cuts(wire.len())), expected, "seed {seed}");

        let mut again = Vec::new();
        for chunk in content.chunks(1 + numbers.below(30)) {
            write_size_line(&mut again, chunk.len() as u64);
            again.extend_from_slice(chunk);
            again.extend_from_slice(b"\r\n");
        }
        again.extend_from_slice(LAST_CHUNK);
        let expected = Ok((content, Some(again.len())));
        assert_eq!(decode(&again, &numbers.cuts(again.len())), expected, "seed {seed}, coded again");
    }
}

#[test]
fn broken_bodies_end_the_same_however_they_are_split() {
    let base = b"5;a=\"b\\\"\" ;c\r\nhello\r\n1a; q=v\r\nabcdefghijklmnopqrstuvwxyz\r\n00;e\r\n\r\n";
    for seed in 1..=2000 {
        let mut numbers = Numbers(seed);
        let mut wire = base.to_vec();
        for _ in 0..numbers.below(4) {
            let at = numbers.below(wire.len());
            wire[at] = b"\r\n; =\"\\0aF\0\x80"[numbers.below(12)];
        }
        let cuts = numbers.cuts(wire.len());
        assert_eq!(decode(&wire, &cuts), decode(&wire, &[]), "seed {seed}");
    }
}
