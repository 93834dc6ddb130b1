//! The reasons and statuses of Apex's own answers.

/// A status of Apex's own, with the reason in a few plain words (the body of the answer).
///
/// The words never contain anything from a peer, nor an internal detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalReply {
    /// The status code, 400 to 599.
    pub status: u16,
    /// The reason, in a few words: the body of the answer and a word for the log.
    pub reason: &'static str,
}

impl LocalReply {
    /// 400: a request that Apex cannot or must not understand.
    pub const fn bad_request(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }
    /// 502: a response of the backend that is not HTTP, or whose end cannot be known.
    pub const fn bad_gateway(reason: &'static str) -> Self {
        Self { status: 502, reason }
    }
}
