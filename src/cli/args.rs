//! The command line: what is asked for, or why that cannot be told. Pure: it reads no file and writes nothing.

use crate::config::nearest::nearest;
use lexopt::Arg;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// The file that is read where none is named.
const CONFIG_DEFAULT: &str = "./apex.toml";

/// Every long flag; the short ones are `-c`, `-t`, `-h` and `-V`.
const FLAGS: [&str; 7] = ["config", "check", "demo", "diff", "explain", "help", "version"];

/// What `--version` says.
pub(super) const VERSION: &str = concat!("apex ", env!("CARGO_PKG_VERSION"), "\n");

/// What `--help` says.
pub(super) const HELP: &str = "\
apex: a reverse proxy for HTTP/1.1. One static binary, one TOML file.

Usage:
  apex [--config FILE]                  run the proxy
  apex [--config FILE] --check          check the file, bind nothing
  apex [--config FILE] --explain 'GET http://host/path'
                                        say which route takes a request, and why
  apex [--config FILE] --diff OTHER     say what a reload to another file does
  apex --demo                           run the shipped file and its backends

Flags:
  -c, --config FILE    the file to read (without it: ./apex.toml)
  -t, --check          exit 0 and one line, or exit 1 and every error found
      --explain TEXT   exit 0 if a route takes the request, 1 if none does
      --diff OTHER     exit 0 if nothing differs, 1 if something, 2 in trouble
      --demo           the whole thing in one command, nothing else needed
  -h, --help           this text
  -V, --version        the version

SIGHUP reloads the file; SIGTERM lets open exchanges finish, then ends.
";

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    /// Run the proxy.
    Run {
        /// Its file.
        config: PathBuf,
    },
    /// Check a file.
    Check {
        /// The file.
        config: PathBuf,
    },
    /// Run the shipped file with backends of its own.
    Demo,
    /// Say which route takes a request.
    Explain {
        /// The file.
        config: PathBuf,
        /// The request as it was typed.
        request: String,
    },
    /// Say what a reload to another file would do.
    Diff {
        /// The file in force.
        config: PathBuf,
        /// What it would become.
        other: PathBuf,
    },
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// Why a command line was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UsageError {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "apex: {}", self.what)?;
        writeln!(f, "  {}", self.hint)
    }
}

impl std::error::Error for UsageError {}

fn error<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError { what: what.into(), hint: hint.into() })
}

/// Where to look for everything else.
const SEE_HELP: &str = "see `apex --help`";

/// The flags that were seen, each at most once.
#[derive(Debug, Default)]
struct Seen {
    config: Option<PathBuf>,
    explain: Option<String>,
    diff: Option<PathBuf>,
    check: bool,
    demo: bool,
}

/// Reads the arguments after the name of the program.
///
/// # Errors
/// Unknown flags and words, missing values, and flags that contradict each other or stand twice.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Call, UsageError> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut seen = Seen::default();
    loop {
        let flag = match parser.next() {
            Ok(Some(Arg::Short('c'))) => "config",
            Ok(Some(Arg::Short('t'))) => "check",
            Ok(Some(Arg::Short('h'))) => "help",
            Ok(Some(Arg::Short('V'))) => "version",
            Ok(Some(Arg::Short(letter))) => return error(format!("unknown flag `-{letter}`"), SEE_HELP),
            Ok(Some(Arg::Long(long))) => match FLAGS.iter().find(|&&flag| flag == long) {
                Some(&flag) => flag,
                None => return unknown_flag(long),
            },
            Ok(Some(Arg::Value(word))) => return unknown_word(&word),
            Ok(None) => return seen.call(),
            Err(refused) => return lexopt_error(&refused),
        };
        // Help is given whatever else is on the command line.
        match flag {
            "help" => return Ok(Call::Help),
            "version" => return Ok(Call::Version),
            "config" => once(&mut seen.config, flag, file_value(&mut parser, &CONFIG_NEEDS)?)?,
            "diff" => once(&mut seen.diff, flag, file_value(&mut parser, &DIFF_NEEDS)?)?,
            "explain" => once(&mut seen.explain, flag, request_value(&mut parser)?)?,
            "check" => set(&mut seen.check, flag)?,
            _ => set(&mut seen.demo, flag)?,
        }
    }
}

impl Seen {
    /// What all flags together ask for.
    fn call(self) -> Result<Call, UsageError> {
        if self.demo {
            for (other, env) in [
                ("config", self.config.is_some()),
                ("check", self.check),
                ("explain", self.explain.is_some()),
                ("diff", self.diff.is_some()),
            ] {
                if env {
                    return error(
                        format!("`--demo` and `--{other}` contradict each other"),
                        "`--demo` runs the shipped file, and takes no other flag",
                    );
                }
            }
            return Ok(Call::Demo);
        }
        let config = self.config.unwrap_or_else(|| PathBuf::from(CONFIG_DEFAULT));
        match (self.check, self.explain, self.diff) {
            (true, Some(_), _) => contradiction("check", "explain"),
            (true, None, Some(_)) => contradiction("check", "diff"),
            (false, Some(_), Some(_)) => contradiction("explain", "diff"),
            (true, None, None) => Ok(Call::Check { config }),
            (false, Some(request), None) => Ok(Call::Explain { config, request }),
            (false, None, Some(other)) => Ok(Call::Diff { config, other }),
            (false, None, None) => Ok(Call::Run { config }),
        }
    }
}

/// Two flags that ask for different things.
fn contradiction<T>(one: &str, other: &str) -> Result<T, UsageError> {
    error(
        format!("`--{one}` and `--{other}` contradict each other"),
        format!("give one of them; `--{other}` checks what it reads, too"),
    )
}

/// Keeps a value, once.
fn once<T>(place: &mut Option<T>, flag: &str, value: T) -> Result<(), UsageError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => error(format!("`--{flag}` is given twice"), "give it once"),
    }
}

/// Keeps a flag without a value, once.
fn set(place: &mut bool, flag: &str) -> Result<(), UsageError> {
    if std::mem::replace(place, true) {
        return error(format!("`--{flag}` is given twice"), "give it once");
    }
    Ok(())
}

/// What is said where a flag lacks its file, and the hint.
type Needs = (&'static str, &'static str);
const CONFIG_NEEDS: Needs = ("`--config` needs the name of a file", "for example `--config apex.toml`");
const DIFF_NEEDS: Needs = ("`--diff` needs the name of another file", "for example `--diff new.toml`");

/// The file after a flag.
fn file_value(parser: &mut lexopt::Parser, needs: &Needs) -> Result<PathBuf, UsageError> {
    Ok(PathBuf::from(value(parser, needs.0, needs.1)?))
}

/// The request after `--explain`.
fn request_value(parser: &mut lexopt::Parser) -> Result<String, UsageError> {
    const HINT: &str = "for example `--explain 'GET http://example.com/path'`";
    match value(parser, "`--explain` needs a request", HINT)?.into_string() {
        Ok(text) => Ok(text),
        Err(_) => error("the request behind `--explain` is not UTF-8", HINT),
    }
}

/// The value of a flag. An empty one, or one that is a flag itself, was forgotten: `--config --check`.
fn value(parser: &mut lexopt::Parser, what: &str, hint: &str) -> Result<OsString, UsageError> {
    // A value after `=` is a value, whatever it looks like.
    let (value, attached) = match parser.optional_value() {
        Some(value) => (value, true),
        None => match parser.value() {
            Ok(value) => (value, false),
            Err(_) => return error(what, hint),
        },
    };
    if value.is_empty() {
        return error(what, hint);
    }
    if !attached && value.as_encoded_bytes().starts_with(b"-") {
        let shown = value.to_string_lossy();
        return error(format!("{what}, and `{shown}` is a flag"), hint);
    }
    Ok(value)
}

fn unknown_flag<T>(long: &str) -> Result<T, UsageError> {
    let hint = match nearest(long, &FLAGS) {
        Some(flag) => format!("did you mean `--{flag}`?"),
        None => SEE_HELP.to_owned(),
    };
    error(format!("unknown flag `--{long}`"), hint)
}

fn unknown_word<T>(word: &OsStr) -> Result<T, UsageError> {
    let word = word.to_string_lossy();
    let is_file = Path::new(&*word).extension().is_some_and(|extension| extension == "toml");
    let hint = match nearest(&word, &FLAGS) {
        _ if is_file => format!("did you mean `--config {word}`?"),
        Some(flag) => format!("did you mean `--{flag}`?"),
        None => SEE_HELP.to_owned(),
    };
    error(format!("unknown word `{word}`"), hint)
}

/// What `lexopt` refuses by itself.
fn lexopt_error<T>(refused: &lexopt::Error) -> Result<T, UsageError> {
    match refused {
        lexopt::Error::UnexpectedValue { option, value } => {
            let value = value.to_string_lossy();
            error(format!("`{option}` takes no value, but has `{value}`"), SEE_HELP)
        }
        other => error(other.to_string(), SEE_HELP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &[&str]) -> Result<Call, UsageError> {
        parse(line.iter().map(OsString::from))
    }

    #[test]
    fn understands() {
        let run = |file: &str| Call::Run { config: file.into() };
        let check = |file: &str| Call::Check { config: file.into() };
        let explain =
            |file: &str, request: &str| Call::Explain { config: file.into(), request: request.into() };
        let cases: &[(&[&str], Call)] = &[
            (&[], run("./apex.toml")),
            (&["--config", "a.toml"], run("a.toml")),
            (&["--config=a.toml"], run("a.toml")),
            (&["--config=-a.toml"], run("-a.toml")),
            (&["-c", "a.toml"], run("a.toml")),
            (&["-ca.toml"], run("a.toml")),
            (&["--check"], check("./apex.toml")),
            (&["-t"], check("./apex.toml")),
            (&["-tc", "a.toml"], check("a.toml")),
            (&["-t", "-c", "a.toml"], check("a.toml")),
            (&["--demo"], Call::Demo),
            (&["--explain", "GET /x"], explain("./apex.toml", "GET /x")),
            (&["--explain", "/x", "-c", "a"], explain("a", "/x")),
            (&["--diff", "b"], Call::Diff { config: "./apex.toml".into(), other: "b".into() }),
            (&["-ca", "--diff=b"], Call::Diff { config: "a".into(), other: "b".into() }),
            (&["--help"], Call::Help),
            (&["-h", "--nonsense"], Call::Help),
            (&["--check", "-V"], Call::Version),
            (&["--version"], Call::Version),
        ];
        for (line, expected) in cases {
            assert_eq!(call(line).as_ref(), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn refuses() {
        let cases: &[(&[&str], &str, &str)] = &[
            (&["--chek"], "unknown flag `--chek`", "did you mean `--check`?"),
            (&["--conf", "x"], "unknown flag `--conf`", "did you mean `--config`?"),
            (&["--verison"], "unknown flag `--verison`", "did you mean `--version`?"),
            (&["--banana"], "unknown flag `--banana`", SEE_HELP),
            (&["-x"], "unknown flag `-x`", SEE_HELP),
            (&["--config"], "`--config` needs", "for example"),
            (&["-c"], "`--config` needs", "for example"),
            (&["--config="], "`--config` needs", "for example"),
            (&["--config", ""], "`--config` needs", "for example"),
            (&["--config", "--check"], "and `--check` is a flag", "for example"),
            (&["--explain"], "`--explain` needs a request", "for example"),
            (&["--explain", ""], "`--explain` needs a request", "for example"),
            (&["--demo", "-c", "x"], "`--demo` and `--config` contradict", "no other flag"),
            (&["-t", "--demo"], "`--demo` and `--check` contradict", "no other flag"),
            (&["--demo", "--explain", "/"], "`--demo` and `--explain` contradict", "no other flag"),
            (&["--check", "--explain", "/"], "`--check` and `--explain` contradict", "one of them"),
            (&["--diff"], "`--diff` needs the name of another file", "for example"),
            (&["--diff", "-c", "a"], "and `-c` is a flag", "for example"),
            (&["--demo", "--diff", "b"], "`--demo` and `--diff` contradict", "no other flag"),
            (&["-t", "--diff", "b"], "`--check` and `--diff` contradict", "one of them"),
            (&["--diff", "b", "--explain", "/"], "`--explain` and `--diff` contradict", "one of them"),
            (&["--diff", "b", "--diff", "b"], "`--diff` is given twice", "once"),
            (&["-c", "a", "--config", "b"], "`--config` is given twice", "once"),
            (&["-tt"], "`--check` is given twice", "once"),
            (&["--check=yes"], "`--check` takes no value, but has `yes`", SEE_HELP),
            (&["--demo=x"], "`--demo` takes no value, but has `x`", SEE_HELP),
            (&["statu"], "unknown word `statu`", SEE_HELP),
            (&["check"], "unknown word `check`", "did you mean `--check`?"),
            (&["my.toml"], "unknown word `my.toml`", "did you mean `--config my.toml`?"),
            (&["--", "--check"], "unknown word `--check`", "did you mean"),
            (&["-"], "unknown word `-`", SEE_HELP),
        ];
        for (line, what, hint) in cases {
            let refused = call(line).unwrap_err();
            assert!(refused.what.contains(what), "{line:?}: {refused}");
            assert!(refused.hint.contains(hint), "{line:?}: {refused}");
        }
    }

    #[test]
    fn survives_bytes_that_are_no_text() {
        use std::os::unix::ffi::OsStringExt;
        for line in [b"--\xff".to_vec(), b"-\xff".to_vec(), b"\xff".to_vec()] {
            assert!(parse([OsString::from_vec(line)]).is_err());
        }
        let request = [OsString::from("--explain"), OsString::from_vec(b"/\xff".to_vec())];
        assert!(parse(request).unwrap_err().what.contains("UTF-8"));
    }

    #[test]
    fn the_help_names_every_flag() {
        for flag in FLAGS {
            assert!(HELP.contains(&format!("--{flag}")), "{flag}");
        }
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
    }
}
