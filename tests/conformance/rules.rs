//! Holds `rules.md` to what there is: the cases, tests and rows of the mutation table that it names.

use super::cases;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Cells of a row: rule, RFC, held by, taken, refused.
const CELLS: usize = 5;

/// Rows that the file has at least, so that a slip in how it is read cannot pass for a good end.
const ROWS_MIN: usize = 100;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default()
}

fn is_test(name: &str) -> bool {
    name.split_once("::").is_some_and(|(file, test)| {
        let opening = format!("fn {test}() {{");
        // One within its file stands further in.
        read(file).lines().any(|line| line.trim_start() == opening)
    })
}

#[test]
fn rules_name_what_is_there() {
    let table: toml::Table = read("tests/mutations/table.toml").parse().unwrap();
    let rows = table["mutation"].as_array().unwrap();
    let mutations: HashSet<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    let cases: HashSet<String> =
        cases::all().iter().map(|case| format!("{}: {}", case.group, case.name)).collect();
    let text = read("tests/conformance/rules.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let mut count = 0;
    let mut missing = Vec::new();
    for row in rows.filter(|row| !row.starts_with("rule ") && !row.starts_with("---")) {
        count += 1;
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells.len(), CELLS, "{row}");
        if !matches!(cells[2], "-" | "httparse") && !mutations.contains(cells[2]) {
            missing.push(format!("mutation {:?}", cells[2]));
        }
        let is_there = |name: &str| name == "-" || cases.contains(name) || is_test(name);
        missing.extend(cells[3..].iter().filter(|name| !is_there(name)).map(|name| format!("case {name:?}")));
    }
    assert!(count >= ROWS_MIN, "{count} rows");
    assert!(missing.is_empty(), "rules.md names what is not there:\n{}", missing.join("\n"));
}
