// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine without a processor: a bus of devices, and what the driver reaches them by, [`Bus`] and [`Window`].
//!
//! Time is counted in ticks, in each of which servers and peers are heard once; so a test takes the same course
//! whenever it is run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use ivshmem::pci::{ConfigRegionAccess, PciAddress};
use ivshmem::Registers;
use ivshmem_device::{Bar, Level, MsiMessage};

use crate::bring_up::Reach;
use crate::course::Course;
use crate::slot::Slot;
use crate::strike::Strike;

/// How often handlers may run in a row without the line going down.
const STORM: u32 = 16;

/// Something on the interrupt line of the machine.
pub trait Handler {
    fn interrupt(&self);
}

/// Bus 0 of a machine, all of whose devices are on one interrupt line.
pub struct Board {
    slots: RefCell<BTreeMap<u8, Slot>>,
    course: Course,
    now: Cell<u32>,
    /// Accesses of the driver so far, and those of them that reached a device.
    accesses: Cell<usize>,
    reached: Cell<usize>,
    /// What happens to all devices, and before which of the latter.
    next_strike: Cell<Option<(usize, Strike)>>,
    /// What addresses read that nothing decodes: all ones, or 0 (QEMU 7.2, in places).
    absent: Cell<u32>,
    messages: RefCell<BTreeMap<(u64, u32), u32>>,
    handlers: RefCell<Vec<Weak<dyn Handler>>>,
    /// Handlers are not interrupted.
    interrupted: Cell<bool>,
}

impl Board {
    pub fn new(course: Course) -> Rc<Self> {
        Rc::new(Self {
            slots: RefCell::default(),
            course,
            now: Cell::new(0),
            accesses: Cell::new(0),
            reached: Cell::new(0),
            next_strike: Cell::new(None),
            absent: Cell::new(!0),
            messages: RefCell::default(),
            handlers: RefCell::default(),
            interrupted: Cell::new(false),
        })
    }

    /// Plugs a device in.
    pub fn plug(&self, number: u8, slot: Slot) {
        self.slots.borrow_mut().insert(number, slot);
    }

    /// Has something happen to all devices just before the `access`-th access that would reach one.
    pub fn strike_at(&self, access: usize, strike: Strike) {
        self.next_strike.set(Some((access, strike)));
    }

    /// Has something happen to all devices now.
    pub fn strike(&self, strike: Strike) {
        strike.strike(&mut self.slots.borrow_mut());
    }

    /// Sets what reads where nothing is.
    pub fn set_absent(&self, value: u32) {
        self.absent.set(value);
    }

    /// Returns how many accesses the driver has made.
    pub fn accesses(&self) -> usize {
        self.accesses.get()
    }

    /// Returns how many of them have reached a device.
    pub fn reached(&self) -> usize {
        self.reached.get()
    }

    /// Lets `look` look at the device with this number, if it is there.
    pub fn with<T>(&self, number: u8, look: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.slots.borrow_mut().get_mut(&number).map(look)
    }

    /// Adds a handler to the interrupt line, until it is dropped.
    pub fn add_handler(&self, handler: Weak<dyn Handler>) {
        self.handlers.borrow_mut().push(handler);
    }

    /// Returns how often this message was taken. Several at a time are one interrupt, as for any interrupt controller.
    pub fn taken(&self, address: u64, data: u32) -> u32 {
        let messages = self.messages.borrow();
        messages.get(&(address, data)).copied().unwrap_or(0)
    }

    /// Lets time pass: servers and peers are heard, and interrupts are taken.
    pub fn tick(&self) {
        let now = self.now.get() + 1;
        self.now.set(now);
        for slot in self.slots.borrow_mut().values_mut() {
            // A device whose server is at fault goes on without it; `Slot::receive` is asked by those who want to know.
            let _ = slot.receive();
            slot.hear(now);
        }
        self.take_interrupts();
    }

    /// Lets time pass until all events have arrived.
    pub fn settle(&self) {
        while !self.is_idle() {
            self.tick();
        }
        self.tick();
    }

    fn is_idle(&self) -> bool {
        let slots = self.slots.borrow();
        slots.values().all(|slot| slot.wires.traffic.is_idle())
    }

    /// Lets the processor take what has been signalled.
    pub fn take_interrupts(&self) {
        if self.interrupted.replace(true) {
            return;
        }
        let mut signalled: Vec<MsiMessage> = Vec::new();
        for slot in self.slots.borrow_mut().values_mut() {
            signalled.append(&mut slot.wires.messages);
        }
        signalled.sort_unstable_by_key(|message| (message.address, message.data));
        signalled.dedup();
        for message in signalled {
            let key = (message.address, message.data);
            *self.messages.borrow_mut().entry(key).or_default() += 1;
        }
        for _ in 0..STORM {
            if !self.is_line_high() {
                break;
            }
            let handlers: Vec<_> = self.handlers.borrow().clone();
            for handler in handlers.iter().filter_map(Weak::upgrade) {
                handler.interrupt();
            }
        }
        self.interrupted.set(false);
    }

    fn is_line_high(&self) -> bool {
        let slots = self.slots.borrow();
        slots.values().any(|slot| slot.device.line() == Level::High)
    }

    /// Makes an access of the driver, which is to reach a device if `reaches` finds one.
    fn access<T>(
        &self,
        reaches: impl FnOnce(&BTreeMap<u8, Slot>) -> bool,
        access: impl FnOnce(&Self) -> T,
    ) -> T {
        self.accesses.set(self.accesses.get() + 1);
        if reaches(&self.slots.borrow()) {
            self.reached.set(self.reached.get() + 1);
        }
        if let Some((access, strike)) = self.next_strike.get() {
            if access == self.reached.get() {
                self.next_strike.set(None);
                self.strike(strike);
            }
        }
        let result = access(self);
        if self.course == Course::AtOnce && !self.interrupted.get() {
            self.tick();
        }
        result
    }

    /// Has the device that decodes `address` answer, if there is one.
    fn decoded<T>(&self, address: u64, answer: impl FnOnce(&mut Slot, Bar, u64) -> T) -> Option<T> {
        let mut slots = self.slots.borrow_mut();
        slots
            .values_mut()
            .find_map(|slot| {
                let (bar, offset) = slot.device.decode(address)?;
                Some((slot, bar, offset))
            })
            .map(|(slot, bar, offset)| answer(slot, bar, offset))
    }

    /// Reads memory as a bus master does, which is no access of the driver. `None` where nothing decodes.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Option<()> {
        self.decoded(address, |slot, bar, offset| {
            slot.device.read_bar(bar, offset, bytes, &mut slot.wires);
        })
    }

    /// Writes memory as [`Board::read`] reads it.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Option<()> {
        self.decoded(address, |slot, bar, offset| {
            slot.device.write_bar(bar, offset, bytes, &mut slot.wires);
        })
    }

    /// Makes an access to configuration space.
    fn config(&self, address: PciAddress, access: impl FnOnce(&mut Slot)) {
        let on_bus = (address.segment(), address.bus(), address.function()) == (0, 0, 0);
        let number = address.device();
        self.access(
            |slots| on_bus && slots.contains_key(&number),
            |board| {
                if on_bus {
                    board.with(number, access);
                }
            },
        );
    }

    /// Makes an access to memory.
    fn memory<T>(&self, address: u64, access: impl FnOnce(&Self) -> T) -> T {
        let reaches = |slots: &BTreeMap<u8, Slot>| {
            let mut slots = slots.values();
            slots.any(|slot| slot.device.decode(address).is_some())
        };
        self.access(reaches, access)
    }
}

/// Configuration space of a board.
#[derive(Clone)]
pub struct Bus(pub Rc<Board>);

impl ConfigRegionAccess for Bus {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        let mut bytes = [0xff; 4];
        let read = |slot: &mut Slot| slot.device.read_config(offset, &mut bytes);
        self.0.config(address, read);
        u32::from_le_bytes(bytes)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        self.0.config(address, |slot| {
            let bytes = value.to_le_bytes();
            slot.device.write_config(offset, &bytes, &mut slot.wires);
        });
    }
}

impl Reach for Bus {
    type Config = Self;
    type Window = Window;

    #[allow(unsafe_code)]
    fn write_word(&self, address: PciAddress, offset: u16, value: u32) {
        // SAFETY: the devices are models; what they share with this process they share on purpose.
        unsafe { ConfigRegionAccess::write(self, address, offset, value) };
    }

    fn window(&self, start: u64) -> Window {
        Window {
            board: Rc::clone(&self.0),
            start,
        }
    }
}

/// A BAR, or a part of one.
pub struct Window {
    board: Rc<Board>,
    start: u64,
}

impl Registers for Window {
    fn read(&self, offset: usize) -> u32 {
        let address = self.start + offset as u64;
        self.board.memory(address, |board| {
            let mut bytes = board.absent.get().to_le_bytes();
            board.read(address, &mut bytes);
            u32::from_le_bytes(bytes)
        })
    }

    fn write(&self, offset: usize, value: u32) {
        let address = self.start + offset as u64;
        self.board.memory(address, |board| {
            board.write(address, &value.to_le_bytes());
        });
    }
}
