//! All counters of a process in one place, for whoever reads them.

use super::{Counters, ProcessCounters, Total};
use std::fmt;
use std::sync::Arc;

/// The counters of every worker, and those of the process.
#[derive(Debug, Default)]
pub struct Registry {
    workers: Vec<Arc<Counters>>,
    /// Written by the threads of the control side.
    pub process: ProcessCounters,
}

impl Registry {
    /// A registry with counters for so many workers.
    pub fn new(workers: usize) -> Self {
        let workers = (0..workers).map(|_| Arc::default()).collect();
        Self { workers, process: ProcessCounters::default() }
    }

    /// For each worker, the counters that it alone writes.
    pub fn workers(&self) -> &[Arc<Counters>] {
        &self.workers
    }

    /// The sum over all workers.
    pub fn total(&self) -> Total {
        Total::of(self.workers.iter().map(Arc::as_ref))
    }

    /// Every count of the process with its name, summed over the workers.
    pub fn pairs(&self) -> Vec<(&'static str, u64)> {
        self.total().pairs().chain(self.process.pairs()).collect()
    }
}

impl fmt::Display for Registry {
    /// One line, `name=value` by `name=value`. What never happened is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted: Vec<String> = self
            .pairs()
            .into_iter()
            .filter(|&(_, value)| value > 0)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if counted.is_empty() { f.write_str("nothing counted") } else { f.write_str(&counted.join(" ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_read_by_its_name() {
        let registry = Registry::new(2);
        assert_eq!(registry.to_string(), "nothing counted");
        registry.workers()[0].connections_accepted.add(3);
        registry.workers()[1].connections_accepted.add(4);
        registry.workers()[1].count_response(404);
        registry.process.reloads_refused.add(1);
        assert_eq!(registry.to_string(), "connections_accepted=7 responses_4xx=1 reloads_refused=1");
        let pairs = registry.pairs();
        assert!(
            pairs.contains(&("upgrades_done", 0)) && pairs.contains(&("client_bytes_out", 0)),
            "{pairs:?}"
        );
        let mut names: Vec<_> = pairs.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), pairs.len());
    }
}
