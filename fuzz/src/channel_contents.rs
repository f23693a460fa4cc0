// SPDX-License-Identifier: MIT OR Apache-2.0
//! Channels over memory of any size that holds anything, and that changes between any two calls.
//!
//! The memory is blank, holds the words of the input, or was used by two members before. Then the input says, one by one, which
//! method is called, or which word becomes another. The memory lies between guard pages, and after each call only what
//! that call may write has changed.

use ivshmem::channel::Format;
use ivshmem::SharedMemory;

use crate::channel::arena::{object, Window};
use crate::channel::world::World;
use crate::input::Input;

pub use crate::channel::world::Reached;

/// Does with a memory what `data` says.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(data: &[u8]) -> Reached {
    watched(data, |_| {})
}

/// As [`run`], with somebody who looks at the memory after each step.
///
/// # Panics
///
/// If a property does not hold.
pub fn watched(data: &[u8], mut look: impl FnMut(SharedMemory<'_>)) -> Reached {
    let mut input = Input::new(data);
    let (size, start): (u8, u8) = (input.take(), input.take());
    let len = match size % 16 {
        // What is no region.
        0 => usize::from(input.take::<u16>()),
        1 => 3 << 12,
        2..=7 => 1 << 12,
        8..=11 => 1 << 13,
        12..=14 => 1 << 14,
        _ => 1 << 16,
    };
    let window = Window::of(object(len), len);
    let memory = window.memory();
    let mut world = World::new(memory);
    match start % 4 {
        0 => {}
        1 => {
            let words = usize::from(input.take::<u8>()) * 8;
            memory
                .write(0, &input.bytes(words.min(len)))
                .expect("it is cut to fit");
        }
        more => world.use_well(Format {
            slots: u16::from(more),
            ring_log2: None,
        }),
    }
    look(memory);
    while !input.is_empty() {
        world.step(&mut input);
        look(memory);
    }
    world.reached()
}
