//! The program `apex`: exit codes only.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    apex::cli::run(std::env::args_os().skip(1))
}
