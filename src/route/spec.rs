//! What a route is told to be, before it is compiled: the input of `table::Table::compile`.
//!
//! Owns the reading of a backend's URL. Never resolves a name.

use super::pattern::{HostPattern, PathPrefix, parse_host};
use super::policy::RoutePolicy;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// One route of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// Unique among the routes.
    pub name: String,
    /// Which hosts it takes.
    pub host: HostPattern,
    /// Which paths it takes.
    pub path_prefix: PathPrefix,
    /// Takes the prefix off before forwarding.
    pub strip_prefix: bool,
    /// How a backend is chosen.
    pub balancing: Balancing,
    /// Limits and timeouts of its own; `None`: it sets none.
    pub policy: Option<Arc<RoutePolicy>>,
    /// One or more.
    pub backends: Vec<BackendSpec>,
}

/// How a pool chooses among its backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balancing {
    /// In turns, by weight, each worker for itself.
    #[default]
    RoundRobin,
    /// The backend with the fewest exchanges under way, by weight, over all workers.
    LeastConnections,
    /// By chance, by weight.
    Random,
}

/// One backend of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSpec {
    /// Where it is.
    pub address: BackendAddress,
    /// Its share, 1 to 65535.
    pub weight: u16,
}

/// Where a backend is: `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BackendAddress {
    /// A name or an address (an IPv6 address without its brackets).
    pub host: String,
    /// 80 where the URL names none.
    pub port: u16,
}

impl BackendAddress {
    /// Reads `http://host[:port]`, with or without a `/` at its end.
    ///
    /// # Errors
    /// What is wrong with it, in words for the user.
    pub fn parse_url(url: &str) -> Result<Self, String> {
        let rest = after_scheme(url)?;
        let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if after.contains('#') {
            return Err("a backend's URL has no fragment: leave `#` and what follows out".to_owned());
        }
        if after.contains('?') {
            return Err("a backend's URL has no query: leave `?` and what follows out".to_owned());
        }
        if !matches!(after, "" | "/") {
            return Err(format!("a backend's URL has no path: leave `{after}` out"));
        }
        if authority.contains('@') {
            return Err("a backend's URL has no user or password: leave them and `@` out".to_owned());
        }
        let (host, port) = split_port(authority)?;
        if host.is_empty() {
            return Err("the URL names no host: `http://host:port`".to_owned());
        }
        let port = port.map_or(Ok(80), parse_port)?;
        let host = parse_host(host)?;
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        Ok(Self { host: bare.unwrap_or(&host).to_owned(), port })
    }

    /// `host:port` as text, the port always with it, an IPv6 address in brackets.
    pub fn authority(&self) -> String {
        // A name never holds a colon.
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What follows `http://`.
fn after_scheme(url: &str) -> Result<&str, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        let url = url.trim_start_matches('/');
        return Err(if url.is_empty() {
            "the URL is empty: `http://host:port`".to_owned()
        } else if url.parse::<Ipv6Addr>().is_ok() {
            format!("a backend is named by a URL: did you mean `http://[{url}]`?")
        } else {
            format!("a backend is named by a URL: did you mean `http://{url}`?")
        });
    };
    if scheme.eq_ignore_ascii_case("http") {
        Ok(rest)
    } else if scheme.eq_ignore_ascii_case("https") {
        Err("https is not there yet: backends are spoken to in plain `http://`".to_owned())
    } else {
        Err(format!("`{scheme}://` is not spoken here: backends are `http://host:port`"))
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), String> {
    if authority.starts_with('[') {
        let Some((inner, after)) = authority.split_once(']') else {
            return Err(format!("`{authority}` lacks the `]` of an IPv6 address"));
        };
        let host = &authority[..=inner.len()];
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("`{after}` cannot follow an IPv6 address")),
        };
    }
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address stands in brackets: `http://[{authority}]`"));
    }
    Ok(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn parse_port(text: &str) -> Result<u16, String> {
    // `parse` alone would take a sign.
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(format!("`{text}` is no port: a number from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read() {
        for (url, host, port, authority) in [
            ("http://127.0.0.1:9001", "127.0.0.1", 9001, "127.0.0.1:9001"),
            ("http://127.0.0.1:9001/", "127.0.0.1", 9001, "127.0.0.1:9001"),
            ("http://Origin.Example", "origin.example", 80, "origin.example:80"),
            ("HTTP://origin:80", "origin", 80, "origin:80"),
            ("http://[::1]", "::1", 80, "[::1]:80"),
            ("http://[2001:DB8:0::1]:65535/", "2001:db8::1", 65535, "[2001:db8::1]:65535"),
        ] {
            let read = BackendAddress::parse_url(url).unwrap();
            assert_eq!(read, BackendAddress { host: host.to_owned(), port }, "{url}");
            assert_eq!(read.authority(), authority);
        }
    }

    #[test]
    fn urls_refused() {
        for (url, word) in [
            ("", "empty"),
            ("https://a", "https is not there yet"),
            ("ftp://a", "`ftp://`"),
            ("127.0.0.1:9001", "did you mean `http://127.0.0.1:9001`"),
            ("//a:1", "did you mean `http://a:1`"),
            ("::1", "did you mean `http://[::1]`"),
            ("http://", "no host"),
            ("http://:80", "no host"),
            ("http:///x", "path"),
            ("http://a//", "path"),
            ("http://a/x", "leave `/x` out"),
            ("http://a?x", "query"),
            ("http://a/#x", "fragment"),
            ("http://u:p@a", "user"),
            ("http://a:", "no port"),
            ("http://a:0", "no port"),
            ("http://a:65536", "no port"),
            ("http://a:+80", "no port"),
            ("http://a:80:80", "no port"),
            ("http://::1", "`http://[::1]`"),
            ("http://[::1", "`]`"),
            ("http://[::1]80", "cannot follow"),
            ("http://[x]", "IPv6"),
            ("http://a b", "' '"),
            ("http://a..b", "empty label"),
            ("http://*", "`*`"),
            ("http://10.0.0.256", "IPv4"),
        ] {
            let words = BackendAddress::parse_url(url).unwrap_err();
            assert!(words.contains(word), "{url}: {words}");
        }
    }
}
