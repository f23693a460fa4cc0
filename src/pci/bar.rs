// SPDX-License-Identifier: MIT OR Apache-2.0
//! Base address registers: where they are, how large, and how to find out without harm.
//!
//! "Software saves the original value of the Base Address register, writes
//! 0 FFFF FFFFh to the register, then reads it back" (PCI 3.0, 6.2.5.1,
//! implementation note), and decoding must be off meanwhile: the all-ones
//! address would otherwise be decoded, over whatever is mapped there. The size
//! is the lowest bit that stuck, which is right also where upper bits are
//! read-only or where the size is 2 GiB and sign extension lurks.

use core::fmt;

use pci_types::{CommandRegister, ConfigRegionAccess};

use super::Function;

/// Base class and sub-class of a bridge from the processor to PCI (PCI 3.0, appendix D).
const HOST_BRIDGE: u32 = 0x0600;
const FIRST_BAR: u16 = 0x10;
const IO_SPACE: u32 = 1 << 0;
const PREFETCHABLE: u32 = 1 << 3;
const MEMORY_FLAGS: u32 = 0xf;
const IO_FLAGS: u32 = 0x3;

/// What a BAR decodes and how wide its address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; the BAR takes two registers.
    Memory64,
}

/// A base address register that a function implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Number of the register, 0 to 5; the first of the two for 64-bit memory.
    pub index: u8,
    /// What it decodes.
    pub kind: BarKind,
    /// Whether reads have no side effects, so that bridges may prefetch.
    pub prefetchable: bool,
    /// The address programmed; 0 means that nobody has assigned one.
    pub address: u64,
    /// Size in bytes, a power of two.
    pub size: u64,
}

impl<'c, C: ConfigRegionAccess> Function<'c, C> {
    /// Returns the BARs that this function implements, in order.
    ///
    /// Each step sizes one BAR: decoding of the function is off for a moment,
    /// then configuration space is again as it was, bit for bit. What lies behind a bridge is out of
    /// reach for that moment. Host bridges are left alone: without decoding, memory itself can be cut off.
    #[must_use]
    pub fn bars(&self) -> Bars<'c, C> {
        Bars {
            function: *self,
            next: 0,
            end: self.bar_registers(),
        }
    }

    /// Returns the number of registers that are BARs and may be sized.
    fn bar_registers(&self) -> u8 {
        if self.class() >> 8 == HOST_BRIDGE {
            return 0;
        }
        self.header_kind().bars()
    }

    /// Returns the BAR with number `index`, or `None` if the function does not implement it.
    ///
    /// # Errors
    ///
    /// - [`BarError::ReservedType`]: the type bits have the reserved value.
    /// - [`BarError::NoUpperHalf`]: a 64-bit BAR in the last register.
    pub fn bar(&self, index: u8) -> Result<Option<Bar>, BarError> {
        // Going over the earlier ones tells whether `index` is the upper half of a 64-bit BAR.
        for bar in self.bars() {
            match bar {
                Ok(bar) if bar.index == index => return Ok(Some(bar)),
                Err(error) if error.index() == index => return Err(error),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Returns whether a memory BAR has an address. Sizes nothing and changes nothing.
    pub(super) fn has_memory_address(&self) -> bool {
        let end = u16::from(self.bar_registers());
        let mut upper_half = false;
        for raw in (0..end).map(|index| self.read(FIRST_BAR + 4 * index)) {
            let address = if upper_half { raw } else { raw & !MEMORY_FLAGS };
            if (upper_half || raw & IO_SPACE == 0) && address != 0 {
                return true;
            }
            upper_half = !upper_half && kind_of(raw) == Some(BarKind::Memory64);
        }
        false
    }

    /// Writes the address of a BAR. The function must not decode meanwhile.
    pub(super) fn set_bar_address(&self, bar: &Bar, address: u64) {
        let offset = FIRST_BAR + 4 * u16::from(bar.index);
        // The bits that are flags are read-only.
        self.write(offset, address as u32);
        if bar.kind == BarKind::Memory64 {
            self.write(offset + 4, (address >> 32) as u32);
        }
    }

    /// Sizes the BAR in register `index` of the `end` that the header has.
    fn size_bar(&self, index: u8, end: u8) -> Result<Option<Bar>, BarError> {
        let low_offset = FIRST_BAR + 4 * u16::from(index);
        let low = self.read(low_offset);
        let kind = kind_of(low).ok_or(BarError::ReservedType { index, raw: low })?;
        let high = if kind == BarKind::Memory64 {
            if index + 1 >= end {
                return Err(BarError::NoUpperHalf { index, raw: low });
            }
            Some((low_offset + 4, self.read(low_offset + 4)))
        } else {
            None
        };

        let command = self.command();
        self.set_command(command - (CommandRegister::IO_ENABLE | CommandRegister::MEMORY_ENABLE));
        // Both halves are written before either is read: the pair is one register to the device.
        self.write(low_offset, !0);
        if let Some((offset, _)) = high {
            self.write(offset, !0);
        }
        let low_probe = self.read(low_offset);
        let high_probe = high.map_or(0, |(offset, _)| self.read(offset));
        self.write(low_offset, low);
        if let Some((offset, value)) = high {
            self.write(offset, value);
        }
        self.set_command(command);

        let flags = if kind == BarKind::Io {
            IO_FLAGS
        } else {
            MEMORY_FLAGS
        };
        let stuck = u64::from(high_probe) << 32 | u64::from(low_probe & !flags);
        if stuck == 0 {
            return Ok(None);
        }
        let high_value = high.map_or(0, |(_, value)| value);
        Ok(Some(Bar {
            index,
            kind,
            prefetchable: kind != BarKind::Io && low & PREFETCHABLE != 0,
            address: u64::from(high_value) << 32 | u64::from(low & !flags),
            size: stuck & stuck.wrapping_neg(),
        }))
    }
}

/// Returns what the type bits of a BAR say, or `None` for the reserved value.
const fn kind_of(raw: u32) -> Option<BarKind> {
    if raw & IO_SPACE != 0 {
        return Some(BarKind::Io);
    }
    match raw >> 1 & 3 {
        // 01 was "below 1 MiB" until PCI 2.2: still a 32-bit register.
        0 | 1 => Some(BarKind::Memory32),
        2 => Some(BarKind::Memory64),
        _ => None,
    }
}

/// Iterator over the BARs of a function, from [`Function::bars`].
#[derive(Debug)]
pub struct Bars<'c, C> {
    function: Function<'c, C>,
    next: u8,
    end: u8,
}

impl<C: ConfigRegionAccess> Iterator for Bars<'_, C> {
    type Item = Result<Bar, BarError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.end {
            let index = self.next;
            self.next += 1;
            match self.function.size_bar(index, self.end) {
                Ok(None) => {}
                Ok(Some(bar)) => {
                    if bar.kind == BarKind::Memory64 {
                        self.next += 1;
                    }
                    return Some(Ok(bar));
                }
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// A BAR that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BarError {
    /// The memory type bits are 11, which PCI reserves.
    ReservedType {
        /// Number of the register.
        index: u8,
        /// Its value.
        raw: u32,
    },
    /// A 64-bit BAR in the last register, with no room for its upper half.
    NoUpperHalf {
        /// Number of the register.
        index: u8,
        /// Its value.
        raw: u32,
    },
}

impl BarError {
    /// Returns the number of the register.
    #[must_use]
    pub const fn index(&self) -> u8 {
        match *self {
            Self::ReservedType { index, .. } | Self::NoUpperHalf { index, .. } => index,
        }
    }
}

impl fmt::Display for BarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ReservedType { index, raw } => {
                write!(f, "bar {index} has the reserved memory type ({raw:#010x})")
            }
            Self::NoUpperHalf { index, raw } => write!(
                f,
                "bar {index} is 64 bits wide but the last register ({raw:#010x})"
            ),
        }
    }
}
