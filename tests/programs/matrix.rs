//! The cells of the matrix played, column by column, and the table of what came out.
//!
//! A column is one server with one Apex in front of it, and its clients one after the other: what a client sees of the
//! server's connections is its own doing. Columns run side by side.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::clients::{CLIENTS, Kind as Client, PYTHON_PACKAGES};
use crate::peers::{apex, route};
use crate::servers::{Kind as Backend, SERVERS, SPOILED};
use crate::site::{Interpreters, lay_out};
use crate::support::{Dir, Job, Server, free_port, say};

/// How long a client may take for all its exchanges; most take a second or two.
const CELL_LIMIT: Duration = Duration::from_secs(120);

/// Columns at a time.
const COLUMNS_AT_ONCE: usize = 4;

/// What became of one client at one server.
enum Cell {
    /// The client or the server is not there.
    Missing,
    /// The two have no protocol in common.
    Apart,
    Played(Outcome),
}

#[derive(Default)]
struct Outcome {
    passed: Vec<String>,
    skipped: usize,
    /// Each with its exchange and the reason.
    failed: Vec<String>,
    took: Duration,
    /// What server and proxy said last, if anything failed.
    said: String,
}

impl Outcome {
    /// Reads what a script printed: a line an exchange.
    fn read(said: &str) -> Self {
        let mut outcome = Self::default();
        for line in said.lines() {
            match line.split_once(' ') {
                Some(("passed", what)) => outcome.passed.push(what.to_owned()),
                Some(("skipped", _)) => outcome.skipped += 1,
                Some(("failed", what)) => outcome.failed.push(what.to_owned()),
                _ => outcome.failed.push(format!("no line of an exchange: {line}")),
            }
        }
        if outcome.passed.is_empty() && outcome.failed.is_empty() {
            outcome.failed.push("nothing was played".to_owned());
        }
        outcome
    }
}

/// A server and Apex in front of it.
struct Column<'a> {
    server: &'a Backend,
    dir: Dir,
    root: PathBuf,
    backend: Server,
    apex: Server,
    /// A page's own word on itself goes past the server, by a route that its script listens to.
    verdict: u16,
}

impl<'a> Column<'a> {
    fn start(server: &'a Backend, on: &Interpreters) -> Self {
        let dir = Dir::new(&format!("programs-{}", server.name));
        let root = lay_out(&dir);
        let backend = server.start(on, &dir, &root);
        let verdict = free_port();
        let routes =
            route("site", "*", "/", &[backend.port()]) + &route("verdict", "*", "/verdict", &[verdict]);
        let apex = apex(&dir, "", &routes);
        Self { server, dir, root, backend, apex, verdict }
    }

    fn command(&self, client: &Client, on: &Interpreters) -> Command {
        let scratch = self.dir.join(client.script);
        fs::create_dir_all(&scratch).expect("make a directory for the client");
        let mut command = client.command(on);
        command.args(["--client", client.name, "--name", self.server.name]);
        command.args(["--via", &self.apex.port().to_string(), "--backend", &self.backend.port().to_string()]);
        command.args(["--verdict", &self.verdict.to_string(), "--lacks", &self.server.lacks.join(",")]);
        command.arg("--root").arg(&self.root).arg("--scratch").arg(&scratch);
        if self.server.closes {
            command.arg("--closes");
        }
        command
    }

    fn play(&self, client: &Client, on: &Interpreters) -> Outcome {
        let begun = Instant::now();
        let mut job = Job::start(self.command(client, on));
        let mut outcome = match job.ended_within(CELL_LIMIT) {
            None => Outcome { failed: vec![format!("not done within {CELL_LIMIT:?}")], ..Outcome::default() },
            Some(output) => {
                let mut outcome = Outcome::read(&String::from_utf8_lossy(&output.stdout));
                if !output.status.success() {
                    let said = String::from_utf8_lossy(&output.stderr);
                    outcome.failed.push(format!("the script ended with {}: {said}", output.status));
                }
                outcome
            }
        };
        let said = self.apex.said();
        if said.contains("panicked") {
            outcome.failed.push("Apex panicked".to_owned());
        }
        if !outcome.failed.is_empty() {
            outcome.said = format!("{}\n{}", last_lines(&self.backend.said()), last_lines(&said));
        }
        outcome.took = begun.elapsed();
        outcome
    }
}

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// All cells: a list for each server, in the order of the clients.
fn play(servers: &[&Backend], clients: &[&Client], on: &Interpreters) -> Vec<Vec<Cell>> {
    let is_missing = |name: &str, missing: Option<&str>| {
        missing.inspect(|what| say(&format!("SKIPPED: {name}: {what} is missing"))).is_some()
    };
    let absent: Vec<bool> = clients
        .iter()
        .map(|client| is_missing(client.name, on.lacks(client.programs, client.packages)))
        .collect();
    let column = |server: &Backend| -> Vec<Cell> {
        if is_missing(server.name, on.lacks(server.programs, server.packages))
            || absent.iter().all(|&gone| gone)
        {
            return clients.iter().map(|_| Cell::Missing).collect();
        }
        let column = Column::start(server, on);
        let cell = |(client, &gone): (&&Client, &bool)| match gone {
            true => Cell::Missing,
            false if client.needs_websocket && !server.has_websocket => Cell::Apart,
            false => Cell::Played(column.play(client, on)),
        };
        clients.iter().zip(&absent).map(cell).collect()
    };
    let next = AtomicUsize::new(0);
    let take = || {
        let mut taken = Vec::new();
        while let Some((at, server)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            servers.get(at).map(|server| (at, server))
        } {
            taken.push((at, column(server)));
        }
        taken
    };
    let mut columns: Vec<(usize, Vec<Cell>)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..COLUMNS_AT_ONCE.min(servers.len())).map(|_| scope.spawn(take)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("its columns could be played")).collect()
    });
    columns.sort_by_key(|column| column.0);
    columns.into_iter().map(|column| column.1).collect()
}

/// The table as text: passed/failed/skipped of each cell.
fn table(servers: &[&Backend], clients: &[&Client], columns: &[Vec<Cell>]) -> String {
    let mut text = format!("{:<12}", "");
    for server in servers {
        let _ = write!(text, "{:>11}", server.name);
    }
    for (at, client) in clients.iter().enumerate() {
        let _ = write!(text, "\n{:<12}", client.name);
        for column in columns {
            let cell = match &column[at] {
                Cell::Missing => "missing".to_owned(),
                Cell::Apart => "-".to_owned(),
                Cell::Played(outcome) => {
                    format!("{}/{}/{}", outcome.passed.len(), outcome.failed.len(), outcome.skipped)
                }
            };
            let _ = write!(text, "{cell:>11}");
        }
    }
    text
}

/// The entries of a list that an environment variable names, with commas between; all without it.
fn chosen<'a, T>(all: &'a [T], variable: &str, name: impl Fn(&T) -> &str) -> Vec<&'a T> {
    let Ok(wanted) = std::env::var(variable) else { return all.iter().collect() };
    let found: Vec<&T> =
        all.iter().filter(|entry| wanted.split(',').any(|word| word == name(entry))).collect();
    assert!(!found.is_empty(), "{variable} names none of the matrix: {wanted}");
    found
}

#[test]
fn every_client_reaches_every_server() {
    let on = Interpreters::find(PYTHON_PACKAGES);
    let begun = Instant::now();
    let servers = chosen(SERVERS, "APEX_SERVERS", |server| server.name);
    let clients = chosen(CLIENTS, "APEX_CLIENTS", |client| client.name);
    let columns = play(&servers, &clients, &on);
    say(&format!(
        "passed/failed/skipped exchanges of each client (row) with each server (column), in {:.1?}:\n{}",
        begun.elapsed(),
        table(&servers, &clients, &columns)
    ));
    let mut failures = String::new();
    for (server, column) in servers.iter().zip(&columns) {
        for (client, cell) in clients.iter().zip(column) {
            let Cell::Played(outcome) = cell else { continue };
            for what in &outcome.failed {
                let _ = write!(failures, "\n{} with {}: {what}", client.name, server.name);
            }
            if !outcome.failed.is_empty() {
                let _ = write!(failures, "\n--- server and Apex said:\n{}", outcome.said);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}\n");
}

/// The judges can fail: of a server whose every answer is wrong by an octet, nothing passes.
#[test]
fn spoiled_answers_fail() {
    let on = Interpreters::find(PYTHON_PACKAGES);
    let is_there = |client: &&Client| on.lacks(client.programs, client.packages).is_none();
    // A spoiled page would not even begin.
    let judged = |client: &&Client| !client.needs_websocket && client.name != "chromium" && is_there(client);
    if on.lacks(SPOILED.programs, SPOILED.packages).is_some() {
        say("SKIPPED: python3 is missing");
        return;
    }
    let column = Column::start(&SPOILED, &on);
    for client in CLIENTS.iter().filter(judged) {
        let outcome = column.play(client, &on);
        assert!(outcome.passed.is_empty(), "{} took these for right: {:?}", client.name, outcome.passed);
    }
}
