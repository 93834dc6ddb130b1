//! The names of backends: their addresses, the backends that use each, and which name is looked up next. Looks up nothing itself,
//! and is given the time.

use crate::base::{Address, Tick};
use crate::route::backend::Backend;
use std::any::Any;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often a name is looked up again. The system's resolver does not tell how long an answer holds.
const AGAIN: Duration = Duration::from_secs(10);

/// Between two look-ups of names that have addresses: of more than a thousand, each is looked up less often.
const APART: Duration = Duration::from_millis(10);

/// How often a name is looked up that has no address.
const AGAIN_SOON: Duration = Duration::from_secs(1);

/// Look-ups at a time, those aside that take long: each is a thread.
const ASKED_MAX: usize = 16;

/// A look-up that takes longer is slow: its name's server is silent. It delays no other name any more.
const SLOW: Duration = Duration::from_secs(1);

/// Look-ups at a time of names whose last look-up was slow and failed, so that their number cannot keep others from being asked.
const SLOW_MAX: usize = 32;

/// Look-ups at a time altogether.
const THREADS_MAX: usize = 64;

/// Addresses of a name that are used. More come from a broken zone, and each costs a place in every backend.
const ADDRESSES_MAX: usize = 256;

/// All names that are followed.
#[derive(Default)]
pub(super) struct Names {
    by_host: HashMap<String, Name>,
    /// What the process before knew of names that nobody has asked for yet.
    inherited: HashMap<String, Vec<IpAddr>>,
    /// How many names there ever were.
    count: u64,
}

struct Name {
    /// Names are asked for in the order in which they came.
    number: u64,
    /// By where they stand in memory, which is nobody else's as long as they are here.
    backends: HashMap<usize, Weak<Backend>>,
    /// Empty: none are known.
    addresses: Vec<IpAddr>,
    /// Dropped at the first answer.
    waiting: Vec<Arc<dyn Any + Send + Sync>>,
    state: State,
    /// Its last look-up failed, and that was told.
    failed: bool,
    /// Its last look-up was slow and failed.
    is_slow: bool,
    /// It has been looked up to an end, whatever came of it.
    was_answered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be looked up at that time.
    Due(Tick),
    /// Being looked up since then.
    Asked(Tick),
}

/// What an answer changed, to be told.
#[derive(Debug)]
pub(super) enum Change {
    /// It has other addresses than before.
    Addresses(Vec<IpAddr>),
    /// It does not resolve any more, or never did.
    Failed {
        /// Why.
        error: io::Error,
        /// Its last addresses are used on.
        kept: bool,
    },
}

impl Names {
    pub(super) fn new(known: Vec<(String, Vec<IpAddr>)>) -> Self {
        Self { inherited: known.into_iter().collect(), ..Self::default() }
    }

    /// Follows the names of these backends. What is known already is given to them here.
    pub(super) fn follow(
        &mut self,
        backends: &[Arc<Backend>],
        answered: &Arc<dyn Any + Send + Sync>,
        now: Tick,
    ) {
        for backend in backends {
            let Some((host, port)) = backend.name() else { continue };
            if !self.by_host.contains_key(host) {
                let name = self.new_name(host);
                self.by_host.insert(host.to_owned(), name);
            }
            let Some(name) = self.by_host.get_mut(host) else { continue };
            let is_new = name.backends.insert(Arc::as_ptr(backend).addr(), Arc::downgrade(backend)).is_none();
            if is_new && !name.addresses.is_empty() {
                backend.resolved(&with_port(&name.addresses, port));
            }
            // A name that failed or was silent before is not waited for again: it would delay each reload.
            let is_silent = matches!(name.state, State::Asked(since) if is_slow(since, now));
            let is_fresh = name.addresses.is_empty() && !name.was_answered && !is_silent;
            if is_fresh && !name.waiting.iter().any(|other| Arc::ptr_eq(other, answered)) {
                name.waiting.push(Arc::clone(answered));
            }
        }
        self.by_host.retain(|_, name| name.is_wanted());
        // The first version of a process is the only one that the process before knew anything about.
        self.inherited.clear();
    }

    fn new_name(&mut self, host: &str) -> Name {
        self.count += 1;
        Name {
            number: self.count,
            backends: HashMap::new(),
            addresses: self.inherited.remove(host).unwrap_or_default(),
            waiting: Vec::new(),
            state: State::Due(Tick::default()),
            failed: false,
            is_slow: false,
            was_answered: false,
        }
    }

    /// The name to be looked up next, if one may be. It counts as being looked up from here on.
    pub(super) fn next_to_ask(&mut self, now: Tick) -> Option<String> {
        let (mut fresh, mut slow) = (0, 0);
        for name in self.by_host.values() {
            if let State::Asked(since) = name.state {
                if is_slow(since, now) { slow += 1 } else { fresh += 1 }
            }
        }
        if fresh >= ASKED_MAX || fresh + slow >= THREADS_MAX {
            return None;
        }
        let may_be_asked = |name: &Name| match name.state {
            State::Due(at) => at <= now && (!name.is_slow || slow < SLOW_MAX),
            State::Asked(_) => false,
        };
        // Those first that were never resolved, and among them those that were never asked for.
        let urgency = |name: &Name| (name.addresses.is_empty(), !name.was_answered, Reverse(name.number));
        let due = self.by_host.iter_mut().filter(|(_, name)| may_be_asked(name));
        let (host, name) = due.max_by_key(|(_, name)| urgency(name))?;
        name.state = State::Asked(now);
        Some(host.clone())
    }

    /// How long nothing is to be done, unless something is heard; none: for ever.
    pub(super) fn next_look(&self, now: Tick) -> Option<Duration> {
        let due = self.by_host.values().map(|name| match name.state {
            // What is due and was not asked for waits for a look-up to end, or to be slow.
            State::Due(at) if at <= now => SLOW,
            State::Due(at) => Duration::from_micros(at.since_us(now)),
            State::Asked(since) if is_slow(since, now) => AGAIN,
            State::Asked(since) => SLOW.saturating_sub(Duration::from_micros(now.since_us(since))),
        });
        due.min()
    }

    /// Takes an answer, and gives it to the backends of that name. Says whose it is and what it changed, if anything.
    pub(super) fn answered(
        &mut self,
        host: &str,
        result: io::Result<Vec<IpAddr>>,
        now: Tick,
    ) -> Option<(Vec<String>, Change)> {
        let again = AGAIN.max(APART * u32::try_from(self.by_host.len()).unwrap_or(u32::MAX));
        let name = self.by_host.get_mut(host)?;
        let took_long = matches!(name.state, State::Asked(since) if is_slow(since, now));
        name.is_slow = took_long && result.is_err();
        name.was_answered = true;
        let change = match result {
            Ok(mut addresses) => {
                addresses.truncate(ADDRESSES_MAX);
                name.failed = false;
                name.state = State::Due(now.after(if addresses.is_empty() { AGAIN_SOON } else { again }));
                let change = name.addresses != addresses;
                name.addresses = addresses;
                for backend in name.alive() {
                    if let Some((_, port)) = backend.name() {
                        backend.resolved(&with_port(&name.addresses, port));
                    }
                }
                change.then(|| Change::Addresses(name.addresses.clone()))
            }
            // What it resolved to before is worth more than nothing: a resolver that is down takes no backend with it.
            Err(error) => {
                let kept = !name.addresses.is_empty();
                name.state = State::Due(now.after(if kept { again } else { AGAIN_SOON }));
                let is_told = std::mem::replace(&mut name.failed, true);
                (!is_told).then_some(Change::Failed { error, kept })
            }
        };
        // Whoever waits goes on when the backends have their addresses.
        name.waiting.clear();
        let mut authorities: Vec<String> = name.alive().map(|backend| backend.authority.clone()).collect();
        authorities.sort_unstable();
        if authorities.is_empty() {
            self.by_host.remove(host);
            return None;
        }
        change.map(|change| (authorities, change))
    }

    /// Every name that has an address.
    pub(super) fn known(&self) -> Vec<(String, Vec<IpAddr>)> {
        let known = self.by_host.iter().filter(|(_, name)| !name.addresses.is_empty());
        known.map(|(host, name)| (host.clone(), name.addresses.clone())).collect()
    }
}

impl Name {
    fn alive(&self) -> impl Iterator<Item = Arc<Backend>> {
        self.backends.values().filter_map(Weak::upgrade)
    }

    /// Forgets the backends that are gone; is any left? One that is being looked up stays until it is answered for.
    fn is_wanted(&mut self) -> bool {
        self.backends.retain(|_, backend| backend.strong_count() > 0);
        !self.backends.is_empty() || matches!(self.state, State::Asked(_))
    }
}

fn with_port(addresses: &[IpAddr], port: u16) -> Vec<Address> {
    addresses.iter().map(|&address| SocketAddr::new(address, port).into()).collect()
}

fn is_slow(since: Tick, now: Tick) -> bool {
    Duration::from_micros(now.since_us(since)) >= SLOW
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::spec::BackendAddress;

    fn backend(url: &str) -> Arc<Backend> {
        Arc::new(Backend::new(BackendAddress::parse_url(url).unwrap(), &Arc::default()))
    }

    /// Backends of these names, at port 80.
    fn backends(names: &[String]) -> Vec<Arc<Backend>> {
        names.iter().map(|name| backend(&format!("http://{name}"))).collect()
    }

    /// Whoever waits for an answer, and a look whether it came.
    fn waiting() -> (Arc<dyn Any + Send + Sync>, Weak<dyn Any + Send + Sync>) {
        let waiting: Arc<dyn Any + Send + Sync> = Arc::new(());
        let seen = Arc::downgrade(&waiting);
        (waiting, seen)
    }

    fn asked(names: &mut Names, now: Tick) -> Vec<String> {
        std::iter::from_fn(|| names.next_to_ask(now)).collect()
    }

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn answer(is_found: bool) -> io::Result<Vec<IpAddr>> {
        if is_found { Ok(vec![ADDRESS]) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn at(millis: u64) -> Tick {
        Tick(1).after(Duration::from_millis(millis))
    }

    #[test]
    fn each_host_is_asked_for_once_and_all_its_backends_have_the_answer() {
        let (mut names, (answered, seen)) = (Names::default(), waiting());
        let two = [backend("http://a:80"), backend("http://a:81"), backend("http://127.0.0.1:1")];
        names.follow(&two, &answered, at(0));
        drop(answered);
        assert_eq!(asked(&mut names, at(0)), ["a"]);
        assert!(seen.strong_count() > 0 && !two[0].is_resolved());
        let (authorities, change) = names.answered("a", answer(true), at(20)).unwrap();
        assert_eq!(authorities, ["a:80", "a:81"]);
        assert!(matches!(change, Change::Addresses(addresses) if addresses == vec![ADDRESS]));
        assert!(two.iter().all(|one| one.is_resolved()) && seen.strong_count() == 0);
        // It is looked up again later, and the same answer is no news; neither is a failure twice.
        assert!(asked(&mut names, at(20)).is_empty());
        assert_eq!(names.next_look(at(20)), Some(AGAIN));
        assert_eq!(asked(&mut names, at(10_020)), ["a"]);
        assert!(names.answered("a", answer(true), at(10_040)).is_none());
        assert_eq!(asked(&mut names, at(20_040)), ["a"]);
        let (_, change) = names.answered("a", answer(false), at(20_050)).unwrap();
        assert!(matches!(change, Change::Failed { kept: true, .. }) && two[0].is_resolved());
        assert_eq!(asked(&mut names, at(30_050)), ["a"]);
        assert!(names.answered("a", answer(false), at(30_060)).is_none());
        // A version with another port of that host has the addresses at once, and waits for nothing.
        let (third, (answered, seen)) = ([backend("http://a:82")], waiting());
        names.follow(&third, &answered, at(30_070));
        drop(answered);
        assert!(third[0].is_resolved() && seen.strong_count() == 0);
        drop((two, third));
        names.follow(&[], &waiting().0, at(30_080));
        assert!(names.by_host.is_empty());
    }

    #[test]
    fn silent_names_delay_no_other_and_are_not_waited_for_twice() {
        let mut names = Names::default();
        let silent: Vec<String> = (0..40).map(|number| format!("silent{number}")).collect();
        let good: Vec<String> = (0..40).map(|number| format!("good{number}")).collect();
        let held = [backends(&silent), backends(&good)];
        names.follow(&held[0], &waiting().0, at(0));
        assert_eq!(asked(&mut names, at(0)), silent[..ASKED_MAX]);
        assert_eq!(names.next_look(at(0)), Some(SLOW));
        // Each second as many more, up to the bound; those that come later wait for no answer of theirs.
        assert_eq!(asked(&mut names, at(1000)), silent[ASKED_MAX..2 * ASKED_MAX]);
        names.follow(&held[1], &waiting().0, at(1100));
        assert!(asked(&mut names, at(1100)).is_empty());
        let next: Vec<String> = silent[32..].iter().chain(&good[..8]).cloned().collect();
        assert_eq!(asked(&mut names, at(2000)), next);
        for host in &good[..8] {
            names.answered(host, answer(true), at(2001));
        }
        assert_eq!(asked(&mut names, at(2001)), good[8..16]);
        let (answered, seen) = waiting();
        names.follow(&held[0], &answered, at(2500));
        drop(answered);
        assert_eq!(seen.strong_count(), 8, "the eight that are not slow yet");
        // Known to be slow, they have half of the threads at most.
        for host in &silent {
            names.answered(host, answer(false), at(12_000));
        }
        while let Some(host) = names.next_to_ask(at(12_000)) {
            names.answered(&host, answer(true), at(12_000));
        }
        for second in 13..20 {
            asked(&mut names, at(second * 1000));
        }
        let under_way = |name: &Name| name.is_slow && matches!(name.state, State::Asked(_));
        assert_eq!(names.by_host.values().filter(|name| under_way(name)).count(), SLOW_MAX);
    }

    #[test]
    fn what_was_never_resolved_is_asked_for_first() {
        let mut names = Names::default();
        let old: Vec<String> = (0..ASKED_MAX).map(|number| format!("old{number}")).collect();
        let held = [backends(&old), backends(&["bad".to_owned()]), backends(&["new".to_owned()])];
        names.follow(&held[0], &waiting().0, at(0));
        for host in asked(&mut names, at(0)) {
            names.answered(&host, answer(true), at(0));
        }
        names.follow(&held[1], &waiting().0, at(0));
        assert_eq!(asked(&mut names, at(0)), ["bad"]);
        names.answered("bad", answer(false), at(0));
        names.follow(&held[2], &waiting().0, at(20_000));
        assert_eq!(asked(&mut names, at(20_000))[..2], ["new", "bad"]);
    }

    #[test]
    fn what_the_process_before_knew_holds_at_once() {
        let mut names = Names::new(vec![("a".to_owned(), vec![ADDRESS])]);
        let (held, (answered, seen)) = ([backend("http://a:80")], waiting());
        names.follow(&held, &answered, at(0));
        drop(answered);
        assert!(held[0].is_resolved() && seen.strong_count() == 0);
        assert_eq!(names.known(), [("a".to_owned(), vec![ADDRESS])]);
        assert_eq!(asked(&mut names, at(0)), ["a"], "and it is asked for again");
    }
}
