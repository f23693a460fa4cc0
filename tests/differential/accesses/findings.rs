// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sequences that have shown something, or settled a question.

use ivshmem_device::Bar;
use libtest_mimic::Failed;

use super::{begin, setup};
use crate::lab::{Lab, Need};
use crate::op::{
    describe, write_config, Op, BUS_MASTER, COMMAND, MEMORY, MSIX_CONTROL, MSIX_ENABLE,
};
use crate::rig::Width;
use crate::twin::Twin;

pub fn trials() -> Vec<Need> {
    let (enable, masked) = (MSIX_ENABLE, MSIX_ENABLE | crate::op::MSIX_FUNCTION_MASK);
    let on = write_config(MSIX_CONTROL, enable.into());
    let off = write_config(MSIX_CONTROL, 0);
    let function_masked = write_config(MSIX_CONTROL, masked.into());
    let master = write_config(COMMAND, (MEMORY | BUS_MASTER).into());
    let no_master = write_config(COMMAND, MEMORY.into());
    let armed = Op::Arm {
        vector: 0,
        mailbox: 1,
        data: 0x1234_5678,
        control: 0,
    };
    let ring = Op::Ring {
        vector: 0,
        count: 2,
    };
    [
        // By all its bits, so that no vector wraps.
        (
            "an_ioeventfd_is_found_in_the_high_half_of_8_bytes",
            "260_vectors",
            vec![doorbell(0x8, Width::Quad, 0x0001_0102_0000_0000)],
        ),
        (
            "without_ioeventfd_the_vector_wraps",
            "260_vectors_without_ioeventfd",
            vec![
                doorbell(0x8, Width::Quad, 0x0001_0102_0000_0000),
                doorbell(0xc, Width::Long, 0x0001_0102),
            ],
        ),
        (
            "a_vector_without_ioeventfd_wraps",
            "260_vectors",
            vec![doorbell(0xc, Width::Long, 0x0002_0101)],
        ),
        (
            "an_unaligned_write_rings_several_times",
            "1_vector",
            vec![
                master,
                on,
                armed,
                doorbell(0xd, Width::Long, 0),
                doorbell(0x9, Width::Quad, 0x0001_0000_0000),
            ],
        ),
        (
            "pending_outlives_msix_off",
            "1_vector",
            vec![master, on, function_masked, armed, ring, off, on],
        ),
        (
            "rung_while_msix_is_off_is_lost",
            "1_vector",
            vec![master, armed, ring, on],
        ),
        (
            "rung_without_bus_master_is_lost",
            "1_vector",
            vec![no_master, on, armed, ring, master],
        ),
        (
            "pending_delivered_without_bus_master_is_lost",
            "1_vector",
            vec![master, function_masked, armed, ring, no_master, on, master],
        ),
        (
            "an_entry_never_written_sends_0_to_0",
            "1_vector",
            vec![
                master,
                on,
                Op::Write {
                    bar: Bar::Msix,
                    at: 8,
                    width: Width::Long,
                    value: 0x55,
                },
                Op::Write {
                    bar: Bar::Msix,
                    at: 12,
                    width: Width::Long,
                    value: 0,
                },
                ring,
            ],
        ),
        (
            "msix_is_off_and_unmasked_by_turns",
            "1_vector",
            vec![
                master,
                off,
                armed,
                function_masked,
                ring,
                off,
                on,
                ring,
                function_masked,
                ring,
                Op::Reset,
                on,
            ],
        ),
    ]
    .map(|(name, setup, ops)| {
        Need::new(format!("accesses::{name}"), move |lab| {
            perform(lab, setup, &ops)
        })
    })
    .into()
}

const fn doorbell(at: i64, width: Width, value: u64) -> Op {
    Op::Write {
        bar: Bar::Registers,
        at,
        width,
        value,
    }
}

fn perform(lab: &Lab, name: &str, ops: &[Op]) -> Result<(), Failed> {
    let setup = setup::ALL.iter().find(|setup| setup.name == name);
    let setup = setup.ok_or("no such setup")?;
    let result = Twin::new(begin::start(lab, setup)?).perform(ops);
    result.map_err(|failed| {
        let reason = failed.message().unwrap_or("no reason").to_owned();
        format!("{reason}\nthe input:\n{}", describe(ops)).into()
    })
}
