//! A small reader of HTTP messages of its own, so that nothing of Apex judges itself. It is strict: what Apex sends is written in
//! one way.

/// One head as it came; the names of fields in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The number that a field of ours holds.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.field(name)?.parse().ok()
    }

    pub(crate) fn says(&self, option: &str) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case(option))
    }

    /// What the framing fields say; `None`: neither is there.
    pub(crate) fn framing(&self) -> Result<Option<Framing>, String> {
        let lengths: Vec<_> = self.fields.iter().filter(|(name, _)| name == "content-length").collect();
        let codings: Vec<_> = self.fields.iter().filter(|(name, _)| name == "transfer-encoding").collect();
        match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => Ok(None),
            ([(_, length)], []) => {
                length.parse().map(|length| Some(Framing::Length(length))).map_err(|_| length.clone())
            }
            ([], [(_, coding)]) if coding == "chunked" => Ok(Some(Framing::Chunked)),
            _ => Err(format!("framing in more than one way: {self:?}")),
        }
    }
}

/// The numbers of the requests of ours whose heads are in there.
pub(crate) fn requests_in(bytes: &[u8]) -> Vec<usize> {
    let number_before = |end: usize| -> Option<usize> {
        let start = memchr::memrchr(b'/', &bytes[..end])? + 1;
        std::str::from_utf8(&bytes[start..end]).ok()?.parse().ok()
    };
    memchr::memmem::find_iter(bytes, b" HTTP/1.1\r\n").filter_map(number_before).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// A head; [`Reader::begin`] is to be called.
    Head(Head),
    /// The message is complete, with these trailer fields.
    End(Vec<(String, String)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(usize),
    Size,
    Data(usize),
    DataEnd,
    Trailers,
    UntilClose,
}

#[derive(Debug)]
pub(crate) struct Reader {
    /// What was received and not read yet.
    pub(crate) bytes: Vec<u8>,
    /// Content of the message under way.
    pub(crate) body: Vec<u8>,
    state: State,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), body: Vec::new(), state: State::Head }
    }

    /// Between two messages, and nothing of the next one was seen.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.state == State::Head && self.bytes.is_empty()
    }

    /// Within the content of a message.
    pub(crate) fn is_in_body(&self) -> bool {
        self.state != State::Head
    }

    pub(crate) fn begin(&mut self, framing: Framing) {
        self.body.clear();
        self.state = match framing {
            Framing::None => State::Length(0),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
    }

    /// The stream ended; whether that ends the message under way.
    pub(crate) fn finish(&mut self) -> bool {
        let whole = self.state == State::UntilClose;
        if whole {
            self.state = State::Head;
        }
        whole
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let front = self.bytes[..count].to_vec();
        self.bytes.drain(..count);
        front
    }

    /// A line without its end, where it is complete.
    fn line(&mut self) -> Result<Option<String>, String> {
        let Some(end) = memchr::memchr(b'\n', &self.bytes) else { return Ok(None) };
        let mut line = self.take(end + 1);
        line.pop();
        if line.pop() != Some(b'\r') {
            return Err("a line that does not end in CRLF".into());
        }
        String::from_utf8(line).map(Some).map_err(|error| format!("a line of no text: {error}"))
    }

    /// Field lines through the empty line, where they are complete.
    fn section(&mut self) -> Result<Option<Vec<String>>, String> {
        let end = if self.state == State::Trailers && self.bytes.starts_with(b"\r\n") {
            2
        } else {
            match memchr::memmem::find(&self.bytes, b"\r\n\r\n") {
                Some(at) => at + 4,
                None => return Ok(None),
            }
        };
        let text = String::from_utf8(self.take(end)).map_err(|error| format!("no text: {error}"))?;
        Ok(Some(text.split("\r\n").filter(|line| !line.is_empty()).map(str::to_owned).collect()))
    }

    fn content(&mut self, count: usize) -> usize {
        let count = count.min(self.bytes.len());
        self.body.extend_from_slice(&self.bytes[..count]);
        self.bytes.drain(..count);
        count
    }

    /// The next event, where there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            match self.state {
                State::Head => {
                    let Some(mut lines) = self.section()? else { return Ok(None) };
                    if lines.is_empty() {
                        return Err("a head without a start line".into());
                    }
                    let start = lines.remove(0);
                    return Ok(Some(Event::Head(Head { start, fields: fields(&lines)? })));
                }
                State::Length(0) => return Ok(Some(self.end(Vec::new()))),
                State::Length(left) => {
                    let count = self.content(left);
                    self.state = State::Length(left - count);
                    if count == 0 {
                        return Ok(None);
                    }
                }
                State::Size => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    let canonical = line == "0" || !line.starts_with('0');
                    let size = usize::from_str_radix(&line, 16).ok().filter(|_| canonical);
                    match size {
                        None => return Err(format!("bad chunk size {line:?}")),
                        Some(0) => self.state = State::Trailers,
                        Some(size) => self.state = State::Data(size),
                    }
                }
                State::Data(0) => self.state = State::DataEnd,
                State::Data(left) => {
                    let count = self.content(left);
                    self.state = State::Data(left - count);
                    if count == 0 {
                        return Ok(None);
                    }
                }
                State::DataEnd => match self.line()? {
                    None => return Ok(None),
                    Some(line) if line.is_empty() => self.state = State::Size,
                    Some(line) => return Err(format!("{line:?} behind chunk data")),
                },
                State::Trailers => {
                    let Some(lines) = self.section()? else { return Ok(None) };
                    let trailers = fields(&lines)?;
                    return Ok(Some(self.end(trailers)));
                }
                State::UntilClose => {
                    self.content(usize::MAX);
                    return Ok(None);
                }
            }
        }
    }

    fn end(&mut self, trailers: Vec<(String, String)>) -> Event {
        self.state = State::Head;
        Event::End(trailers)
    }
}

fn fields(lines: &[String]) -> Result<Vec<(String, String)>, String> {
    lines
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(": ").ok_or_else(|| format!("bad field line {line:?}"))?;
            Ok((name.to_ascii_lowercase(), value.to_owned()))
        })
        .collect()
}
