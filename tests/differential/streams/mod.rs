// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random streams of messages from a server.

mod findings;
mod message;
mod running;
mod starting;
mod strategy;
mod words;

use ivshmem_device::{Bar, Properties};
use libtest_mimic::Failed;

use crate::lab::Need;
use crate::op::{write_config, Op, BUS_MASTER, COMMAND, MEMORY, MSIX_CONTROL, MSIX_ENABLE};
use crate::rig::Width;
use crate::twin::Twin;
use message::Ids;

pub fn trials() -> Vec<Need> {
    let mut trials = findings::trials();
    trials.extend([starting::trial(), running::trial()]);
    trials
}

/// An `ivshmem-doorbell`, for QEMU and as a model.
#[derive(Clone, Copy, Debug)]
struct Shape {
    vectors: u16,
    ioeventfd: bool,
}

impl Shape {
    fn device(self) -> String {
        let Self { vectors, ioeventfd } = self;
        let ioeventfd = if ioeventfd { "on" } else { "off" };
        format!("ivshmem-doorbell,chardev=server,vectors={vectors},ioeventfd={ioeventfd}")
    }

    fn properties(self) -> Properties {
        Properties {
            vectors: self.vectors.into(),
            ioeventfd: self.ioeventfd,
            ..Properties::doorbell("server")
        }
    }

    /// Compares what has become of the devices: the size of the memory, which doorbells ring which eventfds, and
    /// which eventfds raise which interrupts. Then, as always, everything else.
    fn probe(self, twin: &mut Twin, ids: &Ids) -> Result<(), Failed> {
        let mut ops = vec![
            write_config(COMMAND, 0),
            write_config_long(0x18, u32::MAX),
            write_config_long(0x1c, u32::MAX),
            read_config_long(0x18),
            read_config_long(0x1c),
            Op::Reset,
            write_config(COMMAND, (MEMORY | BUS_MASTER).into()),
            write_config(MSIX_CONTROL, MSIX_ENABLE.into()),
        ];
        ops.extend((0..self.vectors).map(|vector| Op::Arm {
            vector,
            mailbox: 0,
            data: 0x4d53_0000 | u32::from(vector),
            control: 0,
        }));
        let unknown = ids.last ^ 0x4000;
        for peer in ids.peers.into_iter().chain([ids.own, ids.last, unknown]) {
            ops.extend((0..=self.vectors).map(|vector| Op::Write {
                bar: Bar::Registers,
                at: 0xc,
                width: Width::Long,
                value: u64::from(peer) << 16 | u64::from(vector),
            }));
        }
        let own = twin.pair.world.own.len() as u16;
        ops.extend((0..own).map(|vector| Op::Ring { vector, count: 1 }));
        twin.perform(&ops)
    }
}

const fn write_config_long(at: u16, value: u32) -> Op {
    Op::WriteConfig {
        at,
        width: Width::Long,
        value: value as u64,
    }
}

const fn read_config_long(at: u16) -> Op {
    let width = Width::Long;
    Op::ReadConfig { at, width }
}
