//! Signals, and everything else that wakes the control thread.

use super::upgrade::escort::Progress;
use super::upgrade::protocol::Then;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::mpsc::Sender;

/// What the control thread is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// SIGHUP: read the file again.
    Reload,
    /// The watched file changed.
    FileChanged,
    /// SIGTERM, SIGINT or SIGQUIT: leave.
    Leave,
    /// SIGUSR2: start the binary again, and leave to it.
    Upgrade,
    /// So far is the process that was started for it.
    Successor(Progress),
    /// The process whose place this one takes lets it accept, or it is not to be, in words.
    Go(Result<Then, String>),
    /// No other process serves here, or not any more, and the service manager knows this one.
    Alone,
    /// A worker has left.
    WorkerLeft,
}

/// Takes over the signals and passes them on from a thread of its own. From here on no signal is lost, so it runs before a port
/// is open.
///
/// # Errors
/// No descriptor or thread is left.
pub(super) fn listen_for_signals(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR2])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let told = match signal {
                SIGHUP => Event::Reload,
                SIGUSR2 => Event::Upgrade,
                _ => Event::Leave,
            };
            if events.send(told).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
