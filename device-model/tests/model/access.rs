// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest sees of each flavour, by accesses of every kind.

use ivshmem_device::{Bar, Generation, Properties, Source};

use crate::bench::{with_server, Act, Bench, TestMemory, SIZE};

const REGISTERS: Bar = Bar::Registers;

fn shm(generation: Generation) -> Properties {
    Properties {
        size_bytes: SIZE,
        ..Properties::legacy(generation, Source::Shm("memory".into()))
    }
}

#[test]
fn each_flavour_has_its_identity() {
    let msix = 0x11;
    for (bench, revision, pin, capability, bars) in [
        (
            Bench::alone(&shm(Generation::V2_3)),
            0,
            1,
            0,
            [true, false, true],
        ),
        (
            Bench::member(&with_server(Generation::V2_3), 0),
            0,
            1,
            msix,
            [true; 3],
        ),
        (
            Bench::member(&with_server(Generation::Modern), 0),
            1,
            0,
            msix,
            [true; 3],
        ),
        (
            Bench::alone(&Properties::plain("memory")),
            1,
            0,
            0,
            [true, false, true],
        ),
    ] {
        assert_eq!(bench.config(0x00), 0x1110_1af4);
        assert_eq!(bench.config(0x08), 0x0500_0000 | revision);
        assert_eq!(bench.config(0x2c), 0x1100_1af4);
        assert_eq!(bench.config(0x3c) >> 8 & 0xff, pin);
        assert_eq!(bench.config(0x40) & 0xff, capability);
        assert_eq!(bench.config(0x04) >> 20 & 1, u32::from(capability != 0));
        assert_eq!(
            Bar::ALL.map(|bar| bench.device.bar_len(bar).is_some()),
            bars
        );
        assert_eq!(bench.device.bar_len(Bar::Memory), Some(SIZE));
    }
}

#[test]
fn bar_2_has_32_bits_if_use64_is_off() {
    let mut narrow = Bench::alone(&Properties {
        use64: false,
        ..shm(Generation::V2_5)
    });
    let mut wide = Bench::alone(&shm(Generation::V2_5));
    for (bench, low, high) in [(&mut narrow, 0xfff0_0008, 0), (&mut wide, 0xfff0_000c, !0)] {
        bench.set_config(0x18, &[0xff; 8]);
        assert_eq!((bench.config(0x18), bench.config(0x1c)), (low, high));
    }
}

#[test]
fn addresses_are_claimed_while_memory_decode_is_on() {
    let mut bench = Bench::member(&with_server(Generation::Modern), 0);
    bench.set_config(0x10, &0xfebf_0000_u32.to_le_bytes());
    bench.set_config(0x14, &0xfebf_1000_u32.to_le_bytes());
    bench.set_config(0x18, &0x80_0000_0000_u64.to_le_bytes());
    for (address, claimed) in [
        (0xfebf_0000, Some((Bar::Registers, 0))),
        (0xfebf_00ff, Some((Bar::Registers, 0xff))),
        (0xfebf_0100, None),
        (0xfebf_1800, Some((Bar::Msix, 0x800))),
        (0xfebf_2000, None),
        (0x80_0000_0000, Some((Bar::Memory, 0))),
        (0x80_000f_ffff, Some((Bar::Memory, SIZE - 1))),
        (0x80_0010_0000, None),
        (0, None),
        (u64::MAX, None),
    ] {
        assert_eq!(bench.device.decode(address), claimed, "{address:#x}");
    }
    assert_eq!(
        bench.device.bar_range(Bar::Msix),
        Some(0xfebf_1000..0xfebf_2000)
    );
    bench.set_config(0x10, &[0; 4]);
    assert_eq!(bench.device.decode(0), None, "a bar at 0 is none");
    bench.set_config(0x04, &[0, 0]);
    assert_eq!(bench.device.decode(0xfebf_1000), None);
}

#[test]
fn narrow_reads_clear_the_whole_status() {
    for width in [1, 2, 4] {
        let mut bench = Bench::alone(&Properties::plain("memory"));
        bench.set_register(4, 0x1234_5678);
        let mut bytes = [0; 4];
        let part = &mut bytes[..width];
        bench.device.read_bar(REGISTERS, 4, part, &mut bench.diary);
        assert_eq!(part, &0x1234_5678_u32.to_le_bytes()[..width]);
        assert_eq!(bench.register(4), 0, "{width}");
    }
    let mut bench = Bench::alone(&Properties::plain("memory"));
    bench.set_register(4, !0);
    assert_eq!(bench.read(REGISTERS, 5), [0]);
    assert_eq!(bench.read(REGISTERS, 6), [0; 2]);
    assert_eq!(bench.register(4), !0, "no side effect inside a register");
}

#[test]
fn narrow_writes_replace_the_whole_register() {
    let mut bench = Bench::alone(&Properties::plain("memory"));
    for (offset, bytes, mask) in [(1, &[0xab][..], 0xab), (2, &[0xcd, 0xef][..], 0xefcd)] {
        bench.set_register(0, !0);
        bench.write(REGISTERS, offset, bytes);
        assert_eq!(bench.register(0), mask);
    }
}

#[test]
fn a_wide_access_is_two_with_the_low_half_first() {
    let mut bench = Bench::member(&with_server(Generation::Modern), 7);
    bench.vectors(2, 1);
    bench.acts();
    bench.write(REGISTERS, 0, &0x2222_2222_1111_1111_u64.to_le_bytes());
    assert_eq!(
        bench.read(REGISTERS, 0),
        0x2222_2222_1111_1111_u64.to_le_bytes()
    );
    assert_eq!(bench.register(4), 0);
    assert_eq!(bench.read(REGISTERS, 8), 7_u64.to_le_bytes());
    bench.write(REGISTERS, 8, &(2_u64 << 48).to_le_bytes());
    assert_eq!(bench.acts(), [Act::Ring(20)]);
    // 2 bytes at 0x0e are peer 0, vector 1; here nobody is peer 0.
    bench.write(REGISTERS, 0xe, &[1, 0]);
    assert_eq!(bench.acts(), []);
}

#[test]
fn what_is_not_there_reads_0_and_forgets() {
    let mut bench = Bench::alone(&Properties::plain("memory"));
    for offset in [0xc, 0x10, 0xfc, 0x100, u64::MAX - 3] {
        bench.write(REGISTERS, offset, &[0xff; 4]);
        assert_eq!(bench.read(REGISTERS, offset), [0; 4]);
        bench.write(Bar::Msix, offset, &[0xff; 4]);
        assert_eq!(bench.read(Bar::Msix, offset), [0; 4]);
    }
    assert_eq!(bench.acts(), []);
}

#[test]
fn memory_ends_where_it_ends() {
    let mut bench = Bench::alone(&Properties::plain("memory"));
    bench.write(Bar::Memory, SIZE - 4, b"12345678");
    assert_eq!(bench.read(Bar::Memory, SIZE - 4), *b"1234\0\0\0\0");
    for offset in [SIZE, SIZE + 1, u64::MAX] {
        bench.write(Bar::Memory, offset, b"x");
        assert_eq!(bench.read(Bar::Memory, offset), [0]);
    }
    assert_eq!(bench.read(Bar::Memory, 0), [0; 8]);
}

/// Found by fuzzing: the second half went to offset 0.
#[test]
fn an_access_across_the_end_of_all_offsets_does_not_begin_anew() {
    let mut bench = Bench::member(&with_server(Generation::Modern), 7);
    for bar in [REGISTERS, Bar::Msix] {
        bench.write(bar, u64::MAX - 3, &[0xff; 8]);
        assert_eq!(bench.read(bar, u64::MAX - 3), [0; 8]);
        assert_eq!(bench.read(bar, 0), [0; 4]);
    }
}

#[test]
fn memory_larger_than_the_device_is_seen_in_part() {
    let memory = TestMemory::new(1000, 2 * SIZE);
    memory.bytes.borrow_mut().fill(0x55);
    let mut bench = Bench::on(&shm(Generation::V2_5), memory);
    assert_eq!(bench.read(Bar::Memory, SIZE - 2), [0x55, 0x55, 0, 0]);
    bench.write(Bar::Memory, SIZE - 2, &[1; 4]);
    let bytes = bench.device.memory().unwrap().bytes.borrow();
    assert_eq!(bytes[SIZE as usize - 2..][..4], [1, 1, 0x55, 0x55]);
}
