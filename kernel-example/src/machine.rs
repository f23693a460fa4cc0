// SPDX-License-Identifier: MIT OR Apache-2.0
//! This kernel as a machine that the scenarios can run on.

use core::{cell::Cell, fmt};

use ivshmem::pci::{ConfigSpace, Function};
use ivshmem::{attach, MmioRegion, MsiMessage, VectorIndex};
use ivshmem_scenarios::{Failure, LineCount, Machine};

use crate::{
    arch::{apic, cpu, time},
    cmdline,
    config::{self, ConfigError, Mechanism},
    devices::Device,
    interrupts,
    platform::KernelPlatform,
    println, serial,
};

/// How long anything in a scenario may take: a guest of a loaded host is slow, but not that slow.
const TIME_LIMIT_NS: u64 = 10_000_000_000;

/// How long the host may think before it says something.
const HEAR_LIMIT_NS: u64 = 60_000_000_000;

/// The one machine there is.
#[derive(Debug)]
pub struct KernelMachine {
    config: ConfigSpace<Mechanism>,
    /// Slot of vector 0 of the device attached last.
    first_slot: Cell<u8>,
}

impl KernelMachine {
    /// Returns the machine. One at a time may be in use.
    ///
    /// # Errors
    ///
    /// - [`ConfigError`]: the way to configuration space that was asked for is not there.
    pub fn new() -> Result<Self, ConfigError> {
        Ok(Self {
            config: config::open()?,
            first_slot: Cell::new(0),
        })
    }

    /// Returns the slot of a vector of the device attached last.
    pub fn slot(&self, vector: VectorIndex) -> Option<u8> {
        self.first_slot.get().checked_add(vector.0.try_into().ok()?)
    }
}

impl Machine for KernelMachine {
    type Config = Mechanism;
    type Registers = MmioRegion;
    type Device = Device;

    fn config(&self) -> &ConfigSpace<Mechanism> {
        &self.config
    }

    fn attach(&self, function: &Function<'_, Mechanism>, vectors: u16) -> Result<Device, Failure> {
        let mut platform = KernelPlatform::new(vectors.try_into()?)?;
        self.first_slot
            .set(platform.slot(VectorIndex(0)).unwrap_or(interrupts::SLOTS));
        Ok(Device::new(attach(function, &mut platform)?)?)
    }

    fn detach(&self, device: Device, function: &Function<'_, Mechanism>) {
        let attached = device.into_attached();
        if let Ok(mut platform) = KernelPlatform::new(0) {
            // SAFETY: `function` is the one attached, and all platforms of this kernel are the same
            // mapper.
            unsafe { attached.detach(function, &mut platform) };
        }
    }

    fn mask_all(&self, device: &Device, function: &Function<'_, Mechanism>) -> Result<(), Failure> {
        Ok(device.attached().mask_all(function)?)
    }

    fn unmask_all(
        &self,
        device: &Device,
        function: &Function<'_, Mechanism>,
    ) -> Result<(), Failure> {
        Ok(device.attached().unmask_all(function)?)
    }

    fn interrupts(&self, vector: VectorIndex) -> u32 {
        self.slot(vector).map_or(0, interrupts::count)
    }

    fn message(&self, vector: VectorIndex) -> Result<MsiMessage, Failure> {
        self.slot(vector)
            .and_then(interrupts::vector)
            .and_then(|vector| MsiMessage::x86(apic::id() as u8, vector))
            .ok_or_else(|| Failure::new(format_args!("vector {vector} has no handler")))
    }

    fn take_line(
        &self,
        device: &Device,
        function: &Function<'_, Mechanism>,
    ) -> Result<(), Failure> {
        device.intx()?;
        let input = device.take_line(&self.config, function)?;
        log::info!("{} is on I/O APIC input {input}", function.address());
        Ok(())
    }

    fn line(&self, device: &Device) -> LineCount {
        device.line()
    }

    fn wait(&self, condition: &mut dyn FnMut() -> bool) -> bool {
        cpu::wait_until(time::now_ns() + TIME_LIMIT_NS, condition)
    }

    fn pause(&self, milliseconds: u32) {
        cpu::wait_until(time::now_ns() + u64::from(milliseconds) * 1_000_000, || {
            false
        });
    }

    fn argument(&self, key: &str) -> Option<&str> {
        cmdline::get(key)
    }

    fn has(&self, word: &str) -> bool {
        cmdline::has(word)
    }

    fn say(&self, line: fmt::Arguments<'_>) {
        println!("{line}");
    }

    fn hear<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b str, Failure> {
        Ok(serial::read_line(buffer, time::now_ns() + HEAR_LIMIT_NS)?)
    }
}
