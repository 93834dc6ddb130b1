//! The proxy from its start to its end: what is started, in which order, and who watches over it.

use super::background::Reclaimer;
use super::event::{self, Event};
use super::event_loop::Control;
use super::listeners::{Listeners, Start};
use super::pid_file::Staged;
use super::publish::first;
use super::report::{self, info};
use super::resolve::Resolver;
use super::service_manager::ServiceManager;
use super::upgrade::executable::Executable;
use super::upgrade::inherit::Inherited;
use super::upgrade::protocol::Then;
use crate::base::Address;
use crate::config::{Config, Mark};
use crate::log::writer::{Stopped, Writer};
use crate::metrics::Counters;
use crate::net::process;
use crate::worker::{self, Bound, Epoch, Handle, Phase, Setup, Shared};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

/// Serves with a checked configuration until the process is told to leave. `path` is its file, which a reload reads again; `known`
/// the mark of what was read.
///
/// # Errors
/// In words for the user: an address, a file or a thread that cannot be had.
pub fn serve(
    config: Config,
    path: Option<&Path>,
    known: Option<Mark>,
    inherited: Inherited,
) -> Result<ExitCode, String> {
    let Inherited { passed, predecessor } = inherited;
    let epoch = Epoch::start();
    let (events, received) = mpsc::channel();
    // Before a port is open: who finds it open may send a signal.
    event::listen_for_signals(events.clone())
        .map_err(|error| format!("signals cannot be handled: {error}"))?;
    let program = Executable::of_this_process();
    let descriptors = process::raise_descriptor_limit();
    let count = match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    };
    let published = first(&config, descriptors);
    let shared = Arc::new(Shared::new(published));
    let resolver = Resolver::start(Arc::clone(&shared.snapshot))
        .map_err(|error| format!("names cannot be resolved: {error}"))?;
    resolver.resolve(&shared.snapshot.load());
    let asked: Vec<_> = passed.iter().map(|one| one.asked.clone()).collect();
    let Start { listeners, by_worker, unwanted } = Listeners::start(&config.server.listen, passed, count)?;
    let log = open_log()?;
    let retired = Reclaimer::start().map_err(|error| format!("no thread is left: {error}"))?;
    let workers = start_workers(by_worker, epoch, &shared, &log, &events)?;
    let pid_file = Staged::write(config.server.pid_file.as_deref())?;
    let then = match &predecessor {
        Some(predecessor) => predecessor.await_go(unwanted, &events, &received)?,
        None => alone(&asked, &unwanted, &events),
    };
    listeners.take_over();
    shared.set_phase(Phase::Serving);
    workers.iter().for_each(Handle::wake);
    let pid_file = pid_file.put();
    if then == Then::Reload {
        let _ = events.send(Event::Reload);
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
        manager: ServiceManager::from_env(),
        descriptors,
        events,
        received,
    };
    say_serving(&control.config, count);
    let code = control.run();
    if log.stop() == Stopped::Abandoned {
        info(format_args!("the access log is stuck: its last lines are lost"));
    }
    report::finish();
    Ok(code)
}
/// There is no process whose place is taken: the one that passed sockets down, if any, keeps them.
fn alone(asked: &[Address], unwanted: &[usize], events: &Sender<Event>) -> Then {
    for address in unwanted.iter().filter_map(|&index| asked.get(index)) {
        info(format_args!("the inherited listener on {address} stands not in `listen`: it is closed"));
    }
    let _ = events.send(Event::Alone);
    Then::Serve
}

/// Starts the workers, and waits until each has registered its listeners. They accept nobody yet.
fn start_workers(
    by_worker: Vec<Vec<Bound>>,
    epoch: Epoch,
    shared: &Arc<Shared>,
    log: &Writer,
    events: &Sender<Event>,
) -> Result<Vec<Handle>, String> {
    let (tell_begun, all_begun) = mpsc::channel();
    let mut workers = Vec::new();
    for (number, listeners) in by_worker.into_iter().enumerate() {
        let setup = Setup {
            number,
            listeners,
            shared: Arc::clone(shared),
            counters: Arc::new(Counters::default()),
            lines: log.lines(),
            report: |words| info(format_args!("{words}")),
        };
        let (tell_begun, events) = (tell_begun.clone(), events.clone());
        let begun = move || {
            let _ = tell_begun.send(());
        };
        let left = move || {
            let _ = events.send(Event::WorkerLeft);
        };
        let worker = worker::spawn(setup, epoch, begun, left)
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
    info(format_args!("serving {routes} route(s) on {listen} with {workers} worker(s)"));
}

/// The access log goes to the standard output, unbuffered: its writer gathers lines by itself.
fn open_log() -> Result<Writer, String> {
    let out =
        process::standard_output().map_err(|error| format!("the standard output is closed: {error}"))?;
    Writer::spawn(out, std::io::stderr())
        .map_err(|error| format!("the access log cannot be written: {error}"))
}
