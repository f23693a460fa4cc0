// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which input of the I/O APIC the interrupt pin of a PCI function reaches, on QEMU's `pc` and `q35`.
//!
//! The Interrupt Line register would say, but firmware writes it for the 8259 and qboot (QEMU 7.2) writes it wrong.
//! So the way is followed as it is wired: from bridge to bridge up to bus 0, to one of the four lines of the chipset, and
//! from there to where its router, set by firmware, leads.
//!
//! Sources: PCI-to-PCI Bridge Architecture 1.2, table 9-1; Intel 82371SB (PIIX3) data sheet, section 2.3.2;
//! Intel ICH9 data sheet, section 13.1; the wiring of the slots as measured on QEMU 7.2.

use core::fmt;

use ivshmem::pci::{ConfigRegionAccess, ConfigSpace, Function, HeaderKind, PciAddress};

/// The lines of a bus: INTA to INTD.
const PINS: u8 = 4;

/// In a router's byte for a line: it leads nowhere, else to the interrupt in bits 3 to 0, which is an input of the
/// 8259 and the same one of the I/O APIC.
const NOT_ROUTED: u8 = 1 << 7;

/// A chip that leads the four lines of bus 0 to interrupts.
struct Router {
    /// Vendor in the lower half.
    id: u32,
    /// Where it is on bus 0.
    slot: u8,
    /// The registers of its lines, one byte each.
    offset: u16,
    /// The line that INTA of slot 0 is wired to; each further slot or pin is one line on.
    first_line: u8,
    /// The slots that are wired so end here.
    slots_end: u8,
}

const ROUTERS: [Router; 2] = [
    // `pc`: PIIX3.
    Router {
        id: 0x7000_8086,
        slot: 1,
        offset: 0x60,
        first_line: 3,
        slots_end: 32,
    },
    // `q35`: ICH9, lines PIRQE to PIRQH. Slots from 25 on are parts of the chipset, with a wiring of their own.
    Router {
        id: 0x2918_8086,
        slot: 0x1f,
        offset: 0x68,
        first_line: 0,
        slots_end: 25,
    },
];

/// Returns the input of the I/O APIC that is high while `function` raises its line.
///
/// # Errors
///
/// - [`RouteError::NoPin`]: it has no line.
/// - [`RouteError::NoWay`]: its line is not known to lead to the I/O APIC.
pub fn input<C: ConfigRegionAccess>(
    config: &ConfigSpace<C>,
    function: &Function<'_, C>,
) -> Result<u8, RouteError> {
    let address = function.address();
    let pin = match function.interrupt_pin() {
        number @ 1..=PINS => number - 1,
        pin => return Err(RouteError::NoPin { address, pin }),
    };
    on_root_bus(config, address, pin)
        .and_then(|(slot, pin)| routed(config, slot, pin))
        .ok_or(RouteError::NoWay { address })
}

/// Follows a pin up to bus 0, and returns the slot and pin that it is there.
fn on_root_bus<C: ConfigRegionAccess>(
    config: &ConfigSpace<C>,
    mut address: PciAddress,
    mut pin: u8,
) -> Option<(u8, u8)> {
    // Ends: enumeration lets a bridge lead only to buses of higher numbers than its own.
    while address.bus() != 0 {
        pin = (address.device() + pin) % PINS;
        let bridge = config.functions().flatten().find(|function| {
            function.header_kind() == HeaderKind::BRIDGE
                && function.secondary_bus() == address.bus()
        })?;
        address = bridge.address();
    }
    Some((address.device(), pin))
}

/// Asks the machine's router.
fn routed<C: ConfigRegionAccess>(config: &ConfigSpace<C>, slot: u8, pin: u8) -> Option<u8> {
    let (router, chip) = ROUTERS.iter().find_map(|router| {
        let chip = Function::at(config, PciAddress::new(0, 0, router.slot, 0))?;
        (chip.word(0)? == router.id).then_some((router, chip))
    })?;
    if slot >= router.slots_end {
        return None;
    }
    let line = (router.first_line + slot + pin) % PINS;
    let route = chip.word(router.offset)?.to_le_bytes()[usize::from(line)];
    (route & NOT_ROUTED == 0).then_some(route & 0xf)
}

/// Why the line of a function is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// The function has no interrupt pin.
    NoPin {
        /// Where it is.
        address: PciAddress,
        /// Its Interrupt Pin register.
        pin: u8,
    },
    /// The chipset is unknown, or its router leads nowhere.
    NoWay {
        /// Where the function is.
        address: PciAddress,
    },
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPin { address, pin } => {
                write!(f, "{address} has no INTx: its interrupt pin is {pin}")
            }
            Self::NoWay { address } => write!(
                f,
                "no router of pc or q35 leads the line of {address} to the I/O APIC"
            ),
        }
    }
}
