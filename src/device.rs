// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device itself: [`Ivshmem`], one type for all flavours, built from [`Parts`] that someone has mapped.

use core::fmt;
use core::sync::atomic::{fence, AtomicU32, Ordering};
use core::task::Poll;

use crate::interrupt::MsixTable;
use crate::intx::Intx;
use crate::memory::SharedMemory;
use crate::mmio::Registers;
use crate::quirks::Quirks;
use crate::registers::{doorbell, PeerId, VectorIndex, DOORBELL, INTERRUPT_MASK, IV_POSITION};

/// The kinds of ivshmem device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flavour {
    /// `ivshmem-plain` (QEMU 2.6 and later): memory, nothing else.
    Plain,
    /// `ivshmem-doorbell` (QEMU 2.6 and later): memory, an ID, doorbells and MSI-X.
    Doorbell,
    /// `ivshmem` (until QEMU 3.1, revision 0): memory, and with a server an ID, doorbells, and MSI-X or INTx.
    Legacy,
    /// `ivshmem-flat` (QEMU 10.0 and later): no PCI; 16 bytes of registers, memory, one interrupt line.
    /// Its device delivers vector 0 only, so vector 0 alone is rung.
    Flat,
}

impl Flavour {
    /// Returns the flavour of a PCI device, from its Revision ID, whether it has MSI-X, and its Interrupt Pin (0 for none).
    #[must_use]
    pub const fn of_pci(revision: u8, has_msix: bool, interrupt_pin: u8) -> Self {
        match (revision, has_msix, interrupt_pin) {
            (0, true, _) => Self::Legacy,
            (_, true, _) => Self::Doorbell,
            (_, false, 0) => Self::Plain,
            (0, false, _) => Self::Legacy,
            // No QEMU since 2.6 has a pin; without MSI-X there is memory only.
            (_, false, _) => Self::Plain,
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "ivshmem-plain",
            Self::Doorbell => "ivshmem-doorbell",
            Self::Legacy => "ivshmem (revision 0)",
            Self::Flat => "ivshmem-flat",
        })
    }
}

/// Who programs the device's interrupts.
#[derive(Debug)]
pub enum Interrupts<R: Registers> {
    /// The device has none, and no doorbell.
    None,
    /// This driver, through the MSI-X table.
    Msix(MsixTable<R>),
    /// The device signals INTx, under the control of its mask and status registers (revision 0).
    Line,
    /// The kernel, with MSI-X code of its own or a line of `ivshmem-flat`, or nobody: memory is polled.
    Kernel,
}

/// The mapped parts of a device, as a kernel that does its own discovery hands them over.
#[derive(Debug)]
pub struct Parts<R: Registers> {
    /// The kind of device.
    pub flavour: Flavour,
    /// BAR 0; `None` on the one hypervisor without (see [`quirks`](crate::quirks)).
    pub registers: Option<R>,
    /// BAR 2.
    pub shared_memory: SharedMemory<'static>,
    /// Who programs the interrupts.
    pub interrupts: Interrupts<R>,
    /// Differences from QEMU's device.
    pub quirks: Quirks,
}

/// An ivshmem device.
///
/// All methods take `&self`, take no lock and are safe to call from any CPU and from
/// interrupt handlers, so one value in a `static` serves the whole kernel. What a flavour lacks
/// is an error that names it. Dropping the value silences the device's interrupts.
///
/// What the device does *not* tell: who is connected, how many vectors a peer has,
/// whether the server lives, or whether a doorbell was heard. All that has to be agreed on in
/// the shared memory.
#[derive(Debug)]
pub struct Ivshmem<R: Registers> {
    parts: Parts<R>,
    /// A copy of the Interrupt Mask for [`Intx`]; 0 until it is written.
    line_mask: AtomicU32,
}

impl<R: Registers> Ivshmem<R> {
    /// Takes over a device.
    ///
    /// # Safety
    ///
    /// - `parts` must all belong to one ivshmem device that no other driver uses.
    /// - They must stay mapped for as long as the returned value lives.
    #[must_use]
    #[allow(unsafe_code)]
    pub const unsafe fn new(parts: Parts<R>) -> Self {
        Self {
            parts,
            line_mask: AtomicU32::new(0),
        }
    }

    /// Returns the kind of device.
    #[must_use]
    pub const fn flavour(&self) -> Flavour {
        self.parts.flavour
    }

    /// Returns the shared memory. On revision 0 with a server it is there only once the device [is ready](Self::poll_ready).
    #[must_use]
    pub const fn memory(&self) -> SharedMemory<'_> {
        self.parts.shared_memory
    }

    /// Returns the raw register block, laid out as [`registers`](crate::registers) says, for what has no method here.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::Lacks`]: there is none.
    pub fn registers(&self) -> Result<&R, DeviceError> {
        self.parts
            .registers
            .as_ref()
            .ok_or(self.lacks(Feature::Registers))
    }

    /// Returns the MSI-X vectors.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::Lacks`]: the device has no MSI-X, or the kernel programs it.
    pub const fn msix(&self) -> Result<&MsixTable<R>, DeviceError> {
        match &self.parts.interrupts {
            Interrupts::Msix(table) => Ok(table),
            _ => Err(self.lacks(Feature::Msix)),
        }
    }

    /// Returns the INTx line.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::Lacks`]: only revision 0 without MSI-X has one.
    pub fn intx(&self) -> Result<Intx<'_, R>, DeviceError> {
        match self.parts.interrupts {
            Interrupts::Line => Ok(Intx::new(self.registers()?, &self.line_mask)),
            _ => Err(self.lacks(Feature::Intx)),
        }
    }

    /// Returns whether the device is set up: memory there, ID valid.
    ///
    /// Since QEMU 2.6 it always is. Before, a device with a server starts without memory and gets it, and its ID,
    /// while the guest runs.
    pub fn poll_ready(&self) -> Poll<Result<(), DeviceError>> {
        if self.parts.flavour != Flavour::Legacy {
            return Poll::Ready(Ok(()));
        }
        match self.position() {
            Ok(_) => Poll::Ready(Ok(())),
            Err(DeviceError::NotReady) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Waits until the device is ready, calling `go_on` in between: it passes the time and says whether to go on.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::NotReady`]: `go_on` returned `false` first.
    /// - Those of [`Ivshmem::position`].
    pub fn wait_ready(&self, mut go_on: impl FnMut() -> bool) -> Result<(), DeviceError> {
        loop {
            if let Poll::Ready(result) = self.poll_ready() {
                return result;
            }
            if !go_on() {
                return Err(DeviceError::NotReady);
            }
        }
    }

    /// Returns the own ID, from `IVPosition`.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::Lacks`]: `ivshmem-plain`, whose `IVPosition` reads 0 for everyone, or no working registers.
    /// - [`DeviceError::NotReady`]: revision 0 before the server's shared memory has arrived.
    /// - [`DeviceError::Gone`]: all registers read all ones; the device was unplugged. Not every hypervisor lets them
    ///   (QEMU 7.2 reads 0 there); [`Attached::ensure_present`](crate::Attached::ensure_present) tells for sure.
    /// - [`DeviceError::BadPosition`]: no ID has this value.
    pub fn position(&self) -> Result<PeerId, DeviceError> {
        let registers = self.with_server(Feature::Id)?;
        let value = registers.read(IV_POSITION);
        match PeerId::from_position(value) {
            Some(peer) => Ok(peer),
            None if value != !0 => Err(DeviceError::BadPosition { value }),
            // The doorbell register reads 0 on a device that is there.
            None if registers.read(DOORBELL) == !0 => Err(DeviceError::Gone),
            None => Err(DeviceError::NotReady),
        }
    }

    /// Rings `vector` of `peer`, which may be the own ID.
    ///
    /// One 32-bit store, ordered after everything written to the shared memory before. The device never says
    /// whether anybody heard it: a doorbell to a peer that is not there, or to a vector it does not have, is
    /// ignored, and several may arrive as one interrupt.
    ///
    /// # Errors
    ///
    /// - [`DeviceError::Lacks`]: `ivshmem-plain` has no doorbell.
    /// - [`DeviceError::VectorTooLarge`]: above 255, where QEMU would ring another one; above 0 on `ivshmem-flat`.
    /// - [`DeviceError::NoServer`]: peer 0 rings itself on revision 0 with INTx. That cannot be told from a device
    ///   without a server, where QEMU up to 2.3 crashes on it.
    pub fn ring(&self, peer: PeerId, vector: VectorIndex) -> Result<(), DeviceError> {
        let registers = self.with_server(Feature::Doorbell)?;
        let value = doorbell(peer, vector)
            .filter(|_| vector.0 == 0 || self.parts.flavour != Flavour::Flat)
            .ok_or(DeviceError::VectorTooLarge { vector })?;
        if peer.0 == 0
            && matches!(self.parts.interrupts, Interrupts::Line)
            && registers.read(IV_POSITION) == 0
        {
            return Err(DeviceError::NoServer);
        }
        // A doorbell must not overtake what it announces, and a register write is not ordered after
        // writes to memory by itself. No instruction on x86; a barrier on Arm.
        fence(Ordering::Release);
        registers.write(DOORBELL, value);
        Ok(())
    }

    /// Returns the registers of a device that may have a server, or says that `feature` is lacking.
    fn with_server(&self, feature: Feature) -> Result<&R, DeviceError> {
        let without = matches!(self.parts.interrupts, Interrupts::None)
            || self.parts.quirks.contains(Quirks::INERT_REGISTERS);
        if without {
            return Err(self.lacks(feature));
        }
        self.registers()
    }

    const fn lacks(&self, feature: Feature) -> DeviceError {
        DeviceError::Lacks {
            flavour: self.parts.flavour,
            feature,
        }
    }
}

/// MSI-X vectors are silenced by their table's own drop.
impl<R: Registers> Drop for Ivshmem<R> {
    fn drop(&mut self) {
        if let (Interrupts::Line, Some(registers)) = (&self.parts.interrupts, &self.parts.registers)
        {
            registers.write(INTERRUPT_MASK, 0);
        }
    }
}

/// Something that not every flavour has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// The register block.
    Registers,
    /// An ID.
    Id,
    /// The doorbell.
    Doorbell,
    /// MSI-X vectors programmed by this driver.
    Msix,
    /// An INTx line with mask and status.
    Intx,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registers => "registers",
            Self::Id => "id",
            Self::Doorbell => "doorbell",
            Self::Msix => "msi-x table in the hands of this driver",
            Self::Intx => "intx line",
        })
    }
}

/// Something that a device cannot do, or not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// This flavour, as it was configured, does not have that.
    Lacks {
        /// The kind of device.
        flavour: Flavour,
        /// What it lacks.
        feature: Feature,
    },
    /// The server's shared memory has not arrived yet.
    NotReady,
    /// The device was unplugged.
    Gone,
    /// `IVPosition` reads a value that no ID has.
    BadPosition {
        /// The value read.
        value: u32,
    },
    /// The vector cannot be rung.
    VectorTooLarge {
        /// The vector asked for.
        vector: VectorIndex,
    },
    /// There may be no server behind the device, and ringing could end the hypervisor.
    NoServer,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lacks { flavour, feature } => write!(
                f,
                "this {flavour} has no {feature}; ivshmem-doorbell has all that QEMU offers today"
            ),
            Self::NotReady => write!(
                f,
                "the device has no id yet; its server has not sent the shared memory"
            ),
            Self::Gone => write!(f, "the device is gone; it was unplugged"),
            Self::BadPosition { value } => {
                write!(f, "ivposition reads {value:#x}, which is no id")
            }
            Self::VectorTooLarge { vector } => write!(
                f,
                "vector {vector} cannot be rung; 255 is the largest, 0 on ivshmem-flat"
            ),
            Self::NoServer => write!(
                f,
                "peer 0 does not ring itself on revision 0: without a server that ends old QEMUs"
            ),
        }
    }
}
