//! Checks the documents against the program: keys, defaults and bounds, counters, examples, links, flags,
//! paths, and the output of the commands that touch no running process.

#[path = "docs/markdown.rs"]
mod markdown;

use apex::config::{self, Config, Problems};
use markdown::{Table, anchors, blocks, links, spans, tables};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The longest README, lines.
const README_LINES_MAX: usize = 200;

/// The plainest route.
const ROUTE: &str = "[[routes]]\nname = \"a\"\nbackends = [{ url = \"http://127.0.0.1:9001\" }]\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below `folder` whose name ends in `end`, as paths from the root. What is built or found by fuzzing is left out.
fn files(folder: &str, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder that can be read") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            let is_left_out = name.starts_with('.') || ["target", "corpus", "node_modules"].contains(&&*name);
            if entry.file_type().expect("its type").is_dir() && !is_left_out {
                folders.push(path);
            } else if name.ends_with(end) {
                found.push(path.strip_prefix("./").unwrap_or(&path).to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<(String, String)> {
    files(".", ".md").into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// Fails with all of `faults`, if there are any.
fn none_of(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Where the tables of keys stand, by the TOML path of the table: the heading in `docs/configuration.md`.
const HEADINGS: [(&str, &str); 3] =
    [("server", "`[server]`"), ("routes", "`[[routes]]`"), ("routes.backends", "`[[routes.backends]]`")];

/// A row of a table of keys.
#[derive(Debug)]
struct Key {
    table: &'static str,
    name: String,
    kind: String,
    default: String,
    bounds: String,
}

/// The keys that a text documents.
fn documented(text: &str) -> Vec<Key> {
    let is_of_keys = |table: &Table<'_>| table.header[..] == ["key", "type", "default", "bounds", "meaning"];
    let mut found = Vec::new();
    for table in tables(text).into_iter().filter(is_of_keys) {
        let place = HEADINGS.iter().find(|(_, heading)| *heading == table.heading);
        let &(path, _) = place.unwrap_or_else(|| panic!("a table of keys under `{}`", table.heading));
        for row in table.rows {
            let [name, kind, default, bounds, meaning] = &row[..] else { panic!("five cells: {row:?}") };
            assert!(!meaning.is_empty(), "{name} has no meaning");
            let [kind, default, bounds] = [kind, default, bounds].map(Clone::clone);
            found.push(Key { table: path, name: name.trim_matches('`').to_owned(), kind, default, bounds });
        }
    }
    found
}

impl Key {
    /// A file that sets it to `value`, and else what is required.
    fn set(&self, value: &str) -> Result<Config, Problems> {
        let line = format!("{} = {value}\n", self.name);
        let text = match self.table {
            "server" => format!("[server]\n{line}{ROUTE}"),
            "routes" => format!("{}{line}", without(ROUTE, &self.name)),
            _ => ROUTE.replace(" }]", &format!(", {} }}]", line.trim())),
        };
        config::parse(&text, "apex.toml")
    }

    /// The value that its default is written as, if it is one value.
    fn default_value(&self) -> Option<&str> {
        let first = self.default.split(',').next()?.trim();
        let is_code = self.default.len() > 2 && self.default.starts_with('`') && self.default.ends_with('`');
        let is_number = first.parse::<f64>().is_ok();
        if is_code { Some(self.default.trim_matches('`')) } else { is_number.then_some(first) }
    }

    /// What is wrong with what is documented of it.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut hold = |holds: bool, words: String| {
            if !holds {
                faults.push(format!("{}.{}: {words}", self.table, self.name));
            }
        };
        let plain = config::parse(ROUTE, "apex.toml").expect("the plainest file");
        if let Some(value) = self.default_value() {
            let is_default = self.set(value).is_ok_and(|config| config == plain);
            hold(is_default, format!("{value} is not the default"));
        }
        if self.default == "required" {
            let bare =
                if self.table == "routes" { without(ROUTE, &self.name) } else { ROUTE.replace("url =", "") };
            hold(config::parse(&bare, "apex.toml").is_err(), "it is not required".to_owned());
        }
        let accepts = |value: &str| self.set(value).is_ok();
        let (taken, refused) = match &*self.kind {
            "integer" => (None, "1.5"),
            "number" => (Some("1.5"), "true"),
            "boolean" => (Some("true"), "1"),
            "string" | "string or list" => (None, "true"),
            "list" | "list of tables" => (None, "\"x\""),
            other => panic!("{}: no such type: {other}", self.name),
        };
        hold(taken.is_none_or(accepts), format!("it is no {}", self.kind));
        hold(!accepts(refused), format!("{refused} is accepted, and no {}", self.kind));
        if let Some((least, most)) = self.bounds.split_once(" to ") {
            for (bound, beyond) in [(least, below(least)), (most, above(most))] {
                // A bound may be another key.
                let Some(beyond) = beyond else { continue };
                hold(accepts(bound), format!("{bound} is refused"));
                hold(!accepts(&beyond), format!("{beyond} is accepted"));
            }
        }
        faults
    }
}

/// `text` without the line of a key.
fn without(text: &str, key: &str) -> String {
    let start = format!("{key} =");
    text.split_inclusive('\n').filter(|line| !line.starts_with(&start)).collect()
}

/// A number somewhat smaller than a least value.
fn below(least: &str) -> Option<String> {
    if let Ok(number) = least.parse::<i64>() {
        return Some((number - 1).to_string());
    }
    least.parse::<f64>().ok().map(|number| (number / 2.0).to_string())
}

/// A number somewhat larger than a greatest one.
fn above(most: &str) -> Option<String> {
    most.parse::<u64>().ok().map(|number| (number + 1).to_string())
}

/// Keys that only one side has.
fn differing_keys(text: &str) -> Vec<String> {
    let known: BTreeSet<String> = config::keys()
        .filter(|(table, _)| !table.is_empty())
        .flat_map(|(table, keys)| keys.iter().map(move |key| format!("{table}.{key}")))
        .collect();
    let told: BTreeSet<String> =
        documented(text).into_iter().map(|key| format!("{}.{}", key.table, key.name)).collect();
    known.symmetric_difference(&told).cloned().collect()
}

#[test]
fn every_key_is_documented_and_no_other() {
    none_of(&differing_keys(&read("docs/configuration.md")));
}

#[test]
fn defaults_types_and_bounds_are_as_documented() {
    let keys = documented(&read("docs/configuration.md"));
    assert!(keys.iter().filter(|key| key.default_value().is_some()).count() > 10);
    assert!(keys.iter().filter(|key| key.bounds.contains(" to ")).count() > 10);
    none_of(&keys.iter().flat_map(Key::faults).collect::<Vec<_>>());
}

#[test]
fn examples_are_right_and_say_what_they_are_for() {
    let examples = files("examples", ".toml");
    assert!(examples.len() >= 4, "{examples:?}");
    let readme = links(&read("README.md"));
    for path in examples.iter().map(String::as_str).chain(["apex.toml"]) {
        config::load(&root().join(path)).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(read(path).starts_with("# "), "{path} begins with a comment that says what it is for");
        assert!(readme.iter().any(|(_, target)| target == path), "the README does not name {path}");
    }
}

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines");
}

/// Links of a document that lead nowhere; `at` is its path.
fn dead_links(at: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, target) in links(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let folder = root().join(at).parent().map(Path::to_path_buf).unwrap_or_default();
        let file = if path.is_empty() { root().join(at) } else { folder.join(path) };
        let leads_there = file.exists() && (anchor.is_empty() || has_anchor(&file, path, text, anchor));
        if !leads_there {
            faults.push(format!("{at}:{line}: {target} leads nowhere"));
        }
    }
    faults
}

fn has_anchor(file: &Path, path: &str, own: &str, anchor: &str) -> bool {
    let text = if path.is_empty() { Ok(own.to_owned()) } else { fs::read_to_string(file) };
    text.is_ok_and(|text| anchors(&text).iter().any(|known| known == anchor))
}

#[test]
fn every_link_leads_somewhere() {
    none_of(&documents().iter().flat_map(|(path, text)| dead_links(path, text)).collect::<Vec<_>>());
}

/// Files and folders that a document names in code, and that are not there.
fn missing_paths(at: &str, text: &str) -> Vec<String> {
    const FOLDERS: [&str; 8] =
        ["src/", "tests/", "docs/", "benches/", "fuzz/", "examples/", "deploy/", ".ci/"];
    let is_path = |span: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        FOLDERS.iter().any(|folder| span.starts_with(folder)) && span.chars().all(is_plain)
    };
    let folder = root().join(at).parent().map(Path::to_path_buf).unwrap_or_default();
    let missing = |span: &str| !root().join(span).exists() && !folder.join(span).exists();
    spans(text)
        .into_iter()
        .filter(|(_, span)| is_path(span) && missing(span))
        .map(|(line, span)| format!("{at}:{line}: there is no {span}"))
        .collect()
}

/// What these documents name is built or found first.
const NAMED_BEFORE_MADE: [&str; 1] = ["src/net/tls.rs"];

#[test]
fn every_file_that_a_document_names_is_there() {
    let mut faults: Vec<String> =
        documents().iter().flat_map(|(path, text)| missing_paths(path, text)).collect();
    faults.retain(|fault| !NAMED_BEFORE_MADE.iter().any(|name| fault.ends_with(name)));
    none_of(&faults);
}

/// What `apex` says to `args` in `folder`, both streams.
fn said(args: &[&str], folder: &Path) -> String {
    let mut call = Command::new(env!("CARGO_BIN_EXE_apex"));
    let output = call.args(args).current_dir(folder).stdin(Stdio::null()).output().expect("apex runs");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat()
}

/// The flags in a text.
fn flags(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_flag = |word: &&str| {
        let name = word.trim_start_matches('-');
        matches!(word.len() - name.len(), 1 | 2) && name.starts_with(|c: char| c.is_ascii_alphabetic())
    };
    words.filter(is_flag).collect()
}

/// The words by which a usage text calls `apex` to talk to a running process.
fn subcommands(help: &str) -> BTreeSet<&str> {
    let is_word = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    let call = |line: &'_ str| line.trim_start().strip_prefix("apex ").map(str::len);
    help.lines()
        .filter_map(|line| line.get(line.len() - call(line)?..)?.split_whitespace().next())
        .filter(is_word)
        .filter(|word| word.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'-'))
        .collect()
}

#[test]
fn the_help_and_the_manual_name_the_same_flags() {
    let (help, manual) = (said(&["--help"], root()), read("docs/operations.md"));
    let of_calls = tables(&manual).into_iter().filter(|table| table.heading == "Command line");
    let rows: Vec<String> = of_calls.flat_map(|table| table.rows).flatten().collect();
    let calls: Vec<&str> = rows.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let told: BTreeSet<&str> = calls.iter().flat_map(|call| flags(call)).collect();
    assert!(flags(&help).len() > 8, "{help}");
    assert_eq!(flags(&help), told);
    let is_told = |word: &&str| calls.iter().any(|call| call.starts_with(&format!("apex {word}")));
    let untold: Vec<&str> = subcommands(&help).into_iter().filter(|word| !is_told(word)).collect();
    assert_eq!(untold, [""; 0]);
}

fn is_toml(name: &str) -> bool {
    !name.contains(' ') && Path::new(name).extension().is_some_and(|end| end == "toml")
}

#[test]
fn every_counter_is_documented_and_no_other() {
    let pairs = apex::metrics::Registry::new(0).pairs();
    let known: BTreeSet<&str> = pairs.iter().map(|&(name, _)| name).collect();
    let text = read("docs/observability.md");
    let counters = tables(&text).into_iter().find(|table| table.header[0] == "counter").expect("a table");
    let names: Vec<&str> =
        counters.rows.iter().flat_map(|row| row[0].split('`').skip(1).step_by(2)).collect();
    assert_eq!(known, names.iter().copied().collect());
}

/// A file of a document, its name in the comment of its first line.
fn named_file(text: &str) -> Option<&str> {
    text.lines().next()?.strip_prefix("# ").filter(|name| is_toml(name))
}

#[test]
fn files_in_documents_are_right() {
    let mut count = 0;
    for (path, text) in documents() {
        for block in blocks(&text).iter().filter(|block| block.info.starts_with("toml")) {
            count += 1;
            let complete = if block.text.contains("[[routes]]") { "" } else { ROUTE };
            let read = config::parse(&format!("{}{complete}", block.text), &path);
            match (block.info, read) {
                ("toml broken", Ok(_)) => panic!("{path}:{}: it is right", block.line),
                ("toml", Err(problems)) => panic!("{path}:{}: {problems}", block.line),
                _ => {}
            }
        }
    }
    assert!(count >= 4, "{count} files");
}

/// The arguments of a command line; single quotes hold what belongs together.
fn arguments(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (part, text) in line.split('\'').enumerate() {
        if part % 2 == 1 { found.push(text) } else { found.extend(text.split_whitespace()) }
    }
    found
}

/// The commands of a `console` block, each with what it said.
fn commands(text: &str) -> Vec<(&str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push((command, String::new())),
            (None, Some((_, said))) => {
                said.push_str(line);
                said.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

#[test]
fn commands_say_what_the_documents_show() {
    const FLAGS: [&str; 4] = ["--check", "--explain", "--diff", "--version"];
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("docs-{}", std::process::id()));
    let mut count = 0;
    for (path, text) in documents() {
        fs::create_dir_all(&folder).unwrap();
        fs::copy(root().join("apex.toml"), folder.join("apex.toml")).unwrap();
        for block in blocks(&text) {
            if let Some(name) = named_file(&block.text).filter(|_| block.info.starts_with("toml")) {
                fs::write(folder.join(name), &block.text).unwrap();
            }
        }
        for block in blocks(&text).iter().filter(|block| block.info == "console") {
            for (command, shown) in commands(&block.text) {
                let args = arguments(command);
                if args.first() == Some(&"apex") && args.iter().any(|arg| FLAGS.contains(arg)) {
                    count += 1;
                    assert_eq!(said(&args[1..], &folder), shown, "{path}:{}: {command}", block.line);
                }
            }
        }
        fs::remove_dir_all(&folder).unwrap();
    }
    assert!(count >= 4, "{count} commands");
}

/// The checks can fail.
mod checker {
    use super::*;

    const KEYS: &str = "\
## `[server]`
| key | type | default | bounds | meaning |
| --- | --- | --- | --- | --- |
| `workers` | integer | `0` | 0 to 1024 | right |
| `idle_timeout_secs` | integer | `70` | 0.001 to 3600 | wrong |
| `via` | string | required | | wrong |
| `nonsense` | string | none | | wrong |
## `[[routes]]`
| key | type | default | bounds | meaning |
| --- | --- | --- | --- | --- |
| `strip_prefix` | boolean | `true` | | wrong |
";

    #[test]
    fn wrong_keys_are_found() {
        let differing = differing_keys(KEYS);
        assert!(differing.contains(&"server.nonsense".to_owned()), "{differing:?}");
        assert!(differing.contains(&"server.listen".to_owned()), "{differing:?}");
        assert!(!differing.contains(&"server.workers".to_owned()), "{differing:?}");
        let faults: Vec<Vec<String>> = documented(KEYS).iter().map(Key::faults).collect();
        assert_eq!(faults[0], [""; 0]);
        assert_eq!(
            faults[1],
            [
                "server.idle_timeout_secs: 70 is not the default",
                "server.idle_timeout_secs: 1.5 is accepted, and no integer",
                "server.idle_timeout_secs: 3601 is accepted",
            ]
        );
        assert_eq!(faults[4], ["routes.strip_prefix: true is not the default"]);
    }

    #[test]
    fn dead_links_and_missing_files_are_found() {
        let text = "# One\n[a](#one) [b](#two) [c](docs/nothing.md) [d](README.md) [e](https://x.y/z)\n";
        let found = dead_links("README.md", text);
        assert_eq!(found, ["README.md:2: #two leads nowhere", "README.md:2: docs/nothing.md leads nowhere"]);
        let found = missing_paths("README.md", "`src/main.rs` `src/nothing.rs` `src/*.rs` `a/b`\n");
        assert_eq!(found, ["README.md:1: there is no src/nothing.rs"]);
    }

    #[test]
    fn flags_and_commands_are_read() {
        let expected: BTreeSet<&str> = ["--config", "-c", "--a-b"].into();
        assert_eq!(flags("apex [--config FILE]  -c, or a-b - -- --a-b"), expected);
        let words: BTreeSet<&str> = ["top", "status"].into();
        assert_eq!(subcommands("Usage:\n  apex [--x]\n  apex top\n  apex status [--y]\napex: a b\n"), words);
        assert_eq!(arguments("apex -c a --explain 'GET /x y'"), ["apex", "-c", "a", "--explain", "GET /x y"]);
        let shown = [("a b", "one\n\n".to_owned()), ("c", String::new())];
        assert_eq!(commands("$ a b\none\n\n$ c\n"), shown);
        assert_eq!(named_file("# a.toml\n"), Some("a.toml"));
        assert_eq!(named_file("# It is in a.toml\n"), None);
    }
}
