//! The file of a Unix listener (unix(7)): whether one that is there can be replaced, and its removal at the end. A file that somebody
//! else put there is never removed.

use rustix::fs::{FileType, Mode, Stat, chmod, lstat, unlink};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Everybody may connect, as to a port; the folder can say otherwise (nginx does the same).
const MODE: Mode = Mode::from_raw_mode(0o666);

/// The file of a listener, shared by all who have the listener in this process.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: Arc<Path>,
    /// Device and number: another file of that path is not this one.
    id: Option<(u64, u64)>,
    /// This process is to remove it.
    is_ours: AtomicBool,
}

impl SocketFile {
    /// The file of a listener that was bound there just now, and is this process's to remove. It can be connected to by
    /// everybody from now on.
    pub(super) fn bound(path: &Arc<Path>) -> io::Result<Self> {
        let file = Self::found(path);
        file.is_ours.store(true, Ordering::Release);
        chmod(&**path, MODE)?;
        Ok(file)
    }

    /// The file of a listener that another process made.
    pub(super) fn found(path: &Arc<Path>) -> Self {
        let id = lstat(&**path).ok().as_ref().map(id_of);
        Self { path: Arc::clone(path), id, is_ours: AtomicBool::new(false) }
    }

    /// Says whether it is this process that removes it.
    pub(super) fn set_ours(&self, is_ours: bool) {
        self.is_ours.store(is_ours, Ordering::Release);
    }

    /// Removes it, where that is this process's to do and was not done: nobody finds the listener any more.
    pub(super) fn remove(&self) {
        let is_same = || lstat(&*self.path).is_ok_and(|stat| Some(id_of(&stat)) == self.id);
        if self.is_ours.swap(false, Ordering::AcqRel) && is_same() {
            // One that cannot be removed is found dead by the next start.
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

/// Makes room for a listener: a socket that nobody listens on any more is removed.
///
/// # Errors
/// Somebody listens there, or what is there is no socket.
pub(super) fn make_room(path: &Path) -> io::Result<()> {
    match state_of(path)? {
        State::Free => Ok(()),
        State::Stale => Ok(unlink(path)?),
    }
}

/// Can a listener be had at `path`?
///
/// # Errors
/// Somebody listens there, or what is there is no socket.
pub(super) fn is_free(path: &Path) -> io::Result<()> {
    state_of(path).map(drop)
}

/// A path that can be had.
enum State {
    /// Nothing is there.
    Free,
    /// A socket without a listener: who made it ended without removing it.
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
        // It went meanwhile.
        Err(Errno::NOENT) => Ok(State::Free),
        // Connected, or its queue is full, or it is of another type: it is in use.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"))
        }
        Err(errno) => Err(errno.into()),
    }
}
