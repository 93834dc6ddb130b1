//! A large file in pieces: one for each `[[routes]]`, and one for all else. A tree of the parser takes thirty times its text and
//! more, and seventy times where the text is broken; so of a large file there is only that of one piece at a time.
//!
//! It finds lines and headers, and leaves the rest to the parser.

use std::ops::Range;

/// Octets of a file that is parsed as one. A larger one is parsed in pieces.
pub(super) const WHOLE_BYTES_MAX: usize = 256 * 1024;

/// Octets of a piece. A route with ten thousand backends is smaller; more than this is not parsed to its end.
pub(super) const PIECE_BYTES_MAX: usize = 512 * 1024;

/// Where the pieces of a text stand, octets. Together they are all of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    /// What belongs to no route, in the order of the text.
    pub(super) main: Vec<Range<usize>>,
    /// A route each, from its header to the next one of another table.
    pub(super) routes: Vec<Range<usize>>,
}

/// What a line does to the piece that it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// It belongs to the same piece.
    More,
    /// `[[routes]]`: a route begins.
    Route,
    /// Another table begins.
    Main,
}

impl Pieces {
    /// Finds the pieces of `text`.
    pub(super) fn of(text: &str) -> Self {
        let mut pieces = Self::default();
        let (mut begin, mut is_route) = (0, false);
        let mut open = None;
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let what = if open.is_none() { line_of(line) } else { Line::More };
            open = after_line(line, open);
            if what != Line::More {
                pieces.put(begin..at, is_route);
                (begin, is_route) = (at, what == Line::Route);
            }
            at += line.len();
        }
        pieces.put(begin..at, is_route);
        pieces
    }

    fn put(&mut self, range: Range<usize>, is_route: bool) {
        if !range.is_empty() {
            let pieces = if is_route { &mut self.routes } else { &mut self.main };
            pieces.push(range);
        }
    }

    /// The text that belongs to no route, in one, and where each part of it stands: its offset here, and in the file. No more is
    /// taken than it needs to be seen that it is too long.
    pub(super) fn main_of(&self, text: &str) -> (String, Vec<(usize, usize)>) {
        let (mut main, mut segments) = (String::new(), Vec::new());
        for range in &self.main {
            let room = (2 * PIECE_BYTES_MAX).saturating_sub(main.len());
            let mut end = range.end.min(range.start + room);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            segments.push((main.len(), range.start));
            main.push_str(&text[range.start..end]);
        }
        (main, segments)
    }
}

/// What a line is that does not begin within a text of several lines.
///
/// A name in brackets at the front of a line is a header wherever it stands: within a list it would be no value. Numbers, truth
/// values and what is quoted may be one, so that they are left to the parser.
fn line_of(line: &str) -> Line {
    let Some(rest) = line.trim_start_matches([' ', '\t']).strip_prefix('[') else { return Line::More };
    let (is_list, rest) = match rest.strip_prefix('[') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let Some((name, rest)) = rest.split_once(']') else { return Line::More };
    let rest = if is_list { rest.strip_prefix(']') } else { Some(rest) };
    let ends_there = rest.is_some_and(|rest| {
        let rest = rest.trim_start();
        rest.is_empty() || rest.starts_with('#')
    });
    let mut words = name.split('.').map(|word| word.trim_matches([' ', '\t']));
    let Some(first) = words.next().filter(|word| is_name(word) && ends_there) else { return Line::More };
    match (first, words.next()) {
        ("routes", None) if is_list => Line::Route,
        ("routes", Some(_)) => Line::More,
        _ => Line::Main,
    }
}

/// Is it a bare key that cannot be a value?
fn is_name(word: &str) -> bool {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(is_bare)
        && !["true", "false", "inf", "nan"].contains(&word)
}

/// Which text of several lines is open after a line: its three quotes.
fn after_line(line: &str, mut open: Option<&'static str>) -> Option<&'static str> {
    let mut rest = line;
    loop {
        if let Some(quotes) = open {
            let Some(end) = end_of_text(rest, quotes) else { return open };
            // A quote or two right before the end belong to the text.
            let after = rest[end..].trim_start_matches(&quotes[..1]);
            rest = &rest[(rest.len() - after.len()).min(end + quotes.len() + 2)..];
            open = None;
            continue;
        }
        let at = rest.find(['"', '\'', '#'])?;
        rest = &rest[at..];
        if rest.starts_with('#') {
            return None;
        }
        if let Some(quotes) = ["\"\"\"", "'''"].into_iter().find(|quotes| rest.starts_with(quotes)) {
            open = Some(quotes);
            rest = &rest[quotes.len()..];
        } else {
            let (quote, inside) = rest.split_at(1);
            // One that is not closed ends with its line.
            rest = &inside[end_of_text(inside, quote)? + 1..];
        }
    }
}

/// Where a text ends that is opened by these quotes: only in one of double quotes does `\` take the next character along.
fn end_of_text(text: &str, quotes: &str) -> Option<usize> {
    let octets = text.as_bytes();
    let mut at = 0;
    while at < octets.len() {
        match octets[at] {
            b'\\' if quotes.starts_with('"') => at += 2,
            _ if octets[at..].starts_with(quotes.as_bytes()) => return Some(at),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> (Vec<&str>, Vec<&str>) {
        let pieces = Pieces::of(text);
        let texts = |ranges: &[Range<usize>]| ranges.iter().map(|range| &text[range.clone()]).collect();
        (texts(&pieces.main), texts(&pieces.routes))
    }

    #[test]
    fn lines_are_headers_or_none() {
        for (line, what) in [
            ("[[routes]]", Line::Route),
            (" [[ routes ]]  # here\r\n", Line::Route),
            ("[[routes.backends]]", Line::More),
            ("[routes.x]", Line::More),
            ("[routes]", Line::Main),
            ("[server]", Line::Main),
            ("[[other.thing]]", Line::Main),
            ("[[routes]], ", Line::More),
            ("[\"server\"]", Line::More),
            ("[1]", Line::More),
            ("[true]", Line::More),
            ("[[routes]", Line::More),
            ("name = [[routes]]", Line::More),
            ("", Line::More),
        ] {
            assert_eq!(line_of(line), what, "{line}");
        }
    }

    #[test]
    fn each_route_is_a_piece() {
        let text =
            "# x\n[[routes]]\nname = 1\n[[routes.backends]]\nurl = 2\n[server]\na = 1\n[[routes]]\nb = 2";
        let (main, routes) = split(text);
        assert_eq!(main, ["# x\n", "[server]\na = 1\n"]);
        assert_eq!(routes, ["[[routes]]\nname = 1\n[[routes.backends]]\nurl = 2\n", "[[routes]]\nb = 2"]);
        let (main, segments) = Pieces::of(text).main_of(text);
        assert_eq!((main.as_str(), &segments[..]), ("# x\n[server]\na = 1\n", &[(0, 0), (4, 52)][..]));
        assert_eq!(split(""), (vec![], vec![]));
    }

    #[test]
    fn what_stands_in_a_text_is_no_header() {
        for text in [
            "a = \"\"\"\n[[routes]]\n\"\"\"\n",
            "a = '''\n[[routes]]\n\\'''\n",
            "a = \"\"\"x\\\"\"\"\n[[routes]]\n\"\"\"\n",
            "a = \"\"\"\"\"\"\nb = '''\n[[routes]]\n'''''\n",
            "a = '\"\"\"' # \"\"\"\nb = \"'''\"\nc = \"\"\"\n[[routes]]",
        ] {
            assert_eq!(split(text), (vec![text], vec![]), "{text}");
        }
        let text = "a = '\"\"\"' # '''\nb = \"open\nc = \"\\\"\"\n[[routes]]\n";
        assert_eq!(split(text).1, ["[[routes]]\n"]);
        // A list that is not closed ends with the next header.
        assert_eq!(split("a = [\n[1],\n[[routes]]\n").1, ["[[routes]]\n"]);
    }
}
