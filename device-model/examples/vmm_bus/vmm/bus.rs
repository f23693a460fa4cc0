// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PCI bus of a VMM: [`Bus`].

use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ivshmem_device::adapters::{Attachment, Protocol};
use ivshmem_device::{Bar, Generation, Properties};

use super::kvm::Vm;
use super::server::Server;
use super::wires::Wires;

/// Devices on the bus, and vectors of each.
pub const DEVICES: usize = 2;
pub const VECTORS: u16 = 2;
/// Where the guest puts BAR 0, the registers, BAR 1, MSI-X, and BAR 2, the shared memory, of each device.
const REGISTERS: [u64; DEVICES] = [0xd_0000, 0xd_1000];
const MSIX: [u64; DEVICES] = [0xd_4000, 0xd_8000];
pub const MEMORY: [u64; DEVICES] = [0x10_0000, 0x20_0000];
/// Where the guest rings by device 0.
pub const DOORBELL: u64 = REGISTERS[0] + 0x0c;
/// Where a message of x86 goes to, CPU 0, and the interrupt that vector 0 of each device raises there.
const APIC: u32 = 0xfee0_0000;
pub const INTERRUPT: u8 = 0x40;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who claims an address, with no idea of what the devices are.
pub struct Bus {
    pub devices: Vec<Attachment<Wires>>,
    _server: Server,
}

impl Bus {
    /// Creates the devices and waits until the server has told them all.
    pub fn new(vm: Option<Rc<Vm>>) -> Result<Self, Box<dyn Error>> {
        // The names that QEMU's -device takes; `chardev` is only a name here.
        let text = format!("ivshmem-doorbell,chardev=here,vectors={VECTORS},ioeventfd=on");
        let properties = Properties::parse(Generation::Modern, &text)?;
        let (server, connections) = Server::start(DEVICES, VECTORS)?;
        let mut devices = Vec::new();
        for (slot, connection) in connections.into_iter().enumerate() {
            let wires = Wires::new(vm.clone(), slot as u32);
            let connection = connection.into();
            devices.push(Attachment::connect(
                &properties,
                connection,
                Protocol::Version0,
                wires,
            )?);
        }
        let mut bus = Self {
            devices,
            _server: server,
        };
        // A device that is not realized may not be seen by a guest.
        let vectors = DEVICES * usize::from(VECTORS);
        let is_told = |device: &Attachment<Wires>| {
            device.device().is_realized() && device.wiring().doorbells.len() == vectors
        };
        bus.wait(|bus| bus.devices.iter().all(is_told))?;
        Ok(bus)
    }

    /// Does what a guest's firmware and driver do: addresses, a message for each vector, MSI-X on.
    pub fn bring_up(&mut self) -> Result<(), Box<dyn Error>> {
        for slot in 0..self.devices.len() {
            self.write_config(slot, 0x10, &(REGISTERS[slot] as u32).to_le_bytes());
            self.write_config(slot, 0x14, &(MSIX[slot] as u32).to_le_bytes());
            self.write_config(slot, 0x18, &MEMORY[slot].to_le_bytes());
            // Memory and bus master.
            self.write_config(slot, 0x04, &[0x06, 0]);
            for vector in 0..u64::from(VECTORS) {
                let data = u32::from(INTERRUPT) + vector as u32;
                for (word, value) in [APIC, 0, data, 0].into_iter().enumerate() {
                    let at = MSIX[slot] + 16 * vector + 4 * word as u64;
                    self.write(at, &value.to_le_bytes());
                }
            }
            // MSI-X Enable, in the capability at 0x40.
            self.write_config(slot, 0x42, &[0, 0x80]);
        }
        let mut position = [0; 4];
        self.read(REGISTERS[1] + 0x08, &mut position);
        match u32::from_le_bytes(position) {
            1 => Ok(()),
            other => Err(format!("device 1 has the id {other:#x}").into()),
        }
    }

    /// Writes configuration space.
    fn write_config(&mut self, slot: usize, offset: u16, bytes: &[u8]) {
        self.devices[slot].write_config(offset, bytes);
        self.follow_bars(slot);
    }

    /// Resets the machine.
    pub fn reset(&mut self) {
        for slot in 0..self.devices.len() {
            self.devices[slot].reset();
            self.follow_bars(slot);
        }
    }

    /// Lets the short cuts of a device, which are at addresses, follow its BARs. A configuration write, a reset and a load may
    /// have moved them.
    fn follow_bars(&mut self, slot: usize) {
        let device = &mut self.devices[slot];
        let at = |bar| device.device().bar_range(bar).map(|range| range.start);
        let (registers, memory) = (at(Bar::Registers), at(Bar::Memory));
        device.wiring_mut().move_to(registers, memory);
    }

    /// Reads memory of the bus; all ones where nobody is.
    fn read(&mut self, address: u64, bytes: &mut [u8]) {
        bytes.fill(0xff);
        for device in &mut self.devices {
            if let Some((bar, offset)) = device.device().decode(address) {
                return device.read_bar(bar, offset, bytes);
            }
        }
    }

    /// Writes memory of the bus.
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        for device in &mut self.devices {
            if let Some((bar, offset)) = device.device().decode(address) {
                return device.write_bar(bar, offset, bytes);
            }
        }
    }

    /// Deals with the server and with events until `is_done`. A VMM has the devices in its event loop instead: each
    /// is one descriptor to poll.
    pub fn wait(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + PATIENCE;
        while !is_done(self) {
            if Instant::now() > deadline {
                return Err(format!("nothing came in {PATIENCE:?}").into());
            }
            for device in &mut self.devices {
                device.handle()?;
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Bus {
    /// Takes the devices out of the machine, which may live on.
    fn drop(&mut self) {
        for device in self.devices.drain(..) {
            device.unplug();
        }
    }
}
