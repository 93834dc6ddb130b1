//! `apex --check`: reads and checks a file, and binds nothing.

use super::{complain, say};
use crate::config::{self, Config, Problems};
use std::path::Path;
use std::process::ExitCode;

/// Exit 0 with a summary on the standard output, or 1 with every error and their number on the standard error.
pub(super) fn run(config: &Path) -> ExitCode {
    match config::load(config) {
        Ok(checked) => say(&summary(&config.display().to_string(), &checked), ExitCode::SUCCESS),
        Err(problems) => refuse(&problems),
    }
}

/// Tells everything that is wrong with a file: exit 1.
pub(super) fn refuse(problems: &Problems) -> ExitCode {
    complain(&problems_text(problems), ExitCode::FAILURE)
}

/// Every error of a file, and their number.
pub(super) fn problems_text(problems: &Problems) -> String {
    format!("{problems}\n{}: {}\n", problems.file, counted(problems.count(), "error"))
}

/// `apex.toml: ok, 1 route, 2 backends, listening on 0.0.0.0:8080`.
fn summary(file: &str, config: &Config) -> String {
    let backends: usize = config.routes.iter().map(|route| route.backends.len()).sum();
    let listen: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    format!(
        "{file}: ok, {}, {}, listening on {}\n",
        counted(config.routes.len(), "route"),
        counted(backends, "backend"),
        listen.join(", "),
    )
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up() {
        let text = "server.listen = [\"0.0.0.0:80\", \"[::]:80\"]\n[[routes]]\nname = \"a\"\n\
                    backends = [{ url = \"http://a\" }, { url = \"http://b\" }]\n";
        let config = config::parse(text, "a.toml").unwrap();
        assert_eq!(
            summary("a.toml", &config),
            "a.toml: ok, 1 route, 2 backends, listening on 0.0.0.0:80, [::]:80\n"
        );
    }
}
