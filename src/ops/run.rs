//! The proxy from its start to its end: what is started, in which order, and who watches over it.

use super::aside::{Retired, load};
use super::complain;
use super::control::Control;
use super::demo::Demo;
use super::listen::Listeners;
use super::notify::Manager;
use super::operator::{self, tell};
use super::publish::first;
use super::resolve::Resolver;
use super::signals::{self, News};
use crate::config::{Config, Mark};
use crate::log::writer::{Stopped, Writer};
use crate::net::process;
use crate::stats::Counters;
use crate::worker::{self, Epoch, Setup, Shared};
use listenfd::ListenFd;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;

/// Runs the proxy with the file at `path`.
pub fn run(path: &Path) -> ExitCode {
    // Inherited listeners are taken before anything else: that edits the environment, so no thread may run yet.
    let inherited = inherited_listeners();
    let (config, known) = load(path);
    match config {
        Ok(config) => told(serve(config, Some(path), known, inherited)),
        Err(problems) => super::check::refuse(&problems),
    }
}

/// Runs the shipped file with its two backends started inside the same process.
pub fn demo() -> ExitCode {
    let inherited = inherited_listeners();
    let demo = match Demo::start() {
        Ok(demo) => demo,
        Err(words) => return complain(&format!("apex: {words}\n"), ExitCode::FAILURE),
    };
    let _ = complain(&demo.words(), ExitCode::SUCCESS);
    let config = demo.config.clone();
    told(serve(config, None, None, inherited))
}

fn told(result: Result<ExitCode, String>) -> ExitCode {
    result.unwrap_or_else(|words| complain(&format!("apex: {words}\n"), ExitCode::FAILURE))
}

/// Listeners that the process was started with (systemd's `LISTEN_FDS`).
fn inherited_listeners() -> Vec<TcpListener> {
    let mut passed = ListenFd::from_env();
    (0..passed.len()).filter_map(|index| passed.take_tcp_listener(index).ok().flatten()).collect()
}

fn serve(
    config: Config,
    path: Option<&Path>,
    known: Option<Mark>,
    inherited: Vec<TcpListener>,
) -> Result<ExitCode, String> {
    let epoch = Epoch::start();
    let (news, received) = mpsc::channel();
    // Before a port is open: who finds it open may send a signal.
    signals::listen(news.clone()).map_err(|error| format!("signals cannot be handled: {error}"))?;
    let descriptors = process::raise_descriptor_limit();
    let workers = match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        workers => workers,
    };
    let published = first(&config, descriptors);
    let shared = Arc::new(Shared::new(published));
    let resolver = Resolver::start(Arc::clone(&shared.published))
        .map_err(|error| format!("names cannot be resolved: {error}"))?;
    resolver.resolve(&shared.published.load());
    let (listeners, bound) = Listeners::start(&config.server.listen, inherited, workers)?;
    let log = open_log()?;
    let counters: Vec<Arc<Counters>> = (0..workers).map(|_| Arc::default()).collect();
    let mut handles = Vec::new();
    for (number, listeners) in bound.into_iter().enumerate() {
        let lines = log.lines();
        let setup = Setup {
            number,
            epoch,
            listeners,
            shared: Arc::clone(&shared),
            counters: Arc::clone(&counters[number]),
            lines,
            say: |words| tell(format_args!("{words}")),
        };
        let news = news.clone();
        let left = move || {
            let _ = news.send(News::WorkerLeft);
        };
        let handle =
            worker::spawn(setup, left).map_err(|error| format!("worker {number} cannot start: {error}"))?;
        handles.push(handle);
    }
    say_serving(&config, workers);
    let manager = Manager::from_env();
    let retired = Retired::start().map_err(|error| format!("no thread is left: {error}"))?;
    let workers = handles;
    let control = Control {
        path,
        known,
        config,
        shared,
        resolver,
        listeners,
        retired,
        workers,
        manager,
        descriptors,
        news,
        received,
    };
    let code = control.run();
    if log.stop() == Stopped::Abandoned {
        tell(format_args!("the access log is stuck: its last lines are lost"));
    }
    operator::finish();
    Ok(code)
}

fn say_serving(config: &Config, workers: usize) {
    let listen: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    let (routes, listen) = (config.routes.len(), listen.join(", "));
    tell(format_args!("serving {routes} route(s) on {listen} with {workers} worker(s)"));
}

/// The access log goes to the standard output, unbuffered: its writer gathers lines by itself.
fn open_log() -> Result<Writer, String> {
    let out =
        process::standard_output().map_err(|error| format!("the standard output is closed: {error}"))?;
    Writer::spawn(out, std::io::stderr())
        .map_err(|error| format!("the access log cannot be written: {error}"))
}
