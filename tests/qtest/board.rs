// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine without a running processor, and what the driver reaches it by: [`Ports`] and [`Window`].

use std::cell::RefCell;
use std::rc::Rc;

use ivshmem::pci::{ConfigRegionAccess, PciAddress};
use ivshmem::{PhysRegion, Registers};
use libtest_mimic::Failed;
use xtask::qemu::{Guest, Vm};
use xtask::qtest::{Qtest, QtestError};

use crate::bring_up::Reach;
use crate::lab::PATIENCE;

/// Configuration mechanism 1 (PCI 3.0, 3.2.2.3.2).
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const CONFIG_ENABLE: u32 = 1 << 31;

/// A machine and the connection that drives it.
///
/// The driver's accesses cannot fail, so the first failure is kept for [`Board::verdict`] and from then on all
/// reads give all ones, as on a bus where nobody answers.
pub struct Board {
    vm: Vm,
    qtest: RefCell<Result<Qtest, QtestError>>,
}

impl Board {
    pub fn power_on(guest: Guest) -> Result<Rc<Self>, Failed> {
        let vm = guest.spawn()?;
        // When the control socket answers, the other one is there.
        vm.qmp(PATIENCE)?;
        let qtest = Qtest::connect(&vm.qtest_socket())?;
        Ok(Rc::new(Self {
            vm,
            qtest: RefCell::new(Ok(qtest)),
        }))
    }

    pub const fn vm(&self) -> &Vm {
        &self.vm
    }

    /// Fails, with all there is to know about the machine, if it has broken off.
    pub fn verdict(&self) -> Result<(), Failed> {
        match &*self.qtest.borrow() {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("qtest: {error}\n{}", self.vm.report()).into()),
        }
    }

    pub fn read_port(&self, port: u16) -> u32 {
        self.ask(!0, |qtest| qtest.read_port(port))
    }

    pub fn write_port(&self, port: u16, value: u32) {
        self.ask((), |qtest| qtest.write_port(port, value));
    }

    pub fn read_word(&self, address: u64) -> u32 {
        self.ask(!0, |qtest| qtest.read_word(address))
    }

    pub fn write_word(&self, address: u64, value: u32) {
        self.ask((), |qtest| qtest.write_word(address, value));
    }

    /// Reads all of `region`.
    pub fn read(&self, region: PhysRegion) -> Vec<u8> {
        let ones = vec![0xff; region.len as usize];
        let mut bytes = ones.clone();
        self.ask(ones, |qtest| {
            qtest.read(region.start, &mut bytes)?;
            Ok(bytes)
        })
    }

    pub fn write(&self, address: u64, bytes: &[u8]) {
        self.ask((), |qtest| qtest.write(address, bytes));
    }

    /// Lets QEMU take in all doorbells rung so far: between two answers its main loop has looked at everything
    /// that was there to see.
    pub fn settle(&self) {
        for _ in 0..8 {
            self.read_port(CONFIG_ADDRESS);
        }
    }

    fn ask<T>(&self, broken: T, command: impl FnOnce(&mut Qtest) -> Result<T, QtestError>) -> T {
        let mut qtest = self.qtest.borrow_mut();
        let Ok(connection) = &mut *qtest else {
            return broken;
        };
        match command(connection) {
            Ok(answer) => answer,
            Err(error) => {
                *qtest = Err(error);
                broken
            }
        }
    }
}

/// Configuration space through ports 0xcf8 and 0xcfc of a machine.
#[derive(Clone)]
pub struct Ports(pub Rc<Board>);

impl Ports {
    fn select(&self, address: PciAddress, offset: u16) {
        let selector = CONFIG_ENABLE
            | u32::from(address.bus()) << 16
            | u32::from(address.device()) << 11
            | u32::from(address.function()) << 8
            | u32::from(offset & 0xfc);
        self.0.write_port(CONFIG_ADDRESS, selector);
    }
}

impl Reach for Ports {
    type Config = Self;
    type Window = Window;

    #[allow(unsafe_code)]
    fn write_word(&self, address: PciAddress, offset: u16, value: u32) {
        // SAFETY: the machine is another process; nothing that its devices do reaches this one's memory
        // but what they share on purpose.
        unsafe { self.write(address, offset, value) };
    }

    fn window(&self, start: u64) -> Window {
        Window::new(&self.0, start)
    }
}

impl ConfigRegionAccess for Ports {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        if address.segment() != 0 || offset > 0xff {
            return !0;
        }
        self.select(address, offset);
        self.0.read_port(CONFIG_DATA)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        if address.segment() != 0 || offset > 0xff {
            return;
        }
        self.select(address, offset);
        self.0.write_port(CONFIG_DATA, value);
    }
}

/// A BAR, or a part of one, in a machine's physical memory.
pub struct Window {
    board: Rc<Board>,
    start: u64,
}

impl Window {
    pub fn new(board: &Rc<Board>, start: u64) -> Self {
        Self {
            board: Rc::clone(board),
            start,
        }
    }
}

impl Registers for Window {
    fn read(&self, offset: usize) -> u32 {
        self.board.read_word(self.start + offset as u64)
    }

    fn write(&self, offset: usize, value: u32) {
        self.board.write_word(self.start + offset as u64, value);
    }
}
