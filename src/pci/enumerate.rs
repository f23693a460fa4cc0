// SPDX-License-Identifier: MIT OR Apache-2.0
//! Enumeration: every function on a root bus and behind bridges, each once, in bounded time.
//!
//! Buses are visited in ascending order from a set of 256 bits: a bridge adds
//! the bus behind it. A bus is visited once however many bridges claim it, so
//! the walk ends after at most 256 buses of 256 functions whatever the hardware says.

use core::fmt;

use pci_types::{ConfigRegionAccess, PciAddress};

use super::{ConfigSpace, Function, HeaderKind};

pub(super) const DEVICES: u8 = 32;
pub(super) const FUNCTIONS: u8 = 8;

impl<C: ConfigRegionAccess> ConfigSpace<C> {
    /// Returns the functions of segment 0: those on bus 0, then those behind bridges, by ascending bus.
    ///
    /// Behind a bridge whose buses firmware has not numbered (secondary bus 0) nothing is found.
    pub fn functions(&self) -> Functions<'_, C> {
        self.functions_from(0, 0)
    }

    /// Returns the functions on bus `root_bus` of `segment`, then those behind its bridges, by ascending bus.
    ///
    /// For machines with several segments, or several host bridges in one; ACPI names them.
    pub fn functions_from(&self, segment: u16, root_bus: u8) -> Functions<'_, C> {
        let mut found = BusSet::default();
        found.insert(root_bus);
        Functions {
            config: self,
            found,
            segment,
            bus: root_bus,
            device: 0,
            function: 0,
            end: false,
        }
    }
}

/// Iterator over the functions of a machine, from [`ConfigSpace::functions_from`].
///
/// A bridge or header that makes no sense gives an error, and the walk goes on with the next function.
#[derive(Debug)]
pub struct Functions<'c, C> {
    config: &'c ConfigSpace<C>,
    found: BusSet,
    segment: u16,
    bus: u8,
    device: u8,
    function: u8,
    end: bool,
}

impl<'c, C: ConfigRegionAccess> Iterator for Functions<'c, C> {
    type Item = Result<Function<'c, C>, EnumerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.end {
            let address = PciAddress::new(self.segment, self.bus, self.device, self.function);
            let function = Function::at(self.config, address);
            let multi_function = function.is_some_and(|function| function.is_multi_function());
            // The bus behind a bridge joins the set before the walk looks for the next bus.
            let item = function.map(|function| self.admit(function));
            self.advance(multi_function);
            if item.is_some() {
                return item;
            }
        }
        None
    }
}

impl<'c, C: ConfigRegionAccess> Functions<'c, C> {
    /// Checks a function that answered, and adds the bus behind it if it is a bridge.
    fn admit(&mut self, function: Function<'c, C>) -> Result<Function<'c, C>, EnumerateError> {
        let address = function.address();
        match function.header_kind() {
            HeaderKind::ENDPOINT => {}
            HeaderKind::BRIDGE | HeaderKind::CARDBUS => {
                let secondary = function.secondary_bus();
                if secondary == 0 {
                    return Ok(function);
                }
                // A bus lies behind its bridge, so its number is larger (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.3).
                if secondary <= address.bus() || !self.found.insert(secondary) {
                    return Err(EnumerateError::BusTaken { address, secondary });
                }
            }
            kind => return Err(EnumerateError::UnknownHeader { address, kind }),
        }
        Ok(function)
    }

    /// Moves on to the next place to look at.
    fn advance(&mut self, multi_function: bool) {
        // Function 0 alone says whether there are others.
        let more = self.function > 0 || multi_function;
        if more && self.function + 1 < FUNCTIONS {
            self.function += 1;
            return;
        }
        self.function = 0;
        self.device += 1;
        if self.device < DEVICES {
            return;
        }
        self.device = 0;
        match self.found.next_after(self.bus) {
            Some(bus) => self.bus = bus,
            None => self.end = true,
        }
    }
}

/// A set of bus numbers.
#[derive(Debug, Default)]
pub(super) struct BusSet([u64; 4]);

impl BusSet {
    /// Adds `bus`; `false` if it was in.
    pub(super) fn insert(&mut self, bus: u8) -> bool {
        let word = &mut self.0[usize::from(bus / 64)];
        let bit = 1 << (bus % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Returns whether `bus` is in.
    pub(super) const fn contains(&self, bus: u8) -> bool {
        self.0[bus as usize / 64] & 1 << (bus % 64) != 0
    }

    /// Returns the smallest member above `bus`.
    fn next_after(&self, bus: u8) -> Option<u8> {
        (bus..=u8::MAX).skip(1).find(|&bus| self.contains(bus))
    }
}

/// A function that enumeration could not make sense of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnumerateError {
    /// The header type is none of endpoint, bridge and CardBus bridge.
    UnknownHeader {
        /// Where the function is.
        address: PciAddress,
        /// What its header type says.
        kind: HeaderKind,
    },
    /// A bridge leads to a bus that is not behind it or that another bridge leads to.
    BusTaken {
        /// Where the bridge is.
        address: PciAddress,
        /// The secondary bus it claims.
        secondary: u8,
    },
}

impl fmt::Display for EnumerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownHeader { address, kind } => {
                write!(f, "{address} has the unknown header type {:#04x}", kind.0)
            }
            Self::BusTaken { address, secondary } => write!(
                f,
                "the bridge at {address} claims bus {secondary:#04x}, which does not lie behind it alone"
            ),
        }
    }
}
