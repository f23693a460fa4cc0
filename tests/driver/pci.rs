// SPDX-License-Identifier: MIT OR Apache-2.0
//! Enumeration, BAR sizing, capabilities and probe against configuration spaces good and bad.

use crate::support::bus::{FakeBus, FakeFunction};
use ivshmem::pci::{
    find, probe, BarError, BarKind, CapabilityError, EnumerateError, Function, HeaderKind,
    MsixError, PciAddress, ProbeError,
};
use ivshmem::PhysRegion;

const AT: (u8, u8, u8) = (0, 4, 0);

fn address() -> PciAddress {
    PciAddress::new(0, AT.0, AT.1, AT.2)
}

/// Places visited by enumeration, errors included.
fn visited(bus: &FakeBus) -> Vec<Result<String, EnumerateError>> {
    let space = bus.space();
    let functions = space.functions();
    functions
        .map(|f| f.map(|f| f.address().to_string()))
        .collect()
}

fn other() -> FakeFunction {
    FakeFunction::new(0x8086, 0x1237)
}

#[test]
fn enumeration_reaches_everything_behind_bridges_once() {
    let bus = FakeBus::default()
        .with((0, 0, 0), other())
        .with((0, 2, 0), other().multi_function())
        .with((0, 2, 5), other())
        .with((0, 3, 1), other())
        .with((0, 31, 7), other().bridge(2))
        .with((0, 31, 0), other().multi_function())
        .with((2, 31, 0), other().bridge(255))
        .with((255, 31, 0), other());
    let seen: Vec<_> = visited(&bus).into_iter().map(Result::unwrap).collect();
    assert_eq!(
        seen,
        [
            "0000:00:00.0",
            "0000:00:02.0",
            "0000:00:02.5",
            "0000:00:1f.0",
            "0000:00:1f.7",
            "0000:02:1f.0",
            "0000:ff:1f.0",
        ],
        "function 1 of a device without function 0 is not there"
    );
}

#[test]
fn an_unnumbered_bridge_is_listed_and_leads_nowhere() {
    let bus = FakeBus::default().with((0, 1, 0), other().bridge(0));
    assert_eq!(visited(&bus), [Ok("0000:00:01.0".into())]);
}

#[test]
fn bridges_that_point_back_or_share_a_bus_are_errors_for_themselves() {
    let bus = FakeBus::default()
        .with((0, 1, 0), other().bridge(1))
        .with((0, 2, 0), other().bridge(1))
        .with((1, 0, 0), other().bridge(1))
        .with((1, 1, 0), other());
    let taken = |at: (u8, u8), secondary| {
        Err(EnumerateError::BusTaken {
            address: PciAddress::new(0, at.0, at.1, 0),
            secondary,
        })
    };
    assert_eq!(
        visited(&bus),
        [
            Ok("0000:00:01.0".into()),
            taken((0, 2), 1),
            taken((1, 0), 1),
            Ok("0000:01:01.0".into())
        ]
    );
}

#[test]
fn an_unknown_header_is_an_error_and_the_next_function_is_found() {
    let mut broken = other();
    broken.words[3] |= 0x7f << 16;
    let bus = FakeBus::default()
        .with((0, 1, 0), broken)
        .with((0, 2, 0), other());
    assert_eq!(
        visited(&bus),
        [
            Err(EnumerateError::UnknownHeader {
                address: PciAddress::new(0, 0, 1, 0),
                kind: HeaderKind(0x7f)
            }),
            Ok("0000:00:02.0".into())
        ]
    );
}

#[test]
fn every_size_is_right_and_configuration_space_is_untouched() {
    let sizes = (4..40).map(|shift| 1_u64 << shift);
    for size in sizes {
        let address_of_bar = 0x80_0000_0000;
        let mut function = other().memory64(2, address_of_bar, size);
        // Error bits in Status clear when ones are written; sizing must not.
        function.words[1] = 0xf900_0107;
        let bus = FakeBus::default().with(AT, function);
        let before = bus.words(AT);
        let space = bus.space();
        let function = Function::at(&space, address()).unwrap();
        let bar = function.bar(2).unwrap().unwrap();
        assert_eq!(
            (bar.size, bar.address, bar.kind, bar.prefetchable),
            (size, address_of_bar, BarKind::Memory64, true)
        );
        assert_eq!(bus.words(AT), before, "{size:#x}");
        assert_eq!(
            function.bar(3),
            Ok(None),
            "the upper half is no bar of its own"
        );
    }
}

#[test]
fn small_bars_of_every_kind() {
    let mut function = other()
        .memory32(0, 0x8000_0000, 0x8000_0000)
        .memory32(5, 0, 16);
    function.words[5] = 0xc005;
    function.writable[5] = 0xfffc;
    // Below 1 MiB, as PCI before 2.2 could say.
    function.words[6] = 0x000a_0002;
    function.writable[6] = 0x000f_0000;
    let bus = FakeBus::default().with(AT, function);
    let before = bus.words(AT);
    let space = bus.space();
    let bars: Vec<_> = Function::at(&space, address())
        .unwrap()
        .bars()
        .map(|bar| bar.map(|b| (b.index, b.kind, b.address, b.size)))
        .collect();
    assert_eq!(
        bars,
        [
            Ok((0, BarKind::Memory32, 0x8000_0000, 0x8000_0000)),
            Ok((1, BarKind::Io, 0xc004, 4)),
            Ok((2, BarKind::Memory32, 0xa_0000, 0x1_0000)),
            Ok((5, BarKind::Memory32, 0, 16)),
        ]
    );
    assert_eq!(bus.words(AT), before);
}

#[test]
fn nonsense_in_one_bar_leaves_the_others_readable() {
    let mut function = other().memory32(1, 0x1000_0000, 0x1000);
    function.words[4] = 0x6;
    function.words[9] = 0x4;
    let bus = FakeBus::default().with(AT, function);
    let space = bus.space();
    let bars: Vec<_> = Function::at(&space, address()).unwrap().bars().collect();
    assert_eq!(bars[0], Err(BarError::ReservedType { index: 0, raw: 6 }));
    assert_eq!(bars[1].unwrap().size, 0x1000);
    assert_eq!(bars[2], Err(BarError::NoUpperHalf { index: 5, raw: 4 }));
    assert_eq!(bars.len(), 3);
}

#[test]
fn capability_lists_end() {
    let mut ring = other();
    ring.words[1] |= 1 << 20;
    ring.words[0x34 / 4] = 0x40;
    ring.words[0x40 / 4] = 0x4001;
    let mut into_header = ring.clone();
    into_header.words[0x40 / 4] = 0x0401;
    for (function, end) in [
        (ring, CapabilityError::Endless),
        (into_header, CapabilityError::InHeader { offset: 4 }),
    ] {
        let bus = FakeBus::default().with(AT, function);
        let space = bus.space();
        let function = Function::at(&space, address()).unwrap();
        let list: Vec<_> = function.capabilities().collect();
        assert_eq!(list.last(), Some(&Err(end)));
        assert_eq!(function.msix(), Err(end));
        assert!(*bus.reads.borrow() < 200);
    }
}

#[test]
fn capabilities_are_read_as_the_header_says() {
    let mut function = other();
    function.words[0x34 / 4] = 0x43;
    // Forty-eight entries, the most there can be, ending in MSI-X with 2048 vectors.
    for index in 0..48 {
        function.words[0x40 / 4 + index] = 0x0005 | ((0x44 + 4 * index as u32) & 0xff) << 8;
    }
    function.words[0xf4 / 4] = 0x07ff_0011;
    let no_list = FakeBus::default().with(AT, function.clone());
    let space = no_list.space();
    let silent = Function::at(&space, address()).unwrap();
    assert_eq!(silent.capabilities().count(), 0, "the status bit decides");
    function.words[1] |= 1 << 20;
    let bus = FakeBus::default().with(AT, function.clone());
    let space = bus.space();
    let found = Function::at(&space, address()).unwrap();
    assert_eq!(found.capabilities().next().unwrap().unwrap().offset, 0x40);
    let msix = found.msix().unwrap().unwrap();
    assert_eq!((msix.offset, msix.vectors), (0xf4, 2048));
    function.words[0xf4 / 4] = 0x0005_0005 | 0xf800;
    function.words[0xf8 / 4] = 0x07ff_0011;
    let bus = FakeBus::default().with(AT, function);
    let space = bus.space();
    let cut_off = Function::at(&space, address()).unwrap();
    assert_eq!(cut_off.msix(), Ok(None), "the structure does not fit");
}

#[test]
fn host_bridges_are_not_sized() {
    let mut function = other().memory32(0, 0x1000_0000, 0x1000);
    function.words[2] = 0x0600_0000;
    let bus = FakeBus::default().with(AT, function);
    let space = bus.space();
    let bridge = Function::at(&space, address()).unwrap();
    assert_eq!(bridge.bars().count(), 0);
    assert!(bus.writes.borrow().is_empty());
}

fn probed(function: FakeFunction) -> Result<ivshmem::pci::Resources, ProbeError> {
    let bus = FakeBus::default().with(AT, function);
    let before = bus.words(AT);
    let space = bus.space();
    let result = probe(&Function::at(&space, address()).unwrap());
    assert_eq!(bus.words(AT), before, "probe changes nothing");
    result
}

#[test]
fn probe_finds_the_parts_of_a_doorbell() {
    let resources = probed(FakeFunction::doorbell(3)).unwrap();
    assert_eq!(resources.revision, 1);
    let region = |start, len| PhysRegion { start, len };
    assert_eq!(resources.registers, Some(region(0xfebf_1000, 0x100)));
    assert_eq!(resources.shared_memory, region(0xfea0_0000, 0x10_0000));
    let msix = resources.msix.unwrap();
    assert_eq!(msix.capability.vectors, 3);
    assert_eq!(msix.table_bar, region(0xfebf_0000, 0x1000));
    assert_eq!(msix.pending_bar, msix.table_bar);
    assert_eq!(probed(FakeFunction::plain()).unwrap().msix, None);
}

#[test]
fn probe_refuses_what_it_cannot_drive() {
    let msix = |table, pending| FakeFunction::doorbell(2).msix(2, table, pending);
    let place = |bar: u8, offset| ivshmem::pci::TablePlace { bar, offset };
    let cases = [
        (
            FakeFunction::new(0x1af4, 0x1111),
            ProbeError::NotIvshmem {
                vendor: 0x1af4,
                device: 0x1111,
            },
        ),
        (
            FakeFunction::new(0x1af4, 0x1110),
            ProbeError::NoMemoryBar { index: 2 },
        ),
        (
            FakeFunction::plain().memory64(2, !0xfffff, 0x10_0000),
            ProbeError::BeyondAddressSpace {
                index: 2,
                address: !0xfffff,
            },
        ),
        (
            FakeFunction::plain().memory64(2, 1 << 63, 1 << 63),
            ProbeError::BeyondAddressSpace {
                index: 2,
                address: 1 << 63,
            },
        ),
        (
            FakeFunction::plain().memory64(2, 0xfebf_0000, 0x10000),
            ProbeError::Overlap {
                first: PhysRegion {
                    start: 0xfebf_1000,
                    len: 0x100,
                },
                second: PhysRegion {
                    start: 0xfebf_0000,
                    len: 0x10000,
                },
            },
        ),
        (
            FakeFunction::plain()
                .memory32(0, 0xfea0_0000, 0x1000)
                .memory64(2, 0xfea0_0000, 0x1000),
            ProbeError::Overlap {
                first: PhysRegion {
                    start: 0xfea0_0000,
                    len: 0x1000,
                },
                second: PhysRegion {
                    start: 0xfea0_0000,
                    len: 0x1000,
                },
            },
        ),
        (
            msix((0, 8), (1, 0x800)),
            ProbeError::Msix(MsixError::OverRegisters { place: place(0, 8) }),
        ),
        (
            FakeFunction::new(0x1af4, 0x1110).memory32(0, 0x1000, 0x100),
            ProbeError::NoMemoryBar { index: 2 },
        ),
        (
            FakeFunction::plain().memory64(2, 0, 0x1000),
            ProbeError::BarUnassigned {
                index: 2,
                size: 0x1000,
            },
        ),
        (
            msix((6, 0), (1, 0x800)),
            ProbeError::Msix(MsixError::NoSuchBar { bar: 6 }),
        ),
        (
            msix((1, 0), (7, 0)),
            ProbeError::Msix(MsixError::NoSuchBar { bar: 7 }),
        ),
        (
            msix((1, 0), (3, 0x800)),
            ProbeError::Msix(MsixError::NoSuchBar { bar: 3 }),
        ),
        (
            msix((2, 0), (1, 0x800)),
            ProbeError::Msix(MsixError::InSharedMemory { bar: 2 }),
        ),
        (
            msix((1, 0xff0), (1, 0x800)),
            ProbeError::Msix(MsixError::OutsideBar {
                place: place(1, 0xff0),
                len: 32,
                bar_size: 0x1000,
            }),
        ),
        (
            msix((1, 0), (1, 0xffff_fff8)),
            ProbeError::Msix(MsixError::OutsideBar {
                place: place(1, 0xffff_fff8),
                len: 8,
                bar_size: 0x1000,
            }),
        ),
    ];
    for (function, error) in cases {
        assert_eq!(probed(function), Err(error), "{error}");
    }
}

#[test]
fn find_takes_both_ids_into_account() {
    let bus = FakeBus::default()
        .with((0, 1, 0), FakeFunction::new(0x1af4, 0x1000))
        .with((0, 2, 0), FakeFunction::new(0x8086, 0x1110))
        .with((0, 3, 0), FakeFunction::plain())
        .with((0, 5, 0), FakeFunction::doorbell(1));
    let space = bus.space();
    let found: Vec<_> = find(&space).map(|f| f.address().device()).collect();
    assert_eq!(found, [3, 5]);
}
