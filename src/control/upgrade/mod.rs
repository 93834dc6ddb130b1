//! Another binary takes the place of this process (SIGUSR2): both ends of it, and what they say to each other.

pub(super) mod escort;
pub(super) mod executable;
pub(super) mod inherit;
pub(super) mod protocol;
