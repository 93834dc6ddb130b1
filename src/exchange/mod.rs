//! One request and its response as a pure state machine. It says the next step and is told the outcome; it knows no socket, no
//! clock and no thread.
//!
//! Where an exchange stands, and how it comes there, is one page: `transitions`. The order of steps is `next`, what their outcomes change
//! `apply`; what octets mean is decided in `request` and `response`, how it ends other than well in `ending` and `progress`.
//!
//! The two directions are two values of one pump: a body that knows its framing, bytes in memory, bytes in a kernel pipe.

mod apply;
mod body;
mod buffer;
mod ending;
mod flow;
mod next;
mod progress;
mod record;
mod request;
mod response;
mod settings;
mod state;
mod step;
mod transitions;
mod tries;

pub use buffer::{BUFFER_BYTES, Buffers, LARGE_BYTES};
pub use flow::ANY_BYTES;
pub use record::{Cause, Record};
pub use settings::{AccessLog, Env, RequestIds, Serving, Settings};
pub use state::Exchange;
pub use step::{Asked, Outcome, Readiness, Release, Side, Step};
pub use tries::TRIES_MAX;
