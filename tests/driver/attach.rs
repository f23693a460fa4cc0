// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attach and detach: the order of the steps, what is mapped how, and that every failure leaves no trace.

use crate::support::bus::{FakeBus, FakeFunction};
use crate::support::kernel::{Event, FakeKernel, Refused, Request};
use ivshmem::pci::{Function, PciAddress};
use ivshmem::{
    attach, attach_with, AttachError, Attached, CachePolicy, DeviceError, Feature, Flavour, PeerId,
    Quirks, VectorIndex,
};

const AT: (u8, u8, u8) = (0, 4, 0);
const REGISTERS: u64 = 0xfebf_1000;
const TABLE: u64 = 0xfebf_0000;
const MEMORY: u64 = 0xfea0_0000;
const COMMAND: usize = 1;
const MSIX_CONTROL: usize = 0x40 / 4;
/// Command bits.
const MEMORY_DECODE: u32 = 1 << 1;
const BUS_MASTER: u32 = 1 << 2;
const INTX_DISABLE: u32 = 1 << 10;
/// Bits of MSI-X Message Control.
const ENABLE: u32 = 1 << 15;
const FUNCTION_MASK: u32 = 1 << 14;

/// A bus with `function` as firmware that does nothing but assign BARs leaves it.
fn bus(mut function: FakeFunction) -> FakeBus {
    function.words[COMMAND] &= 0xffff_0000;
    FakeBus::default().with(AT, function)
}

/// Runs `test` with the function, a kernel with `vectors` vectors, and the words of the function before.
fn with_function(
    bus: &FakeBus,
    vectors: u16,
    test: impl FnOnce(&Function<'_, &FakeBus>, &mut FakeKernel<'_>),
) {
    let before = bus.words(AT);
    let space = bus.space();
    let function = Function::at(&space, PciAddress::new(0, AT.0, AT.1, AT.2)).unwrap();
    let mut kernel = FakeKernel::new(bus, AT, vectors);
    test(&function, &mut kernel);
    assert!(kernel.mappings.is_empty(), "something stays mapped");
    assert_eq!(bus.words(AT), before, "the function is not as it was found");
}

/// Detaches, and checks that the device was silent before configuration space was restored, and that before unmapping.
fn detach(device: Attached, function: &Function<'_, &FakeBus>, kernel: &mut FakeKernel<'_>) {
    let (start, order) = (kernel.events.len(), kernel.mappings.len());
    // SAFETY: the same function and kernel as for attach.
    unsafe { device.detach(function, kernel) };
    assert_eq!(
        kernel.events.len(),
        start + order,
        "one unmap for each mapping"
    );
    assert_silent(kernel);
}

/// Checks that the MSI-X table was masked and empty when it was unmapped, with configuration space restored.
fn assert_silent(kernel: &FakeKernel<'_>) {
    for event in &kernel.events {
        if let Request::Unmap(_) = event.request {
            assert_eq!(
                (event.command, event.msix_control & 0xc000),
                (0, 0),
                "{event:?}"
            );
        }
    }
    for (start, words) in &kernel.last_words {
        let entries = if *start == TABLE { 3 } else { 0 };
        for entry in words.chunks(4).take(entries) {
            assert_eq!((entry[0], entry[1], entry[3] & 1), (0, 0, 1), "{entry:x?}");
        }
    }
}

/// Address, data and vector control of an entry of the MSI-X table.
fn entry(kernel: &FakeKernel<'_>, vector: u64) -> (u64, u32, u32) {
    let at = TABLE + 16 * vector;
    let address = u64::from(kernel.word(at + 4)) << 32 | u64::from(kernel.word(at));
    (address, kernel.word(at + 8), kernel.word(at + 12))
}

#[test]
fn the_steps_come_in_their_order() {
    let bus = bus(FakeFunction::doorbell(3));
    with_function(&bus, 2, |function, kernel| {
        let device = attach(function, kernel).unwrap();
        let requests: Vec<_> = kernel.events.iter().map(|event| event.request).collect();
        let expected = [
            Request::Map(REGISTERS, CachePolicy::Uncached),
            Request::Map(MEMORY, CachePolicy::WriteBack),
            Request::Map(TABLE, CachePolicy::Uncached),
            Request::Msi(0),
            Request::Msi(1),
            Request::Msi(2),
        ];
        assert_eq!(requests, expected);
        for Event {
            request,
            command,
            msix_control,
        } in &kernel.events
        {
            let bits = command & (MEMORY_DECODE | BUS_MASTER);
            assert_eq!(bits, MEMORY_DECODE, "{request:?}: decoding, no bus master");
            if let Request::Msi(_) = request {
                assert_eq!(msix_control & 0xc000, ENABLE | FUNCTION_MASK, "{request:?}");
            }
        }
        let writes = bus.writes.borrow();
        let [.., (COMMAND, command), (MSIX_CONTROL, control)] = writes[..] else {
            panic!("bus master, then the end of the function mask, are the last: {writes:x?}");
        };
        assert_eq!(command, MEMORY_DECODE | BUS_MASTER | INTX_DISABLE);
        assert_eq!(control >> 16 & 0xc000, ENABLE);
        drop(writes);
        let entries: Vec<_> = (0..3).map(|vector| entry(kernel, vector)).collect();
        let live = 0x5555_5554;
        assert_eq!(
            entries,
            [
                (0xfee0_1000, 0x40, live),
                (0xfee0_1000, 0x41, live),
                (0, 0, live | 1)
            ],
            "reserved bits are kept; no message means masked and no leftovers"
        );
        detach(device, function, kernel);
        let unmapped: Vec<_> = kernel.last_words.iter().map(|(start, _)| *start).collect();
        assert_eq!(unmapped, [TABLE, MEMORY, REGISTERS], "last first");
    });
}

#[test]
fn the_device_works_through_its_mappings() {
    let bus = bus(FakeFunction::doorbell(3));
    with_function(&bus, 3, |function, kernel| {
        let device = attach(function, kernel).unwrap();
        assert_eq!(device.flavour(), Flavour::Doorbell);
        device.ring(PeerId(3), VectorIndex(1)).unwrap();
        assert_eq!(kernel.word(REGISTERS + 0xc), 0x0003_0001);
        device.memory().write(0, &[0xaa; 8]).unwrap();
        assert_eq!(kernel.word(MEMORY + 4), 0xaaaa_aaaa);
        device.mask_all(function).unwrap();
        assert_eq!(bus.words(AT)[MSIX_CONTROL] >> 30, 0b11);
        device.unmask_all(function).unwrap();
        assert_eq!(bus.words(AT)[MSIX_CONTROL] >> 30, 0b10);
        detach(device, function, kernel);
    });
}

#[test]
fn a_plain_device_has_memory_and_says_what_it_lacks() {
    let bus = bus(FakeFunction::plain());
    with_function(&bus, 4, |function, kernel| {
        let device = attach(function, kernel).unwrap();
        assert_eq!(device.memory().len(), 0x10_0000);
        let lacks = |feature| DeviceError::Lacks {
            flavour: Flavour::Plain,
            feature,
        };
        assert_eq!(device.position(), Err(lacks(Feature::Id)));
        let ring = device.ring(PeerId(0), VectorIndex(0));
        assert_eq!(ring, Err(lacks(Feature::Doorbell)));
        assert_eq!(device.msix().unwrap_err(), lacks(Feature::Msix));
        assert_eq!(device.intx().unwrap_err(), lacks(Feature::Intx));
        assert_eq!(device.mask_all(function), Err(lacks(Feature::Msix)));
        let command = bus.words(AT)[COMMAND];
        assert_eq!(command & 0xffff, MEMORY_DECODE | BUS_MASTER);
        detach(device, function, kernel);
    });
}

#[test]
fn a_device_without_registers_or_with_dead_ones_says_so() {
    let mut without = FakeFunction::plain();
    without.words[4] = 0;
    without.writable[4] = 0;
    let bus_without = bus(without);
    with_function(&bus_without, 0, |function, kernel| {
        let device = attach(function, kernel).unwrap();
        let lacks = DeviceError::Lacks {
            flavour: Flavour::Plain,
            feature: Feature::Registers,
        };
        assert_eq!(device.registers().map(drop), Err(lacks));
        device.memory().write(0, b"still there").unwrap();
        detach(device, function, kernel);
    });
    let bus = bus(FakeFunction::doorbell(3));
    with_function(&bus, 3, |function, kernel| {
        let device = attach_with(function, kernel, Quirks::INERT_REGISTERS).unwrap();
        let lacks = |feature| DeviceError::Lacks {
            flavour: Flavour::Doorbell,
            feature,
        };
        assert_eq!(device.position(), Err(lacks(Feature::Id)));
        let ring = device.ring(PeerId(1), VectorIndex(0));
        assert_eq!(ring, Err(lacks(Feature::Doorbell)));
        assert!(device.msix().is_ok(), "the host's interrupts arrive");
        detach(device, function, kernel);
    });
}

#[test]
fn revision_0_is_left_with_its_line_allowed_and_its_mask_closed() {
    let bus = bus(FakeFunction::legacy());
    with_function(&bus, 0, |function, kernel| {
        let device = attach(function, kernel).unwrap();
        assert_eq!(device.flavour(), Flavour::Legacy);
        let command = bus.words(AT)[COMMAND];
        assert_eq!(command & INTX_DISABLE, 0);
        assert_eq!(kernel.word(REGISTERS), 0, "mask");
        device.intx().unwrap().enable();
        assert_eq!(kernel.word(REGISTERS), !0);
        detach(device, function, kernel);
        let registers = kernel.last_words.iter().find(|(at, _)| *at == REGISTERS);
        assert_eq!(registers.unwrap().1[0], 0, "the line is let go");
    });
}

#[test]
fn every_failure_leaves_the_function_as_found_and_nothing_mapped() {
    for maps_left in 0..3 {
        let bus = bus(FakeFunction::doorbell(3));
        with_function(&bus, 3, |function, kernel| {
            kernel.maps_left = Some(maps_left);
            let error = attach(function, kernel).unwrap_err();
            assert!(matches!(error, AttachError::Map { error: Refused, .. }));
            assert_silent(kernel);
        });
    }
    for vector in (0..3).map(VectorIndex) {
        let bus = bus(FakeFunction::doorbell(3));
        with_function(&bus, 3, |function, kernel| {
            kernel.refused_vector = Some(vector);
            let error = attach(function, kernel).unwrap_err();
            let refused = AttachError::Msi {
                vector,
                error: Refused,
            };
            assert_eq!(error, refused);
            assert_silent(kernel);
        });
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
        with_function(&bus, 2, |function, kernel| {
            let device = attach(function, kernel).unwrap();
            assert_eq!(kernel.mappings.len(), mappings);
            assert_eq!(device.msix().unwrap().is_masked(VectorIndex(1)), Ok(false));
            // SAFETY: the same function and kernel as for attach.
            unsafe { device.detach(function, kernel) };
        });
    }
}

#[test]
fn all_2048_vectors_are_programmed_and_silenced() {
    let function = FakeFunction::doorbell(2048)
        .memory32(1, TABLE as u32 & !0xffff, 0x1_0000)
        .memory32(0, 0xfe00_0000, 0x100)
        .msix(2048, (1, 0), (1, 0x8000));
    let bus = bus(function);
    with_function(&bus, 2048, |function, kernel| {
        let device = attach(function, kernel).unwrap();
        let msix = device.msix().unwrap();
        assert_eq!(msix.vectors(), 2048);
        let last = VectorIndex(2047);
        assert_eq!(msix.is_masked(last), Ok(false));
        // SAFETY: the same function and kernel as for attach.
        unsafe { device.detach(function, kernel) };
        let (_, words) = kernel
            .last_words
            .iter()
            .find(|(_, words)| words.len() == 0x4000)
            .unwrap();
        let silent = words
            .chunks(4)
            .take(2048)
            .all(|entry| entry[0] == 0 && entry[3] & 1 == 1);
        assert!(silent);
    });
}

#[test]
fn a_vanished_device_is_gone_and_detaches() {
    let bus = bus(FakeFunction::doorbell(3));
    let space = bus.space();
    let function = Function::at(&space, PciAddress::new(0, AT.0, AT.1, AT.2)).unwrap();
    let mut kernel = FakeKernel::new(&bus, AT, 3);
    let device = attach(&function, &mut kernel).unwrap();
    assert_eq!(device.ensure_present(&function), Ok(()));
    let other = bus_with_two();
    let other_space = other.space();
    let stranger = Function::at(&other_space, PciAddress::new(0, 0, 5, 0)).unwrap();
    assert_eq!(device.ensure_present(&stranger), Err(DeviceError::Gone));
    bus.unplug(AT);
    assert_eq!(device.ensure_present(&function), Err(DeviceError::Gone));
    assert_eq!(device.mask_all(&function), Err(DeviceError::Gone));
    let mut elsewhere = FakeKernel::new(&other, AT, 0);
    std::mem::swap(&mut elsewhere.mappings, &mut kernel.mappings);
    // SAFETY: the function that was attached, and a kernel that has its mappings.
    unsafe { device.detach(&function, &mut elsewhere) };
    assert!(elsewhere.mappings.is_empty());
}

/// A bus that still has the device, and another.
fn bus_with_two() -> FakeBus {
    bus(FakeFunction::doorbell(3)).with((0, 5, 0), FakeFunction::plain())
}

#[test]
fn several_devices_are_attached_at_once() {
    let second = FakeFunction::plain()
        .memory32(0, 0xfebe_0000, 0x100)
        .memory64(2, 0x8_0000_0000, 0x1000);
    let bus = bus(FakeFunction::doorbell(3)).with((0, 5, 0), second);
    let space = bus.space();
    let mut kernel = FakeKernel::new(&bus, AT, 3);
    let devices: Vec<_> = ivshmem::pci::find(&space)
        .map(|function| (function, attach(&function, &mut kernel).unwrap()))
        .collect();
    let flavours: Vec<_> = devices.iter().map(|(_, device)| device.flavour()).collect();
    assert_eq!(flavours, [Flavour::Doorbell, Flavour::Plain]);
    devices[1].1.memory().write(0, b"second").unwrap();
    let mut first = [0; 6];
    devices[0].1.memory().read(0, &mut first).unwrap();
    assert_ne!(&first, b"second");
    for (function, device) in devices {
        // SAFETY: the same functions and kernel as for attach.
        unsafe { device.detach(&function, &mut kernel) };
    }
    assert!(kernel.mappings.is_empty());
}
