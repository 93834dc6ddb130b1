//! Where the process listens: sockets bound for each worker at the start and by reloads, or handed down by the process before. It
//! accepts nothing; workers do, and they close.

use super::report::info;
use crate::base::Address;
use crate::config::diff::missing;
use crate::net::{Listener, listener};
use crate::worker::{Bound, ListenChange, ListenGroup, Ownership};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

/// Ports below need a privilege, unless the system was told otherwise (ip(7), `ip_unprivileged_port_start`).
const PRIVILEGED_BELOW: u16 = 1024;

/// The addresses that the process listens on.
#[derive(Debug)]
pub(super) struct Listeners {
    workers: usize,
    /// In the order of `listen`.
    open: Vec<Open>,
    /// Removed by a reload; a worker may still accept clients from their queues.
    leaving: Vec<Weak<ListenGroup>>,
    /// How many places there ever were.
    groups: u32,
}

#[derive(Debug)]
struct Open {
    /// The address as `listen` has it: of port 0 the place has another.
    asked: Address,
    group: Arc<ListenGroup>,
    /// Its sockets, to be handed down to a later process. Workers have them by descriptors of their own, so that none of these
    /// holds a socket open that they are to close: with the address these go first.
    sockets: Arc<[Listener]>,
}

/// Sockets of one address that go from process to process.
#[derive(Debug)]
pub(super) struct Passed<S> {
    /// The address as the `listen` of the process before had it, or what they are bound to.
    pub(super) asked: Address,
    /// [`Ownership::Shared`]: somebody else has them, too, and keeps them.
    pub(super) owner: Ownership,
    /// One or more, each with a queue of its own.
    pub(super) sockets: S,
}

impl<S> Passed<S>
where
    S: AsRef<[Listener]>,
{
    /// Are these the sockets for what `listen` says?
    fn are_for(&self, address: &Address) -> bool {
        let bound = || self.sockets.as_ref().first().and_then(|socket| socket.address().ok());
        self.asked == *address || bound().as_ref() == Some(address)
    }
}

/// What the process begins to listen with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) listeners: Listeners,
    /// For each worker, its sockets.
    pub(super) by_worker: Vec<Vec<Bound>>,
    /// Which of the passed addresses stand not in `listen`, in their order.
    pub(super) unwanted: Vec<usize>,
}

/// What a reload could do about listeners.
#[derive(Debug)]
pub(super) struct Change {
    /// For each worker, what it is to do.
    pub(super) changes: Vec<ListenChange>,
    /// Addresses that could not be had.
    pub(super) refused: Vec<(Address, io::Error)>,
    /// Without the refused ones nothing would be left: so what should have been left stays.
    pub(super) keeps_old: bool,
}

impl Listeners {
    /// Binds everything that `listen` names, and says what each worker begins with: passed sockets where an address was passed
    /// down, else its own. What is not wanted of those is closed here.
    ///
    /// # Errors
    /// The first address that cannot be bound, as a message.
    pub(super) fn start(
        listen: &[Address],
        passed: Vec<Passed<Vec<Listener>>>,
        workers: usize,
    ) -> Result<Start, String> {
        let mut listeners = Self { workers, open: Vec::new(), leaving: Vec::new(), groups: 0 };
        let mut by_worker: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
        let mut passed: Vec<Option<_>> = passed.into_iter().map(Some).collect();
        // Their ports are in use, by ourselves or by the process before.
        let ports: Vec<u16> = passed.iter().flatten().filter_map(port_of).collect();
        for address in listen {
            let is_it = |one: &&mut Option<Passed<_>>| one.as_ref().is_some_and(|one| one.are_for(address));
            let found = passed.iter_mut().find(is_it).and_then(Option::take);
            let bound = match found {
                Some(Passed { owner, sockets, .. }) => listeners.adopt(address.clone(), owner, sockets),
                None => listeners.bind(address, &ports),
            };
            let bound = bound
                .map_err(|error| format!("cannot listen on {address}: {error}{}", hint(address, &error)))?;
            for (mine, bound) in by_worker.iter_mut().zip(bound) {
                mine.extend(bound);
            }
        }
        let unwanted = passed.iter().enumerate().filter(|(_, one)| one.is_some()).map(|(index, _)| index);
        Ok(Start { listeners, by_worker, unwanted: unwanted.collect() })
    }

    /// What a later process is given: everything that is open.
    pub(super) fn to_pass(&self) -> Vec<Passed<Arc<[Listener]>>> {
        let pass = |open: &Open| Passed {
            asked: open.asked.clone(),
            owner: open.group.owner(),
            sockets: Arc::clone(&open.sockets),
        };
        self.open.iter().map(pass).collect()
    }

    /// All that was passed is a later process's now, but for what it did not want, in the order of [`Self::to_pass`].
    pub(super) fn hand_over(&self, unwanted: &[usize]) {
        let wanted = self.open.iter().enumerate().filter(|(index, _)| !unwanted.contains(index));
        for (_, open) in wanted {
            open.group.hand_over();
            open.sockets.iter().for_each(|socket| socket.set_ours(false));
        }
    }

    /// Nobody else has what was passed down any more: files of sockets are to be removed by this process.
    pub(super) fn take_over(&self) {
        for open in self.open.iter().filter(|open| open.group.owner() == Ownership::Exclusive) {
            open.sockets.iter().for_each(|socket| socket.set_ours(true));
        }
    }

    /// The addresses in force, as `listen` has them.
    pub(super) fn asked(&self) -> Vec<Address> {
        self.open.iter().map(|open| open.asked.clone()).collect()
    }

    /// The process leaves: nothing is handed down any more, and the workers' descriptors are the last ones.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    /// Binds what is new in `wanted`, and forgets what is no longer in it. New sockets are there before old ones close, so that
    /// a port that goes from one address to another is never shut.
    pub(super) fn change(&mut self, wanted: &[Address]) -> Change {
        let mut changes: Vec<ListenChange> = (0..self.workers).map(|_| ListenChange::default()).collect();
        let (added, removed) = (missing(wanted, &self.asked()), missing(&self.asked(), wanted));
        let kept = self.open.len() - removed.len();
        let added_count = added.len();
        let mut refused = Vec::new();
        for address in added {
            match self.bind(&address, &[]) {
                Ok(bound) => {
                    for (change, bound) in changes.iter_mut().zip(bound) {
                        change.listen.extend(bound);
                    }
                }
                Err(error) => refused.push((address, error)),
            }
        }
        let keeps_old = kept == 0 && refused.len() == added_count;
        if !keeps_old {
            for address in removed {
                let Some(index) = self.open.iter().position(|open| open.asked == address) else { continue };
                // Its descriptors here are closed with it: the workers' are the last ones.
                let Open { group, sockets, .. } = self.open.remove(index);
                // Who connects from now on finds no file, and whatever a later version puts there stays.
                sockets.iter().for_each(Listener::remove_file);
                for change in &mut changes {
                    change.close.push(group.number);
                }
                self.leaving.push(Arc::downgrade(&group));
            }
        }
        Change { changes, refused, keeps_old }
    }

    /// A socket for each worker on `address`, where the port is not in use but by ourselves and these; of a Unix path one for all of
    /// them.
    fn bind(&mut self, address: &Address, ports: &[u16]) -> io::Result<Vec<Vec<Bound>>> {
        let Address::Ip(ip) = *address else {
            let socket = Listener::bind(address)?;
            return self.opened(address.clone(), Ownership::Exclusive, vec![socket]);
        };
        // With SO_REUSEPORT a second Apex would take half of the connections without a word: so it is asked for alone first.
        // A port of our own is in use, by ourselves.
        if !self.is_ours(ip.port()) && !ports.contains(&ip.port()) {
            listener::is_free(address)?;
        }
        let mut sockets = Vec::new();
        let bound = bind_more(&mut sockets, ip, self.workers)?;
        if bound != ip {
            info(format_args!("{address} is {bound}"));
        }
        self.opened(address.clone(), Ownership::Exclusive, sockets)
    }

    /// Takes over sockets that were passed down. Each stays open, because clients may be in its queue: where there are fewer workers
    /// than sockets, some have several, and where there are more, they have new ones.
    fn adopt(
        &mut self,
        asked: Address,
        owner: Ownership,
        mut sockets: Vec<Listener>,
    ) -> io::Result<Vec<Vec<Bound>>> {
        if owner == Ownership::Exclusive
            && let Some(first) = sockets.first()
            && let Address::Ip(address) = first.address()?
        {
            bind_more(&mut sockets, address, self.workers)?;
        }
        self.opened(asked, owner, sockets)
    }

    /// Has any of our own sockets that port, be it one that a worker is about to close?
    fn is_ours(&mut self, port: u16) -> bool {
        self.leaving.retain(|group| group.strong_count() > 0);
        let leaving = self.leaving.iter().filter_map(Weak::upgrade);
        self.open
            .iter()
            .map(|open| Arc::clone(&open.group))
            .chain(leaving)
            .any(|group| group.address.ip().is_some_and(|address| address.port() == port))
    }

    /// Makes a place of sockets that are bound, and gives them to the workers: each to one, or each to all where others have it or
    /// there is one for all.
    fn opened(
        &mut self,
        asked: Address,
        owner: Ownership,
        sockets: Vec<Listener>,
    ) -> io::Result<Vec<Vec<Bound>>> {
        let address =
            sockets.first().and_then(|socket| socket.address().ok()).unwrap_or_else(|| asked.clone());
        let is_for_one = owner == Ownership::Exclusive && address.ip().is_some();
        let group = Arc::new(ListenGroup::new(self.groups, address, owner));
        let mut by_worker: Vec<Vec<Bound>> = (0..self.workers).map(|_| Vec::new()).collect();
        for (index, socket) in sockets.iter().enumerate() {
            let one = index % self.workers;
            let takers = if is_for_one { one..one + 1 } else { 0..self.workers };
            for taker in &mut by_worker[takers] {
                taker.push(Bound { socket: socket.try_clone()?, group: Arc::clone(&group) });
            }
        }
        self.groups += 1;
        self.open.push(Open { asked, group, sockets: sockets.into() });
        Ok(by_worker)
    }
}

/// What to do about an address that cannot be had, where that is known; it follows the error.
pub(super) fn hint(address: &Address, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if address.ip().is_some_and(|one| one.port() < PRIVILEGED_BELOW) => {
            " (a port below 1024 needs a privilege: `AmbientCapabilities=CAP_NET_BIND_SERVICE` in the unit, \
             `setcap cap_net_bind_service=+ep` on the binary, or `sysctl net.ipv4.ip_unprivileged_port_start=80`)"
        }
        io::ErrorKind::AddrInUse => " (another program listens there: `ss -ltnp` names it)",
        io::ErrorKind::AddrNotAvailable => " (this machine has no such address)",
        _ => "",
    }
}

/// Binds until there are so many; says where.
fn bind_more(sockets: &mut Vec<Listener>, mut address: SocketAddr, count: usize) -> io::Result<SocketAddr> {
    while sockets.len() < count {
        let socket = listener::bind(address)?;
        // Of port 0 the first one takes a free port, and the others the same.
        address = socket.local_addr()?;
        sockets.push(socket.into());
    }
    Ok(address)
}

fn port_of(passed: &Passed<Vec<Listener>>) -> Option<u16> {
    Some(passed.sockets.first()?.address().ok()?.ip()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const ANY: Address = Address::Ip(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0));

    fn addresses(change: &ListenChange) -> Vec<Address> {
        change.listen.iter().map(|bound| bound.group.address.clone()).collect()
    }

    #[test]
    fn says_what_to_do_about_an_address_that_cannot_be_had() {
        let hint = |address: &str, kind: io::ErrorKind| hint(&address.parse().unwrap(), &kind.into());
        assert!(hint("0.0.0.0:80", io::ErrorKind::PermissionDenied).contains("setcap"));
        assert!(hint("[::]:443", io::ErrorKind::PermissionDenied).contains("ip_unprivileged_port_start"));
        assert_eq!(hint("0.0.0.0:8080", io::ErrorKind::PermissionDenied), "");
        assert_eq!(hint("unix:/run/a.sock", io::ErrorKind::PermissionDenied), "");
        assert!(hint("0.0.0.0:8080", io::ErrorKind::AddrInUse).contains("another program"));
    }

    #[test]
    fn counts_what_is_missing() {
        let [a, b] = [1, 2].map(|port| Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        let [a_again, b_again, b_too] = [a.clone(), b.clone(), b.clone()];
        assert_eq!(missing(&[a_again, b_again], &[b_too]), std::slice::from_ref(&a));
        assert_eq!(missing(std::slice::from_ref(&b), &[a.clone(), b.clone()]), []);
        assert_eq!(missing(&[ANY, a.clone(), ANY], &[ANY]), [a, ANY]);
    }

    #[test]
    fn binds_what_is_new_and_leaves_what_is_gone() {
        let Start { mut listeners, by_worker: first, .. } = Listeners::start(&[ANY], Vec::new(), 2).unwrap();
        let old = first[0][0].group.address.clone();
        assert_eq!((first.len(), first[1][0].group.number), (2, 0));
        let Change { changes, refused, keeps_old } = listeners.change(&[ANY, ANY]);
        assert!(refused.is_empty() && !keeps_old);
        let new = addresses(&changes[0]);
        assert_eq!(new, addresses(&changes[1]));
        assert!(new.len() == 1 && new[0] != old && changes[0].close.is_empty());
        // Under its number it is the same place; by its address it is another one, which takes over before the old one closes.
        let Change { changes, .. } = listeners.change(&[ANY, old.clone()]);
        assert_eq!((addresses(&changes[0]), listeners.asked()), (vec![old.clone()], vec![ANY, old.clone()]));
        assert_eq!(changes[1].close, [0]);
        // Nobody has closed the first sockets: so the address is still ours, and had again.
        let Change { changes, refused, .. } = listeners.change(&[ANY]);
        assert!(refused.is_empty() && changes[0].listen.is_empty() && changes[0].close == [2]);
        assert!(listeners.change(&[ANY, old]).refused.is_empty());
        drop(first);
    }

    #[test]
    fn an_address_of_others_is_refused_and_the_rest_done() {
        let other = Listener::bind(&ANY).unwrap();
        let taken = other.address().unwrap();
        let Start { mut listeners, by_worker: first, .. } = Listeners::start(&[ANY], Vec::new(), 1).unwrap();
        let free = first[0][0].group.address.clone();
        let Change { changes, refused, keeps_old } = listeners.change(&[taken.clone(), free.clone()]);
        assert_eq!((refused.len(), &refused[0].0, keeps_old), (1, &taken, false));
        assert_eq!((addresses(&changes[0]), &changes[0].close[..]), (vec![free.clone()], &[0][..]));
        // With nothing else to listen on, what was stays.
        let Change { changes, refused, keeps_old } = listeners.change(std::slice::from_ref(&taken));
        assert!(refused.len() == 1 && keeps_old && changes[0].close.is_empty());
        assert_eq!(listeners.asked(), [free]);
        drop(other);
        assert!(listeners.change(std::slice::from_ref(&taken)).refused.is_empty());
        assert_eq!(listeners.asked(), [taken]);
    }

    #[test]
    fn a_place_that_every_worker_left_is_not_ours() {
        let Start { mut listeners, by_worker: first, .. } = Listeners::start(&[ANY], Vec::new(), 1).unwrap();
        let old = first[0][0].group.address.clone();
        let Change { changes, .. } = listeners.change(&[ANY, ANY]);
        listeners.change(&addresses(&changes[0]));
        assert!(listeners.is_ours(old.ip().unwrap().port()));
        drop(first);
        assert!(!listeners.is_ours(old.ip().unwrap().port()));
    }

    /// What a later process is given, as it comes there.
    fn passed(listeners: &Listeners) -> Vec<Passed<Vec<Listener>>> {
        let cloned = |one: Passed<Arc<[Listener]>>| Passed {
            asked: one.asked,
            owner: one.owner,
            sockets: one.sockets.iter().map(|socket| socket.try_clone().unwrap()).collect(),
        };
        listeners.to_pass().into_iter().map(cloned).collect()
    }

    /// How many sockets each worker has.
    fn counts(by_worker: &[Vec<Bound>]) -> Vec<usize> {
        by_worker.iter().map(Vec::len).collect()
    }

    #[test]
    fn every_socket_that_is_passed_has_a_worker_and_every_worker_a_socket() {
        let Start { listeners, by_worker, .. } = Listeners::start(&[ANY, ANY], Vec::new(), 3).unwrap();
        let [first, second] = [0, 1].map(|group: usize| by_worker[0][group].group.address.clone());
        for (workers, sockets) in [(1, vec![6]), (2, vec![4, 2]), (3, vec![2; 3]), (5, vec![2; 5])] {
            let start = Listeners::start(&[ANY, ANY], passed(&listeners), workers).unwrap();
            assert_eq!((counts(&start.by_worker), start.unwanted.len()), (sockets, 0), "{workers}");
            let mut at: Vec<_> =
                start.by_worker.iter().flatten().map(|bound| bound.group.address.clone()).collect();
            at.sort_unstable();
            at.dedup();
            assert!(at.len() == 2 && at.contains(&first) && at.contains(&second), "{at:?}");
        }
    }

    #[test]
    fn what_others_have_too_is_shared_and_stays_theirs() {
        let socket = Listener::bind(&ANY).unwrap();
        let asked = socket.address().unwrap();
        let passed = vec![Passed { asked: asked.clone(), owner: Ownership::Shared, sockets: vec![socket] }];
        let Start { listeners, by_worker, .. } = Listeners::start(&[asked], passed, 2).unwrap();
        assert_eq!((counts(&by_worker), by_worker[1][0].group.owner()), (vec![1, 1], Ownership::Shared));
        let again = &listeners.to_pass()[0];
        assert_eq!((again.owner, again.sockets.len()), (Ownership::Shared, 1));
    }

    #[test]
    fn addresses_come_and_go_from_process_to_process() {
        let move_one = || {
            let Start { listeners, by_worker, .. } = Listeners::start(&[ANY, ANY], Vec::new(), 1).unwrap();
            let [stays, goes] = [0, 1].map(|group: usize| by_worker[0][group].group.address.clone());
            // The port of the one that goes is in use, and yet it can be had at another address.
            let new = SocketAddr::from(([127, 0, 0, 2], goes.ip()?.port())).into();
            let start = Listeners::start(&[new, stays], passed(&listeners), 1).ok()?;
            Some((listeners, by_worker, start))
        };
        // Somebody else may have that port there: then it is another one's turn.
        let (listeners, by_worker, start) = (0..8).find_map(|_| move_one()).unwrap();
        assert_eq!(start.unwanted, [1]);
        listeners.hand_over(&start.unwanted);
        let owners: Vec<_> = by_worker[0].iter().map(|bound| bound.group.owner()).collect();
        assert_eq!(owners, [Ownership::HandedOver, Ownership::Exclusive]);
    }
}
