// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the driver meets when a peer or the server is gone, and when its device changes behind its back.

use ivshmem::{DeviceError, PeerId, VectorError, VectorIndex};
use ivshmem_device::{Level, Notice, ServerError};
use ivshmem_scenarios::{device, ensure, ensure_eq, Failure, Machine};
use libtest_mimic::{Failed, Trial};
use xtask::trials::same;

use crate::bring_up::MsixControl;
use crate::descriptor::Shared;
use crate::hub::{Hub, Memory};
use crate::life::life;
use crate::machine::ModelMachine;
use crate::scene::{heard, scene, serve, Scene, RUNG};
use crate::setup::{Flavour, Setup, FIRST, SIZE, VECTORS};
use crate::slot::Slot;
use crate::strike::Strike;

/// Bytes of a table entry, and where its mask bit is (PCI 3.0, 6.8.2).
const VECTOR_CONTROL: u64 = 12;

/// What is tried on a device.
type Play = fn(Scene<'_>) -> Result<(), Failure>;

const ALWAYS: [(&str, Play); 6] = [
    ("peer_leaves", peer_leaves),
    ("peer_has_fewer_vectors", fewer_vectors),
    ("server_ends", server_ends),
    ("machine_is_reset", reset),
    ("device_is_unplugged", unplugged),
    ("driver_ends", ends_silently),
];
/// On a device with MSI-X.
const OF_VECTORS: [(&str, Play); 2] = [("vector_is_masked", masked), ("msix_is_off", msix_off)];

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for flavour in Setup::flavours().filter(|flavour| flavour.has_server()) {
        let setup = Setup {
            id: 5,
            ..Setup::new(flavour)
        };
        let of_vectors: &[_] = if flavour.has_msix() { &OF_VECTORS } else { &[] };
        for &(what, play) in ALWAYS.iter().chain(of_vectors) {
            let name = format!("faults::{what}_{}", flavour.name());
            trials.push(Trial::test(name, move || scene(setup, play)));
        }
        let name = format!("faults::server_ends_before_the_memory_{}", flavour.name());
        trials.push(Trial::test(name, move || no_memory(setup)));
    }
    trials
}

/// Returns the generation of the device, and whether it forgets peers that leave: until 2.5 only with ioeventfd.
fn forgets(scene: &Scene<'_>) -> bool {
    let looked = scene.machine.board.with(FIRST, |slot| {
        let properties = slot.device.properties();
        !properties.generation.is_historic() || properties.ioeventfd
    });
    looked == Some(true)
}

/// Doorbells to a peer that has left vanish, and nothing else changes.
fn peer_leaves(scene: Scene<'_>) -> Result<(), Failure> {
    let (peer, event) = &scene.peer;
    scene.ring(*peer)?;
    ensure_eq("doorbells", event.take(), 1)?;
    scene.machine.hub.leave(*peer);
    scene.machine.board.settle();
    let before = scene.heard();
    for _ in 0..3 {
        scene.ring(*peer)?;
    }
    let (heard, holders) = if forgets(&scene) { (0, 1) } else { (3, 2) };
    ensure_eq("doorbells to nobody", event.take(), heard)?;
    ensure_eq("holders of the peer's eventfd", event.holders(), holders)?;
    ensure_eq("interrupts", scene.heard(), before)?;
    ensure_eq("position", scene.device.position()?.0, scene.own)?;
    // The next one is another one.
    let next = scene.machine.hub.peer(VECTORS);
    scene.machine.board.settle();
    scene.ring(next)?;
    let event = scene.machine.hub.event(next, RUNG).ok_or("no peer")?;
    ensure_eq("doorbells of the next", event.take(), 1)?;
    scene.is_heard()
}

/// Doorbells to vectors that a peer does not have, or has closed, vanish.
fn fewer_vectors(scene: Scene<'_>) -> Result<(), Failure> {
    let peer = scene.machine.hub.peer(1);
    scene.machine.board.settle();
    for vector in (0..VECTORS).map(VectorIndex) {
        scene.device.ring(PeerId(peer), vector)?;
    }
    let event = scene.machine.hub.event(peer, RUNG).ok_or("no peer")?;
    ensure_eq("doorbells", event.take(), 1)?;
    scene.is_heard()
}

/// A server that ends takes nothing with it.
fn server_ends(scene: Scene<'_>) -> Result<(), Failure> {
    let machine = scene.machine;
    machine.hub.end();
    machine.board.settle();
    let notices = machine.board.with(FIRST, |slot| slot.wires.notices.clone());
    ensure_eq("notices", notices, Some(vec![Notice::ServerGone]))?;
    let (peer, event) = &scene.peer;
    scene.ring(*peer)?;
    ensure_eq("doorbells", event.take(), 1)?;
    scene.is_heard()?;
    scene.device.memory().write(0, b"still here")?;
    ensure_eq("position", scene.device.position()?.0, scene.own)
}

/// A vector that somebody else has masked is found masked, and delivers when it is unmasked.
fn masked(scene: Scene<'_>) -> Result<(), Failure> {
    let vector = VectorIndex(RUNG);
    let msix = scene.device.msix()?;
    let table = ivshmem::pci::probe(&scene.function)?
        .msix
        .ok_or("no msi-x")?;
    let control = table.table_bar.start + VECTOR_CONTROL;
    scene.machine.board.write(control, &1_u32.to_le_bytes());
    ensure_eq("masked", msix.is_masked(vector)?, true)?;
    for _ in 0..3 {
        scene.ring_device();
    }
    ensure_eq("interrupts while masked", scene.heard(), 0)?;
    ensure_eq("pending", msix.is_pending(vector)?, true)?;
    msix.unmask(vector)?;
    ensure_eq("interrupts when unmasked", scene.heard(), 1)?;
    ensure_eq("pending afterwards", msix.is_pending(vector)?, false)?;
    scene.is_heard()
}

/// What comes while MSI-X is off is lost on a modern device, and kept on a historic one.
fn msix_off(scene: Scene<'_>) -> Result<(), Failure> {
    let historic = scene.function.revision() == 0;
    scene.set_msix(MsixControl::Off)?;
    scene.ring_device();
    ensure_eq("interrupts while it is off", scene.heard(), 0)?;
    scene.set_msix(MsixControl::Live)?;
    scene.machine.board.settle();
    let kept = u32::from(historic);
    ensure_eq("interrupts when it is on", scene.heard(), kept)?;
    scene.is_heard()
}

/// A driver whose machine was reset finds nothing, harms nothing, and can start again with the same ID and memory.
fn reset(scene: Scene<'_>) -> Result<(), Failure> {
    let machine = scene.machine;
    scene.device.memory().write(0, b"kept")?;
    machine.board.strike(Strike::Reset);
    let before = scene.heard();
    scene.ring(scene.peer.0)?;
    ensure_eq("doorbells by a reset device", scene.peer.1.take(), 0)?;
    let position = scene.device.position();
    ensure_eq("position", position, Err(DeviceError::Gone))?;
    scene.ring_device();
    ensure_eq("interrupts of a reset device", scene.heard(), before)?;
    drop(scene);
    again(machine)
}

/// Attaches the device once more, as the kernel of a machine after a reset does.
fn again(machine: &ModelMachine) -> Result<(), Failure> {
    machine.assign()?;
    let function = device(machine)?;
    let device = machine.attach(&function, VECTORS)?;
    let level = || machine.board.with(FIRST, |slot| slot.device.line());
    // A historic device keeps its mask over a reset, so its line may have gone up meanwhile.
    ensure_eq("the line after attaching", level(), Some(Level::Low))?;
    serve(machine, &function, &device)?;
    let scene = Scene {
        machine,
        function,
        own: device.position()?.0,
        device,
        peer: (0, Default::default()),
    };
    ensure(scene.own == 5, format_args!("the id is {}", scene.own))?;
    let kept = scene.device.memory().read_array::<4>(0)?;
    ensure_eq("the memory", &kept, b"kept")?;
    scene.is_heard()
}

/// Each verb says that the device is gone, or does nothing; detaching it ends.
fn unplugged(scene: Scene<'_>) -> Result<(), Failure> {
    let Scene {
        machine,
        function,
        device,
        ..
    } = scene;
    machine.board.strike(Strike::Unplug);
    let gone = Err(DeviceError::Gone);
    ensure_eq("position", device.position().map(drop), gone)?;
    device.ring(PeerId(scene.peer.0), VectorIndex(RUNG))?;
    ensure_eq("doorbells", scene.peer.1.take(), 0)?;
    if let Ok(intx) = device.intx() {
        intx.enable();
        ensure_eq("status", intx.acknowledge(), None)?;
    }
    if let Ok(msix) = device.msix() {
        let vector = VectorIndex(RUNG);
        msix.mask(vector)?;
        msix.set_message(vector, machine.message(vector)?)?;
        let gone = Err(VectorError::Gone { vector });
        ensure_eq("unmasking", msix.unmask(vector), gone)?;
    }
    device.memory().write(0, b"no longer shared")?;
    machine.detach(device, &function);
    ensure_eq("the function", function.refresh().is_none(), true)
}

/// A driver that is detached or dropped leaves nothing behind that interrupts, however often the device is rung.
fn ends_silently(scene: Scene<'_>) -> Result<(), Failure> {
    let (machine, own) = (scene.machine, scene.own);
    scene.is_heard()?;
    let Scene {
        device: detached,
        function,
        ..
    } = scene;
    machine.detach(detached, &function);
    is_silent(machine, own)?;
    let dropped = machine.attach(&function, VECTORS)?;
    serve(machine, &function, &dropped)?;
    let before = heard(machine, &dropped);
    machine.hub.ring(own, RUNG);
    machine.board.settle();
    let after = heard(machine, &dropped);
    ensure(
        after > before,
        format_args!("the device is not heard again"),
    )?;
    drop(dropped);
    is_silent(machine, own)
}

/// Rings all vectors of a device that nobody drives.
fn is_silent(machine: &ModelMachine, own: u16) -> Result<(), Failure> {
    let count = || {
        (0..VECTORS)
            .map(|v| machine.interrupts(VectorIndex(v)))
            .sum()
    };
    let before: u32 = count();
    for vector in 0..VECTORS {
        machine.hub.ring(own, vector);
    }
    machine.board.settle();
    ensure_eq("messages of a device that nobody drives", count(), before)?;
    let level = machine.board.with(FIRST, |slot| slot.device.line());
    ensure_eq("its line", level, Some(Level::Low))
}

/// A server that ends before it has sent the memory: no modern device, and a historic one that is never ready.
fn no_memory(setup: Setup) -> Result<(), Failed> {
    let memory = Shared::new(SIZE)?;
    if setup.flavour == Flavour::Doorbell {
        let hub = Hub::new(setup.id, memory);
        let properties = setup.flavour.properties();
        let mut slot = Slot::new(&properties, &hub, memory, Memory::Held, setup.course)?;
        same("so far", slot.receive(), Ok(()))?;
        hub.end();
        same("at the end", slot.receive(), Err(ServerError::Gone))?;
        return same("realized", slot.device.is_realized(), false);
    }
    let setup = Setup {
        memory: Memory::Held,
        ..setup
    };
    let machine = setup.power_on(memory)?;
    machine.hub.end();
    // Nothing is left behind, so another try ends as the first one.
    for _ in 0..2 {
        let error = life(&machine).err().ok_or("it was ready")?;
        let text = "the device has no id yet; its server has not sent the shared memory";
        same("error", error.as_str(), text)?;
        machine.board.strike(Strike::Reset);
    }
    Ok(())
}
