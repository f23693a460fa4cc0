// SPDX-License-Identifier: MIT OR Apache-2.0
//! The walk over all buses, without recursion: the way back up is in a table by bus number.

use pci_types::{CommandRegister, ConfigRegionAccess, PciAddress};

use super::window::{Pool, Window, Windows, IO_GRAIN, MEMORY_GRAIN};
use super::{bridge, devfn, turn_on, AssignError, Buses};
use crate::pci::enumerate::{BusSet, DEVICES, FUNCTIONS};
use crate::pci::{Bar, BarKind, ConfigSpace, Function, HeaderKind};

/// The end of what 32-bit BARs and the non-prefetchable windows of bridges reach.
const MEMORY32_END: u64 = 1 << 32;
/// The end of what x86-64 and AArch64 can address, less one MiB, so that every number of MiB fits 32 bits.
const MEMORY64_END: u64 = (1 << 52) - MEMORY_GRAIN;
/// The end of the I/O ports of x86, which bridges with 16-bit I/O windows reach.
const IO_END: u64 = 1 << 16;

/// How a bus was reached.
#[derive(Clone, Copy, Default)]
struct Above {
    /// The bus that the bridge is on.
    bus: u8,
    /// Device and function of the bridge.
    bridge: u8,
    /// Where its windows begin: 4 KiB of ports, MiB below 4 GiB, MiB below 2 to the 52.
    io: u8,
    memory: u16,
    prefetchable: u32,
}

/// The state of one assignment.
pub(super) struct Walk<'c, C> {
    config: &'c ConfigSpace<C>,
    buses: Buses,
    memory: Pool,
    prefetchable: Pool,
    io: Pool,
    /// Buses that 64-bit prefetchable memory is forwarded to.
    wide: BusSet,
    /// Buses that I/O ports are forwarded to.
    ports: BusSet,
    above: [Above; 256],
    error: Result<(), AssignError>,
}

impl<'c, C: ConfigRegionAccess> Walk<'c, C> {
    pub(super) fn new(config: &'c ConfigSpace<C>, buses: Buses, windows: &Windows) -> Self {
        let none = Window { start: 0, len: 0 };
        let memory64 = windows.memory64.unwrap_or(none);
        let io = windows.io.unwrap_or(none);
        Self {
            config,
            buses,
            memory: Pool::new(windows.memory32, MEMORY_GRAIN, MEMORY32_END),
            prefetchable: Pool::new(memory64, MEMORY_GRAIN, MEMORY64_END),
            io: Pool::new(io, IO_GRAIN, IO_END),
            wide: BusSet::default(),
            ports: BusSet::default(),
            above: [Above::default(); 256],
            error: Ok(()),
        }
    }

    /// Says what reaches the root bus besides memory below 4 GiB.
    pub(super) fn root_forwards(&mut self, wide: bool, ports: bool) {
        self.forward(self.buses.first, &bridge::Forwards { wide, io: ports });
    }

    fn forward(&mut self, bus: u8, forwards: &bridge::Forwards) {
        if forwards.wide {
            self.wide.insert(bus);
        }
        if forwards.io {
            self.ports.insert(bus);
        }
    }

    /// Assigns everything and returns the first error.
    pub(super) fn run(mut self) -> Result<(), AssignError> {
        let (mut bus, mut last) = (self.buses.first, self.buses.first);
        // Where on `bus` to look for the next bridge; 256 is behind the last function.
        let mut next = 0;
        self.assign_bus(bus);
        loop {
            if let Some(bridge) = self.next_bridge(bus, next) {
                next = u16::from(devfn(bridge.address())) + 1;
                if last >= self.buses.last {
                    let address = bridge.address();
                    self.note(AssignError::NoBus { address });
                } else if self.descend(&bridge, last + 1) {
                    last += 1;
                    (bus, next) = (last, 0);
                    self.assign_bus(bus);
                }
            } else if bus == self.buses.first {
                return self.error;
            } else {
                next = u16::from(self.above[usize::from(bus)].bridge) + 1;
                bus = self.ascend(bus, last);
            }
        }
    }

    /// Connects `bridge` to the bus `secondary`; `false` if it does not play along.
    fn descend(&mut self, bridge: &Function<'c, C>, secondary: u8) -> bool {
        let address = bridge.address();
        if !bridge::connect(bridge, secondary, self.buses.last) {
            bridge::disconnect(bridge);
            self.note(AssignError::BrokenBridge { address });
            return false;
        }
        let forwards = bridge::close_windows(bridge);
        self.forward(
            secondary,
            &bridge::Forwards {
                wide: forwards.wide && self.wide.contains(address.bus()),
                io: forwards.io && self.ports.contains(address.bus()),
            },
        );
        // The casts lose nothing: the pools end at 16 grains, at 4096 and below 2 to the 32.
        self.above[usize::from(secondary)] = Above {
            bus: address.bus(),
            bridge: devfn(address),
            io: self.io.next_grain() as u8,
            memory: self.memory.next_grain() as u16,
            prefetchable: self.prefetchable.next_grain() as u32,
        };
        true
    }

    /// Opens the windows of the bridge to `bus` for what was given out since, and returns the bus above.
    fn ascend(&mut self, bus: u8, last: u8) -> u8 {
        let above = self.above[usize::from(bus)];
        let memory = u64::from(above.memory)..self.memory.next_grain();
        let prefetchable = u64::from(above.prefetchable)..self.prefetchable.next_grain();
        let io = u64::from(above.io)..self.io.next_grain();
        // It answered when the walk went down; if it is gone, so is all behind it.
        if let Some(bridge) = self.function(above.bus, above.bridge) {
            bridge::connect(&bridge, bus, last);
            bridge::open_memory(&bridge, &memory);
            if self.wide.contains(bus) {
                bridge::open_prefetchable(&bridge, &prefetchable);
            }
            if self.ports.contains(bus) {
                bridge::open_io(&bridge, &io);
            }
            if bridge.bars().flatten().all(|bar| bar.address != 0) {
                bridge::turn_on(&bridge);
            }
        }
        above.bus
    }

    /// Gives addresses to the BARs of all functions on `bus`.
    fn assign_bus(&mut self, bus: u8) {
        let mut sizes = 0;
        for function in self.functions(bus, 0) {
            // Before any bridge on this bus gets a number, so that no two claim the same.
            if function.header_kind() != HeaderKind::ENDPOINT {
                bridge::disconnect(&function);
                stop_decoding(&function);
            }
            for bar in function.bars() {
                match bar {
                    Ok(bar) => {
                        stop_decoding(&function);
                        sizes |= bar.size;
                    }
                    Err(error) => {
                        stop_decoding(&function);
                        let address = function.address();
                        self.note(AssignError::Bar { address, error });
                    }
                }
            }
        }
        // Every size is a power of two, so the bits of `sizes` are the sizes there are.
        while sizes != 0 {
            let size = 1 << sizes.ilog2();
            sizes -= size;
            for function in self.functions(bus, 0) {
                for bar in function.bars().flatten().filter(|bar| bar.size == size) {
                    self.place(&function, &bar);
                }
            }
        }
        for function in self.functions(bus, 0) {
            if function.header_kind() == HeaderKind::ENDPOINT {
                turn_on(&function);
            }
        }
    }

    /// Gives an address to one BAR.
    fn place(&mut self, function: &Function<'c, C>, bar: &Bar) {
        let bus = function.address().bus();
        // Again: a function that was hidden before, by what function 0 said, still decodes.
        stop_decoding(function);
        let pool = match bar.kind {
            BarKind::Io if !self.ports.contains(bus) => {
                function.set_bar_address(bar, 0);
                return;
            }
            BarKind::Io => &mut self.io,
            BarKind::Memory64 if bar.prefetchable && self.wide.contains(bus) => {
                &mut self.prefetchable
            }
            BarKind::Memory32 | BarKind::Memory64 => &mut self.memory,
        };
        let taken = pool.take(bar.size);
        function.set_bar_address(bar, taken.unwrap_or(0));
        if taken.is_none() {
            self.note(AssignError::NoSpace {
                address: function.address(),
                bar: bar.index,
                kind: bar.kind,
                size: bar.size,
            });
        }
    }

    /// Returns the first bridge on `bus` from device and function `from` on.
    fn next_bridge(&self, bus: u8, from: u16) -> Option<Function<'c, C>> {
        self.functions(bus, from)
            .find(|function| function.header_kind() == HeaderKind::BRIDGE)
    }

    /// Returns the functions with a known header on `bus`, from device and function `from` on.
    fn functions(&self, bus: u8, from: u16) -> impl Iterator<Item = Function<'c, C>> {
        let (config, segment) = (self.config, self.buses.segment);
        let at = move |device, function| {
            Function::at(config, PciAddress::new(segment, bus, device, function))
        };
        let first_device = (from / u16::from(FUNCTIONS)).min(u16::from(DEVICES)) as u8;
        (first_device..DEVICES)
            .flat_map(move |device| {
                // Function 0 alone says whether there are others.
                let count = match at(device, 0) {
                    Some(first) if first.is_multi_function() => FUNCTIONS,
                    Some(_) => 1,
                    None => 0,
                };
                (0..count).filter_map(move |function| at(device, function))
            })
            .filter(move |function| {
                u16::from(devfn(function.address())) >= from && function.header_kind().bars() > 0
            })
    }

    fn function(&self, bus: u8, devfn: u8) -> Option<Function<'c, C>> {
        let address = PciAddress::new(
            self.buses.segment,
            bus,
            devfn / FUNCTIONS,
            devfn % FUNCTIONS,
        );
        Function::at(self.config, address)
    }

    fn note(&mut self, error: AssignError) {
        if self.error.is_ok() {
            self.error = Err(error);
        }
    }
}

fn stop_decoding<C: ConfigRegionAccess>(function: &Function<'_, C>) {
    let decoding = CommandRegister::IO_ENABLE | CommandRegister::MEMORY_ENABLE;
    function.set_command(function.command() - decoding);
}
