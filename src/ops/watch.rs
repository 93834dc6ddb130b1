//! The thread that watches the configuration file.

use super::operator::tell;
use super::signals::News;
use crate::net::watch::Watch;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// A change is read when nothing more has happened for so long: an editor writes, renames and touches in a row.
const SETTLE: Duration = Duration::from_millis(200);

/// Watches the folder of the file, and tells when the file reads otherwise than before. A removed file is no news: it is about
/// to be written anew.
///
/// # Errors
/// The folder cannot be watched, or no thread is left.
pub(super) fn start(file: &Path, news: Sender<News>) -> io::Result<()> {
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let watch = Watch::folder(&folder)?;
    let file = file.to_path_buf();
    let mut known = std::fs::read(&file).ok();
    std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
        loop {
            match settle(&watch) {
                Ok(()) => {}
                Err(error) => return tell(format_args!("{} is watched no more: {error}", file.display())),
            }
            let found = std::fs::read(&file).ok();
            if found.is_some() && found != known {
                known = found;
                if news.send(News::FileChanged).is_err() {
                    return;
                }
            }
        }
    })?;
    Ok(())
}

/// Waits for a change, and until there are no more.
fn settle(watch: &Watch) -> io::Result<()> {
    watch.changed(None)?;
    while watch.changed(Some(SETTLE))? {}
    Ok(())
}
