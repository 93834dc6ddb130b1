//! The file of a Unix listener (unix(7)): checks whether an existing file can be replaced, and removes the
//! file at the end. Never removes a file of another process.

use rustix::fs::{FileType, Mode, Stat, chmod, lstat, unlink};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Every user may connect, as to a port. The permissions of the folder can restrict that (as in nginx).
const MODE: Mode = Mode::from_raw_mode(0o666);

/// The file of a listener, shared by all clones of the listener in this process.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: Arc<Path>,
    /// Device and inode: another file at the same path differs.
    id: Option<(u64, u64)>,
    /// This process removes the file.
    is_ours: AtomicBool,
}

impl SocketFile {
    /// The file of a listener that was just bound, removed by this process. From now on every user can
    /// connect.
    pub(super) fn bound(path: &Arc<Path>) -> io::Result<Self> {
        let file = Self::found(path);
        file.is_ours.store(true, Ordering::Release);
        chmod(&**path, MODE)?;
        Ok(file)
    }

    /// The file of another process's listener.
    pub(super) fn found(path: &Arc<Path>) -> Self {
        let id = lstat(&**path).ok().as_ref().map(id_of);
        Self { path: Arc::clone(path), id, is_ours: AtomicBool::new(false) }
    }

    /// Sets whether this process removes the file.
    pub(super) fn set_ours(&self, is_ours: bool) {
        self.is_ours.store(is_ours, Ordering::Release);
    }

    /// Removes the file, once, if this process is to remove it. Then no client can connect to the listener.
    pub(super) fn remove(&self) {
        let is_same = || lstat(&*self.path).is_ok_and(|stat| Some(id_of(&stat)) == self.id);
        if self.is_ours.swap(false, Ordering::AcqRel) && is_same() {
            // If it cannot be removed, the next start finds it stale.
            let _ = unlink(&*self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn id_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Makes room for a listener: removes a stale socket file.
///
/// # Errors
/// Another process listens there, or the file is not a socket.
pub(super) fn make_room(path: &Path) -> io::Result<()> {
    match state_of(path)? {
        State::Free => Ok(()),
        State::Stale => Ok(unlink(path)?),
    }
}

/// Checks that a listener can be bound at `path`.
///
/// # Errors
/// Another process listens there, or the file is not a socket.
pub(super) fn is_free(path: &Path) -> io::Result<()> {
    state_of(path).map(drop)
}

/// A path where a listener can be bound.
enum State {
    /// No file.
    Free,
    /// A socket without a listener: its process ended without removing it.
    Stale,
}

fn state_of(path: &Path) -> io::Result<State> {
    let stat = match lstat(path) {
        Err(Errno::NOENT) => return Ok(State::Free),
        stat => stat?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => Ok(State::Stale),
        // The file was removed meanwhile.
        Err(Errno::NOENT) => Ok(State::Free),
        // In use: connected, or the queue is full, or the socket is of another type.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"))
        }
        Err(errno) => Err(errno.into()),
    }
}
