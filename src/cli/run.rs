//! `apex` without a word, and `apex --demo`: runs the proxy.

use super::demo::Demo;
use super::{check, complain};
use crate::control::{self, Failure, Inherited, Source};
use std::path::Path;
use std::process::ExitCode;

/// Runs the proxy with the file at `path`.
pub(super) fn run(path: &Path) -> ExitCode {
    told(
        Inherited::take()
            .map_err(Failure::Other)
            .and_then(|inherited| control::serve(Source::File(path), inherited)),
    )
}

/// Runs the shipped file with its two backends started inside the same process.
pub(super) fn demo() -> ExitCode {
    told(Inherited::take().map_err(Failure::Other).and_then(|inherited| {
        let demo = Demo::start().map_err(Failure::Other)?;
        let _ = complain(&demo.words(), ExitCode::SUCCESS);
        control::serve(Source::Checked(Box::new(demo.config.clone())), inherited)
    }))
}

fn told(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| match failure {
        Failure::File(problems) => check::refuse(&problems),
        Failure::Other(words) => complain(&format!("apex: {words}\n"), ExitCode::FAILURE),
    })
}
