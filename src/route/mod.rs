//! The route of a request and its backend: host and path patterns, the compiled table, pools and balancing.
//! Pure: no socket, no clock.

pub mod backend;
pub mod balance;
pub mod decision;
pub mod endpoint;
pub mod explain;
pub mod health;
mod index;
pub mod pattern;
mod perfect_hash;
pub mod policy;
#[cfg(test)]
mod reference;
pub mod spec;
pub mod table;
