//! What the command line can do without a running proxy, and how it starts one.

mod args;
mod check;
mod demo;
mod diff;
mod explain;
mod run;

use args::Call;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// The exit code of a call that was not understood, as most programs have it.
const EXIT_USAGE: u8 = 2;

/// Does what the command line asks. `args` are those after the name of the program.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match args::parse(args) {
        Ok(Call::Run { config }) => run::run(&config),
        Ok(Call::Demo) => run::demo(),
        Ok(Call::Check { config }) => check::run(&config),
        Ok(Call::Explain { config, request }) => explain::run(&config, &request),
        Ok(Call::Diff { config, other }) => diff::run(&config, &other),
        Ok(Call::Help) => say(args::HELP, ExitCode::SUCCESS),
        Ok(Call::Version) => say(args::VERSION, ExitCode::SUCCESS),
        Err(error) => complain(&error.to_string(), ExitCode::from(EXIT_USAGE)),
    }
}

/// Writes `text` to the standard output and hands back `code`.
///
/// A reader that has seen enough (`apex --help | head -1`) is no error; a full disk is.
fn say(text: &str, code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("apex: cannot write to the standard output: {error}\n"), ExitCode::FAILURE)
        }
        Ok(()) | Err(_) => code,
    }
}

/// Writes `text` to the standard error and hands back `code`. If even that is closed, the text is lost.
fn complain(text: &str, code: ExitCode) -> ExitCode {
    let _ = io::stderr().lock().write_all(text.as_bytes());
    code
}
