// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a device needs of the program that has it: [`Host`].
//!
//! The model does no input or output. What comes in is passed to the methods of
//! [`Device`](crate::Device); what goes out is passed, during such a call, to a `Host`.
//! A VMM implements it with eventfds and its interrupt controller, a test with counters.

use core::fmt;

use crate::Notice;

/// What a device does to the world.
///
/// Methods are called while the device is borrowed, so they cannot call it back; what leads to more input (a doorbell
/// to itself, for example) comes back later as an event.
pub trait Host {
    /// An open file that a server has sent: an eventfd, or the shared memory. Dropping closes it.
    type Descriptor: Descriptor;
    /// Shared memory to which the device has access.
    type Memory: Memory;

    /// Maps the first `len_bytes` bytes of the shared memory that a server has sent.
    ///
    /// The device has compared the length with [`Descriptor::len_bytes`] before.
    ///
    /// # Errors
    ///
    /// - [`HostError`]: it cannot be mapped.
    fn map(
        &mut self,
        descriptor: Self::Descriptor,
        len_bytes: u64,
    ) -> Result<Self::Memory, HostError>;

    /// Starts to watch `event`, the device's own vector number `vector`.
    ///
    /// Whenever it can be read, read its counter and pass both to [`Device::event`](crate::Device::event). A host that delivers
    /// the vector by itself (a KVM irqfd, see [`Host::route`]) need not.
    ///
    /// It is watched for as long as the device lives, or until the vector is given again: a historic device, whose own
    /// ID a server can change, then has another eventfd for it.
    ///
    /// # Errors
    ///
    /// - [`HostError`]: it cannot be watched.
    fn listen(&mut self, vector: u16, event: &Self::Descriptor) -> Result<(), HostError>;

    /// Adds 1 to the counter of an eventfd. A counter that is full already rings, so that is no error.
    fn ring(&mut self, event: &Self::Descriptor);

    /// Carries out a message signalled interrupt: a write of 32 bits to `message.address`.
    fn message(&mut self, message: MsiMessage);

    /// Sets the level of the interrupt line; called when it changes, and only then.
    fn line(&mut self, level: Level);

    /// Takes notice of something odd, which QEMU would write to its standard error. A guest can cause some of
    /// these at any rate it likes.
    fn notice(&mut self, notice: Notice);

    /// Offers a short cut: a 32-bit write of `ioeventfd.value` to the Doorbell register rings `event` and does nothing else, so
    /// the hypervisor's memory core may do it without the device (KVM_IOEVENTFD with a data match). Offered only where
    /// the property `ioeventfd` is on.
    fn attach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &Self::Descriptor) {
        let _ = (ioeventfd, event);
    }

    /// Takes back what was offered by [`Host::attach_ioeventfd`]; `event` is closed after this call.
    fn detach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &Self::Descriptor) {
        let _ = (ioeventfd, event);
    }

    /// Tells the message of a vector: when it has changed, `None` while it is masked or MSI-X is off, and after
    /// [`Host::listen`] if the vector is live by then.
    ///
    /// A host that lets the hypervisor deliver the vector (KVM_IRQFD) sets its route by this.
    fn route(&mut self, vector: u16, message: Option<MsiMessage>) {
        let _ = (vector, message);
    }
}

/// An open file as far as a device has to know it.
pub trait Descriptor {
    /// Returns its size in bytes, or nothing where it has none, as an eventfd.
    fn len_bytes(&self) -> Option<u64>;

    /// Returns its number in this process, which QEMU 2.3 mistook for a truth value.
    fn number(&self) -> i32;
}

/// Shared memory that others change at any time.
pub trait Memory {
    /// Returns its size in bytes.
    fn len_bytes(&self) -> u64;

    /// Copies from `offset`, which the device has checked to be inside with all of `bytes`. An aligned power of two
    /// of up to 8 bytes should be one access.
    fn read(&self, offset: u64, bytes: &mut [u8]);

    /// Copies to `offset`, as [`Memory::read`] does from it.
    fn write(&self, offset: u64, bytes: &[u8]);
}

/// The address and data of a message signalled interrupt (PCI 3.0, 6.8.2.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MsiMessage {
    /// Where it is written to.
    pub address: u64,
    /// What is written.
    pub data: u32,
}

/// The level of an interrupt line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// Not asserted.
    #[default]
    Low,
    /// Asserted.
    High,
}

/// A value of the Doorbell register that rings one vector of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ioeventfd {
    /// The value: the peer in bits 31 to 16, the vector in bits 15 to 0.
    pub value: u32,
}

/// Why a host could not do what a device needs, as an error number of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostError {
    /// The number, as in `errno`; 0 where there is none.
    pub errno: i32,
}

impl fmt::Display for HostError {
    /// In the system's words, where there are any.
    #[cfg(feature = "std")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.errno).fmt(f)
    }

    #[cfg(not(feature = "std"))]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the system refused it (error {})", self.errno)
    }
}

impl core::error::Error for HostError {}
