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
//! 5. Bus Master on, and INTx off if there is MSI-X. A message is a write of the device: with Bus Master off,
//!    QEMU's TCG drops it and real bridges do too (KVM delivers it, which hides the mistake).
//! 6. Function Mask cleared, last, so that what was rung since step 4 is pending and is now delivered.
//!
//! Then the caller looks at the shared memory: a doorbell from before step 4 is
//! lost under TCG and may arrive late under KVM, also one that was meant for a previous driver. A device of revision 0 with INTx is left with its
//! mask closed; [`Intx::enable`](crate::Intx::enable) opens it when the handler is in place.
//!
//! On any error no vector is live, everything mapped is unmapped again and configuration space is as found.

mod error;
mod mappings;
mod steps;

use core::ops::Deref;

use pci_types::{CommandRegister, ConfigRegionAccess};

use crate::device::{DeviceError, Ivshmem};
use crate::mmio::MmioRegion;
use crate::pci::{is_ivshmem, probe, Function, MsixState, Resources};
use crate::platform::Platform;
use crate::quirks::Quirks;

pub use error::AttachError;
use mappings::Mappings;
use steps::bring_up;

/// Finds, maps and starts the ivshmem device at `function`.
///
/// # Errors
///
/// - [`AttachError::Probe`]: not an ivshmem device, or not one that makes sense.
/// - [`AttachError::TooLarge`]: a BAR does not fit the address space of this CPU.
/// - [`AttachError::Map`], [`AttachError::Msi`]: the platform failed.
/// - [`AttachError::Vector`]: the MSI-X table does not keep what is written to it.
pub fn attach<C: ConfigRegionAccess, P: Platform>(
    function: &Function<'_, C>,
    platform: &mut P,
) -> Result<Attached, AttachError<P::Error>> {
    attach_with(function, platform, Quirks::empty())
}

/// As [`attach`], for a device that is known to differ from QEMU's (see [`quirks`](crate::quirks)).
///
/// # Errors
///
/// As for [`attach`].
pub fn attach_with<C: ConfigRegionAccess, P: Platform>(
    function: &Function<'_, C>,
    platform: &mut P,
    quirks: Quirks,
) -> Result<Attached, AttachError<P::Error>> {
    let address = function.address();
    let resources = probe(function).map_err(|error| AttachError::Probe { address, error })?;
    let found = Found::of(function, &resources);
    let mut mappings = Mappings::default();
    match bring_up(function, platform, &resources, quirks, &mut mappings) {
        Ok(device) => {
            #[cfg(feature = "log")]
            log::info!("{address}: {} is attached", device.flavour());
            Ok(Attached {
                device,
                resources,
                found,
                mappings,
            })
        }
        Err(error) => {
            found.restore(function, &resources);
            mappings.release(platform);
            Err(error)
        }
    }
}

/// An ivshmem device that [`attach`] has brought up; derefs to [`Ivshmem`].
///
/// Dropping it silences its interrupts and leaves it mapped; [`Attached::detach`] gives everything back.
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

    /// Holds back all vectors of the device at once, by Function Mask: what rings them stays pending.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::Lacks`]: it has no MSI-X.
    /// - [`DeviceError::Gone`]: `function` is not this device, or the device is no longer there.
    pub fn mask_all<C: ConfigRegionAccess>(
        &self,
        function: &Function<'_, C>,
    ) -> Result<(), DeviceError> {
        self.set_function_mask(function, MsixState::Masked)
    }

    /// Ends [`Attached::mask_all`]: each vector's own mask decides again. Look at the shared memory afterwards.
    ///
    /// # Errors
    ///
    /// As for [`Attached::mask_all`].
    pub fn unmask_all<C: ConfigRegionAccess>(
        &self,
        function: &Function<'_, C>,
    ) -> Result<(), DeviceError> {
        self.set_function_mask(function, MsixState::Live)
    }

    /// Fails if the device has been unplugged.
    ///
    /// Registers do not tell for sure: where nothing answers, QEMU lets some reads return 0. Configuration
    /// space does, by an all-ones vendor ID.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::Gone`]: `function` is not this device, or the device is no longer there.
    pub fn ensure_present<C: ConfigRegionAccess>(
        &self,
        function: &Function<'_, C>,
    ) -> Result<(), DeviceError> {
        let now = function.refresh().filter(is_ivshmem);
        match now {
            Some(function) if function.address() == self.resources.address => Ok(()),
            _ => Err(DeviceError::Gone),
        }
    }

    /// Stops the device: no vector stays live, configuration space is as `attach` found it, nothing stays mapped.
    ///
    /// Interrupts that the platform handed out are the platform's to free.
    ///
    /// # Safety
    ///
    /// `function` and `platform` must be those that `attach` was called with.
    #[allow(unsafe_code)]
    pub unsafe fn detach<C: ConfigRegionAccess, P: Platform>(
        self,
        function: &Function<'_, C>,
        platform: &mut P,
    ) {
        let Self {
            device,
            resources,
            found,
            mut mappings,
        } = self;
        // Silences the device, while its table is still mapped.
        drop(device);
        found.restore(function, &resources);
        mappings.release(platform);
    }

    fn set_function_mask<C: ConfigRegionAccess>(
        &self,
        function: &Function<'_, C>,
        state: MsixState,
    ) -> Result<(), DeviceError> {
        self.msix()?;
        self.ensure_present(function)?;
        if let Some(msix) = &self.resources.msix {
            function.enable_msix(&msix.capability, state);
        }
        Ok(())
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
