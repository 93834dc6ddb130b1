//! Field lines of a head: the slots they are parsed into and the names that Apex knows (RFC 9110 section 5).

use super::limits::FIELDS_CEILING;
use std::mem::MaybeUninit;

/// One field line: its name as received, and its value without surrounding white space.
pub type Field<'b> = httparse::Header<'b>;

/// Room on the stack for the field lines of one head; never initialised, so it costs nothing.
pub type FieldSlots<'b> = [MaybeUninit<Field<'b>>; FIELDS_CEILING];

/// Fresh slots.
pub const fn slots<'b>() -> FieldSlots<'b> {
    [const { MaybeUninit::uninit() }; FIELDS_CEILING]
}

/// The field names that change what Apex does; every other field is forwarded unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Date`
    Date,
    /// `Expect`
    Expect,
    /// `Host`
    Host,
    /// `Keep-Alive`
    KeepAlive,
    /// `Max-Forwards`
    MaxForwards,
    /// `Proxy-Authenticate` or `Proxy-Authorization`: for one hop between a client and its own proxy.
    ProxyCredentials,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `X-Request-Id`
    RequestId,
    /// `X-Forwarded-For`
    ForwardedFor,
    /// `X-Forwarded-Host`
    ForwardedHost,
    /// `X-Forwarded-Proto`
    ForwardedProto,
    /// Any other.
    Other,
}

/// Identifies a name; case is ignored (RFC 9110 section 5.1).
#[inline]
pub fn classify(name: &str) -> Name {
    let name = name.as_bytes();
    // Length and first letter rule out most unknown names.
    match (name.len(), name.first().map_or(0, |first| first | 0x20)) {
        (2, b't') if is(name, b"te") => Name::Te,
        (4, b'h') if is(name, b"host") => Name::Host,
        (4, b'd') if is(name, b"date") => Name::Date,
        (6, b'e') if is(name, b"expect") => Name::Expect,
        (7, b'u') if is(name, b"upgrade") => Name::Upgrade,
        (7, b't') if is(name, b"trailer") => Name::Trailer,
        (10, b'c') if is(name, b"connection") => Name::Connection,
        (10, b'k') if is(name, b"keep-alive") => Name::KeepAlive,
        (12, b'x') if is(name, b"x-request-id") => Name::RequestId,
        (12, b'm') if is(name, b"max-forwards") => Name::MaxForwards,
        (14, b'c') if is(name, b"content-length") => Name::ContentLength,
        (15, b'x') if is(name, b"x-forwarded-for") => Name::ForwardedFor,
        (16, b'x') if is(name, b"x-forwarded-host") => Name::ForwardedHost,
        (16, b'p') if is(name, b"proxy-connection") => Name::ProxyConnection,
        (17, b'x') if is(name, b"x-forwarded-proto") => Name::ForwardedProto,
        (17, b't') if is(name, b"transfer-encoding") => Name::TransferEncoding,
        (18, b'p') if is(name, b"proxy-authenticate") => Name::ProxyCredentials,
        (19, b'p') if is(name, b"proxy-authorization") => Name::ProxyCredentials,
        _ => Name::Other,
    }
}

/// Whether `name`, of at least as many octets, is this name in lower case. Compares words, because it runs
/// for every head.
#[inline]
fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    // This bit turns an upper-case letter into a lower-case one, and no other octet that a head may contain
    // into a letter or a hyphen.
    const CASE: u64 = 0x2020_2020_2020_2020;
    let word = |bytes: &[u8], at: usize| {
        let mut word = [0; 8];
        let part = &bytes[at..(at + 8).min(N)];
        word[..part.len()].copy_from_slice(part);
        u64::from_le_bytes(word) | CASE
    };
    // The last word overlaps the one before, so that no octets are left over.
    let last = N.saturating_sub(8);
    name.len() >= N
        && (word(name, 0) == word(lower, 0))
        && (N <= 16 || word(name, 8) == word(lower, 8))
        && (N <= 8 || word(name, last) == word(lower, last))
}

/// The elements of a list value, without surrounding white space; empty ones are kept (RFC 9110 section
/// 5.6.1).
///
/// Does not parse quoted strings: none of the lists that Apex reads can contain one in an accepted form.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// Whether that protocol of an Upgrade field is `h2c`, whatever follows its name (RFC 9110 section 7.8).
pub(super) fn is_h2c(protocol: &[u8]) -> bool {
    let Some((name, behind)) = protocol.split_at_checked(3) else { return false };
    name.eq_ignore_ascii_case(b"h2c") && !behind.first().is_some_and(|octet| is_token(&[*octet]))
}

/// Whether it is a token: one or more token characters (RFC 9110 section 5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| TOKEN_OCTETS[usize::from(b)])
}

static TOKEN_OCTETS: [bool; 256] = octets(b"!#$%&'*+-.^_`|~");

/// A table that contains letters, digits and `others`.
pub(super) const fn octets(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut octet = 0_u8;
    while octet < 128 {
        table[octet as usize] = octet.is_ascii_alphanumeric();
        octet += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_without_regard_to_case() {
        let known: &[(&str, Name)] = &[
            ("Connection", Name::Connection),
            ("Content-Length", Name::ContentLength),
            ("Date", Name::Date),
            ("Expect", Name::Expect),
            ("Host", Name::Host),
            ("Keep-Alive", Name::KeepAlive),
            ("Max-Forwards", Name::MaxForwards),
            ("Proxy-Authenticate", Name::ProxyCredentials),
            ("Proxy-Authorization", Name::ProxyCredentials),
            ("Proxy-Connection", Name::ProxyConnection),
            ("TE", Name::Te),
            ("Trailer", Name::Trailer),
            ("Transfer-Encoding", Name::TransferEncoding),
            ("Upgrade", Name::Upgrade),
            ("X-Forwarded-For", Name::ForwardedFor),
            ("X-Forwarded-Host", Name::ForwardedHost),
            ("X-Forwarded-Proto", Name::ForwardedProto),
            ("X-Request-Id", Name::RequestId),
        ];
        for &(name, expected) in known {
            assert_eq!(classify(name), expected, "{name}");
            assert_eq!(classify(&name.to_ascii_lowercase()), expected, "{name}");
            assert_eq!(classify(&name.to_ascii_uppercase()), expected, "{name}");
            assert_eq!(classify(&format!("{name}x")), Name::Other, "{name}x");
            assert_eq!(classify(&name[1..]), Name::Other, "{name} cut");
            assert_eq!(classify(&name.replacen(|_: char| true, "_", 1)), Name::Other, "{name} changed");
        }
        for name in ["", "Accept", "Cookie", "User-Agent", "Content_Length", "Transfer_Encoding"] {
            assert_eq!(classify(name), Name::Other, "{name}");
        }
    }

    #[test]
    fn no_octet_of_a_name_is_taken_for_another() {
        let known = ["te", "host", "expect", "upgrade", "connection", "max-forwards", "content-length"];
        let long = ["x-forwarded-for", "x-forwarded-host", "transfer-encoding", "proxy-authenticate"];
        for name in known.into_iter().chain(long).chain(["proxy-authorization"]) {
            for at in 0..name.len() {
                for octet in b'!'..=b'~' {
                    let mut other = name.to_owned();
                    other.replace_range(at..=at, &char::from(octet).to_string());
                    let same = other.eq_ignore_ascii_case(name);
                    assert_eq!(classify(&other) == classify(name), same, "{other}");
                }
            }
        }
    }

    #[test]
    fn tokens_are_what_the_grammar_says() {
        let token: Vec<u8> =
            (0..=255).filter(|b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b)).collect();
        for octet in 0..=255 {
            assert_eq!(is_token(&[octet]), token.contains(&octet), "{octet:#04x}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn h2c_is_known_with_whatever_stands_behind_it() {
        for protocol in ["h2c", "H2C", "h2c/1", "h2C/", "h2c /1", "h2c;a", "h2c h2c"] {
            assert!(is_h2c(protocol.as_bytes()), "{protocol}");
        }
        for protocol in ["", "h2", "h2cx", "h2c-14/1", "h3c", "websocket", "xh2c", "h/2c"] {
            assert!(!is_h2c(protocol.as_bytes()), "{protocol}");
        }
    }

    #[test]
    fn elements_keep_the_empty_ones() {
        let read = |value: &'static [u8]| elements(value).collect::<Vec<_>>();
        assert_eq!(read(b""), [b""]);
        assert_eq!(read(b"a"), [b"a"]);
        assert_eq!(read(b" a ,\tb,,"), [b"a".as_slice(), b"b", b"", b""]);
    }
}
