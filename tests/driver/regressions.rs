// SPDX-License-Identifier: MIT OR Apache-2.0
//! A test for each bug that fuzzing found.

use std::cell::Cell;

use crate::support::bus::{FakeFunction, SIZING_ADDRESS};
use crate::support::tree::FakeTree;
use ivshmem::pci::{assign, Buses, ConfigRegionAccess, ConfigSpace, PciAddress, Window, Windows};

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
