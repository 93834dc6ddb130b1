//! What a case is: what the client sends, what the backend answers, and what each of them is to see. It only describes.
//!
//! Text stands for octets: each character up to U+00FF is one octet (Latin-1). `BACKEND` in an expected request stands for the
//! address of the backend.

use std::fmt;

/// A part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(pub &'static str);

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    pub group: Group,
    pub rfc: &'static str,
    pub name: String,
    pub client: Vec<Step>,
    /// Final responses that the client waits for before it looks whether the connection persists.
    pub finals: usize,
    /// The client's requests are HEAD requests.
    pub head: bool,
    /// The client speaks 1.0: no transfer coding may come back (RFC 9112 section 6.1).
    pub old: bool,
    /// It may be taken for a request of HTTP/0.9, and answered so.
    pub may_be_old: bool,
    /// What the backend does with each request, in order of their arrival.
    pub replies: Vec<Reply>,
    /// What Apex does.
    pub apex: Option<Expect>,
    /// What any intermediary may do.
    pub must: Vec<Expect>,
    /// Held against Apex only: what follows the first request comes on the same backend connection, or on another.
    pub link: Option<Link>,
    /// Apex fails the case for this reason; the run fails once it no longer does.
    pub known: Option<&'static str>,
}

/// Whether a backend connection is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Same,
    Another,
}

/// What the client does before it waits for the end.
#[derive(Debug, Clone)]
pub enum Step {
    Send(Vec<u8>),
    HalfClose,
    /// Waits for the next response, interim or final.
    Await,
    /// Waits until the backend has sent all that it has to send.
    AwaitBackend,
}

/// What the backend does with a request.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Sent as soon as the head is there.
    pub on_head: Vec<u8>,
    /// Sent once the request is whole, piece by piece.
    pub pieces: Vec<Vec<u8>>,
    pub then: Then,
}

/// What becomes of the backend connection behind a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    #[default]
    Keep,
    Close,
    Reset,
    /// It has become a tunnel, in which `ping` is answered with `pong`.
    Tunnel,
}

/// What client and backend are to see.
#[derive(Debug, Clone)]
pub struct Expect {
    pub answers: Vec<Answer>,
    /// The client may also be dropped without an answer.
    pub may_drop: bool,
    /// The client connection goes on, or ends; none: either.
    pub stays: Option<bool>,
    pub backend: Backend,
}

/// What the backend is to see.
#[derive(Debug, Clone)]
pub enum Backend {
    /// Not an octet.
    Nothing,
    /// No whole request.
    NothingWhole,
    /// Anything that can be read.
    Whatever,
    /// These requests, whole.
    Requests(Vec<Vec<u8>>),
}

/// Which status an answer has.
#[derive(Debug, Clone)]
pub enum Status {
    OneOf(Vec<u16>),
    /// 400 to 599.
    Error,
}

/// How the content of an answer is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length,
    Chunked,
    UntilClose,
    Tunnel,
}

/// One final response as the client sees it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: Status,
    pub content: Option<Vec<u8>>,
    /// Held against Apex only.
    pub framing: Option<Framing>,
    /// It must not look whole.
    pub cut: bool,
    pub has: Vec<(String, String)>,
    pub lacks: Vec<String>,
    /// The interim responses before it; none: any.
    pub interim: Option<Vec<u16>>,
}

/// The octets that a text stands for.
pub fn octets(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a character up to U+00FF")).collect()
}

pub fn answer(status: u16) -> Answer {
    Answer {
        status: Status::OneOf(vec![status]),
        content: None,
        framing: None,
        cut: false,
        has: Vec::new(),
        lacks: Vec::new(),
        interim: None,
    }
}

impl Answer {
    pub fn content(mut self, content: &str) -> Self {
        self.content = Some(octets(content));
        self
    }

    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = Some(framing);
        self
    }

    pub fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    pub fn has(mut self, name: &str, value: &str) -> Self {
        self.has.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn lacks(mut self, name: &str) -> Self {
        self.lacks.push(name.to_owned());
        self
    }

    pub fn interim(mut self, statuses: &[u16]) -> Self {
        self.interim = Some(statuses.to_vec());
        self
    }

    fn error() -> Self {
        Self { status: Status::Error, ..answer(0) }
    }
}

/// The plain answer of the backend.
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub fn ok() -> Answer {
    answer(200).content("ok")
}

/// A case that sends nothing yet. Its backend gives the plain answer.
pub fn case(group: Group, rfc: &'static str, name: impl Into<String>) -> Case {
    Case {
        group,
        rfc,
        name: name.into(),
        client: Vec::new(),
        finals: 1,
        head: false,
        old: false,
        may_be_old: false,
        replies: Vec::new(),
        apex: None,
        must: Vec::new(),
        link: None,
        known: None,
    }
}

impl Case {
    pub fn is(&self, group: Group, name: &str) -> bool {
        self.group == group && self.name == name
    }

    pub fn is_complete(&self) -> bool {
        self.apex.is_some() && !self.must.is_empty() && !self.client.is_empty()
    }

    /// The client sends these octets in one piece.
    pub fn sends(mut self, text: &str) -> Self {
        self.client.push(Step::Send(octets(text)));
        self
    }

    pub fn half_closes(mut self) -> Self {
        self.client.push(Step::HalfClose);
        self
    }

    pub fn awaits(mut self) -> Self {
        self.client.push(Step::Await);
        self
    }

    pub fn awaits_backend(mut self) -> Self {
        self.client.push(Step::AwaitBackend);
        self
    }

    pub fn old(mut self) -> Self {
        self.old = true;
        self
    }

    pub fn may_be_old(mut self) -> Self {
        self.may_be_old = true;
        self
    }

    pub fn head(mut self) -> Self {
        self.head = true;
        self
    }

    /// The backend answers the next request so.
    pub fn replies(self, text: &str, then: Then) -> Self {
        self.reply(Reply { pieces: vec![octets(text)], then, ..Reply::default() })
    }

    pub fn reply(mut self, reply: Reply) -> Self {
        self.replies.push(reply);
        self
    }

    /// Refused with one of these statuses and the connection ended, with nothing at the backend. Any intermediary may refuse
    /// with any error, or drop the client, as long as no backend sees a whole request.
    pub fn refused(mut self, statuses: &[u16]) -> Self {
        let refusal = Answer { status: Status::OneOf(statuses.to_vec()), ..answer(0) };
        self.apex = Some(Expect {
            answers: vec![refusal],
            may_drop: false,
            stays: Some(false),
            backend: Backend::Nothing,
        });
        self.or_refused()
    }

    /// As [`Case::refused`], but the backend may have seen the front of the request, though never the whole of it.
    pub fn broken_off(self, statuses: &[u16]) -> Self {
        let mut case = self.refused(statuses);
        if let Some(apex) = &mut case.apex {
            apex.backend = Backend::NothingWhole;
        }
        case
    }

    /// Dropped without a word: there is no request to be answered.
    pub fn dropped(mut self) -> Self {
        self.apex =
            Some(Expect { answers: Vec::new(), may_drop: true, stays: None, backend: Backend::NothingWhole });
        self.or_refused()
    }

    /// Forwarded as this request, its answer passed back, and the connection goes on.
    pub fn forwarded(self, request: &str) -> Self {
        self.gives(&[request], vec![ok()], Some(true))
    }

    /// These requests reach the backend, these answers the client.
    pub fn gives(mut self, requests: &[&str], answers: Vec<Answer>, stays: Option<bool>) -> Self {
        let requests = requests.iter().map(|request| octets(request)).collect();
        self.finals = answers.len();
        let expect = Expect { answers, may_drop: false, stays, backend: Backend::Requests(requests) };
        self.must.push(Expect { stays: None, ..expect.clone() });
        self.apex = Some(expect);
        self
    }

    /// As [`Case::gives`], but no whole request reaches the backend.
    pub fn gives_early(mut self, answers: Vec<Answer>, stays: Option<bool>) -> Self {
        self = self.gives(&[], answers, stays);
        for expect in self.must.iter_mut().chain(&mut self.apex) {
            expect.backend = Backend::NothingWhole;
        }
        self
    }

    /// An intermediary may also refuse.
    pub fn or_refused(mut self) -> Self {
        self.must.push(Expect {
            answers: vec![Answer::error()],
            may_drop: true,
            stays: None,
            backend: Backend::NothingWhole,
        });
        self
    }

    /// An intermediary may also drop the client without a word, which then knows that it was not answered.
    pub fn or_dropped(mut self) -> Self {
        self.must.push(Expect {
            answers: Vec::new(),
            may_drop: true,
            stays: None,
            backend: Backend::Whatever,
        });
        self
    }

    /// An intermediary may also forward this.
    pub fn or_forwarded(self, request: &str) -> Self {
        self.or_gives(&[request], vec![ok()])
    }

    /// An intermediary may also let these requests through and give these answers.
    pub fn or_gives(mut self, requests: &[&str], answers: Vec<Answer>) -> Self {
        let requests = requests.iter().map(|request| octets(request)).collect();
        let backend = Backend::Requests(requests);
        self.must.push(Expect { answers, may_drop: false, stays: None, backend });
        self
    }

    /// The plain request of the cases about responses.
    pub fn asks(self) -> Self {
        self.sends("GET /r HTTP/1.1\r\nHost: h\r\n\r\n")
    }

    /// The plain request is answered so.
    pub fn answered(self, answer: Answer) -> Self {
        self.gives(&[ASKED], vec![answer], Some(true))
    }

    /// The plain request may, for any intermediary, also be answered so.
    pub fn or_answered(self, answer: Answer) -> Self {
        self.or_gives(&[ASKED], vec![answer])
    }

    /// The response cannot be taken: 502, its connection is not used again, and the client connection goes on. Any intermediary
    /// may give another error, or what is surely not whole.
    pub fn bad_gateway(self) -> Self {
        let mut case = self.answered(answer(502)).or_answered(Answer::error()).or_answered(answer(200).cut());
        for expect in &mut case.must {
            expect.may_drop = true;
        }
        case.next_on(Link::Another)
    }

    /// The client waits for so many final responses, or the end of the connection.
    pub fn finals(mut self, count: usize) -> Self {
        self.finals = count;
        self
    }

    pub fn next_on(mut self, link: Link) -> Self {
        self.link = Some(link);
        self
    }

    #[allow(dead_code, reason = "no case may need it")]
    pub fn known(mut self, why: &'static str) -> Self {
        self.known = Some(why);
        self
    }
}

/// The plain request of the cases about responses, as the backend sees it.
pub const ASKED: &str = "GET /r HTTP/1.1\r\nHost: h\r\n\r\n";
