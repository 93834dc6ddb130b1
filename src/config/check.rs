//! `[server]` judged: each value within its bounds, each default in its one place.

use super::file::{SERVER, Section, Walk, entries, quoted};
use crate::base::{Address, UNIX_PREFIX};
use crate::http::field::is_token;
use crate::http::limits::{FIELDS_CEILING, HeadLimits};
use crate::net::network::Network;
use crate::route::policy::{Policy, RETRIES_MAX};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// Worker threads that may be asked for: more than any machine has cores, and far from where threads run out.
const WORKERS_MAX: u64 = 1024;

/// Any time of the file, seconds: from the tick of a timer to a day. Zero would mean "at once" to one reader and "never" to
/// another.
pub(super) const SECONDS: RangeInclusive<f64> = 0.001..=86_400.0;

/// A delay, seconds: that one may well be none.
const DELAY_SECONDS: RangeInclusive<f64> = 0.0..=86_400.0;

/// Octets of a head: below 1 KiB common browsers are refused, above 1 MiB every connection is a way to fill the memory.
const HEAD_BYTES: RangeInclusive<u64> = 1024..=1024 * 1024;

/// Octets of a target: below this even short paths are refused.
const TARGET_BYTES_MIN: u64 = 64;

/// Client connections that may be asked for: more than the kernel gives one process descriptors.
const CONNECTIONS_MAX: u64 = 1 << 24;

/// Octets of the name for `Via`: it goes out with every request.
const VIA_BYTES_MAX: usize = 64;

/// How a process serves: the table `[server]`. The comment of each field names its key where the two differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Addresses that it listens on, each once; one or more. A string or a list of strings. Default `0.0.0.0:8080`.
    pub listen: Vec<Address>,
    /// Worker threads, 0 to 1024; 0 (the default): one per core that the process may use.
    pub workers: usize,
    /// `timeout_secs`, default 30: the longest wait for a backend, for the head of its response and then for each next piece
    /// of the body.
    pub timeout: Duration,
    /// `header_timeout_secs`, default 10 or `timeout` if that is less: the whole head of a request, from its first byte.
    pub header_timeout: Duration,
    /// `idle_timeout_secs`, default 75: a client connection between two requests.
    pub idle_timeout: Duration,
    /// `connect_timeout_secs`, default 3 or `timeout` if that is less: connecting to a backend.
    pub connect_timeout: Duration,
    /// `backend_idle_timeout_secs`, default 4: a pooled backend connection at rest. Common servers close after 5.
    pub backend_idle_timeout: Duration,
    /// `shutdown_timeout_secs`, default 30: how long SIGTERM lets open exchanges finish.
    pub shutdown_timeout: Duration,
    /// `shutdown_delay_secs`, default 0: how long SIGTERM lets it serve on as before, new connections too, for load balancers in
    /// front that need to notice.
    pub shutdown_delay: Duration,
    /// `upgrade_timeout_secs`, default 30: how long a binary that is started at an upgrade has to be ready.
    pub upgrade_timeout: Duration,
    /// One line a finished exchange. Default `true`.
    pub access_log: bool,
    /// `head_bytes_max` (default 32 KiB, 1 KiB to 1 MiB), `fields_max` (default 128, 1 to 512) and `target_bytes_max`
    /// (default 16 KiB or `head_bytes_max` if that is less): limits of a message head.
    pub head: HeadLimits,
    /// Longest request content in octets, 1 or more; `None` (the default): no limit. Routes that name none have this one.
    pub body_bytes_max: Option<u64>,
    /// `tunnel_timeout_secs`, default 3600: a tunnel in which nothing moves. Routes that name none have this one.
    pub tunnel_timeout: Duration,
    /// Client connections at a time, 1 or more; `None` (the default): what the descriptor limit allows.
    pub connections_max: Option<u32>,
    /// Networks whose `X-Forwarded-*` are believed. Default: none.
    pub trusted_proxies: Vec<Network>,
    /// The pseudonym by which Apex adds itself to `Via`; `None` (the default): it does not.
    pub via: Option<String>,
    /// Each request has an `X-Request-Id`: a trusted peer's, else one of Apex's own, told in the log. Default `false`: what came
    /// is passed on.
    pub request_id: bool,
    /// Reload when the file changes. Default `false`.
    pub watch: bool,
    /// The file that has the number of the process while it serves. Default: none.
    pub pid_file: Option<PathBuf>,
}

impl Default for Server {
    /// The defaults: what an empty `[server]` means.
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 8080)).into()],
            workers: 0,
            timeout: policy.timeout,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            connect_timeout: policy.connect_timeout,
            backend_idle_timeout: Duration::from_secs(4),
            shutdown_timeout: Duration::from_secs(30),
            shutdown_delay: Duration::ZERO,
            upgrade_timeout: Duration::from_secs(30),
            access_log: true,
            head: HeadLimits::DEFAULT,
            body_bytes_max: None,
            tunnel_timeout: policy.tunnel_timeout,
            connections_max: None,
            trusted_proxies: Vec::new(),
            via: None,
            request_id: false,
            watch: false,
            pid_file: None,
        }
    }
}

impl Server {
    /// The limits of a request whose route sets none.
    pub fn policy(&self) -> Policy {
        Policy {
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            tunnel_timeout: self.tunnel_timeout,
            body_bytes_max: self.body_bytes_max.unwrap_or(u64::MAX),
            retries_max: RETRIES_MAX,
        }
    }
}

/// Judges `[server]`. What is wrong is noted, and its default stands in.
pub(super) fn server<'t>(walk: &mut Walk<'t>, value: Option<Spanned<DeValue<'t>>>) -> Server {
    let Some(mut section) =
        value.and_then(|value| walk.section(value, &SERVER, "there is one server: write `[server]`"))
    else {
        return Server::default();
    };
    let default = Server::default();
    let it = &mut section;
    let timeout = walk.seconds(it, "timeout_secs", &SECONDS).unwrap_or(default.timeout);
    let server = Server {
        listen: it.take("listen").and_then(|value| listen(walk, value)).unwrap_or(default.listen),
        workers: whole(walk, it, "workers", 0..=WORKERS_MAX).unwrap_or(default.workers),
        timeout,
        header_timeout: walk
            .seconds(it, "header_timeout_secs", &SECONDS)
            .unwrap_or(default.header_timeout.min(timeout)),
        idle_timeout: walk.seconds(it, "idle_timeout_secs", &SECONDS).unwrap_or(default.idle_timeout),
        connect_timeout: walk
            .seconds(it, "connect_timeout_secs", &SECONDS)
            .unwrap_or(default.connect_timeout.min(timeout)),
        backend_idle_timeout: walk
            .seconds(it, "backend_idle_timeout_secs", &SECONDS)
            .unwrap_or(default.backend_idle_timeout),
        shutdown_timeout: walk
            .seconds(it, "shutdown_timeout_secs", &SECONDS)
            .unwrap_or(default.shutdown_timeout),
        shutdown_delay: walk
            .seconds(it, "shutdown_delay_secs", &DELAY_SECONDS)
            .unwrap_or(default.shutdown_delay),
        upgrade_timeout: walk
            .seconds(it, "upgrade_timeout_secs", &SECONDS)
            .unwrap_or(default.upgrade_timeout),
        access_log: walk.flag(it, "access_log", default.access_log),
        head: head_limits(walk, it),
        body_bytes_max: body_bytes_max(walk, it),
        tunnel_timeout: walk.seconds(it, "tunnel_timeout_secs", &SECONDS).unwrap_or(default.tunnel_timeout),
        connections_max: whole(walk, it, "connections_max", 1..=CONNECTIONS_MAX),
        trusted_proxies: it.take("trusted_proxies").map(|value| networks(walk, value)).unwrap_or_default(),
        via: it.take("via").and_then(|value| via(walk, value)),
        request_id: walk.flag(it, "request_id", default.request_id),
        watch: walk.flag(it, "watch", default.watch),
        pid_file: it.take("pid_file").and_then(|value| pid_file(walk, value)),
    };
    walk.close(section);
    server
}

/// `body_bytes_max`, of the server or of a route.
pub(super) fn body_bytes_max<'t>(walk: &mut Walk<'t>, section: &mut Section<'t>) -> Option<u64> {
    // Zero means "no limit" to a user of nginx and "no content at all" by its words: it is refused.
    let range = 1..=i64::MAX.unsigned_abs();
    walk.whole(section, "body_bytes_max", range, "1 octet or more; without the key there is no limit")
        .map(Spanned::into_inner)
}

/// A whole number within `range`, as the type that the setting has.
pub(super) fn whole<'t, T: TryFrom<u64>>(
    walk: &mut Walk<'t>,
    section: &mut Section<'t>,
    key: &'static str,
    range: RangeInclusive<u64>,
) -> Option<T> {
    let hint = format!("a whole number from {} to {}", range.start(), range.end());
    walk.whole(section, key, range, &hint).and_then(|number| T::try_from(number.into_inner()).ok())
}

fn head_limits<'t>(walk: &mut Walk<'t>, section: &mut Section<'t>) -> HeadLimits {
    let default = HeadLimits::DEFAULT;
    let head_bytes_max = whole(walk, section, "head_bytes_max", HEAD_BYTES).unwrap_or(default.head_bytes_max);
    let fields_ceiling = u64::try_from(FIELDS_CEILING).unwrap_or(u64::MAX);
    let fields_max = whole(walk, section, "fields_max", 1..=fields_ceiling).unwrap_or(default.fields_max);
    // A target is a part of its head: it cannot be longer.
    let target_ceiling = u64::try_from(head_bytes_max).unwrap_or(u64::MAX);
    let hint = format!("from {TARGET_BYTES_MIN} to `head_bytes_max`, which is {head_bytes_max}");
    let target_bytes_max = walk
        .whole(section, "target_bytes_max", TARGET_BYTES_MIN..=target_ceiling, &hint)
        .and_then(|number| usize::try_from(number.into_inner()).ok())
        .unwrap_or(default.target_bytes_max.min(head_bytes_max));
    HeadLimits { head_bytes_max, fields_max, target_bytes_max }
}

/// `listen`: one address or a list of them, each once.
fn listen<'t>(walk: &mut Walk<'t>, value: Spanned<DeValue<'t>>) -> Option<Vec<Address>> {
    let span = value.span();
    let entries: Vec<Spanned<DeValue<'t>>> = match value.get_ref() {
        DeValue::Array(_) => entries(value),
        _ => vec![value],
    };
    if entries.is_empty() {
        walk.wrong(span, "`listen` names no address", "for example \"0.0.0.0:8080\"");
        return None;
    }
    let mut addresses: Vec<Address> = Vec::new();
    for entry in entries {
        let Some((span, address)) = address(walk, entry) else { continue };
        // Port 0 is a fresh port each time.
        let is_fresh = address.ip().is_some_and(|address| address.port() == 0);
        if !is_fresh && addresses.contains(&address) {
            walk.wrong(span, format!("`listen` names {address} twice"), "one of them is enough");
        } else {
            addresses.push(address);
        }
    }
    (!addresses.is_empty()).then_some(addresses)
}

fn address<'t>(
    walk: &mut Walk<'t>,
    entry: Spanned<DeValue<'t>>,
) -> Option<(std::ops::Range<usize>, Address)> {
    let span = entry.span();
    if let DeValue::Integer(number) = entry.get_ref() {
        let hint = match number.as_str().parse::<u16>() {
            Ok(port) => format!("write \"0.0.0.0:{port}\""),
            Err(_) => "for example \"0.0.0.0:8080\"".to_owned(),
        };
        walk.wrong_type(&entry, "an address", hint);
        return None;
    }
    if let DeValue::Table(table) = entry.get_ref() {
        let address = table.get("address").and_then(|address| address.get_ref().as_str());
        walk.wrong_type(&entry, "an address in quotes", listener_hint(address));
        return None;
    }
    let text: Spanned<String> = walk.value(entry, "an address in quotes")?;
    if let Ok(address) = text.get_ref().parse() {
        return Some((span, address));
    }
    walk.wrong(
        span,
        format!("{} is not an address to listen on", quoted(text.get_ref())),
        address_hint(text.get_ref()),
    );
    None
}

/// What to do about a listener that is written as a table, by its keys.
fn listener_hint(address: Option<&str>) -> String {
    let address = address.unwrap_or("0.0.0.0:8080");
    format!(
        "write {} in quotes alone: TLS and other settings of a listener are not there yet",
        quoted(address)
    )
}

/// The address that was probably meant.
fn address_hint(text: &str) -> String {
    let text = text.trim();
    if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
        let words = Address::unix(path).err().map(|error| format!("{error}: "));
        return format!("{}for example \"unix:/run/apex/apex.sock\"", words.unwrap_or_default());
    }
    if text.starts_with(['/', '@', '.']) {
        return match Address::unix(text) {
            Ok(address) => format!("write \"{address}\""),
            Err(error) => format!("{error}: for example \"unix:/run/apex/apex.sock\""),
        };
    }
    let text = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(v6) = bare.parse::<Ipv6Addr>() {
        return format!("an address and a port: \"[{v6}]:8080\"");
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>()),
        None if text.parse::<u16>().is_ok() => ("", text.parse::<u16>()),
        None => (text, Ok(8080)),
    };
    let Ok(port) = port else {
        return "an address and a port from 0 to 65535, for example \"0.0.0.0:8080\"".to_owned();
    };
    let meant = match host {
        "" | "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host if host.parse::<IpAddr>().is_ok() => host,
        _ => return "an IP address and a port, for example \"0.0.0.0:8080\"".to_owned(),
    };
    if meant.contains(':') {
        return format!("write \"[{meant}]:{port}\"");
    }
    format!("write \"{meant}:{port}\"")
}

/// A pseudonym is a token (RFC 9110 section 7.6.3); bounded, for it goes out with every request.
fn via<'t>(walk: &mut Walk<'t>, value: Spanned<DeValue<'t>>) -> Option<String> {
    let text = walk.value::<String>(value, "a name in quotes")?;
    let name = text.get_ref();
    if is_token(name.as_bytes()) && name.len() <= VIA_BYTES_MAX {
        return Some(text.into_inner());
    }
    let what = format!("{} is no name for `Via`", quoted(name));
    walk.wrong(
        text.span(),
        what,
        format!("letters, digits, `-`, `.` and `_`, at most {VIA_BYTES_MAX}: for example \"apex\""),
    );
    None
}

/// The path of a file, by which no process is started and no folder made: whether it can be written is seen at the start.
fn pid_file<'t>(walk: &mut Walk<'t>, value: Spanned<DeValue<'t>>) -> Option<PathBuf> {
    let text = walk.value::<String>(value, "a path in quotes")?;
    let path = text.get_ref();
    if Path::new(path).file_name().is_some() && !path.ends_with('/') && !path.contains('\0') {
        return Some(PathBuf::from(text.into_inner()));
    }
    let what = format!("{} is not the path of a file", quoted(path));
    walk.wrong(text.span(), what, "for example \"/run/apex.pid\"");
    None
}

fn networks<'t>(walk: &mut Walk<'t>, value: Spanned<DeValue<'t>>) -> Vec<Network> {
    if !value.get_ref().is_array() {
        walk.wrong_type(&value, "a list of networks", "for example [\"10.0.0.0/8\"]");
        return Vec::new();
    }
    let mut networks = Vec::new();
    for entry in entries(value) {
        let Some(text) = walk.value::<String>(entry, "a network in quotes") else { continue };
        match Network::parse(text.get_ref()) {
            Ok(network) => networks.push(network),
            Err(error) => {
                walk.wrong(text.span(), format!("{}: {}", quoted(text.get_ref()), error.what), error.hint);
            }
        }
    }
    networks
}
