//! The table of cases, by part of the protocol.

mod chunked;
mod connections;
mod fields;
mod forwarding;
mod framing;
mod hosts;
mod limits;
mod lines;
mod responses;
mod smuggling;
mod status;
mod targets;
mod trailers;

use super::case::{Case, Group, case};

/// All cases.
pub fn all() -> Vec<Case> {
    [
        lines::cases(),
        targets::cases(),
        hosts::cases(),
        fields::cases(),
        framing::cases(),
        chunked::cases(),
        trailers::cases(),
        forwarding::cases(),
        limits::cases(),
        status::cases(),
        responses::cases(),
        connections::cases(),
        smuggling::cases(),
    ]
    .concat()
}

/// A row of a table of requests that are refused with 400: name and request.
type Refused = (&'static str, &'static str);

/// Requests that Apex refuses with 400, and that any intermediary refuses or breaks off.
fn all_refused(group: Group, rfc: &'static str, rows: &[Refused]) -> Vec<Case> {
    rows.iter().map(|(name, wire)| case(group, rfc, *name).sends(wire).refused(&[400])).collect()
}

/// As [`all_refused`], but an intermediary may instead forward the third column.
fn all_refused_or(group: Group, rfc: &'static str, rows: &[(&str, &str, &str)]) -> Vec<Case> {
    let build = |(name, wire, forwarded): &(&str, &str, &str)| {
        case(group, rfc, *name).sends(wire).refused(&[400]).or_forwarded(forwarded)
    };
    rows.iter().map(build).collect()
}

/// Requests that everybody forwards: name, request, and what the backend sees.
fn all_forwarded(group: Group, rfc: &'static str, rows: &[(&str, &str, &str)]) -> Vec<Case> {
    rows.iter().map(|(name, wire, seen)| case(group, rfc, *name).sends(wire).forwarded(seen)).collect()
}

/// As [`all_forwarded`], but an intermediary may refuse.
fn all_forwarded_or_refused(group: Group, rfc: &'static str, rows: &[(&str, &str, &str)]) -> Vec<Case> {
    all_forwarded(group, rfc, rows).into_iter().map(Case::or_refused).collect()
}
