// SPDX-License-Identifier: MIT OR Apache-2.0
//! A VMM in the style of rust-vmm with two `ivshmem-doorbell` devices on its bus, connected by a server in this process.
//!
//! `cargo run -p ivshmem-device --example vmm_bus` lets one device ring the other, twice: by the plain path, on which
//! every access of the guest and every event goes through the model; and, where /dev/kvm opens, by KVM, with an
//! ioeventfd for the doorbell, an irqfd for the interrupt and the shared memory mapped into the guest, so that nothing of it
//! comes to this program at all.
//!
//! | file in `vmm` | has |
//! | --- | --- |
//! | `mod.rs` | the two paths |
//! | `bus.rs` | who claims an address; what the guest's firmware and driver would do |
//! | `wires.rs` | where interrupts and doorbells go, the VMM's part of the device |
//! | `kvm.rs` | what KVM is told, and a guest of five instructions |
//! | `server.rs` | the server, in 60 lines; a real one is the command `ivshmem server` |

#[cfg(target_arch = "x86_64")]
mod vmm;

#[cfg(target_arch = "x86_64")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    vmm::run()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("the guest and its interrupt controller are of x86: nothing is shown here");
}
