//! Opens files without blocking: a FIFO, a device or a terminal in place of a file must not block the caller.

use rustix::fs::{Mode, OFlags, open};
use std::fs::{File, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Opens a regular file for reading. Refuses any other kind, without waiting for a FIFO (open(2),
/// `O_NONBLOCK`). A hanging file system can still block.
///
/// # Errors
/// Not a regular file, or it cannot be opened.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let kind = file.metadata()?.file_type();
    match kind.is_file() {
        true => Ok(file),
        false if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        false => Err(io::Error::other(format!("it is {}, not a regular file", kind_of(kind)))),
    }
}

/// The kind of a file that is not regular, in words.
pub fn kind_of(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Makes a FIFO.
#[cfg(test)]
pub(crate) fn make_fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let folder = std::env::temp_dir().join(format!("apex-file-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, fifo) = (folder.join("file"), folder.join("fifo"));
        fs::write(&file, "text").unwrap();
        make_fifo(&fifo);
        assert_eq!(io::read_to_string(open_regular(&file).unwrap()).unwrap(), "text");
        let error = |path: &Path| open_regular(path).unwrap_err();
        assert_eq!(error(&fifo).to_string(), "it is a FIFO, not a regular file");
        assert_eq!(error(Path::new("/dev/zero")).to_string(), "it is a device, not a regular file");
        assert_eq!(error(&folder).kind(), io::ErrorKind::IsADirectory);
        assert_eq!(error(&folder.join("missing")).kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(folder).unwrap();
    }
}
