// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts of the device, and doorbells to others.

use super::Device;
use crate::pci::Update;
use crate::registers::Doorbell;
use crate::{Generation, Host, Ioeventfd, Kind, Level, Notice};

impl<H: Host> Device<H> {
    /// Takes an event: the eventfd of the own vector `vector` was read and its counter was `counter`.
    ///
    /// With MSI-X the vector is signalled once, however often it was rung. While MSI-X is off a modern device
    /// forgets the event (QEMU 7.2 without irqfds); the historic ones note it as pending.
    ///
    /// With INTx the low byte of the counter becomes the Interrupt Status, whatever the vector: QEMU until 2.5
    /// took the counter for characters. So two doorbells that coalesce give 2, and 256 give 0, which is no interrupt.
    pub fn event(&mut self, vector: u16, counter: u64, host: &mut H) {
        let Some(msix) = &mut self.msix else {
            if self.properties.kind == Kind::Legacy {
                self.registers.status = u32::from(counter as u8);
                self.update_line(host);
            }
            return;
        };
        if self.properties.generation == Generation::Modern && !self.config.is_msix_enabled() {
            return;
        }
        if let Some(message) = msix.signal(vector) {
            self.send(message, host);
        }
    }

    /// Sends a message, or loses it if the function may not master the bus (QEMU 7.2 without irqfds).
    fn send(&self, message: crate::MsiMessage, host: &mut H) {
        if self.config.is_bus_master() {
            host.message(message);
        }
    }

    /// Brings all vectors up to date with whether MSI-X is live.
    pub(super) fn update_vectors(&mut self, host: &mut H) {
        let live = self.config.is_msix_live();
        let vectors = self.msix.as_ref().map_or(0, |msix| msix.vectors());
        for vector in 0..vectors {
            let update = self
                .msix
                .as_mut()
                .and_then(|msix| msix.update(vector, live));
            self.follow_update(update, host);
        }
    }

    pub(super) fn follow_update(&self, update: Option<Update>, host: &mut H) {
        let Some(Update {
            vector,
            deliver,
            route,
        }) = update
        else {
            return;
        };
        host.route(vector, route);
        if let Some(message) = deliver {
            self.send(message, host);
        }
    }

    /// Brings the interrupt line up to date with the registers. Only the historic device has one, and has it with MSI-X too.
    pub(super) fn update_line(&mut self, host: &mut H) {
        if self.properties.kind != Kind::Legacy {
            return;
        }
        let asserted = self.registers.asserts();
        self.config.set_interrupt_status(asserted);
        let level = if asserted && !self.config.is_intx_disabled() {
            Level::High
        } else {
            Level::Low
        };
        if level != self.line {
            self.line = level;
            host.line(level);
        }
    }

    /// Rings. Peers and vectors that are not there are ignored, as by every QEMU.
    pub(super) fn ring(&self, doorbell: Doorbell, host: &mut H) {
        let (peer, vector) = doorbell.target();
        let Some(client) = &self.client else {
            if self.properties.generation == Generation::V2_3 && peer == 0 {
                host.notice(Notice::DoorbellWithoutServer);
            }
            return;
        };
        // An ioeventfd knows vectors by all their bits, the device by the low 8.
        let short_cut = doorbell.exact && self.properties.ioeventfd;
        let direct = short_cut.then(|| client.event(peer, doorbell.value as u16));
        if let Some(event) = direct.flatten().or_else(|| client.event(peer, vector)) {
            host.ring(event);
        }
    }

    /// Offers a vector of a peer to the host as an ioeventfd.
    pub(super) fn offer(&self, peer: u16, vector: u16, host: &mut H) {
        let event = self
            .client
            .as_ref()
            .and_then(|client| client.event(peer, vector));
        if let Some(event) = event.filter(|_| self.properties.ioeventfd) {
            host.attach_ioeventfd(ioeventfd(peer, vector), event);
        }
    }

    /// Takes back what was offered.
    pub(super) fn withdraw(&self, peer: u16, vector: u16, event: &H::Descriptor, host: &mut H) {
        if self.properties.ioeventfd {
            host.detach_ioeventfd(ioeventfd(peer, vector), event);
        }
    }
}

const fn ioeventfd(peer: u16, vector: u16) -> Ioeventfd {
    Ioeventfd {
        value: (peer as u32) << 16 | vector as u32,
    }
}
