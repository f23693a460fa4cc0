// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bus numbers, BARs and bridge windows where firmware has given none.
//!
//! One walk, depth first: a bridge is given a number when it is met, and everything
//! behind it before the next. So a subtree has consecutive bus numbers, and as addresses are
//! given out from the bottom up, what it needs of each kind lies together: the bridge's window
//! is what was given out meanwhile. On one bus larger BARs come first, which leaves no gaps between them.
//!
//! - A 64-bit prefetchable BAR goes to the 64-bit window if there is one and all bridges above forward it;
//!   everything else goes below 4 GiB, where a bridge may only prefetch what is
//!   prefetchable (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.9), so all of it goes to the window that does not.
//! - I/O BARs get ports if there are some and all bridges above forward them. Expansion ROMs get nothing.
//! - No room is reserved for devices plugged in later: that would be a guess. Firmware that
//!   supports hot-plugging makes it, and [`assign_behind`] uses what it has reserved.
//! - Host bridges are not touched; nothing leads through CardBus bridges.
//!
//! **Decoding**: a function decodes nothing while addresses change. Afterwards memory decoding is on if all memory
//! BARs of the function have addresses, and I/O decoding likewise, as firmware leaves
//! it. Bus Master stays as it was, but is set in bridges: it forwards the messages of what is behind them.
//!
//! **Drivers**: both functions refuse, without changing anything, where a function has an address: its driver may
//! be at work. The walk takes about 4 KiB of stack and at most 256 visits to each of the 256 buses' functions.

use pci_types::{CommandRegister, ConfigRegionAccess, PciAddress};

mod bridge;
mod error;
mod walk;
mod window;

pub use error::AssignError;
pub use window::{Window, Windows};

use super::{Bar, BarKind, ConfigSpace, Function, Functions, HeaderKind};
use walk::Walk;

/// The buses below one host bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buses {
    /// The segment, 0 unless ECAM offers more.
    pub segment: u16,
    /// The root bus.
    pub first: u8,
    /// The last number that may be given to a bus.
    pub last: u8,
}

impl Buses {
    /// All buses of segment 0, as on machines with one host bridge.
    pub const ALL: Self = Self {
        segment: 0,
        first: 0,
        last: u8::MAX,
    };
}

/// Numbers the buses of a machine and gives addresses to all BARs and bridge windows.
///
/// For machines whose firmware leaves that to the kernel, such as microvm, or `pc` with qboot.
/// `windows` are the addresses behind the host bridge that nothing else decodes.
///
/// # Errors
///
/// One function's trouble is not another's: the walk goes on, and the first error is returned.
///
/// - [`AssignError::AlreadyAssigned`]: firmware has done it; nothing was changed.
/// - [`AssignError::NoSpace`]: a BAR does not fit.
/// - [`AssignError::Bar`], [`AssignError::BrokenBridge`]: a function makes no sense.
/// - [`AssignError::NoBus`]: there are more bridges than buses.
pub fn assign<C: ConfigRegionAccess>(
    config: &ConfigSpace<C>,
    buses: Buses,
    windows: &Windows,
) -> Result<(), AssignError> {
    refuse_assigned(config.functions_from(buses.segment, buses.first))?;
    let mut walk = Walk::new(config, buses, windows);
    walk.root_forwards(windows.memory64.is_some(), windows.io.is_some());
    walk.run()
}

/// Gives addresses to what was plugged in behind `bridge`, out of the buses and windows that firmware has
/// given to the bridge. The bridge itself is left as it is.
///
/// # Errors
///
/// Those of [`assign`], and:
///
/// - [`AssignError::NotABridge`]: the function is no PCI-to-PCI bridge, or firmware has given it no bus.
pub fn assign_behind<C: ConfigRegionAccess>(bridge: &Function<'_, C>) -> Result<(), AssignError> {
    let address = bridge.address();
    let buses = (bridge.header_kind() == HeaderKind::BRIDGE)
        .then(|| bridge::buses(bridge))
        .flatten();
    let Some((first, last)) = buses else {
        return Err(AssignError::NotABridge { address });
    };
    let config = bridge.config();
    let segment = address.segment();
    refuse_assigned(config.functions_from(segment, first))?;
    let windows = Windows {
        memory32: bridge::memory(bridge),
        memory64: bridge::prefetchable(bridge),
        io: bridge::io(bridge),
    };
    let buses = Buses {
        segment,
        first,
        last,
    };
    let mut walk = Walk::new(config, buses, &windows);
    let used = |window: Option<Window>| window.is_some_and(|window| window.len > 0);
    walk.root_forwards(used(windows.memory64), used(windows.io));
    walk.run()
}

/// Fails if one of `functions` has a memory address.
fn refuse_assigned<C: ConfigRegionAccess>(functions: Functions<'_, C>) -> Result<(), AssignError> {
    // What makes no sense has no driver.
    let mut functions = functions.filter_map(Result::ok);
    // What is gone reads as if it had one.
    match functions.find(|function| function.has_memory_address() && function.refresh().is_some()) {
        Some(function) => Err(AssignError::AlreadyAssigned {
            address: function.address(),
        }),
        None => Ok(()),
    }
}

/// Turns on the decoding of what has addresses.
fn turn_on<C: ConfigRegionAccess>(function: &Function<'_, C>) {
    let mut seen = CommandRegister::empty();
    let mut missing = CommandRegister::empty();
    for bar in function.bars() {
        let Ok(bar) = bar else {
            return;
        };
        let bit = decode_bit(&bar);
        seen |= bit;
        if bar.address == 0 {
            missing |= bit;
        }
    }
    function.set_command(function.command() | (seen - missing));
}

/// Returns the bit of the Command register that turns on the decoding of `bar`.
const fn decode_bit(bar: &Bar) -> CommandRegister {
    match bar.kind {
        BarKind::Io => CommandRegister::IO_ENABLE,
        BarKind::Memory32 | BarKind::Memory64 => CommandRegister::MEMORY_ENABLE,
    }
}

/// Returns the number of a function on its bus, 0 to 255.
fn devfn(address: PciAddress) -> u8 {
    address.device() << 3 | address.function()
}
