// SPDX-License-Identifier: MIT OR Apache-2.0
//! The layout of an input of [`config_space`](crate::config_space): a kernel, then functions.

use ivshmem::pci::{Window, Windows};
use ivshmem::Quirks;

use crate::bus::{FuzzBus, Slot};
use crate::functions::FakeFunction;
use crate::input::Input;

/// Functions at most.
pub const MAX_FUNCTIONS: usize = 8;
/// Set in the first byte: no firmware has run, so nothing has an address.
const COLD: u8 = 1 << 0;
/// Set in the first byte: devices are dropped and not detached.
const DROPPED: u8 = 1 << 1;
/// Set in the first byte: there is memory above 4 GiB for [`Windows`], and there are ports.
const MEMORY64: u8 = 1 << 2;
const IO: u8 = 1 << 3;

/// What the kernel does.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Devices are dropped and not detached.
    pub dropped: bool,
    /// Maps to let pass before one is refused.
    pub maps: Option<u16>,
    /// The vector that is refused an interrupt.
    pub refused: Option<u16>,
    /// Vectors from here on stay masked.
    pub vectors: u8,
    /// What is in registers and tables.
    pub pattern: u32,
    pub quirks: Quirks,
    pub windows: Windows,
}

/// A machine and what its kernel does with it.
pub struct Machine {
    pub bus: FuzzBus,
    pub plan: Plan,
    /// Whether all functions keep to the rules of PCI, so that more can be asked of the driver.
    pub honest: bool,
}

impl Machine {
    pub fn take(input: &mut Input<'_>) -> Self {
        let flags: u8 = input.take();
        let plan = plan(flags, input);
        let count = usize::from(input.take::<u8>()) % MAX_FUNCTIONS + 1;
        let mut honest = true;
        let mut slots: Vec<Slot> = Vec::new();
        for index in 0..count {
            let (slot, kept_to_rules) = slot(flags, index, input);
            honest &= kept_to_rules;
            slots.push(slot);
        }
        Self {
            bus: FuzzBus::new(slots),
            plan,
            honest,
        }
    }
}

fn plan(flags: u8, input: &mut Input<'_>) -> Plan {
    let maps = input.option();
    let refused = input.option();
    let vectors = input.take();
    let pattern = input.take();
    let quirks = Quirks::from_bits_truncate(input.take::<u8>().into());
    // In MiB, so that a window is often too small.
    let memory32 = Window {
        start: 0xe000_0000,
        len: u64::from(input.take::<u8>()) << 20,
    };
    let memory64 = Window {
        start: 0x1_0000_0000,
        len: u64::from(input.take::<u8>()) << 20,
    };
    let io = Window {
        start: 0xc000,
        len: 0x4000,
    };
    Plan {
        dropped: flags & DROPPED != 0,
        maps,
        refused,
        vectors,
        pattern,
        quirks,
        windows: Windows {
            memory32,
            memory64: (flags & MEMORY64 != 0).then_some(memory64),
            io: (flags & IO != 0).then_some(io),
        },
    }
}

/// Takes a function: what it starts from, where it is, and then words and masks that replace those of the start.
fn slot(flags: u8, index: usize, input: &mut Input<'_>) -> (Slot, bool) {
    let kind: u8 = input.take();
    let parameter: u8 = input.take();
    let mut function = match kind % 7 {
        0 => FakeFunction::plain(),
        1 => FakeFunction::doorbell(u16::from(parameter) % 64 + 1),
        2 => FakeFunction::legacy(),
        3 => FakeFunction::new(0x8086, u16::from(parameter)).bridge(parameter),
        4 => FakeFunction::new(0x1b36, 0x000c).blank_bridge(parameter & 1 != 0, parameter & 2 != 0),
        5 => FakeFunction::new(0x1af4, 0x1000)
            .io(0, 0xc001, 0x40)
            .memory32(1, 0xfeb0_0000, 0x2000),
        _ => FakeFunction::new(0x1af4, 0x1110),
    };
    if flags & COLD != 0 {
        function.words[1] &= !0b111;
        for bar in 4..10 {
            function.words[bar] &= !function.writable[bar];
        }
    }
    if kind & 0x80 != 0 {
        function = function.multi_function();
    }
    let parent: u8 = input.take();
    let place: u8 = input.take();
    let left = input.option();
    let noise = u32::from(input.take::<u8>()) * 0x0101_0101;
    let patches = input.take::<u8>() % 16;
    for _ in 0..patches {
        let word = usize::from(input.take::<u8>() % 64);
        function.words[word] = input.take();
        function.writable[word] = input.take();
    }
    // IDs and the kind of header never change, and what is in Status cannot be set.
    function.writable[0] = 0;
    function.writable[1] &= 0xffff;
    function.writable[3] &= 0xffff;
    let parent = index
        .checked_sub(1)
        .filter(|_| parent != 0)
        .map(|_| usize::from(parent - 1) % index);
    let honest = left.is_none() && noise == 0 && patches == 0 && kind % 7 != 3;
    let slot = Slot {
        parent,
        device: place >> 3,
        number: place & 7,
        function,
        left,
        noise,
    };
    (slot, honest)
}
