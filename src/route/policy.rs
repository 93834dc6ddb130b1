//! The policy of a request: the limits and timeouts that its route sets, over those of the server.
//!
//! A route without settings has no policy: its requests use the server's, at no cost.

use std::time::Duration;

/// `retries_max` of a route that does not set it.
pub const RETRIES_MAX: u32 = 3;

/// Limits and timeouts of one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The longest wait for the next octets of a peer, once a request is under way.
    pub timeout: Duration,
    /// The time to connect to a backend.
    pub connect_timeout: Duration,
    /// The longest time without octets in a tunnel.
    pub tunnel_timeout: Duration,
    /// The longest request content, in octets; [`u64::MAX`]: no limit.
    pub body_bytes_max: u64,
    /// Further tries of a request whose backend failed.
    pub retries_max: u32,
}

/// The settings of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RoutePolicy {
    /// `timeout_secs`.
    pub timeout: Option<Duration>,
    /// `connect_timeout_secs`.
    pub connect_timeout: Option<Duration>,
    /// `tunnel_timeout_secs`.
    pub tunnel_timeout: Option<Duration>,
    /// `body_bytes_max`.
    pub body_bytes_max: Option<u64>,
    /// `retries_max`.
    pub retries_max: Option<u32>,
}

impl Default for Policy {
    /// The defaults of a file that sets none of them.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(3),
            tunnel_timeout: Duration::from_secs(3600),
            body_bytes_max: u64::MAX,
            retries_max: RETRIES_MAX,
        }
    }
}

impl RoutePolicy {
    /// The policy of a request on the route: the route's settings, else the server's.
    #[must_use]
    pub fn over(&self, server: &Policy) -> Policy {
        let timeout = self.timeout.unwrap_or(server.timeout);
        // As in `[server]`: by default, connecting has no longer timeout than the answer.
        let connect_default =
            if self.timeout.is_some() { server.connect_timeout.min(timeout) } else { server.connect_timeout };
        Policy {
            timeout,
            connect_timeout: self.connect_timeout.unwrap_or(connect_default),
            tunnel_timeout: self.tunnel_timeout.unwrap_or(server.tunnel_timeout),
            body_bytes_max: self.body_bytes_max.unwrap_or(server.body_bytes_max),
            retries_max: self.retries_max.unwrap_or(server.retries_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_route_leaves_open_is_the_servers() {
        let server = Policy::default();
        assert_eq!(RoutePolicy::default().over(&server), server);
        let all = Policy {
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(2),
            tunnel_timeout: Duration::from_secs(4),
            body_bytes_max: 5,
            retries_max: 0,
        };
        let own = RoutePolicy {
            timeout: Some(all.timeout),
            connect_timeout: Some(all.connect_timeout),
            tunnel_timeout: Some(all.tunnel_timeout),
            body_bytes_max: Some(all.body_bytes_max),
            retries_max: Some(all.retries_max),
        };
        assert_eq!(own.over(&server), all);
    }

    #[test]
    fn connecting_takes_no_longer_than_the_routes_timeout() {
        let timeouts = |seconds| {
            let own = RoutePolicy { timeout: Some(Duration::from_secs(seconds)), ..RoutePolicy::default() };
            let policy = own.over(&Policy::default());
            (policy.timeout.as_secs(), policy.connect_timeout.as_secs())
        };
        assert_eq!([timeouts(1), timeouts(60)], [(1, 1), (60, 3)]);
    }
}
