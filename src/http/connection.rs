//! The fields that a head's Connection fields name, which end at this hop (RFC 9110 section 7.6.1).
//!
//! Only collects the names; `forward` decides which named fields Apex keeps because it relies on them.

use super::field::{Field, Name, classify};
use super::limits::CONNECTION_NAMES_MAX;
use super::lines::{Lines, Look};
use super::octet;

/// The names listed by Connection, without those that need no lookup because they are never forwarded, or are
/// no fields.
#[derive(Debug)]
pub(super) struct Named<'b> {
    names: [&'b str; CONNECTION_NAMES_MAX],
    count: usize,
}

/// The names in the head's Connection fields; `None`, the common case, needs no lookup at all.
#[inline]
pub(super) fn named<'b>(fields: &[Field<'b>], lines: &Lines<'b>) -> Option<Named<'b>> {
    let mut named = None;
    let mut look = |name, field: &Field<'b>| {
        if name == Name::Connection && !is_plain(field.value) {
            collect(field.value, &mut named);
        }
    };
    match lines.marks() {
        Some(marks) => marks.iter().for_each(|mark| look(mark.name, &fields[usize::from(mark.index)])),
        None => fields.iter().for_each(|field| look(classify(field.name), field)),
    }
    named
}

/// The lines to examine: every line, if Connection names any field.
pub(super) const fn look(named: Option<&Named<'_>>) -> Look {
    if named.is_some() { Look::Every } else { Look::Marked }
}

/// The two values of most Connection fields; neither names a field that would have to be looked up.
fn is_plain(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

fn collect<'b>(value: &'b [u8], named: &mut Option<Named<'b>>) {
    for option in octet::list(value) {
        // Text that is not UTF-8 is no token, so no field has that name.
        if let Ok(option) = std::str::from_utf8(option)
            && needs_look_up(option)
        {
            named.get_or_insert_with(Named::empty).add(option);
        }
    }
}

fn needs_look_up(option: &str) -> bool {
    match classify(option) {
        // Never forwarded unchanged, named or not.
        Name::Connection
        | Name::ContentLength
        | Name::KeepAlive
        | Name::ProxyConnection
        | Name::ProxyCredentials
        | Name::Te
        | Name::TransferEncoding
        | Name::Upgrade => false,
        _ => !option.eq_ignore_ascii_case("close"),
    }
}

impl<'b> Named<'b> {
    const fn empty() -> Self {
        Self { names: [""; CONNECTION_NAMES_MAX], count: 0 }
    }

    fn add(&mut self, name: &'b str) {
        // `head` refuses a head that names more.
        debug_assert!(
            self.count < CONNECTION_NAMES_MAX,
            "a head with too many connection options was accepted"
        );
        if let Some(slot) = self.names.get_mut(self.count) {
            *slot = name;
            self.count += 1;
        }
    }

    /// Whether the field of that name ends at this hop.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.names.iter().take(self.count).any(|named| named.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'b>(values: &[&'b str]) -> Vec<Field<'b>> {
        values.iter().map(|value| Field { name: "CONNECTION", value: value.as_bytes() }).collect()
    }

    #[test]
    fn common_options_need_no_look_up() {
        for values in [
            &[][..],
            &["close"],
            &["Keep-Alive"],
            &["keep-alive, Upgrade"],
            &["TE", "Proxy-Connection,close"],
            &["Transfer-Encoding, Content-Length, connection"],
            &[" , ,"],
        ] {
            assert!(named(&fields(values), &Lines::unknown()).is_none(), "{values:?}");
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_any_line() {
        let fields = fields(&["close", "X-One ,\tx-two", "x-three,close"]);
        let named = named(&fields, &Lines::unknown()).unwrap();
        for name in ["x-one", "X-TWO", "X-Three"] {
            assert!(named.holds(name), "{name}");
        }
        for name in ["x-on", "x-one2", "close", ""] {
            assert!(!named.holds(name), "{name}");
        }
    }

    #[test]
    fn as_many_as_a_head_may_name_are_found() {
        let full: Vec<String> = (0..CONNECTION_NAMES_MAX).map(|number| format!("x-{number}")).collect();
        let value = full.join(",");
        let fields = fields(&[&value, "close"]);
        let named = named(&fields, &Lines::unknown()).unwrap();
        assert!(full.iter().all(|name| named.holds(name)) && !named.holds("other"));
    }
}
