//! Whether what was seen is what a case expects: of any intermediary, or of Apex. It knows nothing of how a proxy works.

use super::case::{Answer, Backend, Case, Expect, Link, Status};
use super::message::{Ended, Found, Kind, Message, read, shown};
use super::play::Outcome;

/// By which of the two verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// What the RFCs demand of any intermediary; messages are compared by their meaning.
    Must,
    /// What Apex has decided; messages are compared octet by octet, less the fields that it adds.
    Apex,
}

/// Fields that an intermediary may add, take out or write anew; what they must say is asked elsewhere.
const OWN_FIELDS: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// # Errors
/// What was not as it should be; of several things that would do, what each lacks.
pub fn judge(case: &Case, outcome: &Outcome, judge: Judge, backend: &str) -> Result<(), String> {
    if judge == Judge::Must && case.may_be_old && is_old_answer(outcome) {
        return Ok(());
    }
    hygiene(case, outcome)?;
    if judge == Judge::Apex {
        link_meets(case, outcome)?;
    }
    let expects: Vec<&Expect> = match judge {
        Judge::Must => case.must.iter().collect(),
        Judge::Apex => case.apex.iter().collect(),
    };
    let mut missed = Vec::new();
    for expect in expects {
        match meets(expect, outcome, judge, backend) {
            Ok(()) => return Ok(()),
            Err(why) => missed.push(why),
        }
    }
    Err(missed.join("; or: "))
}

/// The answer to a request of HTTP/0.9 is content alone; the backend saw nothing, or one request.
fn is_old_answer(outcome: &Outcome) -> bool {
    let log = &outcome.backend;
    let seen = log.requests.iter().filter(|request| !matches!(request.target(), "/probe" | "/other"));
    outcome.broken.is_some() && log.broken.is_empty() && seen.count() < 2
}

/// What no case may do: answer in a way that cannot be read, put octets where they do not belong, harm another client.
fn hygiene(case: &Case, outcome: &Outcome) -> Result<(), String> {
    if let Some(why) = &outcome.broken {
        return Err(format!("the client cannot read {why}"));
    }
    if let Some(why) = outcome.backend.broken.first() {
        return Err(format!("the backend cannot read {why}"));
    }
    let answered = |message: &Message, content: &str| {
        message.status() == 200 && message.content == content.as_bytes() && message.whole
    };
    if !outcome.other.as_ref().is_some_and(|other| answered(other, "other")) {
        return Err(format!("another client then got {:?}", outcome.other.as_ref().map(told)));
    }
    if let Some(probe) = &outcome.probe
        && probe.status() < 400
        && !answered(probe, "probe")
    {
        return Err(format!("out of step: the next request got {}", told(probe)));
    }
    let codes = outcome.answers.iter().any(|(answer, _)| !answer.all("transfer-encoding").is_empty());
    if case.old && codes {
        return Err("a transfer coding for a client of 1.0".to_owned());
    }
    Ok(())
}

fn meets(expect: &Expect, outcome: &Outcome, judge: Judge, backend: &str) -> Result<(), String> {
    let dropped = expect.may_drop
        && (outcome.answers.is_empty() || (outcome.ended == Some(Ended::Reset) && judge == Judge::Must));
    if !dropped {
        let finals: Vec<_> = outcome.answers.iter().map(|(answer, _)| told(answer)).collect();
        if finals.len() != expect.answers.len() {
            return Err(format!("{} answers instead of {}: {finals:?}", finals.len(), expect.answers.len()));
        }
        for (wanted, (answer, interim)) in expect.answers.iter().zip(&outcome.answers) {
            answer_meets(wanted, answer, interim, judge)?;
        }
    }
    backend_meets(&expect.backend, outcome, judge, backend)?;
    if judge == Judge::Apex { connection_meets(expect, outcome) } else { Ok(()) }
}

fn answer_meets(wanted: &Answer, answer: &Message, interim: &[Message], judge: Judge) -> Result<(), String> {
    let status = answer.status();
    let fits = match &wanted.status {
        Status::OneOf(statuses) => statuses.contains(&status),
        Status::Error => (400..600).contains(&status),
    };
    if !fits {
        return Err(format!("{} instead of {:?}", told(answer), wanted.status));
    }
    if answer.whole == wanted.cut {
        return Err(format!("{} is {}", told(answer), if wanted.cut { "whole" } else { "cut short" }));
    }
    if wanted.content.as_ref().is_some_and(|content| *content != answer.content) {
        return Err(format!("content {}", shown(&answer.content)));
    }
    if judge == Judge::Apex && wanted.framing.is_some_and(|framing| framing != answer.framing) {
        return Err(format!("framed by {:?}", answer.framing));
    }
    for (name, value) in &wanted.has {
        let values = answer.all(name).join(", ");
        // The tokens of Connection have no case.
        let fits = match judge {
            Judge::Must => less_space(&values).eq_ignore_ascii_case(&less_space(value)),
            Judge::Apex => values == *value || (name == "Connection" && values.eq_ignore_ascii_case(value)),
        };
        if !fits {
            return Err(format!("{name}: {values:?} instead of {value:?}"));
        }
    }
    if let Some(name) = wanted.lacks.iter().find(|name| !answer.all(name).is_empty()) {
        return Err(format!("{name}: {:?} was passed on", answer.all(name)));
    }
    let statuses: Vec<_> = interim.iter().map(Message::status).collect();
    if wanted.interim.as_ref().is_some_and(|wanted| *wanted != statuses) {
        return Err(format!("interim responses {statuses:?}"));
    }
    Ok(())
}

fn backend_meets(wanted: &Backend, outcome: &Outcome, judge: Judge, addr: &str) -> Result<(), String> {
    let log = &outcome.backend;
    let seen: Vec<&Message> =
        log.requests.iter().filter(|request| !matches!(request.target(), "/probe" | "/other")).collect();
    let told = || seen.iter().map(|request| shown(&request.head)).collect::<Vec<_>>().join(" and ");
    match wanted {
        Backend::Nothing | Backend::NothingWhole if !seen.is_empty() => {
            Err(format!("the backend saw {}", told()))
        }
        Backend::Nothing if judge == Judge::Apex && !log.partial.is_empty() => {
            Err(format!("the backend saw the front of a request: {}", shown(&log.partial[0])))
        }
        Backend::Nothing | Backend::NothingWhole | Backend::Whatever => Ok(()),
        Backend::Requests(requests) => {
            if requests.len() != seen.len() {
                return Err(format!("the backend saw {} requests: {}", seen.len(), told()));
            }
            for (wanted, seen) in requests.iter().zip(seen) {
                request_meets(&expected(wanted, addr), seen, judge)?;
            }
            Ok(())
        }
    }
}

/// The expected request as a message.
fn expected(bytes: &[u8], addr: &str) -> Message {
    let text: String = bytes.iter().map(|&octet| char::from(octet)).collect();
    let bytes = super::case::octets(&text.replace("BACKEND", addr));
    match read(&bytes, Kind::Request, Ended::Closed) {
        Found::Message(message, _) => message,
        other => panic!("a case expects what is no request: {}: {other:?}", shown(&bytes)),
    }
}

fn request_meets(wanted: &Message, seen: &Message, judge: Judge) -> Result<(), String> {
    let content_fits = wanted.content == seen.content;
    if !content_fits {
        return Err(format!("the backend saw the content {}", shown(&seen.content)));
    }
    let fits = match judge {
        Judge::Apex => {
            forwarded_fits(seen)?;
            less_forwarded(&seen.head) == wanted.head && seen.trailers == wanted.trailers
        }
        Judge::Must => {
            let line = |message: &Message| message.start.rsplit_once(' ').unwrap_or_default().0.to_owned();
            let host = |message: &Message| match &message.all("host")[..] {
                [host] => host_name(host),
                hosts => format!("{hosts:?}"),
            };
            line(wanted) == line(seen)
                && (host(wanted) == host(seen) || wanted.all("host").is_empty())
                && passed(wanted) == passed(seen)
        }
    };
    if fits {
        return Ok(());
    }
    let trailers = &seen.trailers;
    Err(format!(
        "the backend saw {} (trailers {trailers:?}) instead of {}",
        shown(&seen.head),
        shown(&wanted.head)
    ))
}

/// The host without its port: whether that is passed on is commonly a matter of configuration.
fn host_name(host: &str) -> String {
    let name_end = host.rfind(']').map_or_else(|| host.find(':'), |end| Some(end + 1));
    host[..name_end.unwrap_or(host.len())].trim_end_matches('.').to_lowercase()
}

/// A value with each run of white space as one space: a fold may be mended with any number (RFC 9112 section 5.2).
fn less_space(value: &str) -> String {
    value.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The end-to-end fields, in an order of our own.
fn passed(message: &Message) -> Vec<(String, String)> {
    let mut fields: Vec<_> =
        message.fields.iter().map(|(name, value)| (name.to_lowercase(), less_space(value))).collect();
    fields.retain(|(name, _)| !OWN_FIELDS.contains(&name.as_str()));
    fields.sort();
    fields
}

/// The head without the fields that Apex adds.
fn less_forwarded(head: &[u8]) -> Vec<u8> {
    let lines = head.split_inclusive(|&octet| octet == b'\n');
    lines.filter(|line| !line.to_ascii_lowercase().starts_with(b"x-forwarded-")).flatten().copied().collect()
}

/// Whatever the client said, the backend is told once each who it is.
fn forwarded_fits(seen: &Message) -> Result<(), String> {
    let told = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| seen.all(name));
    let hosts = seen.all("host");
    if told[0] == ["127.0.0.1"] && told[1] == ["http"] && (told[2].is_empty() || told[2] == hosts) {
        Ok(())
    } else {
        Err(format!("X-Forwarded-For, -Proto, -Host are {told:?}"))
    }
}

/// Whether the client connection went on or ended, and whether that was said.
fn connection_meets(expect: &Expect, outcome: &Outcome) -> Result<(), String> {
    let last = outcome.answers.last().map(|(answer, _)| answer);
    let says_close = last.is_some_and(|answer| answer.all("connection").contains(&"close"));
    match (expect.stays, outcome.ended) {
        (Some(true), _) if outcome.probe.is_none() => Err("the connection ended".to_owned()),
        (Some(true), _) if says_close => Err("close was said, and not done".to_owned()),
        (Some(false), Some(Ended::Open)) => Err("the connection went on".to_owned()),
        (Some(false), Some(Ended::Reset)) => Err("the connection was reset".to_owned()),
        (Some(false), _)
            if last.is_some_and(|answer| answer.whole && answer.status() != 101) && !says_close =>
        {
            Err("the connection ended unsaid".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether the backend connection of the first request served the next.
fn link_meets(case: &Case, outcome: &Outcome) -> Result<(), String> {
    let links = &outcome.backend.links;
    let link = match links[..] {
        [first, next, ..] if first == next => Some(Link::Same),
        [_, _, ..] => Some(Link::Another),
        _ => None,
    };
    if case.link.is_none() || case.link == link {
        Ok(())
    } else {
        Err(format!("requests came on backend connections {links:?}"))
    }
}

/// A response for a report.
fn told(message: &Message) -> String {
    let cut = if message.whole { "" } else { ", cut" };
    format!("{} with {}{cut}", message.start, shown(&message.content))
}
