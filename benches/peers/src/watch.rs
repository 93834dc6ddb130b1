//! What the kernel says of a group of processes: time on a core, how it was divided, and resident memory (proc(5)).

use std::fs;
use std::ops::AddAssign;

/// Octets of a page, in which `statm` counts.
const PAGE_BYTES: u64 = 4096;

/// Processes that are watched together under one name: a proxy is often a parent and its workers.
#[derive(Debug, Clone)]
pub struct Group {
    /// The name it is reported by.
    pub name: String,
    /// The processes.
    pub pids: Vec<u32>,
}

/// Sums over a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Nanoseconds on a core, of all threads that live.
    pub run_ns: u64,
    /// Ticks of 10 ms in user mode. The kernel divides the time by what its ticks happened to see.
    pub user_ticks: u64,
    /// Ticks of 10 ms in the kernel.
    pub system_ticks: u64,
    /// Octets of resident memory.
    pub resident_bytes: u64,
}

impl AddAssign for Reading {
    fn add_assign(&mut self, other: Self) {
        self.run_ns += other.run_ns;
        self.user_ticks += other.user_ticks;
        self.system_ticks += other.system_ticks;
        self.resident_bytes += other.resident_bytes;
    }
}

impl Group {
    /// Reads `NAME=PID,PID`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, list) = text.split_once('=')?;
        let pids = list.split(',').map(|pid| pid.parse().ok()).collect::<Option<Vec<u32>>>()?;
        (!name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric()))
            .then(|| Self { name: name.to_owned(), pids })
    }

    /// The sums now; a process that is gone counts nothing.
    pub fn read(&self) -> Reading {
        let mut sum = Reading::default();
        for pid in &self.pids {
            sum += read_process(*pid);
        }
        sum
    }
}

fn read_process(pid: u32) -> Reading {
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let (user_ticks, system_ticks) = ticks(&file("stat")).unwrap_or_default();
    let resident = file("statm").split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let run_ns = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    Reading {
        run_ns: run_ns.sum(),
        user_ticks,
        system_ticks,
        resident_bytes: resident.unwrap_or(0) * PAGE_BYTES,
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`. The second field is a name in parentheses, which may hold anything.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 12 34 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some((12, 34)));
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn this_process_is_read() {
        let own = Group { name: "own".to_owned(), pids: vec![std::process::id()] }.read();
        assert!(own.run_ns > 0 && own.resident_bytes > PAGE_BYTES, "{own:?}");
    }

    #[test]
    fn groups_are_named_lists() {
        let group = Group::parse("proxy=1,22").unwrap();
        assert_eq!((group.name.as_str(), group.pids.as_slice()), ("proxy", &[1, 22][..]));
        for bad in ["proxy", "=1", "proxy=", "proxy=x", "a\"b=1"] {
            assert!(Group::parse(bad).is_none(), "{bad}");
        }
    }
}
