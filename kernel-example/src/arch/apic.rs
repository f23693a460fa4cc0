// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC, as xAPIC (memory) or x2APIC (model-specific registers).
//!
//! Offsets are those of the xAPIC page (AMD APM volume 2, table 16-2); the
//! x2APIC register of offset `o` is MSR 0x800 + o / 16.

use core::fmt;

use ivshmem::{CachePolicy, MmioRegion, PhysRegion, Registers};
use spin::Once;
use x86_64::registers::model_specific::{ApicBase, ApicBaseFlags, Msr};

use super::{cpu, time};
use crate::{
    interrupts::{SPURIOUS_VECTOR, TICK_VECTOR},
    memory::{self, MapError},
};

const ID: u16 = 0x20;
const TASK_PRIORITY: u16 = 0x80;
const END_OF_INTERRUPT: u16 = 0xb0;
const SPURIOUS: u16 = 0xf0;
const INTERRUPT_COMMAND: u16 = 0x300;
const LVT_TIMER: u16 = 0x320;
const LVT_LINT0: u16 = 0x350;
const LVT_LINT1: u16 = 0x360;
const LVT_ERROR: u16 = 0x370;
const INITIAL_COUNT: u16 = 0x380;
const CURRENT_COUNT: u16 = 0x390;
const DIVIDE_CONFIGURATION: u16 = 0x3e0;

const LVT_MASKED: u32 = 1 << 16;
const LVT_PERIODIC: u32 = 1 << 17;
const LVT_NMI: u32 = 4 << 8;
const TO_SELF: u32 = 1 << 18;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const DIVIDE_BY_1: u32 = 0xb;

/// The MSR of offset 0 in x2APIC mode.
const X2APIC_BASE: u32 = 0x800;

const PAGE_BYTES: u64 = 4096;

/// How long the timer is watched to learn its frequency.
const CALIBRATION_NS: u64 = 5_000_000;

/// The time between two ticks.
const TICK_NS: u64 = 10_000_000;

static LOCAL: Once<LocalApic> = Once::new();

/// The way to the registers.
enum LocalApic {
    Memory(MmioRegion),
    Msr,
}

impl LocalApic {
    fn read(&self, offset: u16) -> u32 {
        match self {
            Self::Memory(registers) => registers.read(offset.into()),
            Self::Msr => {
                let register = msr(offset);
                // SAFETY: the register exists in x2APIC mode, and reading it changes nothing.
                let value = unsafe { register.read() };
                value as u32
            }
        }
    }

    fn write(&self, offset: u16, value: u32) {
        match self {
            Self::Memory(registers) => registers.write(offset.into(), value),
            Self::Msr => {
                let mut register = msr(offset);
                // SAFETY: the register exists in x2APIC mode; the values written name
                // vectors that the interrupt descriptor table serves.
                unsafe { register.write(value.into()) };
            }
        }
    }
}

const fn msr(offset: u16) -> Msr {
    Msr::new(X2APIC_BASE + (offset >> 4) as u32)
}

/// Enables the local APIC with everything masked but NMI. Both PICs must be masked.
///
/// # Errors
///
/// - [`ApicError::Map`]: its registers cannot be mapped.
pub fn init() -> Result<(), ApicError> {
    let (frame, flags) = ApicBase::read();
    let (apic, mut flags) = if cpu::has_x2apic() {
        (LocalApic::Msr, flags | ApicBaseFlags::X2APIC_ENABLE)
    } else {
        let region = PhysRegion {
            start: frame.start_address().as_u64(),
            len: PAGE_BYTES,
        };
        let base = memory::map(region, CachePolicy::Uncached).map_err(ApicError::Map)?;
        // SAFETY: the page is the local APIC's, mapped uncached and for good just above.
        let registers = unsafe { MmioRegion::new(base, PAGE_BYTES as usize) };
        (LocalApic::Memory(registers), flags)
    };
    flags |= ApicBaseFlags::LAPIC_ENABLE;
    // SAFETY: the address stays as it was, and x2APIC is only enabled where it exists.
    unsafe { ApicBase::write(frame, flags) };

    let apic = LOCAL.call_once(|| apic);
    apic.write(TASK_PRIORITY, 0);
    apic.write(LVT_TIMER, LVT_MASKED);
    apic.write(LVT_LINT0, LVT_MASKED);
    // So that the NMI of a QEMU monitor prints where the kernel is.
    apic.write(LVT_LINT1, LVT_NMI);
    apic.write(LVT_ERROR, LVT_MASKED);
    apic.write(SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
    let mode = match apic {
        LocalApic::Memory(_) => "xAPIC",
        LocalApic::Msr => "x2APIC",
    };
    log::info!("local APIC {} in {mode} mode", id());
    Ok(())
}

/// Starts the periodic tick, with [`TICK_VECTOR`]. The clock must be calibrated.
///
/// # Errors
///
/// - [`ApicError::TimerStopped`]: the timer does not count.
pub fn start_tick() -> Result<(), ApicError> {
    let Some(apic) = LOCAL.get() else {
        return Err(ApicError::NotInitialised);
    };
    apic.write(DIVIDE_CONFIGURATION, DIVIDE_BY_1);
    apic.write(INITIAL_COUNT, u32::MAX);
    let start = time::tsc();
    cpu::spin_until(time::now_ns() + CALIBRATION_NS, || false);
    let counted = u64::from(u32::MAX - apic.read(CURRENT_COUNT));
    let elapsed_ns = time::ns(time::tsc().saturating_sub(start));
    let per_tick = counted * TICK_NS / elapsed_ns.max(1);
    let per_tick = u32::try_from(per_tick).unwrap_or(u32::MAX);
    if per_tick == 0 {
        return Err(ApicError::TimerStopped { elapsed_ns });
    }
    apic.write(LVT_TIMER, LVT_PERIODIC | u32::from(TICK_VECTOR));
    apic.write(INITIAL_COUNT, per_tick);
    Ok(())
}

/// Tells the APIC that the interrupt being handled is done with.
pub fn end_of_interrupt() {
    if let Some(apic) = LOCAL.get() {
        apic.write(END_OF_INTERRUPT, 0);
    }
}

/// Raises the interrupt `vector` at this processor, as a device would.
pub fn interrupt_self(vector: u8) {
    if let Some(apic) = LOCAL.get() {
        apic.write(INTERRUPT_COMMAND, TO_SELF | u32::from(vector));
    }
}

/// Returns the number that messages to this processor carry, 0 before [`init`].
pub fn id() -> u32 {
    match LOCAL.get() {
        Some(apic @ LocalApic::Memory(_)) => apic.read(ID) >> 24,
        Some(apic @ LocalApic::Msr) => apic.read(ID),
        None => 0,
    }
}

/// Why the local APIC cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApicError {
    /// The registers cannot be mapped.
    Map(MapError),
    /// [`init`] has not run.
    NotInitialised,
    /// The timer does not count.
    TimerStopped {
        /// How long it was watched, in nanoseconds.
        elapsed_ns: u64,
    },
}

impl fmt::Display for ApicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(error) => write!(f, "the local APIC cannot be mapped: {error}"),
            Self::NotInitialised => write!(f, "the local APIC is not set up"),
            Self::TimerStopped { elapsed_ns } => write!(
                f,
                "the local APIC's timer did not count within {elapsed_ns} ns"
            ),
        }
    }
}
