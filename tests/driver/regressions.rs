// SPDX-License-Identifier: MIT OR Apache-2.0
//! A test for each bug that fuzzing or the device model found.

use std::cell::Cell;
use std::ptr::NonNull;

use crate::support::bus::{FakeBus, FakeFunction, SIZING_ADDRESS};
use crate::support::tree::FakeTree;
use ivshmem::pci::{
    assign, probe, Buses, ConfigRegionAccess, ConfigSpace, Function, PciAddress, ProbeError,
    Window, Windows,
};
use ivshmem::{
    Flavour, InterruptStatus, Interrupts, Ivshmem, Parts, Quirks, Registers, SharedMemory,
};

/// A machine whose function 0:1.0 denies to have others beside it until it is given an address.
struct Late {
    tree: FakeTree,
    hidden: Cell<bool>,
}

impl ConfigRegionAccess for &Late {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        // SAFETY: as for this read.
        let word = unsafe { self.tree.read(address, offset) };
        let denied = self.hidden.get() && offset == 0xc;
        word & !(u32::from(denied) << 23)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        let is_address = (1..SIZING_ADDRESS).contains(&(value & !0xf));
        if (0x10..0x28).contains(&offset) && is_address {
            self.hidden.set(false);
        }
        // SAFETY: as for this write.
        unsafe { self.tree.write(address, offset, value) }
    }
}

/// Found by the fuzz target `config_space`: the function was given an address while it decoded.
#[test]
fn a_function_that_shows_up_late_does_not_decode_while_it_gets_an_address() {
    let tree = FakeTree::default();
    for number in 0..2 {
        let mut function = FakeFunction::new(0x1af4, 0x1110)
            .memory32(0, 0, 0x100)
            .memory32(2, 0, 0x10_0000)
            .multi_function();
        function.words[1] = 0x3;
        tree.add(None, (1, number), function);
    }
    let hidden = Cell::new(true);
    let machine = Late { tree, hidden };
    // SAFETY: the fake takes reads and writes anywhere.
    let space = unsafe { ConfigSpace::new(&machine) };
    let windows = Windows {
        memory32: Window {
            start: 0xe000_0000,
            len: 0x1000_0000,
        },
        memory64: None,
        io: None,
    };
    assert_eq!(assign(&space, Buses::ALL, &windows), Ok(()));
    assert!(!machine.hidden.get());
    // The tree itself fails on writes to BARs of a function that decodes.
    assert_ne!(machine.tree.words(1)[4], 0);
}

/// Registers of a device of revision 0: reading the status clears it.
#[derive(Default)]
struct Line {
    mask: Cell<u32>,
    status: Cell<u32>,
}

impl Registers for &Line {
    fn read(&self, offset: usize) -> u32 {
        match offset {
            0 => self.mask.get(),
            4 => self.status.take(),
            _ => 0,
        }
    }

    fn write(&self, offset: usize, value: u32) {
        match offset {
            0 => self.mask.set(value),
            4 => self.status.set(value),
            _ => {}
        }
    }
}

/// Found by the scenario `intx-shared` on the device model: the handler, called for another device on the line,
/// took what a disabled device had noted for the time when it would be enabled again.
#[test]
fn a_disabled_device_keeps_its_events_while_others_use_the_line() {
    let registers = Line::default();
    let memory = Box::leak(Box::new([0_u64; 8]));
    // SAFETY: leaked, so valid for ever, and referenced nowhere else.
    let shared_memory = unsafe { SharedMemory::new(NonNull::from(memory).cast(), 64) };
    let parts = Parts {
        flavour: Flavour::Legacy,
        registers: Some(&registers),
        shared_memory,
        interrupts: Interrupts::Line,
        quirks: Quirks::empty(),
    };
    // SAFETY: a device made of ordinary memory.
    let device = unsafe { Ivshmem::new(parts) };
    let intx = device.intx().unwrap();
    intx.disable();
    registers.status.set(1);
    assert_eq!(intx.acknowledge(), None, "another device raised the line");
    assert_eq!(registers.status.get(), 1, "the event is still noted");
    intx.enable();
    assert_eq!(intx.acknowledge(), Some(InterruptStatus::PEER));
}

/// A bus whose functions are pulled out at an access.
struct Vanishing {
    bus: FakeBus,
    accesses: Cell<usize>,
    last: usize,
}

impl Vanishing {
    fn new(function: FakeFunction, last: usize) -> Self {
        Self {
            bus: FakeBus::default().with((0, 3, 0), function),
            accesses: Cell::new(0),
            last,
        }
    }

    fn count(&self) {
        self.accesses.set(self.accesses.get() + 1);
        if self.accesses.get() > self.last {
            self.bus.unplug((0, 3, 0));
        }
    }
}

impl ConfigRegionAccess for &Vanishing {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        self.count();
        // SAFETY: as for this read.
        unsafe { self.bus.read(address, offset) }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        self.count();
        // SAFETY: as for this write.
        unsafe { self.bus.write(address, offset, value) }
    }
}

/// Found on the device model, pulled out at each access in turn: errors told of BARs and capabilities that make no
/// sense, and behind the last of them the revision was taken for 255.
#[test]
fn a_device_pulled_out_while_it_is_probed_is_gone() {
    let mut last = 1;
    let reads = loop {
        let bus = Vanishing::new(FakeFunction::doorbell(4), last);
        // SAFETY: the fake takes reads and writes anywhere.
        let space = unsafe { ConfigSpace::new(&bus) };
        let function = Function::at(&space, PciAddress::new(0, 0, 3, 0)).unwrap();
        match probe(&function) {
            Ok(resources) => break (bus.accesses.get(), resources.revision),
            Err(error) => assert_eq!(error, ProbeError::Gone, "after {last} accesses"),
        }
        last += 1;
    };
    assert_eq!(reads, (last, 1), "it passes when nothing was read too late");
}

/// Found as the one before: the upper half of an address, read as all ones, was taken for an address.
#[test]
fn a_device_pulled_out_while_addresses_are_looked_for_has_none() {
    let blank = FakeFunction::new(0x1af4, 0x1110).memory64(2, 0, 0x10_0000);
    for last in 1..200 {
        let bus = Vanishing::new(blank.clone(), last);
        // SAFETY: the fake takes reads and writes anywhere.
        let space = unsafe { ConfigSpace::new(&bus) };
        let windows = Windows {
            memory32: Window {
                start: 0xe000_0000,
                len: 0x1000_0000,
            },
            memory64: None,
            io: None,
        };
        let result = assign(&space, Buses::ALL, &windows);
        assert_eq!(result, Ok(()), "after {last} accesses");
    }
}
