//! What keys name: a kind of thing.

use crate::base::Key;

/// What a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The system itself ([`crate::net::system::SYSTEM_KEY`]).
    Control = 0,
    /// A listener; its index is its number.
    Listener = 1,
    Client = 2,
    Backend = 3,
    /// An exchange: no event names one, but queues and backend connections do.
    Exchange = 4,
}

impl Kind {
    pub(super) const fn of(key: Key) -> Self {
        match key.tag() {
            0 => Self::Control,
            1 => Self::Listener,
            2 => Self::Client,
            3 => Self::Backend,
            _ => Self::Exchange,
        }
    }

    /// The key of something of this kind that is in no slot map.
    pub(super) const fn key(self, index: u32) -> Key {
        Key::new(self as u8, 0, index)
    }
}
