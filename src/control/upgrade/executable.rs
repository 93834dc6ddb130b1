//! The file that this process runs, to be started again at an upgrade, when another one may have its name.

use super::protocol::{SPEAKS, VARIABLE, speaks};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Variables of socket activation: they speak of descriptors of one process.
const ACTIVATION: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_FDS_FIRST_FD"];

/// What the kernel appends to the name of a running file that was removed.
const REMOVED: &[u8] = b" (deleted)";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) struct Executable {
    path: PathBuf,
}

impl Executable {
    /// The file that this process was started from, by the name that it was called by: that may be a link, which points elsewhere
    /// at an upgrade. `None`: it cannot be told.
    ///
    /// It is looked for at the start, when it can be seen whether that name is the right one.
    pub(in crate::control) fn of_this_process() -> Option<Self> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let called = std::env::args_os().next().and_then(|name| find(&name, &folders));
        Self::choose(called, std::env::current_exe().ok())
    }

    /// The name that it was called by, if that is the running file, or where nobody can tell, as without a `/proc`; else the
    /// running file's own.
    fn choose(called: Option<PathBuf>, running: Option<PathBuf>) -> Option<Self> {
        let path = match (called, running) {
            (Some(called), None) => called,
            (Some(called), Some(running)) if is_same(&called, &running) => called,
            (_, running) => unmarked(running?),
        };
        Some(Self { path: std::path::absolute(path).ok()? })
    }

    pub(in crate::control) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it as this process was started, with one end of a channel as its standard input. Of other descriptors it inherits
    /// the standard output and error alone: all others are closed where another program begins.
    ///
    /// # Errors
    /// It is not there, or cannot be run.
    pub(in crate::control) fn start(&self, channel: OwnedFd) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command.args(std::env::args_os().skip(1)).stdin(Stdio::from(channel));
        for name in ACTIVATION {
            command.env_remove(name);
        }
        let number = std::process::id();
        command.env(VARIABLE, number.to_string()).env(SPEAKS, speaks(number)).spawn()
    }
}

/// The file of a name, as a shell finds it: a path, or in one of the folders of `PATH`.
fn find(name: &OsStr, folders: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    std::env::split_paths(folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let number = |path: &Path| path.metadata().map(|file| (file.dev(), file.ino()));
    matches!((number(one), number(other)), (Ok(one), Ok(other)) if one == other)
}

fn unmarked(path: PathBuf) -> PathBuf {
    let octets = path.into_os_string().into_vec();
    let end = octets.strip_suffix(REMOVED).map_or(octets.len(), <[u8]>::len);
    PathBuf::from(OsString::from_vec(octets[..end].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_are_found_as_a_shell_does() {
        let found = |name: &str| find(OsStr::new(name), OsStr::new("/no/such/folder:/bin:/usr/bin"));
        assert_eq!(found("./apex"), Some(PathBuf::from("./apex")));
        assert!(found("sh").is_some_and(|path| path.ends_with("sh") && path.is_file()));
        assert_eq!(found("no-such-program"), None);
    }

    #[test]
    fn a_link_is_kept_and_a_wrong_name_is_not() {
        let folder = std::env::temp_dir().join(format!("apex-program-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [file, link, other] = ["file", "link", "other"].map(|name| folder.join(name));
        fs::write(&file, "").unwrap();
        fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let choose = |called: Option<&PathBuf>, running: Option<&PathBuf>| {
            Executable::choose(called.cloned(), running.cloned()).map(|program| program.path)
        };
        assert_eq!(choose(Some(&link), Some(&file)).as_ref(), Some(&link));
        assert_eq!(choose(Some(&other), Some(&file)).as_ref(), Some(&file));
        assert_eq!(choose(Some(&link), None).as_ref(), Some(&link));
        assert_eq!(choose(None, None), None);
        // The file was replaced before anybody looked.
        let mut removed = file.clone().into_os_string();
        removed.push(" (deleted)");
        assert_eq!(choose(Some(&file), Some(&PathBuf::from(removed))).as_ref(), Some(&file));
        fs::remove_dir_all(folder).unwrap();
    }
}
