// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt line: level = status AND mask, unless it is disabled.

use ivshmem_device::{Generation, Level, Properties, Source};

use crate::bench::{with_server, Act, Bench, SIZE};

const MASK: u64 = 0;
const STATUS: u64 = 4;
/// The word of Command and Status.
const COMMAND: u16 = 4;
const INTX_DISABLE: u16 = 1 << 10;
const INTERRUPT_STATUS: u32 = 1 << 19;

const HIGH: Act = Act::Line(Level::High);
const LOW: Act = Act::Line(Level::Low);

fn line() -> Bench {
    let properties = Properties {
        msi: false,
        ..with_server(Generation::V2_5)
    };
    Bench::member(&properties, 3)
}

#[test]
fn the_line_follows_status_and_mask() {
    let mut bench = line();
    bench.event(0, 1);
    assert_eq!(bench.acts(), [], "masked since power-on");
    bench.set_register(MASK, !0);
    assert_eq!(bench.acts(), [HIGH]);
    bench.set_register(MASK, 2);
    assert_eq!(bench.acts(), [LOW]);
    bench.set_register(MASK, 3);
    bench.event(0, 1);
    assert_eq!(bench.acts(), [HIGH], "told when it changes only");
    assert_eq!(bench.register(STATUS), 1);
    assert_eq!(bench.acts(), [LOW]);
    bench.set_register(STATUS, 2);
    assert_eq!(bench.acts(), [HIGH], "raised by hand");
    bench.event(0, 256);
    assert_eq!(bench.acts(), [LOW], "the status is replaced, not added to");
}

#[test]
fn a_disabled_line_is_low_and_its_status_bit_is_not() {
    let mut bench = line();
    bench.set_register(MASK, 1);
    bench.set_config(COMMAND, &INTX_DISABLE.to_le_bytes());
    bench.event(0, 1);
    assert_eq!(bench.acts(), []);
    assert_eq!(bench.config(COMMAND) & INTERRUPT_STATUS, INTERRUPT_STATUS);
    bench.set_config(COMMAND, &[0, 0]);
    assert_eq!(bench.acts(), [HIGH]);
    bench.set_config(COMMAND, &INTX_DISABLE.to_le_bytes());
    assert_eq!(bench.acts(), [LOW]);
    bench.register(STATUS);
    assert_eq!(bench.config(COMMAND) & INTERRUPT_STATUS, 0);
    assert_eq!(bench.acts(), []);
}

#[test]
fn every_vector_is_the_same_line() {
    let properties = Properties {
        msi: false,
        vectors: 3,
        ..with_server(Generation::V2_3)
    };
    let mut bench = Bench::member(&properties, 3);
    bench.vectors(3, 3);
    let listened = (0..3).map(|vector| Act::Listen(vector, 30 + u32::from(vector)));
    assert_eq!(bench.acts(), listened.collect::<Vec<_>>());
    bench.event(2, 1);
    assert_eq!(bench.register(STATUS), 1);
}

#[test]
fn the_line_works_by_hand_beside_msix_and_without_a_server() {
    let shm = Properties {
        size_bytes: SIZE,
        ..Properties::legacy(Generation::V2_3, Source::Shm("memory".into()))
    };
    for mut bench in [
        Bench::member(&with_server(Generation::V2_5), 3),
        Bench::alone(&shm),
    ] {
        bench.set_register(MASK, 1);
        bench.set_register(STATUS, 1);
        assert_eq!(bench.acts(), [HIGH]);
        bench.device.reset(&mut bench.diary);
        assert_eq!(bench.acts(), [LOW]);
    }
}

#[test]
fn a_modern_device_has_no_line() {
    for mut bench in [
        Bench::member(&with_server(Generation::Modern), 3),
        Bench::alone(&Properties::plain("memory")),
    ] {
        bench.set_register(MASK, !0);
        bench.set_register(STATUS, !0);
        bench.event(0, 1);
        assert_eq!(bench.acts(), []);
        assert_eq!(bench.config(COMMAND) & INTERRUPT_STATUS, 0);
        assert_eq!(bench.config(0x3c) >> 8 & 0xff, 0, "no pin");
    }
}
