// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the adapters leave to the VMM: [`Wires`].

use std::collections::BTreeMap;
use std::rc::Rc;

use ivshmem_device::adapters::{Delivery, Fd, Mapping, Wiring};
use ivshmem_device::{Ioeventfd, Level, MsiMessage, Notice};

use super::bus::VECTORS;
use super::kvm::Vm;

/// The Doorbell register in BAR 0.
const DOORBELL: u64 = 0x0c;

/// Where a device's interrupts and doorbells go.
pub struct Wires {
    vm: Option<Rc<Vm>>,
    /// The device's number on the bus.
    slot: u32,
    /// The interrupt controller of a VMM without KVM.
    pub messages: Vec<MsiMessage>,
    /// Eventfds of the own vectors, which KVM reads.
    vectors: BTreeMap<u16, Fd>,
    /// Messages of the vectors that are not masked. They come before the eventfds or after them.
    routes: BTreeMap<u16, MsiMessage>,
    /// Eventfds of all vectors, by the value of the Doorbell that rings each.
    pub doorbells: BTreeMap<u32, Fd>,
    /// Where BAR 0 is now.
    registers: Option<u64>,
    /// Where the shared memory is in this process, its length in bytes, and where BAR 2 is now.
    memory: Option<(u64, u64)>,
    window: Option<u64>,
}

impl Wires {
    pub const fn new(vm: Option<Rc<Vm>>, slot: u32) -> Self {
        Self {
            vm,
            slot,
            messages: Vec::new(),
            vectors: BTreeMap::new(),
            routes: BTreeMap::new(),
            doorbells: BTreeMap::new(),
            registers: None,
            memory: None,
            window: None,
        }
    }

    /// Lets all short cuts follow BAR 0 and BAR 2.
    pub fn move_to(&mut self, registers: Option<u64>, window: Option<u64>) {
        if window != self.window {
            self.unmap();
            self.window = window;
            self.map();
        }
        if registers == self.registers {
            return;
        }
        let before = std::mem::replace(&mut self.registers, registers);
        let Some(vm) = &self.vm else { return };
        for (&value, event) in &self.doorbells {
            if let Some(before) = before {
                vm.remove_ioeventfd(before + DOORBELL, value, event);
            }
            if let Some(now) = registers {
                vm.add_ioeventfd(now + DOORBELL, value, event);
            }
        }
    }

    /// Lets the guest have the shared memory where BAR 2 is, without this program.
    fn map(&self) {
        if let (Some(vm), Some((ours, len)), Some(window)) = (&self.vm, self.memory, self.window) {
            // SAFETY: that is the region of a `Mapping` until `Wiring::memory` is told otherwise, which unmaps it first, and
            // others use shared memory at any time.
            unsafe { vm.map(self.slot, window, ours, len) };
        }
    }

    fn unmap(&self) {
        if let (Some(vm), Some(_), Some(_)) = (&self.vm, self.memory, self.window) {
            vm.unmap(self.slot);
        }
    }

    /// Brings KVM up to date with a vector, if both its eventfd and its message are known.
    fn set_irqfd(&self, vector: u16, message: Option<MsiMessage>) {
        if let (Some(vm), Some(event)) = (&self.vm, self.vectors.get(&vector)) {
            // A masked vector has no irqfd: what comes meanwhile waits in the eventfd, and KVM looks there at once
            // when it gets the irqfd back. (QEMU also moves it to the pending bits when the guest looks at them.)
            vm.set_irqfd(
                self.slot * u32::from(VECTORS) + u32::from(vector),
                event,
                message,
            );
        }
    }
}

impl Wiring for Wires {
    fn message(&mut self, message: MsiMessage) {
        // With KVM this would be KVM_SIGNAL_MSI. It is not called for vectors that were taken over.
        self.messages.push(message);
    }

    fn line(&mut self, _: Level) {
        // This kind of device has none. For `ivshmem`: the pin of the interrupt controller.
    }

    fn notice(&mut self, notice: Notice) {
        eprintln!("{notice}");
    }

    fn memory(&mut self, mapping: Option<&Mapping>) {
        self.unmap();
        self.memory = mapping.map(|mapping| {
            let region = mapping.region();
            (region.as_ptr() as u64, region.size() as u64)
        });
        self.map();
    }

    fn take_over(&mut self, vector: u16, event: &Fd) -> Delivery {
        if self.vm.is_none() {
            return Delivery::Device;
        }
        // There may be one of before, whose irqfd has to go first.
        self.set_irqfd(vector, None);
        self.vectors.insert(vector, event.clone());
        self.set_irqfd(vector, self.routes.get(&vector).copied());
        Delivery::Program
    }

    fn route(&mut self, vector: u16, message: Option<MsiMessage>) {
        match message {
            Some(message) => self.routes.insert(vector, message),
            None => self.routes.remove(&vector),
        };
        self.set_irqfd(vector, message);
    }

    fn attach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &Fd) {
        self.doorbells.insert(ioeventfd.value, event.clone());
        if let (Some(vm), Some(registers)) = (&self.vm, self.registers) {
            vm.add_ioeventfd(registers + DOORBELL, ioeventfd.value, event);
        }
    }

    fn detach_ioeventfd(&mut self, ioeventfd: Ioeventfd, event: &Fd) {
        self.doorbells.remove(&ioeventfd.value);
        if let (Some(vm), Some(registers)) = (&self.vm, self.registers) {
            vm.remove_ioeventfd(registers + DOORBELL, ioeventfd.value, event);
        }
    }
}
