//! What must hold for any text that is taken for a configuration file.

use apex::config::{self, Config, Problems};
use apex::route::pattern::{HostPattern, PathPrefix};
use apex::route::table::Table;

/// A text is accepted or refused without a panic; each problem stands at a place of the text and can be shown; what is
/// accepted compiles into a table in which every route is found, and each by what it was written for.
pub(crate) fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match config::parse(&text, "apex.toml") {
        Ok(config) => runs(&config),
        Err(problems) => tells(&text, &problems),
    }
}

fn runs(config: &Config) {
    assert!(!config.server.listen.is_empty() && !config.routes.is_empty());
    let head = &config.server.head;
    assert!(head.target_bytes_max <= head.head_bytes_max);
    let table = Table::compile(&config.routes, None);
    assert_eq!(table.routes().len(), config.routes.len());
    for (index, (spec, route)) in config.routes.iter().zip(table.routes()).enumerate() {
        assert!(!spec.backends.is_empty());
        assert_eq!((&spec.name, spec.backends.len()), (&route.identity.name, route.pool.members.len()));
        let host = match &spec.host {
            HostPattern::Any => None,
            HostPattern::Exact(name) => Some(name.clone()),
            // No other route can name a label that long.
            HostPattern::Wildcard(name) => Some(format!("{}.{name}", "x".repeat(64))),
        };
        let host = host.as_deref().map(str::as_bytes);
        for path in [spec.path_prefix.as_str().to_owned(), format!("{}/", spec.path_prefix.as_str())] {
            let path = if path.is_empty() { "/" } else { &path };
            let found = table.find(host, path.as_bytes()).expect("a route takes what it was written for");
            // A route of the same host may stand for the path with its slash as well, and that one is as exact.
            let found = table.route(found).identity.number;
            let by_another = &config.routes[found];
            assert!(
                found == index
                    || (by_another.host == spec.host && by_another.path_prefix != spec.path_prefix),
                "{spec:?} is taken by {by_another:?}"
            );
        }
        // What is shown of a pattern reads as the same pattern.
        assert_eq!(HostPattern::parse(&spec.host.to_string()).as_ref(), Ok(&spec.host));
        let prefix = format!("{}/", spec.path_prefix.as_str());
        assert_eq!(PathPrefix::parse(&prefix).as_ref(), Ok(&spec.path_prefix));
    }
}

fn tells(text: &str, problems: &Problems) {
    assert!(!problems.told.is_empty());
    assert!(problems.told.len() <= config::error::PROBLEMS_MAX && problems.count() >= problems.told.len());
    let shown = problems.to_string();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split('\n').collect();
    let mut before = (0, 0);
    for problem in &problems.told {
        let place = problem.place.as_ref().expect("a text that was read has places");
        let line = lines.get(place.line.wrapping_sub(1)).expect("the line is one of the text");
        // Behind the last character is a place, too: something is missing there.
        assert!((1..=line.chars().count() + 1).contains(&place.column), "{place:?}");
        assert!(place.marked >= 1 && place.indent <= place.text.chars().count(), "{place:?}");
        assert!(!place.text.chars().any(|c| c.is_control() && c != '\t'), "{place:?}");
        assert!(before <= (place.line, place.column), "in the order of the text: {before:?}, {place:?}");
        before = (place.line, place.column);
        let logged = problem.line_for_log(&problems.file);
        assert!(!problem.what.is_empty() && logged.contains(&problem.what) && shown.contains(&problem.what));
        assert!(!logged.contains(['\n', '\r', '\u{1b}']), "a line for a log is one line: {logged:?}");
    }
}
