// SPDX-License-Identifier: MIT OR Apache-2.0
//! MSI-X: what is sent, what is pending, and what the host is told of it.

use ivshmem_device::{Bar, Generation, Level, MsiMessage, Properties};

use crate::bench::{with_server, Act, Bench};

const COMMAND: u16 = 4;
const BUS_MASTER: u16 = 0x6;
/// Message Control of the capability at 0x40.
const CONTROL: u16 = 0x42;
const ENABLE: u16 = 1 << 15;
const FUNCTION_MASK: u16 = 1 << 14;
const PENDING: u64 = 0x800;

fn message(vector: u16) -> MsiMessage {
    MsiMessage {
        address: 0x1_fee0_0000,
        data: 0x40 + u32::from(vector),
    }
}

/// A device with two vectors, MSI-X on, both programmed and masked.
fn programmed(generation: Generation) -> Bench {
    let properties = Properties {
        vectors: 2,
        ..with_server(generation)
    };
    let mut bench = Bench::member(&properties, 3);
    bench.set_config(COMMAND, &BUS_MASTER.to_le_bytes());
    bench.set_config(CONTROL, &ENABLE.to_le_bytes());
    for vector in 0..2 {
        let MsiMessage { address, data } = message(vector);
        let entry = 16 * u64::from(vector);
        bench.write(Bar::Msix, entry, &address.to_le_bytes());
        bench.write(Bar::Msix, entry + 8, &data.to_le_bytes());
    }
    assert_eq!(bench.acts(), []);
    bench
}

fn mask(bench: &mut Bench, vector: u16, masked: u32) {
    bench.write(
        Bar::Msix,
        16 * u64::from(vector) + 12,
        &masked.to_le_bytes(),
    );
}

fn pending(bench: &mut Bench) -> u32 {
    u32::from_le_bytes(bench.read(Bar::Msix, PENDING))
}

#[test]
fn an_event_is_one_message_however_often_it_was_rung() {
    for generation in Generation::ALL {
        let mut bench = programmed(generation);
        mask(&mut bench, 1, 0);
        assert_eq!(bench.acts(), [Act::Route(1, Some(message(1)))]);
        bench.event(1, 10);
        assert_eq!(bench.acts(), [Act::Message(message(1))], "{generation}");
        bench.event(2, 1);
        assert_eq!(bench.acts(), [], "no such vector");
    }
}

#[test]
fn masked_is_pending_and_sent_once_when_unmasked() {
    for generation in Generation::ALL {
        let mut bench = programmed(generation);
        bench.event(0, 1);
        bench.event(0, 1);
        assert_eq!((bench.acts(), pending(&mut bench)), (vec![], 1));
        bench.write(Bar::Msix, PENDING, &[0; 4]);
        assert_eq!(pending(&mut bench), 1, "read only");
        mask(&mut bench, 0, 0);
        let sent = [Act::Route(0, Some(message(0))), Act::Message(message(0))];
        assert_eq!(bench.acts(), sent);
        assert_eq!(pending(&mut bench), 0);
    }
}

#[test]
fn function_mask_holds_all_vectors() {
    let mut bench = programmed(Generation::Modern);
    mask(&mut bench, 0, 0);
    mask(&mut bench, 1, 0);
    bench.acts();
    bench.set_config(CONTROL, &(ENABLE | FUNCTION_MASK).to_le_bytes());
    assert_eq!(bench.acts(), [Act::Route(0, None), Act::Route(1, None)]);
    bench.event(1, 1);
    assert_eq!((bench.acts(), pending(&mut bench)), (vec![], 2));
    bench.set_config(CONTROL, &ENABLE.to_le_bytes());
    assert_eq!(
        bench.acts(),
        [
            Act::Route(0, Some(message(0))),
            Act::Route(1, Some(message(1))),
            Act::Message(message(1)),
        ]
    );
}

#[test]
fn without_bus_master_a_message_is_lost() {
    for generation in Generation::ALL {
        let mut bench = programmed(generation);
        bench.set_config(COMMAND, &[2, 0]);
        mask(&mut bench, 0, 0);
        bench.acts();
        bench.event(0, 1);
        bench.event(1, 1);
        mask(&mut bench, 1, 0);
        assert_eq!(bench.acts(), [Act::Route(1, Some(message(1)))]);
        assert_eq!(pending(&mut bench), 0);
    }
}

#[test]
fn a_new_message_of_a_live_vector_is_told_and_not_sent() {
    let mut bench = programmed(Generation::Modern);
    mask(&mut bench, 0, 0);
    bench.acts();
    bench.write(Bar::Msix, 8, &0x99_u32.to_le_bytes());
    let changed = MsiMessage {
        data: 0x99,
        ..message(0)
    };
    assert_eq!(bench.acts(), [Act::Route(0, Some(changed))]);
    mask(&mut bench, 0, 0);
    assert_eq!(bench.acts(), [], "nothing has changed");
}

#[test]
fn narrow_accesses_reach_nothing_and_wide_ones_two_words() {
    let mut bench = programmed(Generation::Modern);
    bench.write(Bar::Msix, 8, &[0x77]);
    bench.write(Bar::Msix, 8, &[0x77, 0x77]);
    assert_eq!(bench.read(Bar::Msix, 8), 0x40_u32.to_le_bytes());
    assert_eq!(bench.read(Bar::Msix, 8), [0]);
    assert_eq!(bench.read(Bar::Msix, 8), [0; 2]);
    bench.write(Bar::Msix, 8, &0x55_u64.to_le_bytes());
    assert_eq!(
        bench.acts(),
        [Act::Route(
            0,
            Some(MsiMessage {
                data: 0x55,
                ..message(0)
            })
        )]
    );
    assert_eq!(bench.read(Bar::Msix, 8), 0x55_u64.to_le_bytes());
}

#[test]
fn a_reset_masks_everything_and_takes_routes_back() {
    for generation in Generation::ALL {
        let mut bench = programmed(generation);
        bench.event(0, 1);
        mask(&mut bench, 1, 0);
        bench.acts();
        bench.device.reset(&mut bench.diary);
        assert_eq!(bench.acts(), [Act::Route(1, None)]);
        assert_eq!(bench.config(0x40), 0x0001_0011);
        assert_eq!(
            (pending(&mut bench), bench.read(Bar::Msix, 12)),
            (0, [1, 0, 0, 0])
        );
        assert_eq!(bench.register(8), 3, "the ID stays");
    }
}

#[test]
fn a_vector_that_comes_late_is_told_its_message() {
    for generation in Generation::ALL {
        let mut bench = programmed(generation);
        mask(&mut bench, 0, 0);
        bench.acts();
        bench.vectors(3, 2);
        let acts = [
            Act::Listen(0, 30),
            Act::Route(0, Some(message(0))),
            Act::Listen(1, 31),
        ];
        assert_eq!(bench.acts(), acts, "{generation}: 1 is masked");
    }
}

#[test]
fn unplugging_takes_routes_back_and_lets_the_line_go() {
    let mut bench = programmed(Generation::V2_5);
    mask(&mut bench, 0, 0);
    bench.set_register(0, 1);
    bench.set_register(4, 1);
    bench.acts();
    let Bench {
        device, mut diary, ..
    } = bench;
    device.unplug(&mut diary);
    assert_eq!(diary.acts, [Act::Route(0, None), Act::Line(Level::Low)]);
}
