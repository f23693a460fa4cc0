// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether MSI-X works: the device rings itself on each vector that has a handler.

use core::fmt;

use ivshmem::{Attached, DeviceError, VectorIndex};
use ivshmem_scenarios::{Failure, Machine};

use super::{hypervisor::Hypervisor, report::Report};
use crate::{
    arch::{cpu, time},
    machine::KernelMachine,
    println,
};

/// Most vectors of one device that are tried; the kernel has handlers for a few such devices.
const MAX_TRIED: u16 = 32;

/// How long a doorbell may take: a loaded host is slow.
const LIMIT_NS: u64 = 5_000_000_000;

/// How often vector 0 is rung and awaited before the silence of the others counts. A hypervisor
/// takes its events in turns, so what was rung before comes by then.
const TURNS: u32 = 3;

/// How long the others are awaited after that.
const SETTLE_NS: u64 = 500_000_000;

/// Returns the number of vectors that `vectors=` allows.
///
/// # Errors
///
/// - It is not a number.
pub fn asked(machine: &KernelMachine) -> Result<Option<u16>, Failure> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|error| Failure::new(format_args!("vectors={text}: {error}")))
    };
    machine.argument("vectors").map(parse).transpose()
}

/// Returns how many of a device's `vectors` are to be tried.
pub fn tried(hypervisor: Hypervisor, asked: Option<u16>, vectors: u16) -> u16 {
    let harmless = match hypervisor {
        Hypervisor::Tcg => MAX_TRIED,
        Hypervisor::Kvm | Hypervisor::Other => 1,
    };
    asked.unwrap_or(harmless).min(MAX_TRIED).min(vectors)
}

/// Rings the first `tried` vectors of a device and says which arrive.
pub fn examine(
    machine: &KernelMachine,
    device: &Attached,
    hypervisor: Hypervisor,
    tried: u16,
    report: &mut Report,
) {
    let address = device.resources().address;
    let Ok(msix) = device.msix() else {
        println!(
            "  no MSI-X to try{}",
            match device.intx() {
                Ok(_) => "; its INTx line is not tried",
                Err(_) => "",
            }
        );
        println!("@ doctor address={address} vectors=0 tried=0 arrived=none dead=none");
        return;
    };
    let vectors = msix.vectors();
    let arrived = match ring_all(machine, device, tried) {
        Ok(arrived) => arrived,
        Err(error) => {
            report.fault(
                format_args!("{address}: it cannot ring itself: {error}"),
                format_args!("check that a server is connected to the device"),
            );
            return;
        }
    };
    let dead = Set(Set::first(tried).0 & !arrived.0);
    println!(
        "  of vectors 0 to {}, tried {tried}, arrived: {arrived}, dead: {dead}",
        vectors - 1
    );
    if tried < vectors {
        explain_untried(hypervisor, tried, vectors);
    }
    println!(
        "@ doctor address={address} vectors={vectors} tried={tried} arrived={arrived} dead={dead}"
    );
    let served = arrived.0.trailing_ones();
    if dead.0 == 0 {
        return;
    }
    if arrived.0 == 0 {
        report.fault(
            format_args!("{address}: no vector arrives"),
            format_args!(
                "check that the server serves vectors (ivshmem server --vectors {vectors}) and \
                 that every bridge above the device has bus master on"
            ),
        );
    } else if arrived == Set::first(served as u16) {
        report.fault(
            format_args!("{address}: vectors {dead} never arrive, the server serves {served}"),
            format_args!(
                "start the server with --vectors {vectors}, or the device with vectors={served}; \
                 until then never unmask them, under KVM QEMU 7.2 aborts"
            ),
        );
    } else {
        report.fault(
            format_args!("{address}: vectors {dead} never arrive, but higher ones do"),
            format_args!("check the server: it must send one eventfd for each vector, in order"),
        );
    }
}

/// Says why not all were tried.
fn explain_untried(hypervisor: Hypervisor, tried: u16, vectors: u16) {
    println!(
        "  vectors {tried} to {} were not tried and may be dead",
        vectors - 1
    );
    if hypervisor != Hypervisor::Tcg {
        println!(
            "  (outside TCG a vector is unmasked only on demand: under KVM QEMU 7.2 aborts if \
             the server does not serve it; say vectors=N for the N that it serves)"
        );
    }
}

/// Rings the first `tried` vectors and returns those whose handlers ran.
fn ring_all(machine: &KernelMachine, device: &Attached, tried: u16) -> Result<Set, DeviceError> {
    let own = device.position()?;
    let count = |vector| machine.interrupts(VectorIndex(vector));
    let before: [u32; MAX_TRIED as usize] = core::array::from_fn(|vector| count(vector as u16));
    for vector in (0..tried).rev() {
        device.ring(own, VectorIndex(vector))?;
    }
    if tried == 0 {
        return Ok(Set(0));
    }
    for _ in 0..TURNS {
        let seen = count(0);
        device.ring(own, VectorIndex(0))?;
        if !cpu::wait_until(time::now_ns() + LIMIT_NS, || count(0) != seen) {
            break;
        }
    }
    let arrived = || {
        let ran = (0..tried).filter(|&vector| count(vector) != before[usize::from(vector)]);
        Set(ran.fold(0, |set, vector| set | 1 << vector))
    };
    cpu::wait_until(time::now_ns() + SETTLE_NS, || {
        arrived() == Set::first(tried)
    });
    Ok(arrived())
}

/// A set of vectors below [`MAX_TRIED`], one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set(u64);

impl Set {
    /// Returns the set of the first `count` vectors.
    const fn first(count: u16) -> Self {
        Self((1 << count) - 1)
    }
}

/// As `0,2,3` or `none`.
impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("none");
        }
        let vectors = (0..MAX_TRIED).filter(|vector| self.0 & 1 << vector != 0);
        for (index, vector) in vectors.enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{vector}")?;
        }
        Ok(())
    }
}
