//! Names of backends, resolved again and again: a name that moves is followed, and a backend is usable as soon as its name is
//! answered for.
//!
//! One thread keeps the names ([`names`] says when each is due) and never looks one up itself: each look-up is a thread of its own,
//! for `getaddrinfo` blocks for as long as the name's server is silent.

mod names;

use super::report::{info, warn};
use crate::metrics::Registry;
use crate::route::backend::Backend;
use crate::worker::Epoch;
use names::{Change, Names};
use std::any::Any;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// How long the upgrade waits for the addresses that it hands over: the thread that keeps them never blocks.
const KNOWN_WAIT: Duration = Duration::from_secs(1);

/// How long a version waits for the first answers for its new names before it goes in force. Each backend is usable as soon as its
/// name is answered for, later too.
pub(super) const NAMES_WAIT: Duration = Duration::from_secs(1);

/// Names without an answer that are named to the operator.
const SILENT_MAX: usize = 10;

/// A name with its addresses.
pub(super) type Known = (String, Vec<IpAddr>);

/// Looks a name up, for as long as that takes.
type LookUp = fn(&str) -> io::Result<Vec<IpAddr>>;

/// The thread that keeps the names.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    orders: Sender<Order>,
}

enum Order {
    /// Backends of a version that may be published next, or is.
    Follow {
        backends: Vec<Arc<Backend>>,
        /// Dropped when every name that was not known before has been answered for.
        answered: Arc<dyn Any + Send + Sync>,
    },
    /// What is known of every name.
    Tell(Sender<Vec<Known>>),
    /// What a look-up came to.
    Answered { host: String, result: io::Result<Vec<IpAddr>> },
}

impl Resolver {
    /// Starts the thread. `known` is what the process before knew: its backends are usable at once, and the names are asked for
    /// again.
    ///
    /// # Errors
    /// No thread is left.
    pub(super) fn start(known: Vec<Known>, registry: Arc<Registry>) -> io::Result<Self> {
        Self::start_with(known, registry, look_up)
    }

    fn start_with(known: Vec<Known>, registry: Arc<Registry>, look_up: LookUp) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let mut keeper = Keeper {
            names: Names::new(known),
            orders: orders.clone(),
            look_up,
            registry,
            epoch: Epoch::start(),
        };
        std::thread::Builder::new().name("resolver".to_owned()).spawn(move || keeper.run(&received))?;
        Ok(Self { orders })
    }

    /// Resolves the names of these backends for as long as they live. What is known of a name is given to them at once; `answered`
    /// is dropped when every other name has been answered for.
    pub(super) fn follow<'a>(
        &self,
        backends: impl Iterator<Item = &'a Arc<Backend>>,
        answered: Arc<dyn Any + Send + Sync>,
    ) {
        let backends = backends.filter(|backend| backend.needs_resolving()).cloned().collect();
        let _ = self.orders.send(Order::Follow { backends, answered });
    }

    /// The names with an address. It waits for the thread that keeps them, so it is not for the control thread.
    pub(super) fn known(&self) -> Vec<Known> {
        let (tell, told) = mpsc::channel();
        let asked = self.orders.send(Order::Tell(tell));
        asked.ok().and_then(|()| told.recv_timeout(KNOWN_WAIT).ok()).unwrap_or_default()
    }
}

/// What the thread owns.
struct Keeper {
    names: Names,
    /// For the threads that look names up.
    orders: Sender<Order>,
    look_up: LookUp,
    registry: Arc<Registry>,
    epoch: Epoch,
}

impl Keeper {
    /// Goes on until the process ends: this thread holds a sender itself.
    fn run(&mut self, received: &Receiver<Order>) {
        loop {
            let now = self.epoch.now();
            while let Some(host) = self.names.next_to_ask(now) {
                self.ask(&host);
            }
            let order = match self.names.next_look(now) {
                Some(pause) => received.recv_timeout(pause),
                None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Follow { backends, answered }) => {
                    self.names.follow(&backends, &answered, self.epoch.now());
                }
                Ok(Order::Tell(tell)) => {
                    let _ = tell.send(self.names.known());
                }
                Ok(Order::Answered { host, result }) => self.answered(&host, result),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks a name up in a thread of its own.
    fn ask(&mut self, host: &str) {
        let (orders, asked, look_up) = (self.orders.clone(), host.to_owned(), self.look_up);
        let spawned = std::thread::Builder::new().name("look-up".to_owned()).spawn(move || {
            let result = look_up(&asked);
            let _ = orders.send(Order::Answered { host: asked, result });
        });
        if let Err(error) = spawned {
            self.answered(host, Err(error));
        }
    }

    fn answered(&mut self, host: &str, result: io::Result<Vec<IpAddr>>) {
        let counters = &self.registry.process;
        let count = if result.is_ok() { &counters.lookups_answered } else { &counters.lookups_failed };
        count.add(1);
        let Some((authorities, change)) = self.names.answered(host, result, self.epoch.now()) else { return };
        let backends = if authorities.len() == 1 { "backend" } else { "backends" };
        let authorities = authorities.join(", ");
        match change {
            Change::Addresses(addresses) => {
                info(format_args!("{backends} {authorities}: {host} is {}", listed(&addresses)));
            }
            Change::Failed { error, kept } => {
                let state =
                    if kept { "its last addresses are kept" } else { "requests get 503 until it does" };
                warn(format_args!("{backends} {authorities}: {host} does not resolve: {error}; {state}"));
            }
        }
    }
}

/// Tells which backends have no address yet: requests to them get 503 until their names are answered for.
pub(super) fn say_silent<'a>(authorities: impl Iterator<Item = &'a str>) {
    let silent: Vec<&str> = authorities.collect();
    if silent.is_empty() {
        return;
    }
    let more = match silent.len().checked_sub(SILENT_MAX) {
        None | Some(0) => String::new(),
        Some(more) => format!(" and {more} more"),
    };
    let named = silent[..silent.len().min(SILENT_MAX)].join(", ");
    warn(format_args!(
        "no address yet for {named}{more}: requests to them get 503 until their names resolve"
    ));
}

/// The addresses of a name, each once, by the system's resolver.
fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    let found = (host, 0).to_socket_addrs()?;
    let mut addresses: Vec<IpAddr> = found.map(|address: SocketAddr| address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

fn listed(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if texts.is_empty() { String::from("nothing") } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::control::event::{Event, Job, Notice};
    use crate::control::publish::first;

    const SOON: Duration = Duration::from_secs(10);

    /// A name is answered for by its own words, and `silent` never within a test.
    fn scripted(host: &str) -> io::Result<Vec<IpAddr>> {
        match host {
            "silent" => {
                let (_held, never) = mpsc::channel::<()>();
                let _ = never.recv_timeout(SOON * 6);
                Err(io::ErrorKind::TimedOut.into())
            }
            "bad" => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
        }
    }

    fn backends(hosts: &[&str]) -> Vec<Arc<Backend>> {
        let urls: Vec<String> =
            hosts.iter().map(|host| format!("{{ url = \"http://{host}:9001\" }}")).collect();
        let text = format!("[[routes]]\nname = \"a\"\nbackends = [{}]\n", urls.join(", "));
        first(&config::parse(&text, "apex.toml").unwrap(), 1024).table.backends().cloned().collect()
    }

    #[test]
    fn a_silent_name_delays_no_other() {
        let registry = Arc::new(Registry::new(0));
        let resolver = Resolver::start_with(Vec::new(), Arc::clone(&registry), scripted).unwrap();
        let (events, received) = mpsc::channel();
        let follow = |hosts: &[&str], job| {
            let backends = backends(hosts);
            resolver.follow(backends.iter(), Notice::of(&events, Event::NamesAnswered(Job(job))));
            backends
        };
        let held = follow(&["silent", "bad"], 1);
        let mut all_good = Vec::new();
        for number in 2..10 {
            let good = follow(&[&format!("good{number}")], number);
            let answered = received.recv_timeout(SOON).unwrap();
            assert!(matches!(answered, Event::NamesAnswered(job) if job == Job(number)), "{answered:?}");
            assert!(good.iter().all(|backend| backend.is_resolved()));
            all_good.extend(good);
        }
        let known = resolver.known();
        assert!(known.iter().any(|(host, addresses)| host == "good9" && addresses.len() == 1), "{known:?}");
        assert!(held.iter().all(|backend| !backend.is_resolved()));
        assert_eq!((registry.process.lookups_answered.get(), registry.process.lookups_failed.get()), (8, 1));
    }

    #[test]
    fn nothing_is_waited_for_without_a_name() {
        let resolver = Resolver::start(Vec::new(), Arc::new(Registry::new(0))).unwrap();
        let (events, received) = mpsc::channel();
        resolver.follow(backends(&["127.0.0.1"]).iter(), Notice::of(&events, Event::NamesAnswered(Job(1))));
        assert!(matches!(received.recv_timeout(SOON), Ok(Event::NamesAnswered(Job(1)))));
    }
}
