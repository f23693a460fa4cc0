// SPDX-License-Identifier: MIT OR Apache-2.0
//! Differences in what the server says.

use ivshmem_device::Generation::{Modern, V2_3, V2_5};
use ivshmem_device::{Bar, Generation, HostError, ServerError};

use super::{ioeventfd, notice, DOORBELL, NONE, POSITION};
use crate::bench::{with_server, Act, Bench, SIZE};

#[test]
fn the_first_message_is_the_id_or_a_version() {
    for generation in [V2_3, V2_5] {
        let mut bench = Bench::new(&with_server(generation));
        bench.send(5, None).unwrap();
        bench.memory(1000, SIZE);
        assert_eq!(bench.register(POSITION), 5);
    }
    let mut bench = Bench::new(&with_server(Modern));
    assert_eq!(bench.send(5, None), Err(ServerError::Version { found: 5 }));
    let mut bench = Bench::new(&with_server(Modern));
    let fd = bench.event_fd(1);
    assert_eq!(
        bench.send(0, Some(fd)),
        Err(ServerError::Version { found: 0 })
    );
    // A legacy server that gives ID 0: the ID passes as the version, and the memory does not pass as the ID.
    let mut bench = Bench::new(&with_server(Modern));
    bench.send(0, None).unwrap();
    let memory = bench.fd(1000, Some(SIZE), 3);
    assert_eq!(
        bench.send(-1, Some(memory)),
        Err(ServerError::OwnId { found: -1 })
    );
}

#[test]
fn the_historic_device_is_set_up_while_the_guest_runs() {
    for generation in [V2_3, V2_5] {
        let mut bench = Bench::new(&with_server(generation));
        assert!(bench.device.is_realized());
        assert_eq!(bench.register(POSITION), NONE);
        assert_eq!(bench.device.bar_len(Bar::Memory), Some(SIZE));
        bench.start(4);
        assert_eq!(bench.register(POSITION), NONE, "no memory yet");
        assert_eq!(bench.read(Bar::Memory, 0), [0; 8]);
        bench.write(Bar::Memory, 0, b"lost");
        bench.memory(1000, SIZE);
        assert_eq!(bench.register(POSITION), 4);
        assert_eq!(bench.read(Bar::Memory, 0), [0; 8]);
    }
    let mut bench = Bench::new(&with_server(Modern));
    assert!(!bench.device.is_realized());
    bench.start(4);
    assert!(!bench.device.is_realized());
    assert_eq!(
        bench.device.server_gone(&mut bench.diary),
        Err(ServerError::Gone)
    );
    bench.memory(1000, SIZE);
    assert!(bench.device.is_realized());
    assert_eq!(bench.device.server_gone(&mut bench.diary), Ok(()));
    assert_eq!(bench.register(POSITION), 4);
}

#[test]
fn qemu_2_3_takes_any_stranger_that_leaves_for_its_own_id() {
    let mut bench = Bench::member(&with_server(V2_3), 3);
    bench.vectors(7, 1);
    bench.send(7, None).unwrap();
    assert_eq!(bench.register(POSITION), 3, "7 was known");
    bench.send(9, None).unwrap();
    assert_eq!(bench.register(POSITION), 9);
    for generation in [V2_5, Modern] {
        let mut bench = Bench::member(&with_server(generation), 3);
        bench.send(9, None).unwrap();
        assert_eq!(bench.register(POSITION), 3);
    }
}

#[test]
fn qemu_2_3_takes_memory_of_descriptor_0_for_none() {
    for (generation, position) in [(V2_3, NONE), (V2_5, 3), (Modern, 3)] {
        let mut bench = Bench::new(&with_server(generation));
        bench.start(3);
        let memory = bench.fd(1000, Some(SIZE), 0);
        bench.send(-1, Some(memory)).unwrap();
        assert_eq!(bench.register(POSITION), position, "{generation}");
        assert!(bench.device.memory().is_some());
    }
}

#[test]
fn eventfds_beyond_the_vectors_are_refused_in_every_generation() {
    for generation in Generation::ALL {
        let mut bench = Bench::member(&with_server(generation), 3);
        for peer in [3_u16, 8] {
            bench.vectors(peer, 1);
            bench.acts();
            bench.vectors(peer, 1);
            let error = ServerError::TooManyEvents { peer, vectors: 1 };
            assert_eq!(bench.acts(), notice(error), "{generation}");
        }
        // The memory's is with the mapping here.
        assert_eq!(bench.live.get(), 2, "{generation}: the refused are closed");
    }
}

#[test]
fn ids_end_at_65534_and_in_the_modern_generation_at_65535() {
    for generation in Generation::ALL {
        let mut bench = Bench::member(&with_server(generation), 3);
        for number in [-2, 65536, 1 << 32, (1 << 32) + 3, i64::MIN, i64::MAX] {
            for descriptor in [false, true] {
                let fd = descriptor.then(|| bench.event_fd(1));
                bench.send(number, fd).unwrap();
                let error = ServerError::Number { found: number };
                assert_eq!(bench.acts(), notice(error), "{generation}");
            }
        }
        bench.vectors(65534, 1);
        assert_eq!(bench.acts(), []);
        bench.vectors(65535, 1);
        let last = if generation == Modern {
            vec![]
        } else {
            notice(ServerError::Number { found: 65535 })
        };
        assert_eq!(bench.acts(), last, "{generation}");
    }
}

#[test]
fn a_second_memory_is_mapped_by_qemu_2_3_alone() {
    for generation in Generation::ALL {
        let mut bench = Bench::member(&with_server(generation), 3);
        bench.memory(2000, SIZE);
        let (acts, name) = match generation {
            V2_3 => (vec![Act::Map(2000)], 2000),
            V2_5 | Modern => (notice(ServerError::SecondMemory), 1000),
        };
        assert_eq!(bench.acts(), acts, "{generation}");
        assert_eq!(bench.device.memory().map(|memory| memory.name), Some(name));
    }
}

#[test]
fn a_bare_minus_one_is_a_departure_or_memory_forgotten() {
    for (properties, acts) in [
        (with_server(V2_3), vec![]),
        (ioeventfd(V2_3), vec![]),
        (with_server(V2_5), vec![]),
        (ioeventfd(V2_5), notice(ServerError::Departure { peer: -1 })),
        (with_server(Modern), notice(ServerError::SecondMemory)),
    ] {
        let mut bench = Bench::member(&properties, 3);
        bench.send(-1, None).unwrap();
        assert_eq!(bench.acts(), acts, "{properties}");
    }
    let mut bench = Bench::new(&with_server(Modern));
    bench.start(3);
    assert_eq!(bench.send(-1, None), Err(ServerError::NoMemory));
}

#[test]
fn peers_that_left_stay_ringable_until_2_5_without_ioeventfd() {
    for (properties, closed) in [
        (with_server(V2_3), false),
        (with_server(V2_5), false),
        (ioeventfd(V2_3), true),
        (ioeventfd(V2_5), true),
        (with_server(Modern), true),
    ] {
        let mut bench = Bench::member(&properties, 3);
        bench.vectors(1, 1);
        bench.send(1, None).unwrap();
        bench.acts();
        bench.set_register(DOORBELL, 1 << 16);
        let rung = if closed { vec![] } else { vec![Act::Ring(10)] };
        assert_eq!(bench.acts(), rung, "{properties}");
        assert_eq!(bench.live.get(), usize::from(!closed), "{properties}");
    }
}

#[test]
fn an_own_eventfd_that_cannot_be_watched_ends_2_3_only() {
    let error = HostError { errno: 24 };
    let failure = ServerError::Listen { vector: 0, error };
    for (generation, result, acts) in [
        (V2_3, Err(failure), vec![]),
        (V2_5, Ok(()), notice(failure)),
        (Modern, Ok(()), notice(failure)),
    ] {
        let mut bench = Bench::member(&with_server(generation), 3);
        bench.diary.refuse = Some(error);
        let fd = bench.event_fd(30);
        assert_eq!(bench.send(3, Some(fd)), result, "{generation}");
        assert_eq!(bench.acts(), acts, "{generation}");
        bench.set_register(DOORBELL, 3 << 16);
        assert_eq!(bench.acts(), [Act::Ring(30)], "it can be rung all the same");
    }
}

#[test]
fn memory_that_is_too_small_is_an_error_in_every_generation() {
    let small = ServerError::MemoryTooSmall {
        has: SIZE / 2,
        needs: SIZE,
    };
    for (generation, result, acts) in [(V2_3, Err(small), vec![]), (V2_5, Ok(()), notice(small))] {
        let mut bench = Bench::new(&with_server(generation));
        bench.start(3);
        let fd = bench.fd(1000, Some(SIZE / 2), 3);
        assert_eq!(bench.send(-1, Some(fd)), result, "{generation}");
        assert_eq!(bench.acts(), acts);
        assert_eq!((bench.register(POSITION), bench.live.get()), (NONE, 0));
    }
    for has in [0, 100, 4095, 6000, 3 << 20] {
        let mut bench = Bench::new(&with_server(Modern));
        bench.start(3);
        let fd = bench.fd(1000, Some(has), 3);
        assert_eq!(
            bench.send(-1, Some(fd)),
            Err(ServerError::MemorySize { has })
        );
    }
}
