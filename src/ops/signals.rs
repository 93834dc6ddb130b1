//! Signals, and everything else that wakes the control thread.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::mpsc::Sender;

/// What the control thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// SIGHUP: read the file again.
    Reload,
    /// The watched file changed.
    FileChanged,
    /// SIGTERM, SIGINT or SIGQUIT: leave.
    Leave,
    /// A worker has left.
    WorkerLeft,
}

/// Takes over the signals and passes them on from a thread of its own. From here on no signal is lost, so it runs before a port
/// is open.
///
/// # Errors
/// No descriptor or thread is left.
pub(super) fn listen(news: Sender<News>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT, SIGQUIT])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let told = if signal == SIGHUP { News::Reload } else { News::Leave };
            if news.send(told).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
