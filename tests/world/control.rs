//! What the control thread does to a worker while it runs: new versions of the table, listeners that come and go, addresses of
//! names, leaving.

use super::choices::Choices;
use super::listener::Listener;
use super::script::{Mood, SMALL_BYTES_MAX, Scene};
use super::sim::{Endpoint, Reach, Sim};
use super::system::Handle;
use super::trace::Entry;
use apex::base::Address;
use apex::exchange::{AccessLog, RequestIds, Settings};
use apex::http::limits::HeadLimits;
use apex::route::pattern::{HostPattern, PathPrefix};
use apex::route::policy::{Policy, RoutePolicy};
use apex::route::spec::{BackendAddress, BackendSpec, Balancing, RouteSpec};
use apex::route::table::Table;
use apex::worker::{Bound, ListenChange, ListenGroup, Mailbox, Ownership, Phase, Shared, Snapshot};
use rustix::io::Errno;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Clients that a version allows where it means no limit.
const CONNECTIONS_MANY: u32 = 1_000;

/// What happens to a worker from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Another version.
    Reload,
    /// A name has other addresses.
    Resolve,
    /// The process leaves.
    Leave,
    /// It ends at once.
    End,
}

/// A backend as a file names it: an address, or a name with the addresses that it has now.
#[derive(Debug, Clone)]
struct Named {
    host: String,
    endpoints: Vec<usize>,
}

/// The control thread's side.
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: Mailbox<Handle>,
    backends: Vec<Named>,
    /// Backends of the version in force.
    in_force: Vec<usize>,
    balancing: Balancing,
    /// Clients that the version before and the one in force allow.
    connections_max: [u32; 2],
    /// What is to happen, and after how many looks; the next one last.
    plan: Vec<(usize, Action)>,
    looks: usize,
    /// Numbers of the groups that listen.
    groups: Vec<u32>,
    /// The poll is to come back.
    pub(crate) wakes: bool,
}

/// Endpoints of a world, how each can be reached, and the backends that a file makes of them.
fn draw_backends(scene: &Scene, choices: &mut Choices) -> (Vec<Endpoint>, Vec<Named>) {
    let count = choices.within(1, 5);
    let dead = [
        Reach::Unreachable(Errno::ADDRNOTAVAIL.raw_os_error()),
        Reach::Refuses,
        Reach::Lost,
        Reach::Unreachable(Errno::NETUNREACH.raw_os_error()),
    ];
    let mut endpoints = Vec::new();
    let mut backends: Vec<Named> = Vec::new();
    // So many from the first on are addresses of one name.
    let named = choices.below(count + 1);
    for number in 0..count {
        let is_six = number % 2 == 1;
        let text = if is_six { format!("[2001:db8::{number}]:80") } else { format!("10.0.0.{number}:80") };
        let address: SocketAddr = text.parse().expect("an address");
        let reach = match scene.mood {
            Mood::Faulty => Reach::Mixed,
            Mood::Partial if number + 1 < count && number < 2 => choices.pick(&dead),
            _ => Reach::Up,
        };
        endpoints.push(Endpoint { address, reach });
        match backends.first_mut() {
            Some(origin) if number < named => origin.endpoints.push(number),
            _ => {
                let host = if number < named { "origin".to_owned() } else { address.ip().to_string() };
                backends.push(Named { host, endpoints: vec![number] });
            }
        }
    }
    (endpoints, backends)
}

fn draw_plan(scene: &Scene, choices: &mut Choices) -> Vec<(usize, Action)> {
    let mut plan = Vec::new();
    for _ in 0..choices.pick(&[0, 0, 1, 3]) {
        let action = choices.pick(&[Action::Reload, Action::Reload, Action::Resolve]);
        plan.push((choices.below(600), action));
    }
    if choices.percent(15) {
        plan.push((choices.below(900), Action::Leave));
    } else if scene.mood == Mood::Faulty && choices.percent(3) {
        plan.push((choices.below(900), Action::End));
    }
    plan.sort_by_key(|&(at, _)| std::cmp::Reverse(at));
    plan
}

impl Control {
    /// Endpoints, and who publishes them.
    pub(crate) fn draw(scene: &Scene, choices: &mut Choices) -> (Self, Vec<Endpoint>) {
        let (endpoints, backends) = draw_backends(scene, choices);
        let connections_max = draw_connections_max(choices);
        let in_force: Vec<usize> = (0..backends.len()).collect();
        let balancing =
            choices.pick(&[Balancing::RoundRobin, Balancing::LeastConnections, Balancing::Random]);
        let specs = routes(&backends, &in_force, balancing);
        let first = version(scene, Table::compile(&specs, None), connections_max);
        resolve(&first.table, &backends, &endpoints);
        let control = Self {
            shared: Arc::new(Shared::new(first)),
            mailbox: Mailbox::default(),
            backends,
            in_force,
            balancing,
            connections_max: [connections_max; 2],
            plan: draw_plan(scene, choices),
            looks: 0,
            groups: Vec::new(),
            wakes: false,
        };
        control.shared.set_phase(Phase::Serving);
        (control, endpoints)
    }

    /// The least and the greatest number of clients that a version allows which may be in force.
    pub(crate) fn connections_max(&self) -> [usize; 2] {
        let [before, now] = self.connections_max.map(|max| max as usize);
        [before.min(now), before.max(now)]
    }
}

fn draw_connections_max(choices: &mut Choices) -> u32 {
    if choices.percent(15) { choices.pick(&[1, 2, 3]) } else { CONNECTIONS_MANY }
}

fn routes(backends: &[Named], in_force: &[usize], balancing: Balancing) -> [RouteSpec; 2] {
    let backends: Vec<BackendSpec> = in_force
        .iter()
        .map(|&one| BackendSpec {
            address: BackendAddress::Tcp { host: backends[one].host.clone(), port: 80 },
            weight: 1,
        })
        .collect();
    let route = |prefix: &str, policy| RouteSpec {
        name: prefix.into(),
        host: HostPattern::parse("*").expect("a pattern"),
        path_prefix: PathPrefix::parse(prefix).expect("a prefix"),
        strip_prefix: false,
        balancing,
        policy,
        backends: backends.clone(),
    };
    let small = RoutePolicy { body_bytes_max: u64::try_from(SMALL_BYTES_MAX).ok(), ..RoutePolicy::default() };
    [route("/i", None), route("/s", Some(Arc::new(small)))]
}

fn version(scene: &Scene, table: Table, connections_max: u32) -> Snapshot {
    let wait = Duration::from_micros(scene.wait);
    let idle = Duration::from_micros(scene.idle());
    Snapshot {
        table,
        settings: Settings {
            head: HeadLimits::DEFAULT,
            header_timeout: wait,
            policy: Policy {
                timeout: wait,
                connect_timeout: wait / 3,
                tunnel_timeout: wait * 40,
                ..Policy::default()
            },
            via: None,
            request_ids: RequestIds::Passed,
            access_log: AccessLog::On,
        },
        idle_timeout: idle,
        backend_idle_timeout: idle,
        trusted: Vec::new(),
        connections_max,
    }
}

/// Gives names their addresses.
fn resolve(table: &Table, backends: &[Named], endpoints: &[Endpoint]) {
    for backend in table.backends().filter(|backend| backend.needs_resolving()) {
        if let Some(named) = backends.iter().find(|named| backend.authority == format!("{}:80", named.host)) {
            let addresses: Vec<_> =
                named.endpoints.iter().map(|&one| Address::Ip(endpoints[one].address)).collect();
            backend.resolved(&addresses);
        }
    }
}

impl Sim {
    /// A listener that is bound and not registered yet.
    pub(crate) fn bind(&mut self, owner: Ownership) -> Bound<Handle> {
        let id = self.listeners.len();
        let number = u16::try_from(id).expect("a small number");
        self.listeners.push(Listener::new(owner != Ownership::Exclusive));
        self.control.groups.push(number.into());
        let address = SocketAddr::from(([192, 0, 2, 80], 8_000 + number));
        Bound {
            socket: Handle::new(id, &self.listeners_dropped),
            group: Arc::new(ListenGroup::new(number.into(), address.into(), owner)),
        }
    }

    /// Does what is due. False where nothing is.
    pub(crate) fn control_acts(&mut self) -> bool {
        self.control.looks += 1;
        let Some(&(at, action)) = self.control.plan.last() else { return false };
        let nobody_acts = self.next_act() == u64::MAX;
        if at > self.control.looks && !nobody_acts {
            return false;
        }
        self.control.plan.pop();
        match action {
            // Who leaves reads no file any more.
            Action::Reload if self.book.leaving => {}
            Action::Reload => self.reload(),
            Action::Resolve => self.turn_addresses(),
            Action::Leave => self.leave(),
            Action::End => {
                self.trace.note(Entry::Control("the process is to end at once"));
                self.book.ending = true;
                self.control.shared.set_phase(Phase::Ending);
                self.control.wakes = true;
            }
        }
        true
    }

    pub(crate) fn leave(&mut self) {
        self.trace.note(Entry::Control("the process begins to leave"));
        self.book.leaving = true;
        self.book.left_at = self.now;
        self.control.shared.set_phase(Phase::Leaving);
        self.control.wakes = true;
    }

    fn reload(&mut self) {
        self.trace.note(Entry::Control("another version is published"));
        let last = self.control.backends.len() - 1;
        // The last one can be reached, and stays.
        let mut in_force: Vec<usize> = Vec::new();
        for backend in 0..last {
            if self.choices.percent(60) {
                in_force.push(backend);
            }
        }
        in_force.push(last);
        if self.choices.percent(30) {
            in_force.reverse();
        }
        let connections_max = draw_connections_max(&mut self.choices);
        self.control.connections_max = [self.control.connections_max[1], connections_max];
        self.control.in_force = in_force;
        self.mark_gone();
        self.change_listeners();
        let control = &mut self.control;
        let previous = control.shared.snapshot.load_full();
        let specs = routes(&control.backends, &control.in_force, control.balancing);
        let next = version(&self.scene, Table::compile(&specs, Some(&previous.table)), connections_max);
        resolve(&next.table, &control.backends, &self.endpoints);
        let next = Arc::new(next);
        control.shared.snapshot.store(Arc::clone(&next));
        next.table.retire_others(&previous.table);
        control.wakes = true;
    }

    fn change_listeners(&mut self) {
        let mut change = ListenChange::default();
        if self.choices.percent(50) {
            change.listen.push(self.bind(Ownership::Exclusive));
            if self.choices.percent(50) {
                let count = self.control.groups.len() - 1;
                change.close.push(self.control.groups[self.choices.below(count)]);
            }
        }
        if self.control.mailbox.put(change).is_err() {
            self.fail("there is no room for a change of listeners");
        }
    }

    /// A name has other addresses.
    fn turn_addresses(&mut self) {
        let Some(named) = self.control.backends.iter_mut().find(|named| named.endpoints.len() > 1) else {
            return;
        };
        self.trace.note(Entry::Control("a name has other addresses"));
        let gone = self.choices.below(named.endpoints.len());
        // One that can be reached stays.
        if self.endpoints[named.endpoints[gone]].reach == Reach::Up && self.scene.mood == Mood::Partial {
            return;
        }
        named.endpoints.remove(gone);
        self.mark_gone();
        let snapshot = self.control.shared.snapshot.load_full();
        resolve(&snapshot.table, &self.control.backends, &self.endpoints);
    }

    /// Endpoints that nothing names any more get no new request.
    fn mark_gone(&mut self) {
        let Self { control, book, .. } = self;
        for (endpoint, gone) in book.gone.iter_mut().enumerate() {
            let mut named = control.in_force.iter().map(|&one| &control.backends[one]);
            let is_named = named.any(|named| named.endpoints.contains(&endpoint));
            *gone = if is_named { None } else { Some(gone.unwrap_or(book.turns)) };
        }
    }
}
