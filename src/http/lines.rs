//! The positions of a head's field lines, and which lines must be examined when the head is rewritten (RFC
//! 9112 section 5).
//!
//! Most lines of a head have no meaning for Apex and are forwarded unchanged. Runs of them are copied as one
//! piece, so that the cost of a head depends on the few lines that matter, not on all.

use super::field::{Field, Name, classify};

/// Lines that are remembered for examination; a head with more is examined line by line. Real heads have two
/// to five.
const MARKS_MAX: usize = 8;

/// Which lines are examined when a head is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Those that are marked.
    Marked,
    /// All of them.
    Every,
}

/// The treatment of the start line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartLine {
    /// It is forwarded unchanged, in one piece with the fields after it.
    AsItCame,
    /// It has been written already.
    Written,
}

/// A line that may be examined.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// The index of the field.
    pub(super) index: u16,
    /// The name of the field.
    pub(super) name: Name,
    /// It is written as `name: value` and CRLF.
    is_plain: bool,
}

/// The field lines of a head, complete and in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines<'b> {
    /// From the first octet of the head through the empty line that ends it.
    head: &'b [u8],
    /// Lines with a name that Apex knows, or not written as `name: value` and CRLF.
    marks: [Mark; MARKS_MAX],
    /// The number of marked lines; more than [`MARKS_MAX`]: not all are stored.
    count: usize,
    /// The start of the next line if the last one noted is written as `name: value` and CRLF.
    behind: usize,
}

impl<'b> Lines<'b> {
    /// Without any line noted; `head` ends in an empty line.
    pub(super) const fn of(head: &'b [u8]) -> Self {
        let none = Mark { index: 0, name: Name::Other, is_plain: false };
        Self { head, marks: [none; MARKS_MAX], count: 0, behind: 0 }
    }

    /// The head that the lines belong to.
    pub(super) const fn head(&self) -> &'b [u8] {
        self.head
    }

    /// Only the fields are known.
    #[cfg(test)]
    pub(super) const fn unknown() -> Self {
        Self { count: MARKS_MAX + 1, ..Self::of(&[]) }
    }

    /// All lines of these fields.
    #[cfg(test)]
    pub(super) fn noted(head: &'b [u8], fields: &[Field<'b>]) -> Option<Self> {
        let mut lines = Self::of(head);
        for (field, index) in fields.iter().zip(0..) {
            lines.note(index, field, classify(field.name))?;
        }
        lines.end(fields.len());
        Some(lines)
    }

    /// Notes the line at `index`, after all those before it; `None` if the line before ends in a bare LF.
    ///
    /// The parser accepts an LF only at the end of a line, so the octet before each line's LF decides, and no
    /// scan for LF is needed: every LF is right before a field name, or at the head's end.
    #[inline]
    pub(super) fn note(&mut self, index: u16, field: &Field<'b>, name: Name) -> Option<()> {
        let name_at = self.offset(field.name.as_bytes());
        // RFC 9112 section 2.2: a line ends in CRLF; a recipient may accept a bare LF, and Apex does not.
        if self.head.get(name_at.wrapping_sub(2)) != Some(&b'\r') {
            return None;
        }
        if name_at != self.behind && index > 0 {
            self.mark_otherwise_written(index - 1);
        }
        let value_at = name_at + field.name.len() + 2;
        self.behind = value_at + field.value.len() + 2;
        let is_plain = self.offset(field.value) == value_at && self.head.get(value_at - 1) == Some(&b' ');
        if name != Name::Other || !is_plain {
            self.mark(Mark { index, name, is_plain });
        }
        Some(())
    }

    /// All lines were noted; returns their number.
    #[inline]
    pub(super) fn end(&mut self, count: usize) {
        if self.behind + 2 != self.head.len()
            && let Some(last) = count.checked_sub(1)
        {
            self.mark_otherwise_written(u16::try_from(last).unwrap_or(u16::MAX));
        }
    }

    /// The line before the fields, with its CRLF; empty if the head is not known.
    pub(super) fn start_line(&self, fields: &[Field<'b>]) -> &'b [u8] {
        self.head.get(..self.line_at(fields, 0)).unwrap_or_default()
    }

    /// The lines that may be examined; `None` if not all are known.
    #[inline]
    pub(super) fn marks(&self) -> Option<&[Mark]> {
        self.marks.get(..self.count)
    }

    /// Passes on all lines in order: runs without meaning are appended unchanged, every other line is passed
    /// to `look` with its name. A named line that is written as Apex would write it may stay unchanged:
    /// `stays` decides.
    #[inline]
    pub(super) fn pass(
        &self,
        fields: &[Field<'b>],
        which: Look,
        start_line: StartLine,
        out: &mut Vec<u8>,
        mut stays: impl FnMut(Name) -> bool,
        mut look: impl FnMut(&mut Vec<u8>, &Field<'b>, Name),
    ) {
        let mut from = if start_line == StartLine::AsItCame { 0 } else { self.line_at(fields, 0) };
        let Some(marks) = self.marks().filter(|_| which == Look::Marked) else {
            if start_line == StartLine::AsItCame {
                out.extend_from_slice(self.start_line(fields));
            }
            for field in fields {
                look(out, field, classify(field.name));
            }
            return;
        };
        for &Mark { index, name, is_plain } in marks {
            if is_plain && stays(name) {
                continue;
            }
            let index = usize::from(index);
            self.copy(from, self.line_at(fields, index), out);
            look(out, &fields[index], name);
            from = self.line_at(fields, index + 1);
        }
        self.copy(from, self.line_at(fields, fields.len()), out);
    }

    fn copy(&self, from: usize, to: usize, out: &mut Vec<u8>) {
        if from < to {
            out.extend_from_slice(&self.head[from..to]);
        }
    }

    /// The start of that field's line in the head; after the last one, the start of the empty line.
    fn line_at(&self, fields: &[Field<'b>], index: usize) -> usize {
        fields.get(index).map_or(self.head.len().wrapping_sub(2), |field| self.offset(field.name.as_bytes()))
    }

    fn mark(&mut self, mark: Mark) {
        if let Some(place) = self.marks.get_mut(self.count) {
            *place = mark;
        }
        self.count += 1;
    }

    /// The line noted last is not written plainly.
    #[cold]
    fn mark_otherwise_written(&mut self, index: u16) {
        let last = self.count.checked_sub(1).and_then(|last| self.marks.get_mut(last));
        match last.filter(|last| last.index == index) {
            Some(last) => last.is_plain = false,
            None => self.mark(Mark { index, name: Name::Other, is_plain: false }),
        }
    }

    /// The position of `part`, a slice of the head; meaningless for any other slice.
    fn offset(&self, part: &[u8]) -> usize {
        part.as_ptr().addr().wrapping_sub(self.head.as_ptr().addr())
    }
}

#[cfg(test)]
mod tests {
    use super::super::field::slots;
    use super::*;

    /// The result of `pass` for a head: runs unchanged, each examined line in brackets.
    fn passed(head: &str) -> Option<String> {
        passed_but(head, StartLine::Written, &[])
    }

    /// The same, if lines of these names may stay.
    fn passed_but(head: &str, start_line: StartLine, staying: &[Name]) -> Option<String> {
        let mut slots = slots();
        let mut parsed = httparse::Request::new(&mut []);
        let status = parsed.parse_with_uninit_headers(head.as_bytes(), &mut slots).unwrap();
        assert!(status.is_complete());
        let lines = Lines::noted(head.as_bytes(), parsed.headers)?;
        let mut out = Vec::new();
        let stays = |name| staying.contains(&name);
        let look = |out: &mut Vec<u8>, field: &Field<'_>, _| {
            out.extend_from_slice(format!("[{}]", field.name).as_bytes());
        };
        lines.pass(parsed.headers, Look::Marked, start_line, &mut out, stays, look);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn plain_lines_that_mean_nothing_go_on_as_they_came() {
        let cases = [
            ("", ""),
            ("A: b\r\n", "A: b\r\n"),
            ("A: b\r\nC: d e\r\n", "A: b\r\nC: d e\r\n"),
            ("A: b\r\nHost: c\r\nD: e\r\n", "A: b\r\n[Host]D: e\r\n"),
            ("Host: c\r\nTE: x\r\nA: b\r\nVia: c\r\nDate: d\r\n", "[Host][TE]A: b\r\nVia: c\r\n[Date]"),
        ];
        for (fields, expected) in cases {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(passed(&head).as_deref(), Some(expected), "{fields:?}");
        }
    }

    #[test]
    fn lines_written_otherwise_are_looked_at() {
        for odd in ["A:b", "A:  b", "A:\tb", "A: b ", "A: b\t", "A:", "A:b ", "A: \t"] {
            for (head, expected) in [
                (format!("GET / HTTP/1.1\r\n{odd}\r\n\r\n"), "[A]"),
                (format!("GET / HTTP/1.1\r\n{odd}\r\nC: d\r\n\r\n"), "[A]C: d\r\n"),
                (format!("GET / HTTP/1.1\r\nC: d\r\n{odd}\r\n\r\n"), "C: d\r\n[A]"),
                (format!("GET / HTTP/1.1\r\nC: d\r\n{odd}\r\nE: f\r\n\r\n"), "C: d\r\n[A]E: f\r\n"),
            ] {
                assert_eq!(passed(&head).as_deref(), Some(expected), "{head:?}");
            }
        }
    }

    #[test]
    fn a_bare_lf_is_told_wherever_a_line_follows() {
        for head in ["GET / HTTP/1.1\nA: b\r\n\r\n", "GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n"] {
            assert_eq!(passed(head), None, "{head:?}");
        }
    }

    #[test]
    fn a_head_with_more_marks_than_are_remembered_is_looked_at_line_by_line() {
        for count in [0, 1, MARKS_MAX - 1, MARKS_MAX, MARKS_MAX + 1, 300] {
            let fields = "te: b\r\n".repeat(count);
            let out = passed(&format!("GET / HTTP/1.1\r\na: b\r\n{fields}c: d\r\n\r\n")).unwrap();
            let [first, last] = if count > MARKS_MAX { ["[a]", "[c]"] } else { ["a: b\r\n", "c: d\r\n"] };
            assert_eq!(out, format!("{first}{}{last}", "[te]".repeat(count)), "{count}");
        }
    }

    #[test]
    fn a_start_line_goes_on_in_front_of_its_fields() {
        for (fields, expected) in [
            ("", ""),
            ("A: b\r\n", "A: b\r\n"),
            ("Host: c\r\n", "[Host]"),
            ("A: b\r\nHost: c\r\nD: e\r\n", "A: b\r\n[Host]D: e\r\n"),
            (&"te: b\r\n".repeat(MARKS_MAX + 1), &"[te]".repeat(MARKS_MAX + 1)),
        ] {
            let head = format!("GET /a HTTP/1.1\r\n{fields}\r\n");
            let passed = passed_but(&head, StartLine::AsItCame, &[]);
            assert_eq!(passed, Some(format!("GET /a HTTP/1.1\r\n{expected}")), "{fields:?}");
        }
    }

    #[test]
    fn a_line_may_stay_where_it_is_written_plainly() {
        for (fields, expected) in [
            ("Host: c\r\n", "Host: c\r\n"),
            ("Host: c\r\nDate: d\r\n", "Host: c\r\n[Date]"),
            ("A: b\r\nHost: c\r\nTE: d\r\nHost: e\r\n", "A: b\r\nHost: c\r\n[TE]Host: e\r\n"),
            ("Host:c\r\n", "[Host]"),
            ("Host:\tc\r\nA: b\r\n", "[Host]A: b\r\n"),
            ("Host: c \r\n", "[Host]"),
            ("Host: c \r\nHost: d\r\n", "[Host]Host: d\r\n"),
            ("A: b \r\nHost: d\r\n", "[A]Host: d\r\n"),
        ] {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            let passed = passed_but(&head, StartLine::Written, &[Name::Host]);
            assert_eq!(passed.as_deref(), Some(expected), "{fields:?}");
        }
    }

    #[test]
    fn marks_are_told_where_all_are_remembered() {
        let told =
            |lines: &Lines<'_>| lines.marks().map(|marks| marks.iter().map(|mark| mark.name).collect());
        let mut lines = Lines::of(b"");
        assert_eq!(told(&lines), Some(vec![]));
        for count in 1..=MARKS_MAX {
            lines.mark(Mark { index: 0, name: Name::Te, is_plain: true });
            assert_eq!(told(&lines), Some(vec![Name::Te; count]));
        }
        lines.mark(Mark { index: 0, name: Name::Te, is_plain: true });
        assert_eq!((told(&lines), told(&Lines::unknown())), (None, None));
    }
}
