//! `apex --diff`: what a reload from one file to another would do, in the words that a reload is told with. It touches no
//! running process and binds nothing.

use super::check::problems_text;
use super::{complain, say};
use crate::config;
use crate::config::diff::ConfigDiff;
use std::path::Path;
use std::process::ExitCode;

/// As diff(1) has it: a file is missing or broken, and 1 is taken by "they differ".
const EXIT_TROUBLE: u8 = 2;

/// Exit 0 where nothing differs, 1 with a line for each change, or 2 with every error of either file on the standard error.
pub(super) fn run(config: &Path, other: &Path) -> ExitCode {
    let (old, new) = match (config::load(config), config::load(other)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => {
            let texts: Vec<String> = [old.err(), new.err()].iter().flatten().map(problems_text).collect();
            return complain(&texts.join("\n"), ExitCode::from(EXIT_TROUBLE));
        }
    };
    let lines = ConfigDiff::between(&old, &new).lines();
    if lines.is_empty() {
        return say("nothing changes\n", ExitCode::SUCCESS);
    }
    let mut text = lines.join("\n");
    text.push('\n');
    say(&text, ExitCode::FAILURE)
}
