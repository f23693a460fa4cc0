// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a device tells the machine that it is in, and in which order.

use std::os::fd::AsFd;
use std::time::Duration;

use ivshmem_device::adapters::{Attachment, ConnectionError, Protocol};
use ivshmem_device::{Bar, Generation, Level, Properties, ServerError};

use crate::attachment::{attach, enable_msix, settle, Machine, Told};
use crate::support::{assert_silent, event, is_readable, memory, ring};

fn taking_over() -> Machine {
    Machine {
        takes_over: true,
        ..Machine::default()
    }
}

#[test]
fn a_vector_that_comes_late_gets_its_route_after_it_is_taken_over() {
    for (generation, text) in [
        (Generation::Modern, "ivshmem-doorbell,chardev={},vectors=1"),
        (Generation::V2_5, "ivshmem,chardev={},size=1M"),
    ] {
        let (mut device, server) = attach(generation, text, taking_over());
        server.greet(1, memory(1 << 20));
        settle(&mut device);
        enable_msix(&mut device);
        let route = Told::Route(0, Some(0x41));
        let memory = Told::Memory(Some(1 << 20));
        assert_eq!(device.wiring().told, [memory, route], "{generation}");
        server.send(1, Some(event().as_fd()));
        settle(&mut device);
        let told = &device.wiring().told;
        assert_eq!(told[2..], [Told::TakeOver(0), route], "{generation}");
    }
}

#[test]
fn events_of_a_device_without_msix_are_its_own() {
    let text = "ivshmem,chardev={},size=1M,msi=off";
    let (mut device, server) = attach(Generation::V2_5, text, taking_over());
    let own = event();
    server.greet(1, memory(1 << 20));
    server.send(1, Some(own.as_fd()));
    device.write_bar(Bar::Registers, 0, &u32::MAX.to_le_bytes());
    settle(&mut device);
    ring(&own, 1);
    settle(&mut device);
    assert_eq!(device.wiring().levels, [Level::High]);
    assert_eq!(device.wiring().told, [Told::Memory(Some(1 << 20))]);
}

/// Both ways in which a server gives a vector of a historic device a second time.
#[test]
fn a_vector_given_again_replaces_the_one_before() {
    for (generation, text, departure, id) in [
        // A peer that was never seen leaves: the device has its ID.
        (Generation::V2_3, "ivshmem,chardev={},size=1M", 7, 7),
        // The device itself leaves.
        (
            Generation::V2_5,
            "ivshmem,chardev={},size=1M,ioeventfd=on",
            1,
            1,
        ),
    ] {
        for machine in [Machine::default(), taking_over()] {
            let taken_over = machine.takes_over;
            let (mut device, server) = attach(generation, text, machine);
            let (old, new) = (event(), event());
            server.greet(1, memory(1 << 20));
            server.send(1, Some(old.as_fd()));
            server.send(departure, None);
            server.send(id, Some(new.as_fd()));
            settle(&mut device);
            let told = &device.wiring().told;
            assert_eq!(told[1..], [Told::TakeOver(0); 2], "{generation}");
            enable_msix(&mut device);
            ring(&old, 1);
            assert!(!is_readable(&device, Duration::ZERO), "{generation}");
            ring(&new, 1);
            assert_eq!(is_readable(&device, Duration::ZERO), !taken_over);
            settle(&mut device);
            let messages = device.wiring().messages.len();
            assert_eq!(messages, usize::from(!taken_over), "{generation}");
        }
    }
}

#[test]
fn a_second_memory_of_qemu_2_3_is_told_before_the_first_goes() {
    let text = "ivshmem,chardev={},size=1M";
    let (mut device, server) = attach(Generation::V2_3, text, Machine::default());
    server.greet(1, memory(1 << 20));
    server.send(-1, Some(memory(2 << 20).as_fd()));
    settle(&mut device);
    let some = Told::Memory(Some(1 << 20));
    let mut told = vec![some, Told::Memory(None), some];
    assert_eq!(device.wiring().told, told);
    told.push(Told::Memory(None));
    assert_eq!(device.unplug().told, told);
}

#[test]
fn memory_without_a_server_is_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory");
    std::fs::write(&path, vec![0; 8192]).unwrap();
    let properties = Properties::plain(path.display().to_string());
    let machine = Machine::default();
    let device = Attachment::open(&properties, Protocol::Version0, machine).unwrap();
    let told = [Told::Memory(Some(8192)), Told::Memory(None)];
    assert_eq!(device.wiring().told, told[..1]);
    assert_eq!(device.unplug().told, told);
}

#[test]
fn a_device_without_memory_has_none_to_give_back() {
    let text = "ivshmem,chardev={},size=1M";
    let (device, _server) = attach(Generation::V2_5, text, Machine::default());
    assert_eq!(device.unplug().told, []);
}

/// QEMU 2.3 exits here.
#[test]
fn a_device_of_2_3_outlives_a_memory_that_is_too_small() {
    let text = "ivshmem,chardev={},size=2M";
    let (mut device, mut server) = attach(Generation::V2_3, text, Machine::default());
    let own = event();
    server.greet(1, memory(1 << 20));
    server.send(1, Some(own.as_fd()));
    let error = loop {
        if let Err(error) = device.handle() {
            break error;
        }
    };
    let expected = ServerError::MemoryTooSmall {
        has: 1 << 20,
        needs: 2 << 20,
    };
    assert_eq!(error, ConnectionError::Server(expected));
    assert!(!device.is_connected() && server.is_closed());
    let mut id = [0; 4];
    device.read_config(0, &mut id);
    assert_eq!(id, [0xf4, 0x1a, 0x10, 0x11]);
    assert_silent(&own);
}
