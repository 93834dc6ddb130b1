//! The control side: everything around the workers while the process runs. Its start, the event loop that reacts to signals,
//! reloads and upgrades, the listeners, the names of backends, the service manager. It publishes what workers go by, and touches
//! nothing of theirs.

mod background;
mod event;
mod event_loop;
mod listeners;
mod panic_hook;
mod pid_file;
mod publish;
mod report;
mod resolve;
mod service_manager;
mod start;
mod upgrade;
mod watch;

pub use start::{Failure, Source, serve};
pub use upgrade::inherit::Inherited;
