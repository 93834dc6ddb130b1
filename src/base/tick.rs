//! Time as the pure floors know it: given to them, never asked for.

use std::time::Duration;

/// Microseconds on the process clock, which starts with the process and never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// Later than everything: the deadline of what has none.
    pub const NEVER: Self = Self(u64::MAX);

    /// The tick `span` later; [`Tick::NEVER`] where that cannot be told.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(u64::try_from(span.as_micros()).map_or(u64::MAX, |span_us| self.0.saturating_add(span_us)))
    }

    /// Microseconds from `earlier` to here; 0 if `earlier` is later.
    pub const fn since_us(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
