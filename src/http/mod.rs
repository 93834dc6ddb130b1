//! Bytes only: how a message of HTTP/1.1 is read, judged and written anew (RFC 9110, RFC 9112).
//!
//! Nothing here knows a socket, a clock or a thread. What can be read in two ways is refused; what is accepted is
//! written again in one way.

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
