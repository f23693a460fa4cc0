// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PCI bus of a VMM: [`Bus`].

use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ivshmem_device::adapters::{Attachment, Protocol};
use ivshmem_device::{Generation, Properties};

use super::kvm::Vm;
use super::server::Server;
use super::wires::Wires;

/// Devices on the bus, and vectors of each.
pub const DEVICES: usize = 2;
pub const VECTORS: u16 = 2;
/// Where the guest puts BAR 0, the registers, and BAR 1, MSI-X, of each device.
const REGISTERS: [u64; DEVICES] = [0xd_0000, 0xd_1000];
const MSIX: [u64; DEVICES] = [0xd_4000, 0xd_8000];
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
            let wires = Wires::new(vm.clone(), slot as u32 * u32::from(VECTORS));
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

    /// Writes configuration space, which may move BARs.
    fn write_config(&mut self, slot: usize, offset: u16, bytes: &[u8]) {
        let device = &mut self.devices[slot];
        device.write_config(offset, bytes);
        // An ioeventfd is at an address, so it has to follow BAR 0. (A VMM also maps BAR 2, `device.memory()`, into the
        // guest where BAR 2 is now, so that accesses of shared memory are not trapped.)
        let mut low = [0; 4];
        device.read_config(0x10, &mut low);
        let address = u64::from(u32::from_le_bytes(low) & !0xf);
        let is_decoded = device.device().decode(address).is_some();
        device.wiring_mut().move_to(is_decoded.then_some(address));
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
