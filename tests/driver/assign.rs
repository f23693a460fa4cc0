// SPDX-License-Identifier: MIT OR Apache-2.0
//! Assignment of bus numbers, BARs and bridge windows over hierarchies whole and broken.

use crate::support::bus::FakeFunction;
use crate::support::hierarchy::{bridge, check, device, windows, WINDOWS};
use crate::support::tree::FakeTree;
use ivshmem::pci::{
    assign, assign_behind, find, probe, AssignError, BarKind, Buses, Function, PciAddress, Window,
    Windows,
};

#[test]
fn a_device_at_any_depth_is_found_and_has_addresses() {
    for depth in 0..=8 {
        let tree = FakeTree::default();
        let mut parent = None;
        for _ in 0..depth {
            // A second bridge with nothing behind it, and a small device, on each level.
            tree.add(parent, (1, 0), bridge());
            tree.add(parent, (2, 0), device(1 << 20));
            parent = Some(tree.add(parent, (3, 0), bridge()));
        }
        let target = tree.add(parent, (4, 0), device(64 << 30));
        let space = tree.space();
        assign(&space, Buses::ALL, &WINDOWS).unwrap();
        assert_eq!(check(&tree, &WINDOWS).len(), 3 * (depth + 1));
        assert_eq!(find(&space).count(), depth + 1);
        let resources = find(&space).map(|function| probe(&function).unwrap());
        let large = resources.max_by_key(|resources| resources.shared_memory.len);
        assert!(large.unwrap().shared_memory.start >= 1 << 36);
        assert_eq!(tree.words(target)[1] & 0b111, 0b010, "memory alone is on");
        let again = assign(&space, Buses::ALL, &WINDOWS);
        let refused = matches!(again, Err(AssignError::AlreadyAssigned { .. }));
        assert!(refused, "{again:?}");
    }
}

#[test]
fn subtrees_have_consecutive_bus_numbers() {
    let tree = FakeTree::default();
    let first = tree.add(None, (1, 0), bridge().multi_function());
    let beside = tree.add(None, (1, 7), bridge());
    let inner = tree.add(Some(first), (31, 0), bridge());
    let last = tree.add(Some(inner), (0, 0), bridge());
    assign(&tree.space(), Buses::ALL, &WINDOWS).unwrap();
    let buses = [first, inner, last, beside].map(|node| tree.words(node)[6] & 0xff_ffff);
    assert_eq!(buses, [0x03_01_00, 0x03_02_01, 0x03_03_02, 0x04_04_00]);
    for node in [first, inner, last, beside] {
        assert_eq!(windows(&tree.words(node)), [None; 3], "nothing to forward");
    }
}

#[test]
fn stale_numbers_are_taken_away_first() {
    let tree = FakeTree::default();
    // As another system might have left them, in conflict with the numbers to come.
    for (slot, stale) in [(1, 2), (2, 3), (3, 1)] {
        let mut stale_bridge = bridge();
        stale_bridge.words[6] = stale << 16 | stale << 8;
        let parent = tree.add(None, (slot, 0), stale_bridge);
        tree.add(Some(parent), (0, 0), device(1 << 20));
    }
    // `FakeTree` panics if two bridges claim a bus.
    assign(&tree.space(), Buses::ALL, &WINDOWS).unwrap();
    assert_eq!(check(&tree, &WINDOWS).len(), 9);
}

#[test]
fn a_bridge_without_a_wide_window_keeps_everything_below_4_gib() {
    let tree = FakeTree::default();
    let narrow = FakeFunction::new(0x1b36, 1).blank_bridge(false, false);
    let outer = tree.add(None, (1, 0), bridge());
    let middle = tree.add(Some(outer), (1, 0), narrow);
    let inner = tree.add(Some(middle), (1, 0), bridge());
    let node = tree.add(Some(inner), (1, 0), device(1 << 24).io(5, 0, 32));
    assign(&tree.space(), Buses::ALL, &WINDOWS).unwrap();
    let placed = check(&tree, &WINDOWS);
    assert!(placed.iter().all(|bar| bar.span.1 < 1 << 32));
    assert_eq!(placed.len(), 3, "no bridge forwards ports to the i/o bar");
    assert_eq!(tree.words(node)[9], 1, "the i/o bar has no address");
}

#[test]
fn what_does_not_fit_is_named_and_does_not_harm_the_rest() {
    let tree = FakeTree::default();
    let port = tree.add(None, (1, 0), bridge());
    let large = tree.add(Some(port), (3, 0), device(1 << 41));
    tree.add(Some(port), (4, 0), device(1 << 20));
    let error = assign(&tree.space(), Buses::ALL, &WINDOWS).unwrap_err();
    assert_eq!(
        error,
        AssignError::NoSpace {
            address: PciAddress::new(0, 1, 3, 0),
            bar: 2,
            kind: BarKind::Memory64,
            size: 1 << 41
        }
    );
    assert_eq!(
        error.to_string(),
        "no space is left for bar 2 of 0000:01:03.0, 0x20000000000 bytes of 64-bit memory"
    );
    assert_eq!(check(&tree, &WINDOWS).len(), 5);
    assert_eq!(tree.words(large)[1] & 0b11, 0, "does not decode");

    let tree = FakeTree::default();
    tree.add(None, (0, 0), device(1 << 30));
    let low_only = Windows {
        memory64: None,
        ..WINDOWS
    };
    let error = assign(&tree.space(), Buses::ALL, &low_only).unwrap_err();
    assert!(matches!(
        error,
        AssignError::NoSpace {
            size: 0x4000_0000,
            ..
        }
    ));
}

#[test]
fn windows_that_make_no_sense_give_no_space_and_no_panic() {
    for (start, len) in [
        (0, 0),
        (u64::MAX, u64::MAX),
        (0, 0xfffff),
        (1 << 32, 1 << 32),
        (1, 1),
    ] {
        let window = Window { start, len };
        let tree = FakeTree::default();
        let port = tree.add(None, (1, 0), bridge());
        tree.add(Some(port), (0, 0), device(1 << 20).io(5, 0, 16));
        let windows = Windows {
            memory32: window,
            memory64: None,
            io: Some(window),
        };
        let error = assign(&tree.space(), Buses::ALL, &windows).unwrap_err();
        assert!(matches!(error, AssignError::NoSpace { .. }), "{error}");
        check(&tree, &windows);
    }
}

#[test]
fn host_bridges_are_not_touched() {
    let tree = FakeTree::default();
    let mut host = FakeFunction::new(0x8086, 0x1237).memory32(0, 0xf000_0000, 0x1000);
    host.words[2] = 0x0600_0000;
    host.words[1] = 0x0006;
    let node = tree.add(None, (0, 0), host);
    let before = tree.words(node);
    tree.add(None, (1, 0), device(1 << 20));
    assign(&tree.space(), Buses::ALL, &WINDOWS).unwrap();
    assert_eq!(tree.words(node), before);
}

#[test]
fn nothing_changes_where_something_has_an_address() {
    for assigned in [
        FakeFunction::plain(),
        FakeFunction::new(1, 1).memory64(4, 1 << 32, 0x1000),
        bridge().memory32(1, 0xfe00_0000, 0x1000),
    ] {
        let tree = FakeTree::default();
        tree.add(None, (1, 0), device(1 << 20));
        tree.add(None, (2, 0), bridge());
        tree.add(None, (3, 0), assigned);
        let before: Vec<_> = (0..tree.len()).map(|node| tree.words(node)).collect();
        let address = PciAddress::new(0, 0, 3, 0);
        let result = assign(&tree.space(), Buses::ALL, &WINDOWS);
        assert_eq!(result, Err(AssignError::AlreadyAssigned { address }));
        let after: Vec<_> = (0..tree.len()).map(|node| tree.words(node)).collect();
        assert_eq!(before, after);
    }
}

#[test]
fn more_bridges_than_buses_is_said_and_the_rest_works() {
    let tree = FakeTree::default();
    for devfn in 0..=255_u8 {
        tree.add(None, (devfn / 8, devfn % 8), bridge().multi_function());
    }
    let inside = tree.add(Some(254), (2, 0), device(1 << 20));
    let error = assign(&tree.space(), Buses::ALL, &WINDOWS).unwrap_err();
    let address = PciAddress::new(0, 0, 31, 7);
    assert_eq!(error, AssignError::NoBus { address });
    assert_eq!(tree.words(254)[6], 0x00ff_ff00);
    assert_eq!(tree.words(255)[6], 0);
    assert_eq!(check(&tree, &WINDOWS).len(), 3);
    assert_ne!(tree.words(inside)[4], 0);
    assert!(*tree.accesses.borrow() < 100_000);

    let tree = FakeTree::default();
    let mut parent = None;
    for _ in 0..12 {
        parent = Some(tree.add(parent, (1, 0), bridge()));
    }
    tree.add(None, (2, 0), device(1 << 20));
    let buses = Buses {
        last: 9,
        ..Buses::ALL
    };
    let error = assign(&tree.space(), buses, &WINDOWS).unwrap_err();
    let address = PciAddress::new(0, 9, 1, 0);
    assert_eq!(error, AssignError::NoBus { address });
    assert_eq!(check(&tree, &WINDOWS).len(), 3);
}

#[test]
fn broken_functions_are_left_out() {
    let tree = FakeTree::default();
    // A bridge that forgets its numbers, a reserved BAR type, an unknown header.
    let mut forgetful = bridge();
    forgetful.writable[6] = 0;
    tree.add(None, (1, 0), forgetful);
    let mut reserved = FakeFunction::new(1, 1);
    reserved.words[4] = 6;
    tree.add(None, (2, 0), reserved);
    let mut unknown = FakeFunction::new(1, 1).memory32(0, 0, 0x1000);
    unknown.words[3] |= 0x7f << 16;
    tree.add(None, (3, 0), unknown);
    tree.add(None, (4, 0), device(1 << 20));
    let error = assign(&tree.space(), Buses::ALL, &WINDOWS).unwrap_err();
    assert!(matches!(error, AssignError::Bar { address, .. } if address.device() == 2));
    assert_eq!(check(&tree, &WINDOWS).len(), 3);
}

/// A root port as firmware leaves it, with room for devices to come.
fn roomy_port() -> FakeFunction {
    let mut port = bridge();
    port.words[1] = 0x0107;
    port.words[6] = 0x0003_0200;
    port.words[8] = 0xfe50_fe40;
    port.words[9] = 0x80f1_8001;
    port.words[10] = 0x10;
    port.words[11] = 0x10;
    port.words[7] = 0xd0d0;
    port
}

#[test]
fn what_is_plugged_in_behind_a_port_gets_the_ports_room() {
    let tree = FakeTree::default();
    let used = tree.add(None, (1, 0), FakeFunction::plain());
    let port = tree.add(None, (2, 0), roomy_port());
    let mut plugged = device(1 << 20).io(5, 0, 16);
    // QEMU 7.2 shows a hot-plugged device with decoding on and all addresses zero.
    plugged.words[1] = 0x0003;
    tree.add(Some(port), (0, 0), plugged);
    let before = [used, port].map(|node| tree.words(node));
    let space = tree.space();
    let bridge = Function::at(&space, PciAddress::new(0, 0, 2, 0)).unwrap();
    assign_behind(&bridge).unwrap();
    let given = Windows {
        memory32: Window {
            start: 0xfe40_0000,
            len: 0x20_0000,
        },
        memory64: Some(Window {
            start: 0x10_8000_0000,
            len: 0x100_0000,
        }),
        io: Some(Window {
            start: 0xd000,
            len: 0x1000,
        }),
    };
    let addresses: Vec<_> = check_behind(&tree, 2, &given);
    assert_eq!(
        addresses,
        [0xfe40_1000, 0xfe40_0000, 0x10_8000_0000, 0xd000]
    );
    assert_eq!([used, port].map(|node| tree.words(node)), before);
    let address = PciAddress::new(0, 2, 0, 0);
    let again = assign_behind(&bridge);
    assert_eq!(again, Err(AssignError::AlreadyAssigned { address }));
}

/// Checks the BARs of one node and returns their addresses in order.
fn check_behind(tree: &FakeTree, node: usize, given: &Windows) -> Vec<u64> {
    let given = Windows {
        memory32: Window {
            start: given.memory32.start.min(0xfe00_0000),
            len: 0x100_0000,
        },
        ..*given
    };
    let placed = check(tree, &given);
    let own = placed.into_iter().filter(|bar| bar.node == node);
    own.map(|bar| bar.span.0).collect()
}

#[test]
fn only_a_bridge_with_a_bus_has_something_behind_it() {
    let mut backwards = bridge();
    backwards.words[6] = 0x0001_0200;
    for function in [device(1 << 20), bridge(), backwards] {
        let tree = FakeTree::default();
        let node = tree.add(None, (1, 0), function);
        let before = tree.words(node);
        let space = tree.space();
        let address = PciAddress::new(0, 0, 1, 0);
        let result = assign_behind(&Function::at(&space, address).unwrap());
        assert_eq!(result, Err(AssignError::NotABridge { address }));
        assert_eq!(tree.words(node), before);
    }
}

#[test]
fn a_port_without_room_says_so() {
    let tree = FakeTree::default();
    let mut port = roomy_port();
    (port.words[8], port.words[9]) = (0, 0);
    let port = tree.add(None, (2, 0), port);
    tree.add(Some(port), (0, 0), device(1 << 20));
    let space = tree.space();
    let bridge = Function::at(&space, PciAddress::new(0, 0, 2, 0)).unwrap();
    let error = assign_behind(&bridge).unwrap_err();
    assert!(
        matches!(error, AssignError::NoSpace { bar: 2, .. }),
        "{error}"
    );
}
