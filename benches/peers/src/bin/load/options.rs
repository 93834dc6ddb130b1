//! The command line of the load.

use apex_peers::watch::Group;
use lexopt::prelude::{Long, ValueExt};
use memchr::memmem;
use std::net::SocketAddr;

const USAGE: &str = "\
load --target ADDRESS --heads FILE [OPTIONS]

Sends the requests of FILE in turns and checks each answer. A line on the standard input ends a span: what was counted since
the last one is printed as one line of JSON. The end of the standard input ends the load.

  --connections N     client connections (64)
  --rate N            open loop: N requests a second, timed from when they were to be sent
  --close             a connection serves one request and is then closed by the server
  --once              each connection sends one request and then rests
  --content-bytes N   octets of content behind each head (0)
  --expect-bytes N    octets of content that each answer must have
  --watch NAME=PID,…  processes whose time and memory are told at each span's end; repeatable
";

/// Connections that are opened at a time where all are to be opened once, so that no listener's queue overflows.
const OPENING_MAX: usize = 64;
/// Requests a second at the most; a nanosecond is the least distance.
const RATE_MAX: u64 = 1_000_000_000;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Closed loop: each connection sends its next request when it has its answer.
    Closed,
    /// Open loop: so many a second, whatever is answered.
    Rate(u64),
    /// One request a connection.
    Once,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) target: SocketAddr,
    /// Whole requests, content included.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) closes: bool,
    pub(crate) expect_bytes: Option<u64>,
    pub(crate) watched: Vec<Group>,
}

impl Options {
    /// Reads the command line and the file that it names.
    pub(crate) fn read() -> Result<Self, lexopt::Error> {
        let (mut target, mut heads, mut content_bytes) = (None, None, 0_usize);
        let (mut connections, mut pace, mut closes) = (64_usize, Pace::Closed, false);
        let (mut expect_bytes, mut watched) = (None, Vec::new());
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("target") => target = Some(parser.value()?.parse()?),
                Long("heads") => heads = Some(parser.value()?),
                Long("connections") => connections = parser.value()?.parse()?,
                Long("rate") => pace = Pace::Rate(parser.value()?.parse()?),
                Long("close") => closes = true,
                Long("once") => pace = Pace::Once,
                Long("content-bytes") => content_bytes = parser.value()?.parse()?,
                Long("expect-bytes") => expect_bytes = Some(parser.value()?.parse()?),
                Long("watch") => {
                    let text = parser.value()?.string()?;
                    watched.push(Group::parse(&text).ok_or("--watch NAME=PID,PID")?);
                }
                _ => return Err(USAGE.into()),
            }
        }
        let (Some(target), Some(heads)) = (target, heads) else { return Err(USAGE.into()) };
        let file = std::fs::read(&heads).map_err(|error| format!("{}: {error}", heads.display()))?;
        let messages = split(&file, content_bytes);
        let rate_is_good = !matches!(pace, Pace::Rate(rate) if !(1..=RATE_MAX).contains(&rate));
        if messages.is_empty() || connections == 0 || !rate_is_good {
            return Err("no request, no connection, or no rate".into());
        }
        Ok(Self { target, messages, connections, pace, closes, expect_bytes, watched })
    }

    /// Connections that begin at once.
    pub(crate) fn at_first(&self) -> usize {
        if self.pace == Pace::Once { self.connections.min(OPENING_MAX) } else { self.connections }
    }
}

/// The heads of a file, each with its content behind it.
fn split(file: &[u8], content_bytes: usize) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut from = 0;
    for place in memmem::find_iter(file, b"\r\n\r\n") {
        let mut message = file[from..place + 4].to_vec();
        message.resize(message.len() + content_bytes, b'x');
        messages.push(message);
        from = place + 4;
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_split_into_requests() {
        let messages = split(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\nrest", 3);
        assert_eq!(
            messages,
            [b"GET /a HTTP/1.1\r\n\r\nxxx".to_vec(), b"GET /b HTTP/1.1\r\nHost: b\r\n\r\nxxx".to_vec()]
        );
        assert!(split(b"GET", 1).is_empty());
    }
}
