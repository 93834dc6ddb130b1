//! One request and its response as a pure state machine. It names the next step and is given the outcome. It
//! knows no socket, no clock and no thread.
//!
//! `transitions` has every stage and every change of stage. `next` has the order of steps, `apply` the
//! effects of their outcomes. `request` and `response` decide what the octets mean; `ending` and `progress`
//! handle failures, deadlines and slow peers.
//!
//! The two directions are two values of one type, `Flow`: a body with its framing, octets in memory, octets
//! in a kernel pipe.

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
