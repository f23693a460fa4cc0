// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the steps of a sequence are chosen: [`sequences`].

use ivshmem_device::Bar;
use proptest::collection::vec;
use proptest::prelude::*;

use super::setup::{Setup, MEMORY_LEN};
use crate::op::{
    write_config, Op, BUS_MASTER, COMMAND, MEMORY, MSIX_CONTROL, MSIX_ENABLE, MSIX_FUNCTION_MASK,
};
use crate::rig::Width;

/// Returns the sequences for a device. Most of them turn its interrupts on first.
pub fn sequences(setup: &Setup) -> BoxedStrategy<Vec<Op>> {
    let beginning = if setup.doorbell.is_some() {
        let live = [
            write_config(COMMAND, (MEMORY | BUS_MASTER).into()),
            write_config(MSIX_CONTROL, MSIX_ENABLE.into()),
        ];
        let armed = vec(arm(setup), 1..4);
        let begun = armed.prop_map(move |armed| [&live[..], &armed].concat());
        prop_oneof![1 => Just(Vec::new()), 3 => begun].boxed()
    } else {
        Just(Vec::new()).boxed()
    };
    (beginning, vec(op(setup), 1..42))
        .prop_map(|(beginning, rest)| [beginning, rest].concat())
        .boxed()
}

fn op(setup: &Setup) -> BoxedStrategy<Op> {
    let read = (spot(setup), width()).prop_map(|((bar, at), width)| Op::Read { bar, at, width });
    let write =
        (spot(setup), width(), value(setup)).prop_map(|((bar, at), width, value)| Op::Write {
            bar,
            at,
            width,
            value,
        });
    let read_config = (0_u16..0x110, width()).prop_map(|(at, width)| Op::ReadConfig { at, width });
    let moved = (select_bar(setup), 0_u16..0x1000).prop_map(|(bar, slot)| Op::Move { bar, slot });
    let all = prop_oneof![
        8 => read,
        8 => write,
        2 => read_config,
        2 => config_write(),
        1 => moved,
        1 => Just(Op::Reset),
    ];
    let Some(doorbell) = &setup.doorbell else {
        return all.boxed();
    };
    let ring = (0..doorbell.own_events, 1_u64..4);
    let places = [
        (0xc, Width::Long, 0),
        (0x8, Width::Quad, 32),
        (0x9, Width::Quad, 24),
    ];
    let rung = prop_oneof![4 => Just(places[0]), 1 => Just(places[1]), 1 => Just(places[2])];
    let exact = (value(setup), rung).prop_map(|(value, (at, width, shift))| Op::Write {
        bar: Bar::Registers,
        at,
        width,
        value: value << shift,
    });
    prop_oneof![
        11 => all,
        3 => exact,
        3 => arm(setup),
        3 => ring.prop_map(|(vector, count)| Op::Ring { vector, count }),
    ]
    .boxed()
}

fn width() -> impl Strategy<Value = Width> {
    proptest::sample::select(&Width::ALL[..])
}

fn select_bar(setup: &Setup) -> impl Strategy<Value = Bar> {
    proptest::sample::select(setup.bars())
}

/// A vector of the table: most of the time one of a few, so that a sequence meets the same one again.
fn table_vector(setup: &Setup) -> impl Strategy<Value = u16> {
    let vectors = setup.vectors().max(1);
    prop_oneof![3 => 0..vectors.min(2), 1 => Just(vectors - 1), 1 => 0..vectors]
}

fn arm(setup: &Setup) -> BoxedStrategy<Op> {
    let control = prop_oneof![4 => Just(0), 2 => Just(1), 1 => any::<u32>()];
    (table_vector(setup), any::<u8>(), any::<u32>(), control)
        .prop_map(|(vector, mailbox, data, control)| Op::Arm {
            vector,
            mailbox,
            data,
            control,
        })
        .boxed()
}

fn config_write() -> BoxedStrategy<Op> {
    let command = any::<u16>().prop_map(|bits| write_config(COMMAND, u64::from(bits | MEMORY)));
    let decode = any::<u16>().prop_map(|bits| write_config(COMMAND, bits.into()));
    let control = [
        0,
        MSIX_ENABLE,
        MSIX_FUNCTION_MASK,
        MSIX_ENABLE | MSIX_FUNCTION_MASK,
    ];
    let control = proptest::sample::select(control.to_vec())
        .prop_map(|value| write_config(MSIX_CONTROL, value.into()));
    let any = (0_u16..0x108, width(), any_value()).prop_map(|(at, width, value)| Op::WriteConfig {
        at,
        width,
        value,
    });
    prop_oneof![4 => command, 1 => decode, 6 => control, 4 => any].boxed()
}

fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), Just(0), Just(!0), 0_u64..4]
}

/// What is written: doorbells for peers that are there and peers that are not, or anything.
fn value(setup: &Setup) -> BoxedStrategy<u64> {
    let Some(doorbell) = &setup.doorbell else {
        return any_value().boxed();
    };
    let mut peers: Vec<u16> = doorbell.peers.iter().map(|&(peer, _)| peer).collect();
    peers.extend([doorbell.id, 0, 7, u16::MAX]);
    let vectors = setup.vectors();
    let vector = prop_oneof![
        4 => 0..vectors,
        1 => vectors.saturating_sub(6)..vectors + 2,
        1 => (0..vectors).prop_map(|vector| vector | 0x100),
        1 => any::<u16>(),
    ];
    let rings = (proptest::sample::select(peers), vector);
    let doorbell = rings.prop_map(|(peer, vector)| u64::from(peer) << 16 | u64::from(vector));
    prop_oneof![2 => doorbell, 1 => any_value()].boxed()
}

/// A place in a BAR or beside it, most of the time where something is.
fn spot(setup: &Setup) -> BoxedStrategy<(Bar, i64)> {
    let registers = prop_oneof![
        6 => (0..4_i64).prop_map(|register| 4 * register),
        3 => -8..0x18_i64,
        1 => 0xf4..0x108_i64,
        1 => 0..0x100_i64,
    ]
    .prop_map(|at| (Bar::Registers, at));
    let memory_len = MEMORY_LEN as i64;
    let memory = prop_oneof![
        -8..0x20_i64,
        memory_len - 0x10..memory_len + 8,
        0..memory_len
    ]
    .prop_map(|at| (Bar::Memory, at));
    let Some((pending, len)) = setup.msix_layout() else {
        return prop_oneof![3 => registers, 2 => memory].boxed();
    };
    let table_len = 16 * i64::from(setup.vectors());
    let entry = (table_vector(setup), 0..4_i64)
        .prop_map(|(vector, word)| 16 * i64::from(vector) + 4 * word);
    let msix = prop_oneof![
        4 => entry,
        1 => table_len - 0x10..table_len + 0x10,
        2 => pending - 8..pending + 0x30,
        1 => len - 0x10..len + 8,
        1 => -8..len,
    ]
    .prop_map(|at| (Bar::Msix, at));
    prop_oneof![3 => registers, 3 => msix, 1 => memory].boxed()
}
