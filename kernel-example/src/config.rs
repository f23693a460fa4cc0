// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration space: which mechanism reaches it, and addresses where firmware gave none.
//!
//! `config=cam` and `config=ecam` on the command line choose the mechanism; otherwise it is
//! port 0xcf8 where that works, else memory. The word `assign` lets the kernel give addresses
//! to BARs and bridges, which it does on microvm in any case: no firmware does it there.

use core::fmt;

use ivshmem::{
    pci::{
        assign, AssignError, Buses, ConfigRegionAccess, ConfigSpace, Ecam, Function, PciAddress,
        PortCam, Window, Windows,
    },
    CachePolicy, PhysRegion,
};

use crate::{
    acpi::{self, AcpiError, McfgEntry},
    arch::cpu,
    boot, cmdline,
    memory::{self, MapError},
};

/// The host bridge of QEMU's microvm, vendor in the lower half.
const MICROVM_HOST_BRIDGE: u32 = 0x0008_1b36;

/// Where microvm has configuration space; no ACPI table says so (QEMU 7.2, `pcie=on`).
const MICROVM: McfgEntry = McfgEntry {
    base: 0xe000_0000,
    segment: 0,
    first_bus: 0,
    last_bus: 255,
};

const FOUR_GIB: u64 = 1 << 32;

/// From where to where `pc` and `q35` have nothing below 4 GiB, if RAM does not reach up there: above the ECAM
/// of q35 at 0xb0000000, below firmware, APICs and timers.
const LOW_START: u64 = 0xc000_0000;
const LOW_END: u64 = 0xfe00_0000;

/// Ports that no chip of `pc` and `q35` has.
const PORTS: Window = Window {
    start: 0xc000,
    len: 0x4000,
};

/// The way to configuration space.
#[derive(Debug)]
pub enum Mechanism {
    /// Ports 0xcf8 and 0xcfc.
    Cam(PortCam),
    /// Memory.
    Ecam(Ecam),
}

impl ConfigRegionAccess for Mechanism {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        match self {
            // SAFETY: the caller declares the word valid.
            Self::Cam(cam) => unsafe { cam.read(address, offset) },
            // SAFETY: the caller declares the word valid.
            Self::Ecam(ecam) => unsafe { ecam.read(address, offset) },
        }
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        match self {
            // SAFETY: the caller declares the word valid.
            Self::Cam(cam) => unsafe { cam.write(address, offset, value) },
            // SAFETY: the caller declares the word valid.
            Self::Ecam(ecam) => unsafe { ecam.write(address, offset, value) },
        }
    }
}

/// Returns configuration space, assigned if that was asked for.
///
/// # Errors
///
/// - [`ConfigError::Unknown`], [`ConfigError::NoEcam`]: the mechanism asked for is not there.
/// - [`ConfigError::Acpi`], [`ConfigError::Map`]: the way to configuration space in memory is broken.
pub fn open() -> Result<ConfigSpace<Mechanism>, ConfigError> {
    match cmdline::get("config") {
        None => {
            let cam = cam();
            if first_id(&cam).is_some() {
                return Ok(assigned(cam));
            }
            if let Some(microvm) = microvm()? {
                give_addresses(&microvm, &microvm_windows());
                return Ok(microvm);
            }
            Ok(ecam()?.unwrap_or(cam))
        }
        Some("cam") => Ok(assigned(cam())),
        Some("ecam") => ecam()?.map(assigned).ok_or(ConfigError::NoEcam),
        Some(name) => Err(ConfigError::Unknown { name }),
    }
}

fn cam() -> ConfigSpace<Mechanism> {
    // SAFETY: ring 0, and nothing else in this kernel uses the two ports.
    let ports = unsafe { PortCam::new() };
    space(Mechanism::Cam(ports))
}

/// Returns what the MCFG leads to.
fn ecam() -> Result<Option<ConfigSpace<Mechanism>>, ConfigError> {
    let entry = acpi::mcfg().map_err(ConfigError::Acpi)?;
    entry.map(map).transpose()
}

/// Returns the configuration space of microvm, if this is one with PCI.
fn microvm() -> Result<Option<ConfigSpace<Mechanism>>, ConfigError> {
    let config = map(MICROVM)?;
    Ok((first_id(&config) == Some(MICROVM_HOST_BRIDGE)).then_some(config))
}

fn map(entry: McfgEntry) -> Result<ConfigSpace<Mechanism>, ConfigError> {
    let buses = entry.first_bus..=entry.last_bus;
    let region = PhysRegion {
        start: entry.base.saturating_add(
            Ecam::mapping_len(&(0..=entry.first_bus)) - Ecam::mapping_len(&(0..=0)),
        ),
        len: Ecam::mapping_len(&buses),
    };
    let base = memory::map(region, CachePolicy::Uncached).map_err(ConfigError::Map)?;
    log::info!(
        "configuration space of buses {buses:?} at {:#x}",
        region.start
    );
    // SAFETY: mapped uncached and for good, on a page boundary as ECAM is, just above.
    let ecam = unsafe { Ecam::new(base, entry.segment, buses) };
    Ok(space(Mechanism::Ecam(ecam)))
}

const fn space(mechanism: Mechanism) -> ConfigSpace<Mechanism> {
    // SAFETY: there is one processor, no handler touches configuration space, and devices
    // have no other drivers here.
    unsafe { ConfigSpace::new(mechanism) }
}

/// Returns the IDs of what every machine has at 00:00.0, its host bridge.
fn first_id(config: &ConfigSpace<Mechanism>) -> Option<u32> {
    Function::at(config, PciAddress::default())?.word(0)
}

/// Gives addresses if the command line says so.
fn assigned(config: ConfigSpace<Mechanism>) -> ConfigSpace<Mechanism> {
    if cmdline::has("assign") {
        give_addresses_on_pc(&config);
    }
    config
}

/// Gives addresses to all of `pc` or `q35`, if nothing has one yet.
pub fn give_addresses_on_pc(config: &ConfigSpace<Mechanism>) {
    give_addresses(config, &pc_windows());
}

fn give_addresses(config: &ConfigSpace<Mechanism>, windows: &Windows) {
    match assign(config, Buses::ALL, windows) {
        Ok(()) => log::info!("assigned all BARs, from {windows:x?}"),
        Err(error @ AssignError::AlreadyAssigned { .. }) => log::info!("{error}"),
        Err(error) => log::warn!("{error}"),
    }
}

/// What `pc` and `q35` have for BARs, with any amount of RAM.
fn pc_windows() -> Windows {
    let regions = boot::info().map_or(&[][..], |info| info.regions());
    let ram_ends = |from: u64, to: u64| {
        regions
            .iter()
            .filter(move |region| region.is_ram() && (from..to).contains(&region.start))
            .map(|region| region.end)
            .max()
    };
    let low = ram_ends(0, FOUR_GIB).unwrap_or(0).max(LOW_START);
    let high = ram_ends(FOUR_GIB, u64::MAX).unwrap_or(FOUR_GIB);
    // AMD's processors keep the top for themselves, and the memory map says so.
    let high_end = regions
        .iter()
        .map(|region| region.start)
        .filter(|start| *start >= high)
        .fold(1 << cpu::physical_address_bits(), u64::min);
    Windows {
        memory32: window(low, LOW_END),
        memory64: Some(window(high, high_end)),
        io: Some(PORTS),
    }
}

/// What microvm has for BARs (QEMU 7.2): half a GiB below its ECAM, and the last quarter of the address space.
fn microvm_windows() -> Windows {
    let quarter = 1 << (cpu::physical_address_bits() - 2);
    Windows {
        memory32: window(LOW_START, MICROVM.base),
        memory64: Some(window(3 * quarter, 4 * quarter)),
        io: None,
    }
}

const fn window(start: u64, end: u64) -> Window {
    Window {
        start,
        len: end.saturating_sub(start),
    }
}

/// Why there is no configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The command line asks for a mechanism that there is not.
    Unknown {
        /// Its name.
        name: &'static str,
    },
    /// The command line asks for memory, and no ACPI table says where.
    NoEcam,
    /// The ACPI tables cannot be used.
    Acpi(AcpiError),
    /// Configuration space cannot be mapped.
    Map(MapError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => {
                write!(f, "unknown mechanism config={name}, there are: cam, ecam")
            }
            Self::NoEcam => write!(f, "config=ecam: the machine has no ACPI table MCFG"),
            Self::Acpi(error) => error.fmt(f),
            Self::Map(error) => write!(f, "configuration space cannot be mapped: {error}"),
        }
    }
}
