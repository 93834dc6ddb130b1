//! House rules that the compiler does not check: imports only go down, files and functions stay short, and
//! the source contains no forbidden text. Each violation is reported with file and line. The checks are
//! tested on bad snippets, to prove that they can fail.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The floors from the top down, as `src/lib.rs` tells them. A file imports from its own floor and from those below it.
const FLOORS: &[&str] = &[
    "main", "cli", "control", "config", "worker", "log", "net", "exchange", "route", "http", "metrics",
    "base",
];

/// `echo` stands beside the house: the origin for tries and benchmarks. It may import these,
const BELOW_ECHO: &[&str] = &["net", "http", "metrics", "base"];
/// and these import it (`main` are the roots of the programs).
const ABOVE_ECHO: &[&str] = &["main", "cli"];

/// Crates that only one floor names.
const ONLY_IN: &[(&str, &str)] = &[("rustix", "net"), ("socket2", "net")];

/// Lines of a file, its tests included.
const FILE_LINES_MAX: usize = 600;

/// Lines of a function, from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Crates that the program is made of, itself included (`cargo tree -e normal`).
const CRATES_MAX: usize = 45;

/// A violation: a line (counted from 1) and what is wrong with it.
type Found = (usize, String);

/// What a literal or comment that spans lines leaves open at a line's end.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    Nothing,
    Text,
    RawText(usize),
    Comment,
}

/// The lines of a source, without their comments and what stands within quotes.
fn code_lines(source: &str) -> Vec<String> {
    let mut open = Open::Nothing;
    source.lines().map(|raw| code_of(raw, &mut open)).collect()
}

/// One line of it: good enough for rustfmt'ed code.
fn code_of(raw: &str, open: &mut Open) -> String {
    let mut code = String::new();
    let mut rest = raw;
    while let Some(first) = rest.chars().next() {
        let mut step = first.len_utf8();
        match *open {
            Open::Text if first == '\\' => step += rest[1..].chars().next().map_or(0, char::len_utf8),
            Open::Text if first == '"' => *open = Open::Nothing,
            Open::RawText(hashes)
                if rest[1.min(rest.len())..].starts_with(&"#".repeat(hashes)) && first == '"' =>
            {
                step += hashes;
                *open = Open::Nothing;
            }
            Open::Comment if rest.starts_with("*/") => {
                step = 2;
                *open = Open::Nothing;
            }
            Open::Text | Open::RawText(_) | Open::Comment => {}
            Open::Nothing if rest.starts_with("//") => break,
            Open::Nothing if rest.starts_with("/*") => *open = Open::Comment,
            Open::Nothing if first == '"' => *open = Open::Text,
            Open::Nothing if raw_text(&code, rest).is_some() => {
                let hashes = raw_text(&code, rest).unwrap_or(0);
                step = 2 + hashes;
                *open = Open::RawText(hashes);
            }
            Open::Nothing => match character(rest) {
                Some(length) => step = length,
                None => code.push(first),
            },
        }
        rest = &rest[step..];
    }
    code
}

/// The number of `#` where a raw string opens at the front of `rest`.
fn raw_text(before: &str, rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('r')?;
    let quote = behind.trim_start_matches('#');
    // `br"…"` is one too; an identifier that ends in r is not followed by a quote.
    let part_of_name = before.trim_end_matches('b').ends_with(|c: char| c.is_alphanumeric() || c == '_');
    (quote.starts_with('"') && !part_of_name).then(|| behind.len() - quote.len())
}

/// The length of a character literal at the front of `rest`; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('\'')?;
    let mut chars = behind.char_indices();
    let (_, first) = chars.next()?;
    let from = if first == '\\' { chars.nth(1)?.0 } else { chars.next()?.0 };
    let end = from + behind[from..].find('\'')?;
    // Only an escape has more than one character.
    (first == '\\' || end == from).then_some(end + 2)
}

/// The floor of a file, by its path within `src`.
fn floor_of(path: &str) -> &str {
    let front = path.split('/').next().unwrap_or(path);
    match front {
        "main.rs" | "lib.rs" | "bin" => "main",
        _ => front.trim_end_matches(".rs"),
    }
}

fn may_import(from: &str, to: &str) -> bool {
    let place = |floor: &str| FLOORS.iter().position(|&other| other == floor);
    match (from, to) {
        _ if from == to => true,
        ("echo", _) => BELOW_ECHO.contains(&to),
        (_, "echo") => ABOVE_ECHO.contains(&from),
        _ => matches!((place(from), place(to)), (Some(from), Some(to)) if from < to),
    }
}

/// The floors that a line names: `crate::x`, `apex::x`, `crate::{x, y}`, and `super::…::x` as far as it leaves `depth` modules.
fn named_floors(code: &str, depth: usize) -> Vec<String> {
    let supers = "super::".repeat(depth);
    let mut roots = vec!["crate::", "apex::"];
    if depth > 0 {
        roots.push(&supers);
    }
    let mut found = Vec::new();
    for root in roots {
        for (place, _) in code.match_indices(root) {
            let before = &code[..place];
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            found.extend(front_names(&code[place + root.len()..]));
        }
    }
    found
}

/// `a::b` names a; `{a::b, c::{d, e}}` names a and c.
fn front_names(path: &str) -> Vec<String> {
    let name =
        |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(list) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = Vec::new();
    let (mut depth, mut from) = (0_usize, 0);
    for (place, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                names.push(name(&list[from..place]));
                from = place + 1;
            }
            '}' if depth == 0 => {
                names.push(name(&list[from..place]));
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// How many `super` lead from the module of a file in `src` to the crate's root: `http/head.rs` needs two, `http/mod.rs` one.
fn depth_of(path: &str) -> usize {
    let parts = path.split('/').count();
    if path.ends_with("mod.rs") { parts - 1 } else { parts }
}

/// Imports that go up, in one file of `src`. Lists over several lines are joined first.
fn check_floors(path: &str, source: &str) -> Vec<Found> {
    let floor = floor_of(path);
    let mut found = Vec::new();
    if floor == "main" {
        return found;
    }
    if !FLOORS.contains(&floor) && floor != "echo" {
        found.push((1, format!("`{floor}` is no floor: tests/tidy.rs and src/lib.rs list them")));
        return found;
    }
    let mut statement = String::new();
    let mut begun = 0;
    for (index, line) in code_lines(source).iter().enumerate() {
        for (krate, owner) in ONLY_IN {
            if floor != *owner && line.contains(&format!("{krate}::")) {
                found.push((index + 1, format!("`{krate}` is named only in src/{owner}")));
            }
        }
        if statement.is_empty() {
            begun = index + 1;
        }
        statement.push_str(line.trim());
        let is_list = ["use ", "pub use ", "pub(crate) use "].iter().any(|word| statement.starts_with(word));
        if is_list && !statement.ends_with(';') {
            continue;
        }
        // Within `mod tests` there is one `super` more on the way; both readings are checked.
        for depth in [depth_of(path), depth_of(path) + 1] {
            for name in named_floors(&statement, depth) {
                let known = FLOORS.contains(&name.as_str()) || name == "echo";
                if known && !may_import(floor, &name) {
                    found.push((begun, format!("`{floor}` imports from `{name}`, which is not below it")));
                }
            }
        }
        statement.clear();
    }
    found.sort();
    found.dedup();
    found
}

/// Length of the file and of its functions, and its opening.
fn check_shape(source: &str) -> Vec<Found> {
    let mut found = Vec::new();
    if !source.starts_with("//!") {
        found.push((1, "the file does not open with `//!`".to_owned()));
    }
    let lines = code_lines(source);
    if lines.len() > FILE_LINES_MAX {
        found
            .push((FILE_LINES_MAX + 1, format!("the file has {} lines, over {FILE_LINES_MAX}", lines.len())));
    }
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        // rustfmt puts the closing brace of a function under its first letter; one without a body ends in `;`.
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines[index..].iter().position(|line| {
            line.trim_end() == closing
                || (line.len() - line.trim_start().len() == indent && line.trim_end().ends_with(['}', ';']))
        });
        let length = end.map_or(lines.len() - index, |end| end + 1);
        if length >= FUNCTION_LINES_MAX {
            found.push((index + 1, format!("`{name}` has {length} lines, not under {FUNCTION_LINES_MAX}")));
        }
    }
    found
}

/// The name of the function whose signature opens at this line.
fn function_name(code: &str) -> Option<&str> {
    let words = ["pub", "pub(crate)", "pub(super)", "const", "async", "extern", "unsafe"];
    let mut rest = code.trim_start();
    while let Some(word) =
        words.iter().find(|word| rest.strip_prefix(**word).is_some_and(|rest| rest.starts_with(' ')))
    {
        rest = rest[word.len()..].trim_start();
    }
    let name = rest.strip_prefix("fn ")?;
    Some(&name[..name.find(|c: char| !c.is_alphanumeric() && c != '_')?])
}

/// Where a program or the library begins, it forbids unsafe code.
fn check_root(source: &str) -> Vec<Found> {
    let forbids = source.lines().any(|line| line == "#![forbid(unsafe_code)]");
    if forbids { Vec::new() } else { vec![(1, "a root without `#![forbid(unsafe_code)]`".to_owned())] }
}

/// The modules that `#[cfg(test)] mod name;` makes part of the tests alone, as paths without `.rs`.
fn test_modules(path: &str, source: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let is_folder = ["mod", "lib", "main"].iter().any(|name| stem.ends_with(&format!("/{name}")));
    let folder = if is_folder { stem.rsplit_once('/').map_or("", |(folder, _)| folder) } else { stem };
    let lines = code_lines(source);
    let pairs = lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]");
    let names = pairs.filter_map(|pair| pair[1].trim().strip_prefix("mod ")?.strip_suffix(';'));
    names.map(|name| format!("{folder}/{name}")).collect()
}

/// Is the file one of those modules, or within one?
fn is_of_tests(path: &str, modules: &[String]) -> bool {
    modules.iter().any(|module| {
        path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

/// Words that must not stand in the code; `.unwrap()` is checked before the tests of a file of `src` begin.
fn check_words(source: &str, mut in_tests: bool) -> Vec<Found> {
    let mut found = Vec::new();
    let lines = code_lines(source);
    for (index, line) in lines.iter().enumerate() {
        // Where the module is another file, what follows here is no test.
        in_tests |= line.trim() == "#[cfg(test)]"
            && lines.get(index + 1).is_some_and(|next| next.trim_end().ends_with('{'));
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '!');
        for word in words {
            if ["unsafe", "todo!", "unimplemented!", "dbg!"].contains(&word) {
                found.push((index + 1, format!("`{word}`")));
            }
        }
        if !in_tests && line.contains(".unwrap()") {
            found.push((index + 1, "`.unwrap()` outside tests".to_owned()));
        }
    }
    found
}

/// Paths of somebody's machine. The needles are put together here, so that this file does not hold them.
fn check_paths(source: &str) -> Vec<Found> {
    let needles = ["root", "home", "work", "farm", "Users"].map(|name| format!("/{name}/"));
    let mut found = Vec::new();
    for (index, line) in source.lines().enumerate() {
        for needle in &needles {
            for (place, _) in line.match_indices(needle.as_str()) {
                // `example.com/home/` is a path of somebody's site, and `src/worker/` no word of ours.
                let absolute =
                    line[..place].ends_with(|c: char| !c.is_alphanumeric() && !"._-/*}".contains(c));
                if absolute || place == 0 {
                    found.push((index + 1, format!("`{needle}` is a path of one machine")));
                }
            }
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `folder` that end in one of `endings`, with their path from the root and their text.
fn files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("the folder can be read").path();
            let name =
                path.strip_prefix(root()).expect("it is within the root").to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "corpus", "artifacts", "coverage"]
                    .iter()
                    .any(|skipped| path.ends_with(skipped))
                {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push((name, fs::read_to_string(&path).expect("source is UTF-8")));
            }
        }
    }
    found.sort();
    found
}

/// Fails with every violation that `check` finds.
fn hold(files: &[(String, String)], check: impl Fn(&str, &str) -> Vec<Found>) {
    assert!(!files.is_empty(), "no file was checked");
    let mut report = String::new();
    for (path, source) in files {
        for (line, what) in check(path, source) {
            let _ = write!(report, "\n{path}:{line}: {what}");
        }
    }
    assert!(report.is_empty(), "{report}\n");
}

fn rust_files() -> Vec<(String, String)> {
    ["src", "tests", "benches", "fuzz", "examples"]
        .iter()
        .flat_map(|folder| files(folder, &[".rs"]))
        .collect()
}

#[test]
fn imports_only_go_down() {
    hold(&files("src", &[".rs"]), |path, source| check_floors(path.trim_start_matches("src/"), source));
}

#[test]
fn files_and_functions_are_short_and_say_what_they_are() {
    hold(&rust_files(), |_, source| check_shape(source));
}

#[test]
fn roots_forbid_unsafe_code() {
    let mut roots = files("src", &["src/lib.rs", "src/main.rs"]);
    roots.extend(files("src/bin", &[".rs"]));
    hold(&roots, |_, source| check_root(source));
}

#[test]
fn nothing_is_left_undone() {
    let files = rust_files();
    let modules: Vec<String> = files.iter().flat_map(|(path, source)| test_modules(path, source)).collect();
    hold(&files, |path, source| {
        check_words(source, !path.starts_with("src/") || is_of_tests(path, &modules))
    });
}

#[test]
fn no_machine_is_named() {
    let mut all = rust_files();
    for folder in [".ci", ".cargo", ".github", "benches", "deploy", "docs", "examples", "fuzz", "tests"] {
        all.extend(files(folder, &["run", ".py", ".sh", ".yml", ".toml", ".md", ".service"]));
    }
    let documents = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
    for name in ["Cargo.toml", "apex.toml", "clippy.toml"].into_iter().chain(documents) {
        all.extend(fs::read_to_string(root().join(name)).map(|text| (name.to_owned(), text)));
    }
    hold(&all, |_, source| check_paths(source));
}

#[test]
fn dependencies_are_few() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut crates: Vec<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    crates.sort_unstable();
    crates.dedup();
    assert!(crates.len() > 1 && crates.len() < CRATES_MAX, "{} crates:\n{}", crates.len(), crates.join("\n"));
}

/// The checks can fail, and do not fail where they should not.
mod checker {
    use super::*;

    /// The lines of the violations.
    fn at(found: &[Found]) -> Vec<usize> {
        found.iter().map(|found| found.0).collect()
    }

    #[test]
    fn an_import_that_goes_up_is_found() {
        for (path, bad) in [
            ("http/head.rs", "use crate::route::Table;"),
            ("http/head.rs", "use crate::{http::field, route::Table};"),
            ("http/head.rs", "use crate::{\n    http::field,\n    route::Table,\n};"),
            ("http/head.rs", "use super::super::net::socket;"),
            ("http/head.rs", "fn a(b: crate::net::Socket) {}"),
            ("metrics/mod.rs", "use super::http;"),
            ("worker/drive.rs", "use crate::config::Config;"),
            ("worker/pool/idle.rs", "use super::super::super::cli::run;"),
            ("echo/mod.rs", "use crate::worker::wheel;"),
            ("worker/loop.rs", "use crate::echo::serve;"),
            ("worker/loop.rs", "let pipe = rustix::pipe::pipe();"),
            ("extra.rs", "fn a() {}"),
        ] {
            assert_eq!(at(&check_floors(path, &format!("{bad}\n"))), [1], "{path}: {bad}");
        }
    }

    #[test]
    fn an_import_that_goes_down_is_none() {
        for (path, good) in [
            ("route/table.rs", "use crate::http::authority;"),
            ("http/head.rs", "use super::field::Field;"),
            ("http/head.rs", "use crate::http::field::Field; // not crate::route"),
            ("http/head.rs", "const A: &str = \"crate::route::\";"),
            ("worker/drive.rs", "use crate::{exchange::Tick, log::queue::{self, Lines}, net};"),
            ("echo/mod.rs", "use crate::{http, net};"),
            ("cli/demo.rs", "use crate::echo;"),
            ("net/pipe.rs", "use rustix::pipe;"),
            ("main.rs", "use apex::cli;"),
            ("bin/echo-server.rs", "use apex::echo;"),
        ] {
            assert_eq!(check_floors(path, &format!("{good}\n")), [], "{path}: {good}");
        }
    }

    #[test]
    fn a_bad_shape_is_found() {
        assert_eq!(at(&check_shape("fn a() {}\n")), [1]);
        assert_eq!(
            at(&check_shape(&format!("//! A.\n{}", "//\n".repeat(FILE_LINES_MAX)))),
            [FILE_LINES_MAX + 1]
        );
        let body = |lines: usize| "        a();\n".repeat(lines);
        let method =
            |lines| format!("//! A.\nimpl A {{\n    pub(super) fn a() {{\n{}    }}\n}}\n", body(lines));
        assert_eq!(at(&check_shape(&method(FUNCTION_LINES_MAX - 2))), [3]);
        assert_eq!(check_shape(&method(FUNCTION_LINES_MAX - 3)), []);
        let short = format!(
            "//! A.\nfn a() {{}}\ntrait B {{\n    fn b();\n}}\nconst C: &[u8] = &[\n{}];\n",
            body(100)
        );
        assert_eq!(check_shape(&short), []);
    }

    #[test]
    fn a_bad_word_is_found() {
        for bad in [
            "    todo!()",
            "dbg!(a);",
            "let b = a.unwrap();",
            "unimplemented!()",
            "fn a() { unsafe { b() } }",
        ] {
            assert_eq!(at(&check_words(&format!("//! A.\n{bad}\n"), false)), [2], "{bad}");
        }
        for good in [
            "// todo!()",
            "a.unwrap_or(b)",
            "b\"unsafe\"",
            "#![forbid(unsafe_code)]",
            "#[cfg(test)]\nmod tests {\n    b.unwrap()",
        ] {
            assert_eq!(check_words(&format!("//! A.\n{good}\n"), false), [], "{good}");
        }
        assert_eq!(check_words("b.unwrap()", true), []);
        assert_eq!(at(&check_words("#[cfg(test)]\nmod tests;\nb.unwrap()", false)), [3]);
        let modules = test_modules("src/a/mod.rs", "#[cfg(test)]\nmod b;\nmod c;\n");
        assert_eq!(modules, ["src/a/b"]);
        assert_eq!(test_modules("src/a/d.rs", "#[cfg(test)]\nmod tests;\n"), ["src/a/d/tests"]);
        for (path, is_test) in
            [("src/a/b.rs", true), ("src/a/b/c.rs", true), ("src/a/bc.rs", false), ("src/a/c.rs", false)]
        {
            assert_eq!(is_of_tests(path, &modules), is_test, "{path}");
        }
        assert_eq!(at(&check_root("//! A.\nfn main() {}\n")), [1]);
        assert_eq!(check_root("//! A.\n#![forbid(unsafe_code)]\n"), []);
    }

    #[test]
    fn a_machine_path_is_found() {
        let path = format!("/{}/x", "root");
        assert_eq!(at(&check_paths(&format!("a\nlet a = \"{path}\";\n"))), [2]);
        assert_eq!(at(&check_paths(&format!("{path}\n"))), [1]);
        assert_eq!(check_paths(&format!("http://example.com{path} src{path}\n")), []);
    }

    #[test]
    fn literals_and_comments_are_no_code() {
        let code = |source| code_lines(source).join("|");
        assert_eq!(code("a // b"), "a ");
        assert_eq!(code("a /* b\nc */ d"), "a | d");
        assert_eq!(code(r#"a("b\"c", 'd', '\'', '"', '\u{85}') + e"#), "a(, , , , ) + e");
        assert_eq!(code("a(r#\"b\"c\nd\"# , br\"e\")"), "a(| , b)");
        assert_eq!(
            code("fn a<'b>(c: &'b str) -> &'static str {}"),
            "fn a<'b>(c: &'b str) -> &'static str {}"
        );
        assert_eq!(code("\"a\\\nb\" c"), "| c");
    }
}
