// SPDX-License-Identifier: MIT OR Apache-2.0
//! A place on the bus with a device in it: [`Slot`].

use std::rc::Rc;

use ivshmem_device::{Device, Properties, ServerError, Source};
use libtest_mimic::Failed;

use crate::course::Course;
use crate::descriptor::Shared;
use crate::hub::{Connection, Hub, Memory, Protocol};
use crate::wires::Wires;

/// A device, what it does, and its server.
pub struct Slot {
    pub device: Device<Wires>,
    pub wires: Wires,
    seat: Option<Seat>,
}

/// A device's place at its server.
struct Seat {
    hub: Rc<Hub>,
    id: u16,
    connection: Connection,
    is_over: bool,
}

impl Slot {
    /// Puts a device together. A modern one with a server is not realized until [`Slot::receive`] has made it so.
    pub fn new(
        properties: &Properties,
        hub: &Rc<Hub>,
        shared: &'static Shared,
        memory: Memory,
        course: Course,
    ) -> Result<Self, Failed> {
        let (device, seat) = if let Source::Chardev(_) = properties.source {
            let protocol = if properties.generation.is_historic() {
                Protocol::Long
            } else {
                Protocol::Zero
            };
            let vectors = properties.vectors.try_into()?;
            let (id, connection) = hub.join(protocol, vectors, memory);
            let seat = Seat {
                hub: Rc::clone(hub),
                id,
                connection,
                is_over: false,
            };
            (Device::new(properties)?, Some(seat))
        } else {
            (Device::with_memory(properties, shared)?, None)
        };
        Ok(Self {
            device,
            wires: Wires::new(course),
            seat,
        })
    }

    /// Returns the ID that the server has given the device.
    pub fn id(&self) -> Option<u16> {
        self.seat.as_ref().map(|seat| seat.id)
    }

    /// Returns its server.
    pub fn hub(&self) -> Option<&Rc<Hub>> {
        self.seat.as_ref().map(|seat| &seat.hub)
    }

    /// Passes on all that the server has said.
    ///
    /// # Errors
    ///
    /// What the device has to be given up for.
    pub fn receive(&mut self) -> Result<(), ServerError> {
        let Some(seat) = &mut self.seat else {
            return Ok(());
        };
        loop {
            let read = seat.connection.borrow_mut().read(self.device.wanted());
            let Some((bytes, descriptor)) = read else {
                break;
            };
            self.device.receive(&bytes, descriptor, &mut self.wires)?;
        }
        if seat.connection.borrow().is_over() && !seat.is_over {
            seat.is_over = true;
            self.device.server_gone(&mut self.wires)?;
        }
        Ok(())
    }

    /// Passes on the events that reach the device at tick `now`.
    pub fn hear(&mut self, now: u32) {
        for (vector, counter) in self.wires.traffic.arrivals(now) {
            self.device.event(vector, counter, &mut self.wires);
        }
    }

    /// Takes the device out; its connection is closed.
    pub fn unplug(self) {
        let Self {
            device,
            mut wires,
            seat,
        } = self;
        device.unplug(&mut wires);
        assert_eq!(wires.offered, [], "every short cut is taken back");
        if let Some(Seat { hub, id, .. }) = seat {
            hub.leave(id);
        }
    }
}
