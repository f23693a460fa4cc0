// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two paths of a doorbell from one device of a VMM to another.

mod bus;
mod kvm;
mod server;
mod wires;

use std::error::Error;
use std::rc::Rc;

use ivshmem_device::{Bar, MsiMessage};

use bus::{Bus, DOORBELL, INTERRUPT, MEMORY};
use kvm::Vm;

/// Peer 1, vector 1, as a guest writes it to the Doorbell register.
const PEER_1_VECTOR_1: u32 = 1 << 16 | 1;

/// Shows the plain path, and KVM where it is.
pub fn run() -> Result<(), Box<dyn Error>> {
    let message = by_the_model()?;
    println!("plain path: the doorbell of device 0 came out of device 1 as {message:x?}");
    match Vm::open() {
        Ok(vm) => {
            by_kvm(&Rc::new(vm))?;
            println!("kvm: the same by ioeventfd, irqfd and mapped memory, without this program");
        }
        Err(reason) => println!("kvm: left out, no short cut is shown: {reason}"),
    }
    Ok(())
}

/// Rings by a trapped access, and takes the interrupt as a message.
fn by_the_model() -> Result<MsiMessage, Box<dyn Error>> {
    let mut bus = Bus::new(None)?;
    bus.bring_up()?;
    // As after KVM_EXIT_MMIO.
    bus.write(DOORBELL, &PEER_1_VECTOR_1.to_le_bytes());
    bus.wait(|bus| !bus.devices[1].wiring().messages.is_empty())?;
    Ok(bus.devices[1].wiring().messages[0])
}

/// Lets a guest write into the memory and ring, and finds the interrupt in its local APIC.
fn by_kvm(vm: &Rc<Vm>) -> Result<(), Box<dyn Error>> {
    let mut bus = Bus::new(Some(vm.clone()))?;
    bus.bring_up()?;
    if vm.is_interrupted(INTERRUPT + 1) {
        return Err("there is an interrupt before the doorbell".into());
    }
    let value = 0x1234_5678;
    let trapped =
        vm.run_guest(MEMORY[0] as u32, value)? + vm.run_guest(DOORBELL as u32, PEER_1_VECTOR_1)?;
    if trapped != 0 {
        return Err(format!("{trapped} accesses were trapped in spite of the short cuts").into());
    }
    bus.wait(|_| vm.is_interrupted(INTERRUPT + 1))?;
    if !bus.devices[1].wiring().messages.is_empty() {
        return Err("the interrupt came through the model in spite of the irqfd".into());
    }
    let mut seen = [0; 4];
    bus.devices[1].read_bar(Bar::Memory, 0, &mut seen);
    if u32::from_le_bytes(seen) != value {
        return Err(format!("device 1 has {seen:x?} in its memory").into());
    }
    // A machine that is reset has no BARs, so the same write is trapped.
    bus.reset();
    match vm.run_guest(DOORBELL as u32, PEER_1_VECTOR_1)? {
        1 => Ok(()),
        trapped => Err(format!("{trapped} accesses were trapped after the reset").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doorbell_arrives_by_the_plain_path() {
        let message = by_the_model().unwrap();
        assert_eq!((message.address, message.data), (0xfee0_0000, 0x41));
    }

    #[test]
    fn kvm_delivers_without_the_model() {
        match Vm::open() {
            Ok(vm) => by_kvm(&Rc::new(vm)).unwrap(),
            Err(reason) => assert!(
                std::env::var_os("IVSHMEM_REQUIRE_KVM").is_none(),
                "{reason}, and IVSHMEM_REQUIRE_KVM is set"
            ),
        }
    }
}
