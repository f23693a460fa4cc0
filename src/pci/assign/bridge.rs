// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a PCI-to-PCI bridge that say what it forwards.
//!
//! Source: PCI-to-PCI Bridge Architecture Specification 1.2, section 3.2.5.

use core::ops::Range;

use pci_types::{CommandRegister, ConfigRegionAccess};

use super::window::{Window, IO_GRAIN, MEMORY_GRAIN};
use crate::pci::Function;

/// Primary, secondary and subordinate bus; the upper byte is a latency timer.
const BUSES: u16 = 0x18;
const BUSES_MASK: u32 = 0x00ff_ffff;
/// I/O base and limit in the lower half; Secondary Status, which clears by ones, in the upper.
const IO: u16 = 0x1c;
const IO_UPPER: u16 = 0x30;
const MEMORY: u16 = 0x20;
const PREFETCHABLE: u16 = 0x24;
const PREFETCHABLE_BASE_UPPER: u16 = 0x28;
const PREFETCHABLE_LIMIT_UPPER: u16 = 0x2c;
/// The lower four bits of a window register say how wide its addresses are; 1 is the wider of two.
const WIDTH_MASK: u32 = 0xf;
const WIDE: u32 = 1;
/// A base above its limit: nothing is forwarded.
const CLOSED_MEMORY: u32 = 0x0000_fff0;
const CLOSED_IO: u32 = 0x0000_00f0;

/// What a bridge can forward besides memory below 4 GiB.
pub(super) struct Forwards {
    pub(super) wide: bool,
    pub(super) io: bool,
}

/// Takes the bridge's bus numbers away, so that it answers for no bus.
pub(super) fn disconnect<C: ConfigRegionAccess>(bridge: &Function<'_, C>) {
    bridge.write(BUSES, bridge.read(BUSES) & !BUSES_MASK);
}

/// Makes the bridge forward configuration accesses to the buses from `secondary` to `subordinate`;
/// `false` if it does not keep the numbers.
pub(super) fn connect<C: ConfigRegionAccess>(
    bridge: &Function<'_, C>,
    secondary: u8,
    subordinate: u8,
) -> bool {
    let numbers = u32::from(subordinate) << 16
        | u32::from(secondary) << 8
        | u32::from(bridge.address().bus());
    bridge.write(BUSES, bridge.read(BUSES) & !BUSES_MASK | numbers);
    bridge.read(BUSES) & BUSES_MASK == numbers
}

/// Returns the buses behind a bridge that has numbers.
pub(super) fn buses<C: ConfigRegionAccess>(bridge: &Function<'_, C>) -> Option<(u8, u8)> {
    let numbers = bridge.read(BUSES);
    let (secondary, subordinate) = ((numbers >> 8) as u8, (numbers >> 16) as u8);
    (secondary > bridge.address().bus() && subordinate >= secondary)
        .then_some((secondary, subordinate))
}

/// Closes all windows and returns which there are: one that is not implemented is read-only zero
/// (3.2.5.6, 3.2.5.9).
pub(super) fn close_windows<C: ConfigRegionAccess>(bridge: &Function<'_, C>) -> Forwards {
    bridge.write(IO, CLOSED_IO);
    bridge.write(MEMORY, CLOSED_MEMORY);
    bridge.write(PREFETCHABLE, CLOSED_MEMORY);
    Forwards {
        wide: bridge.read(PREFETCHABLE) & WIDTH_MASK == WIDE,
        io: bridge.read(IO) & CLOSED_IO == CLOSED_IO,
    }
}

/// Opens the window for memory below 4 GiB, in MiB; an empty range leaves it closed.
pub(super) fn open_memory<C: ConfigRegionAccess>(bridge: &Function<'_, C>, mib: &Range<u64>) {
    bridge.write(MEMORY, memory_word(mib));
}

/// Opens the window for 64-bit prefetchable memory, in MiB; an empty range leaves it closed.
pub(super) fn open_prefetchable<C: ConfigRegionAccess>(bridge: &Function<'_, C>, mib: &Range<u64>) {
    let (base, limit) = (mib.start, mib.end.saturating_sub(1));
    bridge.write(PREFETCHABLE_BASE_UPPER, (base >> 12) as u32);
    bridge.write(PREFETCHABLE_LIMIT_UPPER, (limit >> 12) as u32);
    if !mib.is_empty() {
        bridge.write(PREFETCHABLE, memory_word(mib));
    }
}

/// Opens the window for I/O ports, in 4 KiB; an empty range leaves it closed.
pub(super) fn open_io<C: ConfigRegionAccess>(bridge: &Function<'_, C>, grains: &Range<u64>) {
    if !grains.is_empty() {
        let (base, limit) = (grains.start as u32, grains.end as u32 - 1);
        bridge.write(IO, (limit & 0xf) << 12 | (base & 0xf) << 4);
        bridge.write(IO_UPPER, 0);
    }
}

/// Returns bits 31 to 20 of base and limit as both memory windows have them.
fn memory_word(mib: &Range<u64>) -> u32 {
    if mib.is_empty() {
        return CLOSED_MEMORY;
    }
    let (base, limit) = (mib.start as u32 & 0xfff, (mib.end - 1) as u32 & 0xfff);
    limit << 20 | base << 4
}

/// Lets the bridge forward: downstream what its windows say, upstream the messages and DMA of devices.
pub(super) fn turn_on<C: ConfigRegionAccess>(bridge: &Function<'_, C>) {
    bridge.set_command(
        bridge.command()
            | CommandRegister::IO_ENABLE
            | CommandRegister::MEMORY_ENABLE
            | CommandRegister::BUS_MASTER_ENABLE,
    );
}

/// Returns the window below 4 GiB that firmware has opened.
pub(super) fn memory<C: ConfigRegionAccess>(bridge: &Function<'_, C>) -> Window {
    let word = bridge.read(MEMORY);
    window(
        u64::from(word >> 4 & 0xfff),
        u64::from(word >> 20),
        MEMORY_GRAIN,
    )
}

/// Returns the 64-bit prefetchable window that firmware has opened, if the bridge has one.
pub(super) fn prefetchable<C: ConfigRegionAccess>(bridge: &Function<'_, C>) -> Option<Window> {
    let word = bridge.read(PREFETCHABLE);
    if word & WIDTH_MASK != WIDE {
        return None;
    }
    let base = u64::from(bridge.read(PREFETCHABLE_BASE_UPPER)) << 12 | u64::from(word >> 4 & 0xfff);
    let limit = u64::from(bridge.read(PREFETCHABLE_LIMIT_UPPER)) << 12 | u64::from(word >> 20);
    Some(window(base, limit, MEMORY_GRAIN))
}

/// Returns the window of I/O ports below 0x10000 that firmware has opened.
pub(super) fn io<C: ConfigRegionAccess>(bridge: &Function<'_, C>) -> Option<Window> {
    let word = bridge.read(IO);
    if word & WIDTH_MASK == WIDE && bridge.read(IO_UPPER) != 0 {
        return None;
    }
    let (base, limit) = (u64::from(word >> 4 & 0xf), u64::from(word >> 12 & 0xf));
    Some(window(base, limit, IO_GRAIN))
}

/// Returns the window from grain `base` to grain `limit`. Base 0 is how an unset or absent register reads.
const fn window(base: u64, limit: u64, grain: u64) -> Window {
    let grains = if base == 0 || limit < base {
        0
    } else {
        limit - base + 1
    };
    Window {
        start: base * grain,
        len: grains * grain,
    }
}
