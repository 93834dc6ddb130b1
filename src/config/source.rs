//! The text of a file and the places in it: lines, columns, and what of a line is shown. It never knows what the text means.

use super::Accept;
use super::error::{Place, Problem};
use crate::net::file::open_regular;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

/// Octets of a file: a hundred thousand routes are 13 MiB and more, and a path that names a device must not fill the memory
/// (checking takes some five times the file for a moment).
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// Characters of a line that are shown. A longer one is cut around the place, so that it stays on a screen or two.
const SHOWN_CHARS_MAX: usize = 160;

/// Characters shown before the place where a line is cut.
const SHOWN_CHARS_BEFORE: usize = 60;

/// Octets after a place that can be shown: a character has four at most.
const SHOWN_BYTES_AFTER: usize = 4 * (SHOWN_CHARS_MAX + 1);

/// A text with its lines found.
#[derive(Debug)]
pub(super) struct Source<'t> {
    text: &'t str,
    /// Where each line begins, octets; the first is 0.
    line_starts: Vec<usize>,
}

impl<'t> Source<'t> {
    /// Finds the lines of `text`. A byte order mark at its front belongs to no line.
    pub(super) fn new(text: &'t str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let ends = || text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        let mut line_starts = Vec::with_capacity(ends().count() + 1);
        line_starts.push(0);
        line_starts.extend(ends());
        Self { text, line_starts }
    }

    /// The text without its byte order mark: all spans are spans of this.
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// The number of the line at octet `at`, the first being 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= at).max(1)
    }

    /// The place of a span (octets) as it is shown. A span past the end is at the end of the last line that holds
    /// anything; one over many lines is shown on its first.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let mut at = span.start.min(self.text.len());
        if at == self.text.len() {
            at = self.text.trim_end_matches(['\n', '\r']).len();
        }
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let number = self.line(at);
        let start = self.line_starts[number - 1];
        let line = self.text[start..].split('\n').next().unwrap_or("");
        let line = line.strip_suffix('\r').unwrap_or(line);
        let before = self.text[start..at.min(start + line.len())].chars().count();
        let end = span.end.clamp(at, start.saturating_add(line.len()).max(at));
        let marked = self.text.get(at..end).map_or(1, |marked| marked.chars().count()).max(1);
        shown(line, number, before, marked)
    }
}

/// Cuts a long line around the place, and writes what would disturb a terminal as something else.
fn shown(line: &str, number: usize, before: usize, marked: usize) -> Place {
    let chars = line.chars().count();
    let skipped = if chars > SHOWN_CHARS_MAX { before.saturating_sub(SHOWN_CHARS_BEFORE) } else { 0 };
    let mut text: String = line
        .chars()
        .skip(skipped)
        .take(SHOWN_CHARS_MAX)
        .map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    let mut indent = before - skipped;
    if skipped > 0 {
        text.insert(0, '…');
        indent += 1;
    }
    if chars > skipped + SHOWN_CHARS_MAX {
        text.push('…');
    }
    let room = text.chars().count().saturating_sub(indent).max(1);
    Place { line: number, column: before + 1, text, indent, marked: marked.min(room) }
}

/// What was read of the file at `path` as a text, or why it is none.
pub(super) fn text<'b>(path: &Path, bytes: Result<&'b [u8], &io::Error>) -> Result<&'b str, Problem> {
    let bytes = bytes.map_err(|error| Problem {
        place: None,
        what: format!("cannot read `{}`: {}", path.display(), plain(error)),
        hint: match error.kind() {
            io::ErrorKind::NotFound => "name the file with `--config FILE`".to_owned(),
            _ => String::new(),
        },
    })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Problem {
            place: None,
            what: format!("`{}` is larger than {} MiB", path.display(), FILE_BYTES_MAX >> 20),
            hint: "is it the right file?".to_owned(),
        });
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        // Up to the broken octet both texts are the same, so that the place is right in what is shown. No line that is shown is
        // long, so that the rest need not be read.
        let shown = &bytes[..bytes.len().min(at.saturating_add(SHOWN_BYTES_AFTER))];
        let readable = String::from_utf8_lossy(shown);
        let mark = if readable.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let start = at.saturating_sub(mark);
        Problem {
            place: Some(Source::new(&readable).place(&(start..start + 1))),
            what: "not UTF-8".to_owned(),
            hint: "save the file as UTF-8".to_owned(),
        }
    })
}

/// Reads the file at `path`, an octet more than allowed at most.
pub(super) fn read(path: &Path, accept: Accept) -> io::Result<Vec<u8>> {
    let file = match accept {
        Accept::Regular => open_regular(path)?,
        Accept::Any => File::open(path)?,
    };
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // In one go: a growing buffer would be there twice for a moment.
    let size = file.metadata()?.len().min(FILE_BYTES_MAX) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // One octet more than allowed tells a file that is too large from one that just fits.
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The common cases in words of our own, the others in those of the system.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, span: Range<usize>) -> (usize, usize, String, usize, usize) {
        let place = Source::new(text).place(&span);
        (place.line, place.column, place.text, place.indent, place.marked)
    }

    #[test]
    fn counts_lines_and_characters() {
        assert_eq!(at("", 0..0), (1, 1, String::new(), 0, 1));
        assert_eq!(at("ab\ncd", 3..5), (2, 1, "cd".into(), 0, 2));
        assert_eq!(at("ab\r\ncd\r\n", 5..6), (2, 2, "cd".into(), 1, 1));
        assert_eq!(at("äö = 1", 5..6), (1, 4, "äö = 1".into(), 3, 1));
        assert_eq!(at("\u{feff}ab", 1..2), (1, 2, "ab".into(), 1, 1));
    }

    #[test]
    fn stays_inside_the_text() {
        assert_eq!(at("ab\ncd\n\n", 7..7), (2, 3, "cd".into(), 2, 1));
        assert_eq!(at("ab", 90..99), (1, 3, "ab".into(), 2, 1));
        assert_eq!(at("ab\r\ncd", 2..3), (1, 3, "ab".into(), 2, 1));
        assert_eq!(at("ab\r\ncd", 3..4).0, 1);
        assert_eq!(at("a\ncd", 0..4), (1, 1, "a".into(), 0, 1));
        assert_eq!(at("ä", 1..2), (1, 1, "ä".into(), 0, 1));
    }

    #[test]
    fn shows_no_control_byte_and_no_endless_line() {
        assert_eq!(at("a\u{1b}[31m\tb", 0..1).2, "a\u{fffd}[31m\tb");
        let (_, column, text, indent, marked) = at(&"x".repeat(100_000), 50_000..100_000);
        assert_eq!(column, 50_001);
        assert_eq!(text.chars().count(), SHOWN_CHARS_MAX + 2);
        assert!(indent + marked <= text.chars().count());
    }
}
