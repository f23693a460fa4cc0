// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a PCI function to a working device: [`attach`] and the way back, [`Attached::detach`].
//!
//! The order of the steps matters; each place in it was somebody's bug.
//!
//! 1. Sizing, with decoding off, leaves configuration space as found ([`probe`]).
//! 2. Memory decoding on: without it, writes to the MSI-X table go nowhere (qboot leaves it off).
//! 3. BARs mapped, each once; registers and MSI-X uncached, shared memory write-back.
//! 4. Every table entry masked and emptied, then MSI-X enabled **with Function Mask set**, then the
//!    messages written and their vectors unmasked.
//! 5. Bus Master on and INTx off. A message is a write of the device: with Bus Master off, QEMU's TCG drops
//!    it and real bridges do too (KVM delivers it, which hides the mistake).
//! 6. Function Mask cleared, last, so that what was rung since step 4 is pending and is now delivered.
//!
//! Then the caller looks at the shared memory: a doorbell from before step 4 is
//! lost under TCG and may arrive late under KVM.
//!
//! On any error everything mapped is unmapped again and configuration space is as found.

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

use pci_types::{CommandRegister, ConfigRegionAccess};

use crate::device::{Ivshmem, Parts};
use crate::interrupt::{MsixTable, VectorError};
use crate::memory::SharedMemory;
use crate::mmio::MmioRegion;
use crate::pci::{probe, Function, MsixResources, MsixState, ProbeError, Resources, TablePlace};
use crate::platform::{CachePolicy, PhysRegion, Platform};
use crate::registers::VectorIndex;

/// Registers, shared memory, MSI-X table and pending bits: at most four BARs.
const MAX_MAPPINGS: usize = 4;

/// Finds, maps and starts the ivshmem device at `function`.
///
/// # Errors
///
/// - [`AttachError::Probe`]: not an ivshmem device, or not one that makes sense.
/// - [`AttachError::TooLarge`]: a BAR does not fit the address space of this CPU.
/// - [`AttachError::Map`], [`AttachError::Msi`]: the platform failed.
/// - [`AttachError::Vector`]: cannot happen with a device that answers.
pub fn attach<C: ConfigRegionAccess, P: Platform>(
    function: &Function<'_, C>,
    platform: &mut P,
) -> Result<Attached, AttachError<P::Error>> {
    let resources = probe(function).map_err(AttachError::Probe)?;
    let found = Found::of(function, &resources);
    let mut mappings = Mappings::default();
    match bring_up(function, platform, &resources, &mut mappings) {
        Ok(device) => Ok(Attached {
            device,
            resources,
            found,
            mappings,
        }),
        Err(error) => {
            found.restore(function, &resources);
            mappings.release(platform);
            Err(error)
        }
    }
}

/// An ivshmem device that [`attach`] has brought up; derefs to [`Ivshmem`].
///
/// Dropping it leaves the device running and mapped, as a kernel that keeps it in a `static` wants.
#[derive(Debug)]
pub struct Attached {
    device: Ivshmem<MmioRegion>,
    resources: Resources,
    found: Found,
    mappings: Mappings,
}

impl Attached {
    /// Returns where the parts of the device are.
    #[must_use]
    pub const fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Stops the device: no vector stays live, configuration space is as `attach` found it, nothing stays mapped.
    ///
    /// # Safety
    ///
    /// `function` and `platform` must be those that `attach` was called with.
    #[allow(unsafe_code)]
    pub unsafe fn detach<C: ConfigRegionAccess, P: Platform>(
        mut self,
        function: &Function<'_, C>,
        platform: &mut P,
    ) {
        if let Ok(table) = self.device.msix() {
            silence(table);
        }
        self.found.restore(function, &self.resources);
        self.mappings.release(platform);
    }
}

impl Deref for Attached {
    type Target = Ivshmem<MmioRegion>;

    fn deref(&self) -> &Self::Target {
        &self.device
    }
}

/// The parts of configuration space that attaching changes, as they were before.
#[derive(Debug)]
struct Found {
    command: CommandRegister,
    msix_control: u32,
}

impl Found {
    fn of<C: ConfigRegionAccess>(function: &Function<'_, C>, resources: &Resources) -> Self {
        Self {
            command: function.command(),
            msix_control: match &resources.msix {
                Some(msix) => function.save_msix(&msix.capability),
                None => 0,
            },
        }
    }

    fn restore<C: ConfigRegionAccess>(&self, function: &Function<'_, C>, resources: &Resources) {
        if let Some(msix) = &resources.msix {
            function.restore_msix(&msix.capability, self.msix_control);
        }
        function.set_command(self.command);
    }
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    region: PhysRegion,
    /// Invariant: where `Platform::map` put `region`, not unmapped since.
    address: NonNull<u8>,
}

// SAFETY: the address is only handed back to the platform, by the one owner.
#[allow(unsafe_code)]
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` permits only reading the address as a number.
#[allow(unsafe_code)]
unsafe impl Sync for Mapping {}

/// The BARs mapped so far.
#[derive(Debug, Default)]
struct Mappings([Option<Mapping>; MAX_MAPPINGS]);

impl Mappings {
    /// Returns where `region` is mapped, mapping it if it is not yet.
    fn map<P: Platform>(
        &mut self,
        platform: &mut P,
        region: PhysRegion,
        cache: CachePolicy,
    ) -> Result<(NonNull<u8>, usize), AttachError<P::Error>> {
        let too_large = AttachError::TooLarge { region };
        let Ok(len) = isize::try_from(region.len) else {
            return Err(too_large);
        };
        for slot in &mut self.0 {
            match slot {
                Some(mapping) if mapping.region == region => {
                    return Ok((mapping.address, len as usize));
                }
                Some(_) => {}
                None => {
                    let address = platform
                        .map(region, cache)
                        .map_err(|error| AttachError::Map { region, error })?;
                    *slot = Some(Mapping { region, address });
                    return Ok((address, len as usize));
                }
            }
        }
        // Not reached: there are as many slots as places that call this.
        Err(too_large)
    }

    /// Maps `region` as registers.
    #[allow(unsafe_code)]
    fn map_registers<P: Platform>(
        &mut self,
        platform: &mut P,
        region: PhysRegion,
    ) -> Result<MmioRegion, AttachError<P::Error>> {
        let (address, len) = self.map(platform, region, CachePolicy::Uncached)?;
        // SAFETY: 1. `Platform::map` promises this mapping until `unmap`, which comes when the device is
        // gone; 2. a BAR is aligned to its size, at least 16, and a mapping keeps that within a page.
        Ok(unsafe { MmioRegion::new(address, len) })
    }

    /// Unmaps everything, last first.
    #[allow(unsafe_code)]
    fn release<P: Platform>(&mut self, platform: &mut P) {
        for slot in self.0.iter_mut().rev() {
            if let Some(Mapping { region, address }) = slot.take() {
                // SAFETY: mapped by this platform and taken out of the list, so unmapped once; the device
                // that used it was never made or is consumed by `detach`.
                unsafe { platform.unmap(address, region) };
            }
        }
    }
}

/// Steps 2 to 6.
#[allow(unsafe_code)]
fn bring_up<C: ConfigRegionAccess, P: Platform>(
    function: &Function<'_, C>,
    platform: &mut P,
    resources: &Resources,
    mappings: &mut Mappings,
) -> Result<Ivshmem<MmioRegion>, AttachError<P::Error>> {
    let mut command = function.command() | CommandRegister::MEMORY_ENABLE;
    function.set_command(command);

    let registers = mappings.map_registers(platform, resources.registers)?;
    let (address, len) = mappings.map(platform, resources.shared_memory, CachePolicy::WriteBack)?;
    // SAFETY: mapped by `Platform::map` until `detach`; `map` has checked the length. `'static` is cut to the
    // device's own lifetime by `Ivshmem::memory`, and `detach` consumes the device.
    let shared_memory = unsafe { SharedMemory::new(address, len) };
    let msix = match &resources.msix {
        Some(msix) => Some(start_msix(function, platform, msix, mappings)?),
        None => None,
    };

    command |= CommandRegister::BUS_MASTER_ENABLE;
    if let Some(msix) = &resources.msix {
        command |= CommandRegister::INTERRUPT_DISABLE;
        function.set_command(command);
        function.enable_msix(&msix.capability, MsixState::Live);
    } else {
        function.set_command(command);
    }
    let parts = Parts {
        revision: resources.revision,
        registers,
        shared_memory,
        msix,
    };
    // SAFETY: all parts come from one function that `probe` recognised, whose exclusive use
    // `ConfigSpace::new` was promised, and they stay mapped until `detach`.
    Ok(unsafe { Ivshmem::new(parts) })
}

/// Step 4. On error no vector is live.
fn start_msix<C: ConfigRegionAccess, P: Platform>(
    function: &Function<'_, C>,
    platform: &mut P,
    msix: &MsixResources,
    mappings: &mut Mappings,
) -> Result<MsixTable<MmioRegion>, AttachError<P::Error>> {
    let capability = &msix.capability;
    let mut structure = |region, place: TablePlace, len: u64| {
        let bar = mappings.map_registers(platform, region)?;
        // `probe` has found the structure inside its BAR.
        bar.part(place.offset as usize, len as usize)
            .ok_or(AttachError::TooLarge { region })
    };
    let table = structure(msix.table_bar, capability.table, capability.table_len())?;
    let pending = structure(
        msix.pending_bar,
        capability.pending,
        capability.pending_len(),
    )?;
    let table = MsixTable::new(table, pending, capability.vectors);

    silence(&table);
    function.enable_msix(capability, MsixState::Masked);
    let result = set_messages(platform, &table);
    if result.is_err() {
        silence(&table);
    }
    result.map(|()| table)
}

/// Asks the platform for each vector's message, and unmasks those that get one.
fn set_messages<P: Platform>(
    platform: &mut P,
    table: &MsixTable<MmioRegion>,
) -> Result<(), AttachError<P::Error>> {
    for vector in (0..table.vectors()).map(VectorIndex) {
        let message = platform
            .msi(vector)
            .map_err(|error| AttachError::Msi { vector, error })?;
        if let Some(message) = message {
            table
                .set_message(vector, message)
                .and_then(|()| table.unmask(vector))
                .map_err(AttachError::Vector)?;
        }
    }
    Ok(())
}

/// Masks and empties every entry.
fn silence(table: &MsixTable<MmioRegion>) {
    for vector in (0..table.vectors()).map(VectorIndex) {
        // Only vectors beyond the table are refused, and the loop ends before them.
        let _ = table.clear_message(vector);
    }
}

/// A device that could not be attached; `E` is the platform's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError<E> {
    /// Not an ivshmem device that makes sense.
    Probe(ProbeError),
    /// A BAR larger than the address space of this CPU.
    TooLarge {
        /// The BAR.
        region: PhysRegion,
    },
    /// The platform did not map a BAR.
    Map {
        /// The BAR.
        region: PhysRegion,
        /// What the platform says.
        error: E,
    },
    /// The platform gave no interrupt.
    Msi {
        /// The vector it was asked for.
        vector: VectorIndex,
        /// What the platform says.
        error: E,
    },
    /// The MSI-X table does not keep what is written to it: the device is gone.
    Vector(VectorError),
}

impl<E: fmt::Display> fmt::Display for AttachError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe(error) => error.fmt(f),
            Self::TooLarge { region } => write!(
                f,
                "the bar at {:#x} of {:#x} bytes does not fit this cpu's address space",
                region.start, region.len
            ),
            Self::Map { region, error } => write!(
                f,
                "cannot map {:#x} bytes at {:#x}: {error}",
                region.len, region.start
            ),
            Self::Msi { vector, error } => {
                write!(f, "no interrupt for vector {vector}: {error}")
            }
            Self::Vector(error) => write!(f, "the msi-x table does not answer: {error}"),
        }
    }
}
