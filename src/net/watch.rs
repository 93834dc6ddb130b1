//! A folder that is watched for changes (inotify(7)). It says that something changed, not what.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::Duration;

/// A watched folder.
#[derive(Debug)]
pub struct Watch {
    queue: OwnedFd,
}

impl Watch {
    /// Watches a folder for files that are written, renamed, made or removed in it. A folder and not a file: editors write a new
    /// file and rename it over the old one, and mounted configurations swap a link.
    ///
    /// # Errors
    /// The folder cannot be read, or the user has too many watches.
    pub fn folder(path: &Path) -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB;
        inotify::add_watch(&queue, path, what)?;
        Ok(Self { queue })
    }

    /// Waits until something changes, for ever without a `patience`; false where nothing did within it.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn changed(&self, patience: Option<Duration>) -> io::Result<bool> {
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut wanted = [PollFd::new(&self.queue, PollFlags::IN)];
        if rustix::io::retry_on_intr(|| rustix::event::poll(&mut wanted, timeout.as_ref()))? == 0 {
            return Ok(false);
        }
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.queue, &mut room);
        // All that has come counts once.
        while reader.next().is_ok() {}
        Ok(true)
    }
}
