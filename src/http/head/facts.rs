//! The one pass over the fields of a head: framing, persistence, Host, Expect and upgrade (RFC 9110 sections
//! 5, 7 and 10, RFC 9112 sections 6 and 9). It collects; its callers decide.

use super::{Persistence, Version};
use crate::http::field::{Field, Name, classify, elements, is_h2c};
use crate::http::framing::{Codings, ContentLength};
use crate::http::lines::Lines;

/// A field that may occur once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Once<'b> {
    #[default]
    Absent,
    One(&'b [u8]),
    Repeated,
}

impl<'b> Once<'b> {
    fn and(self, value: &'b [u8]) -> Self {
        if self == Self::Absent { Self::One(value) } else { Self::Repeated }
    }
}

/// The connection options that Apex knows (RFC 9110 section 7.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// Options named, known or not.
    pub(super) count: usize,
}

impl Options {
    fn and(mut self, value: &[u8]) -> Self {
        for option in elements(value) {
            self.count += usize::from(!option.is_empty());
            match option.len() {
                5 => self.close |= option.eq_ignore_ascii_case(b"close"),
                7 => self.upgrade |= option.eq_ignore_ascii_case(b"upgrade"),
                10 => self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive"),
                _ => {}
            }
        }
        self
    }

    /// Whether the connection stays open, by version and options.
    pub(super) const fn persistence(self, version: Version) -> Persistence {
        // RFC 9112 section 9.3: close has precedence; otherwise 1.1 persists, and 1.0 does with keep-alive.
        let stays = match version {
            _ if self.close => false,
            Version::Http11 => true,
            Version::Http10 => self.keep_alive,
        };
        if stays { Persistence::KeepAlive } else { Persistence::Close }
    }
}

/// The expectation in `Expect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Expectation {
    #[default]
    Absent,
    Continue,
    Unknown,
}

impl Expectation {
    fn and(self, value: &[u8]) -> Self {
        // RFC 9110 section 10.1.1: 100-continue is the only defined expectation; its case is ignored.
        let known = elements(value).all(|element| element.eq_ignore_ascii_case(b"100-continue"));
        if known && self != Self::Unknown { Self::Continue } else { Self::Unknown }
    }
}

/// The facts in the fields of one head.
#[derive(Debug, Default)]
pub(super) struct Facts<'b> {
    pub(super) codings: Codings,
    pub(super) length: ContentLength,
    pub(super) options: Options,
    pub(super) expectation: Expectation,
    /// `Upgrade` names a protocol other than `h2c`.
    pub(super) upgrade_named: bool,
    pub(super) host: Once<'b>,
    pub(super) max_forwards: Once<'b>,
}

impl<'b> Facts<'b> {
    /// Collects them, and notes their lines: `fields` are slices of the head that `lines` belong to, one a
    /// line. `None` if a line ends in a bare LF.
    pub(super) fn collect(&mut self, lines: &mut Lines<'b>, fields: &[Field<'b>]) -> Option<()> {
        // RFC 9112 section 2.2: a line ends in CRLF; a recipient may accept a bare LF, and Apex does not.
        if !lines.head().ends_with(b"\r\n\r\n") {
            return None;
        }
        for (field, index) in fields.iter().zip(0..) {
            let name = classify(field.name);
            lines.note(index, field, name)?;
            if name != Name::Other {
                self.note(name, field.value);
            }
        }
        lines.end(fields.len());
        Some(())
    }

    #[inline]
    fn note(&mut self, name: Name, value: &'b [u8]) {
        match name {
            Name::Connection => self.options = self.options.and(value),
            Name::ContentLength => self.length = self.length.and(value),
            Name::TransferEncoding => self.codings = self.codings.and(value),
            Name::Host => self.host = self.host.and(value),
            Name::Expect => self.expectation = self.expectation.and(value),
            Name::MaxForwards => self.max_forwards = self.max_forwards.and(value),
            // RFC 9113 section 3.1 removed h2c from HTTP; Apex never speaks it.
            Name::Upgrade => {
                self.upgrade_named |=
                    elements(value).any(|protocol| !protocol.is_empty() && !is_h2c(protocol));
            }
            _ => {}
        }
    }
}
