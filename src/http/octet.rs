//! The classes of octets in the grammar of HTTP (RFC 9110 section 5.5 and 5.6). It judges single octets only.

/// `tchar`, the octets of tokens (RFC 9110 section 5.6.2).
pub(super) const fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// The octets of a field value: visible octets, obs-text, SP and HTAB (RFC 9110 section 5.5).
pub(super) const fn is_value(octet: u8) -> bool {
    octet == b'\t' || (octet >= b' ' && octet != 0x7f)
}

/// SP or HTAB, the octets of optional white space (RFC 9110 section 5.6.3).
pub(super) const fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// The text without surrounding optional white space.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

/// The elements of a comma-separated list, without empty ones (RFC 9110 section 5.6.1.2).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&octet| octet == b',').map(trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_visible_and_hold_no_delimiter() {
        for octet in 0..=u8::MAX {
            let expected = octet.is_ascii_graphic() && !br#""(),/:;<=>?@[\]{}"#.contains(&octet);
            assert_eq!(is_token(octet), expected, "{octet:#x}");
        }
    }

    #[test]
    fn values_hold_no_control_octet_but_tab() {
        for octet in 0..=u8::MAX {
            assert_eq!(is_value(octet), octet == b'\t' || !octet.is_ascii_control(), "{octet:#x}");
        }
    }

    #[test]
    fn lists_lose_white_space_and_empty_elements() {
        let elements: Vec<&[u8]> = list(b" ,a,\tb c ,, d").collect();
        assert_eq!(elements, [&b"a"[..], b"b c", b"d"]);
        assert_eq!(list(b"").count(), 0);
    }
}
