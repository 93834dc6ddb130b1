//! The access log: workers write lines into batches of their own, a bounded queue carries them, and one
//! thread writes them out. A full queue drops lines and counts them; it never delays an exchange.

pub mod line;
pub mod queue;
pub mod writer;

/// The facts of one finished exchange for its line. Text is raw: the line escapes it where necessary.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The client's address.
    pub client: &'a [u8],
    /// The wall clock at the end of the exchange, in the combined format: `22/Nov/2026:19:51:00 +0000`.
    pub date: &'a str,
    /// The request line as received, possibly incomplete.
    pub request_line: &'a [u8],
    /// The status sent; 499 if the client closed the connection before there was one.
    pub status: u16,
    /// Octets of content sent to the client.
    pub content_bytes: u64,
    /// `Referer`; empty if there is none.
    pub referer: &'a [u8],
    /// `User-Agent`; empty if there is none.
    pub user_agent: &'a [u8],
    /// The route's name; empty if no route matched.
    pub route: &'a str,
    /// The backend's `host:port`; empty if no backend was asked.
    pub backend: &'a str,
    /// From the first octet of the request's head to its last, microseconds.
    pub head_us: u64,
    /// From there until a backend connection was writable, microseconds; `None`: never.
    pub connect_us: Option<u64>,
    /// From there until the head of the response was read, microseconds; `None`: never.
    pub response_us: Option<u64>,
    /// The whole exchange, microseconds.
    pub total_us: u64,
    /// Backend connections tried after the first.
    pub retries: u32,
    /// The endpoints that failed, and why; empty if none did.
    pub tried: &'a str,
    /// Why the exchange ended: `-` for a complete response of the backend, else the origin of the status or
    /// of the cut.
    pub cause: &'a str,
    /// `X-Request-Id` as sent to the backend; empty if there is none.
    pub request_id: &'a [u8],
}
