// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frozen machine as one that the scenarios can run on: [`QtestMachine`].
//!
//! There is no processor to be interrupted, but a message is a write to memory: each vector gets a word of
//! guest RAM, and looking at it is what a handler would do.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::pci::{ConfigSpace, Function};
use ivshmem::{MsiMessage, SharedMemory, VectorIndex};
use ivshmem_host::mapping::Mapping;
use ivshmem_scenarios::{Failure, LineCount, Machine};
use libtest_mimic::Failed;

use crate::board::{Board, Ports, Window};
use crate::bring_up::{self, Attached, MsixControl};
use crate::firmware;
use crate::host_side;

/// Guest RAM that nothing else uses, for the vectors' words.
const MAILBOXES: u64 = 0x10_0000;
/// What is written there, plus the vector; in any case not 0, which is an empty mailbox.
const DATA: u32 = 0x4d53_0000;
/// How long anything in a scenario may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// How long to let QEMU go on between two looks.
const POLL: Duration = Duration::from_micros(200);

/// What the host answers to a machine that listens: told the lines said so far, returns a line.
type Host = fn(&QtestMachine, &[String]) -> Result<String, Failure>;

/// A machine whose firmware has run, to be driven by scenarios.
pub struct QtestMachine {
    pub board: Rc<Board>,
    pub ports: Ports,
    config: ConfigSpace<Ports>,
    memory: SharedMemory<'static>,
    arguments: &'static str,
    host: Host,
    said: RefCell<Vec<String>>,
    counts: RefCell<BTreeMap<VectorIndex, u32>>,
}

impl QtestMachine {
    /// Assigns the BARs of the machine, whose ivshmem device has the memory behind `memory`.
    pub fn new(board: &Rc<Board>, memory: impl AsFd) -> Result<Self, Failed> {
        let ports = Ports(Rc::clone(board));
        let config = config_space(&ports);
        firmware::run(&config)?;
        // Devices keep views of the memory that end with the process, as a kernel's do with the machine.
        let mapping: &'static Mapping = Box::leak(Box::new(Mapping::of(memory)?));
        Ok(Self {
            board: Rc::clone(board),
            ports,
            config,
            memory: mapping.memory(),
            arguments: "",
            host: |_, _| Err(Failure::from("nobody was to be heard")),
            said: RefCell::default(),
            counts: RefCell::default(),
        })
    }

    /// Gives the scenario arguments, as on a kernel command line.
    pub const fn arguments(mut self, arguments: &'static str) -> Self {
        self.arguments = arguments;
        self
    }

    /// Sets who answers the scenario.
    pub fn host(mut self, host: Host) -> Self {
        self.host = host;
        self
    }
}

/// Returns the configuration space of a machine.
#[allow(unsafe_code)]
pub fn config_space(ports: &Ports) -> ConfigSpace<Ports> {
    // SAFETY: 1. `Ports` take any address and offset; 2. one thread drives a machine.
    unsafe { ConfigSpace::new(ports.clone()) }
}

const fn mailbox(vector: VectorIndex) -> u64 {
    MAILBOXES + 4 * vector.0 as u64
}

#[allow(unsafe_code)]
fn message(vector: VectorIndex) -> Option<MsiMessage> {
    // SAFETY: the word is RAM of a machine whose processor never runs, and nothing else is kept there.
    unsafe { MsiMessage::new(mailbox(vector), DATA + u32::from(vector.0)) }
}

impl Machine for QtestMachine {
    type Config = Ports;
    type Registers = Window;
    type Device = Attached<Window>;

    fn config(&self) -> &ConfigSpace<Ports> {
        &self.config
    }

    fn attach(
        &self,
        function: &Function<'_, Ports>,
        vectors: u16,
    ) -> Result<Attached<Window>, Failure> {
        bring_up::attach(&self.ports, function, self.memory, |vector| {
            (vector.0 < vectors).then(|| message(vector)).flatten()
        })
    }

    fn detach(&self, device: Attached<Window>, _: &Function<'_, Ports>) {
        device.detach(&self.ports);
    }

    fn mask_all(
        &self,
        device: &Attached<Window>,
        function: &Function<'_, Ports>,
    ) -> Result<(), Failure> {
        device.set_msix(&self.ports, function, MsixControl::Masked)
    }

    fn unmask_all(
        &self,
        device: &Attached<Window>,
        function: &Function<'_, Ports>,
    ) -> Result<(), Failure> {
        device.set_msix(&self.ports, function, MsixControl::Live)
    }

    /// Takes what has come since the last look: several messages in that time count as one interrupt, as for
    /// a processor that is slow to take them.
    fn interrupts(&self, vector: VectorIndex) -> u32 {
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(vector).or_default();
        let address = mailbox(vector);
        // A message with another vector's data is none of this one's.
        if message(vector).is_some_and(|message| self.board.read_word(address) == message.data()) {
            self.board.write_word(address, 0);
            *count += 1;
        }
        *count
    }

    fn message(&self, vector: VectorIndex) -> Result<MsiMessage, Failure> {
        message(vector).ok_or_else(|| Failure::from("no mailbox"))
    }

    /// Says that there is none: QEMU's device since 2.6 has no line.
    fn take_line(&self, _: &Attached<Window>, _: &Function<'_, Ports>) -> Result<(), Failure> {
        Err(Failure::from("a frozen machine serves no interrupt line"))
    }

    fn line(&self, _: &Attached<Window>) -> LineCount {
        LineCount::default()
    }

    fn wait(&self, condition: &mut dyn FnMut() -> bool) -> bool {
        let deadline = Instant::now() + TIME_LIMIT;
        while !condition() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    fn pause(&self, milliseconds: u32) {
        thread::sleep(Duration::from_millis(milliseconds.into()));
    }

    fn argument(&self, key: &str) -> Option<&str> {
        host_side::argument(self.arguments, key)
    }

    fn has(&self, word: &str) -> bool {
        host_side::has(self.arguments, word)
    }

    fn say(&self, line: fmt::Arguments<'_>) {
        self.said.borrow_mut().push(line.to_string());
    }

    fn hear<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b str, Failure> {
        let line = (self.host)(self, &self.said.borrow())?;
        host_side::put(&line, buffer)
    }
}
