//! `apex --explain 'GET http://host/path'`: which route takes a request, and why. It asks the very table that the workers
//! ask, and sends nothing.

use super::args::UsageError;
use super::{EXIT_USAGE, check, complain, say};
use crate::config::{self, balancing_name};
use crate::http::forward;
use crate::http::limits::METHOD_BYTES_MAX;
use crate::http::target::{self, Target};
use crate::route::explain::{Explanation, PassedOver, Reason};
use crate::route::pattern::{HostPattern, PathPrefix};
use crate::route::policy::{Policy, RoutePolicy};
use crate::route::spec::Balancing;
use crate::route::table::{Route, Table};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

/// A request as it was typed: `METHOD URL`, or the URL alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked<'a> {
    method: &'a str,
    target: &'a str,
}

/// Exit 0 if a route takes the request, 1 if Apex would answer it by itself, 2 if the text is no request.
pub(super) fn run(config: &Path, request: &str) -> ExitCode {
    let asked = match parse(request) {
        Ok(asked) => asked,
        Err(error) => return complain(&error.to_string(), ExitCode::from(EXIT_USAGE)),
    };
    let config = match config::load(config) {
        Ok(config) => config,
        Err(problems) => return check::refuse(&problems),
    };
    match explain(asked, &Table::compile(&config.routes, None), &config.server.policy()) {
        Ok(text) => say(&text, ExitCode::SUCCESS),
        Err(text) => say(&text, ExitCode::FAILURE),
    }
}

/// Takes the text apart.
fn parse(text: &str) -> Result<Asked<'_>, UsageError> {
    const HINT: &str = "write `METHOD URL`, for example 'GET http://example.com/path', or the URL alone";
    let refused = |what: String, hint: &str| Err(UsageError { what, hint: hint.to_owned() });
    let text = text.trim();
    let (method, target) = match text.split_once(' ') {
        Some((method, target)) => (method, target.trim_start()),
        None => ("GET", text),
    };
    if target.contains(' ') {
        return refused(format!("`{}` is more than a method and a URL", text.escape_debug()), HINT);
    }
    if !is_method(method) {
        return refused(format!("`{}` is no method", method.escape_debug()), HINT);
    }
    let has_form = target.starts_with('/') || target.contains("://") || target == "*";
    // CONNECT names an authority alone: that is refused with its own words.
    if !has_form && method != "CONNECT" {
        let hint = match target.split('/').next() {
            Some(host) if host.contains(['.', ':']) => format!("did you mean `http://{target}`?"),
            _ => HINT.to_owned(),
        };
        return refused(format!("`{}` is no URL", target.escape_debug()), &hint);
    }
    Ok(Asked { method, target })
}

/// A token of RFC 9110 section 5.6.2, of a length that a request may have.
fn is_method(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=METHOD_BYTES_MAX).contains(&text.len()) && text.bytes().all(token)
}

/// The explanation as text; `Err` where no route takes the request.
fn explain(asked: Asked<'_>, table: &Table, server: &Policy) -> Result<String, String> {
    let mut text = format!("{} {}\n\n", asked.method, asked.target.escape_debug());
    let judged = match target::judge(asked.method, asked.target.as_bytes()) {
        Ok(judged) => judged,
        Err(refusal) => {
            line(&mut text, format_args!("refused with {}: {}", refusal.status, refusal.reason));
            line(&mut text, format_args!("no route is asked"));
            return Err(text);
        }
    };
    let host = judged.authority.map(|authority| authority.host);
    let explanation = table.explain(host, judged.path());
    let chosen = explanation.chosen.map(|id| table.route(id));
    if let Some(route) = chosen {
        write_chosen(&mut text, asked.method, &judged, route, server);
    } else {
        line(&mut text, format_args!("no route takes it: the answer is 404"));
    }
    if host.is_none() {
        line(&mut text, format_args!("the request names no host: only routes with host `*` can take it"));
    }
    write_passed_over(&mut text, table, &explanation, chosen);
    if chosen.is_some() { Ok(text) } else { Err(text) }
}

/// Appends a line. Writing into a `String` cannot fail.
fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{words}");
}

fn write_chosen(text: &mut String, method: &str, target: &Target<'_>, route: &Route, server: &Policy) {
    let path = String::from_utf8_lossy(target.path());
    let host = match &route.identity.host {
        HostPattern::Exact(name) => format!("`{name}`, exactly the request's"),
        HostPattern::Wildcard(_) => format!("`{}`, which takes the request's", route.identity.host),
        HostPattern::Any => "`*`, any".to_owned(),
    };
    line(text, format_args!("the route `{}` takes it", route.identity.name));
    line(text, format_args!("  host      {host}"));
    line(
        text,
        format_args!("  path      {path} is under the prefix `{}`", prefix(&route.identity.path_prefix)),
    );
    let stripped = if route.strip_bytes > 0 { ", the prefix taken off" } else { "" };
    line(text, format_args!("  sent      {method} {}{stripped}", sent(target, route.strip_bytes)));
    write_policy(text, route.policy.as_deref(), server);
    let balancing = route.pool.balancing;
    let how = match balancing {
        Balancing::RoundRobin => "in turns, by weight",
        Balancing::LeastConnections => "the fewest exchanges under way, by weight",
        Balancing::Random => "by chance, by weight",
    };
    line(text, format_args!("  backends  {}: {how}", balancing_name(balancing)));
    let members = &route.pool.members;
    let total: u64 = members.iter().map(|&(_, weight)| u64::from(weight)).sum();
    let width = members.iter().map(|(backend, _)| backend.address.url().len()).max().unwrap_or(0);
    for (backend, weight) in members.iter() {
        // In tenths of a percent, rounded: no floating point for two digits.
        let share = (u64::from(*weight) * 1000 + total / 2).checked_div(total).unwrap_or(0);
        let (whole, tenth) = (share / 10, share % 10);
        let url = backend.address.url();
        line(text, format_args!("    {url:width$}  weight {weight:<5}  {whole:>3}.{tenth} %"));
    }
}

/// The limits that hold for the request, and which of them are the route's own.
fn write_policy(text: &mut String, own: Option<&RoutePolicy>, server: &Policy) {
    let own = own.copied().unwrap_or_default();
    let policy = own.over(server);
    if policy.body_bytes_max < u64::MAX {
        line(text, format_args!("  content   up to {} octets", policy.body_bytes_max));
    }
    let whose = |is_own: bool| if is_own { " (the route's own)" } else { "" };
    let mut times = Vec::new();
    for (name, time, own) in [
        ("timeout", policy.timeout, own.timeout),
        ("connect", policy.connect_timeout, own.connect_timeout),
        ("tunnel", policy.tunnel_timeout, own.tunnel_timeout),
    ] {
        times.push(format!("{name} {} s{}", time.as_secs_f64(), whose(own.is_some())));
    }
    line(text, format_args!("  times     {}", times.join(", ")));
    let retries = whose(own.retries_max.is_some());
    line(text, format_args!("  retries   up to {}{retries}", policy.retries_max));
}

fn write_passed_over(text: &mut String, table: &Table, explanation: &Explanation, chosen: Option<&Route>) {
    if explanation.passed_over.is_empty() && explanation.others == 0 {
        return;
    }
    line(text, format_args!("\npassed over"));
    for &PassedOver { route, reason } in &explanation.passed_over {
        let route = table.route(route);
        let (host, path) = (&route.identity.host, prefix(&route.identity.path_prefix));
        let why = match (reason, chosen) {
            (Reason::ShorterPrefix, Some(chosen)) => {
                format!("its prefix `{path}` is shorter than `{}`", prefix(&chosen.identity.path_prefix))
            }
            (Reason::ShorterPrefix, None) => format!("its prefix `{path}` is shorter"),
            (Reason::LessExactHost, Some(chosen)) => {
                format!("its host `{host}` is less exact than `{}`", chosen.identity.host)
            }
            (Reason::LessExactHost, None) => format!("its host `{host}` is less exact"),
            (Reason::PrefixDiffers, _) => format!("the path is not under its prefix `{path}`"),
            (Reason::HostDiffers, _) => format!("its host is `{host}`"),
            (Reason::HostAndPrefixDiffer, _) => format!("its host is `{host}`, its prefix `{path}`"),
        };
        line(text, format_args!("  `{}`: {why}", route.identity.name));
    }
    if explanation.others > 0 {
        line(text, format_args!("  and {} more", explanation.others));
    }
}

/// The prefix as a file has it.
fn prefix(prefix: &PathPrefix) -> &str {
    match prefix.as_str() {
        "" => "/",
        text => text,
    }
}

/// The target as a backend gets it.
fn sent(target: &Target<'_>, strip_bytes: usize) -> String {
    let mut sent = Vec::new();
    forward::write_target(&mut sent, target, strip_bytes);
    String::from_utf8_lossy(&sent).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
[[routes]]
name = \"root\"
backends = [{ url = \"http://127.0.0.1:9001\" }]
[[routes]]
name = \"api\"
host = \"*.example.com\"
path_prefix = \"/api/\"
strip_prefix = true
body_bytes_max = 1000
timeout_secs = 1.5
load_balancing = \"random\"
backends = [{ url = \"http://10.0.0.10:80\", weight = 2 }, { url = \"http://[::1]:9002\" }]
[[routes]]
name = \"far\"
host = \"far.example.org\"
path_prefix = \"/far\"
backends = [{ url = \"http://127.0.0.1:9001\" }]
";

    fn ask(request: &str) -> Result<String, String> {
        ask_of(FILE, request)
    }

    fn ask_of(file: &str, request: &str) -> Result<String, String> {
        let config = config::parse(file, "a.toml").unwrap();
        explain(parse(request).unwrap(), &Table::compile(&config.routes, None), &config.server.policy())
    }

    #[test]
    fn says_all_of_it() {
        let text = ask("GET http://a.example.com:8080/api/x?q=1").unwrap();
        let expected = "\
GET http://a.example.com:8080/api/x?q=1

the route `api` takes it
  host      `*.example.com`, which takes the request's
  path      /api/x is under the prefix `/api`
  sent      GET /x?q=1, the prefix taken off
  content   up to 1000 octets
  times     timeout 1.5 s (the route's own), connect 1.5 s, tunnel 3600 s
  retries   up to 3
  backends  random: by chance, by weight
    http://10.0.0.10:80  weight 2       66.7 %
    http://[::1]:9002    weight 1       33.3 %

passed over
  `root`: its host `*` is less exact than `*.example.com`
  `far`: its host is `far.example.org`, its prefix `/far`
";
        assert_eq!(text, expected);
    }

    #[test]
    fn says_the_path_sent() {
        for (request, sent) in [
            ("http://a.example.com/api", "sent      GET /, the"),
            ("http://a.example.com/api/", "sent      GET /, the"),
            ("POST http://a.example.com/api?x", "sent      POST /?x, the"),
            ("http://a.example.com/apix", "sent      GET /apix\n"),
            ("http://a.example.com", "sent      GET /\n"),
            ("http://a.example.com?x", "sent      GET /?x\n"),
            ("OPTIONS *", "sent      OPTIONS *\n"),
            ("/x%20y", "sent      GET /x%20y\n"),
        ] {
            let text = ask(request).unwrap();
            assert!(text.contains(sent), "{request}: {text}");
        }
    }

    #[test]
    fn says_when_no_route_takes_it() {
        let file = FILE.replace("name = \"root\"", "name = \"root\"\npath_prefix = \"/only\"");
        let text = ask_of(&file, "/else").unwrap_err();
        assert!(text.contains("the answer is 404"), "{text}");
        assert!(text.contains("names no host"), "{text}");
        assert!(text.contains("`root`: the path is not under its prefix `/only`"), "{text}");
    }

    #[test]
    fn says_what_is_refused_before_any_route() {
        for (request, status) in [
            ("CONNECT a:1", "501"),
            ("GET *", "400"),
            ("GET /a#b", "400"),
            ("ftp://a/b", "400"),
            ("http:///x", "400"),
        ] {
            let text = ask(request).unwrap_err();
            assert!(text.contains(&format!("refused with {status}")), "{request}: {text}");
        }
    }

    #[test]
    fn refuses_what_is_no_request() {
        for (text, what, hint) in [
            ("", "no URL", "METHOD URL"),
            ("GET", "no URL", "METHOD URL"),
            ("GET /x HTTP/1.1", "more than", "METHOD URL"),
            ("G@T /x", "no method", "METHOD URL"),
            ("example.com/x", "no URL", "`http://example.com/x`"),
            ("GET localhost:80", "no URL", "`http://localhost:80`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.what.contains(what) && error.hint.contains(hint), "{text}: {error}");
        }
        assert_eq!(parse(" PUT  /x "), Ok(Asked { method: "PUT", target: "/x" }));
    }
}
