//! The client end of an exchange as the driver sees it: a whole connection with HTTP/1.1, one stream with a
//! multiplexed protocol. The driver is compiled for each kind.

use super::wheel::Wheel;
use crate::base::{Key, Tick};
use crate::net::System;
use std::io;

/// Identity of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity<'a> {
    /// Its address, if it has one.
    pub(super) address: Option<&'a [u8]>,
    /// Its name in the access log.
    pub(super) name: &'a [u8],
    /// Its X-Forwarded-* fields are trusted.
    pub(super) trusted: bool,
    /// Accepted while the number of connections was at the limit.
    pub(super) over_limit: bool,
}

/// Source of an exchange's request and destination of its response. Results are those of the methods of
/// [`System`] with the same names.
pub(super) trait ClientEnd<S: System> {
    /// The client's identity.
    fn identity(&self) -> Identity<'_>;

    /// Schedules the timer of the connection `key` for `deadline`.
    fn schedule(&mut self, wheel: &mut Wheel<Key>, key: Key, deadline: Tick);

    fn read(&mut self, system: &mut S, bytes: &mut Vec<u8>) -> io::Result<usize>;
    fn is_quiet(&mut self, system: &mut S) -> bool;
    fn write(&mut self, system: &mut S, pieces: [&[u8]; 3], more: bool) -> io::Result<usize>;
    fn fill(&mut self, system: &mut S, pipe: &mut S::Pipe, count_max: usize) -> io::Result<usize>;
    fn drain(&mut self, system: &mut S, pipe: &mut S::Pipe, count_max: usize) -> io::Result<usize>;
    fn push(&mut self, system: &mut S);
    fn shut_down(&mut self, system: &mut S);
    fn set_low_water(&mut self, system: &mut S, octets: usize) -> io::Result<()>;
    fn acknowledged(&mut self, system: &mut S) -> Option<u64>;
}
