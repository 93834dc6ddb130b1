//! The file: read, checked, and turned into a [`Config`]; every error with its place and a hint. It opens no socket and
//! resolves no name, so that `--check` says the same on every machine.

mod check;
pub mod diff;
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
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// A file that was checked. Whatever is in it can be run.
///
/// The keys of a route are documented at [`RouteSpec`].
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[[routes]]` in the order of the file; one or more. Names are unique, and so is each pair of host and prefix.
    pub routes: Vec<RouteSpec>,
}

/// Every key that a file may hold, by the TOML path of its table (empty for the top of the file): what documents are
/// compared with.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    file::SHAPES.iter().map(|shape| (shape.path, shape.keys))
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// A file that cannot be read (missing, a directory, over [`FILE_BYTES_MAX`] octets, not UTF-8), or everything that is wrong
/// with what it says.
pub fn load(path: &Path) -> Result<Config, Problems> {
    Text::read(path, Accept::Any).parse()
}

/// Which kinds of file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// All but directories: `--check` may be given a pipe.
    Any,
    /// Regular files alone: a running process waits for no FIFO.
    Regular,
}

/// What was read of a file, to be parsed.
#[derive(Debug)]
pub struct Text {
    path: PathBuf,
    bytes: io::Result<Vec<u8>>,
}

impl Text {
    /// Reads the file at `path`. What is wrong with it is told when it is parsed.
    pub fn read(path: &Path, accept: Accept) -> Self {
        Self { path: path.to_path_buf(), bytes: source::read(path, accept) }
    }

    /// The mark of what was read; none where it could not be read.
    pub fn mark(&self) -> Option<Mark> {
        self.bytes.as_deref().ok().map(Mark::of)
    }

    /// Checks it.
    ///
    /// # Errors
    /// As [`load`].
    pub fn parse(&self) -> Result<Config, Problems> {
        let file = self.path.display().to_string();
        match source::text(&self.path, self.bytes.as_deref()) {
            Ok(text) => parse(text, &file),
            Err(problem) => Err(Problems { file, told: vec![problem], untold: 0 }),
        }
    }
}

/// Tells what a file reads from what it read before, without keeping either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

impl Mark {
    fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self(hasher.finish())
    }

    /// Of the regular file as it is now; none where it cannot be read.
    pub fn read(path: &Path) -> Option<Self> {
        Text::read(path, Accept::Regular).mark()
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
    let routes = routes::routes(&mut walk, root.take("routes"));
    walk.close(root);
    match walk.end(file) {
        None => Ok(Config { server, routes }),
        Some(problems) => Err(problems),
    }
}
