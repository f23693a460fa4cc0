// SPDX-License-Identifier: MIT OR Apache-2.0
//! Differences that the guest sees, or the embedder.

use ivshmem_device::properties::ChardevKind;
use ivshmem_device::Generation::{Modern, V2_3, V2_5};
use ivshmem_device::{Bar, Generation, Kind, Level, Notice, Properties, PropertyError};

use super::{intx, ioeventfd, shm, DOORBELL};
use crate::bench::{with_server, Act, Bench};

#[test]
fn doorbells_reach_known_peers_alone() {
    for generation in Generation::ALL {
        let mut bench = Bench::member(&with_server(generation), 3);
        for peer in [0, 3, 17, 0xffff] {
            bench.set_register(DOORBELL, peer << 16);
        }
        assert_eq!(bench.acts(), [], "{generation}: nobody is known");
        bench.vectors(17, 1);
        bench.acts();
        for peer in [16, 17, 18] {
            bench.set_register(DOORBELL, peer << 16);
        }
        assert_eq!(bench.acts(), [Act::Ring(170)], "{generation}");
    }
}

#[test]
fn without_a_server_qemu_2_3_would_have_ended_by_a_doorbell() {
    let mut bench = Bench::alone(&shm(V2_3));
    bench.set_register(DOORBELL, 0);
    assert_eq!(bench.acts(), [Act::Notice(Notice::DoorbellWithoutServer)]);
    bench.set_register(DOORBELL, 1 << 16);
    assert_eq!(bench.acts(), [], "peer 1 is beyond its table");
    for properties in [shm(V2_5), Properties::plain("memory")] {
        let mut bench = Bench::alone(&properties);
        bench.set_register(DOORBELL, 0);
        assert_eq!(bench.acts(), []);
    }
}

#[test]
fn the_low_8_bits_of_a_vector_count_but_for_an_ioeventfd() {
    for generation in Generation::ALL {
        for on in [false, true] {
            let mut bench = Bench::member(
                &Properties {
                    ioeventfd: on,
                    vectors: 2,
                    ..with_server(generation)
                },
                3,
            );
            bench.vectors(1, 2);
            bench.acts();
            bench.set_register(DOORBELL, 0x1_0100);
            bench.set_register(DOORBELL, 0x1_0001);
            assert_eq!(bench.acts(), [Act::Ring(10), Act::Ring(11)], "{generation}");
        }
    }
    // 256 and above exist in the modern generation alone.
    let many = |ioeventfd| Properties {
        ioeventfd,
        vectors: 300,
        ..with_server(Modern)
    };
    for (on, rung) in [(false, 1001), (true, 1257)] {
        let mut bench = Bench::member(&many(on), 3);
        bench.vectors(100, 300);
        bench.acts();
        bench.set_register(DOORBELL, 100 << 16 | 257);
        assert_eq!(bench.acts(), [Act::Ring(rung)]);
        // Of another width or place, no ioeventfd matches.
        bench.write(
            Bar::Registers,
            8,
            &(100_u64 << 48 | 257 << 32).to_le_bytes(),
        );
        assert_eq!(bench.acts(), [Act::Ring(1001)]);
    }
}

#[test]
fn the_status_of_an_event_is_the_low_byte_of_its_counter() {
    for generation in [V2_3, V2_5] {
        let mut bench = Bench::member(&intx(generation), 3);
        for (counter, status) in [(1, 1), (2, 2), (255, 255), (256, 0), (0x102, 2)] {
            bench.event(0, counter);
            assert_eq!(bench.register(4), status, "{generation}: {counter}");
            assert_eq!(bench.register(4), 0);
        }
    }
}

#[test]
fn two_coalesced_doorbells_pass_a_mask_of_1_by() {
    for generation in [V2_3, V2_5] {
        let mut bench = Bench::member(&intx(generation), 3);
        bench.set_register(0, 1);
        bench.event(0, 2);
        assert_eq!(bench.acts(), []);
        bench.event(0, 1);
        assert_eq!(bench.acts(), [Act::Line(Level::High)]);
    }
}

#[test]
fn a_reset_clears_the_mask_in_the_modern_generation_alone() {
    for generation in Generation::ALL {
        let mut bench = Bench::member(&with_server(generation), 3);
        bench.set_register(0, 0x1234);
        bench.set_register(4, 0x5678);
        bench.device.reset(&mut bench.diary);
        let mask = if generation == Modern { 0 } else { 0x1234 };
        assert_eq!(
            (bench.register(0), bench.register(4)),
            (mask, 0),
            "{generation}"
        );
    }
}

#[test]
fn an_event_while_msix_is_off_is_pending_historically_and_lost_today() {
    for generation in Generation::ALL {
        let mut bench = Bench::member(&with_server(generation), 3);
        bench.event(0, 1);
        let pending = bench.read(Bar::Msix, 0x800);
        let expected = u32::from(generation != Modern);
        assert_eq!(u32::from_le_bytes(pending), expected, "{generation}");
        assert_eq!(bench.acts(), []);
    }
}

#[test]
fn a_chardev_that_is_no_socket_is_overlooked_refused_or_taken() {
    for (generation, result) in [
        (V2_3, Err(PropertyError::NoSource { kind: Kind::Legacy })),
        (V2_5, Err(PropertyError::NotASocket)),
        (Modern, Ok(())),
    ] {
        let properties = with_server(generation);
        assert_eq!(properties.check_chardev(ChardevKind::Other), result);
        assert_eq!(properties.check_chardev(ChardevKind::UnixSocket), Ok(()));
    }
}

#[test]
fn unplugging_gives_everything_back_in_every_generation() {
    for generation in Generation::ALL {
        let mut bench = Bench::member(&ioeventfd(generation), 3);
        bench.vectors(1, 2);
        bench.vectors(3, 1);
        let Bench {
            device,
            mut diary,
            live,
            ..
        } = bench;
        let mut attached = Vec::new();
        let mut taken_back = Vec::new();
        device.unplug(&mut diary);
        for act in diary.acts {
            match act {
                Act::Attach(value, _) => attached.push(value),
                Act::Detach(value, _) => taken_back.push(value),
                _ => {}
            }
        }
        assert_eq!(attached, [0x1_0000, 0x1_0001, 0x3_0000], "{generation}");
        assert_eq!(taken_back, attached, "{generation}");
        assert_eq!(live.get(), 0, "{generation}");
    }
}
