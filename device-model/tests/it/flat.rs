// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ivshmem-flat` embedded by hand, as a board without PCI has to.

use std::os::fd::OwnedFd;

use ivshmem_device::adapters::{Delivery, Fd, FdHost, Wiring};
use ivshmem_device::{Flat, Generation, Level, Memory, MsiMessage, Notice, Properties};

use crate::support::{event, memory, ring};

/// A board that reads the eventfd of the line itself.
#[derive(Default)]
struct Board {
    levels: Vec<Level>,
    event: Option<Fd>,
}

impl Wiring for Board {
    fn message(&mut self, message: MsiMessage) {
        panic!("there is no msi: {message:?}");
    }

    fn line(&mut self, level: Level) {
        self.levels.push(level);
    }

    fn notice(&mut self, notice: Notice) {
        panic!("{notice}");
    }

    fn take_over(&mut self, vector: u16, event: &Fd) -> Delivery {
        assert_eq!(vector, 0);
        self.event = Some(event.clone());
        Delivery::Program
    }
}

#[test]
fn a_flat_device_has_the_host_of_the_adapters() {
    let text = "ivshmem-flat,chardev=c,shmem-size=1048576";
    let properties = Properties::parse(Generation::Modern, text).unwrap();
    let mut host = FdHost::new(Board::default()).unwrap();
    let mut device = Flat::new(&properties).unwrap();
    let own = event();
    let copy = own.try_clone().unwrap();
    let mut say = |number: i64, file: Option<OwnedFd>| {
        let files = file.map(|file| Fd::new(file).unwrap());
        device.receive(&number.to_le_bytes(), files, &mut host)
    };
    for (number, file) in [
        (0, None),
        (3, None),
        (-1, Some(memory(1 << 20))),
        (3, Some(copy)),
    ] {
        say(number, file).unwrap();
    }
    assert!(device.is_realized());
    assert_eq!(device.memory().unwrap().len_bytes(), 1 << 20);
    ring(&own, 1);
    let event = host.wiring().event.clone().unwrap();
    assert_eq!(event.take(), Ok(Some(1)));
    device.event(0, &mut host);
    assert_eq!(host.wiring().levels, [Level::High, Level::Low]);
    device.write_register(0x0c, 3 << 16, &mut host);
    assert_eq!(event.take(), Ok(Some(1)), "by its own doorbell");
}
