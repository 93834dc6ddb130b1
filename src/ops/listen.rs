//! Where the process listens: sockets bound for each worker at the start and by reloads. It accepts nothing; workers do, and they
//! close.

use super::operator::tell;
use crate::net::listener;
use crate::worker::{Bound, Order, Owner, Place};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};

/// The places that the process listens on.
#[derive(Debug)]
pub(super) struct Listeners {
    workers: usize,
    /// In the order of `listen`.
    open: Vec<Open>,
    /// Left by a reload; a worker may still serve who waits there.
    leaving: Vec<Weak<Place>>,
    /// How many places there ever were.
    places: u32,
}

#[derive(Debug)]
struct Open {
    /// The address as `listen` has it: of port 0 the place has another.
    asked: SocketAddr,
    place: Arc<Place>,
}

/// What a reload could do about listeners.
#[derive(Debug)]
pub(super) struct Change {
    /// For each worker, what it is to do.
    pub(super) orders: Vec<Order>,
    /// Addresses that could not be had.
    pub(super) refused: Vec<(SocketAddr, io::Error)>,
    /// Without the refused ones nothing would be left: so what should have been left stays.
    pub(super) keeps_old: bool,
}

impl Listeners {
    /// Binds everything that `listen` names, and says what each worker begins with: inherited sockets where an address was
    /// passed down, else its own.
    ///
    /// # Errors
    /// In words, for the first address that cannot be had.
    pub(super) fn start(
        listen: &[SocketAddr],
        mut inherited: Vec<TcpListener>,
        workers: usize,
    ) -> Result<(Self, Vec<Vec<Bound>>), String> {
        let mut listeners = Self { workers, open: Vec::new(), leaving: Vec::new(), places: 0 };
        let mut by_worker: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
        for &address in listen {
            let passed =
                inherited.iter().position(|one| one.local_addr().is_ok_and(|local| local == address));
            let (sockets, owner) = match passed {
                Some(index) => (share(&inherited.swap_remove(index), workers), Owner::Many),
                None => (listeners.bind(address), Owner::Worker),
            };
            let sockets = sockets.map_err(|error| format!("cannot listen on {address}: {error}"))?;
            for (bound, mine) in listeners.opened(address, owner, sockets).into_iter().zip(&mut by_worker) {
                mine.push(bound);
            }
        }
        for unwanted in inherited {
            let address =
                unwanted.local_addr().map_or_else(|_| String::from("?"), |address| address.to_string());
            tell(format_args!("the inherited listener on {address} stands not in `listen`: it is closed"));
        }
        Ok((listeners, by_worker))
    }

    /// The addresses in force, as `listen` has them.
    pub(super) fn asked(&self) -> Vec<SocketAddr> {
        self.open.iter().map(|open| open.asked).collect()
    }

    /// Binds what is new in `wanted`, and forgets what is no longer in it. New sockets are there before old ones close, so that
    /// a port that goes from one address to another is never shut.
    pub(super) fn change(&mut self, wanted: &[SocketAddr]) -> Change {
        let mut orders: Vec<Order> = (0..self.workers).map(|_| Order::default()).collect();
        let (added, removed) = (missing(wanted, &self.asked()), missing(&self.asked(), wanted));
        let kept = self.open.len() - removed.len();
        let mut refused = Vec::new();
        for &address in &added {
            match self.bind(address) {
                Ok(sockets) => {
                    let bound = self.opened(address, Owner::Worker, sockets);
                    for (order, bound) in orders.iter_mut().zip(bound) {
                        order.listen.push(bound);
                    }
                }
                Err(error) => refused.push((address, error)),
            }
        }
        let keeps_old = kept == 0 && refused.len() == added.len();
        if !keeps_old {
            for address in removed {
                let Some(index) = self.open.iter().position(|open| open.asked == address) else { continue };
                let place = self.open.remove(index).place;
                for order in &mut orders {
                    order.close.push(place.number);
                }
                self.leaving.push(Arc::downgrade(&place));
            }
        }
        Change { orders, refused, keeps_old }
    }

    /// A socket for each worker on `address`.
    fn bind(&mut self, address: SocketAddr) -> io::Result<Vec<TcpListener>> {
        // With SO_REUSEPORT a second Apex would take half of the connections without a word: so it is asked for alone first.
        // A port of our own is in use, by ourselves.
        if !self.is_ours(address.port()) {
            listener::is_free(address)?;
        }
        let mut bound = address;
        let mut sockets = Vec::new();
        for _ in 0..self.workers {
            let socket = listener::bind(bound)?;
            // Of port 0 the first one takes a free port, and the others the same.
            bound = socket.local_addr()?;
            sockets.push(socket);
        }
        if bound != address {
            tell(format_args!("{address} is {bound}"));
        }
        Ok(sockets)
    }

    /// Has any of our own sockets that port, be it one that a worker is about to close?
    fn is_ours(&mut self, port: u16) -> bool {
        self.leaving.retain(|place| place.strong_count() > 0);
        let leaving = self.leaving.iter().filter_map(Weak::upgrade);
        self.open
            .iter()
            .map(|open| Arc::clone(&open.place))
            .chain(leaving)
            .any(|place| place.address.port() == port)
    }

    /// Makes a place of sockets that are bound.
    fn opened(&mut self, asked: SocketAddr, owner: Owner, sockets: Vec<TcpListener>) -> Vec<Bound> {
        let address = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(asked);
        let place = Arc::new(Place { number: self.places, address, owner });
        self.places += 1;
        let bound = |socket| Bound { socket, place: Arc::clone(&place) };
        let sockets = sockets.into_iter().map(bound).collect();
        self.open.push(Open { asked, place });
        sockets
    }
}

/// One inherited socket for all workers.
fn share(socket: &TcpListener, workers: usize) -> io::Result<Vec<TcpListener>> {
    listener::adopt(socket)?;
    (0..workers).map(|_| socket.try_clone()).collect()
}

/// What is in `these` and not `among`; of one that stands more often here, so many as it does.
pub(super) fn missing(these: &[SocketAddr], among: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut left = among.to_vec();
    let mut missing = Vec::new();
    for &address in these {
        match left.iter().position(|&other| other == address) {
            Some(index) => {
                left.swap_remove(index);
            }
            None => missing.push(address),
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn addresses(order: &Order) -> Vec<SocketAddr> {
        order.listen.iter().map(|bound| bound.socket.local_addr().unwrap()).collect()
    }

    #[test]
    fn counts_what_is_missing() {
        let [a, b] = [1, 2].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        assert_eq!(missing(&[a, b], &[b]), [a]);
        assert_eq!(missing(&[b], &[a, b]), []);
        assert_eq!(missing(&[ANY, a, ANY], &[ANY]), [a, ANY]);
    }

    #[test]
    fn binds_what_is_new_and_leaves_what_is_gone() {
        let (mut listeners, first) = Listeners::start(&[ANY], Vec::new(), 2).unwrap();
        let old = first[0][0].place.address;
        assert_eq!((first.len(), first[1][0].place.number), (2, 0));
        let Change { orders, refused, keeps_old } = listeners.change(&[ANY, ANY]);
        assert!(refused.is_empty() && !keeps_old);
        let new = addresses(&orders[0]);
        assert_eq!(new, addresses(&orders[1]));
        assert!(new.len() == 1 && new[0] != old && orders[0].close.is_empty());
        // Under its number it is the same place; by its address it is another one, which takes over before the old one closes.
        let Change { orders, .. } = listeners.change(&[ANY, old]);
        assert_eq!((addresses(&orders[0]), listeners.asked()), (vec![old], vec![ANY, old]));
        assert_eq!(orders[1].close, [0]);
        // Nobody has closed the first sockets: so the address is still ours, and had again.
        let Change { orders, refused, .. } = listeners.change(&[ANY]);
        assert!(refused.is_empty() && orders[0].listen.is_empty() && orders[0].close == [2]);
        assert!(listeners.change(&[ANY, old]).refused.is_empty());
        drop(first);
    }

    #[test]
    fn an_address_of_others_is_refused_and_the_rest_done() {
        let other = listener::bind(ANY).unwrap();
        let taken = other.local_addr().unwrap();
        let (mut listeners, first) = Listeners::start(&[ANY], Vec::new(), 1).unwrap();
        let free = first[0][0].place.address;
        let Change { orders, refused, keeps_old } = listeners.change(&[taken, free]);
        assert_eq!((refused.len(), refused[0].0, keeps_old), (1, taken, false));
        assert_eq!((addresses(&orders[0]), &orders[0].close[..]), (vec![free], &[0][..]));
        // With nothing else to listen on, what was stays.
        let Change { orders, refused, keeps_old } = listeners.change(&[taken]);
        assert!(refused.len() == 1 && keeps_old && orders[0].close.is_empty());
        assert_eq!(listeners.asked(), [free]);
        drop(other);
        assert!(listeners.change(&[taken]).refused.is_empty());
        assert_eq!(listeners.asked(), [taken]);
    }

    #[test]
    fn a_place_that_every_worker_left_is_not_ours() {
        let (mut listeners, first) = Listeners::start(&[ANY], Vec::new(), 1).unwrap();
        let old = first[0][0].place.address;
        let Change { orders, .. } = listeners.change(&[ANY, ANY]);
        listeners.change(&addresses(&orders[0]));
        assert!(listeners.is_ours(old.port()));
        drop(first);
        assert!(!listeners.is_ours(old.port()));
    }
}
