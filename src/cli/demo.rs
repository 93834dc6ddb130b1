//! `apex --demo`: the shipped file with its two backends inside the same process. It is for a try on one machine: it listens on the
//! loopback alone, and takes the next free port where one is in use.

use crate::base::Address;
use crate::config::{self, Config};
use crate::echo;
use crate::net::listener;
use crate::route::spec::BackendAddress;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

/// The shipped file.
const FILE: &str = include_str!("../../apex.toml");

/// Ports that are tried, from the one that the file names.
const PORTS_MAX: u16 = 100;

/// The shipped configuration and its backends, running.
pub(super) struct Demo {
    pub(super) config: Config,
    /// They end with the process.
    backends: Vec<echo::Server>,
    /// Ports that were in use, each with the one in its place.
    moved: Vec<(u16, u16)>,
}

impl Demo {
    /// Starts the backends that the shipped file names.
    ///
    /// # Errors
    /// In words for the user.
    pub(super) fn start() -> Result<Self, String> {
        let config = config::parse(FILE, "apex.toml").map_err(|problems| problems.to_string())?;
        let mut demo = Self { config, backends: Vec::new(), moved: Vec::new() };
        for index in 0..demo.config.server.listen.len() {
            let asked = demo.config.server.listen[index].ip().map_or(0, |address| address.port());
            let port = demo.first_free(asked, |address| listener::is_free(&address.into()))?.1;
            demo.config.server.listen[index] = Address::Ip((Ipv4Addr::LOCALHOST, port).into());
        }
        for route in 0..demo.config.routes.len() {
            for index in 0..demo.config.routes[route].backends.len() {
                let BackendAddress::Tcp { port: asked, .. } =
                    demo.config.routes[route].backends[index].address
                else {
                    continue;
                };
                let (server, port) = demo.first_free(asked, |address| {
                    listener::is_free(&address.into()).and_then(|()| echo::Server::start(address, 1))
                })?;
                demo.backends.push(server);
                let address = BackendAddress::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port };
                demo.config.routes[route].backends[index].address = address;
            }
        }
        Ok(demo)
    }

    /// What `open` makes of the first port, from the one that was asked for, which is not in use and not taken by the demo itself.
    fn first_free<T>(
        &mut self,
        asked: u16,
        mut open: impl FnMut(SocketAddr) -> io::Result<T>,
    ) -> Result<(T, u16), String> {
        for port in asked..=asked.saturating_add(PORTS_MAX) {
            let is_ours =
                self.config.server.listen.iter().any(|one| {
                    one.ip().is_some_and(|one| one.ip() == Ipv4Addr::LOCALHOST && one.port() == port)
                });
            if is_ours {
                continue;
            }
            match open((Ipv4Addr::LOCALHOST, port).into()) {
                Ok(opened) => {
                    if port != asked {
                        self.moved.push((asked, port));
                    }
                    return Ok((opened, port));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(format!("cannot listen on 127.0.0.1:{port}: {error}")),
            }
        }
        Err(format!("none of the ports from {asked} to {} is free", asked.saturating_add(PORTS_MAX)))
    }

    /// What runs, what to try, how to end it; and which ports were in use.
    pub(super) fn words(&self) -> String {
        let port =
            self.config.server.listen.first().and_then(Address::ip).map_or(8080, |address| address.port());
        let backends: Vec<String> = self.backends.iter().map(|one| one.local_addr().to_string()).collect();
        let moved = self.moved.iter();
        let moved: Vec<String> = moved
            .map(|(asked, port)| format!("apex: port {asked} is in use: the demo takes {port}\n"))
            .collect();
        format!(
            "{}apex: demo: http://localhost:{port}/ is proxied in turns to two backends in this process, {}\n\
             apex: try: curl -i http://localhost:{port}/hello   (again and again: the backends take turns)\n\
             apex: below is the access log; Ctrl-C ends it\n",
            moved.concat(),
            backends.join(" and ")
        )
    }
}
