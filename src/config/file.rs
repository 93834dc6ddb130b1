//! The walk through a file's tables: which keys there are, of which type, and where they stand. What the values mean is
//! judged in `check` and `routes`.
//!
//! One derived structure for the whole file would end at the first error, and a user with three wrong keys would come
//! back three times. So the tables are walked here, over the spanned tree of `toml`, and `serde` reads each single value:
//! a value that is wrong becomes a problem, and the walk goes on with the next.

use super::error::{PROBLEMS_MAX, Problem, Problems};
use super::foreign::{bytes_hint, key_hint, seconds_hint};
use super::nearest::nearest;
use super::pieces::PIECE_BYTES_MAX;
use super::source::Source;
use serde::de::{DeserializeOwned, IntoDeserializer};
use std::collections::HashSet;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A kind of table: its name for messages, and its keys.
#[derive(Debug)]
pub(super) struct Shape {
    /// Its TOML path; empty for the file itself.
    pub(super) path: &'static str,
    /// Where a key of it stands, in words.
    pub(super) place: &'static str,
    /// Every key that it may hold.
    pub(super) keys: &'static [&'static str],
}

/// The file itself.
pub(super) const FILE: Shape =
    Shape { path: "", place: "at the top of the file", keys: &["server", "routes"] };

/// `[server]`.
pub(super) const SERVER: Shape = Shape {
    path: "server",
    place: "in `[server]`",
    keys: &[
        "listen",
        "workers",
        "timeout_secs",
        "access_log",
        "header_timeout_secs",
        "idle_timeout_secs",
        "connect_timeout_secs",
        "backend_idle_timeout_secs",
        "shutdown_timeout_secs",
        "shutdown_delay_secs",
        "upgrade_timeout_secs",
        "head_bytes_max",
        "fields_max",
        "target_bytes_max",
        "body_bytes_max",
        "tunnel_timeout_secs",
        "connections_max",
        "trusted_proxies",
        "via",
        "request_id",
        "watch",
        "pid_file",
    ],
};

/// One of `[[routes]]`.
pub(super) const ROUTE: Shape = Shape {
    path: "routes",
    place: "in `[[routes]]`",
    keys: &[
        "name",
        "host",
        "path_prefix",
        "strip_prefix",
        "load_balancing",
        "timeout_secs",
        "connect_timeout_secs",
        "tunnel_timeout_secs",
        "body_bytes_max",
        "retries_max",
        "backends",
    ],
};

/// One of a route's backends.
pub(super) const BACKEND: Shape =
    Shape { path: "routes.backends", place: "in a backend", keys: &["url", "weight"] };

/// Every kind of table.
pub(super) const SHAPES: [&Shape; 4] = [&FILE, &SERVER, &ROUTE, &BACKEND];

/// A table under the walk. Keys are taken out of it; what is left in the end is unknown.
#[derive(Debug)]
pub(super) struct Section<'t> {
    shape: &'static Shape,
    table: DeTable<'t>,
    /// Its header, or the braces of an inline table.
    pub(super) span: Range<usize>,
}

impl<'t> Section<'t> {
    /// Takes the value of `key`, if there is one.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        debug_assert!(self.shape.keys.contains(&key), "`{key}` is missing in the list of keys");
        self.table.remove(key)
    }
}

/// How sure a problem is in a file whose syntax is broken somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The text is not TOML there.
    Syntax,
    /// A value is wrong: certain, unless the syntax is broken on the same line.
    Value,
    /// Something is not there: with broken syntax it may well stand in the part that could not be read.
    Absence,
}

/// Problems that are kept until the end of a walk. They come in the order of the walk, not of the file: so more are kept
/// than are told, and yet a file of millions of wrong values does not fill the memory.
const FOUND_MAX: usize = 100 * PROBLEMS_MAX;

#[derive(Debug)]
struct Found {
    kind: Kind,
    span: Range<usize>,
    what: String,
    hint: String,
}

/// A walk under way, with the problems found so far.
#[derive(Debug)]
pub(super) struct Walk<'t> {
    source: &'t Source<'t>,
    /// What is walked through now: the text of the file, or a piece of it.
    text: &'t str,
    /// Where each part of it stands: its offset in `text`, and in the file.
    segments: Vec<(usize, usize)>,
    /// At most [`FOUND_MAX`].
    found: Vec<Found>,
    /// Problems beyond those.
    unkept: usize,
}

impl<'t> Walk<'t> {
    /// A walk through a file.
    pub(super) fn begin(source: &'t Source<'t>) -> Self {
        Self { source, text: "", segments: Vec::new(), found: Vec::new(), unkept: 0 }
    }

    /// Parses a text, and goes on at its root: the file, or a piece of it, whose parts stand at these offsets (in the text, and in
    /// the file).
    pub(super) fn open(&mut self, text: &'t str, segments: Vec<(usize, usize)>) -> Section<'t> {
        (self.text, self.segments) = (text, segments);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let span = error.span().unwrap_or_default();
            let (what, hint) = syntax_words(error.message(), text.get(span.clone()).unwrap_or(""));
            self.note(Found { kind: Kind::Syntax, span, what, hint });
        }
        let span = root.span();
        Section { shape: &FILE, table: root.into_inner(), span }
    }

    /// As [`Walk::open`], of a piece of a large file: of one that is too long, only the errors at its front are told.
    pub(super) fn open_bounded(&mut self, text: &'t str, segments: Vec<(usize, usize)>) -> Section<'t> {
        if text.len() <= PIECE_BYTES_MAX {
            return self.open(text, segments);
        }
        let cut = text.as_bytes()[..PIECE_BYTES_MAX].iter().rposition(|&octet| octet == b'\n');
        let cut = cut.map_or(0, |at| at + 1);
        let place = if text.trim_start().starts_with("[[routes") {
            "in one route"
        } else {
            "outside of `[[routes]]`"
        };
        let mut root = self.open(&text[..cut], segments);
        root.table.clear();
        self.text = text;
        let span = cut..cut + text[cut..].find('\n').unwrap_or(text.len() - cut).max(1);
        let what = format!("more than {} KiB {place}", PIECE_BYTES_MAX >> 10);
        self.note(Found { kind: Kind::Value, span, what, hint: "is it the right file?".to_owned() });
        root
    }

    /// Where an offset of the text stands in the file.
    fn offset(&self, at: usize) -> usize {
        let after = self.segments.partition_point(|&(start, _)| start <= at);
        let segment = after.checked_sub(1).and_then(|index| self.segments.get(index));
        segment.map_or(at, |&(start, there)| there + (at - start))
    }

    /// Ends the walk: `None` where nothing was wrong.
    pub(super) fn end(self, file: &str) -> Option<Problems> {
        let Self { source, mut found, unkept, .. } = self;
        let line = |found: &Found| source.line(found.span.start);
        let broken: HashSet<usize> =
            found.iter().filter(|found| found.kind == Kind::Syntax).map(line).collect();
        if !broken.is_empty() {
            found.retain(|found| match found.kind {
                Kind::Syntax => true,
                // The parser puts an empty value at the very front where it could not read one.
                Kind::Value => !found.span.is_empty() && !broken.contains(&line(found)),
                Kind::Absence => false,
            });
        }
        found.sort_by_key(|found| found.span.start);
        // A second syntax error of one line is an echo of the first.
        found.dedup_by(|next, first| {
            next.kind == Kind::Syntax && first.kind == Kind::Syntax && line(next) == line(first)
        });
        let untold = found.len().saturating_sub(PROBLEMS_MAX) + unkept;
        let told: Vec<Problem> = found
            .into_iter()
            .take(PROBLEMS_MAX)
            .map(|found| Problem {
                place: Some(source.place(&found.span)),
                what: printable(found.what),
                hint: printable(found.hint),
            })
            .collect();
        (!told.is_empty()).then(|| Problems { file: file.to_owned(), told, untold })
    }

    /// The number of the line at octet `at`.
    pub(super) fn line(&self, at: usize) -> usize {
        self.source.line(self.offset(at))
    }

    fn note(&mut self, mut found: Found) {
        let start = self.offset(found.span.start);
        found.span = start..start + found.span.len();
        if self.found.len() < FOUND_MAX {
            self.found.push(found);
        } else {
            self.unkept += 1;
        }
    }

    /// Notes a wrong value.
    pub(super) fn wrong(&mut self, span: Range<usize>, what: impl Into<String>, hint: impl Into<String>) {
        self.note(Found { kind: Kind::Value, span, what: what.into(), hint: hint.into() });
    }

    /// Notes that something required is not there.
    pub(super) fn absent(&mut self, span: Range<usize>, what: impl Into<String>, hint: impl Into<String>) {
        self.note(Found { kind: Kind::Absence, span, what: what.into(), hint: hint.into() });
    }

    /// Notes a value of the wrong type.
    pub(super) fn wrong_type(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        hint: impl Into<String>,
    ) {
        let what = format!("expected {expected}, found {}", type_words(value.get_ref()));
        self.wrong(value.span(), what, hint);
    }

    /// Reads one value; a wrong type is noted.
    pub(super) fn value<T: DeserializeOwned>(
        &mut self,
        value: Spanned<DeValue<'t>>,
        expected: &str,
    ) -> Option<Spanned<T>> {
        let span = value.span();
        let hint = quotes_hint(value.get_ref(), self.text.get(span.clone()).unwrap_or(""), expected);
        self.value_or(value, expected, hint)
    }

    /// Reads one value; of a wrong type that is noted, with this hint.
    fn value_or<T: DeserializeOwned>(
        &mut self,
        value: Spanned<DeValue<'t>>,
        expected: &str,
        hint: String,
    ) -> Option<Spanned<T>> {
        let (span, found) = (value.span(), type_words(value.get_ref()));
        if let Ok(read) = T::deserialize(value.into_deserializer()) {
            return Some(Spanned::new(span, read));
        }
        self.wrong(span, format!("expected {expected}, found {found}"), hint);
        None
    }

    /// Text, if the key is there.
    pub(super) fn text(&mut self, section: &mut Section<'t>, key: &'static str) -> Option<Spanned<String>> {
        let value = section.take(key)?;
        self.value(value, "text in quotes")
    }

    /// `true` or `false`, or `default` where the key is not there.
    pub(super) fn flag(&mut self, section: &mut Section<'t>, key: &'static str, default: bool) -> bool {
        let read = section.take(key).and_then(|value| self.value(value, "`true` or `false`"));
        read.map_or(default, Spanned::into_inner)
    }

    /// A whole number within `range`, if the key is there.
    pub(super) fn whole(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
        range: RangeInclusive<u64>,
        hint: &str,
    ) -> Option<Spanned<u64>> {
        let value = section.take(key)?;
        let span = value.span();
        // Past 64 bits no number is within any range, whether `serde` can still hold it or not.
        let read = match value.get_ref() {
            DeValue::Integer(_) => i128::deserialize_value(value),
            DeValue::String(text) if key.ends_with("_bytes_max") && bytes_hint(text).is_some() => {
                let hint = bytes_hint(text).unwrap_or_default();
                Some(self.value_or::<i128>(value, "a whole number", hint)?.into_inner())
            }
            _ => Some(self.value::<i128>(value, "a whole number")?.into_inner()),
        };
        let within =
            read.and_then(|number| u64::try_from(number).ok()).filter(|number| range.contains(number));
        if within.is_none() {
            self.wrong(span.clone(), format!("`{key}` is out of range"), hint);
        }
        within.map(|number| Spanned::new(span, number))
    }

    /// A time within `range` (seconds, with or without a fraction), if the key is there.
    pub(super) fn seconds(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
        range: &RangeInclusive<f64>,
    ) -> Option<Duration> {
        let value = section.take(key)?;
        let span = value.span();
        let read = match value.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) => f64::deserialize_value(value),
            DeValue::String(text) if seconds_hint(text).is_some() => {
                let hint = seconds_hint(text).unwrap_or_default();
                Some(self.value_or::<f64>(value, "a number of seconds", hint)?.into_inner())
            }
            _ => Some(self.value::<f64>(value, "a number of seconds")?.into_inner()),
        };
        // Not a number is within no range.
        let within = read.filter(|seconds| range.contains(seconds)).map(Duration::from_secs_f64);
        if within.is_none() {
            let hint = format!("a number of seconds from {} to {}", range.start(), range.end());
            self.wrong(span, format!("`{key}` is out of range"), hint);
        }
        within
    }

    /// The table that `value` holds; something else is noted.
    pub(super) fn section(
        &mut self,
        value: Spanned<DeValue<'t>>,
        shape: &'static Shape,
        hint: &str,
    ) -> Option<Section<'t>> {
        if !value.get_ref().is_table() {
            self.wrong_type(&value, "a table", hint);
            return None;
        }
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Section { shape, table, span }),
            _ => None,
        }
    }

    /// Ends a table: each key left in it is unknown.
    pub(super) fn close(&mut self, section: Section<'t>) {
        for (key, _) in section.table {
            let hint = unknown_hint(key.get_ref(), section.shape);
            self.wrong(key.span(), format!("unknown key {}", quoted(key.get_ref())), hint);
        }
    }
}

/// The entries of a list; none where it is no list.
pub(super) fn entries(value: Spanned<DeValue<'_>>) -> Vec<Spanned<DeValue<'_>>> {
    match value.into_inner() {
        DeValue::Array(entries) => entries.into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Reads a value whose type was looked at before.
trait DeserializeValue: DeserializeOwned {
    fn deserialize_value(value: Spanned<DeValue<'_>>) -> Option<Self> {
        Self::deserialize(value.into_deserializer()).ok()
    }
}

impl<T: DeserializeOwned> DeserializeValue for T {}

/// Text of the file within a message: without control characters, and not endless.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut short: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

/// Messages repeat what the file holds: a control character in it must reach neither a terminal nor a line of the log.
fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    shown
}

/// What to do about a key that `shape` does not have.
fn unknown_hint(key: &str, shape: &Shape) -> String {
    let elsewhere = SHAPES.into_iter().find(|other| other.keys.contains(&key));
    if let Some(hint) = key_hint(key).filter(|_| elsewhere.is_none()) {
        return hint.to_owned();
    }
    if let Some(known) = nearest(key, shape.keys) {
        // `timeout_secs` in a route is near nothing there; but a key that is right elsewhere is no slip of the fingers.
        if elsewhere.is_none() {
            return format!("did you mean `{known}`?");
        }
    }
    match elsewhere {
        Some(other) => format!("`{key}` belongs {}", other.place),
        None => format!("the keys {} are {}", shape.place, shape.keys.join(", ")),
    }
}

/// A value's type in words.
fn type_words(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Quotes too many or too few are the commonest wrong type.
fn quotes_hint(value: &DeValue<'_>, written: &str, expected: &str) -> String {
    match value {
        DeValue::String(text) => match text.trim() {
            "true" | "false" => format!("write {} without quotes", text.trim()),
            number if number.parse::<f64>().is_ok() => format!("write {number} without quotes"),
            _ => String::new(),
        },
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) if expected.contains("quotes") => {
            format!("write \"{written}\"")
        }
        _ => String::new(),
    }
}

/// The parser's message in two parts, what and hint; `written` is the text that it stopped at.
fn syntax_words(message: &str, written: &str) -> (String, String) {
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let hint = match (what, written.trim()) {
        ("duplicate key", _) => "a key or `[table]` stands once".to_owned(),
        ("unexpected leading zero", _) => "write the number without it".to_owned(),
        ("string values must be quoted", "") => "the value is missing".to_owned(),
        ("string values must be quoted" | "invalid boolean", word) => word_hint(word),
        ("invalid float", word) if word.starts_with(char::is_alphabetic) => word_hint(word),
        _ if expected.is_empty() || expected == "nothing" => String::new(),
        _ => format!("expected {expected}"),
    };
    (format!("not TOML: {what}"), hint)
}

/// What was meant by a word that stands where a value should.
fn word_hint(word: &str) -> String {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => "write `true`".to_owned(),
        "false" | "no" | "off" => "write `false`".to_owned(),
        _ if word.starts_with(|c: char| c.is_ascii_digit()) && !word.contains(['.', ':', '/']) => {
            "a number stands alone, without a unit".to_owned()
        }
        _ => "text stands in quotes: \"…\"".to_owned(),
    }
}
