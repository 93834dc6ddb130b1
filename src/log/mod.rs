//! The access log: lines made by workers into batches of their own, carried by a bounded queue, written by one thread.
//! A full queue drops lines and counts them; it never delays an exchange.

pub mod line;
pub mod queue;
pub mod writer;

/// One finished exchange, as its line tells it. Text is raw: what needs escaping is escaped in the line.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The client's address.
    pub client: &'a [u8],
    /// The wall clock at the end of the exchange, as the combined format writes it: `22/Nov/2026:19:51:00 +0000`.
    pub date: &'a str,
    /// The request line as it came, or what there was of it.
    pub request_line: &'a [u8],
    /// The status sent; 499 where the client was gone before there was one.
    pub status: u16,
    /// Octets of content sent to the client.
    pub content_bytes: u64,
    /// `Referer`, empty: none.
    pub referer: &'a [u8],
    /// `User-Agent`, empty: none.
    pub user_agent: &'a [u8],
    /// The route's name, empty: none was found.
    pub route: &'a str,
    /// The backend's `host:port`, empty: none was asked.
    pub backend: &'a str,
    /// From the first byte of the request's head to its last, microseconds.
    pub head_us: u64,
    /// From then until a backend connection was ready to be written to, microseconds; `None`: never.
    pub connect_us: Option<u64>,
    /// From then until the head of the response was read, microseconds; `None`: never.
    pub response_us: Option<u64>,
    /// The whole exchange, microseconds.
    pub total_us: u64,
    /// Backend connections that were tried after the first.
    pub retries: u32,
    /// The endpoints that failed, and why; empty: none did.
    pub tried: &'a str,
    /// Who ended it: `-` for a plain end, else a word that says where the status or the cut came from.
    pub cause: &'a str,
    /// `X-Request-Id` as the backend was given it, empty: none.
    pub request_id: &'a [u8],
}
