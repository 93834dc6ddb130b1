//! What becomes of a request: decided between reading its head and writing a new one.

use super::balance::Pool;
use super::policy::Policy;
use super::table::{RouteId, Table};
use crate::http::head::Request;

/// The decision on one request.
#[derive(Debug)]
pub struct Decision<'t> {
    /// The route that takes it.
    pub route: RouteId,
    /// What is done with it.
    pub action: Action<'t>,
    /// The limits that hold for it; none: the server's, because the route has no settings of its own.
    pub policy: Option<Policy>,
}

/// What a route does with a request.
#[derive(Debug)]
pub enum Action<'t> {
    /// It is sent to a backend.
    Proxy(Proxy<'t>),
}

/// How a request is sent to a backend.
#[derive(Debug)]
pub struct Proxy<'t> {
    /// Octets taken off the front of the path.
    pub strip_bytes: usize,
    /// The backends to choose from.
    pub pool: &'t Pool,
}

impl Table {
    /// Decides on a request; none: no route takes it. `server`: the limits of the server.
    #[inline]
    pub fn decide(&self, request: &Request<'_, '_>, server: &Policy) -> Option<Decision<'_>> {
        let host = request.authority.map(|authority| authority.host);
        let id = self.find(host, request.target.path())?;
        let route = self.route(id);
        Some(Decision {
            route: id,
            action: Action::Proxy(Proxy { strip_bytes: route.strip_bytes, pool: &route.pool }),
            policy: route.policy.as_ref().map(|own| own.over(server)),
        })
    }
}
