// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenarios of the interrupt line, revision 0.
//!
//! The line is high while Interrupt Status and Interrupt Mask have a bit in common, and the handler's read of
//! the status takes it down. A device that wakes up to N doorbells at once stores N in the status (modulo
//! 256: QEMU 2.3, and 2.5 before its release).
//!
//! Doorbells come from the host, which alone can say how many the device will see at once. It answers `@ ring
//! device=D count=N` with `rung` when it has added N to the counter of an event of device D (the first is 0), and
//! the device has taken them in.

use ivshmem::pci::{find, Function};
use ivshmem::{DeviceError, InterruptStatus, Intx, PeerId, VectorIndex};

use crate::{attach, ensure, ensure_eq, Failure, LineCount, Machine};

/// Interrupt Status in the PCI Status register: the line would be high (PCI 3.0, 6.2.3).
const INTERRUPT: u16 = 1 << 3;

/// How long to wait for what must not come, in milliseconds.
const SILENCE: u32 = 20;

/// Takes each doorbell once, from others and from itself.
pub fn deliver<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let setup = Setup::new(machine, 0)?;
    let own = setup.device.position()?;
    for round in 1..=5 {
        setup.rung(1)?;
        setup.took(2 * round - 1, 1)?;
        let ring = setup.device.ring(own, VectorIndex(0));
        if own == PeerId(0) {
            // Without a server it is 0 as well, and would end the hypervisor.
            ensure_eq("a ring of its own", ring, Err(DeviceError::NoServer))?;
            setup.rung(1)?;
        }
        setup.took(2 * round, 1)?;
        ensure_eq("the line, afterwards", setup.is_high(), false)?;
    }
    setup.silent(10)
}

/// Notes doorbells under a mask, which raise the line when it lets them through.
pub fn mask<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let setup = Setup::new(machine, 0)?;
    let intx = setup.intx()?;
    intx.disable();
    setup.rung(1)?;
    setup.silent(0)?;
    intx.enable();
    setup.took(1, 1)?;
    setup.silent(1)?;
    // Any bit but the event's.
    intx.set_mask(!InterruptStatus::PEER);
    setup.rung(1)?;
    setup.silent(1)?;
    intx.set_mask(InterruptStatus::PEER);
    setup.took(2, 1)?;
    setup.silent(2)
}

/// Raises the line by writing the status, and takes it down by reading it.
pub fn status<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let setup = Setup::new(machine, 0)?;
    let intx = setup.intx()?;
    for (count, bits) in [1, 0x8000_0000, 0xffff_fffe, !0].into_iter().enumerate() {
        intx.raise(InterruptStatus::from_bits_retain(bits));
        setup.took(count as u32 + 1, bits)?;
    }
    setup.silent(4)?;
    let some = InterruptStatus::from_bits_retain(0x10);
    let others = InterruptStatus::from_bits_retain(0x0f);
    intx.set_mask(some);
    intx.raise(others);
    setup.silent(4)?;
    ensure_eq("status", intx.acknowledge(), Some(others))?;
    ensure_eq("status, read again", intx.acknowledge(), None)?;
    // The mask says whether the line is raised, not what a read shows and clears.
    intx.raise(some | others);
    setup.took(5, 0x1f)?;
    ensure_eq("status, taken already", intx.acknowledge(), None)?;
    setup.silent(5)
}

/// Sees how many doorbells have come at once in the status, and what its 8 bits make of it.
pub fn coalesce<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let setup = Setup::new(machine, 0)?;
    let intx = setup.intx()?;
    setup.rung(2)?;
    setup.took(1, 2)?;
    setup.silent(1)?;
    // Two have no bit in common with one.
    intx.set_mask(InterruptStatus::PEER);
    setup.rung(2)?;
    setup.silent(1)?;
    let two = InterruptStatus::from_bits_retain(2);
    ensure_eq("status of two, masked", intx.acknowledge(), Some(two))?;
    setup.rung(3)?;
    setup.took(2, 3)?;
    intx.enable();
    setup.rung(256)?;
    setup.silent(2)?;
    ensure_eq("status of 256", intx.acknowledge(), None)?;
    setup.rung(257)?;
    setup.took(3, 1)?;
    setup.silent(3)
}

/// Rings two devices on one line, one at a time and both at once.
pub fn shared<M: Machine>(machine: &mut M) -> Result<(), Failure> {
    let (first, second) = (Setup::new(machine, 0)?, Setup::new(machine, 1)?);
    for round in 1..=3 {
        first.rung(1)?;
        first.took(round, 1)?;
        second.silent(round - 1)?;
        second.rung(1)?;
        second.took(round, 1)?;
        first.silent(round)?;
    }
    for setup in [&first, &second] {
        let asked = setup.line().foreign;
        ensure(
            asked > 0,
            format_args!("the devices share no line: one was never asked for the other's event"),
        )?;
    }
    for setup in [&first, &second] {
        setup.silent(3)?;
        setup.intx()?.disable();
    }
    for setup in [&first, &second] {
        setup.rung(1)?;
        setup.silent(3)?;
    }
    // Both at once: the handler that the first raises may find the other's event as well.
    for setup in [&first, &second] {
        setup.intx()?.enable();
    }
    for setup in [&first, &second] {
        setup.took(4, 1)?;
        setup.silent(4)?;
    }
    Ok(())
}

/// An attached device whose line is served.
struct Setup<'m, M: Machine> {
    machine: &'m M,
    /// Which of the machine's devices it is.
    index: usize,
    function: Function<'m, M::Config>,
    device: M::Device,
}

impl<'m, M: Machine> Setup<'m, M> {
    fn new(machine: &'m M, index: usize) -> Result<Self, Failure> {
        let function = find(machine.config()).nth(index);
        let function = function.ok_or_else(|| {
            Failure::new(format_args!("fewer ivshmem devices than {}", index + 1))
        })?;
        let device = attach(machine, &function, 0)?;
        machine.take_line(&device, &function)?;
        device.intx()?.enable();
        Ok(Self {
            machine,
            index,
            function,
            device,
        })
    }

    fn intx(&self) -> Result<Intx<'_, M::Registers>, Failure> {
        Ok(self.device.intx()?)
    }

    fn line(&self) -> LineCount {
        self.machine.line(&self.device)
    }

    /// Returns whether the device holds the line high.
    fn is_high(&self) -> bool {
        self.function.status() & INTERRUPT != 0
    }

    /// Has the host ring `count` times at once.
    fn rung(&self, count: u32) -> Result<(), Failure> {
        let device = self.index;
        self.machine
            .say(format_args!("@ ring device={device} count={count}"));
        let mut line = [0; 16];
        let answer = self.machine.hear(&mut line)?;
        ensure(
            answer == "rung",
            format_args!("the host said `{answer}`, not `rung`"),
        )
    }

    /// Waits until the handler has taken `count` events, the last of them with `status`, and not more.
    fn took(&self, count: u32, status: u32) -> Result<(), Failure> {
        self.machine.wait(&mut || self.line().taken >= count);
        let line = self.line();
        ensure_eq("events", line.taken, count)?;
        ensure_eq("status of the last event", line.last_status, status)
    }

    /// Sees that there is no event beyond the `count` taken, and none that holds the line high.
    ///
    /// Afterwards no stray interrupt is on its way: a hypervisor that learns late of the end of one may repeat it, and
    /// the handler would take what is noted under a mask. Once it has answered two accesses it has learned of all.
    fn silent(&self, count: u32) -> Result<(), Failure> {
        self.is_high();
        self.is_high();
        self.machine.pause(SILENCE);
        ensure_eq("events in silence", self.line().taken, count)?;
        ensure_eq("the line in silence", self.is_high(), false)
    }
}
