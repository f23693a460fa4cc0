// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one thing wanted of ACPI: where configuration space is in memory (MCFG).
//!
//! Sources: ACPI 6.5, sections 5.2.5 (RSDP), 5.2.6 (header), 5.2.7 (RSDT) and 5.2.8 (XSDT);
//! PCI Firmware Specification 3.0, section 4.1.2 (MCFG). Every table is mapped with
//! the length it claims, within a limit, and counts only if its bytes add up to zero.

use core::{fmt, ptr::NonNull};

use ivshmem::{CachePolicy, PhysRegion};

use crate::{
    boot,
    memory::{self, MapError},
};

const RSDP_SIGNATURE: &[u8; 8] = b"RSD PTR ";

/// The length of the RSDP of ACPI 1.0, and since 2.0.
const RSDP_V1_BYTES: u64 = 20;
const RSDP_V2_BYTES: u64 = 36;

/// The header that all tables begin with: signature, length and more.
const HEADER_BYTES: usize = 36;

/// The longest table looked at; QEMU's are below 64 KiB.
const MAX_TABLE_BYTES: u64 = 1 << 20;

/// An entry of the MCFG, behind 8 reserved bytes.
const MCFG_FIRST_ENTRY: usize = HEADER_BYTES + 8;
const MCFG_ENTRY_BYTES: usize = 16;

/// Where the configuration space of some buses is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct McfgEntry {
    /// The physical address where bus 0 is or would be.
    pub base: u64,
    /// The segment.
    pub segment: u16,
    /// The first bus that is there.
    pub first_bus: u8,
    /// The last bus that is there.
    pub last_bus: u8,
}

/// Returns the first entry of the MCFG for segment 0, if the machine has ACPI tables with one.
///
/// # Errors
///
/// - [`AcpiError::Map`]: a table lies where no memory is.
/// - [`AcpiError::Broken`]: a table is not what it should be.
pub fn mcfg() -> Result<Option<McfgEntry>, AcpiError> {
    let Some(rsdp) = boot::info().map(boot::BootInfo::rsdp).filter(|at| *at != 0) else {
        return Ok(None);
    };
    let Some(table) = find_table(rsdp, b"MCFG")? else {
        return Ok(None);
    };
    let entries = (MCFG_FIRST_ENTRY..)
        .step_by(MCFG_ENTRY_BYTES)
        .map_while(|at| {
            Some(McfgEntry {
                base: u64::from_le_bytes(table.read(at)?),
                segment: u16::from_le_bytes(table.read(at + 8)?),
                first_bus: table.read::<1>(at + 10)?[0],
                last_bus: table.read::<1>(at + 11)?[0],
            })
        });
    Ok(entries
        .filter(|entry| entry.first_bus <= entry.last_bus)
        .find(|entry| entry.segment == 0))
}

/// Returns the first table with this signature that the RSDP leads to.
fn find_table(rsdp: u64, signature: &[u8; 4]) -> Result<Option<Table>, AcpiError> {
    let (root, pointer_bytes) = root_table(rsdp)?;
    let pointers = (HEADER_BYTES..).step_by(pointer_bytes).map_while(|at| {
        if pointer_bytes == 8 {
            root.read(at).map(u64::from_le_bytes)
        } else {
            root.read(at).map(|bytes| u32::from_le_bytes(bytes).into())
        }
    });
    for address in pointers.filter(|address| *address != 0) {
        if Table::map(address, HEADER_BYTES as u64)?.read(0) == Some(*signature) {
            return Table::whole(address).map(Some);
        }
    }
    Ok(None)
}

/// Returns the XSDT if there is one, else the RSDT, and the length of the pointers in it.
fn root_table(rsdp: u64) -> Result<(Table, usize), AcpiError> {
    let broken = AcpiError::Broken { address: rsdp };
    let first = Table::map(rsdp, RSDP_V1_BYTES)?.checked(rsdp)?;
    if first.read(0) != Some(*RSDP_SIGNATURE) {
        return Err(broken);
    }
    let revision = first.read::<1>(15).ok_or(broken)?[0];
    if revision >= 2 {
        let second = Table::map(rsdp, RSDP_V2_BYTES)?.checked(rsdp)?;
        let xsdt = second.read(24).map(u64::from_le_bytes).ok_or(broken)?;
        if xsdt != 0 {
            return Ok((Table::whole(xsdt)?, 8));
        }
    }
    let rsdt = first.read(16).map(u32::from_le_bytes).ok_or(broken)?;
    Ok((Table::whole(rsdt.into())?, 4))
}

/// A mapped range of ACPI data, unmapped on drop.
struct Table {
    /// Invariant: where `region` is mapped.
    base: NonNull<u8>,
    region: PhysRegion,
}

impl Table {
    fn map(address: u64, len: u64) -> Result<Self, AcpiError> {
        let region = PhysRegion {
            start: address,
            len,
        };
        let base = memory::map(region, CachePolicy::WriteBack).map_err(AcpiError::Map)?;
        Ok(Self { base, region })
    }

    /// Maps a table with the length that its header says.
    fn whole(address: u64) -> Result<Self, AcpiError> {
        let broken = AcpiError::Broken { address };
        let header = Self::map(address, HEADER_BYTES as u64)?;
        let len = header.read(4).map(u32::from_le_bytes).ok_or(broken)?.into();
        if !(HEADER_BYTES as u64..=MAX_TABLE_BYTES).contains(&len) {
            return Err(broken);
        }
        Self::map(address, len)?.checked(address)
    }

    /// Returns the table if its bytes add up to zero.
    fn checked(self, address: u64) -> Result<Self, AcpiError> {
        let sum = (0..self.region.len as usize)
            .map_while(|at| self.read::<1>(at))
            .fold(0_u8, |sum, [byte]| sum.wrapping_add(byte));
        if sum == 0 {
            Ok(self)
        } else {
            Err(AcpiError::Broken { address })
        }
    }

    /// Returns the `N` bytes at `offset`, if they are inside.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let end = offset.checked_add(N)?;
        if end as u64 > self.region.len {
            return None;
        }
        let bytes = self.base.as_ptr().wrapping_add(offset).cast::<[u8; N]>();
        // SAFETY: inside the mapping, which lives as long as the value; any bytes are a valid
        // array, whose alignment is 1.
        Some(unsafe { bytes.read_volatile() })
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`, and nothing but this value had the address.
        unsafe { memory::unmap(self.base, self.region) };
    }
}

/// Why the ACPI tables cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// A table cannot be mapped.
    Map(MapError),
    /// A table has a wrong signature, length or sum.
    Broken {
        /// Its physical address.
        address: u64,
    },
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(error) => write!(f, "an ACPI table cannot be mapped: {error}"),
            Self::Broken { address } => {
                write!(f, "the ACPI table at {address:#x} is broken")
            }
        }
    }
}
