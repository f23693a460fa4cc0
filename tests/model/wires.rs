// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one device does to its machine: [`Wires`].

use ivshmem_device::{Host, HostError, Ioeventfd, Level, MsiMessage, Notice};

use crate::course::{Course, Traffic};
use crate::descriptor::{Eventfd, Passed, Shared};

/// The host of one device.
#[derive(Debug)]
pub struct Wires {
    pub traffic: Traffic,
    /// Messages since the machine looked last.
    pub messages: Vec<MsiMessage>,
    pub notices: Vec<Notice>,
    /// How often the line went up.
    pub raised: u32,
    /// Short cuts offered and not taken back.
    pub offered: Vec<Ioeventfd>,
}

impl Wires {
    pub const fn new(course: Course) -> Self {
        Self {
            traffic: Traffic::new(course),
            messages: Vec::new(),
            notices: Vec::new(),
            raised: 0,
            offered: Vec::new(),
        }
    }
}

/// Returns the eventfd that a server has sent in the place of one.
fn eventfd(passed: &Passed) -> Result<&Eventfd, HostError> {
    match passed {
        Passed::Event(event) => Ok(event),
        Passed::Memory(_) => Err(HostError { errno: 0 }),
    }
}

impl Host for Wires {
    type Descriptor = Passed;
    type Memory = &'static Shared;

    fn map(&mut self, descriptor: Passed, _: u64) -> Result<&'static Shared, HostError> {
        match descriptor {
            Passed::Memory(memory) => Ok(memory),
            Passed::Event(_) => Err(HostError { errno: 0 }),
        }
    }

    fn listen(&mut self, vector: u16, event: &Passed) -> Result<(), HostError> {
        self.traffic.watch(vector, eventfd(event)?.clone());
        Ok(())
    }

    fn ring(&mut self, event: &Passed) {
        if let Ok(event) = eventfd(event) {
            event.ring();
        }
    }

    fn message(&mut self, message: MsiMessage) {
        self.messages.push(message);
    }

    fn line(&mut self, level: Level) {
        self.raised += u32::from(level == Level::High);
    }

    fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    fn attach_ioeventfd(&mut self, ioeventfd: Ioeventfd, _: &Passed) {
        self.offered.push(ioeventfd);
    }

    fn detach_ioeventfd(&mut self, ioeventfd: Ioeventfd, _: &Passed) {
        let before = self.offered.len();
        self.offered.retain(|offered| *offered != ioeventfd);
        assert_eq!(
            self.offered.len() + 1,
            before,
            "{ioeventfd:?} was offered once"
        );
    }
}
