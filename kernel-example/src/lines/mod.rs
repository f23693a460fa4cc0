// SPDX-License-Identifier: MIT OR Apache-2.0
//! Level-triggered interrupt lines, and the devices that share them.
//!
//! A line that is high says that one device on it wants something, not which: its handler asks every
//! [`Source`] on it. Only then does the interrupt end. If the line is still high, because a device raised it
//! again or nobody took it down, the next interrupt comes at once.

use core::{fmt, ptr};

use ivshmem::pci::{ConfigRegionAccess, ConfigSpace, Function};
use spin::Mutex;
use x86_64::instructions::interrupts::without_interrupts;

use self::route::RouteError;
use crate::{
    arch::{
        apic,
        ioapic::{self, IoApicError, INPUTS},
    },
    exit,
    interrupts::{self, NoSlots},
};

mod route;

/// Devices that may be on lines at the same time.
const MAX_SOURCES: usize = 8;

/// Interrupts in a row that no device has raised, until the line is given up: without an end they would keep
/// the processor busy for good. A few are normal: a hypervisor may tell late that a line is down again.
const MAX_UNCLAIMED: u32 = 1000;

/// What raises a line.
pub trait Source: Sync {
    /// Takes the line down if this device has raised it, and returns whether it had. Called in interrupt context.
    fn acknowledge(&self) -> bool;
}

/// A source and the line that it is on.
struct Sharer {
    slot: u8,
    source: &'static dyn Source,
}

struct Lines {
    /// The slot of each input of the I/O APIC that was ever taken.
    slots: [Option<u8>; INPUTS as usize],
    sharers: [Option<Sharer>; MAX_SOURCES],
    unclaimed: u32,
}

/// Locked with interrupts off only, so that a handler never finds it locked.
static LINES: Mutex<Lines> = Mutex::new(Lines {
    slots: [None; INPUTS as usize],
    sharers: [const { None }; MAX_SOURCES],
    unclaimed: 0,
});

/// Has `source` asked at each interrupt of the line of `function`, and returns the line's input of the I/O APIC.
///
/// # Errors
///
/// - [`LineError::Route`]: it is not known which line that is.
/// - [`LineError::IoApic`], [`LineError::NoSlots`]: the line cannot be connected.
/// - [`LineError::TooMany`]: there are too many sources.
pub fn take<C: ConfigRegionAccess>(
    config: &ConfigSpace<C>,
    function: &Function<'_, C>,
    source: &'static dyn Source,
) -> Result<u8, LineError> {
    let input = route::input(config, function).map_err(LineError::Route)?;
    without_interrupts(|| {
        let mut lines = LINES.lock();
        let index = lines.sharers.iter().position(Option::is_none);
        let index = index.ok_or(LineError::TooMany)?;
        let slot = lines.connected(input)?;
        lines.sharers[index] = Some(Sharer { slot, source });
        Ok(input)
    })
}

/// Has `source` no longer asked. Its device must not raise the line any more.
pub fn release(source: &'static dyn Source) {
    without_interrupts(|| {
        for place in &mut LINES.lock().sharers {
            if matches!(place, Some(sharer) if ptr::addr_eq(sharer.source, source)) {
                *place = None;
            }
        }
    });
}

impl Lines {
    /// Returns the slot of an input, which it connects at the first time.
    fn connected(&mut self, input: u8) -> Result<u8, LineError> {
        let no_input = LineError::IoApic(IoApicError::NoInput { input });
        let known = self.slots.get_mut(usize::from(input)).ok_or(no_input)?;
        if let Some(slot) = *known {
            return Ok(slot);
        }
        let slot = interrupts::allocate(1).map_err(LineError::NoSlots)?;
        interrupts::set_handler(slot, handle);
        let vector = interrupts::vector(slot).ok_or(no_input)?;
        // The number fits: this kernel starts no other processors, and the first one's is 0 on these machines.
        ioapic::connect(input, vector, apic::id() as u8).map_err(LineError::IoApic)?;
        *known = Some(slot);
        Ok(slot)
    }
}

/// Asks every source on the line of `slot`, also behind one that says yes: another may have raised it as well, and
/// while it is high nothing would tell that apart.
fn handle(slot: u8) {
    let mut lines = LINES.lock();
    let sharers = lines.sharers.iter().flatten();
    let claims = sharers
        .filter(|sharer| sharer.slot == slot)
        .filter(|sharer| sharer.source.acknowledge())
        .count();
    lines.unclaimed = if claims == 0 { lines.unclaimed + 1 } else { 0 };
    if lines.unclaimed > MAX_UNCLAIMED {
        exit::fail(format_args!(
            "an interrupt line stays high: no device on it took {MAX_UNCLAIMED} interrupts in a row"
        ));
    }
}

/// Why a device's line cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// It is not known which line that is.
    Route(RouteError),
    /// The I/O APIC does not take it.
    IoApic(IoApicError),
    /// No interrupt vector is left.
    NoSlots(NoSlots),
    /// Too many devices are on lines already.
    TooMany,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(error) => error.fmt(f),
            Self::IoApic(error) => error.fmt(f),
            Self::NoSlots(error) => error.fmt(f),
            Self::TooMany => write!(
                f,
                "{MAX_SOURCES} devices are on interrupt lines, and no more fit"
            ),
        }
    }
}
