// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the driver must do, as one table of scenarios that runs on every backend there is.
//!
//! A backend is a [`Machine`]: the test kernel inside QEMU is one. A scenario
//! that behaves differently on two backends is a finding.
//!
//! [`party`] is what members of a region of channels do in guests and on the host alike, [`demo`] how they
//! converse for `cargo xtask demo`, [`mod@bench`] how fast they are,
//! [`traffic`] what trials have them exchange, [`pipe`] the streams of `ivshmem send` and `ivshmem recv`.

#![no_std]
#![deny(unsafe_code)]

pub mod bench;
pub mod demo;
mod failure;
mod intx;
mod late;
mod machine;
mod memory;
mod msix;
pub mod party;
pub mod pattern;
mod pci;
pub mod pipe;
mod puppet;
mod registers;
pub mod traffic;

pub use failure::{ensure, ensure_eq, Failure};
use machine::attach;
pub use machine::{device, LineCount, Machine};

/// An entry of the table.
#[derive(Debug)]
pub struct Scenario<M> {
    /// What `run=NAME` asks for.
    pub name: &'static str,
    /// One line that says what is shown.
    pub summary: &'static str,
    /// Runs it.
    pub run: fn(&mut M) -> Result<(), Failure>,
}

/// Returns the table.
pub const fn table<M: Machine>() -> [Scenario<M>; 17] {
    const fn entry<M>(
        name: &'static str,
        summary: &'static str,
        run: fn(&mut M) -> Result<(), Failure>,
    ) -> Scenario<M> {
        Scenario { name, summary, run }
    }
    [
        entry(
            "discover",
            "probe tells the parts and changes nothing",
            pci::discover,
        ),
        entry(
            "detach",
            "a detached function is as it was found, and attaches again",
            pci::detach,
        ),
        entry(
            "registers",
            "each register has its access rules",
            registers::registers,
        ),
        entry(
            "plain",
            "ivshmem-plain has memory and names what it lacks",
            registers::plain,
        ),
        entry(
            "msix-deliver",
            "each vector arrives at its own handler",
            msix::deliver,
        ),
        entry(
            "msix-mask",
            "masked is pending, unmasked is delivered once",
            msix::mask,
        ),
        entry(
            "msix-retarget",
            "a vector's message can be taken away and given back",
            msix::retarget,
        ),
        entry(
            "doorbell-absent",
            "a doorbell to nobody is harmless",
            msix::absent,
        ),
        entry(
            "late",
            "id and memory that come while the guest runs are awaited",
            late::late,
        ),
        entry(
            "intx-deliver",
            "each doorbell is one event of the interrupt line",
            intx::deliver,
        ),
        entry(
            "intx-mask",
            "masked is noted, unmasked raises the line once",
            intx::mask,
        ),
        entry(
            "intx-status",
            "a write raises the line, a read takes it down",
            intx::status,
        ),
        entry(
            "intx-coalesce",
            "doorbells that coalesce are counted in the status, in 8 bits",
            intx::coalesce,
        ),
        entry(
            "intx-shared",
            "two devices on a line get their own events only",
            intx::shared,
        ),
        entry(
            "memory",
            "the host sees every byte, and the guest the host's",
            memory::whole,
        ),
        entry(
            "memory-ends",
            "every power of two is its own place, up to the last word",
            memory::ends,
        ),
        entry(
            "puppet",
            "does what the host says on the serial line",
            puppet::puppet,
        ),
    ]
}
