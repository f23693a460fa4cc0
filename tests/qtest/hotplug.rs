// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that come and go: QEMU's own cases, and what the driver sees of it.

use ivshmem::pci::{find, probe, ConfigSpace, Function, PciAddress, ProbeError};
use ivshmem::registers::INTERRUPT_MASK;
use ivshmem::Registers;
use ivshmem_scenarios::Machine;
use libtest_mimic::Failed;
use serde_json::{json, Value};
use xtask::guests::{Place, TestServer};
use xtask::qmp::Qmp;
use xtask::trials::same;

use crate::board::{Board, Ports};
use crate::cases::attach;
use crate::firmware;
use crate::lab::{on, Lab, Need, PATIENCE, SIZE};
use crate::machine::{config_space, QtestMachine};

/// The slot of QEMU's case.
const SLOT: u8 = 6;
/// Eject register of ACPI hot-plugging on `pc`, a bit for each slot (QEMU `docs/specs/acpi_pci_hotplug.rst`).
const EJECT: u16 = 0xae08;

pub fn trials() -> Vec<Need> {
    vec![
        Need::new("qtest::hotplug", pc),
        Need::new("qtest::hotplug-q35", q35),
        Need::new("hotplug::an_unplugged_device_is_gone", gone),
    ]
}

/// `/ivshmem/hotplug`: plugged into a slot of `pc`, and ejected. In between the driver finds it.
fn pc(lab: &Lab) -> Result<(), Failed> {
    let guest = lab
        .guest()
        .machine("pc")
        .object("memory-backend-ram,id=mb1,size=1M");
    on([guest], |[board]| {
        let config = config_space(&Ports(board.clone()));
        same("devices at start", find(&config).count(), 0)?;
        let mut qmp = board.vm().qmp(PATIENCE)?;
        plug(
            &mut qmp,
            json!({"memdev": "mb1", "addr": format!("{SLOT:#x}")}),
        )?;
        let function = at_slot(&config).ok_or("the slot is empty")?;
        let unassigned = Err(ProbeError::BarUnassigned {
            index: 0,
            size: 256,
        });
        same("probe", probe(&function).map(drop), unassigned)?;
        firmware::run(&config)?;
        same("memory", probe(&function)?.shared_memory.len, SIZE)?;
        eject(board, &mut qmp, "iv1", function.address())?;
        same("devices after it was ejected", find(&config).count(), 0)
    })
}

/// `/ivshmem/hotplug-q35`: plugged in behind a bridge, and asked to leave.
fn q35(lab: &Lab) -> Result<(), Failed> {
    let guest = lab
        .guest()
        .machine("q35")
        .object("memory-backend-ram,id=mb1,size=1M")
        .device("pcie-root-port,id=p1")
        .device("pcie-pci-bridge,bus=p1,id=b1");
    on([guest], |[board]| {
        let mut qmp = board.vm().qmp(PATIENCE)?;
        plug(&mut qmp, json!({"memdev": "mb1", "bus": "b1"}))?;
        let config = config_space(&Ports(board.clone()));
        same(
            "devices before buses have numbers",
            find(&config).count(),
            0,
        )?;
        firmware::run(&config)?;
        let function = find(&config).next().ok_or("nothing behind the bridges")?;
        same("bus", function.address().bus(), 2)?;
        same("memory", probe(&function)?.shared_memory.len, SIZE)?;
        // Without a guest that ejects it, it stays.
        qmp.execute("device_del", &json!({"id": "iv1"}))?;
        Ok(())
    })
}

/// The driver of a device that is pulled from under it.
fn gone(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(SIZE, 2)?;
    on([server.doorbell(lab.guest(), Place::Pc)], |[board]| {
        let machine = QtestMachine::new(board, server.server.memory())?;
        let device = attach(&machine, 2)?;
        let address = device.resources.address;
        let function = Function::at(machine.config(), address).ok_or("no device")?;
        device.registers()?.write(INTERRUPT_MASK, 0x1234);
        eject(board, &mut board.vm().qmp(PATIENCE)?, "ivshmem", address)?;

        same("answers", function.refresh().is_some(), false)?;
        same("can be probed", probe(&function).is_ok(), false)?;
        same("can be found", find(machine.config()).count(), 0)?;
        // Nothing decodes its addresses any more. QEMU 7.2 answers 0 there, which could be an ID: that
        // is why configuration space is asked.
        let mask = device.registers()?.read(INTERRUPT_MASK);
        same("no register answers", [0, !0].contains(&mask), true)?;
        // Silencing what is not there ends, too.
        device.detach(&machine.ports);
        Ok(())
    })
}

fn plug(qmp: &mut Qmp, mut options: Value) -> Result<(), Failed> {
    options["driver"] = "ivshmem-plain".into();
    options["id"] = "iv1".into();
    qmp.execute("device_add", &options)?;
    Ok(())
}

/// Asks for the device to leave, and lets it.
fn eject(board: &Board, qmp: &mut Qmp, id: &str, from: PciAddress) -> Result<(), Failed> {
    qmp.execute("device_del", &json!({"id": id}))?;
    board.write_port(EJECT, 1 << from.device());
    let event = qmp.wait_event("DEVICE_DELETED", PATIENCE)?;
    same("deleted", event["data"]["device"].as_str(), Some(id))
}

fn at_slot(config: &ConfigSpace<Ports>) -> Option<Function<'_, Ports>> {
    Function::at(config, PciAddress::new(0, 0, SLOT, 0))
}
