//! Idle backend connections of one worker: newest first, for the newest is the one least likely to have been closed.

use super::arena::Key;
use crate::route::backend::BackendId;

/// Idle connections kept for one backend by one worker; more than these are closed.
const IDLE_MAX: usize = 512;

#[derive(Debug, Default)]
struct Stack {
    generation: u32,
    /// Connections that have been quiet for a poll at least.
    resting: Vec<Key>,
    /// Connections parked in this turn. What a backend sent behind its response shows at the next poll, so they rest until then.
    parked: Vec<Key>,
}

/// By backend slot. Keys may be stale: a connection that closed is found gone when its key is taken.
#[derive(Debug, Default)]
pub(super) struct Idle {
    stacks: Vec<Stack>,
    /// Slots with parked connections.
    parked_slots: Vec<u32>,
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
        if stack.parked.is_empty() {
            self.parked_slots.push(backend.slot);
        }
        stack.parked.push(key);
        Ok(())
    }

    /// The connection that was parked last before this turn. It may be gone.
    pub(super) fn take(&mut self, backend: BackendId) -> Option<Key> {
        let stack = self.stacks.get_mut(backend.slot as usize)?;
        (stack.generation == backend.generation).then(|| stack.resting.pop()).flatten()
    }

    /// Takes out the connections of backends that are not in force any more.
    pub(super) fn drain_gone(&mut self, is_in_force: impl Fn(BackendId) -> bool) -> Vec<Key> {
        let mut gone = Vec::new();
        for (slot, stack) in (0..).zip(&mut self.stacks) {
            let is_empty = stack.resting.is_empty() && stack.parked.is_empty();
            if !is_empty && !is_in_force(BackendId { slot, generation: stack.generation }) {
                gone.append(&mut stack.resting);
                gone.append(&mut stack.parked);
            }
        }
        gone
    }

    /// A poll has told of every connection that was not quiet.
    pub(super) fn polled(&mut self) {
        for slot in self.parked_slots.drain(..) {
            let stack = &mut self.stacks[slot as usize];
            stack.resting.append(&mut stack.parked);
        }
    }

    /// Moves its lists, as small as they can be, to where the allocator has room now.
    pub(super) fn shed(&mut self) {
        for stack in &mut self.stacks {
            for keys in [&mut stack.resting, &mut stack.parked] {
                *keys = keys.clone();
            }
        }
    }

    /// Forgets a connection that ended at rest.
    pub(super) fn forget(&mut self, backend: BackendId, key: Key) {
        if let Some(stack) = self.stacks.get_mut(backend.slot as usize) {
            // The one that ends is mostly the oldest, which stands in front.
            for keys in [&mut stack.resting, &mut stack.parked] {
                if let Some(at) = keys.iter().position(|&other| other == key) {
                    keys.remove(at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::Kind;
    use super::*;

    const BACKEND: BackendId = BackendId { slot: 3, generation: 1 };

    fn key(index: u32) -> Key {
        Key::new(Kind::Backend, 1, index)
    }

    #[test]
    fn newest_first_and_only_after_a_poll() {
        let mut idle = Idle::default();
        for index in 0..3 {
            assert_eq!(idle.park(BACKEND, key(index)), Ok(()));
        }
        assert_eq!(idle.take(BACKEND), None);
        idle.polled();
        idle.forget(BACKEND, key(1));
        assert_eq!(
            [idle.take(BACKEND), idle.take(BACKEND), idle.take(BACKEND)],
            [Some(key(2)), Some(key(0)), None]
        );
    }

    #[test]
    fn a_new_backend_in_the_slot_gets_none_of_the_old() {
        let mut idle = Idle::default();
        assert_eq!(idle.park(BACKEND, key(0)), Ok(()));
        idle.polled();
        let next = BackendId { generation: 2, ..BACKEND };
        assert_eq!(idle.take(next), None);
        assert_eq!(idle.drain_gone(|id| id == BACKEND), []);
        assert_eq!(idle.drain_gone(|id| id == next), [key(0)]);
        assert_eq!(idle.park(next, key(1)), Ok(()));
        idle.polled();
        assert_eq!((idle.take(BACKEND), idle.take(next), idle.take(next)), (None, Some(key(1)), None));
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
