//! The thread that watches the configuration file.

use super::event::Event;
use super::report::warn;
use crate::config::Mark;
use crate::net::watch::Watch;
use crate::worker::Epoch;
use std::io;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// A change is reported when the file was left alone for this time: an editor writes, renames and touches it in a row.
const SETTLE: Duration = Duration::from_millis(200);

/// How often the file is looked at where its path leads nowhere, and nobody could tell when it does again.
const LOOK: Duration = Duration::from_secs(1);

/// Watches the file in a thread of its own, and tells what it reads like when that may be otherwise than before. The first time is
/// soon: it may have changed since it was read, and before it was watched.
///
/// # Errors
/// No thread is left.
pub(super) fn start(file: &Path, events: Sender<Event>) -> io::Result<()> {
    let file = file.to_path_buf();
    std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
        let path = file.display();
        match Watch::file(&file) {
            Ok(watch) => {
                if let Err(error) = tell_changes(&file, watch, &events) {
                    warn(format_args!("{path} is watched no more: {error}; SIGHUP still reloads it"));
                }
            }
            Err(error) => warn(format_args!("{path} cannot be watched: {error}; SIGHUP still reloads it")),
        }
    })?;
    Ok(())
}

/// Goes on until nobody wants to know.
fn tell_changes(file: &Path, mut watch: Watch, events: &Sender<Event>) -> io::Result<()> {
    loop {
        settle(&watch)?;
        // The path may lead elsewhere now. It is watched there before it is read, so that nothing falls between.
        let patience = match Watch::file(file) {
            Ok(next) => {
                watch = next;
                None
            }
            Err(_) => Some(LOOK),
        };
        // A removed file is no news: it is about to be written anew.
        if let Some(mark) = Mark::read(file)
            && events.send(Event::FileChanged(mark)).is_err()
        {
            return Ok(());
        }
        while !watch.changed(patience)? && patience.is_none() {}
    }
}

/// Waits until nothing has changed for a while.
fn settle(watch: &Watch) -> io::Result<()> {
    let epoch = Epoch::start();
    let mut last = epoch.now();
    loop {
        let quiet = Duration::from_micros(epoch.now().since_us(last));
        if quiet >= SETTLE {
            return Ok(());
        }
        if watch.changed(Some(SETTLE.saturating_sub(quiet)))? {
            last = epoch.now();
        }
    }
}
