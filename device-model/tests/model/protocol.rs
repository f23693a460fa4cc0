// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server's stream: what it makes of the device, in whatever pieces it comes.

use ivshmem_device::{Flat, Generation, HostError, Level, Notice, Properties, Role, ServerError};

use crate::bench::{with_server, Act, Bench, Diary, SIZE};

const DOORBELL: u64 = 12;

#[test]
fn a_stream_byte_by_byte_is_the_same_device() {
    for generation in Generation::ALL {
        let mut bench = Bench::new(&with_server(generation));
        let mut numbers = vec![(5_i64, false), (-1, true), (9, true), (5, true)];
        if generation == Generation::Modern {
            numbers.insert(0, (0, false));
        }
        for (name, (number, carries)) in (1..).zip(numbers) {
            for (at, byte) in number.to_le_bytes().into_iter().enumerate() {
                assert_eq!(bench.device.wanted(), 8 - at);
                let len = (number == -1).then_some(SIZE);
                let fd = (carries && at == 3).then(|| bench.fd(name, len, 9));
                let diary = &mut bench.diary;
                bench.device.receive(&[byte], fd, diary).unwrap();
            }
        }
        bench.set_register(DOORBELL, 9 << 16);
        bench.set_register(DOORBELL, 5 << 16);
        assert_eq!(bench.device.id(), Some(5));
        let rung = bench.acts();
        assert!(matches!(
            rung[..],
            [Act::Map(_), Act::Listen(0, own), Act::Ring(other), Act::Ring(again)]
                if own == again && other == own - 1
        ));
    }
}

#[test]
fn peers_join_leave_and_join_again() {
    let properties = Properties {
        vectors: 2,
        ioeventfd: true,
        ..with_server(Generation::Modern)
    };
    let mut bench = Bench::member(&properties, 3);
    for _ in 0..3 {
        bench.vectors(1, 2);
        assert_eq!(
            bench.acts(),
            [Act::Attach(0x1_0000, 10), Act::Attach(0x1_0001, 11)]
        );
        bench.set_register(DOORBELL, 0x1_0001);
        assert_eq!(bench.acts(), [Act::Ring(11)]);
        bench.send(1, None).unwrap();
        assert_eq!(
            bench.acts(),
            [Act::Detach(0x1_0000, 10), Act::Detach(0x1_0001, 11)]
        );
        assert_eq!(bench.live.get(), 0);
        bench.set_register(DOORBELL, 0x1_0001);
        bench.send(1, None).unwrap();
        assert_eq!(bench.acts(), [], "gone, and gone again");
    }
}

#[test]
fn the_own_departure_is_ignored() {
    let mut bench = Bench::member(&with_server(Generation::Modern), 3);
    bench.vectors(3, 1);
    bench.acts();
    bench.send(3, None).unwrap();
    let error = ServerError::Departure { peer: 3 };
    assert_eq!(bench.acts(), [Act::Notice(Notice::Server(error))]);
    bench.set_register(DOORBELL, 3 << 16);
    assert_eq!(bench.acts(), [Act::Ring(30)]);
}

#[test]
fn vectors_may_come_before_the_memory() {
    let mut bench = Bench::new(&with_server(Generation::Modern));
    bench.start(3);
    bench.vectors(1, 1);
    // QEMU 7.2 ends by a segmentation fault on the own one.
    bench.vectors(3, 1);
    bench.memory(1000, SIZE);
    assert_eq!(bench.acts(), [Act::Listen(0, 30), Act::Map(1000)]);
    bench.set_register(DOORBELL, 1 << 16);
    assert_eq!(bench.acts(), [Act::Ring(10)]);
}

#[test]
fn an_own_id_out_of_range_or_with_a_descriptor_is_fatal() {
    for (found, carries) in [(-1, false), (65536, false), (i64::MAX, false), (3, true)] {
        let mut bench = Bench::new(&with_server(Generation::Modern));
        bench.send(0, None).unwrap();
        let fd = carries.then(|| bench.event_fd(1));
        assert_eq!(bench.send(found, fd), Err(ServerError::OwnId { found }));
    }
    let mut bench = Bench::member(&with_server(Generation::Modern), 65535);
    assert_eq!(bench.register(8), 65535);
}

#[test]
fn a_master_is_the_first_client() {
    for (role, id, result) in [
        (Role::Master, 0, Ok(())),
        (Role::Master, 3, Err(ServerError::NotFirst { id: 3 })),
        (Role::Auto, 3, Ok(())),
    ] {
        let properties = Properties {
            role,
            ..with_server(Generation::Modern)
        };
        let mut bench = Bench::new(&properties);
        bench.start(id);
        let fd = bench.fd(1000, Some(SIZE), 3);
        assert_eq!(bench.send(-1, Some(fd)), result);
    }
}

#[test]
fn memory_that_cannot_be_mapped_is_an_error_with_its_reason() {
    let error = HostError { errno: 12 };
    let mut bench = Bench::new(&with_server(Generation::Modern));
    bench.start(3);
    bench.diary.refuse = Some(error);
    let fd = bench.fd(1000, Some(SIZE), 3);
    assert_eq!(bench.send(-1, Some(fd)), Err(ServerError::Map(error)));
    let mut bench = Bench::new(&with_server(Generation::V2_5));
    bench.diary.refuse = Some(error);
    let fd = bench.fd(1000, Some(SIZE), 3);
    assert_eq!(bench.send(-1, Some(fd)), Ok(()));
    let noticed = Act::Notice(Notice::Server(ServerError::Map(error)));
    assert_eq!(bench.acts(), [noticed], "a historic device goes on");
    let mut bench = Bench::new(&with_server(Generation::Modern));
    bench.start(3);
    let fd = bench.event_fd(1);
    assert_eq!(bench.send(-1, Some(fd)), Err(ServerError::NotMemory));
    assert_eq!(bench.live.get(), 0);
}

#[test]
fn a_server_that_goes_leaves_the_peers_behind() {
    for generation in Generation::ALL {
        let mut bench = Bench::member(&with_server(generation), 3);
        bench.vectors(1, 1);
        bench.acts();
        bench.device.server_gone(&mut bench.diary).unwrap();
        assert_eq!(bench.acts(), [Act::Notice(Notice::ServerGone)]);
        bench.set_register(DOORBELL, 1 << 16);
        assert_eq!(bench.acts(), [Act::Ring(10)], "{generation}");
        assert_eq!(bench.register(8), 3);
    }
}

/// `ivshmem-flat` with ID 3, vectors of its own and of peer 1.
#[test]
fn ivshmem_flat_pulses_its_line_for_vector_0_alone() {
    let bench = Bench::new(&with_server(Generation::Modern));
    let properties = Properties {
        size_bytes: 4096,
        ..Properties::flat("server")
    };
    let mut diary = Diary::default();
    let mut flat = Flat::<Diary>::new(&properties).unwrap();
    assert!(!flat.is_realized());
    for (number, fd) in [
        (0_i64, None),
        (3, None),
        (-1, Some(bench.fd(1000, Some(4096), 3))),
        (1, Some(bench.event_fd(10))),
        (3, Some(bench.event_fd(30))),
        (3, Some(bench.event_fd(31))),
    ] {
        flat.receive(&number.to_le_bytes(), fd, &mut diary).unwrap();
    }
    assert!(flat.is_realized());
    assert_eq!(diary.acts, [Act::Map(1000), Act::Listen(0, 30)]);
    diary.acts.clear();
    flat.event(0, &mut diary);
    flat.event(1, &mut diary);
    assert_eq!(diary.acts, [Act::Line(Level::High), Act::Line(Level::Low)]);
    diary.acts.clear();
    for (offset, value) in [
        (0, !0),
        (4, !0),
        (8, 9),
        (12, 1 << 16),
        (12, 1 << 16 | 64),
        (28, 1 << 16),
    ] {
        flat.write_register(offset, value, &mut diary);
    }
    assert_eq!(diary.acts, [Act::Ring(10)]);
    assert_eq!(
        [0, 4, 8, 12, 16].map(|at| flat.read_register(at)),
        [0, 0, 3, 0, 0]
    );
}

#[test]
fn ivshmem_flat_takes_memory_of_its_own_size_alone() {
    let bench = Bench::new(&with_server(Generation::Modern));
    let properties = Properties {
        size_bytes: 4096,
        ..Properties::flat("server")
    };
    for has in [4095, 8192] {
        let mut diary = Diary::default();
        let mut flat = Flat::<Diary>::new(&properties).unwrap();
        flat.receive(&[0; 16], None, &mut diary).unwrap();
        let fd = bench.fd(1000, Some(has), 3);
        let result = flat.receive(&[0xff; 8], Some(fd), &mut diary);
        assert_eq!(result, Err(ServerError::MemorySize { has }));
    }
}
