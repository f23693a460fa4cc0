// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration space with write masks, written from the PCI specification and not from the driver's constants.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ivshmem::pci::{ConfigRegionAccess, ConfigSpace, PciAddress};

/// Status bits that clear when ones are written: 8 and 11 to 15 (PCI 3.0, table 6-2).
const STATUS_RW1C: u32 = 0xf900_0000;
/// Command bits that can be set: I/O, memory, bus master, parity, SERR, INTx disable.
const COMMAND_RW: u32 = 0x0547;
/// Where a decoding function must never have a BAR: the all-ones address that sizing writes.
pub const SIZING_ADDRESS: u32 = 0xffff_fff0;

/// One function: 64 words and which of their bits can be written.
#[derive(Clone)]
pub struct FakeFunction {
    pub words: [u32; 64],
    pub writable: [u32; 64],
}

impl FakeFunction {
    /// A function with these IDs and a type 0 header.
    pub fn new(vendor: u16, device: u16) -> Self {
        let mut function = Self {
            words: [0; 64],
            writable: [0; 64],
        };
        function.words[0] = u32::from(device) << 16 | u32::from(vendor);
        function.writable[1] = COMMAND_RW;
        function
    }

    /// An ivshmem-doorbell as QEMU makes it, with `vectors` vectors, at addresses firmware might choose.
    pub fn doorbell(vectors: u16) -> Self {
        Self::plain()
            .msix(vectors, (1, 0), (1, 0x800))
            .memory32(1, 0xfebf_0000, 0x1000)
    }

    /// An ivshmem-plain as QEMU makes it, with 1 MiB of shared memory.
    pub fn plain() -> Self {
        let mut function = Self::new(0x1af4, 0x1110);
        function.words[1] = 0x0103;
        function.words[2] = 0x0500_0001;
        function
            .memory32(0, 0xfebf_1000, 0x100)
            .memory64(2, 0xfea0_0000, 0x10_0000)
    }

    /// An ivshmem as QEMU 2.5 makes it with msi=off: revision 0, INTA.
    pub fn legacy() -> Self {
        let mut function = Self::plain();
        function.words[2] = 0x0500_0000;
        function.words[0x3c / 4] = 0x0000_0100;
        function
    }

    /// Adds a 32-bit memory BAR of `size` bytes.
    pub fn memory32(mut self, index: usize, address: u32, size: u32) -> Self {
        self.words[4 + index] = address;
        self.writable[4 + index] = !(size - 1);
        self
    }

    /// Adds a prefetchable 64-bit memory BAR of `size` bytes.
    pub fn memory64(mut self, index: usize, address: u64, size: u64) -> Self {
        let mask = !(size - 1);
        self.words[4 + index] = address as u32 | 0xc;
        self.words[5 + index] = (address >> 32) as u32;
        self.writable[4 + index] = mask as u32;
        self.writable[5 + index] = (mask >> 32) as u32;
        self
    }

    /// Adds an MSI-X capability at 0x40, with (BIR, offset) of table and pending bits.
    pub fn msix(mut self, vectors: u16, table: (u32, u32), pending: (u32, u32)) -> Self {
        self.words[1] |= 1 << 20;
        self.words[0x34 / 4] = 0x40;
        self.words[0x40 / 4] = u32::from(vectors - 1) << 16 | 0x0011;
        self.writable[0x40 / 4] = 0xc000_0000;
        self.words[0x44 / 4] = table.1 | table.0;
        self.words[0x48 / 4] = pending.1 | pending.0;
        self
    }

    /// Makes it a PCI-to-PCI bridge to `secondary`.
    pub fn bridge(mut self, secondary: u8) -> Self {
        self.words[2] = 0x0604_0000;
        self.words[3] |= 1 << 16;
        self.words[6] = u32::from(secondary) << 8;
        self
    }

    /// Makes it a bridge as it comes out of reset, whose registers work, with a 64-bit prefetchable window or
    /// none, and with an I/O window or none.
    pub fn blank_bridge(mut self, wide: bool, io: bool) -> Self {
        self.words[2] = 0x0604_0000;
        self.words[3] |= 1 << 16;
        self.writable[0x18 / 4] = 0xffff_ffff;
        self.writable[0x20 / 4] = 0xfff0_fff0;
        if wide {
            self.words[0x24 / 4] = 0x0001_0001;
            self.writable[0x24 / 4] = 0xfff0_fff0;
            self.writable[0x28 / 4] = !0;
            self.writable[0x2c / 4] = !0;
        }
        if io {
            self.writable[0x1c / 4] = 0xf0f0;
        }
        self
    }

    /// Adds an I/O BAR of `size` ports.
    pub fn io(mut self, index: usize, address: u32, size: u32) -> Self {
        self.words[4 + index] = address | 1;
        self.writable[4 + index] = !(size - 1);
        self
    }

    /// Sets the multi-function bit.
    pub fn multi_function(mut self) -> Self {
        self.words[3] |= 1 << 23;
        self
    }

    pub fn decodes(&self) -> bool {
        self.words[1] & 0b11 != 0
    }

    pub fn write(&mut self, word: usize, value: u32) {
        let mask = self.writable[word];
        self.words[word] = self.words[word] & !mask | value & mask;
        if word == 1 {
            self.words[1] &= !(value & STATUS_RW1C);
        }
    }
}

/// The functions of a machine. Anything not there reads all ones.
#[derive(Default)]
pub struct FakeBus {
    functions: RefCell<BTreeMap<PciAddress, FakeFunction>>,
    /// Reads so far, to show that walks end.
    pub reads: RefCell<usize>,
    /// Writes so far, as (word, value), to show their order.
    pub writes: RefCell<Vec<(usize, u32)>>,
}

impl FakeBus {
    /// Adds a function.
    pub fn with(self, at: (u8, u8, u8), function: FakeFunction) -> Self {
        let address = PciAddress::new(0, at.0, at.1, at.2);
        self.functions.borrow_mut().insert(address, function);
        self
    }

    /// Returns the configuration space to give to the driver.
    pub fn space(&self) -> ConfigSpace<&Self> {
        // SAFETY: the fake takes reads and writes anywhere.
        unsafe { ConfigSpace::new(self) }
    }

    /// Takes a function away, as an unplug does.
    pub fn unplug(&self, at: (u8, u8, u8)) {
        let address = PciAddress::new(0, at.0, at.1, at.2);
        self.functions.borrow_mut().remove(&address);
    }

    /// Returns the words of a function.
    pub fn words(&self, at: (u8, u8, u8)) -> [u32; 64] {
        self.functions.borrow()[&PciAddress::new(0, at.0, at.1, at.2)].words
    }
}

impl ConfigRegionAccess for FakeBus {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        *self.reads.borrow_mut() += 1;
        let functions = self.functions.borrow();
        functions
            .get(&address)
            .map_or(!0, |function| function.words[usize::from(offset / 4)])
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        let mut functions = self.functions.borrow_mut();
        let Some(function) = functions.get_mut(&address) else {
            return;
        };
        let word = usize::from(offset / 4);
        self.writes.borrow_mut().push((word, value));
        function.write(word, value);
        assert!(
            !(4..=9).contains(&word) || value < SIZING_ADDRESS || !function.decodes(),
            "{address}: bar at {offset:#x} is sized while the function decodes"
        );
    }
}
