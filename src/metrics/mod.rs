//! Counters: each worker writes its own, the control thread writes those of the process, and the [`Registry`] reads all of them.
//!
//! Nothing here knows a socket, a clock or a thread.

mod registry;

pub use registry::Registry;

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that one thread writes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the worker that owns the counter calls this: it is a load and a store, with no locked instruction
    /// between, so that counts of two writers would be lost. It wraps at 64 bits, which no count reaches.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count, perhaps a moment old.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of the process as a whole. Each is written by one thread alone: reloads and upgrades by the control thread, look-ups by
/// the resolver.
#[derive(Debug, Default)]
pub struct ProcessCounters {
    /// Reloads that put another version in force.
    pub reloads_applied: Counter,
    /// Reloads that changed nothing, because the file could not be read or was wrong.
    pub reloads_refused: Counter,
    /// Upgrades after which another process served.
    pub upgrades_done: Counter,
    /// Upgrades after which this process served on.
    pub upgrades_failed: Counter,
    /// Names of backends that the resolver answered for.
    pub lookups_answered: Counter,
    /// Names of backends that the resolver gave no address for.
    pub lookups_failed: Counter,
}

impl ProcessCounters {
    /// Every count with its name.
    pub fn pairs(&self) -> [(&'static str, u64); 6] {
        [
            ("reloads_applied", self.reloads_applied.get()),
            ("reloads_refused", self.reloads_refused.get()),
            ("upgrades_done", self.upgrades_done.get()),
            ("upgrades_failed", self.upgrades_failed.get()),
            ("lookups_answered", self.lookups_answered.get()),
            ("lookups_failed", self.lookups_failed.get()),
        ]
    }
}

/// Defines the counters of a worker and their sum from one list, so that neither can miss one.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one worker has counted. Aligned to two cache lines (processors fetch them in pairs), so that no worker
        /// slows another down by writing next to it.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            /// Final responses sent to clients by the first digit of their status, from 1 (101 alone) to 5.
            pub responses: [Counter; 5],
        }

        /// The sum over all workers.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Total {
            $($(#[$doc])* pub $name: u64,)*
            /// Final responses sent to clients by the first digit of their status, from 1 (101 alone) to 5.
            pub responses: [u64; 5],
        }

        impl Total {
            /// Adds up. The counts are read one after another while workers go on, so they belong to moments a little apart.
            pub fn of<'a>(workers: impl IntoIterator<Item = &'a Counters>) -> Self {
                let mut total = Self::default();
                for counters in workers {
                    $(total.$name = total.$name.wrapping_add(counters.$name.get());)*
                    for (sum, counter) in total.responses.iter_mut().zip(&counters.responses) {
                        *sum = sum.wrapping_add(counter.get());
                    }
                }
                total
            }

            /// Every count with its name.
            pub fn pairs(&self) -> impl Iterator<Item = (&'static str, u64)> {
                let plain = [$((stringify!($name), self.$name),)*];
                plain.into_iter().chain(RESPONSES.into_iter().zip(self.responses))
            }
        }
    };
}

/// Names of the classes of responses, in the order of [`Total::responses`].
const RESPONSES: [&str; 5] =
    ["responses_1xx", "responses_2xx", "responses_3xx", "responses_4xx", "responses_5xx"];

counters! {
    /// Client connections accepted.
    connections_accepted,
    /// Client connections closed, by whichever end.
    connections_closed,
    /// Client connections closed because the system had no memory for them, or no place in epoll.
    connections_refused,
    /// Exchanges that ended, in whatever way.
    exchanges_finished,
    /// Exchanges whose response was cut short, so that the client could tell.
    exchanges_cut,
    /// Responses that Apex gave by itself.
    own_answers,
    /// Backend connections tried for an exchange after its first.
    retries,
    /// Client connections closed because a panic, which is a bug, came while they were served.
    panics,
    /// Backend connections opened.
    backend_opened,
    /// Exchanges that took a backend connection from the pool.
    backend_reused,
    /// Octets read from clients.
    client_bytes_in,
    /// Octets written to clients.
    client_bytes_out,
}

impl Counters {
    /// Counts a final response by its status; one outside 100 to 599 counts as the nearest class.
    pub fn count_response(&self, status: u16) {
        self.responses[usize::from(status.clamp(100, 599) / 100 - 1)].add(1);
    }
}

impl Total {
    /// Client connections open now.
    pub fn connections_open(&self) -> u64 {
        // One may have come and gone between the two reads: closed was counted, accepted was not yet seen.
        self.connections_accepted.saturating_sub(self.connections_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_the_sum_over_workers() {
        let workers = [Counters::default(), Counters::default()];
        workers[0].connections_accepted.add(3);
        workers[1].connections_accepted.add(4);
        workers[1].connections_closed.add(2);
        workers[0].client_bytes_out.add(1 << 40);
        for status in [101, 200, 204, 399, 404, 500, 599] {
            workers[usize::from(status % 2)].count_response(status);
        }
        let total = Total::of(&workers);
        assert_eq!((total.connections_accepted, total.connections_open()), (7, 5));
        assert_eq!(total.client_bytes_out, 1 << 40);
        assert_eq!(total.responses, [1, 2, 1, 1, 2]);
        assert_eq!(total.retries, 0);
        assert_eq!(Total::of([]), Total::default());
    }

    #[test]
    fn a_status_outside_the_classes_is_counted_somewhere() {
        let counters = Counters::default();
        counters.count_response(0);
        counters.count_response(999);
        assert_eq!(Total::of([&counters]).responses, [1, 0, 0, 0, 1]);
    }

    #[test]
    fn workers_do_not_share_a_pair_of_cache_lines() {
        assert_eq!(align_of::<Counters>(), 128);
        assert_eq!(size_of::<Counters>() % 128, 0);
    }
}
