//! Broken files, derived from good ones by a seed: each is refused with its line and column, as `--check`
//! refuses it, and changes nothing in a running proxy.
//!
//! `APEX_BROKEN_FILES` sets how many are loaded (default 100), `APEX_BROKEN_TEXTS` how many are only parsed
//! (default 4000).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

#[allow(dead_code, reason = "the simulation uses the rest")]
#[path = "world/choices.rs"]
mod choices;
#[path = "broken/mutant.rs"]
mod mutant;
mod support;

use apex::config;
use choices::Choices;
use mutant::mutant;
use rustix::process::Signal;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use support::{Apex, Backend, Wire, all, get, ok, say, size};

/// What `--check` says of a file.
fn check(file: &Path) -> (Option<i32>, String) {
    let binary = std::env::var("APEX_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_apex").to_owned());
    let output = Command::new(binary).arg("--check").arg("--config").arg(file).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The errors of a file without the last line, which counts them, or says that nothing was reloaded.
fn without_last_line(text: &str) -> &str {
    text.trim_end().rsplit_once('\n').unwrap().0
}

/// Each error has a line and a column.
fn assert_placed(said: &str, file: &Path) {
    let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
    let mark = format!("--> {}:", file.display());
    let places = said.lines().filter_map(|line| line.trim_start().strip_prefix(&mark));
    let is_place = |place: &str| {
        let numbers: Vec<Option<usize>> = place.split(':').map(|number| number.parse().ok()).collect();
        matches!(numbers[..], [Some(1..), Some(1..)])
    };
    let count = places.inspect(|place| assert!(is_place(place), "{place} is no place")).count();
    assert!(errors > 0 && errors == count, "{errors} errors, {count} places:\n{said}");
}

/// Asks again and again, over one connection and over new ones, until it is told to stop.
fn load(apex: &Apex, stops: &Arc<AtomicBool>, answered: &Arc<AtomicUsize>) -> thread::JoinHandle<()> {
    let (addr, stops, answered) = (apex.addr(), Arc::clone(stops), Arc::clone(answered));
    thread::spawn(move || {
        let mut kept = Wire::connect(addr);
        while !stops.load(Ordering::Relaxed) {
            assert_eq!(kept.ask(get("/kept")).text(), "good");
            assert_eq!(Wire::connect(addr).ask(get("/new")).text(), "good");
            answered.fetch_add(2, Ordering::Relaxed);
        }
    })
}

#[test]
fn broken_files_are_refused_as_by_check_and_change_nothing() {
    let origin = Backend::answering(ok("good"));
    let apex = Apex::with("workers = 2\naccess_log = false", &all(&[origin.addr()]));
    // What it says of its start is behind what is compared.
    apex.stderr.find(|line| line.contains("apex: serving"));
    let (stops, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let client = load(&apex, &stops, &answered);
    let wanted = size("APEX_BROKEN_FILES", 100);
    let (mut random, mut refusals, mut accepted) = (Choices::by_seed(5), HashSet::new(), 0);
    while refusals.len() < wanted {
        fs::write(apex.file(), mutant(&mut random)).unwrap();
        let (code, checked) = check(&apex.file());
        if code == Some(0) {
            // It is a good file of its own, and not for this proxy.
            accepted += 1;
            continue;
        }
        assert_eq!(code, Some(1), "{checked}");
        let checked = without_last_line(&checked);
        if !refusals.insert(checked.to_owned()) {
            continue;
        }
        assert_placed(checked, &apex.file());
        let before = apex.stderr.count();
        apex.signal(Signal::HUP);
        apex.stderr.find_behind(before, |line| line.ends_with("was not reloaded: the table in force stays"));
        let said = apex.stderr.all()[before..].join("\n");
        assert_eq!(without_last_line(&said), checked);
    }
    stops.store(true, Ordering::Relaxed);
    client.join().unwrap();
    let answered = answered.load(Ordering::Relaxed);
    say(&format!(
        "{wanted} refused with {answered} requests served meanwhile; {accepted} mutants were good files"
    ));
    assert!(answered > 0);
    let said = apex.stderr.all();
    assert!(!said.iter().any(|line| line.contains(": reloaded ") || line.contains("panicked")), "{said:#?}");
    // Both workers still have their listener, and nobody has another one.
    apex.await_sockets_at_most(2 + 2, "listeners were added");
    apex.rewrite("workers = 2\naccess_log = false", &all(&[origin.addr()]));
    apex.signal(Signal::HUP);
    apex.stderr.find(|line| line.ends_with(": nothing changed"));
}

#[test]
fn no_broken_text_is_taken_for_a_good_one_or_refused_without_a_place() {
    let texts = size("APEX_BROKEN_TEXTS", 4_000);
    let (mut random, mut refusals, mut accepted) = (Choices::by_seed(6), HashSet::new(), 0);
    for _ in 0..texts {
        let Ok(text) = String::from_utf8(mutant(&mut random)) else { continue };
        match config::parse(&text, "apex.toml") {
            // The parser recovers from what is no TOML, so that all of it is told: nothing of that may go through.
            Ok(_) => {
                accepted += 1;
                let strictly = toml::from_str::<toml::Table>(text.trim_start_matches('\u{feff}'));
                assert!(strictly.is_ok(), "{text}\n{}", strictly.unwrap_err());
            }
            Err(problems) => {
                assert!(problems.told.iter().all(|problem| problem.place.is_some()), "{text}\n{problems}");
                refusals.insert(problems.to_string());
            }
        }
    }
    say(&format!("{texts} texts: {} distinct refusals, {accepted} good files", refusals.len()));
    assert!(refusals.len() >= texts / 4);
}
