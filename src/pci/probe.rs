// SPDX-License-Identifier: MIT OR Apache-2.0
//! Recognises ivshmem and turns its configuration space into plain [`Resources`]. Maps nothing, changes nothing.

use core::fmt;

use pci_types::{ConfigRegionAccess, PciAddress};

use super::{
    Bar, BarError, BarKind, CapabilityError, ConfigSpace, Function, MsixCapability, MsixError,
    TablePlace,
};
use crate::platform::PhysRegion;
use crate::registers::BLOCK_LEN;

/// Red Hat's vendor ID, under which QEMU's own devices are.
pub const VENDOR_ID: u16 = 0x1af4;
/// Inter-VM shared memory (QEMU `docs/specs/ivshmem-spec.rst`).
pub const DEVICE_ID: u16 = 0x1110;
const REGISTERS_BAR: u8 = 0;
const SHARED_MEMORY_BAR: u8 = 2;
const MAX_BARS: usize = 6;

/// Where the parts of an ivshmem device are, in physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resources {
    /// Where the function is.
    pub address: PciAddress,
    /// Revision: 0 for the device before QEMU 2.6 (and its alias until 3.1), 1 since.
    pub revision: u8,
    /// Interrupt Pin: 0 for none, 1 for INTA, which revision 0 always shows.
    pub interrupt_pin: u8,
    /// BAR 0, the registers; `None` where the hypervisor leaves them out (see [`quirks`](crate::quirks)).
    pub registers: Option<PhysRegion>,
    /// BAR 2, the shared memory.
    pub shared_memory: PhysRegion,
    /// MSI-X, if the device has interrupts of that kind.
    pub msix: Option<MsixResources>,
}

/// Where MSI-X table and pending bits are. Both lie inside their BARs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MsixResources {
    /// The capability.
    pub capability: MsixCapability,
    /// The whole BAR that holds the table.
    pub table_bar: PhysRegion,
    /// The whole BAR that holds the pending bits, often the same.
    pub pending_bar: PhysRegion,
}

/// Returns whether the IDs are those of an ivshmem device, 1af4:1110.
#[must_use]
pub const fn is_ivshmem<C: ConfigRegionAccess>(function: &Function<'_, C>) -> bool {
    function.vendor_id() == VENDOR_ID && function.device_id() == DEVICE_ID
}

/// Returns the ivshmem devices of the machine, in the order of [`ConfigSpace::functions`].
///
/// Functions that make no sense are passed over; to see them, go over `functions` instead.
pub fn find<C: ConfigRegionAccess>(
    config: &ConfigSpace<C>,
) -> impl Iterator<Item = Function<'_, C>> {
    config.functions().filter_map(Result::ok).filter(is_ivshmem)
}

/// Finds out where the parts of an ivshmem device are.
///
/// Decoding of the function is off while BARs are sized; afterwards its
/// configuration space is as before, bit for bit.
///
/// # Errors
///
/// - [`ProbeError::NotIvshmem`]: other IDs.
/// - [`ProbeError::Gone`]: it was unplugged meanwhile, so that what was read means nothing.
/// - [`ProbeError::Bar`], [`ProbeError::Capability`], [`ProbeError::Msix`]: configuration space makes no sense.
/// - [`ProbeError::NoMemoryBar`]: BAR 2 is missing or decodes I/O ports.
/// - [`ProbeError::BarUnassigned`]: firmware has assigned no address.
/// - [`ProbeError::BeyondAddressSpace`], [`ProbeError::Overlap`]: the addresses assigned make no sense.
pub fn probe<C: ConfigRegionAccess>(function: &Function<'_, C>) -> Result<Resources, ProbeError> {
    let resources = resources(function);
    // Nothing else tells the all ones of an absent function from values, some of which would pass.
    if function.refresh().is_none() {
        return Err(ProbeError::Gone);
    }
    resources
}

fn resources<C: ConfigRegionAccess>(function: &Function<'_, C>) -> Result<Resources, ProbeError> {
    if !is_ivshmem(function) {
        return Err(ProbeError::NotIvshmem {
            vendor: function.vendor_id(),
            device: function.device_id(),
        });
    }
    let bars = MemoryBars::of(function)?;
    bars.ensure_apart()?;
    // The smallest memory BAR there can be has 16 bytes (PCI 3.0, 6.2.5.1), which is what the registers need.
    let registers = bars.get(REGISTERS_BAR).map(region).transpose()?;
    let shared_memory = bars
        .get(SHARED_MEMORY_BAR)
        .ok_or(ProbeError::NoMemoryBar {
            index: SHARED_MEMORY_BAR,
        })
        .and_then(region)?;
    let msix = match function.msix().map_err(ProbeError::Capability)? {
        Some(capability) => Some(MsixResources {
            table_bar: bars.holding(capability.table, capability.table_len())?,
            pending_bar: bars.holding(capability.pending, capability.pending_len())?,
            capability,
        }),
        None => None,
    };
    Ok(Resources {
        address: function.address(),
        revision: function.revision(),
        interrupt_pin: function.interrupt_pin(),
        registers,
        shared_memory,
        msix,
    })
}

/// The memory BARs of a function, by number.
struct MemoryBars([Option<Bar>; MAX_BARS]);

impl MemoryBars {
    fn of<C: ConfigRegionAccess>(function: &Function<'_, C>) -> Result<Self, ProbeError> {
        let mut bars = [None; MAX_BARS];
        for bar in function.bars() {
            let bar = bar.map_err(ProbeError::Bar)?;
            if bar.kind != BarKind::Io {
                bars[usize::from(bar.index)] = Some(bar);
            }
        }
        Ok(Self(bars))
    }

    fn get(&self, index: u8) -> Option<Bar> {
        self.0.get(usize::from(index)).copied().flatten()
    }

    /// Fails if two assigned BARs overlap: one range would be mapped with two cache policies, or peers
    /// could write to the MSI-X table.
    fn ensure_apart(&self) -> Result<(), ProbeError> {
        for (index, first) in self.0.iter().enumerate() {
            for second in &self.0[index + 1..] {
                let (Some(first), Some(second)) = (first, second) else {
                    continue;
                };
                if first.address == 0 || second.address == 0 {
                    continue;
                }
                let (first, second) = (region(*first)?, region(*second)?);
                // Cannot overflow: `region` has checked the ends.
                let apart = first.start + first.len <= second.start
                    || second.start + second.len <= first.start;
                if !apart {
                    return Err(ProbeError::Overlap { first, second });
                }
            }
        }
        Ok(())
    }

    /// Returns the region of the BAR that holds `len` bytes at `place`.
    fn holding(&self, place: TablePlace, len: u64) -> Result<PhysRegion, ProbeError> {
        let index = place.bar;
        if index == SHARED_MEMORY_BAR {
            return Err(ProbeError::Msix(MsixError::InSharedMemory { bar: index }));
        }
        if index == REGISTERS_BAR && u64::from(place.offset) < BLOCK_LEN {
            return Err(ProbeError::Msix(MsixError::OverRegisters { place }));
        }
        let bar = self
            .get(index)
            .ok_or(ProbeError::Msix(MsixError::NoSuchBar { bar: index }))?;
        // Cannot overflow: an offset has 32 bits, and 2048 vectors take 32 KiB.
        if u64::from(place.offset) + len > bar.size {
            return Err(ProbeError::Msix(MsixError::OutsideBar {
                place,
                len,
                bar_size: bar.size,
            }));
        }
        region(bar)
    }
}

/// Returns the addresses of an assigned BAR.
const fn region(bar: Bar) -> Result<PhysRegion, ProbeError> {
    if bar.address == 0 {
        return Err(ProbeError::BarUnassigned {
            index: bar.index,
            size: bar.size,
        });
    }
    if bar.address.checked_add(bar.size).is_none() {
        return Err(ProbeError::BeyondAddressSpace {
            index: bar.index,
            address: bar.address,
        });
    }
    Ok(PhysRegion {
        start: bar.address,
        len: bar.size,
    })
}

/// A function that cannot be driven as ivshmem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeError {
    /// The IDs are not 1af4:1110.
    NotIvshmem {
        /// Vendor ID.
        vendor: u16,
        /// Device ID.
        device: u16,
    },
    /// The function no longer answers.
    Gone,
    /// A BAR makes no sense.
    Bar(BarError),
    /// The capability list makes no sense.
    Capability(CapabilityError),
    /// The MSI-X structures make no sense.
    Msix(MsixError),
    /// A BAR that the device needs is missing or decodes I/O ports.
    NoMemoryBar {
        /// Number of the BAR.
        index: u8,
    },
    /// No address has been assigned to a BAR.
    BarUnassigned {
        /// Number of the BAR.
        index: u8,
        /// Its size in bytes.
        size: u64,
    },
    /// A BAR reaches beyond the last address.
    BeyondAddressSpace {
        /// Number of the BAR.
        index: u8,
        /// Its address.
        address: u64,
    },
    /// Two BARs overlap.
    Overlap {
        /// One of them.
        first: PhysRegion,
        /// The other.
        second: PhysRegion,
    },
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIvshmem { vendor, device } => {
                write!(f, "{vendor:04x}:{device:04x} is not ivshmem (1af4:1110)")
            }
            Self::Gone => write!(f, "the function is gone; it was unplugged while it was probed"),
            Self::Bar(error) => error.fmt(f),
            Self::Capability(error) => error.fmt(f),
            Self::Msix(error) => error.fmt(f),
            Self::NoMemoryBar { index } => {
                write!(f, "bar {index} is missing or is not memory")
            }
            Self::BarUnassigned { index, size } => write!(
                f,
                "bar {index} of {size:#x} bytes has no address; boot with firmware that assigns BARs (SeaBIOS, OVMF), or assign them before"
            ),
            Self::BeyondAddressSpace { index, address } => write!(
                f,
                "bar {index} at {address:#x} reaches beyond the last address; assign it anew"
            ),
            Self::Overlap { first, second } => write!(
                f,
                "bars overlap: {:#x} bytes at {:#x} and {:#x} bytes at {:#x}; assign them anew",
                first.len, first.start, second.len, second.start
            ),
        }
    }
}
