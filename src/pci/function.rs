// SPDX-License-Identifier: MIT OR Apache-2.0
//! One PCI function and the header fields that all kinds have in common.

use core::fmt;

use pci_types::{CommandRegister, ConfigRegionAccess, PciAddress};

use super::ConfigSpace;

const ID: u16 = 0x00;
/// Command in the lower half; Status, whose error bits are cleared by writing ones, in the upper.
pub(super) const COMMAND: u16 = 0x04;
const CLASS: u16 = 0x08;
const HEADER: u16 = 0x0c;
/// Primary, secondary and subordinate bus of a bridge, one byte each.
const BRIDGE_BUSES: u16 = 0x18;
const INTERRUPT: u16 = 0x3c;
/// Vendor ID read where no function answers (PCI 3.0, 6.1).
const NO_VENDOR: u16 = 0xffff;

/// A function that answered in configuration space.
pub struct Function<'c, C> {
    config: &'c ConfigSpace<C>,
    address: PciAddress,
    id: u32,
}

impl<'c, C: ConfigRegionAccess> Function<'c, C> {
    /// Returns the function at `address`, if one answers there.
    #[must_use]
    pub fn at(config: &'c ConfigSpace<C>, address: PciAddress) -> Option<Self> {
        let id = config.read(address, ID);
        if id as u16 == NO_VENDOR {
            return None;
        }
        Some(Self {
            config,
            address,
            id,
        })
    }

    /// Returns what answers at the address now: it may have been unplugged, or exchanged.
    #[must_use]
    pub fn refresh(&self) -> Option<Self> {
        Self::at(self.config, self.address)
    }

    /// Returns where the function is.
    #[must_use]
    pub const fn address(&self) -> PciAddress {
        self.address
    }

    /// Returns the Vendor ID (offset 0x00).
    #[must_use]
    pub const fn vendor_id(&self) -> u16 {
        self.id as u16
    }

    /// Returns the Device ID (offset 0x02).
    #[must_use]
    pub const fn device_id(&self) -> u16 {
        (self.id >> 16) as u16
    }

    /// Returns the Revision ID (offset 0x08).
    #[must_use]
    pub fn revision(&self) -> u8 {
        self.read(CLASS) as u8
    }

    /// Returns the Class Code (offset 0x09): base class, sub-class, interface, from the top.
    #[must_use]
    pub fn class(&self) -> u32 {
        self.read(CLASS) >> 8
    }

    /// Returns the layout of the rest of the header.
    #[must_use]
    pub fn header_kind(&self) -> HeaderKind {
        HeaderKind((self.read(HEADER) >> 16) as u8 & 0x7f)
    }

    /// Returns whether functions 1 to 7 of this device are worth asking (bit 7 of the header type).
    #[must_use]
    pub fn is_multi_function(&self) -> bool {
        self.read(HEADER) & 1 << 23 != 0
    }

    /// Returns the bus behind a PCI-to-PCI bridge (offset 0x19); 0 before firmware has numbered it.
    #[must_use]
    pub fn secondary_bus(&self) -> u8 {
        (self.read(BRIDGE_BUSES) >> 8) as u8
    }

    /// Returns the Interrupt Pin (offset 0x3d): 0 for none, 1 for INTA.
    #[must_use]
    pub fn interrupt_pin(&self) -> u8 {
        (self.read(INTERRUPT) >> 8) as u8
    }

    /// Returns the Command register (offset 0x04).
    #[must_use]
    pub fn command(&self) -> CommandRegister {
        CommandRegister::from_bits_retain(self.read(COMMAND) as u16)
    }

    /// Returns the Status register (offset 0x06).
    #[must_use]
    pub fn status(&self) -> u16 {
        (self.read(COMMAND) >> 16) as u16
    }

    /// Returns the 32-bit word at byte `offset` of configuration space, for what has no method here.
    ///
    /// `None` unless `offset` is a multiple of 4 below 256.
    #[must_use]
    pub fn word(&self, offset: u16) -> Option<u32> {
        (offset % 4 == 0 && offset < 256).then(|| self.read(offset))
    }

    /// Writes the Command register.
    ///
    /// The Status half is written as zero: its bits clear when ones are written (PCI 3.0, 6.2.3).
    pub(crate) fn set_command(&self, command: CommandRegister) {
        self.write(COMMAND, u32::from(command.bits()));
    }

    /// Returns the configuration space that the function is in.
    pub(super) const fn config(&self) -> &'c ConfigSpace<C> {
        self.config
    }

    /// Reads the word at byte `offset`.
    pub(super) fn read(&self, offset: u16) -> u32 {
        self.config.read(self.address, offset)
    }

    /// Writes the word at byte `offset`.
    pub(super) fn write(&self, offset: u16, value: u32) {
        self.config.write(self.address, offset, value);
    }
}

impl<C> Clone for Function<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Function<'_, C> {}

impl<C> fmt::Debug for Function<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("address", &self.address)
            .field("id", &format_args!("{:#010x}", self.id))
            .finish()
    }
}

/// Layout of a configuration header: the Header Type (offset 0x0e) without the multi-function bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderKind(pub u8);

impl HeaderKind {
    /// An ordinary device, with six BARs.
    pub const ENDPOINT: Self = Self(0);
    /// A PCI-to-PCI bridge or a PCIe port, with two BARs and a bus behind it.
    pub const BRIDGE: Self = Self(1);
    /// A CardBus bridge.
    pub const CARDBUS: Self = Self(2);

    /// Returns the number of BARs of such a header; 0 for an unknown one.
    #[must_use]
    pub const fn bars(self) -> u8 {
        match self {
            Self::ENDPOINT => 6,
            Self::BRIDGE => 2,
            Self::CARDBUS => 1,
            _ => 0,
        }
    }
}
