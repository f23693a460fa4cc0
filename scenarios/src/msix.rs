// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenarios of MSI-X, rung by the own doorbell, so that one machine is enough.

use ivshmem::pci::Function;
use ivshmem::{PeerId, VectorIndex};

use crate::{attach, device, ensure, ensure_eq, Failure, Machine};

/// Most vectors that a scenario uses; devices may have more.
const MAX_VECTORS: u16 = 8;

/// Rings each vector once and sees that its handler runs, and no other.
pub fn deliver<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let setup = Setup::new(machine)?;
    ensure(
        setup.vectors >= 2,
        format_args!("{} vector(s) show nothing", setup.vectors),
    )?;
    for round in 1..=3 {
        for vector in setup.all() {
            setup.ring(vector)?;
            setup.arrived(vector, round)?;
            for other in setup.all() {
                let expected = if other <= vector { round } else { round - 1 };
                let count = setup.count(other);
                ensure(
                    count == expected,
                    format_args!("{vector} was rung, {other} ran {count} times, not {expected}"),
                )?;
            }
        }
    }
    Ok(())
}

/// Rings a masked vector three times: pending, silent, and delivered once when unmasked. Then the same with all at once.
pub fn mask<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let setup = Setup::new(machine)?;
    let msix = setup.device.msix()?;
    for (round, vector) in setup.all().enumerate() {
        msix.mask(vector)?;
        ensure_eq("pending before", msix.is_pending(vector)?, false)?;
        for _ in 0..3 {
            setup.ring(vector)?;
        }
        // A doorbell may still be on its way, so pending is waited for and silence is not.
        let pending = machine.wait(&mut || msix.is_pending(vector) == Ok(true));
        ensure(
            pending,
            format_args!("{vector} is masked, rung and not pending"),
        )?;
        machine.pause(20);
        ensure_eq("interrupts while masked", setup.count(vector), 0)?;
        msix.unmask(vector)?;
        setup.arrived(vector, 1)?;
        machine.pause(20);
        ensure_eq("interrupts after unmasking", setup.count(vector), 1)?;
        ensure_eq("pending after delivery", msix.is_pending(vector)?, false)?;
        // Masking one vector is no matter to the next, which still has never been rung.
        let rest = setup.all().skip(round + 1);
        ensure_eq(
            "other vectors",
            rest.map(|v| setup.count(v)).sum::<u32>(),
            0,
        )?;
    }
    all_at_once(&setup)
}

/// Rings every vector under Function Mask: all pending, all silent, each delivered once when it ends.
fn all_at_once<M: Machine>(setup: &Setup<'_, M>) -> Result<(), Failure> {
    let (machine, device) = (setup.machine, &setup.device);
    let msix = device.msix()?;
    machine.mask_all(device, &setup.function)?;
    for vector in setup.all() {
        setup.ring(vector)?;
        let pending = machine.wait(&mut || msix.is_pending(vector) == Ok(true));
        ensure(
            pending,
            format_args!("{vector} is rung under function mask and not pending"),
        )?;
    }
    machine.pause(20);
    for vector in setup.all() {
        ensure_eq("interrupts under function mask", setup.count(vector), 1)?;
    }
    machine.unmask_all(device, &setup.function)?;
    for vector in setup.all() {
        setup.arrived(vector, 2)?;
    }
    machine.pause(20);
    for vector in setup.all() {
        ensure_eq("interrupts after function mask", setup.count(vector), 2)?;
    }
    Ok(())
}

/// Takes a vector's message away, gives it to another vector, and back.
pub fn retarget<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let setup = Setup::new(machine)?;
    let msix = setup.device.msix()?;
    let (first, second) = (VectorIndex(0), VectorIndex(1));
    msix.set_message(first, machine.message(second)?)?;
    msix.unmask(first)?;
    setup.ring(first)?;
    setup.arrived(second, 1)?;
    ensure_eq("interrupts at the old handler", setup.count(first), 0)?;
    msix.clear_message(first)?;
    ensure(
        msix.unmask(first).is_err(),
        format_args!("a vector without a message was unmasked"),
    )?;
    msix.set_message(first, machine.message(first)?)?;
    msix.unmask(first)?;
    setup.ring(first)?;
    setup.arrived(first, 1)?;
    ensure_eq("interrupts at the other handler", setup.count(second), 1)
}

/// Rings peers and vectors that are not there; then the own doorbell still works.
pub fn absent<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let setup = Setup::new(machine)?;
    for peer in [1, 2, 100, 0x7fff, 0x8000, 0xffff].map(|n| PeerId(setup.own.0 ^ n)) {
        for vector in [0, 1, 255].map(VectorIndex) {
            setup.device.ring(peer, vector)?;
        }
    }
    let beyond = setup.device.msix()?.vectors();
    for vector in (beyond..256).map(VectorIndex) {
        setup.ring(vector)?;
    }
    machine.pause(20);
    let strays = setup.all().map(|v| setup.count(v)).sum::<u32>();
    ensure_eq("interrupts from doorbells to nobody", strays, 0)?;
    for vector in setup.all() {
        setup.ring(vector)?;
        setup.arrived(vector, 1)?;
    }
    Ok(())
}

/// An attached doorbell device and the counts of its handlers at the start.
struct Setup<'m, M: Machine> {
    machine: &'m M,
    function: Function<'m, M::Config>,
    device: M::Device,
    own: PeerId,
    vectors: u16,
    start: [u32; MAX_VECTORS as usize],
}

impl<'m, M: Machine> Setup<'m, M> {
    fn new(machine: &'m M) -> Result<Self, Failure> {
        let function = device(machine)?;
        let device = attach(machine, &function, MAX_VECTORS)?;
        let own = device.position()?;
        let vectors = device.msix()?.vectors().min(MAX_VECTORS);
        Ok(Self {
            machine,
            function,
            own,
            vectors,
            device,
            start: core::array::from_fn(|v| machine.interrupts(VectorIndex(v as u16))),
        })
    }

    fn all(&self) -> impl Iterator<Item = VectorIndex> {
        (0..self.vectors).map(VectorIndex)
    }

    fn ring(&self, vector: VectorIndex) -> Result<(), Failure> {
        Ok(self.device.ring(self.own, vector)?)
    }

    fn count(&self, vector: VectorIndex) -> u32 {
        self.machine.interrupts(vector) - self.start[usize::from(vector.0)]
    }

    /// Waits until the handler of `vector` has run `times` times.
    fn arrived(&self, vector: VectorIndex, times: u32) -> Result<(), Failure> {
        let arrived = self.machine.wait(&mut || self.count(vector) >= times);
        ensure(
            arrived,
            format_args!(
                "the handler of vector {vector} ran {} times, {times} were awaited",
                self.count(vector)
            ),
        )
    }
}
