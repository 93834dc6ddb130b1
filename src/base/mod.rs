//! What every floor uses: time as a number, addresses, random numbers, pools of objects, slot maps. Pure: no socket, clock or
//! thread.

mod address;
mod memory;
mod object_pool;
mod random;
mod slot_map;
mod tick;

pub use address::{Address, NoAddress, UNIX_PATH_BYTES_MAX, UNIX_PREFIX, UnixPathError};
pub use memory::has_room_for;
pub use object_pool::ObjectPool;
pub use random::Random;
pub use slot_map::{Key, SlotMap, mapped};
pub use tick::Tick;
