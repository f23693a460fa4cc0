// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frozen machines with an ivshmem device behind a bridge, and the ways to the device.
//!
//! The bridge does two things for a trial. Its windows keep a device whose BARs are written at random away from the
//! rest of the machine, and it resets the device without the machine (PCI-to-PCI Bridge 1.2, 3.2.5.18).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ivshmem_device::Bar;
use libtest_mimic::Failed;
use xtask::qemu::{option_value, Guest, Vm};
use xtask::qtest::{Answer, Batch, Qtest};

use crate::lab::PATIENCE;

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const CONFIG_ENABLE: u32 = 1 << 31;
/// Where the bridge is on bus 0.
const BRIDGE: u32 = 5;
/// The bus behind it.
const BUS: u32 = 1;
/// Where the device is there.
const DEVICE: u32 = 0;
/// Size of the machine's RAM in bytes.
pub const RAM_LEN: u64 = 16 << 20;
/// q35's ECAM, once it is turned on.
const ECAM: u64 = 0xb000_0000;

/// The bus addresses that the bridge lets through, clear of RAM, of ECAM and of interrupt controllers.
pub const WINDOWS: [std::ops::Range<u64>; 2] =
    [0xd000_0000..0xe000_0000, 0x80_0000_0000..0x81_0000_0000];

/// Returns where a BAR is put.
pub const fn home(bar: Bar) -> u64 {
    match bar {
        Bar::Registers => 0xd100_0000,
        Bar::Msix => 0xd200_0000,
        Bar::Memory => 0x80_4000_0000,
    }
}

/// The width of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Byte,
    Word,
    Long,
    Quad,
}

impl Width {
    pub const ALL: [Self; 4] = [Self::Byte, Self::Word, Self::Long, Self::Quad];

    pub const fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Long => 4,
            Self::Quad => 8,
        }
    }
}

/// Adds an access to memory.
pub fn read(batch: &mut Batch, address: u64, width: Width) {
    match width {
        Width::Byte => batch.read_number::<u8>(address),
        Width::Word => batch.read_number::<u16>(address),
        Width::Long => batch.read_number::<u32>(address),
        Width::Quad => batch.read_number::<u64>(address),
    }
}

/// Adds an access to memory.
pub fn write(batch: &mut Batch, address: u64, width: Width, value: u64) {
    match width {
        Width::Byte => batch.write_number(address, value as u8),
        Width::Word => batch.write_number(address, value as u16),
        Width::Long => batch.write_number(address, value as u32),
        Width::Quad => batch.write_number(address, value),
    }
}

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// `pc`: the device is on a PCI bus, its configuration space is accessed through ports.
    Pc,
    /// `q35`: the device is in a PCIe root port, its configuration space is accessed through ECAM.
    Q35,
}

impl Board {
    /// Adds the machine to `guest`: with its RAM in the file `ram`, the bridge, and the device behind.
    pub fn put(self, guest: Guest, ram: &Path, device: &str) -> Guest {
        let (machine, bridge) = match self {
            Self::Pc => ("pc", "pci-bridge,id=bridge,chassis_nr=1"),
            Self::Q35 => ("q35", "pcie-root-port,id=bridge,chassis=1,slot=1"),
        };
        let path = option_value(ram);
        guest
            .machine(format!("{machine},memory-backend=ram"))
            .memory_mib((RAM_LEN >> 20) as u32)
            .object(&format!(
                "memory-backend-file,id=ram,share=on,size={RAM_LEN},mem-path={path}"
            ))
            .device(&format!("{bridge},addr={BRIDGE}"))
            .device(&format!("{device},bus=bridge,addr={DEVICE}"))
    }

    /// Turns ECAM on and sets the bridge up, as firmware does.
    fn prepare(self, batch: &mut Batch) {
        if self == Self::Q35 {
            write_port(batch, 0, 0, 0x60, ECAM as u32 | 1);
        }
        // Bus numbers; memory 0xd0000000 to 0xdfffffff; 0x8000000000 to 0x80ffffffff; decoding and bus mastering.
        for (offset, value) in [
            (0x18, BUS << 8 | BUS << 16),
            (0x20, 0xdff0_d000),
            (0x24, 0xfff1_0001),
            (0x28, 0x80),
            (0x2c, 0x80),
            (0x04, 0x6),
        ] {
            write_port(batch, 0, BRIDGE, offset, value);
        }
    }

    /// Resets what is behind the bridge.
    pub fn reset_device(self, batch: &mut Batch) {
        for control in [0x40_u16, 0] {
            select(batch, 0, BRIDGE, 0x3c);
            batch.write_port(CONFIG_DATA + 2, control);
        }
    }

    /// Returns the width to take in place of `width` at `offset` of configuration space: the ports lead to one
    /// word only.
    pub const fn config_width(self, offset: u16, width: Width) -> Width {
        match (self, offset % 4, width) {
            (Self::Q35, _, _) => width,
            (Self::Pc, 0, Width::Quad) => Width::Long,
            (Self::Pc, 1 | 2, Width::Long | Width::Quad) => Width::Word,
            (Self::Pc, 3, _) => Width::Byte,
            (Self::Pc, _, _) => width,
        }
    }

    /// Returns how many bytes of configuration space can be reached.
    pub const fn config_len(self) -> u16 {
        match self {
            Self::Pc => 0x100,
            // What is behind the space of a conventional function can be reached and is not there.
            Self::Q35 => 0x110,
        }
    }

    /// Adds a read of the device's configuration space, of a width that [`Self::config_width`] has allowed.
    pub fn read_config(self, batch: &mut Batch, offset: u16, width: Width) {
        match self {
            Self::Q35 => read(batch, ecam(offset), width),
            Self::Pc => {
                select(batch, BUS, DEVICE, offset);
                let port = CONFIG_DATA + offset % 4;
                match width {
                    Width::Byte => batch.read_port::<u8>(port),
                    Width::Word => batch.read_port::<u16>(port),
                    Width::Long | Width::Quad => batch.read_port::<u32>(port),
                }
            }
        }
    }

    /// Adds a write likewise.
    pub fn write_config(self, batch: &mut Batch, offset: u16, width: Width, value: u64) {
        match self {
            Self::Q35 => write(batch, ecam(offset), width, value),
            Self::Pc => {
                select(batch, BUS, DEVICE, offset);
                let port = CONFIG_DATA + offset % 4;
                match width {
                    Width::Byte => batch.write_port(port, value as u8),
                    Width::Word => batch.write_port(port, value as u16),
                    Width::Long | Width::Quad => batch.write_port(port, value as u32),
                }
            }
        }
    }
}

fn ecam(offset: u16) -> u64 {
    ECAM + u64::from(BUS << 20 | DEVICE << 15) + u64::from(offset)
}

fn select(batch: &mut Batch, bus: u32, device: u32, offset: u16) {
    let offset = u32::from(offset & 0xfc);
    batch.write_port(
        CONFIG_ADDRESS,
        CONFIG_ENABLE | bus << 16 | device << 11 | offset,
    );
}

fn write_port(batch: &mut Batch, bus: u32, device: u32, offset: u16, value: u32) {
    select(batch, bus, device, offset);
    batch.write_port(CONFIG_DATA, value);
}

/// A running machine.
pub struct Rig {
    pub vm: Vm,
    /// Its RAM.
    ram: File,
    qtest: Qtest,
}

impl Rig {
    /// Takes over a machine that [`Board::put`] has described. Waits until its devices are complete.
    pub fn take_over(vm: Vm, board: Board, ram: File) -> Result<Self, Failed> {
        // When the control socket answers, the other one is there.
        vm.qmp(PATIENCE)?;
        let qtest = Qtest::connect(&vm.qtest_socket())?;
        let mut rig = Self { vm, ram, qtest };
        let mut batch = Batch::default();
        board.prepare(&mut batch);
        rig.run(&batch)?;
        Ok(rig)
    }

    /// Gives commands; a failure comes with all there is to know about the machine.
    pub fn run(&mut self, batch: &Batch) -> Result<Vec<Answer>, Failed> {
        let answers = self.qtest.run(batch);
        answers.map_err(|error| format!("qtest: {error}\n{}", self.vm.report()).into())
    }

    /// Lets QEMU take in everything that has happened so far.
    ///
    /// The main loop looks for what there is to do, then does it, then looks again. It may have looked before
    /// something happened and see the first of these commands all the same, as there are many sources to look at. But
    /// between the second and the third it has looked, and done.
    pub fn settle(&mut self) -> Result<(), Failed> {
        for _ in 0..3 {
            let mut batch = Batch::default();
            batch.read_port::<u32>(CONFIG_ADDRESS);
            self.run(&batch)?;
        }
        Ok(())
    }

    /// Reads RAM, past the machine.
    pub fn read_ram(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.ram.read_exact_at(bytes, address)
    }

    /// Writes RAM likewise.
    pub fn write_ram(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.ram.write_all_at(bytes, address)
    }
}
