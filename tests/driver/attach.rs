// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attach and detach: what is mapped how, what is in the MSI-X table, and that every failure leaves no trace.

use crate::support::bus::{FakeBus, FakeFunction};
use crate::support::kernel::{FakeKernel, Refused};
use ivshmem::pci::{Function, PciAddress};
use ivshmem::{attach, AttachError, CachePolicy, DeviceError, PeerId, VectorIndex};

const AT: (u8, u8, u8) = (0, 4, 0);
const REGISTERS: u64 = 0xfebf_1000;
const TABLE: u64 = 0xfebf_0000;
const MEMORY: u64 = 0xfea0_0000;
const COMMAND: usize = 1;
const MSIX_CONTROL: usize = 0x40 / 4;

fn bus(function: FakeFunction) -> FakeBus {
    FakeBus::default().with(AT, function)
}

/// Address, data and vector control of an entry of the MSI-X table.
fn entry(kernel: &FakeKernel, vector: u64) -> (u64, u32, u32) {
    let at = TABLE + 16 * vector;
    let address = u64::from(kernel.word(at + 4)) << 32 | u64::from(kernel.word(at));
    (address, kernel.word(at + 8), kernel.word(at + 12))
}

#[test]
fn a_doorbell_comes_up_and_goes_down() {
    let bus = bus(FakeFunction::doorbell(3));
    let before = bus.words(AT);
    let space = bus.space();
    let function = Function::at(&space, PciAddress::new(0, 0, 4, 0)).unwrap();
    let mut kernel = FakeKernel::new(2);
    let device = attach(&function, &mut kernel).unwrap();

    let caches: Vec<_> = kernel
        .mappings
        .iter()
        .map(|m| (m.region.start, m.cache))
        .collect();
    assert_eq!(
        caches,
        [
            (REGISTERS, CachePolicy::Uncached),
            (MEMORY, CachePolicy::WriteBack),
            (TABLE, CachePolicy::Uncached),
        ]
    );
    let masked = |control: u32| control & 1 != 0;
    for vector in 0..2 {
        let (address, data, control) = entry(&kernel, vector);
        assert_eq!((address, data), (0xfee0_1000, 0x40 + vector as u32));
        assert!(!masked(control), "vector {vector}");
    }
    let (address, _, control) = entry(&kernel, 2);
    assert_eq!(address, 0, "no message, no leftovers");
    assert!(masked(control), "a vector without a message stays masked");
    assert_eq!(control | 1, 0x5555_5555, "reserved bits are preserved");
    let words = bus.words(AT);
    assert_eq!(
        words[COMMAND] & 0x407,
        0x407,
        "io, memory, bus master, no intx"
    );
    assert_eq!(words[MSIX_CONTROL] >> 30, 0b10, "enabled, not masked");

    device.ring(PeerId(3), VectorIndex(1)).unwrap();
    assert_eq!(kernel.word(REGISTERS + 0xc), 0x0003_0001);
    device.memory().write(0, &[0xaa; 8]).unwrap();
    assert_eq!(kernel.word(MEMORY + 4), 0xaaaa_aaaa);

    // SAFETY: the same function and kernel as for attach.
    unsafe { device.detach(&function, &mut kernel) };
    assert!(kernel.mappings.is_empty());
    assert_eq!(bus.words(AT), before);
}

#[test]
fn a_plain_device_has_memory_and_says_what_it_lacks() {
    let mut function = FakeFunction::plain();
    function.words[COMMAND] = 0;
    let bus = bus(function);
    let space = bus.space();
    let function = Function::at(&space, PciAddress::new(0, 0, 4, 0)).unwrap();
    let device = attach(&function, &mut FakeKernel::new(4)).unwrap();
    assert_eq!(device.memory().len(), 0x10_0000);
    assert_eq!(device.position(), Err(DeviceError::NoInterrupts));
    assert_eq!(
        device.ring(PeerId(0), VectorIndex(0)),
        Err(DeviceError::NoInterrupts)
    );
    assert_eq!(device.msix().unwrap_err(), DeviceError::NoInterrupts);
    assert_eq!(
        bus.words(AT)[COMMAND] & 0x406,
        0x6,
        "decoding and bus master on, intx as it was"
    );
}

#[test]
fn every_failure_leaves_the_function_as_found_and_nothing_mapped() {
    for maps_left in 0..3 {
        let bus = bus(FakeFunction::doorbell(3));
        let before = bus.words(AT);
        let space = bus.space();
        let function = Function::at(&space, PciAddress::new(0, 0, 4, 0)).unwrap();
        let mut kernel = FakeKernel::new(3);
        kernel.maps_left = Some(maps_left);
        let error = attach(&function, &mut kernel).unwrap_err();
        assert!(matches!(error, AttachError::Map { error: Refused, .. }));
        assert!(kernel.mappings.is_empty(), "after {maps_left} mappings");
        assert_eq!(bus.words(AT), before);
    }
    for vector in 0..3 {
        let bus = bus(FakeFunction::doorbell(3));
        let before = bus.words(AT);
        let space = bus.space();
        let function = Function::at(&space, PciAddress::new(0, 0, 4, 0)).unwrap();
        let mut kernel = FakeKernel::new(3);
        kernel.refused_vector = Some(VectorIndex(vector));
        let error = attach(&function, &mut kernel).unwrap_err();
        assert_eq!(
            error,
            AttachError::Msi {
                vector: VectorIndex(vector),
                error: Refused
            }
        );
        assert!(kernel.mappings.is_empty());
        assert_eq!(bus.words(AT), before);
    }
}

#[test]
fn tables_in_a_bar_of_their_own_or_beside_the_registers_are_mapped_once() {
    let own_bars = FakeFunction::doorbell(2)
        .msix(2, (1, 0), (4, 0x40))
        .memory32(4, 0xfebf_2000, 0x1000);
    let with_registers = FakeFunction::doorbell(2)
        .memory32(0, 0xfebf_1000, 0x1000)
        .msix(2, (0, 0x800), (0, 0xc00));
    for (function, mappings) in [(own_bars, 4), (with_registers, 2)] {
        let bus = bus(function);
        let space = bus.space();
        let function = Function::at(&space, PciAddress::new(0, 0, 4, 0)).unwrap();
        let mut kernel = FakeKernel::new(2);
        let device = attach(&function, &mut kernel).unwrap();
        assert_eq!(kernel.mappings.len(), mappings);
        assert_eq!(device.msix().unwrap().is_masked(VectorIndex(1)), Ok(false));
    }
}
