//! `[[routes]]` judged: each route by itself, and then what must not be there twice.

use super::check::{SECONDS, body_bytes_max, whole};
use super::file::{BACKEND, ROUTE, Section, Walk, entries, quoted};
use super::nearest::nearest;
use crate::route::pattern::{HostPattern, PathPrefix};
use crate::route::policy::{RETRIES_MAX, RoutePolicy};
use crate::route::spec::{BackendAddress, BackendSpec, Balancing, RouteSpec};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeValue;

/// Characters of a route's name: it stands in every line of the log.
const NAME_CHARS_MAX: usize = 128;

/// Retries that may be asked for: far beyond what helps a request, and too few to hold one for long.
const RETRIES_CEILING: u64 = 100;

/// How a route is written.
const EXAMPLE: &str =
    "add `[[routes]]` with `name = \"my-api\"` and `backends = [{ url = \"http://127.0.0.1:9001\" }]`";

/// The names of the ways to choose a backend.
const BALANCINGS: [(&str, Balancing); 3] = [
    ("round_robin", Balancing::RoundRobin),
    ("least_connections", Balancing::LeastConnections),
    ("random", Balancing::Random),
];

/// What a file calls `balancing`.
pub fn balancing_name(balancing: Balancing) -> &'static str {
    match balancing {
        Balancing::RoundRobin => BALANCINGS[0].0,
        Balancing::LeastConnections => BALANCINGS[1].0,
        Balancing::Random => BALANCINGS[2].0,
    }
}

/// What routes before this one have taken, each with the line where.
#[derive(Debug, Default)]
struct Taken {
    names: HashMap<String, usize>,
    places: HashMap<(HostPattern, PathPrefix), (String, usize)>,
    /// What routes set by themselves: routes that set the same share it.
    policies: HashMap<RoutePolicy, Arc<RoutePolicy>>,
}

/// The routes of a file, as they are judged.
#[derive(Debug, Default)]
pub(super) struct Routes {
    taken: Taken,
    /// Those with nothing wrong in them.
    pub(super) specs: Vec<RouteSpec>,
}

/// Notes that there is no route.
pub(super) fn absent(walk: &mut Walk<'_>) {
    walk.absent(0..0, "the file has no `[[routes]]`", EXAMPLE);
}

impl Routes {
    /// Judges a list of routes. A route with something wrong in it is noted and left out.
    pub(super) fn judge<'t>(&mut self, walk: &mut Walk<'t>, value: Spanned<DeValue<'t>>) {
        if !value.get_ref().is_array() {
            walk.wrong_type(&value, "a list of routes", "write `[[routes]]`, in two brackets");
            return;
        }
        let span = value.span();
        let entries = entries(value);
        if entries.is_empty() {
            walk.absent(span, "the list of routes is empty", EXAMPLE);
        }
        for entry in entries {
            let Some(section) = walk.section(entry, &ROUTE, "write `[[routes]]`") else { continue };
            self.specs.extend(route(walk, section, &mut self.taken));
        }
    }
}

fn route<'t>(walk: &mut Walk<'t>, mut section: Section<'t>, taken: &mut Taken) -> Option<RouteSpec> {
    let it = &mut section;
    let name = name(walk, it, taken);
    let (host, host_span) = pattern(walk, it, "host", "*", HostPattern::parse);
    let (path_prefix, path_span) = pattern(walk, it, "path_prefix", "/", PathPrefix::parse);
    let strip_prefix = walk.flag(it, "strip_prefix", false);
    let balancing = balancing(walk, it);
    let policy = policy(walk, it, taken);
    let backends = backends(walk, it);
    let header = section.span.clone();
    walk.close(section);
    let (host, path_prefix) = (host?, path_prefix?);
    // The prefix is the likelier slip; where neither is written, both are defaults and the route's header is to blame.
    let place = path_span.or(host_span).unwrap_or(header);
    place_is_free(walk, (&host, &path_prefix), place, name.as_deref().unwrap_or("?"), taken);
    let (name, backends) = (name?, backends?);
    Some(RouteSpec { name, host, path_prefix, strip_prefix, balancing, policy, backends })
}

/// The limits and timeouts that the route sets; none where it sets none.
fn policy<'t>(walk: &mut Walk<'t>, section: &mut Section<'t>, taken: &mut Taken) -> Option<Arc<RoutePolicy>> {
    let policy = RoutePolicy {
        timeout: walk.seconds(section, "timeout_secs", &SECONDS),
        connect_timeout: walk.seconds(section, "connect_timeout_secs", &SECONDS),
        tunnel_timeout: walk.seconds(section, "tunnel_timeout_secs", &SECONDS),
        body_bytes_max: body_bytes_max(walk, section),
        // No server's value stands above it: written out, the default is no setting.
        retries_max: whole(walk, section, "retries_max", 0..=RETRIES_CEILING)
            .filter(|&retries| retries != RETRIES_MAX),
    };
    (policy != RoutePolicy::default())
        .then(|| Arc::clone(taken.policies.entry(policy).or_insert_with(|| Arc::new(policy))))
}

/// `name`: required, unique, and fit for a line of the log.
fn name<'t>(walk: &mut Walk<'t>, section: &mut Section<'t>, taken: &mut Taken) -> Option<String> {
    let Some(value) = section.take("name") else {
        walk.absent(
            section.span.clone(),
            "the route has no `name`",
            "add `name = \"…\"`, unique in the file",
        );
        return None;
    };
    let name: Spanned<String> = walk.value(value, "text in quotes")?;
    let text = name.get_ref();
    let wrong = if text.trim().is_empty() {
        Some("the route's `name` is empty".to_owned())
    } else if text.trim() != text {
        Some("the route's `name` begins or ends with white space".to_owned())
    } else if text.chars().any(char::is_control) {
        Some("the route's `name` holds a control character".to_owned())
    } else if text.chars().count() > NAME_CHARS_MAX {
        Some(format!("the route's `name` is longer than {NAME_CHARS_MAX} characters"))
    } else {
        None
    };
    if let Some(what) = wrong {
        walk.wrong(name.span(), what, "a short name, for logs and metrics");
        return None;
    }
    let line = walk.line(name.span().start);
    if let Some(first) = taken.names.get(text) {
        let hint = format!("line {first} has it already");
        walk.wrong(name.span(), format!("the name {} is taken", quoted(text)), hint);
        return None;
    }
    taken.names.insert(text.clone(), line);
    Some(name.into_inner())
}

/// A host or a path as `parse` reads it, with its place if it is written; `default` if not.
fn pattern<'t, T>(
    walk: &mut Walk<'t>,
    section: &mut Section<'t>,
    key: &'static str,
    default: &str,
    parse: fn(&str) -> Result<T, String>,
) -> (Option<T>, Option<Range<usize>>) {
    let Some(value) = section.take(key) else { return (parse(default).ok(), None) };
    let span = value.span();
    if value.get_ref().is_array() {
        walk.wrong_type(&value, "text in quotes", format!("one `{key}` a route: write a route for each"));
        return (None, Some(span));
    }
    let Some(text) = walk.value::<String>(value, "text in quotes") else { return (None, Some(span)) };
    match parse(text.get_ref()) {
        Ok(parsed) => (Some(parsed), Some(span)),
        Err(why) => {
            walk.wrong(span.clone(), format!("bad `{key}`"), why);
            (None, Some(span))
        }
    }
}

/// Two routes with the same host and prefix: the second could never be reached.
fn place_is_free(
    walk: &mut Walk<'_>,
    (host, path): (&HostPattern, &PathPrefix),
    span: Range<usize>,
    name: &str,
    taken: &mut Taken,
) {
    let key = (host.clone(), path.clone());
    if let Some((first, line)) = taken.places.get(&key) {
        let hint = format!("{} in line {line} takes the same host and path prefix", quoted(first));
        walk.wrong(span, format!("the route {} can never be reached", quoted(name)), hint);
        return;
    }
    let line = walk.line(span.start);
    taken.places.insert(key, (name.to_owned(), line));
}

fn balancing<'t>(walk: &mut Walk<'t>, section: &mut Section<'t>) -> Balancing {
    let Some(text) = walk.text(section, "load_balancing") else { return Balancing::default() };
    if let Some(&(_, balancing)) = BALANCINGS.iter().find(|(name, _)| name == text.get_ref()) {
        return balancing;
    }
    let names = BALANCINGS.map(|(name, _)| name);
    let hint = match nearest(text.get_ref(), &names) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("one of {}", names.join(", ")),
    };
    walk.wrong(text.span(), format!("unknown `load_balancing` {}", quoted(text.get_ref())), hint);
    Balancing::default()
}

/// `backends`: a list of one or more, no address twice.
fn backends<'t>(walk: &mut Walk<'t>, section: &mut Section<'t>) -> Option<Vec<BackendSpec>> {
    const EXAMPLE: &str = "backends = [{ url = \"http://127.0.0.1:9001\" }]";
    let Some(value) = section.take("backends") else {
        walk.absent(section.span.clone(), "the route has no `backends`", format!("add `{EXAMPLE}`"));
        return None;
    };
    if !value.get_ref().is_array() {
        walk.wrong_type(&value, "a list of backends", format!("write `{EXAMPLE}`"));
        return None;
    }
    let span = value.span();
    let entries = entries(value);
    let count = entries.len();
    if count == 0 {
        walk.absent(span, "the list of backends is empty", format!("write `{EXAMPLE}`"));
        return None;
    }
    let mut lines: HashMap<BackendAddress, usize> = HashMap::new();
    let mut backends = Vec::new();
    for entry in entries {
        let Some((backend, span)) = backend(walk, entry) else { continue };
        let line = walk.line(span.start);
        if let Some(first) = lines.get(&backend.address) {
            let hint = format!("line {first} has it already; `weight` gives it a larger share");
            walk.wrong(span, "the same backend twice in one route", hint);
        } else {
            lines.insert(backend.address.clone(), line);
            backends.push(backend);
        }
    }
    (backends.len() == count).then_some(backends)
}

/// One backend, with the place of its `url`.
fn backend<'t>(walk: &mut Walk<'t>, entry: Spanned<DeValue<'t>>) -> Option<(BackendSpec, Range<usize>)> {
    let hint = match entry.get_ref() {
        DeValue::String(url) => format!("write {{ url = \"{}\" }}", url.escape_debug()),
        _ => "write { url = \"http://127.0.0.1:9001\" }".to_owned(),
    };
    let mut section = walk.section(entry, &BACKEND, &hint)?;
    let range = 1..=u64::from(u16::MAX);
    let weight =
        walk.whole(&mut section, "weight", range, "a whole number from 1 to 65535; 1 where it is left out");
    let weight = weight.map_or(Some(1), |weight| u16::try_from(weight.into_inner()).ok());
    let url = section.take("url");
    let braces = section.span.clone();
    walk.close(section);
    let Some(url) = url else {
        walk.absent(braces, "the backend has no `url`", "add `url = \"http://127.0.0.1:9001\"`");
        return None;
    };
    let url: Spanned<String> = walk.value(url, "text in quotes")?;
    match BackendAddress::parse_url(url.get_ref()) {
        Ok(address) => Some((BackendSpec { address, weight: weight? }, url.span())),
        Err(why) => {
            walk.wrong(url.span(), "bad `url` of a backend", why);
            None
        }
    }
}
