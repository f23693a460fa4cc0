// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O APIC, which turns the interrupt lines of `pc` and `q35` into vectors of the local APIC.
//!
//! Source: Intel 82093AA I/O APIC data sheet, section 3. It is where both chipsets have it after reset.

use core::fmt;

use ivshmem::{CachePolicy, MmioRegion, PhysRegion, Registers};
use spin::Once;

use crate::memory::{self, MapError};

/// The number of lines.
pub const INPUTS: u8 = 24;

const REGION: PhysRegion = PhysRegion {
    start: 0xfec0_0000,
    len: 0x20,
};

/// The number of the register that `WINDOW` shows.
const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;

/// Register 1: the version, and the number of the last input in bits 23 to 16.
const VERSION: u32 = 1;

/// The first register of input 0's entry; each entry has two.
const FIRST_ENTRY: u32 = 0x10;

/// In the low register of an entry: level-triggered. Neither this nor polarity (clear: active high, as ACPI
/// says of these machines) has any meaning but the right one for a PCI line.
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

/// The place of the destination in the high register of an entry.
const DESTINATION_SHIFT: u32 = 24;

static REGISTERS: Once<MmioRegion> = Once::new();

/// Has `input` raise `vector` at the local APIC `apic_id` for as long as it is high, once for each end of interrupt.
///
/// # Errors
///
/// - [`IoApicError::Map`]: its registers cannot be mapped.
/// - [`IoApicError::NoInput`]: it has no such input, or is not there.
pub fn connect(input: u8, vector: u8, apic_id: u8) -> Result<(), IoApicError> {
    let registers = registers()?;
    let inputs = read(registers, VERSION) >> 16 & 0xff;
    if u32::from(input) > inputs || input >= INPUTS {
        return Err(IoApicError::NoInput { input });
    }
    let low = FIRST_ENTRY + 2 * u32::from(input);
    // The destination first: an input that is high already fires as soon as it is not masked.
    write(registers, low, MASKED);
    write(registers, low + 1, u32::from(apic_id) << DESTINATION_SHIFT);
    write(registers, low, LEVEL | u32::from(vector));
    Ok(())
}

/// Returns the registers, mapped at the first call.
fn registers() -> Result<&'static MmioRegion, IoApicError> {
    REGISTERS.try_call_once(|| {
        let base = memory::map(REGION, CachePolicy::Uncached).map_err(IoApicError::Map)?;
        // SAFETY: the registers of the I/O APIC, mapped uncached and for good just above; what is written there
        // makes interrupts with vectors that have handlers.
        Ok(unsafe { MmioRegion::new(base, REGION.len as usize) })
    })
}

fn read(registers: &MmioRegion, index: u32) -> u32 {
    registers.write(SELECT, index);
    registers.read(WINDOW)
}

fn write(registers: &MmioRegion, index: u32, value: u32) {
    registers.write(SELECT, index);
    registers.write(WINDOW, value);
}

/// Why an interrupt line cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoApicError {
    /// The registers cannot be mapped.
    Map(MapError),
    /// There is no such input.
    NoInput {
        /// Its number.
        input: u8,
    },
}

impl fmt::Display for IoApicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(error) => write!(f, "the I/O APIC cannot be mapped: {error}"),
            Self::NoInput { input } => write!(f, "the I/O APIC has no input {input}"),
        }
    }
}
