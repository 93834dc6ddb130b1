//! What is counted in a span, and how it is told: one line of JSON.

use crate::client::Fault;
use apex_peers::answer::Answer;
use apex_peers::histogram::Histogram;
use apex_peers::watch::{Group, Reading};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Counts since the span began.
#[derive(Debug)]
pub(crate) struct Tally {
    since: Instant,
    answers: u64,
    content_bytes: u64,
    latencies: Histogram,
    bad_status: u64,
    bad_length: u64,
    refused: u64,
    cut: u64,
    malformed: u64,
    watched: Vec<(Group, Reading)>,
}

impl Tally {
    pub(crate) fn new(now: Instant, groups: Vec<Group>) -> Self {
        let watched =
            groups.into_iter().map(|group| (group.read(), group)).map(|(read, group)| (group, read));
        Self {
            since: now,
            answers: 0,
            content_bytes: 0,
            latencies: Histogram::default(),
            bad_status: 0,
            bad_length: 0,
            refused: 0,
            cut: 0,
            malformed: 0,
            watched: watched.collect(),
        }
    }

    /// Counts an answer. One with another status or length than asked for is an error and no answer.
    pub(crate) fn answer(&mut self, answer: Answer, expect_bytes: Option<u64>, latency: Duration) {
        if !(200..300).contains(&answer.status) {
            self.bad_status += 1;
        } else if expect_bytes.is_some_and(|octets| octets != answer.content_bytes) {
            self.bad_length += 1;
        } else {
            self.answers += 1;
            self.content_bytes += answer.content_bytes;
            self.latencies.add(latency);
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Socket => self.refused += 1,
            Fault::Cut => self.cut += 1,
            Fault::Malformed => self.malformed += 1,
        }
    }

    /// Ends the span: gives its line and begins the next. `stuck` exchanges wait for too long, `behind` were to be sent and
    /// were not.
    pub(crate) fn end_span(&mut self, now: Instant, stuck: usize, behind: u64) -> String {
        let us = |ns: u64| Duration::from_nanos(ns).as_secs_f64() * 1e6;
        let quantile = |of_million| us(self.latencies.quantile_ns(of_million));
        let mut line = format!(
            "{{\"secs\":{:.6},\"answers\":{},\"content_bytes\":{},\"p50_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\
             \"longest_us\":{:.1},\"errors\":{{\"status\":{},\"length\":{},\"socket\":{},\"cut\":{},\"malformed\":{},\
             \"stuck\":{stuck}}},\"behind\":{behind},\"watched\":{{",
            now.duration_since(self.since).as_secs_f64(),
            self.answers,
            self.content_bytes,
            quantile(500_000),
            quantile(990_000),
            quantile(999_000),
            us(self.latencies.longest_ns()),
            self.bad_status,
            self.bad_length,
            self.refused,
            self.cut,
            self.malformed,
        );
        for (place, (group, before)) in self.watched.iter_mut().enumerate() {
            let reading = group.read();
            let comma = if place == 0 { "" } else { "," };
            let _ = write!(
                line,
                "{comma}\"{}\":{{\"run_ns\":{},\"user_ticks\":{},\"system_ticks\":{},\"resident_bytes\":{}}}",
                group.name,
                reading.run_ns.saturating_sub(before.run_ns),
                reading.user_ticks.saturating_sub(before.user_ticks),
                reading.system_ticks.saturating_sub(before.system_ticks),
                reading.resident_bytes,
            );
            *before = reading;
        }
        line.push_str("}}\n");
        self.since = now;
        (self.answers, self.content_bytes) = (0, 0);
        self.latencies.clear();
        (self.bad_status, self.bad_length, self.refused, self.cut, self.malformed) = (0, 0, 0, 0, 0);
        line
    }
}
