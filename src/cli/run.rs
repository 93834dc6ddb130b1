//! `apex` without a word, and `apex --demo`: runs the proxy.

use super::demo::Demo;
use super::{check, complain};
use crate::control::{self, Inherited};
use std::path::Path;
use std::process::ExitCode;

/// Runs the proxy with the file at `path`.
pub(super) fn run(path: &Path) -> ExitCode {
    told(Inherited::take().and_then(|inherited| {
        let (config, known) = control::load(path);
        match config {
            Ok(config) => control::serve(config, Some(path), known, inherited),
            Err(problems) => Ok(check::refuse(&problems)),
        }
    }))
}

/// Runs the shipped file with its two backends started inside the same process.
pub(super) fn demo() -> ExitCode {
    told(Inherited::take().and_then(|inherited| {
        let demo = Demo::start()?;
        let _ = complain(&demo.words(), ExitCode::SUCCESS);
        let config = demo.config.clone();
        control::serve(config, None, None, inherited)
    }))
}

fn told(result: Result<ExitCode, String>) -> ExitCode {
    result.unwrap_or_else(|words| complain(&format!("apex: {words}\n"), ExitCode::FAILURE))
}
