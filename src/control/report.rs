//! What Apex tells its operator: lines on the standard error, written by a thread of their own. The caller never
//! waits for the reader, and a closed or stuck standard error ends nothing.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

/// Lines that wait at most. More are dropped: a reader that is this far behind is stuck.
const WAITING_MAX: usize = 1024;

/// How long the end of the process waits for the last lines to be written.
const LAST_WAIT: Duration = Duration::from_secs(1);

enum Order {
    Write(String),
    /// Everything before this was written.
    Reached(Sender<()>),
}

static ORDERS: OnceLock<SyncSender<Order>> = OnceLock::new();

/// Tells a line, `apex: ` in front of it.
pub(super) fn info(words: Arguments<'_>) {
    let _ = orders().try_send(Order::Write(format!("apex: {words}\n")));
}

/// Tells a line about something that is not as it should be.
pub(super) fn warn(words: Arguments<'_>) {
    let _ = orders().try_send(Order::Write(format!("apex: warning: {words}\n")));
}

/// Tells a text of several lines as it is.
pub(super) fn info_text(text: String) {
    let _ = orders().try_send(Order::Write(text));
}

/// Waits until what was told is written, within bounds.
pub(super) fn finish() {
    let (reached, written) = channel();
    if orders().try_send(Order::Reached(reached)).is_ok() {
        let _ = written.recv_timeout(LAST_WAIT);
    }
}

fn orders() -> &'static SyncSender<Order> {
    ORDERS.get_or_init(|| {
        let (orders, waiting) = sync_channel(WAITING_MAX);
        // Without a thread nothing can be told: the receiver is dropped, and every order is refused.
        let _ = std::thread::Builder::new().name("operator".to_owned()).spawn(move || write_all(&waiting));
        orders
    })
}

fn write_all(waiting: &Receiver<Order>) {
    for order in waiting {
        match order {
            Order::Write(text) => {
                let _ = io::stderr().lock().write_all(text.as_bytes());
            }
            Order::Reached(reached) => drop(reached),
        }
    }
}
