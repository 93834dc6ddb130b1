//! Octets only: parsing, judging and rewriting HTTP/1.1 messages (RFC 9110, RFC 9112).
//!
//! Nothing here knows a socket, a clock or a thread. Ambiguous input is refused; accepted input is rewritten
//! in one form.

pub mod authority;
pub mod chunked;
mod connection;
pub mod field;
pub mod forward;
pub mod framing;
pub mod head;
pub mod limits;
mod lines;
pub mod local_reply;
mod octet;
pub mod reply;
pub mod target;
pub mod trailers;
pub mod version;
