//! What becomes of a request: decided between reading its head and writing a new one.

use super::balance::Pool;
use super::policy::RoutePolicy;
use super::table::{RouteId, Table};
use crate::http::head::Request;

/// The decision on one request.
#[derive(Debug)]
pub struct Decision<'t> {
    /// The route that takes it.
    pub route: RouteId,
    /// What is done with it.
    pub action: Action<'t>,
    /// The limits that its route sets, over those of the server; none: it sets none.
    pub policy: Option<&'t RoutePolicy>,
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
    /// Decides on a request; none: no route takes it.
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
