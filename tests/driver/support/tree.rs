// SPDX-License-Identifier: MIT OR Apache-2.0
//! A hierarchy of bridges whose buses appear, as in hardware, when the bridges are given numbers.

use std::cell::RefCell;

use ivshmem::pci::{ConfigRegionAccess, ConfigSpace, PciAddress};

use super::bus::{FakeFunction, SIZING_ADDRESS};

/// A function and where it is wired to.
pub struct Node {
    /// The bridge that it is behind; none on the root bus.
    pub parent: Option<usize>,
    pub device: u8,
    pub number: u8,
    pub function: FakeFunction,
}

/// A machine made of functions that are found by the numbers in their bridges.
#[derive(Default)]
pub struct FakeTree {
    nodes: RefCell<Vec<Node>>,
    pub accesses: RefCell<usize>,
    /// Whether bridges may claim the same bus, which is a fault of the driver unless they came so.
    conflicts: bool,
}

impl FakeTree {
    /// A machine whose bridges may claim the same bus.
    pub fn with_conflicts() -> Self {
        Self {
            conflicts: true,
            ..Self::default()
        }
    }

    /// Wires a function up and returns its index.
    pub fn add(
        &self,
        parent: Option<usize>,
        (device, number): (u8, u8),
        function: FakeFunction,
    ) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node {
            parent,
            device,
            number,
            function,
        });
        nodes.len() - 1
    }

    /// Returns the configuration space to give to the driver.
    pub fn space(&self) -> ConfigSpace<&Self> {
        // SAFETY: the fake takes reads and writes anywhere.
        unsafe { ConfigSpace::new(self) }
    }

    /// Returns the words of function `index`.
    pub fn words(&self, index: usize) -> [u32; 64] {
        self.nodes.borrow()[index].function.words
    }

    /// Returns which bits of a word of function `index` can be written.
    pub fn writable(&self, index: usize, word: usize) -> u32 {
        self.nodes.borrow()[index].function.writable[word]
    }

    /// Returns how many functions there are.
    pub fn len(&self) -> usize {
        self.nodes.borrow().len()
    }

    /// Returns the bridge above function `index`.
    pub fn parent(&self, index: usize) -> Option<usize> {
        self.nodes.borrow()[index].parent
    }

    /// Returns the index of what answers at `address`.
    fn find(&self, address: PciAddress) -> Option<usize> {
        let nodes = self.nodes.borrow();
        let (mut parent, mut here) = (None, 0);
        while here != address.bus() {
            let mut claims = nodes.iter().enumerate().filter(|(_, node)| {
                let [_, secondary, subordinate, _] = node.function.words[6].to_le_bytes();
                node.parent == parent
                    && node.function.words[3] >> 16 & 0x7f == 1
                    && secondary != 0
                    && (secondary..=subordinate).contains(&address.bus())
            });
            let (index, node) = claims.next()?;
            assert!(
                self.conflicts || claims.next().is_none(),
                "two bridges claim {address}"
            );
            parent = Some(index);
            here = node.function.words[6].to_le_bytes()[1];
        }
        nodes.iter().position(|node| {
            (node.parent, node.device, node.number)
                == (parent, address.device(), address.function())
        })
    }
}

impl ConfigRegionAccess for FakeTree {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        *self.accesses.borrow_mut() += 1;
        let index = self.find(address);
        index.map_or(!0, |index| {
            self.nodes.borrow()[index].function.words[usize::from(offset / 4)]
        })
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        *self.accesses.borrow_mut() += 1;
        let index = self.find(address).expect("a write to no function");
        let function = &mut self.nodes.borrow_mut()[index].function;
        let word = usize::from(offset / 4);
        let before = function.words[word];
        function.write(word, value);
        let bars = if function.words[3] >> 16 & 0x7f == 1 {
            4..6
        } else {
            4..10
        };
        assert!(
            !bars.contains(&word) || function.words[word] == before || !function.decodes(),
            "{address}: bar at {offset:#x} changes while the function decodes"
        );
        assert!(
            !bars.contains(&word) || value < SIZING_ADDRESS || !function.decodes(),
            "{address}: bar at {offset:#x} is sized while the function decodes"
        );
    }
}
