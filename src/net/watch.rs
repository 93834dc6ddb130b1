//! Watches a file for changes (inotify(7)), across all symbolic links of its path. Reports that something
//! changed, not what.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Maximum number of links on a path, as in the kernel (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// A watched file. Covers the links that its path had when the watch was made.
#[derive(Debug)]
pub struct Watch {
    queue: OwnedFd,
    /// Relevant names: a name in the folder watched under that number. Events without a name are always
    /// relevant.
    names: Vec<(i32, OsString)>,
}

impl Watch {
    /// Watches everything that can change the text at the path: each link on the path and the file at its
    /// end, in their folders, because editors rename a new file over the old one, and mounted configurations
    /// replace a link on the path; and the file itself, because it may be written under another name, as with
    /// a bind mount.
    ///
    /// # Errors
    /// The file's folder cannot be read, or the user has too many watches.
    pub fn file(path: &Path) -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let in_folder = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE_SELF
            | WatchFlags::DELETE_SELF;
        let (mut names, places) = (Vec::new(), places(path));
        let last = places.len().saturating_sub(1);
        for (index, (folder, name)) in places.into_iter().enumerate() {
            match inotify::add_watch(&queue, &folder, in_folder) {
                Ok(number) => names.push((number, name)),
                // A folder on the path may be searchable, but not readable.
                Err(_) if index < last => {}
                Err(error) => return Err(error.into()),
            }
        }
        // A missing file is about to be written: the watch of its folder reports that.
        let _ = inotify::add_watch(&queue, path, WatchFlags::CLOSE_WRITE);
        Ok(Self { queue, names })
    }

    /// Waits for a change, at most for `patience`, or without a limit. Returns false on a timeout, and
    /// earlier if only other files changed.
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
        let mut counts = false;
        while let Ok(event) = reader.next() {
            counts |= event.file_name().is_none_or(|name| {
                let is_it = |(number, known): &(i32, OsString)| {
                    *number == event.wd() && known.as_bytes() == name.to_bytes()
                };
                self.names.iter().any(is_it)
            });
        }
        Ok(counts)
    }
}

/// The places of the links on a path and of the file at its end, each as a folder and a name.
fn places(path: &Path) -> Vec<(PathBuf, OsString)> {
    let parts = |path: &Path| -> Vec<OsString> {
        path.components().map(|part: Component<'_>| part.as_os_str().to_owned()).collect()
    };
    let mut left = VecDeque::from(parts(path));
    let (mut folder, mut found, mut links) = (PathBuf::from("."), Vec::new(), 0);
    while let Some(part) = left.pop_front() {
        // An absolute target replaces the folder.
        let next = folder.join(&part);
        match std::fs::read_link(&next) {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                found.push((folder.clone(), part));
                for part in parts(&target).into_iter().rev() {
                    left.push_front(part);
                }
            }
            _ => {
                if left.is_empty() {
                    found.push((folder.clone(), part));
                }
                folder = next;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn follows_links_to_the_file() {
        let home = std::env::temp_dir().join(format!("apex-places-{}", std::process::id()));
        fs::create_dir_all(home.join("maps/..1")).unwrap();
        let home = fs::canonicalize(home).unwrap();
        fs::write(home.join("maps/..1/file"), "").unwrap();
        symlink("..1", home.join("maps/..data")).unwrap();
        symlink("..data/file", home.join("maps/file")).unwrap();
        symlink(home.join("maps/file"), home.join("link")).unwrap();
        symlink("loop", home.join("loop")).unwrap();
        let told = |name: &str| -> Vec<String> {
            let shown = |(folder, name): (PathBuf, OsString)| {
                let whole = folder.join(name);
                let inside = whole.strip_prefix(&home).map(Path::to_path_buf);
                inside.unwrap_or(whole).display().to_string()
            };
            places(&home.join(name)).into_iter().map(shown).collect()
        };
        assert_eq!(told("maps/..1/file"), ["maps/..1/file"]);
        assert_eq!(told("maps/file"), ["maps/file", "maps/..data", "maps/..1/file"]);
        assert_eq!(told("link"), ["link", "maps/file", "maps/..data", "maps/..1/file"]);
        assert_eq!(told("not-there"), ["not-there"]);
        assert_eq!(told("loop").len(), LINKS_MAX + 1);
        assert_eq!(places(Path::new("a.toml")), [(PathBuf::from("."), OsString::from("a.toml"))]);
        fs::remove_dir_all(home).unwrap();
    }
}
