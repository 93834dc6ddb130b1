//! One line of the access log: the combined format, so that tools which know it read it as it is, and behind it
//! `key=value` pairs that say where the time went and who ended the exchange.
//!
//! ```text
//! client - - [date] "request line" status bytes "referer" "agent" route="…" backend="…" head_us=… connect_us=…
//! response_us=… total_us=… retries=… cause="…"
//! ```
//!
//! Whatever the peers sent, a line is one line of printable ASCII, its quotes are closed, and its length is bounded.
//! Nothing here knows a clock or a file, and nothing is allocated but what `out` grows by.

use super::Entry;

/// Octets of a request line that are logged: the targets that people write fit, a flood of 16 KiB targets does not fill the disk.
pub const REQUEST_LINE_BYTES_MAX: usize = 2048;

/// Octets of `Referer` that are logged: a referer is a target of somebody's, so it is given half of one.
pub const REFERER_BYTES_MAX: usize = 1024;

/// Octets of `User-Agent` that are logged: those of browsers have about 120, those of crawlers up to 300.
pub const USER_AGENT_BYTES_MAX: usize = 512;

/// Octets of the names that Apex gives itself (route, backend, cause): a host name has 253 at most, its port 6 more.
pub const NAME_BYTES_MAX: usize = 260;

/// Stands at the end of a piece that was cut.
const CUT: &[u8] = b"...";

/// What nginx, and so every tool, writes where there is nothing.
const NOTHING: &[u8] = b"-";

/// Appends the line of `entry`, its line end included.
pub fn write(out: &mut Vec<u8>, entry: &Entry<'_>) {
    // Address and date come from the kernel and the clock. They pass the escape too, so that no caller can break a line.
    escaped(out, entry.client, NAME_BYTES_MAX);
    out.extend_from_slice(b" - - [");
    escaped(out, entry.date.as_bytes(), NAME_BYTES_MAX);
    out.extend_from_slice(b"] ");
    quoted(out, entry.request_line, REQUEST_LINE_BYTES_MAX);
    out.push(b' ');
    number(out, u64::from(entry.status));
    out.push(b' ');
    number(out, entry.content_bytes);
    out.push(b' ');
    quoted(out, entry.referer, REFERER_BYTES_MAX);
    out.push(b' ');
    quoted(out, entry.user_agent, USER_AGENT_BYTES_MAX);
    out.extend_from_slice(b" route=");
    quoted(out, entry.route.as_bytes(), NAME_BYTES_MAX);
    out.extend_from_slice(b" backend=");
    quoted(out, entry.backend.as_bytes(), NAME_BYTES_MAX);
    out.extend_from_slice(b" head_us=");
    number(out, entry.head_us);
    out.extend_from_slice(b" connect_us=");
    number_or_nothing(out, entry.connect_us);
    out.extend_from_slice(b" response_us=");
    number_or_nothing(out, entry.response_us);
    out.extend_from_slice(b" total_us=");
    number(out, entry.total_us);
    out.extend_from_slice(b" retries=");
    number(out, u64::from(entry.retries));
    // Quoted, for a cause may be the few words of a refusal.
    out.extend_from_slice(b" cause=");
    quoted(out, entry.cause.as_bytes(), NAME_BYTES_MAX);
    if !entry.request_id.is_empty() {
        out.extend_from_slice(b" request_id=");
        quoted(out, entry.request_id, NAME_BYTES_MAX);
    }
    out.push(b'\n');
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn number_or_nothing(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => number(out, value),
        None => out.extend_from_slice(NOTHING),
    }
}

fn quoted(out: &mut Vec<u8>, piece: &[u8], bytes_max: usize) {
    out.push(b'"');
    if piece.is_empty() {
        out.extend_from_slice(NOTHING);
    } else {
        escaped(out, piece, bytes_max);
    }
    out.push(b'"');
}

/// The octets that stand in a line as they are; nginx's default escape leaves the same ones.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// Are all octets plain? Looked at in blocks, which compilers make vectors of.
fn all_plain(piece: &[u8]) -> bool {
    let plain = |block: &[u8]| block.iter().fold(true, |plain, &byte| plain & is_plain(byte));
    let (blocks, rest) = piece.as_chunks::<16>();
    let (halves, rest) = rest.as_chunks::<8>();
    blocks.iter().all(|block| plain(block)) && halves.iter().all(|half| plain(half)) && plain(rest)
}

/// Appends at most `bytes_max` octets of `piece`, each that is not plain as `\xHH`.
fn escaped(out: &mut Vec<u8>, piece: &[u8], bytes_max: usize) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let kept = &piece[..piece.len().min(bytes_max)];
    let mut rest = kept;
    // Nearly every piece is plain throughout: then it is copied whole, and only else is the place looked for.
    while !all_plain(rest)
        && let Some(place) = rest.iter().position(|&byte| !is_plain(byte))
    {
        out.extend_from_slice(&rest[..place]);
        let byte = rest[place];
        let hex = [b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        out.extend_from_slice(&hex);
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
    if kept.len() < piece.len() {
        out.extend_from_slice(CUT);
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
        // Six quoted pieces, and no quote within any.
        assert_eq!(text.matches('"').count(), 12, "{text}");
        assert_eq!(text.matches('\\').count(), text.matches("\\x").count(), "{text}");
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
