//! Idle backend connections of one worker: newest first, for the newest is the one least likely to have been closed.

use crate::base::Key;
use crate::route::backend::BackendId;
use std::collections::VecDeque;

/// Idle connections kept for one backend by one worker; more than these are closed.
const IDLE_MAX: usize = 4096;

#[derive(Debug, Default)]
struct Stack {
    generation: u32,
    /// Connections that have been quiet for a poll at least. Those that end are mostly the oldest, which stand in front.
    resting: VecDeque<Key>,
    /// Connections parked since the last poll that told of everything. What a backend sent behind its response shows at the next,
    /// so they rest until then.
    parked: Vec<Key>,
    /// It is in [`Idle::parked_slots`].
    is_listed: bool,
}

/// A connection to be used again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rested {
    pub(super) key: Key,
    /// A poll had nothing to tell of it; else it is to be asked itself.
    pub(super) is_quiet: bool,
}

/// By backend slot. Keys may be stale: a connection that closed is found gone when its key is taken.
#[derive(Debug, Default)]
pub(super) struct Idle {
    stacks: Vec<Stack>,
    /// Slots with parked connections.
    parked_slots: Vec<u32>,
    /// The last poll was full: more is to be told.
    is_behind: bool,
}

impl Idle {
    /// Keeps a connection of a backend in force; gives back its key where there are enough.
    pub(super) fn park(&mut self, backend: BackendId, key: Key) -> Result<(), Key> {
        let slot = backend.slot as usize;
        if slot >= self.stacks.len() {
            self.stacks.resize_with(slot + 1, Stack::default);
        }
        let stack = &mut self.stacks[slot];
        if stack.generation != backend.generation {
            debug_assert!(
                stack.resting.is_empty() && stack.parked.is_empty(),
                "a backend went and was not told of"
            );
            stack.generation = backend.generation;
        }
        if stack.resting.len() + stack.parked.len() >= IDLE_MAX {
            return Err(key);
        }
        if !std::mem::replace(&mut stack.is_listed, true) {
            self.parked_slots.push(backend.slot);
        }
        stack.parked.push(key);
        Ok(())
    }

    /// The connection that was parked last before this turn. It may be gone. Where polls have more to tell than they can, which may
    /// go on for long, one of which they have told nothing yet.
    pub(super) fn take(&mut self, backend: BackendId) -> Option<Rested> {
        let stack = self.stacks.get_mut(backend.slot as usize)?;
        if stack.generation != backend.generation {
            return None;
        }
        if let Some(key) = stack.resting.pop_back() {
            return Some(Rested { key, is_quiet: true });
        }
        let key = if self.is_behind { stack.parked.pop()? } else { return None };
        Some(Rested { key, is_quiet: false })
    }

    /// Takes out the connections of backends that are not in force any more.
    pub(super) fn drain_gone(&mut self, is_in_force: impl Fn(BackendId) -> bool) -> Vec<Key> {
        let mut gone = Vec::new();
        for (slot, stack) in (0..).zip(&mut self.stacks) {
            let is_empty = stack.resting.is_empty() && stack.parked.is_empty();
            if !is_empty && !is_in_force(BackendId { slot, generation: stack.generation }) {
                gone.extend(stack.resting.drain(..));
                gone.append(&mut stack.parked);
            }
        }
        gone
    }

    /// A poll has told of connections that are not quiet: of all, or, where it was full, of some.
    pub(super) fn polled(&mut self, is_full: bool) {
        self.is_behind = is_full;
        if is_full {
            return;
        }
        for slot in self.parked_slots.drain(..) {
            let stack = &mut self.stacks[slot as usize];
            stack.is_listed = false;
            stack.resting.extend(stack.parked.drain(..));
        }
    }

    /// Moves its lists, as small as they can be, to where the allocator has room now.
    pub(super) fn trim(&mut self) {
        for stack in &mut self.stacks {
            stack.resting = stack.resting.clone();
            stack.parked = stack.parked.clone();
        }
    }

    /// Forgets a connection that ended at rest.
    pub(super) fn forget(&mut self, backend: BackendId, key: Key) {
        if let Some(stack) = self.stacks.get_mut(backend.slot as usize) {
            if let Some(at) = stack.resting.iter().position(|&other| other == key) {
                stack.resting.remove(at);
            } else if let Some(at) = stack.parked.iter().position(|&other| other == key) {
                stack.parked.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::Kind;
    use super::*;

    const BACKEND: BackendId = BackendId { slot: 3, generation: 1 };

    fn key(index: u32) -> Key {
        Key::new(Kind::Backend as u8, 1, index)
    }

    fn quiet(index: u32) -> Rested {
        Rested { key: key(index), is_quiet: true }
    }

    fn untold(index: u32) -> Rested {
        Rested { key: key(index), is_quiet: false }
    }

    #[test]
    fn newest_first_and_only_after_a_poll() {
        let mut idle = Idle::default();
        for index in 0..3 {
            assert_eq!(idle.park(BACKEND, key(index)), Ok(()));
        }
        assert_eq!(idle.take(BACKEND), None);
        idle.polled(false);
        idle.forget(BACKEND, key(1));
        assert_eq!(
            [idle.take(BACKEND), idle.take(BACKEND), idle.take(BACKEND)],
            [Some(quiet(2)), Some(quiet(0)), None]
        );
    }

    #[test]
    fn polls_that_are_full_for_long_leave_the_pool_usable() {
        let mut idle = Idle::default();
        assert_eq!(idle.park(BACKEND, key(0)), Ok(()));
        idle.polled(false);
        for round in 0..1_000 {
            // It is taken before those of which no poll has told.
            idle.polled(true);
            for index in 1..3 {
                assert_eq!(idle.park(BACKEND, key(index)), Ok(()));
            }
            assert_eq!(idle.take(BACKEND), if round == 0 { Some(quiet(0)) } else { Some(untold(2)) });
            assert_eq!(idle.take(BACKEND), if round == 0 { Some(untold(2)) } else { Some(untold(1)) });
            assert_eq!(idle.take(BACKEND), if round == 0 { Some(untold(1)) } else { None });
            assert_eq!(idle.parked_slots.len(), 1);
        }
        assert_eq!(idle.park(BACKEND, key(3)), Ok(()));
        idle.polled(false);
        assert_eq!((idle.take(BACKEND), idle.parked_slots.len()), (Some(quiet(3)), 0));
        assert_eq!(idle.park(BACKEND, key(4)), Ok(()));
        assert_eq!(idle.take(BACKEND), None);
    }

    #[test]
    fn a_new_backend_in_the_slot_gets_none_of_the_old() {
        let mut idle = Idle::default();
        assert_eq!(idle.park(BACKEND, key(0)), Ok(()));
        idle.polled(false);
        let next = BackendId { generation: 2, ..BACKEND };
        assert_eq!(idle.take(next), None);
        assert_eq!(idle.drain_gone(|id| id == BACKEND), []);
        assert_eq!(idle.drain_gone(|id| id == next), [key(0)]);
        assert_eq!(idle.park(next, key(1)), Ok(()));
        idle.polled(false);
        assert_eq!((idle.take(BACKEND), idle.take(next), idle.take(next)), (None, Some(quiet(1)), None));
    }

    #[test]
    fn the_pool_has_an_end() {
        let mut idle = Idle::default();
        for index in 0..IDLE_MAX {
            assert_eq!(idle.park(BACKEND, key(u32::try_from(index).unwrap())), Ok(()));
        }
        assert_eq!(idle.park(BACKEND, key(9999)), Err(key(9999)));
    }
}
