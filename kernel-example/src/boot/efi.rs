// SPDX-License-Identifier: MIT OR Apache-2.0
//! The entry as a UEFI application, which is a PVH loader for the kernel around it.
//!
//! `cargo xtask image` puts the headers of a UEFI application before the segments of the
//! kernel's ELF file, so that the firmware loads the very image that PVH boots, at the same
//! addresses. The code here asks the firmware for what a PVH loader tells (memory map, ACPI
//! tables, command line), leaves boot services and long mode, and enters at `pvh_entry`.
//! Behind that nothing depends on how the machine was booted.
//!
//! The command line is the text of [`COMMAND_LINE_FILE`] on the volume that the application
//! was loaded from; without the file it is empty.

use core::{arch::global_asm, ffi::c_void, fmt};

use spin::Once;
use uefi::{
    boot::{self, MemoryType},
    cstr16,
    mem::memory_map::{MemoryDescriptor, MemoryMap},
    proto::media::file::{File, FileAttribute, FileMode},
    system,
    table::cfg::ConfigTableEntry,
    CStr16, Handle, Status,
};

use super::start_info::{
    MAGIC, MAX_COMMAND_LINE_BYTES, MAX_REGIONS, TYPE_RAM, VERSION_WITH_MEMORY_MAP,
};
use crate::{exit, serial};

/// Where the kernel command line is read from.
const COMMAND_LINE_FILE: &CStr16 = cstr16!("\\EFI\\BOOT\\cmdline.txt");

// Types of the memory map besides `TYPE_RAM`: ACPI 6.5, table 15.2.
const TYPE_RESERVED: u32 = 2;
const TYPE_ACPI_TABLES: u32 = 3;
const TYPE_ACPI_NVS: u32 = 4;
const TYPE_UNUSABLE: u32 = 5;

const PAGE_BYTES: u64 = 4096;

global_asm!(include_str!("efi.s"));

extern "C" {
    /// Enters at `pvh_entry` with the physical address of a `start_info`.
    fn efi_enter_pvh(start_info: u64) -> !;
}

/// What `start_info` points to, in memory that stays where it is.
static TOLD: Once<Told> = Once::new();

static START_INFO: Once<StartInfo> = Once::new();

/// What the firmware told, in the form that PVH gives it.
struct Told {
    /// Ends with a zero byte.
    command_line: CommandLine,
    regions: [Region; MAX_REGIONS],
    region_count: usize,
}

type CommandLine = [u8; MAX_COMMAND_LINE_BYTES + 1];

/// PVH `hvm_memmap_table_entry`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Region {
    start: u64,
    len: u64,
    kind: u32,
    reserved: u32,
}

/// PVH `hvm_start_info`, version 1.
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    regions: u64,
    region_count: u32,
    reserved: u32,
}

/// Called by the firmware: the entry point of the UEFI application.
#[no_mangle]
extern "efiapi" fn efi_entry(image: Handle, table: *const c_void) -> Status {
    if let Err(error) = serial::init() {
        exit::fail(format_args!("{error}"));
    }
    // SAFETY: the firmware calls this function with the image's own handle.
    unsafe { boot::set_image_handle(image) };
    // SAFETY: and with the system table, which is valid until the kernel is entered.
    unsafe { uefi::table::set_system_table(table.cast()) };
    match gather() {
        Ok(start_info) => {
            let address = (&raw const *start_info).expose_provenance() as u64;
            // SAFETY: `start_info` and what it points to are statics of the kernel's image, which
            // lies at its own addresses below 4 GiB; boot services have ended, so nothing of the
            // firmware is needed any more.
            unsafe { efi_enter_pvh(address) }
        }
        Err(error) => exit::fail(format_args!("{error}")),
    }
}

/// Asks the firmware for everything and ends its boot services.
fn gather() -> Result<&'static StartInfo, EfiError> {
    let command_line = read_command_line()?;
    let rsdp = system::with_config_table(find_rsdp);
    // SAFETY: no protocol, no pool memory and no reference to the firmware's data is left.
    let map = unsafe { boot::exit_boot_services(None) };
    let mut told = Told {
        command_line,
        regions: [Region::EMPTY; MAX_REGIONS],
        region_count: 0,
    };
    for descriptor in map.entries() {
        told.add(Region::new(descriptor))?;
    }
    let told = TOLD.call_once(|| told);
    Ok(START_INFO.call_once(|| StartInfo {
        magic: MAGIC,
        version: VERSION_WITH_MEMORY_MAP,
        flags: 0,
        module_count: 0,
        modules: 0,
        command_line: told.command_line.as_ptr().expose_provenance() as u64,
        rsdp,
        regions: told.regions.as_ptr().expose_provenance() as u64,
        region_count: told.region_count as u32,
        reserved: 0,
    }))
}

fn read_command_line() -> Result<CommandLine, EfiError> {
    let mut text = [0; MAX_COMMAND_LINE_BYTES + 1];
    let mut volume = boot::get_image_file_system(boot::image_handle())?;
    let opened =
        volume
            .open_volume()?
            .open(COMMAND_LINE_FILE, FileMode::Read, FileAttribute::empty());
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.status() == Status::NOT_FOUND => return Ok(text),
        Err(error) => return Err(error.into()),
    };
    let mut file = file.into_regular_file().ok_or(EfiError::NoFile)?;
    let read = file.read(&mut text)?;
    let length = text[..read].trim_ascii_end().len();
    if length > MAX_COMMAND_LINE_BYTES {
        return Err(EfiError::CommandLineLength);
    }
    text[length..].fill(0);
    Ok(text)
}

/// Returns the physical address of the ACPI root pointer, 0 if there is none.
fn find_rsdp(tables: &[ConfigTableEntry]) -> u64 {
    [ConfigTableEntry::ACPI2_GUID, ConfigTableEntry::ACPI_GUID]
        .into_iter()
        .find_map(|guid| tables.iter().find(|table| table.guid == guid))
        .map_or(0, |table| table.address.expose_provenance() as u64)
}

impl Told {
    /// Adds `region`, as a part of the last one if it continues that. Firmware tells many more
    /// regions than differ in what they mean here.
    fn add(&mut self, region: Region) -> Result<(), EfiError> {
        if let Some(last) = self.regions[..self.region_count].last_mut() {
            if last.kind == region.kind && last.start + last.len == region.start {
                last.len += region.len;
                return Ok(());
            }
        }
        *self
            .regions
            .get_mut(self.region_count)
            .ok_or(EfiError::Regions)? = region;
        self.region_count += 1;
        Ok(())
    }
}

impl Region {
    /// The value of unused places in [`Told`].
    const EMPTY: Self = Self {
        start: 0,
        len: 0,
        kind: 0,
        reserved: 0,
    };

    /// Translates the firmware's type to that of PVH, as it is once boot services have ended.
    fn new(descriptor: &MemoryDescriptor) -> Self {
        let kind = match descriptor.ty {
            MemoryType::LOADER_CODE
            | MemoryType::LOADER_DATA
            | MemoryType::BOOT_SERVICES_CODE
            | MemoryType::BOOT_SERVICES_DATA
            | MemoryType::CONVENTIONAL => TYPE_RAM,
            MemoryType::ACPI_RECLAIM => TYPE_ACPI_TABLES,
            MemoryType::ACPI_NON_VOLATILE => TYPE_ACPI_NVS,
            MemoryType::UNUSABLE => TYPE_UNUSABLE,
            _ => TYPE_RESERVED,
        };
        Self {
            start: descriptor.phys_start,
            len: descriptor.page_count * PAGE_BYTES,
            kind,
            reserved: 0,
        }
    }
}

/// Why the firmware's information cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EfiError {
    /// The command line's file cannot be read.
    File(Status),
    /// The command line's file is no file.
    NoFile,
    /// The command line is too long.
    CommandLineLength,
    /// The memory map has too many entries.
    Regions,
}

impl From<uefi::Error> for EfiError {
    fn from(error: uefi::Error) -> Self {
        Self::File(error.status())
    }
}

impl fmt::Display for EfiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(status) => write!(f, "cannot read {COMMAND_LINE_FILE}: {status}"),
            Self::NoFile => write!(f, "{COMMAND_LINE_FILE} is a folder"),
            Self::CommandLineLength => write!(
                f,
                "{COMMAND_LINE_FILE} is longer than {MAX_COMMAND_LINE_BYTES} bytes"
            ),
            Self::Regions => write!(
                f,
                "the firmware's memory map has more than {MAX_REGIONS} regions that differ"
            ),
        }
    }
}
