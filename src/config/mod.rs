//! The file: read, checked, and turned into a [`Config`]; every error with its place and a hint. It opens no socket and
//! resolves no name, so that `--check` says the same on every machine.

mod check;
pub mod error;
mod file;
pub mod nearest;
mod routes;
mod source;

pub use crate::net::network::Network;
pub use check::Server;
pub use error::{Place, Problem, Problems};
pub use routes::balancing_name;
pub use source::FILE_BYTES_MAX;

use crate::route::spec::RouteSpec;
use std::path::Path;

/// A file that was checked. Whatever is in it can be run.
///
/// The keys of a route are documented at [`RouteSpec`]; its `body_bytes_max` is the route's own, else the server's.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[[routes]]` in the order of the file; one or more. Names are unique, and so is each pair of host and prefix.
    pub routes: Vec<RouteSpec>,
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// A file that cannot be read (missing, a directory, over [`FILE_BYTES_MAX`] octets, not UTF-8), or everything that is wrong
/// with what it says.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let file = path.display().to_string();
    match source::read(path) {
        Ok(text) => parse(&text, &file),
        Err(problem) => Err(Problems { file, told: vec![problem], untold: 0 }),
    }
}

/// Checks a text; `file` is what messages call it.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn parse(text: &str, file: &str) -> Result<Config, Problems> {
    let source = source::Source::new(text);
    let (mut walk, mut root) = file::Walk::begin(&source);
    let server = check::server(&mut walk, root.take("server"));
    let routes = routes::routes(&mut walk, root.take("routes"), server.body_bytes_max);
    walk.close(root);
    match walk.end(file) {
        None => Ok(Config { server, routes }),
        Some(problems) => Err(problems),
    }
}
