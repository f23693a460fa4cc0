// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is rung, and how often.

use std::hint;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::{Endpoint, Evicted, Receiver, SendError, Sender, Wait};
use ivshmem::{Ivshmem, MmioRegion, PeerId};

use super::support::{
    connect, connected_by, format, join, join_as, map, wait, Bells, Numbers, DEADLINE,
};

/// Connects device 0 and device 1 by rings of 64 KiB, and runs something with both ends.
fn connected<R>(
    vectors: [u16; 2],
    run: impl FnOnce(Endpoint<'_, &Bells>, Endpoint<'_, &Bells>, &Bells) -> R,
) -> R {
    connected_by(16, vectors, run)
}

/// Sends, and sleeps on `device` while there is no room.
fn send(sender: &mut Sender<'_, &Bells>, bells: &Bells, device: u16, message: &[u8]) {
    let mut start = None;
    loop {
        match sender.try_send(message) {
            Ok(()) => return,
            Err(error) => assert_eq!(error, SendError::Full),
        }
        let start = start.get_or_insert_with(Instant::now);
        assert!(start.elapsed() < DEADLINE, "nobody receives");
        wait(sender.arm(message.len()).unwrap(), bells, device);
    }
}

/// Receives, and sleeps on `device` while there is nothing.
fn receive(receiver: &mut Receiver<'_, &Bells>, bells: &Bells, device: u16, buffer: &mut [u8]) {
    let mut start = None;
    while receiver.try_recv(buffer).unwrap().is_none() {
        let start = start.get_or_insert_with(Instant::now);
        assert!(start.elapsed() < DEADLINE, "nobody sends");
        wait(receiver.arm().unwrap(), bells, device);
    }
}

#[test]
fn a_polling_receiver_is_never_rung() {
    connected([1, 1], |here, there, bells| {
        let (mut sender, mut receiver) = (here.split().0, there.split().1);
        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..100_000_u64 {
                    while sender.try_send(&number.to_le_bytes()).is_err() {
                        assert!(start.elapsed() < DEADLINE, "stuck at {number}");
                        thread::yield_now();
                    }
                }
            });
            let mut buffer = [0; 8];
            for number in 0..100_000_u64 {
                while receiver.try_recv(&mut buffer).unwrap().is_none() {
                    assert!(start.elapsed() < DEADLINE, "stuck at {number}");
                    thread::yield_now();
                }
                assert_eq!(u64::from_le_bytes(buffer), number);
            }
        });
        assert_eq!((bells.rung(0), bells.rung(1)), (0, 0));
    });
}

#[test]
fn a_burst_to_a_sleeping_receiver_rings_once() {
    connected([1, 4], |mut here, mut there, bells| {
        let mut buffer = [0; 64];
        for round in 1..=20 {
            assert_eq!(there.receiver().arm(), Ok(Wait::UntilRung));
            for _ in 0..500 {
                here.sender().try_send(&[1; 64]).unwrap();
            }
            assert_eq!(bells.rung(1), round, "for the first of them alone");
            assert_eq!(
                bells.vectors(1),
                1 << 0,
                "the sender's slot chooses the vector"
            );
            for _ in 0..500 {
                assert_eq!(there.receiver().try_recv(&mut buffer), Ok(Some(64)));
            }
        }
        assert_eq!(bells.rung(0), 0);
        there.sender().try_send(&[0]).unwrap();
        assert_eq!(bells.rung(0), 0, "nobody has asked");
        here.receiver().try_recv(&mut buffer).unwrap();
        assert_eq!(here.receiver().arm(), Ok(Wait::UntilRung));
        there.sender().try_send(&[0]).unwrap();
        assert_eq!(
            (bells.rung(0), bells.vectors(0)),
            (1, 1 << 0),
            "slot 1 modulo 1"
        );
    });
}

#[test]
fn who_has_no_vectors_is_never_rung_and_is_told_so() {
    connected([1, 0], |mut here, mut there, bells| {
        assert_eq!(there.receiver().arm(), Ok(Wait::Briefly));
        while here.sender().try_send(&[0; 64]).is_ok() {}
        assert_eq!(bells.rung(1), 0);
        assert_eq!(
            here.sender().arm(64),
            Ok(Wait::UntilRung),
            "it can ring, though"
        );
        let mut buffer = [0; 64];
        while there.receiver().try_recv(&mut buffer).unwrap().is_some() {}
        assert_eq!(bells.rung(0), 1);
    });
}

#[test]
fn who_has_moved_is_rung_where_it_was_and_where_it_is() {
    let mapping = map(1 << 18);
    let bells = Bells::default();
    let region = format(mapping.memory(), 3, 12);
    let mut one = join_as(region, "one", Some(0), 1, 0);
    let mut other = join_as(region, "other", Some(1), 2, 0);
    let mut here = one.connect(other.slot(), &bells).unwrap();
    let mut there = other.connect(one.slot(), &bells).unwrap();
    let mut ring = |rung: [u32; 4]| {
        assert_eq!(there.receiver().arm(), Ok(Wait::UntilRung));
        here.sender().try_send(&[0]).unwrap();
        let mut buffer = [0];
        assert_eq!(there.receiver().try_recv(&mut buffer), Ok(Some(1)));
        assert_eq!([0, 1, 2, 3].map(|device| bells.rung(device)), rung);
    };
    ring([0, 1, 0, 0]);
    other.set_address(Some(PeerId(2)), 1);
    ring([0, 2, 1, 0]);
    assert_eq!(
        other.poll_event(1).unwrap().map(|event| event.slot),
        Some(one.slot())
    );
    other.set_address(Some(PeerId(3)), 1);
    ring([0, 3, 1, 1]);
    other.set_address(None, 0);
    ring([0, 4, 1, 1]);
    other.set_address(Some(PeerId(1)), 2);
    ring([0, 5, 1, 1]);

    // One that comes later knows nothing of before.
    other.set_address(Some(PeerId(2)), 1);
    let mut late = join_as(region, "late", Some(3), 1, 1);
    let mut from_late = late.connect(other.slot(), &bells).unwrap();
    let mut to_late = other.connect(late.slot(), &bells).unwrap();
    assert_eq!(to_late.receiver().arm(), Ok(Wait::UntilRung));
    from_late.sender().try_send(&[0]).unwrap();
    assert_eq!([0, 1, 2, 3].map(|device| bells.rung(device)), [0, 5, 2, 1]);
}

#[test]
fn who_had_no_device_is_not_rung_when_it_has_one() {
    let mapping = map(1 << 18);
    let region = format(mapping.memory(), 2, 12);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, mut there) = connect(&mut one, &mut other);
    other.set_address(Some(PeerId(1)), 1);
    assert_eq!(there.receiver().arm(), Ok(Wait::Briefly));
    here.sender().try_send(&[0]).unwrap();
}

#[test]
fn one_that_was_evicted_does_not_write_into_its_successors_slot() {
    let mapping = map(1 << 18);
    let bells = Bells::default();
    let region = format(mapping.memory(), 2, 12);
    let mut one = join_as(region, "one", Some(0), 1, 0);
    let mut dead = join_as(region, "other", Some(1), 1, 0);
    let mut other = join_as(region, "other", Some(2), 1, 0);
    assert_eq!(dead.slot(), other.slot());
    dead.set_address(Some(PeerId(3)), 1);
    let mut here = one.connect(other.slot(), &bells).unwrap();
    let mut there = other.connect(one.slot(), &bells).unwrap();
    assert_eq!(there.receiver().arm(), Ok(Wait::UntilRung));
    here.sender().try_send(&[0]).unwrap();
    assert_eq!([1, 2, 3].map(|device| bells.rung(device)), [0, 1, 0]);
    assert_eq!(dead.poll_event(2), Err(Evicted));
}

#[test]
fn a_saturated_stream_rings_less_than_once_for_100_messages() {
    const MESSAGES: u32 = 500_000;
    connected([1, 1], |here, there, bells| {
        let (mut sender, mut receiver) = (here.split().0, there.split().1);
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..MESSAGES {
                    send(&mut sender, bells, 0, &[0; 64]);
                }
            });
            // A receiver that spins before it sleeps, as all do.
            let mut buffer = [0; 64];
            for _ in 0..MESSAGES {
                let start = Instant::now();
                while receiver.try_recv(&mut buffer).unwrap().is_none() {
                    if start.elapsed() < Duration::from_micros(50) {
                        hint::spin_loop();
                    } else {
                        wait(receiver.arm().unwrap(), bells, 1);
                    }
                }
            }
        });
        let rings = bells.rung(0) + bells.rung(1);
        assert!(
            rings < MESSAGES / 100,
            "{rings} rings for {MESSAGES} messages"
        );
    });
}

#[test]
fn nobody_who_sleeps_is_forgotten() {
    const MESSAGES: u64 = 1_000_000;
    connected([1, 1], |here, there, bells| {
        let (mut sender, mut receiver) = (here.split().0, there.split().1);
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut numbers = Numbers(11);
                for number in 0..MESSAGES {
                    send(&mut sender, bells, 0, &number.to_le_bytes());
                    // Bursts and pauses, so that the receiver goes to sleep at any moment.
                    if numbers.next() % 256 == 0 {
                        for _ in 0..numbers.next() % 2000 {
                            hint::spin_loop();
                        }
                    }
                }
            });
            let mut buffer = [0; 8];
            for number in 0..MESSAGES {
                receive(&mut receiver, bells, 1, &mut buffer);
                assert_eq!(u64::from_le_bytes(buffer), number);
            }
        });
        assert!(bells.rung(1) > 0, "nobody has slept");
    });
}

/// Compiles: the device's doorbell goes with a half to another CPU.
#[test]
fn halves_can_be_sent_to_another_cpu_with_the_devices_doorbell() {
    const fn can_be_sent<T: Send>() {}
    can_be_sent::<Sender<'_, &Ivshmem<MmioRegion>>>();
    can_be_sent::<Receiver<'_, &Ivshmem<MmioRegion>>>();
}

#[test]
fn replies_wake_those_who_wait_for_them() {
    const ROUNDS: u64 = 20_000;
    connected([1, 1], |here, there, bells| {
        let ((mut ask, mut answers), (mut answer, mut asked)) = (here.split(), there.split());
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut buffer = [0; 8];
                for _ in 0..ROUNDS {
                    receive(&mut asked, bells, 1, &mut buffer);
                    send(&mut answer, bells, 1, &buffer);
                }
            });
            let mut buffer = [0; 8];
            for number in 0..ROUNDS {
                send(&mut ask, bells, 0, &number.to_le_bytes());
                receive(&mut answers, bells, 0, &mut buffer);
                assert_eq!(u64::from_le_bytes(buffer), number);
            }
        });
    });
}
