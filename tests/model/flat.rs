// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem-flat`, which has no PCI: the driver is given its parts, as by a board's own code.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;

use ivshmem::registers::{DOORBELL, INTERRUPT_MASK, INTERRUPT_STATUS, IV_POSITION};
use ivshmem::{
    DeviceError, Feature, Flavour, Interrupts, Ivshmem, Parts, PeerId, Quirks, Registers,
    VectorIndex,
};
use ivshmem_device::{Flat, Memory as _, Notice, Properties, ServerError};
use ivshmem_scenarios::{ensure_eq, Failure};
use libtest_mimic::{Failed, Trial};
use xtask::trials::same;

use crate::course::Course;
use crate::descriptor::Shared;
use crate::hub::{Connection, Hub, Memory, Protocol};
use crate::setup::{SIZE, VECTORS};
use crate::table::failed;
use crate::wires::Wires;

/// The vector that the device delivers.
const ONLY: VectorIndex = VectorIndex(0);

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut add = |name: &str, course, play: fn(&Scene) -> Result<(), Failure>| {
        let name = format!("flat::{name}");
        trials.push(Trial::test(name, move || {
            play(&Scene::new(course)?).map_err(failed)
        }));
    };
    add("registers", Course::Prompt, registers);
    add("memory", Course::Prompt, memory);
    add("doorbells", Course::Prompt, doorbells);
    add("peer_leaves", Course::Prompt, peer_leaves);
    add("server_ends", Course::Prompt, server_ends);
    add("gone", Course::Prompt, gone);
    for course in Course::FAULTS {
        add(&format!("interrupts_{}", course.name()), course, interrupts);
    }
    trials.push(Trial::test(
        "flat::is_not_realized_without_its_memory",
        unrealized,
    ));
    trials
}

/// A board with the device on it.
struct Board {
    flat: RefCell<Flat<Wires>>,
    wires: RefCell<Wires>,
    connection: Connection,
    now: Cell<u32>,
    is_gone: Cell<bool>,
}

impl Board {
    fn new(course: Course, connection: Connection) -> Result<Self, Failed> {
        let properties = Properties {
            size_bytes: SIZE,
            ..Properties::flat("server")
        };
        Ok(Self {
            flat: RefCell::new(Flat::new(&properties)?),
            wires: RefCell::new(Wires::new(course)),
            connection,
            now: Cell::new(0),
            is_gone: Cell::new(false),
        })
    }

    /// Passes on what the server has said.
    fn receive(&self) -> Result<(), ServerError> {
        let (mut flat, mut wires) = (self.flat.borrow_mut(), self.wires.borrow_mut());
        loop {
            let read = self.connection.borrow_mut().read(flat.wanted());
            let Some((bytes, descriptor)) = read else {
                break;
            };
            flat.receive(&bytes, descriptor, &mut wires)?;
        }
        if self.connection.borrow().is_over() {
            return flat.server_gone(&mut wires);
        }
        Ok(())
    }

    /// Lets all that is on its way arrive, and returns how often the line was pulsed.
    fn settle(&self) -> Result<u32, Failure> {
        self.receive()?;
        let mut wires = self.wires.borrow_mut();
        let before = wires.raised;
        while !wires.traffic.is_idle() {
            self.now.set(self.now.get() + 1);
            for (vector, _) in wires.traffic.arrivals(self.now.get()) {
                self.flat.borrow_mut().event(vector, &mut wires);
            }
        }
        Ok(wires.raised - before)
    }
}

/// The register block.
struct Block(Rc<Board>);

impl Registers for Block {
    fn read(&self, offset: usize) -> u32 {
        if self.0.is_gone.get() {
            return !0;
        }
        self.0.flat.borrow().read_register(offset as u64)
    }

    fn write(&self, offset: usize, value: u32) {
        if !self.0.is_gone.get() {
            let mut wires = self.0.wires.borrow_mut();
            let mut flat = self.0.flat.borrow_mut();
            flat.write_register(offset as u64, value, &mut wires);
        }
    }
}

struct Scene {
    board: Rc<Board>,
    device: Ivshmem<Block>,
    memory: &'static Shared,
    hub: Rc<Hub>,
    own: u16,
    peer: u16,
}

impl Scene {
    #[allow(unsafe_code)]
    fn new(course: Course) -> Result<Self, Failed> {
        let memory = Shared::new(SIZE)?;
        let hub = Hub::new(5, memory);
        let (own, connection) = hub.join(Protocol::Zero, VECTORS, Memory::AtOnce);
        let peer = hub.peer(VECTORS);
        let board = Rc::new(Board::new(course, connection)?);
        board.receive()?;
        same("realized", board.flat.borrow().is_realized(), true)?;
        let parts = Parts {
            flavour: Flavour::Flat,
            registers: Some(Block(Rc::clone(&board))),
            shared_memory: memory.view(),
            interrupts: Interrupts::Kernel,
            quirks: Quirks::empty(),
        };
        Ok(Self {
            // SAFETY: the parts are of one device that this trial has for itself; the memory is mapped for good.
            device: unsafe { Ivshmem::new(parts) },
            board,
            memory,
            hub,
            own,
            peer,
        })
    }

    /// Returns how often a peer was rung since it was asked last.
    fn rung(&self, peer: u16, vector: u16) -> Result<u64, Failure> {
        let event = self.hub.event(peer, vector).ok_or("no peer")?;
        Ok(event.take())
    }
}

fn registers(scene: &Scene) -> Result<(), Failure> {
    let device = &scene.device;
    let registers = device.registers()?;
    for register in [INTERRUPT_MASK, INTERRUPT_STATUS, IV_POSITION] {
        let before = registers.read(register);
        registers.write(register, !before);
        ensure_eq("a register", registers.read(register), before)?;
    }
    ensure_eq("mask", registers.read(INTERRUPT_MASK), 0)?;
    ensure_eq("status", registers.read(INTERRUPT_STATUS), 0)?;
    ensure_eq("doorbell, read", registers.read(DOORBELL), 0)?;
    ensure_eq("position", device.position()?.0, scene.own)?;
    ensure_eq("ready", device.poll_ready(), Poll::Ready(Ok(())))?;
    let lacks = |feature| {
        Err(DeviceError::Lacks {
            flavour: Flavour::Flat,
            feature,
        })
    };
    ensure_eq("msix", device.msix().map(drop), lacks(Feature::Msix))?;
    ensure_eq("intx", device.intx().map(drop), lacks(Feature::Intx))
}

fn memory(scene: &Scene) -> Result<(), Failure> {
    let last = SIZE - 8;
    scene.memory.write(last, b"by host ");
    let seen = scene.device.memory().read_array(last as usize)?;
    ensure_eq("the host's bytes", &seen, b"by host ")?;
    scene.device.memory().write(0, b"by guest")?;
    let mut seen = [0; 8];
    scene.memory.read(0, &mut seen);
    ensure_eq("the guest's bytes", &seen, b"by guest")
}

/// Vector 0 of peers and of the device itself can be rung, and no other.
fn doorbells(scene: &Scene) -> Result<(), Failure> {
    let Scene { device, peer, .. } = scene;
    device.ring(PeerId(*peer), ONLY)?;
    let vector = VectorIndex(1);
    let other = device.ring(PeerId(*peer), vector);
    let too_large = Err(DeviceError::VectorTooLarge { vector });
    ensure_eq("another vector", other, too_large)?;
    ensure_eq("doorbells", scene.rung(*peer, 0)?, 1)?;
    ensure_eq("doorbells elsewhere", scene.rung(*peer, 1)?, 0)?;
    for nobody in [0, scene.own + 2, 0xffff].map(PeerId) {
        device.ring(nobody, ONLY)?;
    }
    ensure_eq("pulses", scene.board.settle()?, 0)?;
    device.ring(PeerId(scene.own), ONLY)?;
    ensure_eq("pulses of its own", scene.board.settle()?, 1)
}

/// An event is a pulse; what becomes of it on its way is the fault's.
fn interrupts(scene: &Scene) -> Result<(), Failure> {
    let course = scene.board.wires.borrow().traffic.course();
    let expected = match course {
        // The first and third are lost, the second is not.
        Course::Lossy => [0, 1, 0],
        Course::Doubled | Course::Repeated => [2; 3],
        _ => [1; 3],
    };
    for pulses in expected {
        scene.hub.ring(scene.own, 0);
        // Vectors that the device does not deliver.
        scene.hub.ring(scene.own, 1);
        ensure_eq("pulses", scene.board.settle()?, pulses)?;
    }
    Ok(())
}

fn peer_leaves(scene: &Scene) -> Result<(), Failure> {
    let event = scene.hub.event(scene.peer, 0).ok_or("no peer")?;
    scene.hub.leave(scene.peer);
    scene.board.settle()?;
    scene.device.ring(PeerId(scene.peer), ONLY)?;
    ensure_eq("doorbells to nobody", event.take(), 0)?;
    ensure_eq("holders of the peer's eventfd", event.holders(), 1)?;
    let next = scene.hub.peer(VECTORS);
    scene.board.settle()?;
    scene.device.ring(PeerId(next), ONLY)?;
    ensure_eq("doorbells of the next", scene.rung(next, 0)?, 1)
}

fn server_ends(scene: &Scene) -> Result<(), Failure> {
    scene.hub.end();
    scene.board.receive()?;
    let notices = scene.board.wires.borrow().notices.clone();
    ensure_eq("notices", notices, vec![Notice::ServerGone])?;
    doorbells(scene)?;
    registers(scene)
}

/// A board whose device no longer answers.
fn gone(scene: &Scene) -> Result<(), Failure> {
    scene.board.is_gone.set(true);
    let position = scene.device.position();
    ensure_eq("position", position, Err(DeviceError::Gone))?;
    scene.device.ring(PeerId(scene.peer), ONLY)?;
    ensure_eq("doorbells", scene.rung(scene.peer, 0)?, 0)
}

/// No memory, or one of another size: no guest may see the device.
fn unrealized() -> Result<(), Failed> {
    let hub = Hub::new(0, Shared::new(SIZE)?);
    let (_, connection) = hub.join(Protocol::Zero, VECTORS, Memory::Held);
    let board = Board::new(Course::Prompt, connection)?;
    same("so far", board.receive(), Ok(()))?;
    hub.end();
    same("at the end", board.receive(), Err(ServerError::Gone))?;
    same("realized", board.flat.borrow().is_realized(), false)?;

    let hub = Hub::new(0, Shared::new(2 * SIZE)?);
    let (_, connection) = hub.join(Protocol::Zero, VECTORS, Memory::AtOnce);
    let result = Board::new(Course::Prompt, connection)?.receive();
    same(
        "twice the size",
        result,
        Err(ServerError::MemorySize { has: 2 * SIZE }),
    )
}
