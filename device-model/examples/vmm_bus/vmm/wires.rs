// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the adapters leave to the VMM: [`Wires`].

use std::collections::BTreeMap;
use std::rc::Rc;

use ivshmem_device::adapters::{Delivery, Fd, Wiring};
use ivshmem_device::{Ioeventfd, Level, MsiMessage, Notice};

use super::kvm::Vm;

/// The Doorbell register in BAR 0.
const DOORBELL: u64 = 0x0c;

/// Where a device's interrupts and doorbells go.
pub struct Wires {
    vm: Option<Rc<Vm>>,
    /// The interrupt of KVM that stands for vector 0; the others follow.
    first_gsi: u32,
    /// The interrupt controller of a VMM without KVM.
    pub messages: Vec<MsiMessage>,
    /// Eventfds of the own vectors, which KVM reads.
    vectors: BTreeMap<u16, Fd>,
    /// Eventfds of all vectors, by the value of the Doorbell that rings each.
    pub doorbells: BTreeMap<u32, Fd>,
    /// Where BAR 0 is now.
    registers: Option<u64>,
}

impl Wires {
    pub const fn new(vm: Option<Rc<Vm>>, first_gsi: u32) -> Self {
        Self {
            vm,
            first_gsi,
            messages: Vec::new(),
            vectors: BTreeMap::new(),
            doorbells: BTreeMap::new(),
            registers: None,
        }
    }

    /// Lets all ioeventfds follow BAR 0.
    pub fn move_to(&mut self, registers: Option<u64>) {
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

    fn take_over(&mut self, vector: u16, event: &Fd) -> Delivery {
        if self.vm.is_none() {
            return Delivery::Device;
        }
        self.vectors.insert(vector, event.clone());
        Delivery::Program
    }

    fn route(&mut self, vector: u16, message: Option<MsiMessage>) {
        if let (Some(vm), Some(event)) = (&self.vm, self.vectors.get(&vector)) {
            // A masked vector has no irqfd: what comes meanwhile waits in the eventfd, and KVM looks there at once
            // when it gets the irqfd back. (QEMU also moves it to the pending bits when the guest looks at them.)
            vm.set_irqfd(self.first_gsi + u32::from(vector), event, message);
        }
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
