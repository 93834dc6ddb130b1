//! Keys, times and sizes as users of nginx, `HAProxy`, Caddy and Traefik write them. Makes hints only: an unknown key is always
//! refused.

/// What takes a key's place, or that nothing does yet: the keys, and the hint.
const KEYS: &[(&[&str], &str)] = &[
    (
        &[
            "tls",
            "ssl",
            "https",
            "cert",
            "certs",
            "certificate",
            "certificates",
            "key",
            "ssl_certificate",
            "ssl_certificate_key",
            "tls_cert",
            "tls_key",
            "acme",
            "certresolver",
            "alpn",
            "backend_tls",
            "verify",
        ],
        "TLS is not there yet: put a server in front that ends it, and name that in `trusted_proxies`",
    ),
    (&["http2", "h2", "h2c", "http3", "quic", "grpc"], "only HTTP/1.1 is spoken: HTTP/2 is not there yet"),
    (&["proxy_protocol", "send_proxy", "accept_proxy"], "the PROXY protocol is not there yet"),
    (
        &["gzip", "compress", "compression", "encode", "brotli", "zstd", "gzip_types"],
        "compression is not there yet: responses pass as the backend made them",
    ),
    (
        &["redirect", "redirects", "return", "respond", "redir", "redirect_to_https", "http_request"],
        "redirects and fixed answers are not there yet: each request goes to a backend",
    ),
    (
        &["rewrite", "replace_prefix", "strip_path", "stripprefix", "replacepath"],
        "`strip_prefix = true` takes the prefix off; other changes of the path are not there yet",
    ),
    (
        &[
            "rate_limit",
            "ratelimit",
            "limit_req",
            "limit_conn",
            "rate",
            "burst",
            "connections_per_client_max",
        ],
        "limits of rates and of connections of one client are not there yet",
    ),
    (
        &[
            "auth",
            "basic_auth",
            "basicauth",
            "auth_basic",
            "forward_auth",
            "forwardauth",
            "auth_request",
            "allow",
            "deny",
            "acl",
            "jwt",
            "users_file",
        ],
        "access rules are not there yet: the backend has to check who asks",
    ),
    (
        &[
            "headers",
            "header",
            "request_headers",
            "response_headers",
            "add_header",
            "proxy_set_header",
            "set_header",
            "header_up",
            "header_down",
            "cors",
        ],
        "rules for header fields are not there yet; X-Forwarded-For, -Proto and -Host are always sent",
    ),
    (
        &["root", "static", "file_server", "files", "index", "try_files", "fastcgi_pass", "php_fastcgi"],
        "files are not served, and only HTTP is spoken to backends",
    ),
    (
        &["health", "health_check", "healthcheck", "check", "httpchk", "passive_health", "slow_start_secs"],
        "checks of their own are not there yet: a backend that fails requests is left out for a while by itself",
    ),
    (
        &["max_fails", "fail_timeout", "backup", "down", "drain", "maxconn_server", "queue"],
        "this setting of a backend is not there yet: those that fail are left out for a while by themselves",
    ),
    (&["sticky", "sticky_cookie", "hash_by", "ip_hash", "cookie"], "clients are not bound to a backend yet"),
    (&["pools", "pool", "upstreams"], "pools are not there yet: each route lists its `backends`"),
    (&["include", "import", "conf_d"], "one file holds all: including others is not there yet"),
    (&["admin", "metrics", "stats", "api", "dashboard", "prometheus"], "an admin address is not there yet"),
    (
        &["log", "logs", "logging", "log_format", "error_log", "accesslog", "log_level"],
        "access lines go to the standard output (`access_log = false`: none), messages to the standard error",
    ),
    (
        &["errors", "error_page", "errorfile", "handle_errors"],
        "pages of your own for errors are not there yet",
    ),
    (
        &["methods", "method", "match_headers", "match_query", "path_exact"],
        "routes are told apart by host and path alone",
    ),
    (&["user", "group", "daemon", "chroot"], "it runs as whoever starts it, in the foreground"),
    (&["server_name", "domain", "domains", "vhost", "rule"], "write `host = \"example.com\"` in a route"),
    (&["location", "path_regexp", "path_beg", "route_prefix"], "write `path_prefix = \"/path\"` in a route"),
    (
        &["proxy_pass", "upstream", "reverse_proxy", "servers", "targets", "loadbalancer", "services", "to"],
        "write `backends = [{ url = \"http://127.0.0.1:9001\" }]` in a route",
    ),
    (&["balance", "lb_policy", "algorithm", "strategy", "lb"], "write `load_balancing` in a route"),
    (&["worker_processes", "nbthread", "threads", "nbproc"], "write `workers` in `[server]`"),
    (&["client_max_body_size", "max_body_size", "max_request_body"], "write `body_bytes_max`, in octets"),
    (&["keepalive_timeout", "timeout_client", "idle_timeout"], "write `idle_timeout_secs` in `[server]`"),
    (&["proxy_read_timeout", "timeout_server", "read_timeout", "response_timeout"], "write `timeout_secs`"),
    (&["proxy_connect_timeout", "timeout_connect", "dial_timeout"], "write `connect_timeout_secs`"),
    (&["client_header_timeout", "timeout_http_request"], "write `header_timeout_secs` in `[server]`"),
    (
        &["bind", "address", "addresses", "port", "ports", "entrypoints", "entry_points"],
        "write `listen` in `[server]`",
    ),
    (&["maxconn", "worker_connections", "max_connections"], "write `connections_max` in `[server]`"),
    (&["set_real_ip_from", "real_ip_header", "forwardedheaders"], "write `trusted_proxies` in `[server]`"),
    (&["proxy_next_upstream", "retries", "lb_try_duration"], "write `retries_max`"),
];

/// What to do about a key of another server.
pub(super) fn key_hint(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    KEYS.iter().find(|(keys, _)| keys.contains(&key.as_str())).map(|&(_, hint)| hint)
}

/// What to write for a time with a unit, `30s` or `1m 30s`.
pub(super) fn seconds_hint(text: &str) -> Option<String> {
    let millis = sum(text, |unit| match unit {
        "ms" | "msec" | "millis" => Some(1),
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1000),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60 * 1000),
        "h" | "hour" | "hours" => Some(3600 * 1000),
        "d" | "day" | "days" => Some(24 * 3600 * 1000),
        _ => None,
    })?;
    let fraction = format!("{:03}", millis % 1000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("write {}{dot}{fraction}: seconds, without quotes and unit", millis / 1000))
}

/// What to write for a size with a unit, `10M` or `64 KiB`.
pub(super) fn bytes_hint(text: &str) -> Option<String> {
    // The units of servers, where a letter stands for 1024.
    let bytes = sum(text, |unit| match unit {
        "b" => Some(1),
        "k" | "kb" | "kib" => Some(1 << 10),
        "m" | "mb" | "mib" => Some(1 << 20),
        "g" | "gb" | "gib" => Some(1 << 30),
        _ => None,
    })?;
    Some(format!("write {bytes}: octets, without quotes and unit"))
}

/// The sum of whole numbers with units.
fn sum(text: &str, scale: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (mut rest, mut sum) = (text.as_str(), 0u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(scale(unit)?)?)?;
        rest = after.trim_start();
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_key_stands_once_and_none_is_ours() {
        let mut seen = HashSet::new();
        for key in KEYS.iter().flat_map(|(keys, _)| keys.iter()) {
            assert!(seen.insert(key), "{key}");
            assert_eq!(key_hint(&key.to_uppercase().replace('_', "-")), key_hint(key));
        }
        for (_, ours) in crate::config::keys() {
            for key in ours {
                assert!(!seen.contains(key), "`{key}` is a key: take it out of the list");
            }
        }
    }

    #[test]
    fn units_are_reckoned() {
        for (text, number) in
            [("30s", "30"), ("2m", "120"), ("500ms", "0.5"), (" 1h 30 min", "5400"), ("1050MS", "1.05")]
        {
            assert_eq!(seconds_hint(text), Some(format!("write {number}: seconds, without quotes and unit")));
        }
        for (text, number) in [("10M", "10485760"), ("64 KiB", "65536"), ("1g", "1073741824"), ("7B", "7")] {
            assert_eq!(bytes_hint(text), Some(format!("write {number}: octets, without quotes and unit")));
        }
        for text in
            ["", "s", "30", "30x", "s30", "-3s", "1.5s", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!((seconds_hint(text), bytes_hint(text)), (None, None), "{text}");
        }
    }
}
