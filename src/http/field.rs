//! Field lines of a head: the slots they are parsed into and the names that Apex knows (RFC 9110 section 5).

use super::limits::FIELDS_CEILING;
use std::mem::MaybeUninit;

/// One field line: its name as it came and its value without the white space around it.
pub type Field<'b> = httparse::Header<'b>;

/// Room on the stack for the field lines of one head; never initialised, so it costs nothing.
pub type FieldSlots<'b> = [MaybeUninit<Field<'b>>; FIELDS_CEILING];

/// Fresh slots.
pub const fn slots<'b>() -> FieldSlots<'b> {
    [const { MaybeUninit::uninit() }; FIELDS_CEILING]
}

/// The field names that change what Apex does; every other one is passed on as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
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

/// Which name it is; case is ignored (RFC 9110 section 5.1).
#[inline]
pub fn classify(name: &str) -> Name {
    // The length picks one or two candidates, so most names cost one comparison or none.
    let (candidate, found) = match name.len() {
        2 => ("te", Name::Te),
        4 => ("host", Name::Host),
        6 => ("expect", Name::Expect),
        7 if matches!(name.as_bytes()[0], b'u' | b'U') => ("upgrade", Name::Upgrade),
        7 => ("trailer", Name::Trailer),
        10 if matches!(name.as_bytes()[0], b'c' | b'C') => ("connection", Name::Connection),
        10 => ("keep-alive", Name::KeepAlive),
        12 if matches!(name.as_bytes()[0], b'x' | b'X') => ("x-request-id", Name::RequestId),
        12 => ("max-forwards", Name::MaxForwards),
        14 => ("content-length", Name::ContentLength),
        15 => ("x-forwarded-for", Name::ForwardedFor),
        16 if matches!(name.as_bytes()[0], b'x' | b'X') => ("x-forwarded-host", Name::ForwardedHost),
        16 => ("proxy-connection", Name::ProxyConnection),
        17 if matches!(name.as_bytes()[0], b'x' | b'X') => ("x-forwarded-proto", Name::ForwardedProto),
        17 => ("transfer-encoding", Name::TransferEncoding),
        18 => ("proxy-authenticate", Name::ProxyCredentials),
        19 => ("proxy-authorization", Name::ProxyCredentials),
        _ => return Name::Other,
    };
    // The first letter rules out nearly every other name of that length without a call.
    let first_fits = name.as_bytes()[0] | 0x20 == candidate.as_bytes()[0];
    if first_fits && name.eq_ignore_ascii_case(candidate) { found } else { Name::Other }
}

/// The elements of a list value, without the white space around them; empty ones are kept (RFC 9110 section 5.6.1).
///
/// Quoted strings are not known here: none of the lists that Apex reads can hold one in a form that it takes.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// Is it a token, that is one or more token characters (RFC 9110 section 5.6.2)?
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| TOKEN_OCTETS[usize::from(b)])
}

static TOKEN_OCTETS: [bool; 256] = octets(b"!#$%&'*+-.^_`|~");

/// A table that holds letters, digits and `others`.
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
    fn tokens_are_what_the_grammar_says() {
        let token: Vec<u8> =
            (0..=255).filter(|b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b)).collect();
        for octet in 0..=255 {
            assert_eq!(is_token(&[octet]), token.contains(&octet), "{octet:#04x}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn elements_keep_the_empty_ones() {
        let read = |value: &'static [u8]| elements(value).collect::<Vec<_>>();
        assert_eq!(read(b""), [b""]);
        assert_eq!(read(b"a"), [b"a"]);
        assert_eq!(read(b" a ,\tb,,"), [b"a".as_slice(), b"b", b"", b""]);
    }
}
