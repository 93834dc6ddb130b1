//! Kinds of objects that keys name.

use crate::base::Key;

/// The kind of object that a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The system itself ([`crate::net::system::SYSTEM_KEY`]).
    Control = 0,
    /// A listener; the index of the key is the listener's number.
    Listener = 1,
    Client = 2,
    Backend = 3,
    /// An exchange. Events never name one; queues and backend connections do.
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

    /// The key of an object of this kind that is in no slot map.
    pub(super) const fn key(self, index: u32) -> Key {
        Key::new(self as u8, 0, index)
    }
}
