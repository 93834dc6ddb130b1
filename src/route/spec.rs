//! The specification of a route before compilation: the input of `table::Table::compile`.
//!
//! Owns the parsing of a backend's URL. Never resolves a name.

use super::pattern::{HostPattern, PathPrefix, parse_host};
use super::policy::RoutePolicy;
use crate::base::{Address, UNIX_PREFIX};
use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::Arc;

/// One route of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// Unique among the routes.
    pub name: String,
    /// The hosts that it matches.
    pub host: HostPattern,
    /// The paths that it matches.
    pub path_prefix: PathPrefix,
    /// Whether the prefix is removed before forwarding.
    pub strip_prefix: bool,
    /// The way of balancing.
    pub balancing: Balancing,
    /// Its own limits and timeouts; `None`: it sets none.
    pub policy: Option<Arc<RoutePolicy>>,
    /// One or more.
    pub backends: Vec<BackendSpec>,
}

/// How a pool chooses among its backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balancing {
    /// Round robin by weight, in each worker separately.
    #[default]
    RoundRobin,
    /// The backend with the fewest exchanges under way, by weight, over all workers.
    LeastConnections,
    /// At random, by weight.
    Random,
}

/// One backend of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSpec {
    /// Its address.
    pub address: BackendAddress,
    /// Its weight, 1 to 65535.
    pub weight: u16,
}

/// The address of a backend: `http://host:port`, or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// A TCP address.
    Tcp {
        /// A name or an address (an IPv6 address without its brackets).
        host: String,
        /// 80 if the URL has none.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(Arc<Path>),
}

impl BackendAddress {
    /// Parses `http://host[:port]`, with or without a final `/`, or `unix:/path`.
    ///
    /// # Errors
    /// What is wrong with it, as a message for the user.
    pub fn parse_url(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix(UNIX_PREFIX) {
            return match Address::unix(path) {
                Ok(Address::Unix(path)) => Ok(Self::Unix(path)),
                Ok(Address::Ip(_)) => unreachable!("it was made of a path"),
                Err(error) => Err(format!("{error}: `unix:/run/app.sock`")),
            };
        }
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
        Ok(Self::Tcp { host: bare.unwrap_or(&host).to_owned(), port })
    }

    /// `host:port` as text, always with the port, an IPv6 address in brackets; or `unix:/path`.
    pub fn authority(&self) -> String {
        match self {
            // A name never contains a colon.
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
            Self::Unix(path) => format!("{UNIX_PREFIX}{}", path.display()),
        }
    }

    /// The value of the key `url`.
    pub fn url(&self) -> String {
        match self {
            Self::Tcp { .. } => format!("http://{}", self.authority()),
            Self::Unix(_) => self.authority(),
        }
    }
}

/// The rest after `http://`.
fn after_scheme(url: &str) -> Result<&str, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        if let Ok(address) = Address::unix(url) {
            return Err(format!("a backend is named by a URL: did you mean `{address}`?"));
        }
        let url = url.trim_start_matches('/');
        return Err(if url.is_empty() {
            "the URL is empty: `http://host:port`".to_owned()
        } else if url.parse::<Ipv6Addr>().is_ok() {
            format!("a backend is named by a URL: did you mean `http://[{url}]`?")
        } else {
            format!("a backend is named by a URL: did you mean `http://{url}`?")
        });
    };
    let is_http = scheme.eq_ignore_ascii_case("http");
    if is_http && let Some(path) = rest.strip_prefix(UNIX_PREFIX).filter(|path| path.starts_with('/')) {
        Err(format!(
            "a Unix socket is named without `http://`: `{UNIX_PREFIX}{}`",
            path.trim_end_matches(':')
        ))
    } else if is_http {
        Ok(rest)
    } else if scheme.eq_ignore_ascii_case("https") {
        Err("https is not there yet: backends are spoken to in plain `http://`".to_owned())
    } else {
        Err(format!("`{scheme}://` is not spoken here: backends are `http://host:port` or `unix:/path`"))
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
    // `parse` alone would accept a sign.
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
            assert_eq!(read, BackendAddress::Tcp { host: host.to_owned(), port }, "{url}");
            assert_eq!((read.authority(), read.url()), (authority.to_owned(), format!("http://{authority}")));
        }
    }

    #[test]
    fn paths_of_sockets_read() {
        for url in ["unix:/run/app.sock", "unix:///run/app.sock"] {
            let read = BackendAddress::parse_url(url).unwrap();
            assert_eq!(
                (read.authority().as_str(), read.url().as_str()),
                ("unix:/run/app.sock", "unix:/run/app.sock")
            );
        }
    }

    #[test]
    fn urls_refused() {
        for (url, word) in [
            ("", "empty"),
            ("https://a", "https is not there yet"),
            ("ftp://a", "`ftp://`"),
            ("127.0.0.1:9001", "did you mean `http://127.0.0.1:9001`"),
            ("a:1", "did you mean `http://a:1`"),
            ("/run/app.sock", "did you mean `unix:/run/app.sock`"),
            ("unix:app.sock", "begins with `/`"),
            ("unix:@app", "abstract"),
            ("unix:/run/", "path of a file"),
            ("http://unix:/run/app.sock:", "`unix:/run/app.sock`"),
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
