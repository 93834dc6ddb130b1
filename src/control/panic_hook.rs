//! What a panic, which is a bug, tells the operator, and what it ends: a worker closes the connection that it served and goes on (see
//! `worker::panic`); a reload is refused; in any other thread it ends the process, since nothing else would do its work.

use super::background::RELOAD;
use super::report::{self, info};
use crate::net::process::monotonic_us;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Microseconds between two panics of workers that are told: what brings one about may come often.
const PAUSE_US: u64 = 1_000_000;

/// When the last one was told.
static TOLD_US: AtomicU64 = AtomicU64::new(0);

/// Has panics of this process told and handled so, from now on.
pub(super) fn set() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("a thread");
        if name.starts_with("worker-") {
            let (now, last) = (monotonic_us(), TOLD_US.load(Ordering::Relaxed));
            if last == 0 || now.saturating_sub(last) >= PAUSE_US {
                TOLD_US.store(now, Ordering::Relaxed);
                info(format_args!(
                    "bug: {name} panicked {}: the connection that it served is closed",
                    told(panic)
                ));
            }
        } else if name == RELOAD {
            // The thread's end is told to the control thread, which refuses the reload.
            info(format_args!("bug: {name} panicked {}", told(panic)));
        } else {
            info(format_args!("bug: {name} panicked {}", told(panic)));
            report::finish();
            std::process::abort();
        }
    }));
}

/// Where, and what was said.
fn told(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let words = payload.downcast_ref::<&str>().copied();
    let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("");
    panic.location().map_or_else(|| words.to_owned(), |place| format!("at {place}: {words}"))
}
