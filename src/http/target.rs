//! The request-target: its form, its path, and the rest after a stripped prefix (RFC 9112 section 3.2).
//!
//! A target is judged and cut, never decoded or normalised: a backend gets what the client sent.

use super::authority::{self, Authority};
use super::local_reply::LocalReply;

/// A request-target that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'b> {
    /// The text for the backend: path and query, octet by octet as received; `/` if an absolute-form had no
    /// path (`/?q` for a query alone is `path_and_query` = `?q` with [`Target::slash_missing`]); `*` for
    /// OPTIONS.
    pub path_and_query: &'b [u8],
    /// The absolute-form had no path: a `/` is written before `path_and_query`.
    pub slash_missing: bool,
    /// The authority of an absolute-form; it replaces Host.
    pub authority: Option<Authority<'b>>,
}

impl<'b> Target<'b> {
    /// The path alone, for the matching of routes; `/` if there was none; `*` matches only routes with prefix
    /// `/`.
    pub fn path(&self) -> &'b [u8] {
        if self.slash_missing {
            return b"/";
        }
        let end = memchr::memchr(b'?', self.path_and_query).unwrap_or(self.path_and_query.len());
        &self.path_and_query[..end]
    }
}

/// Judges a request-target for its method.
///
/// # Errors
/// 400 for a form that is not allowed (fragment, raw space or control byte, relative path, `*` without
/// OPTIONS), 501 for CONNECT.
pub fn judge<'b>(method: &str, target: &'b [u8]) -> Result<Target<'b>, LocalReply> {
    // RFC 9112 section 3.2: no white space (nor control octets) in a target, and no fragment, which is never
    // sent. A fold without an early exit, so that the compiler can vectorise it.
    if target.iter().fold(false, |bad, &b| bad | matches!(b, 0..=b' ' | b'#' | 0x7f)) {
        return Err(LocalReply::bad_request("forbidden octet in the request target"));
    }
    // RFC 9110 section 9.3.6: CONNECT asks for a tunnel, which a reverse proxy does not offer.
    if method == "CONNECT" {
        return Err(LocalReply { status: 501, reason: "CONNECT is not served" });
    }
    match target {
        // RFC 9112 section 3.2.1: origin-form.
        [b'/', ..] => Ok(Target { path_and_query: target, slash_missing: false, authority: None }),
        // RFC 9112 section 3.2.4: asterisk-form is for OPTIONS alone.
        b"*" if method == "OPTIONS" => {
            Ok(Target { path_and_query: target, slash_missing: false, authority: None })
        }
        b"*" => Err(LocalReply::bad_request("target * without OPTIONS")),
        _ => absolute(method, target),
    }
}

/// RFC 9112 section 3.2.2: absolute-form, of an `http` or `https` URI.
fn absolute<'b>(method: &str, target: &'b [u8]) -> Result<Target<'b>, LocalReply> {
    let behind = strip_scheme(target, b"http://").or_else(|| strip_scheme(target, b"https://"));
    let behind = behind.ok_or(LocalReply::bad_request("malformed request target"))?;
    let authority_end = memchr::memchr2(b'/', b'?', behind).unwrap_or(behind.len());
    let (authority, path_and_query) = behind.split_at(authority_end);
    let authority =
        authority::parse(authority).ok_or(LocalReply::bad_request("malformed authority in the target"))?;
    let authority = Some(authority);
    Ok(match path_and_query {
        // RFC 9112 section 3.2.4: OPTIONS of a URI without path and query is forwarded as `*` by the last
        // proxy.
        [] if method == "OPTIONS" => Target { path_and_query: b"*", slash_missing: false, authority },
        // RFC 9112 section 3.2.1: an empty path is sent as `/`.
        [] => Target { path_and_query: b"/", slash_missing: false, authority },
        [first, ..] => Target { path_and_query, slash_missing: *first != b'/', authority },
    })
}

/// The target after that scheme, whose case is ignored (RFC 3986 section 3.1).
fn strip_scheme<'b>(target: &'b [u8], scheme: &[u8]) -> Option<&'b [u8]> {
    let (front, behind) = target.split_at_checked(scheme.len())?;
    front.eq_ignore_ascii_case(scheme).then_some(behind)
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn taken() {
        // method, target, text sent, whether a slash is written before it, path, authority
        type Case = (&'static str, &'static [u8], &'static [u8], bool, &'static [u8], Option<&'static [u8]>);
        let cases: &[Case] = &[
            ("GET", b"/", b"/", false, b"/", None),
            ("GET", b"/a/b?c=d?e", b"/a/b?c=d?e", false, b"/a/b", None),
            ("GET", b"/?q", b"/?q", false, b"/", None),
            ("GET", b"//a/../%2e/", b"//a/../%2e/", false, b"//a/../%2e/", None),
            ("GET", b"/\"<>\\^`{|}", b"/\"<>\\^`{|}", false, b"/\"<>\\^`{|}", None),
            ("GET", b"/caf\xe9\xff\x80", b"/caf\xe9\xff\x80", false, b"/caf\xe9\xff\x80", None),
            ("GET", b"/http://a/", b"/http://a/", false, b"/http://a/", None),
            ("OPTIONS", b"*", b"*", false, b"*", None),
            ("OPTIONS", b"/a", b"/a", false, b"/a", None),
            ("GET", b"http://a", b"/", false, b"/", Some(b"a")),
            ("GET", b"http://a/", b"/", false, b"/", Some(b"a")),
            ("GET", b"HTTP://A:80/x?y", b"/x?y", false, b"/x", Some(b"A:80")),
            ("GET", b"hTTps://[::1]:1/x", b"/x", false, b"/x", Some(b"[::1]:1")),
            ("GET", b"http://a?q=/", b"?q=/", true, b"/", Some(b"a")),
            ("GET", b"http://a?", b"?", true, b"/", Some(b"a")),
            ("OPTIONS", b"http://a", b"*", false, b"*", Some(b"a")),
            ("OPTIONS", b"http://a?q", b"?q", true, b"/", Some(b"a")),
            ("OPTIONS", b"http://a/", b"/", false, b"/", Some(b"a")),
        ];
        for &(method, target, sent, slash_missing, path, authority) in cases {
            let name = target.escape_ascii();
            let read = judge(method, target).unwrap_or_else(|reply| panic!("{name}: {reply:?}"));
            assert_eq!((read.path_and_query, read.slash_missing), (sent, slash_missing), "{name}");
            assert_eq!(read.path(), path, "{name}");
            assert_eq!(read.authority.map(|authority| authority.text), authority, "{name}");
        }
    }

    #[test]
    fn refused() {
        let cases: &[(&str, &[u8], u16)] = &[
            ("GET", b"", 400),
            ("GET", b"a", 400),
            ("GET", b"a/b", 400),
            ("GET", b"?q", 400),
            ("GET", b"*", 400),
            ("POST", b"*", 400),
            ("OPTIONS", b"**", 400),
            ("OPTIONS", b"*?q", 400),
            ("GET", b"/#", 400),
            ("GET", b"/a#b", 400),
            ("GET", b"http://a/#b", 400),
            ("GET", b"/a b", 400),
            ("GET", b"/a\tb", 400),
            ("GET", b"/\0", 400),
            ("GET", b"/\x1f", 400),
            ("GET", b"/\x7f", 400),
            ("GET", b"/\r", 400),
            ("GET", b"/\n", 400),
            ("GET", b"http://", 400),
            ("GET", b"http:///x", 400),
            ("GET", b"http://?x", 400),
            ("GET", b"http://:80/", 400),
            ("GET", b"http://u@a/", 400),
            ("GET", b"http://a\\b/", 400),
            ("GET", b"http://a:99999/", 400),
            ("GET", b"http:/a", 400),
            ("GET", b"http:a", 400),
            ("GET", b"ftp://a/", 400),
            ("GET", b"ws://a/", 400),
            ("GET", b"a:80", 400),
            ("CONNECT", b"a:443", 501),
            ("CONNECT", b"/", 501),
            ("connect", b"a:443", 400),
        ];
        for &(method, target, status) in cases {
            let reply = judge(method, target).expect_err(&target.escape_ascii().to_string());
            assert_eq!(reply.status, status, "{}", target.escape_ascii());
        }
    }
}
