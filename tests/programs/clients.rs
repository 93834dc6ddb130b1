//! The clients of the matrix: what each needs, and the script that plays it.

use std::process::Command;

use crate::site::{Interpreters, NODE};

/// One row of the matrix.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) programs: &'static [&'static str],
    /// Packages of the interpreter that runs the script.
    pub(crate) packages: &'static [&'static str],
    pub(crate) script: &'static str,
    runs: Runs,
    /// It speaks WebSocket and nothing else.
    pub(crate) needs_websocket: bool,
}

/// What the script is written in.
#[derive(Clone, Copy)]
enum Runs {
    Python,
    Node,
}

impl Kind {
    const fn python(
        name: &'static str,
        programs: &'static [&'static str],
        packages: &'static [&'static str],
        script: &'static str,
    ) -> Self {
        Self { name, programs, packages, script, runs: Runs::Python, needs_websocket: false }
    }

    const fn node(name: &'static str, packages: &'static [&'static str], script: &'static str) -> Self {
        Self { name, programs: &[NODE], packages, script, runs: Runs::Node, needs_websocket: false }
    }

    const fn of_websocket(self) -> Self {
        Self { needs_websocket: true, ..self }
    }

    pub(crate) fn command(&self, on: &Interpreters) -> Command {
        match self.runs {
            Runs::Python => on.python_script(self.script),
            Runs::Node => on.node_script(self.script),
        }
    }
}

pub(crate) const CLIENTS: &[Kind] = &[
    Kind::python("curl", &["python3", "curl"], &[], "ask_curl.py"),
    Kind::python("git", &["python3", "git"], &[], "ask_git.py"),
    Kind::python("requests", &["python3"], &["requests"], "ask_requests.py"),
    Kind::python("httpx", &["python3"], &["httpx"], "ask_httpx.py"),
    Kind::python("aiohttp", &["python3"], &["aiohttp"], "ask_aiohttp.py"),
    Kind::node("node http", &[], "ask_http.js"),
    Kind::node("node fetch", &[], "ask_fetch.js"),
    Kind::python("websockets", &["python3"], &["websockets"], "ask_websockets.py").of_websocket(),
    Kind::node("ws", &["ws"], "ask_ws.js").of_websocket(),
    Kind::python("chromium", &["python3", "chromium"], &[], "ask_chromium.py"),
];

/// All packages of Python that a row or a column asks for.
pub(crate) const PYTHON_PACKAGES: &[&str] =
    &["requests", "httpx", "aiohttp", "websockets", "gunicorn", "uvicorn", "h11", "hypercorn"];
