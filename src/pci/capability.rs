// SPDX-License-Identifier: MIT OR Apache-2.0
//! The capability list of a function, walked with a bound.

use core::fmt;

use pci_types::ConfigRegionAccess;

use super::{Function, HeaderKind};

/// Status bit 4: there is a list.
const STATUS_LIST: u16 = 1 << 4;
const POINTER: u16 = 0x34;
const CARDBUS_POINTER: u16 = 0x14;
/// The first byte behind the header; no capability lies below.
const FIRST: u8 = 0x40;
/// A list of 4-byte entries in the 192 bytes behind the header has at most this many.
const MAX_ENTRIES: u8 = 48;

/// An entry of the capability list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Capability ID (PCI 3.0, appendix H); 0x11 is MSI-X.
    pub id: u8,
    /// Offset in configuration space, 0x40 to 0xfc, a multiple of 4.
    pub offset: u8,
}

impl<'c, C: ConfigRegionAccess> Function<'c, C> {
    /// Returns the capabilities in the order of the list.
    ///
    /// The walk ends after 48 entries with an error, so a list that bites its tail does no harm.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities<'c, C> {
        let next = if self.status() & STATUS_LIST == 0 {
            0
        } else if self.header_kind() == HeaderKind::CARDBUS {
            self.read(CARDBUS_POINTER) as u8
        } else {
            self.read(POINTER) as u8
        };
        Capabilities {
            function: *self,
            next,
            seen: 0,
        }
    }
}

/// Iterator over the capabilities of a function, from [`Function::capabilities`].
#[derive(Debug)]
pub struct Capabilities<'c, C> {
    function: Function<'c, C>,
    next: u8,
    seen: u8,
}

impl<C: ConfigRegionAccess> Iterator for Capabilities<'_, C> {
    type Item = Result<Capability, CapabilityError>;

    fn next(&mut self) -> Option<Self::Item> {
        // The lower two bits are reserved and to be masked (PCI 3.0, 6.7).
        let offset = self.next & 0xfc;
        self.next = 0;
        if offset == 0 {
            return None;
        }
        if offset < FIRST {
            return Some(Err(CapabilityError::InHeader { offset }));
        }
        if self.seen == MAX_ENTRIES {
            return Some(Err(CapabilityError::Endless));
        }
        self.seen += 1;
        let word = self.function.read(u16::from(offset));
        self.next = (word >> 8) as u8;
        Some(Ok(Capability {
            id: word as u8,
            offset,
        }))
    }
}

/// A capability list that makes no sense. The walk ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CapabilityError {
    /// An entry points into the header.
    InHeader {
        /// The offset it points to.
        offset: u8,
    },
    /// The list has more entries than fit configuration space, so it is a ring.
    Endless,
}

impl fmt::Display for CapabilityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::InHeader { offset } => {
                write!(
                    f,
                    "the capability list points into the header ({offset:#04x})"
                )
            }
            Self::Endless => write!(f, "the capability list has no end"),
        }
    }
}
