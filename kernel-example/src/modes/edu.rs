// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mode=edu`: interrupts of QEMU's `edu` device, and of an ivshmem device on the same line if there is one.
//!
//! That device raises its line when it is told to, which shows whether lines arrive without any ivshmem of
//! revision 0 at hand; next to one, it is the stranger that must get its own interrupts and no others.
//! Source: QEMU 7.2, `docs/specs/edu.txt`.

use core::sync::atomic::{AtomicU32, Ordering};

use ivshmem::{
    pci::{find, Function},
    CachePolicy, InterruptStatus, MmioRegion, PhysRegion, Registers,
};
use ivshmem_scenarios::{ensure, ensure_eq, Failure, Machine};
use spin::Once;
use x86_64::instructions::interrupts::without_interrupts;

use crate::{
    config::Mechanism,
    devices::Device,
    lines::{self, Source},
    machine::KernelMachine,
    memory, println,
};

const VENDOR_AND_DEVICE: (u16, u16) = (0x1234, 0x11e8);

/// Reads 0xed in the low byte.
const ID: usize = 0x00;
/// Reads the inverse of what was written.
const LIVENESS: usize = 0x04;
/// The line is high while any bit is set.
const STATUS: usize = 0x24;
/// Sets bits of the status.
const RAISE: usize = 0x60;
/// Clears bits of the status.
const ACKNOWLEDGE: usize = 0x64;

/// How often each device raises the line.
const ROUNDS: u32 = 20;

static EDU: Once<Edu> = Once::new();

/// The device, and what its interrupts have brought.
struct Edu {
    registers: MmioRegion,
    taken: AtomicU32,
    foreign: AtomicU32,
    last_status: AtomicU32,
}

impl Source for Edu {
    fn acknowledge(&self) -> bool {
        let status = self.registers.read(STATUS);
        if status == 0 {
            self.foreign.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.registers.write(ACKNOWLEDGE, status);
        self.last_status.store(status, Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Release);
        true
    }
}

/// Raises the line from all sides, and compares what each device's handler took.
pub fn run(machine: &mut KernelMachine) -> Result<(), Failure> {
    let edu = start(machine)?;
    println!("@ edu input={}", edu.input);
    let ivshmem = match find(machine.config()).next() {
        Some(function) => Some(edu.neighbour(machine, &function)?),
        None => None,
    };
    for round in 1..=ROUNDS {
        edu.device.registers.write(RAISE, round);
        edu.took(machine, round)?;
        if let Some(ivshmem) = &ivshmem {
            ivshmem.intx()?.raise(InterruptStatus::PEER);
            ivshmem_took(machine, ivshmem, round)?;
        }
    }
    if let Some(ivshmem) = &ivshmem {
        let intx = ivshmem.intx()?;
        // High from both sides before anybody looks.
        without_interrupts(|| {
            edu.device.registers.write(RAISE, ROUNDS + 1);
            intx.raise(InterruptStatus::PEER);
        });
        edu.took(machine, ROUNDS + 1)?;
        ivshmem_took(machine, ivshmem, ROUNDS + 1)?;
        let line = ivshmem.line();
        println!(
            "@ shared taken={} foreign={} edu_taken={} edu_foreign={}",
            line.taken,
            line.foreign,
            edu.device.taken.load(Ordering::Acquire),
            edu.device.foreign.load(Ordering::Relaxed),
        );
    }
    machine.pause(20);
    edu.took(machine, ROUNDS + u32::from(ivshmem.is_some()))
}

/// The device on its line.
struct OnLine {
    device: &'static Edu,
    input: u8,
}

fn start(machine: &KernelMachine) -> Result<OnLine, Failure> {
    let function = machine
        .config()
        .functions()
        .flatten()
        .find(|function| (function.vendor_id(), function.device_id()) == VENDOR_AND_DEVICE)
        .ok_or("no device 1234:11e8; start QEMU with -device edu")?;
    let bar = function.bar(0)?.ok_or("the edu device has no bar 0")?;
    ensure(
        bar.address != 0,
        format_args!("the edu device has no address; say `assign`"),
    )?;
    let region = PhysRegion {
        start: bar.address,
        len: bar.size,
    };
    let base = memory::map(region, CachePolicy::Uncached)?;
    // SAFETY: the device's registers, mapped uncached and for good just above; of what is behind them, only
    // the line is used here.
    let registers = unsafe { MmioRegion::new(base, region.len as usize) };
    ensure_eq("edu's ID", registers.read(ID) & 0xff, 0xed)?;
    registers.write(LIVENESS, 0x1234_5678);
    ensure_eq("edu's liveness", registers.read(LIVENESS), !0x1234_5678)?;
    let device = EDU.call_once(|| Edu {
        registers,
        taken: AtomicU32::new(0),
        foreign: AtomicU32::new(0),
        last_status: AtomicU32::new(0),
    });
    let input = lines::take(machine.config(), &function, device)?;
    Ok(OnLine { device, input })
}

impl OnLine {
    /// Attaches an ivshmem device, which must be on the same line.
    fn neighbour(
        &self,
        machine: &KernelMachine,
        function: &Function<'_, Mechanism>,
    ) -> Result<Device, Failure> {
        let ivshmem = machine.attach(function, 0)?;
        let input = ivshmem.take_line(machine.config(), function)?;
        ensure_eq("the input of the other device", input, self.input)?;
        ivshmem.intx()?.enable();
        Ok(ivshmem)
    }

    /// Waits until the handler has taken `count` interrupts, the last of them with that as its status, and no more.
    fn took(&self, machine: &KernelMachine, count: u32) -> Result<(), Failure> {
        let taken = || self.device.taken.load(Ordering::Acquire);
        machine.wait(&mut || taken() >= count);
        ensure_eq("interrupts of edu", taken(), count)?;
        let status = self.device.last_status.load(Ordering::Relaxed);
        ensure_eq("status of edu", status, count)
    }
}

fn ivshmem_took(machine: &KernelMachine, ivshmem: &Device, count: u32) -> Result<(), Failure> {
    machine.wait(&mut || ivshmem.line().taken >= count);
    ensure_eq("interrupts of ivshmem", ivshmem.line().taken, count)
}
