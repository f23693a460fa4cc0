// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the targets of the device model share: properties, a host that counts, steps, and what holds after each.

mod checks;
mod flat;
mod host;
mod image;
mod machine;
mod properties;
mod reads;
mod saved;
mod steps;
mod stream;

use allocation_counter::measure;
use ivshmem_device::Kind;

use crate::input::Input;
pub use host::{Descriptors, FuzzDescriptor};
use properties::properties;

/// Steps at most: a device of 2048 vectors takes its time to look at.
const MAX_STEPS: usize = 256;

/// How far an input got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Steps that were taken.
    pub steps: usize,
    /// Interrupts: messages, and changes of the line.
    pub messages: usize,
    pub line_changes: usize,
    /// Eventfds that were rung, and own vectors that are watched.
    pub rung: usize,
    pub listening: usize,
    pub notices: usize,
    /// Whether a guest may see the device in the end.
    pub realized: bool,
}

/// What is done with the bytes of an input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The steps, by their numbers, as often as they are to be likely.
    pub kinds: &'static [u8],
    /// Whether a server that keeps to the rules comes first.
    pub connected: bool,
}

/// What the first bytes say besides the properties.
#[derive(Clone, Copy, Debug)]
struct Header {
    /// The size of the memory.
    len_bytes: u64,
    /// Eventfds of the peer.
    peer_vectors: u8,
    /// Whether the device is unplugged in the end, and not dropped.
    unplugged: bool,
    refuses_memory: bool,
    /// Own vectors from here on cannot be watched.
    refuses_vectors_from: Option<u16>,
}

impl Header {
    fn take(size_bytes: u64, input: &mut Input<'_>) -> Self {
        let len_bytes = match input.take::<u8>() {
            0 => size_bytes.max(4096),
            power @ 1..=63 => 1 << power,
            _ => input.take(),
        };
        let (peer_vectors, bits): (u8, u8) = (input.take(), input.take());
        Self {
            len_bytes,
            peer_vectors,
            unplugged: bits & 1 != 0,
            refuses_memory: bits & 2 != 0,
            refuses_vectors_from: (bits & 4 != 0).then_some(u16::from(bits >> 3)),
        }
    }
}

/// Does with a device what `data` says, and sees that nothing of it is left.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(target: Target, data: &[u8]) -> Reached {
    let mut reached = Reached::default();
    let left = measure(|| {
        let mut input = Input::new(data);
        let properties = properties(&mut input);
        let header = Header::take(properties.size_bytes, &mut input);
        reached = if properties.kind == Kind::Flat {
            flat::run(&properties, header, target, &mut input)
        } else {
            machine::run(&properties, header, target, &mut input)
        };
    });
    assert_eq!(left.bytes_current, 0, "bytes are left allocated");
    reached
}
