//! Every named maximum of the wire, with its reason. Settings that a user can change have their default here.

/// Field lines that fit the slots on the stack, the upper bound of the setting `fields_max`. 512 slots are 16
/// KiB of stack, which is never written unless a head has as many fields.
pub const FIELDS_CEILING: usize = 512;

/// Empty lines skipped before a request line (RFC 9112 section 2.2 asks for at least one; a few old clients
/// send more).
pub const EMPTY_LINES_MAX: usize = 4;

/// Octets of a method: the longest registered one (`UPDATEREDIRECTREF`) has 17.
pub const METHOD_BYTES_MAX: usize = 32;

/// Octets of one chunk's size line without its CRLF, extensions included (RFC 9112 section 7.1.1 asks for a
/// limit).
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// Octets of size lines with extensions in one chunked body beyond twice its content: many small chunks with
/// long extensions are wasted work (RFC 9112 section 7.1.1 asks for a limit in total).
pub const CHUNK_EXCESS_BYTES_MAX: u32 = 16 * 1024;

/// Options that the Connection fields of one head may name; a real peer names one to three. The bound keeps
/// the lookup of every field short. A head with more is refused, because its hop-by-hop fields could not all
/// be recognised.
pub const CONNECTION_NAMES_MAX: usize = 32;

/// Octets of content that a client must send in each `timeout_secs` while Apex waits for it: a minimum pace,
/// so that a client that sends single octets does not hold a backend for hours. By default it is 137 octets a
/// second, below any link in use.
pub const CONTENT_PACE_BYTES_MIN: u64 = 4 * 1024;

/// Octets that a peer must acknowledge in each `timeout_secs` while more are queued for it. Less is no pace
/// of a link, but a way to hold memory, descriptors and a backend at no cost. The same minimum as for what a
/// client sends.
pub const ACKNOWLEDGED_BYTES_MIN: u64 = 4 * 1024;

/// Looks within a timeout at what a peer has acknowledged: a peer that stops is cut between one timeout and
/// one and a quarter after its last octets.
pub const LOOKS: u32 = 4;

/// Interim responses (1xx) forwarded for one request; a backend that sends more is broken.
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
    /// The defaults of a file that sets none of them.
    pub const DEFAULT: Self =
        Self { head_bytes_max: 32 * 1024, fields_max: 128, target_bytes_max: 16 * 1024 };
}
