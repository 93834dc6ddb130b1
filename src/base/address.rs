//! Where a socket listens or is connected to: an IP address with a port, or the path of a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// Octets of the path of a Unix socket: 108 with the NUL at its end (unix(7)).
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// What stands before the path of a Unix socket.
pub const UNIX_PREFIX: &str = "unix:";

/// An address of a stream socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// TCP.
    Ip(SocketAddr),
    /// A Unix socket (unix(7)), by its path.
    Unix(Arc<Path>),
}

/// Why a text is not the path of a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnixPathError {
    /// It does not begin with a `/`.
    Relative,
    /// It begins with `@`: a socket without a file.
    Abstract,
    /// It has more than [`UNIX_PATH_BYTES_MAX`] octets; how many.
    TooLong(usize),
    /// It ends with a `/`, or has a NUL octet in it.
    NoFile,
}

impl Address {
    /// The address with that path, which is absolute; several slashes at its front count as one.
    ///
    /// # Errors
    /// It is not the path of a socket.
    pub fn unix(path: &str) -> Result<Self, UnixPathError> {
        if path.starts_with('@') {
            return Err(UnixPathError::Abstract);
        }
        let inner = path.trim_start_matches('/');
        if inner.len() == path.len() {
            return Err(UnixPathError::Relative);
        }
        if inner.is_empty() || inner.ends_with('/') || inner.contains('\0') {
            return Err(UnixPathError::NoFile);
        }
        let path = &path[path.len() - inner.len() - 1..];
        if path.len() > UNIX_PATH_BYTES_MAX {
            return Err(UnixPathError::TooLong(path.len()));
        }
        Ok(Self::Unix(Path::new(path).into()))
    }

    /// The IP address and port, of a TCP address.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// A text is neither an IP address with a port nor `unix:` with the path of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        match text.strip_prefix(UNIX_PREFIX) {
            Some(path) => Self::unix(path).map_err(|_| NoAddress),
            None => text.parse().map(Self::Ip).map_err(|_| NoAddress),
        }
    }
}

/// As the configuration has it: `192.0.2.1:80`, `[2001:db8::1]:80`, `unix:/run/app.sock`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

impl fmt::Display for UnixPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative => write!(f, "the path of a Unix socket begins with `/`"),
            Self::Abstract => write!(f, "a Unix socket is named by a path, not by an abstract name"),
            Self::TooLong(bytes) => {
                write!(
                    f,
                    "the path of a Unix socket has at most {UNIX_PATH_BYTES_MAX} octets, this one {bytes}"
                )
            }
            Self::NoFile => write!(f, "this is not the path of a file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["192.0.2.1:80", "[2001:db8::1]:80", "unix:/run/app.sock", "unix:/run/with a space"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("unix:///run/app.sock".parse::<Address>(), "unix:/run/app.sock".parse());
        for text in ["", "192.0.2.1", "localhost:80", "unix:", "/run/app.sock", "unix:run/app.sock"] {
            assert_eq!(text.parse::<Address>(), Err(NoAddress), "{text}");
        }
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused() {
        let longest = format!("/{}", "a".repeat(UNIX_PATH_BYTES_MAX - 1));
        assert!(Address::unix(&longest).is_ok());
        let too_long = format!("{longest}a");
        for (path, error) in [
            ("", UnixPathError::Relative),
            ("app.sock", UnixPathError::Relative),
            ("@app", UnixPathError::Abstract),
            ("/", UnixPathError::NoFile),
            ("/run/", UnixPathError::NoFile),
            ("/run/\0", UnixPathError::NoFile),
            (&too_long, UnixPathError::TooLong(108)),
        ] {
            assert_eq!(Address::unix(path), Err(error), "{path}");
        }
    }
}
