// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's own cases of this device (its `tests/qtest/ivshmem-test.c`), with the driver in the place of its library.

use std::thread;
use std::time::Duration;

use ivshmem::pci::probe;
use ivshmem::registers::{DOORBELL, INTERRUPT_MASK, INTERRUPT_STATUS, IV_POSITION};
use ivshmem::{PhysRegion, Registers, VectorIndex};
use ivshmem_scenarios::{device, Machine};
use libtest_mimic::Failed;
use xtask::guests::{plain, Place, TestServer};
use xtask::trials::same;

use crate::board::{Board, Ports, Window};
use crate::bring_up::Attached;
use crate::firmware;
use crate::lab::{all, on, Lab, Need, SharedFile, SIZE};
use crate::machine::{config_space, QtestMachine};
use crate::table::failed;

pub fn trials() -> Vec<Need> {
    vec![
        Need::new("qtest::single", single),
        Need::new("qtest::memdev", memdev),
        Need::new("qtest::pair", pair),
        Need::new("qtest::server", server),
    ]
}

/// `/ivshmem/single`: registers and memory of one `ivshmem-plain`.
fn single(lab: &Lab) -> Result<(), Failed> {
    let memory = SharedFile::new(SIZE)?;
    let mapping = memory.map()?;
    let host = mapping.memory();
    on([memory.plain(lab.guest(), Place::Pc)?], |[board]| {
        let machine = QtestMachine::new(board, memory.file())?;
        let device = attach(&machine, 0)?;
        let registers = device.registers()?;
        for register in [INTERRUPT_MASK, INTERRUPT_STATUS, IV_POSITION] {
            same("a register at start", registers.read(register), 0)?;
        }
        registers.write(INTERRUPT_MASK, !0);
        same("mask", registers.read(INTERRUPT_MASK), !0)?;
        registers.write(INTERRUPT_STATUS, 1);
        same("status", registers.read(INTERRUPT_STATUS), 1)?;
        same("status, read again", registers.read(INTERRUPT_STATUS), 0)?;
        registers.write(IV_POSITION, 1);
        same("position, written", registers.read(IV_POSITION), 0)?;
        same("doorbell, read", registers.read(DOORBELL), 0)?;
        registers.write(DOORBELL, 8 << 16);

        let mut seen = [0; 4096];
        let block = PhysRegion {
            len: seen.len() as u64,
            ..bar_2(&device)
        };
        let written: Vec<u8> = (0..seen.len()).map(|at| at as u8 ^ 0x5a).collect();
        board.write(block.start, &written);
        host.read(0, &mut seen)?;
        same("the host sees it all", seen == written[..], true)?;
        same("read back", board.read(block) == written, true)?;
        device.memory().read(0, &mut seen)?;
        same("the driver sees it all", seen == written[..], true)
    })
}

/// `/ivshmem/memdev`: memory that is not shared with anybody makes a device, too.
fn memdev(lab: &Lab) -> Result<(), Failed> {
    let guest = plain(lab.guest(), Place::Pc, "1M");
    on([guest], |[board]| {
        let config = config_space(&Ports(board.clone()));
        firmware::run(&config)?;
        let functions: Vec<_> = ivshmem::pci::find(&config).collect();
        same("devices", functions.len(), 1)?;
        let resources = probe(&functions[0])?;
        same("size of the memory", resources.shared_memory.len, SIZE)?;
        let registers = resources.registers.ok_or("no register bar")?;
        same("size of the registers", registers.len, 256)?;
        let mask = Window::new(board, registers.start);
        mask.write(INTERRUPT_MASK, 0x1234);
        same("mask", mask.read(INTERRUPT_MASK), 0x1234)
    })
}

/// `/ivshmem/pair`: two machines and the host on the same memory.
fn pair(lab: &Lab) -> Result<(), Failed> {
    let memory = SharedFile::new(SIZE)?;
    let mapping = memory.map()?;
    let host = mapping.memory();
    let guests = [
        memory.plain(lab.guest().name("first"), Place::Pc)?,
        memory.plain(lab.guest().name("second"), Place::Q35)?,
    ];
    on(guests, |[first, second]| {
        let machines = [
            QtestMachine::new(first, memory.file())?,
            QtestMachine::new(second, memory.file())?,
        ];
        let [one, two] = [attach(&machines[0], 0)?, attach(&machines[1], 0)?];
        let whole = |board: &Board, device| board.read(bar_2(device));
        let filled = |byte| vec![byte; SIZE as usize];

        host.write(0, &filled(0x42))?;
        all(
            "the host's, in the first machine",
            &whole(first, &one),
            0x42,
        )?;
        all("the host's, in the second", &whole(second, &two), 0x42)?;
        first.write(bar_2(&one).start, &filled(0x43));
        all("the first's, in the second", &whole(second, &two), 0x43)?;
        second.write(bar_2(&two).start, &filled(0x44));
        all("the second's, in the first", &whole(first, &one), 0x44)?;
        // The drivers' own views are of the same memory.
        let mut seen = filled(0);
        one.memory().read(0, &mut seen)?;
        all("the second's, through the driver", &seen, 0x44)?;
        two.memory().write(0, &filled(0x45))?;
        all("the driver's, in the first", &whole(first, &one), 0x45)
    })
}

/// `/ivshmem/server`: two machines ring each other; all vectors are masked, so what arrives is pending.
fn server(lab: &Lab) -> Result<(), Failed> {
    let server = TestServer::start(SIZE, 2)?;
    let guests = [
        server.doorbell(lab.guest().name("first"), Place::Pc),
        server.doorbell(lab.guest().name("second"), Place::Pc),
    ];
    on(guests, |[first, second]| {
        let machines = [
            QtestMachine::new(first, server.server.memory())?,
            QtestMachine::new(second, server.server.memory())?,
        ];
        let [one, two] = [attach(&machines[0], 0)?, attach(&machines[1], 0)?];
        same("ids differ", one.position()? != two.position()?, true)?;
        for device in [&one, &two] {
            same("vectors", device.msix()?.vectors(), 2)?;
            for vector in [0, 1].map(VectorIndex) {
                same("masked", device.msix()?.is_masked(vector)?, true)?;
                same("pending", device.msix()?.is_pending(vector)?, false)?;
            }
        }
        two.ring(one.position()?, VectorIndex(0))?;
        becomes_pending(&one, VectorIndex(0))?;
        one.ring(two.position()?, VectorIndex(1))?;
        becomes_pending(&two, VectorIndex(1))?;
        same("the others", one.msix()?.is_pending(VectorIndex(1))?, false)?;
        same("the others", two.msix()?.is_pending(VectorIndex(0))?, false)
    })
}

/// Waits for a pending bit, for the 5 seconds that QEMU's case does.
fn becomes_pending(device: &Attached<Window>, vector: VectorIndex) -> Result<(), Failed> {
    const STEP: Duration = Duration::from_millis(5);
    for _ in 0..1000 {
        if device.msix()?.is_pending(vector)? {
            return Ok(());
        }
        thread::sleep(STEP);
    }
    Err(format!("vector {vector} is not pending").into())
}

/// Attaches the machine's device, with messages for the first `vectors` vectors.
pub fn attach(machine: &QtestMachine, vectors: u16) -> Result<Attached<Window>, Failed> {
    device(machine)
        .and_then(|function| machine.attach(&function, vectors))
        .map_err(failed)
}

const fn bar_2(device: &Attached<Window>) -> PhysRegion {
    device.resources.shared_memory
}
