//! Every named maximum of the wire, with its reason. Settings that a user can change have their default here.

/// Field lines that fit the slots on the stack, the ceiling of the setting `fields_max`. 512 slots are 16 KiB of stack
/// that is never written unless a head has that many fields.
pub const FIELDS_CEILING: usize = 512;

/// Empty lines skipped before a request line (RFC 9112 section 2.2 asks for at least one; a few old clients send more).
pub const EMPTY_LINES_MAX: usize = 4;

/// Octets of a method: the longest registered one (`UPDATEREDIRECTREF`) has 17.
pub const METHOD_BYTES_MAX: usize = 32;

/// Octets of one chunk's size line without its CRLF, extensions included (RFC 9112 section 7.1.1 asks for a limit).
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// Octets of size lines with extensions that one chunked body may hold beyond twice its content: many small chunks with
/// long extensions are work for nothing (RFC 9112 section 7.1.1 asks for a limit in total).
pub const CHUNK_EXCESS_BYTES_MAX: u32 = 16 * 1024;

/// Options that the Connection fields of one head may name; a real peer names one to three. The bound keeps the look-up of
/// every field against them short; a head that names more is refused, for its hop-by-hop fields could not all be told.
pub const CONNECTION_NAMES_MAX: usize = 32;

/// Octets of content that a client must send in each `timeout_secs` while everybody waits for it: a floor on its pace, so that
/// an octet now and then does not hold a backend for hours. It is 137 octets a second by default, below any link in use.
pub const CONTENT_PACE_BYTES_MIN: u64 = 4 * 1024;

/// Octets that a peer must acknowledge in each `timeout_secs` while more wait for it. Much fewer are no pace of a link, but a way to
/// hold memory, descriptors and a backend at no cost: the same floor as for what a client sends.
pub const ACKNOWLEDGED_BYTES_MIN: u64 = 4 * 1024;

/// How often within a timeout it is looked at what a peer has acknowledged: one that stops is cut between one timeout after its
/// last octets and a quarter more.
pub const LOOKS: u32 = 4;

/// Interim responses (1xx) passed on for one request; a backend that sends more is broken.
pub const INTERIM_RESPONSES_MAX: u8 = 16;

/// Limits of one message head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Octets of the whole head, from the start line to the empty line that ends it.
    pub head_bytes_max: usize,
    /// Field lines; never above [`FIELDS_CEILING`].
    pub fields_max: usize,
    /// Octets of a request-target.
    pub target_bytes_max: usize,
}

impl HeadLimits {
    /// What a file that names none of them gets.
    pub const DEFAULT: Self =
        Self { head_bytes_max: 32 * 1024, fields_max: 128, target_bytes_max: 16 * 1024 };
}
