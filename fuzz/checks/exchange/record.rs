//! What went over the wire in a run, and what must hold of it: judged by reading it again, with a plain reading of the
//! client's own bytes as the measure.

use super::super::http::{End, WIDE, decode};
use super::peer::Peer;
use apex::exchange::Cause;
use apex::http::chunked::Decoder;
use apex::http::field::slots;
use apex::http::framing::Framing;
use apex::http::head::{self, Method, Persistence};
use apex::http::limits::HeadLimits;
use apex::http::local_reply::LocalReply;
use apex::http::trailers;
use apex::route::table::Table;

/// A backend connection and the exchanges that used it, in order.
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) backend: u32,
    pub(super) users: Vec<usize>,
    /// For each of them that put it into the pool: octets of its peer that were read until then.
    pub(super) pooled: Vec<usize>,
}

/// All of one client connection.
pub(super) struct Record {
    pub(super) table: &'static Table,
    pub(super) limits: HeadLimits,
    pub(super) client: Peer,
    pub(super) links: Vec<Link>,
    /// Exchanges that became tunnels.
    pub(super) tunnels: Vec<usize>,
    /// Octets of the client that were read when the time of a head was up: what was read behind them is not judged.
    pub(super) late: Option<usize>,
    /// Of each exchange that ended: the status, and where it came from.
    pub(super) finished: Vec<(u16, Cause)>,
    /// Apex closed the client connection.
    pub(super) closed: bool,
    pub(super) at_rest: bool,
}

/// One request as the client sent it.
struct Asked {
    method: Method,
    method_text: String,
    /// It may go to a backend.
    is_forwarded: bool,
    /// Its content, if all of it came and it is not longer than allowed.
    content: Option<Vec<u8>>,
}

/// The body of a message at the front of `bytes`: its content, and its octets on the wire; `None`: it is not whole.
type Body = Option<(Vec<u8>, usize)>;

fn body(decoder: Decoder, bytes: &[u8], framing: Framing, limits: &HeadLimits) -> Result<Body, LocalReply> {
    Ok(match framing {
        Framing::None => Some((Vec::new(), 0)),
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            bytes.get(..length).map(|content| (content.to_vec(), length))
        }
        Framing::Chunked => {
            let outcome = decode(decoder, bytes, || usize::MAX);
            match outcome.end {
                End::Incomplete => None,
                End::Refused(reply) => return Err(reply),
                End::Trailers(place) => trailers::forward(&bytes[place..], limits, None)?
                    .map(|section| (outcome.content, place + section)),
            }
        }
        Framing::UntilClose => None,
    })
}

impl Record {
    pub(super) fn hold(&self) {
        let asked = self.asked();
        for link in &self.links {
            let whole = self.backend_was_sent_requests(link, &asked);
            // Behind a request that is not whole, the next one would be taken for its content.
            assert!(whole >= link.pooled.len(), "a connection is used again behind {whole} whole requests");
            backend_was_read_to_the_end(link, &asked);
        }
        self.client_was_sent_responses(&asked);
        for (asked, &(status, cause)) in asked.iter().zip(&self.finished) {
            let is_sound = asked.is_forwarded && asked.content.is_some();
            let is_blamed =
                matches!(cause, Cause::Apex(_)) && matches!(status, 400 | 413 | 414 | 417 | 431 | 501 | 505);
            assert!(!is_sound || !is_blamed, "a sound request is answered {status}");
        }
        assert!(self.closed || self.at_rest, "it ends closed or at rest");
    }

    /// The requests that the client sent, as far as Apex has read. Behind one that is refused or cut there is none.
    fn asked(&self) -> Vec<Asked> {
        let mut rest = &self.client.sends[..self.late.unwrap_or(self.client.taken)];
        let mut all = Vec::new();
        while !rest.is_empty() {
            let mut room = slots();
            let Ok(Some(request)) = head::request(rest, &mut room, &self.limits) else {
                let nothing = Asked {
                    // RFC 9110 section 9.3.2: so much can be told of a head that is not whole, or broken.
                    method: if head::begins_as_head(rest) { Method::Head } else { Method::Other },
                    method_text: String::new(),
                    is_forwarded: false,
                    content: None,
                };
                all.push(nothing);
                break;
            };
            let host = request.authority.map(|authority| authority.host);
            let route = self.table.find(host, request.target.path()).map(|id| self.table.route(id));
            let allowed = route.and_then(|route| route.policy.as_ref()?.body_bytes_max).unwrap_or(u64::MAX);
            let too_long = matches!(request.framing, Framing::Length(length) if length > allowed);
            let whole = body(Decoder::new(), &rest[request.head_bytes..], request.framing, &self.limits)
                .ok()
                .flatten();
            let used = whole.as_ref().map(|(_, used)| request.head_bytes + used);
            all.push(Asked {
                method: request.method,
                method_text: request.method_text.to_owned(),
                is_forwarded: route.is_some() && !too_long && request.max_forwards != Some(0),
                content: whole.map(|(content, _)| content).filter(|content| content.len() as u64 <= allowed),
            });
            let Some(used) = used else { break };
            rest = &rest[used..];
        }
        all
    }

    /// What went to a backend is what the client has asked, request by request; the last one may be cut. Says how many are
    /// whole.
    fn backend_was_sent_requests(&self, link: &Link, asked: &[Asked]) -> usize {
        let mut rest = &link.peer.got[..];
        for (count, &user) in link.users.iter().enumerate() {
            if rest.is_empty() {
                return count;
            }
            let asked = asked.get(user).expect("what is sent was asked");
            assert!(asked.is_forwarded, "a request that is refused goes to no backend");
            let mut room = slots();
            let sent = head::request(rest, &mut room, &WIDE).expect("what is sent is well formed");
            let Some(sent) = sent else { return count };
            assert_eq!(sent.method_text, asked.method_text);
            if self.tunnels.contains(&user) {
                return count;
            }
            let whole =
                body(Decoder::new(), &rest[sent.head_bytes..], sent.framing, &WIDE).expect("well formed");
            let Some((content, used)) = whole else { return count };
            // A backend takes this for the whole request: it is.
            assert!(asked.content.as_ref() == Some(&content), "other content than the client sent");
            rest = &rest[sent.head_bytes + used..];
        }
        assert!(rest.is_empty(), "{} octets that belong to no exchange", rest.len());
        link.users.len()
    }

    /// What went to the client is one response a request; the last one may be cut, and then its connection ends.
    fn client_was_sent_responses(&self, asked: &[Asked]) {
        let mut rest = &self.client.got[..];
        let mut answered = 0;
        while !rest.is_empty() {
            let asked = asked.get(answered).expect("a response is to a request");
            let mut room = slots();
            let sent =
                head::response(rest, &mut room, &WIDE, asked.method).expect("what is sent is well formed");
            let Some(sent) = sent else {
                assert!(self.closed, "a head is left incomplete");
                return;
            };
            let behind = &rest[sent.head_bytes..];
            match sent.status {
                101 => return,
                100..=199 => {
                    rest = behind;
                    continue;
                }
                _ => {}
            }
            answered += 1;
            let Some((_, used)) = body(Decoder::new(), behind, sent.framing, &WIDE).expect("well formed")
            else {
                assert!(self.closed, "a response is left incomplete");
                return;
            };
            rest = &behind[used..];
            if sent.persistence == Persistence::Close {
                assert!(rest.is_empty(), "nothing follows what was said to be the last response");
                assert!(self.closed, "what was said to be closed is closed");
            }
        }
        assert!(answered <= self.finished.len());
    }
}

/// A backend connection is used again only behind a response that was read to its end, and not past it.
fn backend_was_read_to_the_end(link: &Link, asked: &[Asked]) {
    let mut from = 0;
    for (&user, &to) in link.users.iter().zip(&link.pooled) {
        let mut rest = &link.peer.sends[from..to];
        from = to;
        let used = loop {
            let mut room = slots();
            let answer = head::response(rest, &mut room, &WIDE, asked[user].method).ok().flatten();
            let answer = answer.expect("a response was read whole");
            let behind = &rest[answer.head_bytes..];
            if answer.status < 200 {
                rest = behind;
                continue;
            }
            assert_eq!(answer.persistence, Persistence::KeepAlive);
            let whole = body(Decoder::of_response(), behind, answer.framing, &WIDE).ok().flatten();
            break answer.head_bytes + whole.expect("a response was read whole").1;
        };
        assert_eq!(used, rest.len(), "what follows a response belongs to nobody");
    }
}
