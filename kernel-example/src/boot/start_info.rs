// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PVH `start_info`: memory map and command line, copied out of low memory.
//!
//! Layout: Xen, `include/public/arch-x86/hvm/start_info.h`, version 1. The loader
//! leaves these structures below 1 MiB, in memory that is ours to re-use
//! afterwards, so everything wanted is copied first, with a limit each.

use core::{fmt, mem, ptr, str};

use super::BOOT_MAPPED_BYTES;

pub(super) const MAGIC: u32 = 0x336e_c578;

/// The first version with a memory map.
pub(super) const VERSION_WITH_MEMORY_MAP: u32 = 1;

/// The most memory map entries taken over. QEMU 7.2 gives 6 to 12.
pub(super) const MAX_REGIONS: usize = 64;

/// The longest command line taken over, in bytes.
pub(super) const MAX_COMMAND_LINE_BYTES: usize = 1024;

/// E820 type of ordinary memory.
pub(super) const TYPE_RAM: u32 = 1;

/// The size of one memory map entry in bytes.
const REGION_BYTES: u64 = 24;

/// One entry of the firmware's memory map: physical addresses, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// The first address.
    pub start: u64,
    /// The address behind the last one.
    pub end: u64,
    /// The E820 type.
    kind: u32,
}

impl MemoryRegion {
    /// The value of unused places in [`BootInfo`].
    const EMPTY: Self = Self {
        start: 0,
        end: 0,
        kind: 0,
    };

    /// Returns whether the region is ordinary memory.
    pub const fn is_ram(&self) -> bool {
        self.kind == TYPE_RAM
    }
}

/// What the loader told.
#[derive(Debug)]
pub struct BootInfo {
    regions: [MemoryRegion; MAX_REGIONS],
    region_count: usize,
    /// Invariant: the first `command_line_bytes` bytes are UTF-8 (`copy_command_line`).
    command_line: [u8; MAX_COMMAND_LINE_BYTES],
    command_line_bytes: usize,
    rsdp: u64,
}

impl BootInfo {
    /// Copies the memory map and the command line that `start_info` leads to.
    ///
    /// # Errors
    ///
    /// - [`StartInfoError::Magic`], [`StartInfoError::Version`]: `start_info` is not the
    ///   address of a PVH `start_info` with a memory map.
    /// - [`StartInfoError::Address`]: it leads to an address that is not mapped.
    /// - [`StartInfoError::Regions`], [`StartInfoError::CommandLineLength`]: more than there
    ///   is room for.
    /// - [`StartInfoError::CommandLineText`]: the command line is not UTF-8.
    pub fn copy(start_info: u64) -> Result<Self, StartInfoError> {
        let magic = read_u32(start_info, 0)?;
        if magic != MAGIC {
            return Err(StartInfoError::Magic { found: magic });
        }
        let version = read_u32(start_info, 4)?;
        if version < VERSION_WITH_MEMORY_MAP {
            return Err(StartInfoError::Version { found: version });
        }
        let mut info = Self {
            regions: [MemoryRegion::EMPTY; MAX_REGIONS],
            region_count: 0,
            command_line: [0; MAX_COMMAND_LINE_BYTES],
            command_line_bytes: 0,
            rsdp: read_u64(start_info, 32)?,
        };
        info.copy_command_line(read_u64(start_info, 24)?)?;
        info.copy_regions(read_u64(start_info, 40)?, read_u32(start_info, 48)?)?;
        Ok(info)
    }

    /// Returns the memory map in the firmware's order, which need not be by address.
    pub fn regions(&self) -> &[MemoryRegion] {
        &self.regions[..self.region_count]
    }

    /// Returns the kernel command line.
    pub fn command_line(&self) -> &str {
        str::from_utf8(&self.command_line[..self.command_line_bytes]).unwrap_or_default()
    }

    /// Returns the physical address of the ACPI root pointer, 0 if there is none.
    pub const fn rsdp(&self) -> u64 {
        self.rsdp
    }

    fn copy_command_line(&mut self, address: u64) -> Result<(), StartInfoError> {
        if address == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let byte = read::<1>(address, length as u64)?[0];
            if byte == 0 {
                break;
            }
            *self
                .command_line
                .get_mut(length)
                .ok_or(StartInfoError::CommandLineLength)? = byte;
            length += 1;
        }
        str::from_utf8(&self.command_line[..length]).map_err(|error| {
            StartInfoError::CommandLineText {
                offset: error.valid_up_to(),
            }
        })?;
        self.command_line_bytes = length;
        Ok(())
    }

    fn copy_regions(&mut self, address: u64, count: u32) -> Result<(), StartInfoError> {
        if count as usize > MAX_REGIONS {
            return Err(StartInfoError::Regions { found: count });
        }
        for index in 0..u64::from(count) {
            let entry = index * REGION_BYTES;
            let start = read_u64(address, entry)?;
            let size = read_u64(address, entry + 8)?;
            let kind = read_u32(address, entry + 16)?;
            // qboot of QEMU 7.2 ends some maps with an entry of zeros.
            if kind == 0 || size == 0 {
                continue;
            }
            self.regions[self.region_count] = MemoryRegion {
                start,
                end: start.saturating_add(size),
                kind,
            };
            self.region_count += 1;
        }
        Ok(())
    }
}

/// Reads `N` bytes at the physical address `base + offset`.
fn read<const N: usize>(base: u64, offset: u64) -> Result<[u8; N], StartInfoError> {
    let error = StartInfoError::Address { base, offset };
    let address = base.checked_add(offset).ok_or(error)?;
    let end = address.checked_add(N as u64).ok_or(error)?;
    if base == 0 || end > BOOT_MAPPED_BYTES {
        return Err(error);
    }
    let pointer: *const [u8; N] = ptr::with_exposed_provenance(address as usize);
    // SAFETY: everything below `BOOT_MAPPED_BYTES` is mapped at its own address while this
    // runs; any bytes are a valid `[u8; N]`, whose alignment is 1.
    Ok(unsafe { pointer.read_volatile() })
}

fn read_u32(base: u64, offset: u64) -> Result<u32, StartInfoError> {
    read::<{ mem::size_of::<u32>() }>(base, offset).map(u32::from_le_bytes)
}

fn read_u64(base: u64, offset: u64) -> Result<u64, StartInfoError> {
    read::<{ mem::size_of::<u64>() }>(base, offset).map(u64::from_le_bytes)
}

/// Why the loader's information cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartInfoError {
    /// The magic number is another one.
    Magic {
        /// The number found.
        found: u32,
    },
    /// The version has no memory map.
    Version {
        /// The version found.
        found: u32,
    },
    /// An address is zero or outside the memory mapped at boot.
    Address {
        /// The address of the structure.
        base: u64,
        /// The offset in it, in bytes.
        offset: u64,
    },
    /// The memory map has too many entries.
    Regions {
        /// The number of entries.
        found: u32,
    },
    /// The command line is too long.
    CommandLineLength,
    /// The command line is not UTF-8.
    CommandLineText {
        /// The offset of the first wrong byte.
        offset: usize,
    },
}

impl fmt::Display for StartInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic { found } => write!(
                f,
                "start_info begins with {found:#x}, not {MAGIC:#x}: boot this kernel by PVH (qemu -kernel) or UEFI"
            ),
            Self::Version { found } => write!(
                f,
                "start_info has version {found}, without the memory map of version {VERSION_WITH_MEMORY_MAP}"
            ),
            Self::Address { base, offset } => write!(
                f,
                "start_info leads to {base:#x}+{offset:#x}, not in the {BOOT_MAPPED_BYTES:#x} bytes mapped at boot"
            ),
            Self::Regions { found } => write!(
                f,
                "the memory map has {found} entries, at most {MAX_REGIONS} are taken"
            ),
            Self::CommandLineLength => write!(
                f,
                "the kernel command line is longer than {MAX_COMMAND_LINE_BYTES} bytes"
            ),
            Self::CommandLineText { offset } => write!(
                f,
                "the kernel command line is not UTF-8 at byte {offset}"
            ),
        }
    }
}
