//! One request and its response as a pure state machine. It says the next step and is told the outcome; it knows no socket, no
//! clock and no thread.
//!
//! ```text
//!            head complete, routed        connection found             both delivered
//!   Head ───────────────────────▶ Dial ───────────────────▶ Relay ──────────────────────▶ Over
//!    │                             ▲  connection failed,      │  ╲ 101                     ▲
//!    │ refused                     └── may be sent again ─────┤   ╲──▶ Tunnel ─────────────┤
//!    │                                                        │                            │
//!    └───────────▶ Relay (answer of Apex's own) ──────────────┴──▶ Discard, Linger ────────┘
//! ```
//!
//! The two directions are two values of one pump: a body that knows its framing, bytes in memory, bytes in a kernel pipe.

mod account;
mod apply;
mod buffer;
mod ending;
mod next;
mod pump;
mod request;
mod response;
mod rules;
mod state;
mod step;

pub use account::{Account, Cause};
pub use buffer::{BUFFER_BYTES, Buffers, LARGE_BYTES};
pub use pump::ANY_BYTES;
pub use rules::{Given, Notes, RequestIds, Rules, Serving};
pub use state::Exchange;
pub use step::{Fate, Outcome, Readiness, Side, Step};
