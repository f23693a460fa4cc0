// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two devices on one interrupt line, one of them disabled: its events wait, whatever the other does.

use ivshmem::pci::find;
use ivshmem_device::Generation;
use ivshmem_scenarios::{ensure_eq, Failure, Machine};
use libtest_mimic::Trial;

use crate::descriptor::Shared;
use crate::machine::{Device, ModelMachine};
use crate::scene::{serve, RUNG};
use crate::setup::{Flavour, Setup, SIZE};
use crate::table::failed;

pub fn trials() -> Vec<Trial> {
    [Generation::V2_3, Generation::V2_5]
        .map(|generation| {
            let setup = Setup {
                devices: 2,
                ..Setup::new(Flavour::LegacyLine(generation))
            };
            let name = format!("shared::disabled_beside_another_{generation}");
            Trial::test(name, move || {
                let machine = setup.boot(Shared::new(SIZE)?)?;
                disabled(&machine).map_err(failed)
            })
        })
        .into()
}

/// Interrupts of one device take nothing from the other, in whichever order the handlers are asked.
fn disabled(machine: &ModelMachine) -> Result<(), Failure> {
    machine.board.settle();
    let attach = |index| {
        let function = find(machine.config()).nth(index).ok_or("no device")?;
        let device = machine.attach(&function, 0)?;
        device.wait_ready(|| false)?;
        serve(machine, &function, &device)?;
        Ok::<_, Failure>(device)
    };
    let devices = [attach(0)?, attach(1)?];
    for [heard, disabled] in [[0, 1], [1, 0]] {
        let taken = |index: usize| machine.line(&devices[index]).taken;
        let before = [taken(heard), taken(disabled)];
        let intx = devices[disabled].intx()?;
        intx.disable();
        for index in [disabled, heard, heard] {
            ring(machine, &devices[index])?;
        }
        ensure_eq("events of the one", taken(heard), before[0] + 2)?;
        ensure_eq("events of the other", taken(disabled), before[1])?;
        intx.enable();
        machine.board.settle();
        ensure_eq("noted events", taken(disabled), before[1] + 1)?;
    }
    Ok(())
}

fn ring(machine: &ModelMachine, device: &Device) -> Result<(), Failure> {
    machine.hub.ring(device.position()?.0, RUNG);
    machine.board.settle();
    Ok(())
}
