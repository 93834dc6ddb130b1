//! No import cycles between files: a reader can begin at the bottom. The check covers every name in code, in
//! a `use` or not, except tests beside the code.
#![allow(clippy::unwrap_used, reason = "a file that is not there ends the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Floors without circles.
const FLOORS: [&str; 7] = ["control", "config", "cli", "metrics", "base", "http", "log"];

/// The modules of a floor by their path, each with the modules that it names.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What follows on a path that leads to `context`: a name, or several in braces, each with what comes behind it.
fn targets(context: &[&str], rest: &str, found: &mut Vec<Vec<String>>) {
    let mut path: Vec<String> = context.iter().map(|part| (*part).to_owned()).collect();
    let mut rest = rest;
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            let context: Vec<&str> = path.iter().map(String::as_str).collect();
            let (mut depth, mut start) = (0, 0);
            for (at, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    ',' | '}' if depth == 0 => {
                        targets(&context, group[start..at].trim(), found);
                        start = at + 1;
                        if c == '}' {
                            break;
                        }
                    }
                    '}' => depth -= 1,
                    _ => {}
                }
            }
            return;
        }
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if end > 0 {
            path.push(rest[..end].to_owned());
        }
        match rest[end..].strip_prefix("::") {
            Some(after) if end > 0 => rest = after,
            _ => break,
        }
    }
    found.push(path);
}

/// The paths within its floor that a source names; it is that of the module `module`.
fn named(floor: &str, module: &[&str], source: &str) -> Vec<Vec<String>> {
    let code: Vec<&str> = source.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
    let code = code.join("\n");
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
    let mut found = Vec::new();
    let front = format!("crate::{floor}::");
    for (at, _) in code.match_indices(&front) {
        targets(&[], &code[at + front.len()..], &mut found);
    }
    for (at, _) in code.match_indices("super::") {
        let before = &code[..at];
        if before.ends_with("::") || before.ends_with(is_name) {
            continue;
        }
        let mut rest = &code[at..];
        let mut up = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, up) = (after, up + 1);
        }
        targets(&module[..module.len().saturating_sub(up)], rest, &mut found);
    }
    found
}

fn add_files(folder: &Path, module: &[&str], files: &mut Vec<(Vec<String>, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut inner: Vec<&str> = module.to_vec();
        if name != "mod" {
            inner.push(&name);
        }
        if path.is_dir() {
            add_files(&path, &inner, files);
        } else if name != "tests" {
            let inner = inner.iter().map(|part| (*part).to_owned()).collect();
            files.push((inner, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn graph_of(floor: &str, files: &[(Vec<String>, String)]) -> Graph {
    let known: BTreeSet<&[String]> = files.iter().map(|(module, _)| &module[..]).collect();
    let mut graph = Graph::new();
    for (module, source) in files {
        let parts: Vec<&str> = module.iter().map(String::as_str).collect();
        let to = named(floor, &parts, source).into_iter().filter_map(|path| {
            let length = (0..=path.len()).rev().find(|&length| known.contains(&path[..length]))?;
            // What the root of a floor shows is said there for others.
            (length > 0 && path[..length] != module[..]).then(|| path[..length].join("::"))
        });
        graph.insert(module.join("::"), to.collect());
    }
    graph
}

/// A way around, if there is one.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    fn go(graph: &Graph, at: &str, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        if let Some(begin) = way.iter().position(|one| one == at) {
            way.drain(..begin);
            return true;
        }
        if !done.insert(at.to_owned()) {
            return false;
        }
        way.push(at.to_owned());
        let is_circle = graph.get(at).is_some_and(|to| to.iter().any(|next| go(graph, next, way, done)));
        if !is_circle {
            way.pop();
        }
        is_circle
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|at| {
        let mut way = Vec::new();
        go(graph, at, &mut way, &mut done).then_some(way)
    })
}

#[test]
fn no_file_imports_one_that_imports_it() {
    for floor in FLOORS {
        let mut files = Vec::new();
        add_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(floor), &[], &mut files);
        assert!(files.len() > 1, "{floor}");
        let graph = graph_of(floor, &files);
        assert_eq!(circle(&graph), None, "{floor}");
    }
}

#[test]
fn circles_are_found() {
    let file = |module: &str, source: &str| {
        let parts = module.split("::").filter(|part| !part.is_empty()).map(str::to_owned);
        (parts.collect::<Vec<_>>(), source.to_owned())
    };
    let of = |files: &[(Vec<String>, String)]| circle(&graph_of("control", files));
    let a = file("a", "use super::{b::{Thing, other}, c};\n// super::d\nfn f() {}\n");
    let straight =
        [a.clone(), file("b", "use crate::control::c::Thing;"), file("c", ""), file("d", "use super::a;")];
    assert_eq!(of(&straight), None);
    let around =
        [a.clone(), file("b", ""), file("c", "fn f() { super::d::g() }"), file("d", "use super::a::f;")];
    assert_eq!(of(&around), Some(vec!["a".to_owned(), "c".to_owned(), "d".to_owned()]));
    let nested =
        [file("b", "use self::x; pub use super::b::x;"), file("b::x", "use super::super::a;"), a.clone()];
    assert_eq!(of(&nested), Some(vec!["a".to_owned(), "b".to_owned(), "b::x".to_owned()]));
    let in_tests = [a, file("b", "#[cfg(test)]\nmod tests {\n    use super::super::a;\n}"), file("c", "")];
    assert_eq!(of(&in_tests), None);
}
