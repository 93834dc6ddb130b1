//! The file with the number of the process, for programs that send signals to whoever serves.

use super::report::info;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file, written. It is removed when this value goes, unless another process has put its number there.
#[derive(Debug, Default)]
pub(super) struct PidFile {
    path: Option<PathBuf>,
}

/// The file as it will be, under another name beside it: whether it can be written is known before anybody relies on it.
#[derive(Debug)]
pub(super) struct Staged {
    /// The name to be, and the name until then.
    paths: Option<(PathBuf, PathBuf)>,
}

impl Staged {
    /// Writes the number beside `path`; without a path there is nothing to do.
    ///
    /// # Errors
    /// In words: it cannot be written there.
    pub(super) fn write(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Self { paths: None }) };
        let refused =
            |error: io::Error| format!("the PID file {} cannot be written: {error}", path.display());
        if path.is_dir() {
            return Err(refused(io::ErrorKind::IsADirectory.into()));
        }
        let number = std::process::id();
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let beside = PathBuf::from(name);
        // What a process of the same number left is in the way; a link that somebody put there is never followed.
        let _ = fs::remove_file(&beside);
        let opened = OpenOptions::new().write(true).create_new(true).open(&beside);
        let staged = Self { paths: Some((path.to_path_buf(), beside)) };
        opened.and_then(|mut file| file.write_all(format!("{number}\n").as_bytes())).map_err(refused)?;
        Ok(staged)
    }

    /// Puts it into its place: whoever reads finds the old number or this one, whole.
    pub(super) fn put(mut self) -> PidFile {
        let Some((path, beside)) = self.paths.take() else { return PidFile::default() };
        match fs::rename(&beside, &path) {
            Ok(()) => PidFile { path: Some(path) },
            Err(error) => {
                info(format_args!("the PID file {} cannot be written: {error}", path.display()));
                let _ = fs::remove_file(beside);
                PidFile::default()
            }
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some((_, beside)) = self.paths.take() {
            let _ = fs::remove_file(beside);
        }
    }
}

impl PidFile {
    /// Writes it elsewhere, or nowhere, and removes it from where it was.
    ///
    /// # Errors
    /// In words: it cannot be written there, and stays as it was.
    pub(super) fn follow(&mut self, wanted: Option<&Path>) -> Result<(), String> {
        if self.path.as_deref() != wanted {
            *self = Staged::write(wanted)?.put();
        }
        Ok(())
    }

    /// Where it is.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        let number = std::process::id().to_string();
        if fs::read_to_string(&path).is_ok_and(|text| text.trim() == number) {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for a test.
    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("apex-pid-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_there_when_it_is_put_and_gone_when_it_is_removed() {
        let folder = folder("put");
        let path = folder.join("pid");
        fs::write(&path, "1\n").unwrap();
        drop(Staged::write(Some(&path)).unwrap());
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(&folder).len()), ("1\n", 1));
        let file = Staged::write(Some(&path)).unwrap().put();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(names(&folder).is_empty());
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn it_stays_where_another_process_has_it() {
        let folder = folder("other");
        let path = folder.join("pid");
        let file = Staged::write(Some(&path)).unwrap().put();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(names(&folder), ["pid"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn it_follows_where_it_can() {
        let folder = folder("follow");
        let mut file = PidFile::default();
        file.follow(Some(&folder.join("a"))).unwrap();
        file.follow(Some(&folder.join("b"))).unwrap();
        assert_eq!(names(&folder), ["b"]);
        let refused = [folder.join("missing/pid"), folder.clone()].map(|path| file.follow(Some(&path)));
        assert!(
            refused.iter().all(|one| one.as_ref().is_err_and(|words| words.contains("cannot be written")))
        );
        assert_eq!((names(&folder), file.path()), (vec![String::from("b")], Some(&*folder.join("b"))));
        file.follow(None).unwrap();
        assert!(names(&folder).is_empty());
        fs::remove_dir(folder).unwrap();
    }
}
