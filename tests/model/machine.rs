// SPDX-License-Identifier: MIT OR Apache-2.0
//! A board as a machine that the scenarios can run on: [`ModelMachine`].

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::rc::{Rc, Weak};

use ivshmem::pci::{assign, AssignError, Buses, ConfigSpace, Function, Windows};
use ivshmem::{Ivshmem, MsiMessage, VectorIndex};
use ivshmem_scenarios::{Failure, LineCount, Machine};

use crate::board::{Board, Bus, Handler, Window};
use crate::bring_up::{self, Attached, MsixControl};
use crate::descriptor::Shared;
use crate::host_side;
use crate::hub::Hub;

/// Where messages are written to, a word for each vector, and what is written, plus the vector.
const MESSAGES: u64 = 0xfee0_0000;
const DATA: u32 = 0x4d53_0000;
/// How many ticks anything may take.
pub const TIME_LIMIT: u32 = 50;

/// The host bridge's windows, one below 4 GiB and one far above.
const WINDOWS: Windows = Windows {
    memory32: ivshmem::pci::Window {
        start: 0xc000_0000,
        len: 0x3000_0000,
    },
    memory64: Some(ivshmem::pci::Window {
        start: 0x80_0000_0000,
        len: 0x40_0000_0000,
    }),
    io: None,
};

/// What the host answers to a machine that listens: told the last line said, returns a line.
type Host = fn(&ModelMachine, &str) -> Result<String, Failure>;

/// A machine to be driven by scenarios.
pub struct ModelMachine {
    pub board: Rc<Board>,
    pub bus: Bus,
    pub hub: Rc<Hub>,
    pub memory: &'static Shared,
    config: ConfigSpace<Bus>,
    arguments: String,
    host: Host,
    said: RefCell<String>,
}

/// An attached device, and the handler of its line.
pub struct Device(Rc<Served>);

struct Served {
    attached: Attached<Window>,
    line: Cell<LineCount>,
}

impl Deref for Device {
    type Target = Ivshmem<Window>;

    fn deref(&self) -> &Self::Target {
        &self.0.attached
    }
}

impl Handler for Served {
    fn interrupt(&self) {
        let Ok(intx) = self.attached.intx() else {
            return;
        };
        let mut line = self.line.get();
        match intx.acknowledge() {
            Some(status) => {
                line.taken += 1;
                line.last_status = status.bits();
            }
            None => line.foreign += 1,
        }
        self.line.set(line);
    }
}

impl ModelMachine {
    /// Makes a machine of a board with devices whose BARs nobody has assigned yet.
    #[allow(unsafe_code)]
    pub fn new(board: &Rc<Board>, hub: &Rc<Hub>, memory: &'static Shared) -> Self {
        let bus = Bus(Rc::clone(board));
        Self {
            board: Rc::clone(board),
            hub: Rc::clone(hub),
            memory,
            // SAFETY: 1. a `Bus` takes any address and offset; 2. one thread drives a machine.
            config: unsafe { ConfigSpace::new(bus.clone()) },
            bus,
            arguments: String::new(),
            host: |_, _| Err(Failure::from("nobody was to be heard")),
            said: RefCell::default(),
        }
    }

    /// Gives the scenario arguments, as on a kernel command line.
    pub fn arguments(mut self, arguments: String) -> Self {
        self.arguments = arguments;
        self
    }

    /// Sets who answers the scenario.
    pub fn host(mut self, host: Host) -> Self {
        self.host = host;
        self
    }

    /// Writes Message Control of a device.
    pub fn set_msix(
        &self,
        device: &Device,
        function: &Function<'_, Bus>,
        state: MsixControl,
    ) -> Result<(), Failure> {
        device.0.attached.set_msix(&self.bus, function, state)
    }

    /// Assigns the BARs.
    pub fn assign(&self) -> Result<(), AssignError> {
        assign(&self.config, Buses::ALL, &WINDOWS)
    }
}

#[allow(unsafe_code)]
fn message(vector: VectorIndex) -> Option<MsiMessage> {
    let address = MESSAGES + 4 * u64::from(vector.0);
    // SAFETY: what the model writes there is counted and goes nowhere.
    unsafe { MsiMessage::new(address, DATA + u32::from(vector.0)) }
}

impl Machine for ModelMachine {
    type Config = Bus;
    type Registers = Window;
    type Device = Device;

    fn config(&self) -> &ConfigSpace<Bus> {
        &self.config
    }

    fn attach(&self, function: &Function<'_, Bus>, vectors: u16) -> Result<Device, Failure> {
        let memory = self.memory.view();
        let attached = bring_up::attach(&self.bus, function, memory, |vector| {
            (vector.0 < vectors).then(|| message(vector)).flatten()
        })?;
        Ok(Device(Rc::new(Served {
            attached,
            line: Cell::default(),
        })))
    }

    fn detach(&self, device: Device, _: &Function<'_, Bus>) {
        let served = Rc::into_inner(device.0).expect("no handler runs");
        served.attached.detach(&self.bus);
    }

    fn mask_all(&self, device: &Device, function: &Function<'_, Bus>) -> Result<(), Failure> {
        self.set_msix(device, function, MsixControl::Masked)
    }

    fn unmask_all(&self, device: &Device, function: &Function<'_, Bus>) -> Result<(), Failure> {
        self.set_msix(device, function, MsixControl::Live)
    }

    fn interrupts(&self, vector: VectorIndex) -> u32 {
        self.board.take_interrupts();
        message(vector).map_or(0, |message| {
            self.board.taken(message.address(), message.data())
        })
    }

    fn message(&self, vector: VectorIndex) -> Result<MsiMessage, Failure> {
        message(vector).ok_or_else(|| Failure::from("no message"))
    }

    fn take_line(&self, device: &Device, _: &Function<'_, Bus>) -> Result<(), Failure> {
        device.intx()?;
        let handler: Weak<Served> = Rc::downgrade(&device.0);
        self.board.add_handler(handler);
        Ok(())
    }

    fn line(&self, device: &Device) -> LineCount {
        self.board.take_interrupts();
        device.0.line.get()
    }

    fn wait(&self, condition: &mut dyn FnMut() -> bool) -> bool {
        for _ in 0..TIME_LIMIT {
            if condition() {
                return true;
            }
            self.board.tick();
        }
        condition()
    }

    fn pause(&self, milliseconds: u32) {
        for _ in 0..milliseconds {
            self.board.tick();
        }
    }

    fn argument(&self, key: &str) -> Option<&str> {
        host_side::argument(&self.arguments, key)
    }

    fn has(&self, word: &str) -> bool {
        host_side::has(&self.arguments, word)
    }

    fn say(&self, line: fmt::Arguments<'_>) {
        self.said.replace(line.to_string());
    }

    fn hear<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b str, Failure> {
        let line = (self.host)(self, &self.said.borrow())?;
        host_side::put(&line, buffer)
    }
}
