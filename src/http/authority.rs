//! The authority of a request: host and port, from Host or an absolute-form target (RFC 9110 section 4.2,
//! 7.2).
//!
//! Checks whether the text is well formed, never whether the name exists or is served here. Nothing is
//! decoded.

use super::field::octets;
use std::net::Ipv6Addr;

/// A well-formed `uri-host [ ":" port ]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'b> {
    /// The whole text as received.
    pub text: &'b [u8],
    /// The host alone (an IPv6 literal keeps its brackets), in its original case.
    pub host: &'b [u8],
    /// The port, if there is one (an empty port counts as none).
    pub port: Option<u16>,
}

/// unreserved / sub-delims (RFC 3986 section 3.2.2); pct-encoded is checked at each `%`.
static HOST_OCTETS: [bool; 256] = octets(b"-._~!$&'()*+,;=");

/// Parses an authority; `None` if it is malformed (empty host, bad octets, user information, port over
/// 65535).
pub fn parse(text: &[u8]) -> Option<Authority<'_>> {
    let host_end = if text.first() == Some(&b'[') { literal_end(text)? } else { name_end(text)? };
    // RFC 9110 section 4.2.1: an http URI with an empty host is invalid.
    if host_end == 0 {
        return None;
    }
    let (host, behind) = text.split_at(host_end);
    let port = match behind {
        [] | [b':'] => None,
        [b':', digits @ ..] => Some(port(digits)?),
        // This includes user information (`@`): RFC 9110 section 4.2.4 wants it treated as an error.
        _ => return None,
    };
    Some(Authority { text, host, port })
}

/// The end of a registered name or an IPv4 address: the first octet that cannot be part of it.
fn name_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&octet) = text.get(at) {
        if HOST_OCTETS[usize::from(octet)] {
            at += 1;
        } else if octet == b'%' {
            // RFC 3986 section 2.1: pct-encoded = "%" HEXDIG HEXDIG.
            let hex = text.get(at + 1..at + 3)?;
            if !hex.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            at += 3;
        } else {
            break;
        }
    }
    Some(at)
}

/// The end of an IPv6 literal, brackets included. `IPvFuture` and zones (RFC 3986 section 3.2.2, RFC 6874)
/// name nothing that a reverse proxy could serve: malformed.
fn literal_end(text: &[u8]) -> Option<usize> {
    let close = text.iter().position(|&b| b == b']')?;
    let address = std::str::from_utf8(text.get(1..close)?).ok()?;
    address.parse::<Ipv6Addr>().ok()?;
    Some(close + 1)
}

/// `1*DIGIT` up to 65535 (RFC 3986 section 3.2.3 sets no bound, TCP does).
fn port(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0_u16, |value, &b| {
        let digit = b.is_ascii_digit().then(|| u16::from(b - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn well_formed() {
        let cases: &[(&str, &str, Option<u16>)] = &[
            ("a", "a", None),
            ("Example.COM", "Example.COM", None),
            ("example.com.", "example.com.", None),
            ("my_host-1~x", "my_host-1~x", None),
            ("a%20b:1", "a%20b", Some(1)),
            ("a!$&'()*+,;=b", "a!$&'()*+,;=b", None),
            ("127.0.0.1:8080", "127.0.0.1", Some(8080)),
            ("a:", "a", None),
            ("a:0", "a", Some(0)),
            ("a:65535", "a", Some(65535)),
            ("a:00080", "a", Some(80)),
            ("[::1]", "[::1]", None),
            ("[::1]:", "[::1]", None),
            ("[2001:DB8::7]:80", "[2001:DB8::7]", Some(80)),
            ("[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]", Some(80)),
        ];
        for &(text, host, port) in cases {
            let read = parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} refused"));
            assert_eq!((read.text, read.host, read.port), (text.as_bytes(), host.as_bytes(), port), "{text}");
        }
    }

    #[test]
    fn malformed() {
        let cases: &[&[u8]] = &[
            b"",
            b":",
            b":80",
            b"a:65536",
            b"a:99999999999999999999",
            b"a:-1",
            b"a:+1",
            b"a:8x",
            b"a:80:80",
            b"a: 80",
            b"u@a",
            b"u:p@a",
            b"@a",
            b"a b",
            b"a\tb",
            b"a/b",
            b"a?b",
            b"a#b",
            b"a\\b",
            b"a\"b",
            b"a<b",
            b"a^b",
            b"a`b",
            b"a|b",
            b"a{b}",
            b"a%",
            b"a%2",
            b"a%2g",
            b"a%zz",
            b"a\0",
            b"a\x7f",
            b"caf\xc3\xa9",
            b"a\x80",
            b"[]",
            b"[::1",
            b"::1",
            b"[::1]x",
            b"[::1]:x",
            b"[::1]]",
            b"[:::1]",
            b"[1.2.3.4]",
            b"[fe80::1%25eth0]",
            b"[v1.a]",
            b"[a]:80",
            b"a[::1]",
            b"a]",
        ];
        for &text in cases {
            assert_eq!(parse(text), None, "{}", text.escape_ascii());
        }
    }
}
