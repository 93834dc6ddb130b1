//! `apex --demo`: the shipped file with its two backends inside the same process.

use crate::base::Address;
use crate::config::{self, Config};
use crate::echo;
use crate::net::listener;
use std::net::SocketAddr;

/// The shipped file.
const FILE: &str = include_str!("../../apex.toml");

/// The shipped configuration and its backends, running.
pub(super) struct Demo {
    pub(super) config: Config,
    /// They end with the process.
    backends: Vec<echo::Server>,
}

impl Demo {
    /// Starts the backends that the shipped file names.
    ///
    /// # Errors
    /// In words for the user.
    pub(super) fn start() -> Result<Self, String> {
        let config = config::parse(FILE, "apex.toml").map_err(|problems| problems.to_string())?;
        for address in &config.server.listen {
            listener::is_free(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        }
        let mut backends = Vec::new();
        for spec in config.routes.iter().flat_map(|route| &route.backends) {
            let authority = spec.address.authority();
            let address: SocketAddr = authority.parse().map_err(|_| format!("{authority} is no address"))?;
            let started = listener::is_free(&address.into()).and_then(|()| echo::Server::start(address, 1));
            backends.push(
                started.map_err(|error| format!("the demo's backend cannot listen on {address}: {error}"))?,
            );
        }
        Ok(Self { config, backends })
    }

    /// Three lines: what runs, what to try, how to end it.
    pub(super) fn words(&self) -> String {
        let port =
            self.config.server.listen.first().and_then(Address::ip).map_or(8080, |address| address.port());
        let backends: Vec<String> = self.backends.iter().map(|one| one.local_addr().to_string()).collect();
        format!(
            "apex: demo: http://localhost:{port}/ is proxied in turns to two backends in this process, {}\n\
             apex: try: curl -i http://localhost:{port}/hello   (again and again: the backends take turns)\n\
             apex: below is the access log; Ctrl-C ends it\n",
            backends.join(" and ")
        )
    }
}
