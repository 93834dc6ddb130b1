//! Host patterns and path prefixes as a file spells them, and what each of them matches.
//!
//! Owns the spelling: what a file may contain, how it is normalised, and how a request's host is normalised
//! likewise. Never decodes or rewrites a path: elements are compared octet by octet (RFC 3986 section 6
//! equivalences are not applied).

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest host that can match a name, in octets; RFC 1035 section 2.3.4. Only any-host routes match a
/// longer one.
pub const HOST_BYTES_MAX: usize = 255;
/// The longest label of a name, in octets; RFC 1035 section 2.3.4.
const LABEL_BYTES_MAX: usize = 63;

/// The hosts that a route matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// One name or address, in lower case; an IPv6 address in brackets.
    Exact(String),
    /// `*.example.com`, held as `example.com` in lower case; one or more labels precede it.
    Wildcard(String),
    /// `*`: any host, and requests without one.
    Any,
}

/// A path prefix, matched by whole elements: `/api` matches `/api`, `/api/` and `/api/x`, not `/apix`.
///
/// Held without a trailing slash; empty for `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPrefix(String);

impl HostPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// What is wrong with it, as a message for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(name) = text.strip_prefix("*.") {
            let name = parse_host(name)?;
            if name.parse::<Ipv4Addr>().is_ok() || name.starts_with('[') {
                return Err("`*.` takes the labels of a name; an address has none".to_owned());
            }
            return Ok(Self::Wildcard(name));
        }
        parse_host(text).map(Self::Exact)
    }

    /// Whether it matches a request for `host` (without port, any case; `None`: the request names none).
    ///
    /// This is the rule for one pattern; a table finds the same by hash.
    pub fn takes(&self, host: Option<&[u8]>) -> bool {
        with_normal_host(host, |host| match (self, host) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Exact(name), Some(host)) => name.as_bytes() == host,
            (Self::Wildcard(name), Some(host)) => host
                .strip_suffix(name.as_bytes())
                .and_then(|labels| labels.strip_suffix(b"."))
                .is_some_and(|labels| !labels.is_empty()),
        })
    }

    /// The specificity: among patterns that match the same host, the greater number has precedence.
    pub fn exactness(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::Wildcard(name) => name.len(),
            Self::Exact(_) => usize::MAX,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => out.write_str(name),
            Self::Wildcard(name) => write!(out, "*.{name}"),
            Self::Any => out.write_str("*"),
        }
    }
}

impl PathPrefix {
    /// Parses a prefix.
    ///
    /// # Errors
    /// What is wrong with it, as a message for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("a path prefix starts with `/`: did you mean `/{text}`?"));
        }
        if text.contains('?') {
            return Err("a path prefix has no query: leave `?` and what follows out".to_owned());
        }
        if text.contains('#') {
            return Err("a path prefix has no fragment: leave `#` and what follows out".to_owned());
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!(
                "{bad:?} cannot stand in a request's path: write it percent-encoded, as clients send it"
            ));
        }
        if let Some(before) = text.trim_end_matches('/').strip_suffix('*') {
            let prefix = match before.trim_end_matches(['*', '/']) {
                "" => "/",
                prefix => prefix,
            };
            return Err(format!(
                "`*` is no wildcard here: a prefix takes all paths below it already, so write `{prefix}`"
            ));
        }
        // A final slash has no meaning, because `/api` matches `/api/` too. Two would be an empty element, or
        // a slip.
        let held = text.strip_suffix('/').unwrap_or(text);
        if held.ends_with('/') {
            return Err("a path prefix does not end in `//`".to_owned());
        }
        Ok(Self(held.to_owned()))
    }

    /// The text that is matched: without a trailing slash, empty for `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches `path` (without query).
    ///
    /// This is the rule for one prefix; a table finds the same by its index.
    pub fn takes(&self, path: &[u8]) -> bool {
        self.0.is_empty()
            || path.strip_prefix(self.0.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

/// Normalises the host of a request to the spelling of patterns (lower case, no trailing dot, the canonical
/// text of an IPv6 address) and passes it to `then`; `None` if no name can match it. Works on the stack,
/// because it runs once a request.
pub(super) fn with_normal_host<R>(host: Option<&[u8]>, then: impl FnOnce(Option<&[u8]>) -> R) -> R {
    let Some(host) = host else { return then(None) };
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.is_empty() || host.len() > HOST_BYTES_MAX {
        return then(None);
    }
    if host[0] != b'[' && !host.iter().any(u8::is_ascii_uppercase) {
        return then(Some(host));
    }
    let mut buffer = [0; HOST_BYTES_MAX];
    let length = fold(host, &mut buffer);
    then(Some(&buffer[..length]))
}

/// Writes the normalised `host` (at most `HOST_BYTES_MAX` octets) into `buffer` and returns its length.
#[cold]
fn fold(host: &[u8], buffer: &mut [u8; HOST_BYTES_MAX]) -> usize {
    // Without this, `[0:0:0:0:0:0:0:1]` would bypass a route for `[::1]`.
    if let Some(address) = ipv6_in_brackets(host) {
        let mut rest = &mut buffer[..];
        // The longest text of an address has 39 octets, so that this write cannot fail.
        if write!(rest, "[{address}]").is_ok() {
            let left = rest.len();
            return HOST_BYTES_MAX - left;
        }
    }
    let folded = &mut buffer[..host.len()];
    folded.copy_from_slice(host);
    folded.make_ascii_lowercase();
    host.len()
}

fn ipv6_in_brackets(host: &[u8]) -> Option<Ipv6Addr> {
    let inner = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inner).ok()?.parse().ok()
}

/// Parses a name or an address of a file: lower case, without a trailing dot, an IPv6 address in brackets.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    if text.starts_with('[') {
        return match ipv6_in_brackets(text.as_bytes()) {
            Some(address) => Ok(format!("[{address}]")),
            None if text.contains("]:") => Err(port_words()),
            None => Err(format!("`{text}` is no IPv6 address in brackets, such as `[::1]`")),
        };
    }
    refuse_other_kinds(text)?;
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.is_empty() {
        return Err("the host is empty".to_owned());
    }
    if name.len() > HOST_BYTES_MAX - 2 {
        return Err(format!("the host is longer than {} octets", HOST_BYTES_MAX - 2));
    }
    for label in name.split('.') {
        check_label(label, text)?;
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|octet| octet.is_ascii_digit()) && name.parse::<Ipv4Addr>().is_err() {
        return Err(format!("`{text}` ends in a number but is no IPv4 address"));
    }
    Ok(name)
}

fn port_words() -> String {
    "a host stands without its port: the port that a request names is ignored".to_owned()
}

/// Detects slips that deserve a better message than "bad octet".
fn refuse_other_kinds(text: &str) -> Result<(), String> {
    if text.contains("://") {
        return Err("a host stands alone, without a scheme such as `http://`".to_owned());
    }
    if text.contains('/') {
        return Err("a host stands alone: a path goes into `path_prefix`".to_owned());
    }
    if text.contains('*') {
        return Err("`*` stands alone or in the place of the first labels, as in `*.example.com`".to_owned());
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address stands in brackets: `[{text}]`"));
    }
    if text.contains(':') {
        return Err(port_words());
    }
    Ok(())
}

fn check_label(label: &str, text: &str) -> Result<(), String> {
    if label.is_empty() {
        let hint = match text.strip_prefix('.') {
            Some(rest) if !rest.starts_with('.') => format!(": did you mean `*.{rest}`?"),
            _ => String::new(),
        };
        return Err(format!("`{text}` has an empty label (a dot too many){hint}"));
    }
    if label.len() > LABEL_BYTES_MAX {
        return Err(format!("`{label}` is longer than the {LABEL_BYTES_MAX} octets of a label"));
    }
    match label.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
        None => Ok(()),
        Some(bad) if bad.is_ascii() => Err(format!("{bad:?} cannot stand in a host")),
        Some(bad) => {
            Err(format!("{bad:?} cannot stand in a host: write the name in its ASCII form (`xn--…`)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_read_and_written() {
        for (text, shown) in [
            ("*", "*"),
            ("*.Example.COM", "*.example.com"),
            ("*.com", "*.com"),
            ("Example.com", "example.com"),
            ("example.com.", "example.com"),
            ("*.example.com.", "*.example.com"),
            ("localhost", "localhost"),
            ("my_service-1", "my_service-1"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("1password.com", "1password.com"),
        ] {
            let pattern = HostPattern::parse(text).unwrap();
            assert_eq!(pattern.to_string(), shown, "{text}");
            assert_eq!(HostPattern::parse(shown).unwrap(), pattern, "{text}");
        }
    }

    #[test]
    fn host_patterns_refused() {
        let long_label = format!("{}.com", "a".repeat(64));
        let long_name = vec!["a".repeat(60); 5].join(".");
        for (text, word) in [
            ("", "empty"),
            (".", "empty"),
            ("*.", "empty"),
            ("a..b", "empty label"),
            (".example.com", "did you mean `*.example.com`"),
            ("example.com:80", "port"),
            ("[::1]:80", "port"),
            ("*.example.com:80", "port"),
            ("http://example.com", "scheme"),
            ("example.com/api", "path_prefix"),
            ("a.*.com", "first labels"),
            ("*a.com", "first labels"),
            ("**", "first labels"),
            ("*.*.com", "first labels"),
            ("::1", "`[::1]`"),
            ("[::1", "brackets"),
            ("[v1.x]", "brackets"),
            ("[fe80::1%eth0]", "brackets"),
            ("exa mple.com", "' '"),
            ("a@b.com", "'@'"),
            ("a%20b.com", "'%'"),
            ("bücher.example", "xn--"),
            ("10.0.0", "IPv4"),
            ("256.0.0.1", "IPv4"),
            ("*.0.0.1", "IPv4"),
            ("*.10.0.0.1", "labels of a name"),
            ("*.[::1]", "labels of a name"),
            (&long_label, "63"),
            (&long_name, "longer"),
        ] {
            let words = HostPattern::parse(text).unwrap_err();
            assert!(words.contains(word), "{text}: {words}");
        }
    }

    #[test]
    fn hosts_taken() {
        let many = format!("{}example.com", "a.".repeat(122));
        let too_many = format!("{}example.com", "a.".repeat(123));
        for (pattern, host, takes) in [
            ("example.com", Some("example.com"), true),
            ("example.com", Some("EXAMPLE.com."), true),
            ("example.com", Some("example.com.."), false),
            ("example.com", Some("a.example.com"), false),
            ("example.com", None, false),
            ("*.example.com", Some("a.example.com"), true),
            ("*.example.com", Some("a.B.Example.com"), true),
            ("*.example.com", Some("example.com"), false),
            ("*.example.com", Some(".example.com"), false),
            ("*.example.com", Some("aexample.com"), false),
            ("*.example.com", Some(many.as_str()), true),
            ("*.example.com", Some(too_many.as_str()), false),
            ("*", Some(too_many.as_str()), true),
            ("*", Some(""), true),
            ("*", None, true),
            ("[::1]", Some("[::1]"), true),
            ("[::1]", Some("[0:0::0001]"), true),
            ("[2001:db8::a]", Some("[2001:DB8::A]"), true),
            ("[::1]", Some("[::2]"), false),
            ("[::1]", Some("[Not an address"), false),
        ] {
            let read = HostPattern::parse(pattern).unwrap();
            assert_eq!(read.takes(host.map(str::as_bytes)), takes, "{pattern} {host:?}");
        }
    }

    #[test]
    fn prefixes_read_and_written() {
        for (text, held, shown) in [
            ("/", "", "/"),
            ("/api", "/api", "/api"),
            ("/api/", "/api", "/api"),
            ("/a//b", "/a//b", "/a//b"),
            ("//b", "//b", "//b"),
            ("/API/%41;v=1", "/API/%41;v=1", "/API/%41;v=1"),
        ] {
            let prefix = PathPrefix::parse(text).unwrap();
            assert_eq!(prefix.as_str(), held, "{text}");
            assert_eq!(prefix.to_string(), shown, "{text}");
        }
        for (text, word) in [
            ("", "starts with `/`"),
            ("api", "`/api`"),
            ("/a?b", "query"),
            ("/a#b", "fragment"),
            ("/a b", "percent-encoded"),
            ("/a\u{7f}", "percent-encoded"),
            ("/é", "percent-encoded"),
            ("/api/*", "write `/api`"),
            ("/a*", "write `/a`"),
            ("/a*/", "write `/a`"),
            ("/*", "write `/`"),
            ("//", "`//`"),
            ("/a//", "`//`"),
        ] {
            let words = PathPrefix::parse(text).unwrap_err();
            assert!(words.contains(word), "{text}: {words}");
        }
    }

    #[test]
    fn paths_taken() {
        for (prefix, path, takes) in [
            ("/", "/", true),
            ("/", "*", true),
            ("/", "", true),
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api", "/api/x", true),
            ("/api", "/apix", false),
            ("/api", "/API", false),
            ("/api", "//api", false),
            ("/api", "/%61pi", false),
            ("/api", "*", false),
            ("/a/b", "/a//b", false),
            ("/a//b", "/a//b/c", true),
        ] {
            assert_eq!(PathPrefix::parse(prefix).unwrap().takes(path.as_bytes()), takes, "{prefix} {path}");
        }
    }
}
