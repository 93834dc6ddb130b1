//! Where the field lines of a head stand in it, and which of them need a look when the head is written anew
//! (RFC 9112 section 5).
//!
//! Most lines of a head mean nothing to Apex and go on as they came. Runs of them are copied as one piece, so that a head
//! costs by its few lines that matter, and not by all.

use super::field::{Field, Name, classify};

/// Lines that are remembered as worth a look; a head with more of them is looked at line by line. Real ones have two to five.
const MARKS_MAX: usize = 8;

/// Which lines are looked at when a head is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Those that are known to need it.
    Marked,
    /// Every one.
    Every,
}

/// The field lines of a head, whole and in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines<'b> {
    /// From the first octet of the head through the empty line that ends it.
    head: &'b [u8],
    /// Lines that have a name that Apex knows, or are not written as `name: value` and CRLF: their index and name.
    marks: [(u16, Name); MARKS_MAX],
    /// How many those are; more than [`MARKS_MAX`]: not all are told.
    count: usize,
    /// Where the next line begins if the last one noted is written like that.
    behind: usize,
}

impl<'b> Lines<'b> {
    /// No line noted yet; `head` ends in an empty line.
    pub(super) const fn of(head: &'b [u8]) -> Self {
        Self { head, marks: [(0, Name::Other); MARKS_MAX], count: 0, behind: 0 }
    }

    /// The head that they are of.
    pub(super) const fn head(&self) -> &'b [u8] {
        self.head
    }

    /// Nothing is known but the fields.
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

    /// Notes the line at `index`, behind all those before it; `None` where the line before ends in a bare LF.
    ///
    /// The parser takes an LF at the end of a line only, so the octet before each line's LF tells, and no scan for LF is
    /// needed: every LF stands right before a field name, or at the head's end.
    #[inline]
    pub(super) fn note(&mut self, index: u16, field: &Field<'b>, name: Name) -> Option<()> {
        let name_at = self.offset(field.name.as_bytes());
        // RFC 9112 section 2.2: a line ends in CRLF; a bare LF, which may be taken as a line's end, is not.
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
            self.mark(index, name);
        }
        Some(())
    }

    /// All lines were noted, so many.
    #[inline]
    pub(super) fn end(&mut self, count: usize) {
        if self.behind + 2 != self.head.len()
            && let Some(last) = count.checked_sub(1)
        {
            self.mark_otherwise_written(u16::try_from(last).unwrap_or(u16::MAX));
        }
    }

    /// Hands on all lines in their order: runs of those that mean nothing are appended as they came, each other one is given to
    /// `look` with what its name is.
    #[inline]
    pub(super) fn pass(
        &self,
        fields: &[Field<'b>],
        which: Look,
        out: &mut Vec<u8>,
        mut look: impl FnMut(&mut Vec<u8>, &Field<'b>, Name),
    ) {
        let mut next = 0;
        for (index, name) in self.marked(fields, which) {
            self.copy(fields, next, index, out);
            look(out, &fields[index], name);
            next = index + 1;
        }
        self.copy(fields, next, fields.len(), out);
    }

    /// The lines to look at, and what their names are.
    #[inline]
    pub(super) fn marked(&self, fields: &[Field<'b>], which: Look) -> impl Iterator<Item = (usize, Name)> {
        let every = which == Look::Every || self.count > MARKS_MAX;
        (0..if every { fields.len() } else { self.count }).map(move |at| {
            if every {
                (at, classify(fields[at].name))
            } else {
                let (index, name) = self.marks[at];
                (usize::from(index), name)
            }
        })
    }

    fn copy(&self, fields: &[Field<'b>], from: usize, to: usize, out: &mut Vec<u8>) {
        if from == to {
            return;
        }
        let start = self.offset(fields[from].name.as_bytes());
        let end = fields.get(to).map_or(self.head.len() - 2, |field| self.offset(field.name.as_bytes()));
        out.extend_from_slice(&self.head[start..end]);
    }

    fn mark(&mut self, index: u16, name: Name) {
        if let Some(mark) = self.marks.get_mut(self.count) {
            *mark = (index, name);
        }
        self.count += 1;
    }

    /// Marks the line noted last, unless it is marked already.
    #[cold]
    fn mark_otherwise_written(&mut self, index: u16) {
        let last = self.count.checked_sub(1).and_then(|last| self.marks.get(last));
        if last.is_none_or(|&(last, _)| last != index) {
            self.mark(index, Name::Other);
        }
    }

    /// Where `part`, a slice of the head, begins in it; anything for another slice.
    fn offset(&self, part: &[u8]) -> usize {
        part.as_ptr().addr().wrapping_sub(self.head.as_ptr().addr())
    }
}

#[cfg(test)]
mod tests {
    use super::super::field::slots;
    use super::*;

    /// What `pass` makes of a head: runs as they are, each line that is looked at in brackets.
    fn passed(head: &str) -> Option<String> {
        let mut slots = slots();
        let mut parsed = httparse::Request::new(&mut []);
        let status = parsed.parse_with_uninit_headers(head.as_bytes(), &mut slots).unwrap();
        assert!(status.is_complete());
        let lines = Lines::noted(head.as_bytes(), parsed.headers)?;
        let mut out = Vec::new();
        lines.pass(parsed.headers, Look::Marked, &mut out, |out, field, _| {
            out.extend_from_slice(format!("[{}]", field.name).as_bytes());
        });
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
    fn names_are_told_whether_remembered_or_not() {
        let fields = [
            Field { name: "Host", value: b"" },
            Field { name: "x", value: b"" },
            Field { name: "TE", value: b"" },
        ];
        let every = [(0, Name::Host), (1, Name::Other), (2, Name::Te)];
        assert_eq!(Lines::unknown().marked(&fields, Look::Marked).collect::<Vec<_>>(), every);
        assert_eq!(Lines::of(b"").marked(&fields, Look::Every).collect::<Vec<_>>(), every);
        assert_eq!(Lines::of(b"").marked(&fields, Look::Marked).count(), 0);
    }
}
