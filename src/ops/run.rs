//! The proxy from its start to its end: what is started, in which order, and who watches over it.

use super::aside::{Retired, load};
use super::complain;
use super::control::Control;
use super::demo::Demo;
use super::handover::Then;
use super::listen::{Listeners, Start};
use super::notify::Manager;
use super::operator::{self, tell};
use super::pid_file::Staged;
use super::program::Program;
use super::publish::first;
use super::resolve::Resolver;
use super::signals::{self, News};
use super::successor::Given;
use crate::config::{Config, Mark};
use crate::log::writer::{Stopped, Writer};
use crate::net::process;
use crate::stats::Counters;
use crate::worker::{self, Bound, Epoch, Handle, Phase, Setup, Shared};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

/// Runs the proxy with the file at `path`.
pub fn run(path: &Path) -> ExitCode {
    told(Given::take().and_then(|given| {
        let (config, known) = load(path);
        match config {
            Ok(config) => serve(config, Some(path), known, given),
            Err(problems) => Ok(super::check::refuse(&problems)),
        }
    }))
}

/// Runs the shipped file with its two backends started inside the same process.
pub fn demo() -> ExitCode {
    told(Given::take().and_then(|given| {
        let demo = Demo::start()?;
        let _ = complain(&demo.words(), ExitCode::SUCCESS);
        let config = demo.config.clone();
        serve(config, None, None, given)
    }))
}

fn told(result: Result<ExitCode, String>) -> ExitCode {
    result.unwrap_or_else(|words| complain(&format!("apex: {words}\n"), ExitCode::FAILURE))
}

fn serve(config: Config, path: Option<&Path>, known: Option<Mark>, given: Given) -> Result<ExitCode, String> {
    let Given { passed, predecessor } = given;
    let epoch = Epoch::start();
    let (news, received) = mpsc::channel();
    // Before a port is open: who finds it open may send a signal.
    signals::listen(news.clone()).map_err(|error| format!("signals cannot be handled: {error}"))?;
    let program = Program::of_this_process();
    let descriptors = process::raise_descriptor_limit();
    let count = match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    };
    let published = first(&config, descriptors);
    let shared = Arc::new(Shared::new(published));
    let resolver = Resolver::start(Arc::clone(&shared.published))
        .map_err(|error| format!("names cannot be resolved: {error}"))?;
    resolver.resolve(&shared.published.load());
    let asked: Vec<SocketAddr> = passed.iter().map(|one| one.asked).collect();
    let Start { listeners, by_worker, unwanted } = Listeners::start(&config.server.listen, passed, count)?;
    let log = open_log()?;
    let retired = Retired::start().map_err(|error| format!("no thread is left: {error}"))?;
    let workers = start_workers(by_worker, epoch, &shared, &log, &news)?;
    let pid_file = Staged::write(config.server.pid_file.as_deref())?;
    let then = match &predecessor {
        Some(predecessor) => predecessor.await_go(unwanted, &news, &received)?,
        None => alone(&asked, &unwanted, &news),
    };
    shared.set_phase(Phase::Serving);
    workers.iter().for_each(Handle::wake);
    let pid_file = pid_file.put();
    if then == Then::Reload {
        let _ = news.send(News::Reload);
    }
    if let Some(predecessor) = predecessor {
        predecessor.done();
    }
    let control = Control {
        path,
        known,
        config,
        shared,
        resolver,
        listeners,
        retired,
        workers,
        program,
        upgrade: None,
        pid_file,
        manager: Manager::from_env(),
        descriptors,
        news,
        received,
    };
    say_serving(&control.config, count);
    let code = control.run();
    if log.stop() == Stopped::Abandoned {
        tell(format_args!("the access log is stuck: its last lines are lost"));
    }
    operator::finish();
    Ok(code)
}
/// There is no process whose place is taken: the one that passed sockets down, if any, keeps them.
fn alone(asked: &[SocketAddr], unwanted: &[usize], news: &Sender<News>) -> Then {
    for address in unwanted.iter().filter_map(|&index| asked.get(index)) {
        tell(format_args!("the inherited listener on {address} stands not in `listen`: it is closed"));
    }
    let _ = news.send(News::Alone);
    Then::Serve
}

/// Starts the workers, and waits until each has registered its listeners. They accept nobody yet.
fn start_workers(
    by_worker: Vec<Vec<Bound>>,
    epoch: Epoch,
    shared: &Arc<Shared>,
    log: &Writer,
    news: &Sender<News>,
) -> Result<Vec<Handle>, String> {
    let (tell_begun, all_begun) = mpsc::channel();
    let mut workers = Vec::new();
    for (number, listeners) in by_worker.into_iter().enumerate() {
        let setup = Setup {
            number,
            epoch,
            listeners,
            shared: Arc::clone(shared),
            counters: Arc::new(Counters::default()),
            lines: log.lines(),
            say: |words| tell(format_args!("{words}")),
        };
        let (tell_begun, news) = (tell_begun.clone(), news.clone());
        let begun = move || {
            let _ = tell_begun.send(());
        };
        let left = move || {
            let _ = news.send(News::WorkerLeft);
        };
        let worker = worker::spawn(setup, begun, left)
            .map_err(|error| format!("worker {number} cannot start: {error}"))?;
        workers.push(worker);
    }
    drop(tell_begun);
    if all_begun.iter().count() < workers.len() {
        return Err(String::from("a worker cannot begin"));
    }
    Ok(workers)
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
