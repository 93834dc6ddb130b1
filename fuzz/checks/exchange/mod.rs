//! What must hold for an exchange whatever its peers send and whenever: the harness performs its steps as a worker does,
//! against peers in memory. The input is its script; see [`exchange`].

mod peer;
mod record;
mod world;

use std::sync::OnceLock;
use world::World;

/// Stands between the parts of the input: a script, what the client sends, and what each backend connection sends in turn.
const PART_END: u8 = 0x1e;

/// With the octet behind it: so many times 512 octets of content, for bodies that go through a pipe.
const RUN: u8 = 0x1d;

/// Octets that one peer sends at most.
const SENDS_MAX: usize = 1 << 20;

/// Plays the input. Its first part says what happens and when, in pairs of octets after two that set the scene; then either
/// all of it arrives and both peers close, or nothing happens any more but deadlines. Checked is that
///
/// - no step is asked for that cannot be done, and steps that do nothing do not go on for ever;
/// - memory never overtakes a pipe, and a pipe gives what it was given;
/// - the exchange ends by its deadlines, and without them once both peers have closed;
/// - what a backend was sent reads as requests that the client sent whole, the last one perhaps cut, and nothing of a
///   refused one;
/// - what the client was sent reads as responses, one a request, the last one perhaps cut and its connection closed.
pub(crate) fn exchange(data: &[u8]) {
    let mut parts = data.split(|&octet| octet == PART_END);
    let script = parts.next().unwrap_or_default();
    let client = expand(parts.next().unwrap_or_default());
    let replies: Vec<Vec<u8>> = parts.map(expand).collect();
    let [scene, windows, script @ ..] = script else { return };
    let mut world = World::new(*scene, *windows, client, replies);
    for pair in script.chunks(2) {
        world.event(pair[0], pair.get(1).copied().unwrap_or_default());
        world.turn();
        if world.is_over() {
            break;
        }
    }
    if *scene & world::IS_SILENT == 0 {
        world.play_out();
    } else {
        world.wait_out();
    }
    world.into_record().hold();
}

/// What a part of the input stands for.
fn expand(part: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some((&octet, behind)) = rest.split_first() {
        rest = behind;
        match (octet, behind) {
            (RUN, [blocks, behind @ ..]) => {
                let content = content();
                let length = usize::from(*blocks) * 512;
                bytes.extend_from_slice(&content[..length]);
                rest = behind;
            }
            _ => bytes.push(octet),
        }
    }
    bytes.truncate(SENDS_MAX);
    bytes
}

/// The longest run. It tells its place, so that order can be checked.
fn content() -> &'static [u8] {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    CONTENT.get_or_init(|| {
        let pattern = (b'a'..=b'z').flat_map(|letter| [letter; 97]);
        pattern.cycle().take(usize::from(u8::MAX) * 512).collect()
    })
}
