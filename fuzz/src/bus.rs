// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tree of functions that count accesses, and may lie or vanish.

use std::cell::{Cell, RefCell};

use ivshmem::pci::{ConfigRegionAccess, ConfigSpace, PciAddress};

use crate::functions::{FakeFunction, SIZING_ADDRESS};

const BUS_NUMBERS: usize = 0x18 / 4;

/// A function and where it is wired to.
pub struct Slot {
    /// The function that it is behind, lower in the list; none on the root bus.
    pub parent: Option<usize>,
    pub device: u8,
    pub number: u8,
    pub function: FakeFunction,
    /// Accesses to let pass before it vanishes.
    pub left: Option<u16>,
    /// Every third read, but not of the IDs, is xored with a rotation of this.
    pub noise: u32,
}

impl Slot {
    fn is_there(&self) -> bool {
        self.left != Some(0)
    }

    /// The kind of header, without the multi-function bit.
    fn header(&self) -> u32 {
        self.function.words[3] >> 16 & 0x7f
    }

    /// Returns the first and the last bus behind it, if it leads to any.
    fn buses(&self) -> Option<(u8, u8)> {
        let [_, secondary, subordinate, _] = self.function.words[BUS_NUMBERS].to_le_bytes();
        let leads = self.is_there() && matches!(self.header(), 1 | 2) && secondary != 0;
        leads.then_some((secondary, subordinate.max(secondary)))
    }

    fn is_bar(&self, word: usize) -> bool {
        let bars = match self.header() {
            0 => 4..10,
            1 => 4..6,
            _ => 4..5,
        };
        bars.contains(&word)
    }

    /// Whether it decodes although that could be turned off.
    fn decodes(&self) -> bool {
        self.function.words[1] & self.function.writable[1] & 0b11 != 0
    }
}

/// The functions of a machine. Anything not there reads all ones.
pub struct FuzzBus {
    slots: RefCell<Vec<Slot>>,
    accesses: Cell<usize>,
    limit: Cell<usize>,
}

impl FuzzBus {
    /// Returns the bus of these functions; of several at one place the first is there.
    pub fn new(slots: Vec<Slot>) -> Self {
        let mut kept: Vec<Slot> = Vec::new();
        for slot in slots {
            let place = |slot: &Slot| (slot.parent, slot.device, slot.number);
            // Parents are counted in the list given, so what shares a place is moved to where nobody looks.
            let taken = kept.iter().any(|other| place(other) == place(&slot));
            let device = if taken { u8::MAX } else { slot.device };
            kept.push(Slot { device, ..slot });
        }
        Self {
            slots: RefCell::new(kept),
            accesses: Cell::new(0),
            limit: Cell::new(usize::MAX),
        }
    }

    /// Returns the configuration space to give to the driver.
    pub fn space(&self) -> ConfigSpace<&Self> {
        // SAFETY: the fake takes reads and writes anywhere.
        unsafe { ConfigSpace::new(self) }
    }

    /// Returns the number of functions.
    pub fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Returns whether there are no functions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `what`, which must take at most `limit` accesses.
    pub fn within<T>(&self, limit: usize, what: impl FnOnce() -> T) -> T {
        self.accesses.set(0);
        let outer = self.limit.replace(limit);
        let result = what();
        self.limit.set(outer);
        result
    }

    /// Returns the words of each function that tells the truth and can be reached.
    pub fn words(&self) -> Vec<Option<[u32; 64]>> {
        let slots = self.slots.borrow();
        let words = |slot: &Slot| {
            let mut above = slot.parent;
            let mut there = slot.is_there() && slot.noise == 0;
            while let Some(parent) = above {
                there &= slots[parent].is_there();
                above = slots[parent].parent;
            }
            there.then_some(slot.function.words)
        };
        slots.iter().map(words).collect()
    }

    /// Fails if a function that was there before, and still is, is not as it was.
    pub fn assert_unchanged(&self, before: &[Option<[u32; 64]>], by: &str) {
        for (index, (before, after)) in before.iter().zip(self.words()).enumerate() {
            if let (Some(before), Some(after)) = (before, after) {
                assert_eq!(*before, after, "{by} changed function {index}");
            }
        }
    }

    fn count(&self) {
        let accesses = self.accesses.get() + 1;
        self.accesses.set(accesses);
        let limit = self.limit.get();
        assert!(accesses <= limit, "more than {limit} accesses");
    }

    /// Runs `access` with what answers at `address`, and the number of the access.
    fn answer<T>(&self, address: PciAddress, access: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.count();
        let mut slots = self.slots.borrow_mut();
        let index = find(&slots, address)?;
        let slot = &mut slots[index];
        let answer = access(slot);
        if let Some(left) = &mut slot.left {
            *left -= 1;
        }
        Some(answer)
    }
}

/// Returns the index of what is at `address`: each bridge forwards the buses that its registers say.
fn find(slots: &[Slot], address: PciAddress) -> Option<usize> {
    if address.segment() != 0 {
        return None;
    }
    let (mut parent, mut here) = (None, 0);
    while here != address.bus() {
        let claim = |slot: &Slot| {
            let (first, last) = slot.buses().filter(|_| slot.parent == parent)?;
            (first..=last).contains(&address.bus()).then_some(first)
        };
        let mut claims = slots.iter().enumerate();
        let (index, first) =
            claims.find_map(|(index, slot)| claim(slot).map(|first| (index, first)))?;
        (parent, here) = (Some(index), first);
    }
    slots.iter().position(|slot| {
        slot.is_there()
            && slot.parent == parent
            && (slot.device, slot.number) == (address.device(), address.function())
    })
}

impl ConfigRegionAccess for FuzzBus {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        let turn = self.accesses.get() as u32;
        let answer = self.answer(address, |slot| {
            let lies = turn.is_multiple_of(3) && offset != 0;
            let noise = if lies { slot.noise } else { 0 };
            slot.function.words[usize::from(offset / 4)] ^ noise.rotate_left(turn)
        });
        answer.unwrap_or(!0)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        let word = usize::from(offset / 4);
        self.answer(address, |slot| {
            let before = slot.function.words[word];
            slot.function.write(word, value);
            let moved = slot.function.words[word] != before || value >= SIZING_ADDRESS;
            assert!(
                !slot.is_bar(word) || !moved || !slot.decodes() || slot.noise != 0,
                "{address}: bar at {offset:#x} changes while the function decodes"
            );
        });
    }
}
