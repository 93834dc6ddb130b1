//! A backend as the file names it. A backend named by an address has one endpoint; one named by a host name
//! has an endpoint for each address that the name resolves to.
//!
//! Owns the set of its endpoints and the choice of one of them. Never resolves a name and never connects: it
//! is given the results.

use super::balance::draw;
use super::endpoint::{Chosen, Endpoint, EndpointId, EndpointIds, Try};
use super::health::{Admission, Standing};
use super::spec::{BackendAddress, Balancing};
use crate::base::{Address, Tick};
use arc_swap::ArcSwap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One backend, shared by the tables that name it and by the workers. A reload keeps it unless its address
/// changes.
#[derive(Debug)]
pub struct Backend {
    endpoints: Endpoints,
    /// `host:port` as text, an IPv6 address in brackets; or `unix:/path`.
    pub authority: String,
    /// Its address in the file.
    pub address: BackendAddress,
}

#[derive(Debug)]
enum Endpoints {
    /// The endpoint of a backend named by an address, stored inline, so that a request follows no further
    /// pointer.
    Own(Endpoint),
    /// The endpoints of a backend named by a host name, one for each current address; none: the name does not
    /// resolve.
    Listed { list: ArcSwap<Vec<Arc<Endpoint>>>, ids: Arc<EndpointIds> },
}

/// The endpoints among which a choice is made. Those that the same exchange has tried are always excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// Those that are up.
    Up,
    /// Those that are up, and those that are out and due for a trial.
    UpOrDue,
    /// All.
    All,
}

impl Among {
    fn has(self, endpoint: &Endpoint, tried: &[Try], now: Tick) -> bool {
        let is_open = endpoint.health.is_clean()
            || match self {
                Self::All => true,
                Self::Up => endpoint.health.standing(now) == Standing::Up,
                Self::UpOrDue => endpoint.health.standing(now) != Standing::Out,
            };
        // A linear search: few exchanges have a failed try, and very few have many.
        is_open && !tried.iter().any(|one| one.endpoint == endpoint.id)
    }
}

impl Backend {
    /// A backend that was never tried. An address is its endpoint at once; a name has none before
    /// [`Backend::resolved`].
    pub fn new(address: BackendAddress, ids: &Arc<EndpointIds>) -> Self {
        let own = match &address {
            BackendAddress::Tcp { host, port } => {
                host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, *port).into())
            }
            BackendAddress::Unix(path) => Some(Address::Unix(Arc::clone(path))),
        };
        let endpoints = match own {
            Some(own) => Endpoints::Own(Endpoint::new(own, ids)),
            None => Endpoints::Listed { list: ArcSwap::default(), ids: Arc::clone(ids) },
        };
        Self { authority: address.authority(), address, endpoints }
    }

    /// The Host field of a request that has none. A Unix socket has no name; as nginx: `localhost`.
    pub fn host_field(&self) -> &str {
        match self.address {
            BackendAddress::Tcp { .. } => &self.authority,
            BackendAddress::Unix(_) => "localhost",
        }
    }

    /// Whether it has an endpoint, reachable or not.
    pub fn is_resolved(&self) -> bool {
        match &self.endpoints {
            Endpoints::Own(_) => true,
            Endpoints::Listed { list, .. } => !list.load().is_empty(),
        }
    }

    /// The name to resolve, and the port of its addresses; `None` if the backend is named by an address.
    pub fn name(&self) -> Option<(&str, u16)> {
        match &self.address {
            BackendAddress::Tcp { host, port } if self.needs_resolving() => Some((host, *port)),
            BackendAddress::Tcp { .. } | BackendAddress::Unix(_) => None,
        }
    }

    /// Whether it is named by a host name, which a resolver keeps up to date.
    pub fn needs_resolving(&self) -> bool {
        matches!(self.endpoints, Endpoints::Listed { .. })
    }

    /// The addresses of its endpoints.
    pub fn addresses(&self) -> Vec<Address> {
        let mut addresses = Vec::new();
        self.each(|endpoint| addresses.push(endpoint.address.clone()));
        addresses
    }

    /// Sets the addresses that its name resolves to. Empty: the name does not resolve, and the backend is not
    /// used until it does.
    ///
    /// Endpoints whose address remains are kept, with health, connections and load. An endpoint whose address
    /// is gone gets no new request; exchanges under way on it continue to their end. No effect on a backend
    /// named by an address.
    pub fn resolved(&self, addresses: &[Address]) {
        let Endpoints::Listed { list, ids } = &self.endpoints else { return };
        let before = list.rcu(|before| {
            let mut after: Vec<Arc<Endpoint>> = Vec::with_capacity(addresses.len());
            for address in addresses {
                if after.iter().any(|one| one.address == *address) {
                    continue;
                }
                let kept = before.iter().find(|one| one.address == *address).cloned();
                after.push(kept.unwrap_or_else(|| Arc::new(Endpoint::new(address.clone(), ids))));
            }
            after
        });
        for endpoint in before.iter().filter(|one| !addresses.contains(&one.address)) {
            endpoint.retire();
        }
    }

    /// The table in force no longer names it.
    pub(super) fn retire(&self) {
        self.each(Endpoint::retire);
    }

    /// Exchanges under way on all of its endpoints. Only `least_connections` needs it.
    pub fn load(&self) -> u64 {
        let mut load = 0;
        self.each(|endpoint| load += u64::from(endpoint.load()));
        load
    }

    /// The address of the endpoint with that id.
    pub fn address_of(&self, id: EndpointId) -> Option<Address> {
        let mut found = None;
        self.each(|endpoint| {
            if endpoint.id == id {
                found = Some(endpoint.address.clone());
            }
        });
        found
    }

    /// The endpoint of a backend named by an address.
    pub(super) fn own(&self) -> Option<&Endpoint> {
        match &self.endpoints {
            Endpoints::Own(endpoint) => Some(endpoint),
            Endpoints::Listed { .. } => None,
        }
    }

    fn each(&self, mut look: impl FnMut(&Endpoint)) {
        match &self.endpoints {
            Endpoints::Own(endpoint) => look(endpoint),
            Endpoints::Listed { list, .. } => list.load().iter().for_each(|endpoint| look(endpoint)),
        }
    }

    /// Whether an endpoint is in that set.
    #[inline]
    pub(super) fn has(&self, among: Among, tried: &[Try], now: Tick) -> bool {
        match &self.endpoints {
            Endpoints::Own(endpoint) => among.has(endpoint, tried, now),
            Endpoints::Listed { list, .. } => list.load().iter().any(|one| among.has(one, tried, now)),
        }
    }

    /// Chooses an endpoint of that set: at random, because the addresses of a name are different machines;
    /// with `least_connections` one with the lowest load. `None` if the set is empty, which may have changed
    /// since [`Backend::has`].
    pub(super) fn pick<'a>(
        self: &'a Arc<Self>,
        among: Among,
        tried: &[Try],
        now: Tick,
        balancing: Balancing,
        random: u64,
    ) -> Option<(Chosen<'a>, Admission)> {
        let chosen = match &self.endpoints {
            Endpoints::Own(endpoint) => {
                if !among.has(endpoint, tried, now) {
                    return None;
                }
                Chosen::Own(self, endpoint)
            }
            Endpoints::Listed { list, .. } => {
                let endpoints = list.load();
                let open = || endpoints.iter().enumerate().filter(|(_, one)| among.has(one, tried, now));
                let load_max = match balancing {
                    Balancing::LeastConnections => open().map(|(_, one)| one.load()).min()?,
                    _ => u32::MAX,
                };
                // Other workers change the loads meanwhile: if all have risen above the minimum, any endpoint
                // will do.
                let least = || open().filter(|(_, one)| one.load() <= load_max);
                let nth = draw(random, least().count() as u64).0;
                let at = least().nth(usize::try_from(nth).ok()?).or_else(|| open().next())?.0;
                Chosen::Listed(endpoints, at)
            }
        };
        let admission = admit(&chosen, among, now)?;
        Some((chosen, admission))
    }
}

/// How an exchange is admitted to an endpoint. `None`: another exchange has just begun the trial that was
/// due.
fn admit(endpoint: &Endpoint, among: Among, now: Tick) -> Option<Admission> {
    if endpoint.health.is_clean() || endpoint.health.standing(now) == Standing::Up {
        Some(Admission::Regular)
    } else if endpoint.health.claim(now) {
        Some(Admission::Trial)
    } else {
        (among == Among::All).then_some(Admission::Forced)
    }
}

#[cfg(test)]
mod tests {
    use super::super::health::Failure;
    use super::*;

    fn backend(url: &str) -> Arc<Backend> {
        Arc::new(Backend::new(BackendAddress::parse_url(url).unwrap(), &Arc::default()))
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| address(text)).collect()
    }

    /// The endpoints that choices by `random` select.
    fn picked(backend: &Arc<Backend>, balancing: Balancing, now: u64) -> Vec<(Address, Admission)> {
        let draws = (0..8).map(|draw: u64| draw << 61);
        let pick = |random| backend.pick(Among::UpOrDue, &[], Tick(now), balancing, random);
        draws.filter_map(pick).map(|(chosen, admission)| (chosen.address.clone(), admission)).collect()
    }

    #[test]
    fn literals_are_there_at_once() {
        for (url, authority, address) in [
            ("http://127.0.0.1", "127.0.0.1:80", "127.0.0.1:80"),
            ("http://[::1]:9001", "[::1]:9001", "[::1]:9001"),
            ("unix:/run/app.sock", "unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            let backend = backend(url);
            assert!(backend.is_resolved() && !backend.needs_resolving());
            assert_eq!(backend.authority, authority);
            assert_eq!(backend.addresses(), addresses(&[address]));
            backend.resolved(&[]);
            assert!(backend.is_resolved(), "an address is not resolved");
        }
    }

    #[test]
    fn names_wait_for_their_addresses() {
        let backend = backend("http://origin:9001");
        assert!(backend.needs_resolving() && !backend.is_resolved());
        assert!(!backend.has(Among::All, &[], Tick(0)));
        backend.resolved(&addresses(&["10.0.0.1:9001", "10.0.0.2:9001", "10.0.0.1:9001"]));
        assert_eq!(backend.addresses(), addresses(&["10.0.0.1:9001", "10.0.0.2:9001"]), "each once");
        assert!(backend.is_resolved() && backend.has(Among::Up, &[], Tick(0)));
        backend.resolved(&[]);
        assert!(!backend.is_resolved() && !backend.has(Among::All, &[], Tick(0)));
    }

    #[test]
    fn an_address_that_stays_keeps_its_endpoint() {
        let backend = backend("http://origin:9001");
        backend.resolved(&addresses(&["10.0.0.1:9001", "10.0.0.2:9001"]));
        let pick = |random| backend.pick(Among::All, &[], Tick(0), Balancing::Random, random).unwrap().0;
        let (stays, goes) = (pick(u64::MAX).hold(), pick(0).hold());
        stays.begin();
        stays.health.failed(Failure::Refused, Admission::Regular, Tick(0));
        backend.resolved(&addresses(&["10.0.0.3:9001", "10.0.0.2:9001"]));
        assert_eq!((stays.is_retired(), goes.is_retired()), (false, true));
        let (new, kept) = (pick(0), pick(u64::MAX));
        assert_eq!((kept.id, kept.load()), (stays.id, 1), "its number and its load");
        assert!(!kept.health.is_clean(), "and its health");
        assert!(new.health.is_clean() && new.id != goes.id && new.id != kept.id);
        assert_eq!(backend.address_of(stays.id), Some(stays.address.clone()));
        assert_eq!(backend.address_of(goes.id), None);
    }

    #[test]
    fn all_addresses_of_a_name_are_used() {
        let backend = backend("http://origin:9001");
        let [one, two] = ["10.0.0.1:9001", "[fd00::2]:9001"].map(address);
        backend.resolved(&[one.clone(), two.clone()]);
        let regular = |address: &Address| vec![(address.clone(), Admission::Regular); 4];
        let both = [regular(&one), regular(&two)].concat();
        assert_eq!(picked(&backend, Balancing::RoundRobin, 0), both);
        assert_eq!(picked(&backend, Balancing::LeastConnections, 0), both);
        let endpoint = backend.pick(Among::All, &[], Tick(0), Balancing::Random, 0).unwrap().0.hold();
        endpoint.begin();
        assert_eq!(picked(&backend, Balancing::RoundRobin, 0), both);
        let less_busy = [regular(&two), regular(&two)].concat();
        assert_eq!(picked(&backend, Balancing::LeastConnections, 0), less_busy);
        endpoint.health.failed(Failure::ConnectTimeout, Admission::Regular, Tick(0));
        assert_eq!(picked(&backend, Balancing::Random, 0), less_busy, "a dead one is passed over");
        let trial = picked(&backend, Balancing::RoundRobin, 1_000_000);
        assert_eq!(trial[0], (one, Admission::Trial), "until one may try it again");
        assert_eq!(trial[1..], less_busy[1..], "and only one");
    }
}
