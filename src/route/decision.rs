//! The decision on a request, made between reading its head and writing a new one.

use super::balance::Pool;
use super::policy::RoutePolicy;
use super::table::{RouteId, Table};
use crate::http::head::Request;

/// The decision on one request.
#[derive(Debug)]
pub struct Decision<'t> {
    /// The route that matched.
    pub route: RouteId,
    /// The action of the route.
    pub action: Action<'t>,
    /// The limits that the route sets, over those of the server; `None`: it sets none.
    pub policy: Option<&'t RoutePolicy>,
}

/// The action of a route.
#[derive(Debug)]
pub enum Action<'t> {
    /// Send the request to a backend.
    Proxy(Proxy<'t>),
}

/// The parameters of a request to a backend.
#[derive(Debug)]
pub struct Proxy<'t> {
    /// Octets to remove from the front of the path.
    pub strip_bytes: usize,
    /// The backends to choose from.
    pub pool: &'t Pool,
}

impl Table {
    /// Decides on a request; `None`: no route matches.
    #[inline]
    pub fn decide(&self, request: &Request<'_, '_>) -> Option<Decision<'_>> {
        let host = request.authority.map(|authority| authority.host);
        let id = self.find(host, request.target.path())?;
        let route = self.route(id);
        Some(Decision {
            route: id,
            action: Action::Proxy(Proxy { strip_bytes: route.strip_bytes, pool: &route.pool }),
            policy: route.policy.as_deref(),
        })
    }
}
