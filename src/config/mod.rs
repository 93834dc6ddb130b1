//! The file: read, checked, and turned into a [`Config`]; every error with its place and a hint. It opens no socket and
//! resolves no name, so that `--check` says the same on every machine.

mod check;
pub mod diff;
pub mod error;
mod file;
mod foreign;
pub mod nearest;
mod pieces;
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
    if source.text().len() <= pieces::WHOLE_BYTES_MAX {
        parse_whole(&source, file)
    } else {
        parse_in_pieces(&source, file)
    }
}

/// Checks a text as one.
fn parse_whole(source: &source::Source<'_>, file: &str) -> Result<Config, Problems> {
    let mut walk = file::Walk::begin(source);
    let mut root = walk.open(source.text(), vec![(0, 0)]);
    let server = check::server(&mut walk, root.take("server"));
    let mut routes = routes::Routes::default();
    match root.take("routes") {
        Some(value) => routes.judge(&mut walk, value),
        None => routes::absent(&mut walk),
    }
    walk.close(root);
    let config = Config { server, routes: routes.specs };
    walk.end(file).map_or(Ok(config), Err)
}

/// Checks a text route by route: of a large file, the tree of the whole would take many times its memory.
fn parse_in_pieces(source: &source::Source<'_>, file: &str) -> Result<Config, Problems> {
    let pieces = pieces::Pieces::of(source.text());
    let (main, segments) = pieces.main_of(source.text());
    let mut walk = file::Walk::begin(source);
    let mut root = walk.open_bounded(&main, segments);
    let server = check::server(&mut walk, root.take("server"));
    let mut routes = routes::Routes::default();
    match root.take("routes") {
        Some(value) if pieces.routes.is_empty() => routes.judge(&mut walk, value),
        Some(value) => {
            let hint = "write each route under a `[[routes]]` of its own, with its tables right below";
            walk.wrong(value.span(), "`routes` in two forms", hint);
        }
        None if pieces.routes.is_empty() => routes::absent(&mut walk),
        None => {}
    }
    walk.close(root);
    for piece in pieces.routes {
        let mut root = walk.open_bounded(&source.text()[piece.clone()], vec![(0, piece.start)]);
        if let Some(value) = root.take("routes") {
            routes.judge(&mut walk, value);
        }
        walk.close(root);
    }
    let config = Config { server, routes: routes.specs };
    walk.end(file).map_or(Ok(config), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn in_pieces(text: &str) -> Result<Config, Problems> {
        parse_in_pieces(&source::Source::new(text), "a.toml")
    }

    #[test]
    fn a_text_reads_the_same_in_pieces() {
        let route = |name: &str| {
            format!(
                "[[routes]] # a route\nname = \"{name}\"\nhost = \"{name}\"\n[[routes.backends]]\nurl = \"http://a\"\n"
            )
        };
        let good = format!("{}[server]\nvia = \"x\" # [[routes]]\n{}", route("a"), route("b"));
        let cases = [
            good.clone(),
            format!("\u{feff}server.listen = \"0.0.0.0:1\"\n{}", route("a")),
            "routes = [{ name = \"a\", backends = [{ url = \"http://a\" }] }]\n".to_owned(),
            // What is wrong is told in the same words, at the same places.
            good.replace("via", "vai"),
            format!("{good}[server]\n"),
            good.replace("name = \"b\"", "name = \"a\""),
            good.replace("host = \"b\"", "host = \"a\""),
            good.replace("url", "uri"),
            format!("{good}x = 1\n"),
            "[server]\n".to_owned(),
            String::new(),
            format!("[server]\nvia = x\n{}", route("a")),
            good.replace("name = \"b\"", "name = b"),
        ];
        for text in cases {
            assert_eq!(in_pieces(&text), parse_whole(&source::Source::new(&text), "a.toml"), "{text}");
        }
    }

    #[test]
    fn an_error_in_one_piece_hides_nothing_in_the_next() {
        let mut text = String::new();
        for number in 0..3 {
            let _ = writeln!(text, "[[routes]]\nname = \"{number}\"\nbackends = [\n");
        }
        let problems = in_pieces(&text).unwrap_err();
        let lines: Vec<usize> =
            problems.told.iter().filter_map(|one| Some(one.place.as_ref()?.line)).collect();
        assert!(lines.iter().any(|&line| line <= 4) && lines.iter().any(|&line| line > 8), "{problems}");
        let mixed = format!("routes = []\n{text}");
        assert!(in_pieces(&mixed).unwrap_err().to_string().contains("`routes` in two forms"));
    }

    #[test]
    fn a_piece_that_is_too_long_is_told() {
        let long = format!("[server]\n{}", "# x\n".repeat(pieces::PIECE_BYTES_MAX / 4));
        let route = "[[routes]]\nname = \"a\"\nbackends = [{ url = \"http://a\" }]\n";
        let problems = parse(&format!("{long}{route}"), "a.toml").unwrap_err();
        assert!(problems.to_string().contains("more than 512 KiB outside of `[[routes]]`"), "{problems}");
        let problems = parse(&format!("{route}{}", "# x\n".repeat(pieces::PIECE_BYTES_MAX / 4)), "a.toml");
        let problems = problems.unwrap_err().to_string();
        assert!(problems.contains("more than 512 KiB in one route"), "{problems}");
    }
}
