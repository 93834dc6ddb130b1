//! What a reload changes: the difference of two configurations, typed, and in words.

use crate::base::Address;
use crate::config::{Config, Server};
use crate::route::spec::{BackendSpec, RouteSpec};
use std::fmt;

/// What happens to one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteChange {
    /// It is new.
    Added(String),
    /// It is gone.
    Removed(String),
    /// It stays, with something about it changed.
    Changed {
        /// Its name.
        name: String,
        /// Keys that changed, `backends` aside.
        keys: Vec<&'static str>,
        /// Addresses that are new among its backends.
        backends_added: Vec<String>,
        /// Addresses that are gone from its backends.
        backends_removed: Vec<String>,
        /// Addresses whose weight changed.
        backends_changed: Vec<String>,
    },
}

/// The difference of two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigDiff {
    /// Routes, in the order of the new file, those removed last.
    pub routes: Vec<RouteChange>,
    /// Addresses that are new in `listen`.
    pub listen_added: Vec<Address>,
    /// Addresses that are gone from `listen`.
    pub listen_removed: Vec<Address>,
    /// Other keys of `[server]` that take effect at once.
    pub server: Vec<&'static str>,
    /// Keys of `[server]` that take effect with the next process, at an upgrade or a start.
    pub restart: Vec<&'static str>,
}

impl ConfigDiff {
    /// What `new` changes of `old`.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut routes = Vec::new();
        let by_name: std::collections::HashMap<&str, &RouteSpec> =
            old.routes.iter().map(|route| (route.name.as_str(), route)).collect();
        for route in &new.routes {
            match by_name.get(route.name.as_str()) {
                None => routes.push(RouteChange::Added(route.name.clone())),
                Some(before) if *before != route => routes.push(change_of(before, route)),
                Some(_) => {}
            }
        }
        let kept: std::collections::HashSet<&str> =
            new.routes.iter().map(|route| route.name.as_str()).collect();
        for route in old.routes.iter().filter(|route| !kept.contains(route.name.as_str())) {
            routes.push(RouteChange::Removed(route.name.clone()));
        }
        let (server, restart) = server_keys(&old.server, &new.server);
        let (old, new) = (&old.server.listen, &new.server.listen);
        let (listen_added, listen_removed) = (missing(new, old), missing(old, new));
        Self { routes, listen_added, listen_removed, server, restart }
    }

    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        let listen_stays = self.listen_added.is_empty() && self.listen_removed.is_empty();
        self.routes.is_empty() && listen_stays && self.server.is_empty() && self.restart.is_empty()
    }
}

/// The entries of `these` that are not in `among`, counted: an entry that occurs more often in `these` is returned that many times more.
pub fn missing(these: &[Address], among: &[Address]) -> Vec<Address> {
    let mut left: Vec<&Address> = among.iter().collect();
    let mut missing = Vec::new();
    for address in these {
        match left.iter().position(|&other| other == address) {
            Some(index) => {
                left.swap_remove(index);
            }
            None => missing.push(address.clone()),
        }
    }
    missing
}

fn change_of(before: &RouteSpec, after: &RouteSpec) -> RouteChange {
    let own = |route: &RouteSpec| route.policy.as_deref().copied().unwrap_or_default();
    let (old, new) = (own(before), own(after));
    let differs = [
        ("host", before.host != after.host),
        ("path_prefix", before.path_prefix != after.path_prefix),
        ("strip_prefix", before.strip_prefix != after.strip_prefix),
        ("load_balancing", before.balancing != after.balancing),
        ("timeout_secs", old.timeout != new.timeout),
        ("connect_timeout_secs", old.connect_timeout != new.connect_timeout),
        ("tunnel_timeout_secs", old.tunnel_timeout != new.tunnel_timeout),
        ("body_bytes_max", old.body_bytes_max != new.body_bytes_max),
        ("retries_max", old.retries_max != new.retries_max),
    ];
    let missing = |from: &[BackendSpec], among: &[BackendSpec]| -> Vec<String> {
        let missing = from.iter().filter(|one| !among.iter().any(|other| other.address == one.address));
        missing.map(|one| one.address.authority()).collect()
    };
    let other_weight = |one: &&BackendSpec| {
        before.backends.iter().any(|old| old.address == one.address && old.weight != one.weight)
    };
    let reweighted = after.backends.iter().filter(other_weight);
    RouteChange::Changed {
        name: after.name.clone(),
        keys: differs.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect(),
        backends_added: missing(&after.backends, &before.backends),
        backends_removed: missing(&before.backends, &after.backends),
        backends_changed: reweighted.map(|one| one.address.authority()).collect(),
    }
}

/// Keys that differ: those that a reload applies, and those that it cannot.
fn server_keys(old: &Server, new: &Server) -> (Vec<&'static str>, Vec<&'static str>) {
    let at_once = [
        ("timeout_secs", old.timeout != new.timeout),
        ("header_timeout_secs", old.header_timeout != new.header_timeout),
        ("idle_timeout_secs", old.idle_timeout != new.idle_timeout),
        ("connect_timeout_secs", old.connect_timeout != new.connect_timeout),
        ("backend_idle_timeout_secs", old.backend_idle_timeout != new.backend_idle_timeout),
        ("shutdown_timeout_secs", old.shutdown_timeout != new.shutdown_timeout),
        ("shutdown_delay_secs", old.shutdown_delay != new.shutdown_delay),
        ("upgrade_timeout_secs", old.upgrade_timeout != new.upgrade_timeout),
        ("head_bytes_max", old.head.head_bytes_max != new.head.head_bytes_max),
        ("fields_max", old.head.fields_max != new.head.fields_max),
        ("target_bytes_max", old.head.target_bytes_max != new.head.target_bytes_max),
        ("body_bytes_max", old.body_bytes_max != new.body_bytes_max),
        ("tunnel_timeout_secs", old.tunnel_timeout != new.tunnel_timeout),
        ("connections_max", old.connections_max != new.connections_max),
        ("trusted_proxies", old.trusted_proxies != new.trusted_proxies),
        ("via", old.via != new.via),
        ("request_id", old.request_id != new.request_id),
        ("access_log", old.access_log != new.access_log),
        ("watch", old.watch != new.watch),
        ("pid_file", old.pid_file != new.pid_file),
    ];
    let at_start = [("workers", old.workers != new.workers)];
    let differing = |keys: &[(&'static str, bool)]| {
        keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
    };
    (differing(&at_once), differing(&at_start))
}

/// More changed routes than these are counted, not named: the line is for a person.
const NAMED_MAX: usize = 20;

impl fmt::Display for ConfigDiff {
    /// All of it in one line for the log, long lists cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "nothing changed");
        }
        let mut parts: Vec<String> = self.routes.iter().take(NAMED_MAX).map(ToString::to_string).collect();
        if self.routes.len() > NAMED_MAX {
            parts.push(format!("{} more routes changed", self.routes.len() - NAMED_MAX));
        }
        parts.extend(self.server_words());
        write!(f, "{}", parts.join("; "))
    }
}

impl ConfigDiff {
    /// The whole of it, one line a change; nothing where nothing changes.
    pub fn lines(&self) -> Vec<String> {
        self.routes.iter().map(ToString::to_string).chain(self.server_words()).collect()
    }

    /// What changes of `[server]`, in words.
    fn server_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let added = self.listen_added.iter().map(|address| format!("+{address}"));
        let removed = self.listen_removed.iter().map(|address| format!("-{address}"));
        let listen: Vec<String> = added.chain(removed).collect();
        if !listen.is_empty() {
            words.push(format!("listen: {}", listen.join(", ")));
        }
        if !self.server.is_empty() {
            words.push(format!("server: {}", self.server.join(", ")));
        }
        if !self.restart.is_empty() {
            words.push(format!("by an upgrade (SIGUSR2) or a restart only: {}", self.restart.join(", ")));
        }
        words
    }
}

impl fmt::Display for RouteChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(name) => write!(f, "route `{name}` added"),
            Self::Removed(name) => write!(f, "route `{name}` removed"),
            Self::Changed { name, keys, backends_added, backends_removed, backends_changed } => {
                let mut parts: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
                parts.extend(backends_added.iter().map(|one| format!("+{one}")));
                parts.extend(backends_removed.iter().map(|one| format!("-{one}")));
                parts.extend(backends_changed.iter().map(|one| format!("weight of {one}")));
                if parts.is_empty() {
                    parts.push(String::from("order of backends"));
                }
                write!(f, "route `{name}` changed ({})", parts.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn config(text: &str) -> Config {
        parse(text, "apex.toml").unwrap()
    }

    fn told(old: &str, new: &str) -> String {
        ConfigDiff::between(&config(old), &config(new)).to_string()
    }

    const PLAIN: &str = "[[routes]]\nname = \"a\"\nbackends = [{ url = \"http://127.0.0.1:1\" }]\n";

    #[test]
    fn says_what_a_reload_changes() {
        let cases = [
            (PLAIN.to_owned(), "nothing changed"),
            (PLAIN.replace("name = \"a\"", "name = \"b\""), "route `b` added; route `a` removed"),
            (
                PLAIN.replace("http://127.0.0.1:1", "http://127.0.0.1:2"),
                "route `a` changed (+127.0.0.1:2, -127.0.0.1:1)",
            ),
            (PLAIN.replace("\" }", "\", weight = 2 }"), "route `a` changed (weight of 127.0.0.1:1)"),
            (
                format!("{PLAIN}path_prefix = \"/x\"\nstrip_prefix = true\n"),
                "route `a` changed (path_prefix, strip_prefix)",
            ),
            (
                format!(
                    "{PLAIN}timeout_secs = 1\nconnect_timeout_secs = 1\ntunnel_timeout_secs = 1\nbody_bytes_max = 1\n\
                     retries_max = 0\n"
                ),
                "route `a` changed (timeout_secs, connect_timeout_secs, tunnel_timeout_secs, body_bytes_max, retries_max)",
            ),
            (format!("[server]\ntunnel_timeout_secs = 1\n{PLAIN}"), "server: tunnel_timeout_secs"),
            (
                format!("[server]\ntimeout_secs = 4\nworkers = 3\n{PLAIN}"),
                "server: timeout_secs, header_timeout_secs; by an upgrade (SIGUSR2) or a restart only: workers",
            ),
            (
                format!("[server]\nlisten = [\"0.0.0.0:81\", \"[::]:80\"]\n{PLAIN}"),
                "listen: +0.0.0.0:81, +[::]:80, -0.0.0.0:8080",
            ),
            (format!("[server]\nlisten = [\"[::]:8080\", \"0.0.0.0:8080\"]\n{PLAIN}"), "listen: +[::]:8080"),
        ];
        for (new, words) in cases {
            assert_eq!(told(PLAIN, &new), words, "{new}");
        }
    }

    #[test]
    fn lines_leave_nothing_out() {
        use std::fmt::Write;
        let (old, mut new) = (config(PLAIN), format!("[server]\nworkers = 3\n{PLAIN}"));
        for number in 0..50 {
            let _ = write!(
                new,
                "[[routes]]\nname = \"r{number}\"\nhost = \"h{number}\"\nbackends = [{{ url = \"http://a\" }}]\n"
            );
        }
        let difference = ConfigDiff::between(&old, &config(&new));
        let lines = difference.lines();
        assert_eq!(lines.len(), 51);
        assert_eq!(lines[49], "route `r49` added");
        assert_eq!(lines[50], "by an upgrade (SIGUSR2) or a restart only: workers");
        assert!(difference.to_string().contains("; 30 more routes changed; "), "{difference}");
        assert!(ConfigDiff::between(&old, &old).lines().is_empty());
    }

    #[test]
    fn says_that_only_the_order_changed() {
        let one = "[[routes]]\nname = \"a\"\nbackends = [{ url = \"http://a\" }, { url = \"http://b\" }]\n";
        let two = "[[routes]]\nname = \"a\"\nbackends = [{ url = \"http://b\" }, { url = \"http://a\" }]\n";
        assert_eq!(told(one, two), "route `a` changed (order of backends)");
    }
}
