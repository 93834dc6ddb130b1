//! One line of the access log: the combined format, so that existing tools can read it, followed by
//! `key=value` pairs with the times of the exchange and the reason of its end.
//!
//! ```text
//! client - - [date] "request line" status bytes "referer" "agent" route="…" backend="…" head_us=… connect_us=…
//! response_us=… total_us=… retries=… [tried="…"] cause="…"
//! ```
//!
//! Whatever the peers sent, a line is one line of printable ASCII, its quotes are balanced, and its length is
//! bounded. Few lines need an escape, so each is first written unescaped and checked as a whole; a line that
//! fails the check is written again piece by piece. Nothing here knows a clock or a file, and only the growth
//! of `out` allocates.

use super::Entry;

/// Octets of a request line that are logged: usual targets fit, and a flood of 16 KiB targets does not fill
/// the disk.
pub const REQUEST_LINE_BYTES_MAX: usize = 2048;

/// Octets of `Referer` that are logged: half of the limit of a request line.
pub const REFERER_BYTES_MAX: usize = 1024;

/// Octets of `User-Agent` that are logged: browsers send about 120, crawlers up to 300.
pub const USER_AGENT_BYTES_MAX: usize = 512;

/// Octets of each text of Apex's own (route, backend, cause): a host name has at most 253, its port 6 more.
pub const NAME_BYTES_MAX: usize = 260;

/// Octets of the list of endpoints that failed.
pub const TRIED_BYTES_MAX: usize = 1024;

/// Marks the end of a truncated piece.
const CUT: &[u8] = b"...";

/// Written for a missing value, as in nginx, which tools expect.
const NOTHING: &[u8] = b"-";

/// The quoted pieces of every line; failed endpoints and a request id add one each.
const PIECES_QUOTED: usize = 6;

/// Appends the line of `entry`, its line end included.
pub fn write(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let start = out.len();
    let quotes = assemble::<false>(out, entry);
    // Address, date and names are checked with the rest, so that no caller can break a line.
    if !holds(out.get(start..).unwrap_or_default(), quotes) {
        out.truncate(start);
        assemble::<true>(out, entry);
    }
    out.push(b'\n');
}

// The processor's cache holds other things when a line is written: little code is faster here than few
// instructions.

/// Appends the line without its end; returns the number of quotes that belong to the line itself.
#[inline(never)]
fn assemble<const ESCAPES: bool>(out: &mut Vec<u8>, entry: &Entry<'_>) -> usize {
    piece::<ESCAPES>(out, entry.client, NAME_BYTES_MAX);
    out.extend_from_slice(b" - - [");
    piece::<ESCAPES>(out, entry.date.as_bytes(), NAME_BYTES_MAX);
    out.extend_from_slice(b"] \"");
    piece::<ESCAPES>(out, entry.request_line, REQUEST_LINE_BYTES_MAX);
    out.extend_from_slice(b"\" ");
    number(out, u64::from(entry.status));
    out.push(b' ');
    number(out, entry.content_bytes);
    out.extend_from_slice(b" \"");
    piece::<ESCAPES>(out, entry.referer, REFERER_BYTES_MAX);
    out.extend_from_slice(b"\" \"");
    piece::<ESCAPES>(out, entry.user_agent, USER_AGENT_BYTES_MAX);
    out.extend_from_slice(b"\" route=\"");
    piece::<ESCAPES>(out, entry.route.as_bytes(), NAME_BYTES_MAX);
    out.extend_from_slice(b"\" backend=\"");
    piece::<ESCAPES>(out, entry.backend.as_bytes(), NAME_BYTES_MAX);
    out.extend_from_slice(b"\" head_us=");
    number(out, entry.head_us);
    out.extend_from_slice(b" connect_us=");
    number_or_nothing(out, entry.connect_us);
    out.extend_from_slice(b" response_us=");
    number_or_nothing(out, entry.response_us);
    out.extend_from_slice(b" total_us=");
    number(out, entry.total_us);
    out.extend_from_slice(b" retries=");
    number(out, u64::from(entry.retries));
    let mut quoted = PIECES_QUOTED;
    if !entry.tried.is_empty() {
        quoted += 1;
        out.extend_from_slice(b" tried=\"");
        piece::<ESCAPES>(out, entry.tried.as_bytes(), TRIED_BYTES_MAX);
        out.push(b'"');
    }
    // Quoted, because a cause may have several words.
    out.extend_from_slice(b" cause=\"");
    piece::<ESCAPES>(out, entry.cause.as_bytes(), NAME_BYTES_MAX);
    out.push(b'"');
    if entry.request_id.is_empty() {
        return 2 * quoted;
    }
    out.extend_from_slice(b" request_id=\"");
    piece::<ESCAPES>(out, entry.request_id, NAME_BYTES_MAX);
    out.push(b'"');
    2 * (quoted + 1)
}

/// Appends the front of a piece, up to its limit in a line.
#[inline(never)]
fn piece<const ESCAPES: bool>(out: &mut Vec<u8>, piece: &[u8], bytes_max: usize) {
    let kept = if piece.is_empty() { NOTHING } else { piece.get(..bytes_max).unwrap_or(piece) };
    if ESCAPES {
        escape(out, kept);
    } else {
        out.extend_from_slice(kept);
    }
    if kept.len() < piece.len() {
        out.extend_from_slice(CUT);
    }
}

#[inline(never)]
fn number(out: &mut Vec<u8>, value: u64) {
    // Most times within an exchange are 0, because they begin and end in one turn.
    if value == 0 {
        out.push(b'0');
        return;
    }
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn number_or_nothing(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => number(out, value),
        None => out.extend_from_slice(NOTHING),
    }
}

/// Octets that a line may contain, possibly only as its own quotes.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

/// Octets that could be mistaken for the end of a piece or for an escape; nginx's default escape leaves all
/// other printable ones.
const fn is_mark(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\')
}

/// The classes of octets at each position of a block, added up over many blocks. Compilers vectorise this.
#[derive(Default)]
struct Seen {
    strange: [u8; BLOCK_BYTES],
    marks: [u8; BLOCK_BYTES],
}

/// Octets that are checked together.
const BLOCK_BYTES: usize = 16;

impl Seen {
    #[inline]
    #[expect(clippy::needless_range_loop, reason = "of iterators, no vectors are made")]
    fn look(&mut self, block: &[u8; BLOCK_BYTES]) {
        for at in 0..BLOCK_BYTES {
            self.strange[at] |= u8::from(!is_printable(block[at]));
            // A count that saturates exceeds the number of any line's own quotes.
            self.marks[at] = self.marks[at].saturating_add(u8::from(is_mark(block[at])));
        }
    }
}

/// Whether every octet of a line is printable, and every mark is one of its own quotes.
fn holds(line: &[u8], quotes: usize) -> bool {
    let (blocks, rest) = line.as_chunks();
    let mut last = [b' '; BLOCK_BYTES];
    last[..rest.len()].copy_from_slice(rest);
    let mut seen = Seen::default();
    for block in blocks {
        seen.look(block);
    }
    seen.look(&last);
    seen.strange == [0; BLOCK_BYTES] && seen.marks.map(usize::from).iter().sum::<usize>() == quotes
}

/// Appends `piece`, with `\xHH` for each octet that could be mistaken for syntax of the line.
fn escape(out: &mut Vec<u8>, piece: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in piece {
        if is_printable(byte) && !is_mark(byte) {
            out.push(byte);
        } else {
            let digit = |value: u8| DIGITS[usize::from(value)];
            out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry<'static> = Entry {
        client: b"192.0.2.7",
        date: "22/Nov/2026:19:51:00 +0000",
        request_line: b"GET /a?b=c HTTP/1.1",
        status: 200,
        content_bytes: 5120,
        referer: b"http://example.com/",
        user_agent: b"curl/8.5.0",
        route: "my-api",
        backend: "127.0.0.1:9001",
        head_us: 12,
        connect_us: Some(340),
        response_us: Some(5600),
        total_us: 6100,
        retries: 1,
        tried: "",
        cause: "-",
        request_id: b"",
    };

    fn line(entry: &Entry<'_>) -> String {
        let mut out = Vec::new();
        write(&mut out, entry);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plain_exchange() {
        assert_eq!(
            line(&ENTRY),
            "192.0.2.7 - - [22/Nov/2026:19:51:00 +0000] \"GET /a?b=c HTTP/1.1\" 200 5120 \"http://example.com/\" \
             \"curl/8.5.0\" route=\"my-api\" backend=\"127.0.0.1:9001\" head_us=12 connect_us=340 response_us=5600 \
             total_us=6100 retries=1 cause=\"-\"\n"
        );
    }

    #[test]
    fn what_was_never_known_is_a_dash() {
        let entry = Entry {
            client: b"::1",
            request_line: b"",
            status: 408,
            content_bytes: 0,
            referer: b"",
            user_agent: b"",
            route: "",
            backend: "",
            connect_us: None,
            response_us: None,
            retries: 0,
            cause: "request head too slow",
            ..ENTRY
        };
        assert_eq!(
            line(&entry),
            "::1 - - [22/Nov/2026:19:51:00 +0000] \"-\" 408 0 \"-\" \"-\" route=\"-\" backend=\"-\" head_us=12 \
             connect_us=- response_us=- total_us=6100 retries=0 cause=\"request head too slow\"\n"
        );
    }

    #[test]
    fn nothing_breaks_out_of_its_quotes_or_its_line() {
        for (raw, escape) in [
            (&b"a\"b"[..], r"a\x22b"),
            (b"a\\x22b", r"a\x5Cx22b"),
            (b"a\r\nb", r"a\x0D\x0Ab"),
            (b"a\tb\0", r"a\x09b\x00"),
            (b"\x1b[2J", r"\x1B[2J"),
            (b"\x7f\x80\xff", r"\x7F\x80\xFF"),
            ("é".as_bytes(), r"\xC3\xA9"),
            (b" ~!", " ~!"),
        ] {
            let text = line(&Entry { user_agent: raw, ..ENTRY });
            assert!(text.contains(&format!(" \"{escape}\" route=")), "{text}");
        }
    }

    #[test]
    fn every_octet_leaves_one_printable_line() {
        let all: Vec<u8> = (0..=255).collect();
        let entry = Entry {
            request_line: &all,
            referer: &all,
            user_agent: &all,
            route: "r\n\"",
            cause: "\u{85}",
            ..ENTRY
        };
        let text = line(&entry);
        assert!(text.ends_with('\n'));
        assert!(text[..text.len() - 1].bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text}");
        // No quote is inside a piece.
        assert_eq!(text.matches('"').count(), 12, "{text}");
        assert_eq!(text.matches('\\').count(), text.matches("\\x").count(), "{text}");
    }

    #[test]
    fn no_number_of_quotes_passes_for_those_of_the_line() {
        // In one position of many blocks, and in many positions: a count that wraps would reach the expected
        // value again.
        for distance in [1, 2, 15, 16, 17] {
            for count in 1..=REQUEST_LINE_BYTES_MAX / distance {
                let mark = if count % 2 == 0 { b'"' } else { b'\\' };
                let mut piece = vec![b'a'; REQUEST_LINE_BYTES_MAX];
                piece.iter_mut().step_by(distance).take(count).for_each(|byte| *byte = mark);
                let both = [&piece[..REFERER_BYTES_MAX], &piece].concat();
                let text = line(&Entry { request_line: &piece, referer: &both, user_agent: &piece, ..ENTRY });
                assert_eq!(text.matches('"').count(), 12, "{count} at a distance of {distance}");
                assert_eq!(text.matches('\\').count(), text.matches("\\x").count());
            }
        }
    }

    #[test]
    fn long_pieces_are_cut_and_say_so() {
        let text = line(&Entry { request_line: &[b'a'; REQUEST_LINE_BYTES_MAX], ..ENTRY });
        assert!(text.contains(&format!("\"{}\"", "a".repeat(REQUEST_LINE_BYTES_MAX))));
        let text = line(&Entry { request_line: &[b'a'; REQUEST_LINE_BYTES_MAX + 1], ..ENTRY });
        assert!(text.contains(&format!("\"{}...\"", "a".repeat(REQUEST_LINE_BYTES_MAX))));

        let worst = vec![0; 1 << 20];
        let entry = Entry { request_line: &worst, referer: &worst, user_agent: &worst, ..ENTRY };
        let most = 4 * (REQUEST_LINE_BYTES_MAX + REFERER_BYTES_MAX + USER_AGENT_BYTES_MAX) + 512;
        assert!(line(&entry).len() < most);
    }
}
