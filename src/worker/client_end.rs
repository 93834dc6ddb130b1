//! The client's end of an exchange, as a worker drives it: a whole connection with HTTP/1.1, one stream of many with a protocol that
//! has such. The driver is compiled for each kind of end.

use super::wheel::Wheel;
use crate::base::{Key, Tick};
use crate::net::System;
use std::io;

/// Who a client is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity<'a> {
    /// Its address, if it has one.
    pub(super) address: Option<&'a [u8]>,
    /// As the access log names it.
    pub(super) name: &'a [u8],
    /// Its own X-Forwarded-* are believed.
    pub(super) trusted: bool,
    /// It came when there were as many as allowed.
    pub(super) over_limit: bool,
}

/// Where the request of an exchange comes from, and its response goes. What is moved is told as by the calls of [`System`] of the
/// same names.
pub(super) trait ClientEnd<S: System> {
    /// Who it is.
    fn identity(&self) -> Identity<'_>;

    /// Has the wheel ask about the connection that `key` names at `deadline`.
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
