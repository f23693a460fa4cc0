// SPDX-License-Identifier: MIT OR Apache-2.0
//! What KVM is told: [`Vm`], with one CPU, its interrupt controller and some memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd};

use ivshmem_device::adapters::{Fd, Mapping};
use ivshmem_device::{Memory, MsiMessage};
use kvm_bindings::{
    kvm_irq_routing_entry, kvm_irq_routing_msi, kvm_userspace_memory_region, KvmIrqRouting,
    KVM_IRQ_ROUTING_MSI,
};
use kvm_ioctls::{IoEventAddress, Kvm, VcpuExit, VcpuFd, VmFd};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use vmm_sys_util::eventfd::EventFd;

/// The guest's memory, from address 0 on, and where its instructions are.
const MEMORY: u64 = 0x1_0000;
const START: u64 = 0x1000;
/// The port by which it says that it is done.
const DONE: u16 = 0x10;
/// Registers of the local APIC (Intel SDM 3A, 12.4.1): Spurious Interrupt Vector, and Interrupt Request, 8 words.
const APIC_SPURIOUS: usize = 0xf0;
const APIC_ENABLE: u32 = 1 << 8;
const APIC_REQUEST: usize = 0x200;

/// A virtual machine. Fields are dropped in this order: the memory when nobody runs in it any more.
pub struct Vm {
    cpu: RefCell<VcpuFd>,
    vm: VmFd,
    memory: Mapping,
    /// The message of each interrupt that has one. KVM only takes all of them at once.
    routes: RefCell<BTreeMap<u32, MsiMessage>>,
}

impl Vm {
    /// Opens /dev/kvm and creates a machine; an error says what is missing.
    pub fn open() -> Result<Self, Box<dyn Error>> {
        let vm = Kvm::new()?.create_vm()?;
        vm.create_irq_chip()?;
        let file = memfd_create("guest", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, MEMORY)?;
        let memory = Mapping::of(&Fd::new(file)?, MEMORY)?;
        let region = kvm_userspace_memory_region {
            memory_size: MEMORY,
            userspace_addr: memory.region().as_ptr() as u64,
            ..Default::default()
        };
        // SAFETY: `memory` has these bytes, and stays mapped until after the machine is gone (see `Vm`); this
        // program only accesses it by volatile copies.
        unsafe { vm.set_user_memory_region(region) }?;
        let cpu = vm.create_vcpu(0)?;
        let mut apic = cpu.get_lapic()?;
        let enabled = apic_word(&apic.regs, APIC_SPURIOUS) | APIC_ENABLE;
        for (byte, value) in apic.regs[APIC_SPURIOUS..]
            .iter_mut()
            .zip(enabled.to_le_bytes())
        {
            *byte = value as _;
        }
        cpu.set_lapic(&apic)?;
        Ok(Self {
            cpu: RefCell::new(cpu),
            vm,
            memory,
            routes: RefCell::default(),
        })
    }

    /// Puts `len` bytes that this process has at `ours` at `address` of the guest, in place of what this slot has there.
    ///
    /// # Safety
    ///
    /// Until [`Vm::unmap`], the bytes stay mapped, and this process has no reference to them.
    pub unsafe fn map(&self, slot: u32, address: u64, ours: u64, len: u64) {
        let region = kvm_userspace_memory_region {
            slot: slot + 1,
            guest_phys_addr: address,
            memory_size: len,
            userspace_addr: ours,
            flags: 0,
        };
        // SAFETY: by the caller.
        report(unsafe { self.vm.set_user_memory_region(region) });
    }

    /// Takes back what [`Vm::map`] did.
    pub fn unmap(&self, slot: u32) {
        let nothing = kvm_userspace_memory_region {
            slot: slot + 1,
            ..Default::default()
        };
        // SAFETY: no bytes are given to the guest.
        report(unsafe { self.vm.set_user_memory_region(nothing) });
    }

    /// Lets KVM ring `event` by a write of these 32 bits to this address.
    pub fn add_ioeventfd(&self, address: u64, value: u32, event: &Fd) {
        let address = IoEventAddress::Mmio(address);
        report(self.vm.register_ioevent(&eventfd(event), &address, value));
    }

    /// Takes back what [`Vm::add_ioeventfd`] did.
    pub fn remove_ioeventfd(&self, address: u64, value: u32, event: &Fd) {
        let address = IoEventAddress::Mmio(address);
        report(self.vm.unregister_ioevent(&eventfd(event), &address, value));
    }

    /// Lets KVM send `message` whenever `event` is rung, or no longer.
    pub fn set_irqfd(&self, gsi: u32, event: &Fd, message: Option<MsiMessage>) {
        let event = eventfd(event);
        let mut routes = self.routes.borrow_mut();
        let before = match message {
            Some(message) => routes.insert(gsi, message),
            None => routes.remove(&gsi),
        };
        if before.is_some() && message.is_none() {
            report(self.vm.unregister_irqfd(&event, gsi));
        }
        let entries: Vec<_> = routes
            .iter()
            .map(|(&gsi, message)| entry(gsi, message))
            .collect();
        match KvmIrqRouting::from_entries(&entries) {
            Ok(routing) => report(self.vm.set_gsi_routing(&routing)),
            Err(error) => eprintln!("kvm: {error:?}"),
        }
        if before.is_none() && message.is_some() {
            report(self.vm.register_irqfd(&event, gsi));
        }
    }

    /// Runs a guest that writes `value` to `address`, up to 1 MiB. Returns how often that was trapped.
    pub fn run_guest(&self, address: u32, value: u32) -> Result<usize, Box<dyn Error>> {
        let segment = (address >> 4).min(0xffff) as u16;
        let offset = (address - (u32::from(segment) << 4)) as u16;
        // In real mode: mov ax, segment; mov ds, ax; mov eax, value; mov [offset], eax; out DONE, al.
        let mut code = vec![0xb8];
        code.extend(segment.to_le_bytes());
        code.extend([0x8e, 0xd8, 0x66, 0xb8]);
        code.extend(value.to_le_bytes());
        code.extend([0x66, 0xa3]);
        code.extend(offset.to_le_bytes());
        code.extend([0xe6, DONE as u8]);
        self.memory.write(START, &code);
        let mut cpu = self.cpu.borrow_mut();
        let mut special = cpu.get_sregs()?;
        (special.cs.base, special.cs.selector) = (0, 0);
        cpu.set_sregs(&special)?;
        let mut registers = cpu.get_regs()?;
        (registers.rip, registers.rflags) = (START, 2);
        cpu.set_regs(&registers)?;
        let mut trapped = 0;
        loop {
            match cpu.run()? {
                VcpuExit::IoOut(port, _) if port == DONE => return Ok(trapped),
                // Where a VMM asks its bus.
                VcpuExit::MmioWrite(..) => trapped += 1,
                other => return Err(format!("the guest stopped by {other:?}").into()),
            }
        }
    }

    /// Returns whether an interrupt has reached the CPU's local APIC.
    pub fn is_interrupted(&self, interrupt: u8) -> bool {
        let word = APIC_REQUEST + usize::from(interrupt / 32) * 0x10;
        let apic = self.cpu.borrow().get_lapic();
        apic.is_ok_and(|apic| apic_word(&apic.regs, word) & 1 << (interrupt % 32) != 0)
    }
}

fn entry(gsi: u32, message: &MsiMessage) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        ..Default::default()
    };
    entry.u.msi = kvm_irq_routing_msi {
        address_lo: message.address as u32,
        address_hi: (message.address >> 32) as u32,
        data: message.data,
        ..Default::default()
    };
    entry
}

/// Returns a descriptor of the same eventfd, for as long as a call needs it; KVM keeps the eventfd itself.
fn eventfd(event: &Fd) -> EventFd {
    let copy = event
        .as_fd()
        .try_clone_to_owned()
        .expect("there is room for a descriptor");
    // SAFETY: the descriptor is open, and nobody else's.
    unsafe { EventFd::from_raw_fd(copy.into_raw_fd()) }
}

fn apic_word(registers: &[std::ffi::c_char], offset: usize) -> u32 {
    let bytes = [0, 1, 2, 3].map(|index| registers[offset + index] as u8);
    u32::from_le_bytes(bytes)
}

fn report(result: Result<(), kvm_ioctls::Error>) {
    if let Err(error) = result {
        eprintln!("kvm refuses it: {error}");
    }
}
