//! What truly happened to each request, noted by whoever did it: against this the others are held.

use super::script::Plan;

#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The client has sent all of it.
    pub(crate) sent_whole: bool,
    /// Heads of it that backends have read.
    pub(crate) tries: usize,
    /// For each try: the backend has sent the whole answer.
    pub(crate) answered: Vec<bool>,
    /// For each try: interim responses that the backend has sent.
    pub(crate) interims: Vec<usize>,
    /// Its client has failed on purpose.
    pub(crate) aborted: bool,
    /// A backend has failed it.
    pub(crate) failed: bool,
    /// Members of the pool that could not be reached.
    pub(crate) unreachable: usize,
    /// It was sent on a connection that its backend had closed.
    pub(crate) stale: bool,
    /// Octets of content that a backend has received, at most.
    pub(crate) received: usize,
    /// A backend has received all of it.
    pub(crate) received_whole: bool,
    /// The backend has closed its end of the tunnel without waiting for the other's.
    pub(crate) tunnel_closed: bool,
    /// The client has had the whole answer of a backend.
    pub(crate) served: bool,
    /// Octets of the backend's content that the client has had.
    pub(crate) given: usize,
}

/// All requests of a world, by id.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) plans: Vec<Plan>,
    pub(crate) records: Vec<Record>,
    /// Backends of the pool.
    pub(crate) members: usize,
    /// The process has begun to leave.
    pub(crate) leaving: bool,
}

impl Book {
    /// Apex may have answered that request by itself because a backend failed.
    pub(crate) fn excuses_refusal(&self, id: usize) -> bool {
        let (plan, record) = (&self.plans[id], &self.records[id]);
        record.failed
            || record.unreachable >= self.members
            // Sent on a connection that was closed just then, and not to be sent again.
            || (record.stale && (!plan.is_idempotent() || plan.len > 0))
    }
}
