// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the adapters leave to the program: [`Wiring`].

use super::{Fd, Mapping};
use crate::{Ioeventfd, Level, MsiMessage, Notice};

/// Where a device's interrupts and notices go.
///
/// The part of [`Host`](crate::Host) that the adapters cannot do: it depends on the machine. Methods are called while the
/// device is in use; do not wait in them.
pub trait Wiring {
    /// Carries out a message signalled interrupt: a write of 32 bits to `message.address`.
    fn message(&mut self, message: MsiMessage);

    /// Sets the level of the interrupt line; called when it changes.
    fn line(&mut self, level: Level);

    /// Takes notice of something odd. Servers and guests can cause some of these at any rate they like, so a log needs a
    /// limit.
    fn notice(&mut self, notice: Notice);

    /// Is told of the shared memory: `Some` when it comes, so that the hypervisor can map its
    /// [region](Mapping::region) into the guest, where [`Device::bar_range`](crate::Device::bar_range) says that BAR 2 is;
    /// `None` before it goes, so that the hypervisor lets go of it first.
    ///
    /// It goes by [`Attachment::unplug`](super::Attachment::unplug), and when a server sends a historic device (QEMU 2.3)
    /// another one, which is told right after.
    fn memory(&mut self, mapping: Option<&Mapping>) {
        let _ = mapping;
    }

    /// Is told of the eventfd of an own vector, and says who reads it. With KVM_IRQFD the kernel does: then
    /// [`Wiring::route`] says which message it is to send.
    ///
    /// A vector can be given again, with another eventfd in place of the one before, which is of no more use: a server that
    /// changes the own ID of a historic device (QEMU 2.3), or reports it gone (with the property `ioeventfd`), then
    /// announces its vectors anew.
    ///
    /// Not called for a device without MSI-X: there the counter becomes the Interrupt Status.
    fn take_over(&mut self, vector: u16, event: &Fd) -> Delivery {
        let _ = (vector, event);
        Delivery::Device
    }

    /// Tells the message of a vector: when it has changed, `None` while it is masked or MSI-X is off, and after
    /// [`Wiring::take_over`] if the vector is live by then. So it can come before its eventfd and again after it.
    fn route(&mut self, vector: u16, message: Option<MsiMessage>) {
        let _ = (vector, message);
    }

    /// Offers a short cut: a write of `ioeventfd.value` to the Doorbell register rings `event` and does nothing else
    /// (KVM_IOEVENTFD with a data match of 4 bytes at offset 0x0c of BAR 0).
    fn attach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &Fd) {
        let _ = (ioeventfd, event);
    }

    /// Takes back what was offered by [`Wiring::attach_ioeventfd`]; `event` is closed after this call.
    fn detach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &Fd) {
        let _ = (ioeventfd, event);
    }
}

/// Who reads the eventfd of an own vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The device, in [`Attachment::handle`](super::Attachment::handle).
    Device,
    /// The program, or the kernel on its behalf.
    Program,
}
