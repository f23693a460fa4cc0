// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration space as memory, and machines with several segments and roots.

use std::ptr::NonNull;

use crate::support::bus::{FakeBus, FakeFunction};
use ivshmem::pci::{ConfigRegionAccess, ConfigSpace, Ecam, Function, PciAddress};

/// Memory of two buses, and the access to it as buses 4 and 5 of segment 2.
fn two_buses() -> (&'static mut [u32], Ecam) {
    let len = Ecam::mapping_len(&(4..=5));
    assert_eq!(len, 2 << 20);
    let words: Vec<u32> = vec![!0; len as usize / 4];
    let words = Box::leak(words.into_boxed_slice());
    let base = NonNull::from(&mut *words).cast();
    // SAFETY: ordinary memory of the length asked for, leaked, so valid for ever.
    (words, unsafe { Ecam::new(base, 2, 4..=5) })
}

fn read(ecam: &Ecam, address: PciAddress, offset: u16) -> u32 {
    // SAFETY: memory of this test.
    unsafe { ecam.read(address, offset) }
}

fn write(ecam: &Ecam, address: PciAddress, offset: u16, value: u32) {
    // SAFETY: memory of this test.
    unsafe { ecam.write(address, offset, value) }
}

#[test]
fn each_word_has_its_place() {
    let (words, ecam) = two_buses();
    let words = words.as_ptr();
    for (address, offset, place) in [
        (PciAddress::new(2, 4, 0, 0), 0, 0),
        (PciAddress::new(2, 4, 0, 0), 0xffc, 0xffc),
        (PciAddress::new(2, 4, 0, 7), 0x10, 0x7010),
        (PciAddress::new(2, 4, 31, 0), 4, 0xf_8004),
        (PciAddress::new(2, 5, 31, 7), 0xffc, 0x1f_fffc),
    ] {
        write(&ecam, address, offset, 0x1234_5678);
        // SAFETY: inside the leaked memory; no reference to it is in use.
        let word = unsafe { words.wrapping_add(place / 4).read_volatile() };
        assert_eq!(word, 0x1234_5678, "{address} {offset:#x}");
        assert_eq!(read(&ecam, address, offset), 0x1234_5678);
        write(&ecam, address, offset, !0);
    }
}

#[test]
fn what_is_outside_reads_all_ones_and_takes_nothing() {
    let (words, ecam) = two_buses();
    words.fill(0);
    let words = &*words;
    for (address, offset) in [
        (PciAddress::new(0, 4, 0, 0), 0),
        (PciAddress::new(2, 3, 0, 0), 0),
        (PciAddress::new(2, 6, 0, 0), 0),
        (PciAddress::new(2, 4, 0, 0), 0x1000),
        (PciAddress::new(2, 4, 0, 0), 0xffff),
    ] {
        assert_eq!(read(&ecam, address, offset), !0);
        write(&ecam, address, offset, 0x55);
    }
    assert!(words.iter().all(|word| *word == 0));
}

#[test]
fn an_empty_or_full_range_is_no_trap() {
    assert_eq!(Ecam::mapping_len(&(0..=255)), 256 << 20);
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 7..=3;
    assert_eq!(Ecam::mapping_len(&reversed), 1 << 20);
    // SAFETY: never accessed: no bus is inside.
    let ecam = unsafe { Ecam::new(NonNull::dangling(), 0, reversed) };
    for bus in [0, 3, 5, 7, 255] {
        assert_eq!(read(&ecam, PciAddress::new(0, bus, 0, 0), 0), !0);
    }
}

#[test]
fn functions_are_found_through_memory() {
    let (words, ecam) = two_buses();
    for (place, word) in FakeFunction::plain().words.into_iter().enumerate() {
        words[0x1_8000 / 4 + place] = word;
    }
    // SAFETY: ordinary memory takes reads and writes anywhere.
    let space = unsafe { ConfigSpace::new(ecam) };
    let found: Vec<_> = space
        .functions_from(2, 4)
        .map(|function| function.unwrap().address())
        .collect();
    assert_eq!(found, [PciAddress::new(2, 4, 3, 0)]);
    assert_eq!(space.functions().count(), 0, "segment 0 is elsewhere");
}

#[test]
fn roots_and_segments_are_walked_each_for_itself() {
    let other = || FakeFunction::new(0x8086, 1);
    let bus = FakeBus::default()
        .with((0, 1, 0), other().bridge(1))
        .with((1, 0, 0), other())
        .with((0x80, 0, 0), other().bridge(0x81))
        .with((0x81, 5, 0), other());
    let space = bus.space();
    let from = |segment, root| -> Vec<_> {
        let functions = space.functions_from(segment, root);
        functions
            .map(|function| function.unwrap().address().to_string())
            .collect()
    };
    assert_eq!(from(0, 0), ["0000:00:01.0", "0000:01:00.0"]);
    assert_eq!(from(0, 0x80), ["0000:80:00.0", "0000:81:05.0"]);
    assert_eq!(from(0, 1), ["0000:01:00.0"]);
    assert!(from(1, 0).is_empty());
}

#[test]
fn all_ones_is_nobody_whatever_else_answers() {
    let mut function = FakeFunction::plain();
    function.words[0] |= 0xffff;
    let bus = FakeBus::default().with((0, 1, 0), function);
    let space = bus.space();
    assert!(Function::at(&space, PciAddress::new(0, 0, 1, 0)).is_none());
    assert_eq!(space.functions().count(), 0);
}
