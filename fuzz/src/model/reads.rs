// SPDX-License-Identifier: MIT OR Apache-2.0
//! Steps that read, and what they have to give.

use ivshmem_device::{Bar, Level};

use super::checks::{decode, register, INTERRUPT_MASK, INTERRUPT_STATUS};
use super::image::{Image, CONFIG};
use super::machine::Machine;
use super::steps::Step;

/// Takes a step that reads, and checks what it gives.
pub fn check(machine: &mut Machine, step: &Step) {
    match *step {
        Step::ReadConfig { offset, len } => {
            let mut all = [0; CONFIG];
            machine.device.read_config(0, &mut all);
            let mut bytes = vec![0; len];
            machine.device.read_config(offset, &mut bytes);
            for (at, byte) in (usize::from(offset)..).zip(bytes) {
                assert_eq!(byte, all.get(at).copied().unwrap_or(0xff), "{at:#x}");
            }
        }
        Step::Decode { address } if machine.device.is_realized() => {
            let image = Image::take(&mut machine.device, &mut machine.host);
            decode(machine, &image, address);
        }
        Step::ReadBar { bar, offset, len } => {
            let mask = register(machine, INTERRUPT_MASK);
            let asserted = machine.device.line();
            let mut bytes = vec![0x5a; len];
            let (device, host) = (&mut machine.device, &mut machine.host);
            device.read_bar(bar, offset, &mut bytes, host);
            if offset >= machine.bar_len(bar) {
                assert!(bytes.iter().all(|&byte| byte == 0), "{step:?}");
            }
            if let (Bar::Registers, INTERRUPT_STATUS, Ok(word)) = (bar, offset, bytes.try_into()) {
                let status = u32::from_le_bytes(word);
                assert!(asserted == Level::Low || status & mask != 0);
                assert_eq!(register(machine, INTERRUPT_STATUS), 0, "it was read");
            }
        }
        _ => {}
    }
}
