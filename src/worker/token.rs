//! What the tokens of epoll name: a kind of thing, its slot and its generation.

use crate::base::Key;
use mio::Token;

/// What a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The waker, or the alarm.
    Control = 0,
    /// A listener; its index is its number.
    Listener = 1,
    Client = 2,
    Backend = 3,
}

impl Kind {
    pub(super) const fn of(key: Key) -> Self {
        match key.tag() {
            0 => Self::Control,
            1 => Self::Listener,
            2 => Self::Client,
            _ => Self::Backend,
        }
    }

    /// The key of something of this kind that is in no slot map.
    pub(super) const fn key(self, index: u32) -> Key {
        Key::new(self as u8, 0, index)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a word has 64 bits: `lib.rs` holds that")]
pub(super) const fn token(key: Key) -> Token {
    Token(key.bits() as usize)
}

pub(super) const fn key(token: Token) -> Key {
    Key::from_bits(token.0 as u64)
}
