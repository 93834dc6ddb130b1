//! What truly happened to each request, noted by whoever did it: against this the others are held.

use super::choices::Choices;
use super::script::{Mood, Plan};

/// Connection attempts that fail before a budget of retries may be used up: three a second are always allowed.
const FAULTS_SURVIVED: usize = 3;

#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The client has sent all of it.
    pub(crate) sent_whole: bool,
    /// The worker's turn in which its client began to send it.
    pub(crate) begun: Option<usize>,
    /// Heads of it that backends have read.
    pub(crate) tries: usize,
    /// For each try: the backend has sent the whole answer.
    pub(crate) answered: Vec<bool>,
    /// For each try: interim responses that the backend has sent.
    pub(crate) interims: Vec<usize>,
    /// Its connection was reset by Apex, and what the client had not read may be lost.
    pub(crate) reset: bool,
    /// Its client has failed on purpose.
    pub(crate) aborted: bool,
    /// A backend has failed it.
    pub(crate) failed: bool,
    /// It was sent on a connection that its backend had closed.
    pub(crate) stale: bool,
    /// A backend has received all of it.
    pub(crate) received_whole: bool,
    /// The backend has closed its end of the tunnel without waiting for the other's.
    pub(crate) tunnel_closed: bool,
    /// The status of the answer that the client has had whole.
    pub(crate) served: Option<u16>,
    /// Octets of content that the client has had.
    pub(crate) given: usize,
}

/// All requests of a world, by id, and what went on around them.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) mood: Mood,
    pub(crate) plans: Vec<Plan>,
    pub(crate) records: Vec<Record>,
    /// Turns of the worker that have ended.
    pub(crate) turns: usize,
    /// Polls that have told what there was, or were interrupted.
    pub(crate) polls: usize,
    /// The process has begun to leave.
    pub(crate) leaving: bool,
    /// When.
    pub(crate) left_at: u64,
    /// The process has been told to end at once.
    pub(crate) ending: bool,
    /// Times that the process was frozen.
    pub(crate) frozen: usize,
    /// Connections to endpoints that were not made.
    pub(crate) connect_faults: usize,
    /// Times that the system had no descriptor for a backend connection.
    pub(crate) descriptor_faults: usize,
    /// For each endpoint, the turn in which the last version or address that names it went.
    pub(crate) gone: Vec<Option<usize>>,
}

impl Book {
    pub(crate) fn new(mood: Mood, endpoints: usize) -> Self {
        Self {
            mood,
            plans: Vec::new(),
            records: Vec::new(),
            turns: 0,
            polls: 0,
            leaving: false,
            left_at: 0,
            ending: false,
            frozen: 0,
            connect_faults: 0,
            descriptor_faults: 0,
            gone: vec![None; endpoints],
        }
    }

    /// Apex may have answered that request by itself because a backend failed.
    pub(crate) fn excuses_refusal(&self, id: usize) -> bool {
        let (plan, record) = (&self.plans[id], &self.records[id]);
        let faults_survived = if self.mood == Mood::Faulty { 0 } else { FAULTS_SURVIVED };
        record.failed
            || self.connect_faults > faults_survived
            // All tries together are one wait, and the time of a frozen process counts.
            || (self.connect_faults > 0 && self.frozen > 0)
            // Sent on a connection that was closed just then, and not to be sent again.
            || (record.stale && (!plan.is_idempotent() || plan.len > 0))
    }

    /// Nothing may be sent to that endpoint for a request that began after it went.
    pub(crate) fn is_gone_for(&self, endpoint: usize, id: usize) -> bool {
        let begun = self.records[id].begun.unwrap_or(0);
        // The turn in which it goes may have looked for a new version already.
        self.gone[endpoint].is_some_and(|gone| begun > gone + 1)
    }
}

/// What a peer acts with.
pub(crate) struct Moment<'a> {
    pub(crate) now: u64,
    pub(crate) book: &'a mut Book,
    pub(crate) choices: &'a mut Choices,
}
