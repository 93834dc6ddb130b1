//! The outcome of a run as a table: cases, passed and failed by group, and the failing cases by name.

use super::case::Group;
use super::verdict::Judge;
use std::fmt::Write;

/// One case that was played, with both verdicts.
#[derive(Debug)]
pub struct Played {
    pub group: Group,
    pub name: String,
    pub rfc: &'static str,
    pub known: Option<&'static str>,
    pub must: Result<(), String>,
    pub apex: Result<(), String>,
}

/// The table for one proxy, by one of the two verdicts.
pub fn table(proxy: &str, played: &[Played], judge: Judge) -> String {
    let verdict = |one: &Played| match judge {
        Judge::Must => one.must.clone(),
        Judge::Apex => one.must.clone().and(one.apex.clone()),
    };
    let mut groups: Vec<Group> = Vec::new();
    for one in played {
        if !groups.contains(&one.group) {
            groups.push(one.group);
        }
    }
    let mut text = format!("\n{proxy:<24} {:>6} {:>7} {:>7}\n", "cases", "passed", "failed");
    let mut line = |name: &str, of: &[&Played]| {
        let passed = of.iter().filter(|one| verdict(one).is_ok()).count();
        let _ = writeln!(text, "{name:<24} {:>6} {passed:>7} {:>7}", of.len(), of.len() - passed);
    };
    for group in groups {
        line(group.0, &played.iter().filter(|one| one.group == group).collect::<Vec<_>>());
    }
    line("all", &played.iter().collect::<Vec<_>>());
    for one in played {
        if let Err(why) = verdict(one) {
            let known = one.known.map(|known| format!(" [known: {known}]")).unwrap_or_default();
            let _ = writeln!(text, "FAILED {}: {} (RFC {}){known}: {why}", one.group, one.name, one.rfc);
        }
    }
    text
}
