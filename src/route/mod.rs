//! Which backend takes a request: host and path patterns, the compiled table, pools and balancing. Pure: no socket, no clock.

pub mod backend;
pub mod balance;
mod displace;
pub mod explain;
mod index;
pub mod pattern;
#[cfg(test)]
mod reference;
pub mod spec;
pub mod table;
