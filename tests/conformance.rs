//! HTTP/1.1 to the letter: a table of cases played over raw sockets against a proxy; the octets that its
//! backend receives are compared too. Each case has two verdicts: `must`, the requirement of RFC 9110 and RFC
//! 9112 for any intermediary, and `apex`, Apex's own decision on top of that.
//!
//! This file has the runs: Apex must pass both verdicts; any proxy can be surveyed by the first
//! (`tests/conformance/run`).
#![allow(missing_docs, unreachable_pub, reason = "nothing here is for another crate")]
#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests measure and wait"
)]

#[path = "conformance/backend.rs"]
mod backend;
#[path = "conformance/case.rs"]
mod case;
#[path = "conformance/cases/mod.rs"]
mod cases;
#[path = "conformance/message.rs"]
mod message;
#[path = "conformance/play.rs"]
mod play;
#[path = "conformance/proxy.rs"]
mod proxy;
#[path = "conformance/report.rs"]
mod report;
#[path = "conformance/rules.rs"]
mod rules;
mod support;
#[path = "conformance/verdict.rs"]
mod verdict;

use case::Case;
use play::Lane;
use proxy::{Kind, Proxy};
use report::Played;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};
use verdict::Judge;

/// Cases played at a time, each lane with a proxy and a backend of its own, so that what a backend sees belongs to one case.
const LANES: usize = 4;

/// Cases that may go wrong before Apex is played no further: a fault in the ground shows in all of them, each with its wait.
const WRONG_MAX: usize = 24;

/// Plays all cases, or as many as it takes for `wrong_max` to go wrong; the outcomes come in the order of the table.
fn play_all(kind: Kind, cases: &[Case], wrong_max: usize) -> Vec<Played> {
    let next = AtomicUsize::new(0);
    let wrong = AtomicUsize::new(0);
    let played = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let mut lane = Lane::new(kind);
                while wrong.load(Ordering::Relaxed) < wrong_max
                    && let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let outcome = lane.play(case);
                    let backend = lane.backend_addr().to_string();
                    let judge = |judge| verdict::judge(case, &outcome, judge, &backend);
                    let result = Played {
                        group: case.group,
                        name: case.name.clone(),
                        rfc: case.rfc,
                        known: case.known,
                        must: judge(Judge::Must),
                        apex: judge(Judge::Apex),
                    };
                    if result.known.is_none() && (result.must.is_err() || result.apex.is_err()) {
                        wrong.fetch_add(1, Ordering::Relaxed);
                    }
                    played.lock().unwrap().push(result);
                }
            });
        }
    });
    let mut played = played.into_inner().unwrap();
    let place = |one: &Played| cases.iter().position(|case| case.is(one.group, &one.name));
    played.sort_by_key(place);
    played
}

/// The table, or what `APEX_CONFORMANCE_CASES` picks of it: the cases whose group and name hold that text.
fn picked() -> Vec<Case> {
    let pick = env::var("APEX_CONFORMANCE_CASES").unwrap_or_default();
    let mut cases = cases::all();
    cases.retain(|case| format!("{}: {}", case.group, case.name).contains(&pick));
    cases
}

#[test]
fn apex_conforms() {
    let played = play_all(Kind::Apex, &picked(), WRONG_MAX);
    let mut wrong: Vec<String> = Vec::new();
    for one in &played {
        let said =
            |verdict: &Result<(), String>| verdict.clone().err().unwrap_or_else(|| "passed".to_owned());
        match (one.known, one.must.is_ok() && one.apex.is_ok()) {
            (None, false) => {
                let (must, apex) = (said(&one.must), said(&one.apex));
                wrong.push(format!(
                    "{}: {} (RFC {})\n    must: {must}\n    apex: {apex}",
                    one.group, one.name, one.rfc
                ));
            }
            (Some(known), true) => {
                wrong.push(format!(
                    "{}: {}: no longer fails; take out `known` ({known})",
                    one.group, one.name
                ));
            }
            _ => {}
        }
    }
    println!("{}", report::table("apex", &played, Judge::Apex));
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), played.len(), wrong.join("\n"));
}

/// A proxy's table, for whoever names one in `APEX_CONFORMANCE_PROXY`. It never fails: a stranger's proxy has its own reasons.
#[test]
fn survey() {
    let Ok(name) = env::var("APEX_CONFORMANCE_PROXY") else { return };
    let kind = Kind::named(&name).unwrap_or_else(|| panic!("no proxy is known as {name:?}"));
    if !Proxy::is_installed(kind) {
        println!("!!!! SKIPPED: {name} is not installed");
        return;
    }
    println!("{}", report::table(&name, &play_all(kind, &picked(), usize::MAX), Judge::Must));
}

#[test]
fn cases_are_told_apart() {
    let cases = cases::all();
    assert!(cases.len() >= 250, "{}", cases.len());
    for (index, case) in cases.iter().enumerate() {
        let twin = cases[..index].iter().find(|other| other.is(case.group, &case.name));
        assert!(twin.is_none(), "{}: {} is there twice", case.group, case.name);
        assert!(case.is_complete(), "{}: {} expects nothing", case.group, case.name);
    }
}
