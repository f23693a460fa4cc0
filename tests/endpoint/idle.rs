// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that wait without an executor.

use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::{Broken, Idle, RecvError, SendError, Spin, Wait};

use super::support::{
    connect, connected_by, fill, format, join, map, sleeper, wait, Bells, Numbers, DEADLINE,
};

/// Spins for a time by a clock before it sleeps.
struct Clock<'a> {
    bells: &'a Bells,
    device: u16,
    since: Instant,
}

impl Idle for Clock<'_> {
    fn spins(&mut self, looks: u32) -> bool {
        if looks == 1 {
            self.since = Instant::now();
        }
        self.since.elapsed() < Duration::from_micros(50)
    }

    fn sleep(&mut self, how: Wait) -> ControlFlow<()> {
        wait(how, self.bells, self.device);
        ControlFlow::Continue(())
    }
}

#[test]
fn threads_pass_messages_of_any_length_to_and_fro() {
    const ROUNDS: u64 = 300;
    const MOST: usize = 5000;
    connected_by(10, [1, 1], |here, there, bells| {
        let ((mut ask, mut answers), (mut answer, mut asked)) = (here.split(), there.split());
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut buffer = vec![0; MOST];
                for _ in 0..ROUNDS {
                    let clock = Clock {
                        bells,
                        device: 1,
                        since: Instant::now(),
                    };
                    let len = asked.recv_with(&mut buffer, clock).unwrap().unwrap();
                    let sleep = sleeper(bells, 1);
                    let spin = Spin { looks: 10, sleep };
                    answer.send_with(&buffer[..len], spin).unwrap();
                }
            });
            let mut lengths = Numbers(23);
            let (mut message, mut buffer) = (vec![0; MOST], vec![0; MOST]);
            for number in 0..ROUNDS {
                let message = &mut message[..lengths.len(MOST)];
                fill(message, number);
                ask.send_with(message, sleeper(bells, 0)).unwrap();
                let len = answers.recv_with(&mut buffer, sleeper(bells, 0));
                assert_eq!(len, Ok(Some(message.len())), "message {number}");
                assert!(buffer[..message.len()] == *message, "message {number}");
            }
        });
        assert!(bells.rung(0) + bells.rung(1) > 0, "nobody has slept");
    });
}

#[test]
fn who_gives_up_has_neither_sent_nor_received() {
    connected_by(8, [1, 1], |mut here, mut there, _| {
        let (sender, receiver) = (here.sender(), there.receiver());
        let mut buffer = [0; 1000];
        let give_up = |_: Wait| ControlFlow::Break(());
        assert_eq!(receiver.recv_with(&mut buffer, give_up), Ok(None));
        assert_eq!(receiver.ready_with(give_up), Ok(false));
        assert_eq!(sender.send_with(&[1; 1000], give_up), Err(SendError::Full));
        assert_eq!(sender.ready_with(64, give_up), Err(SendError::Full));
        assert_eq!(receiver.recv_with(&mut buffer, give_up), Ok(None), "a part");
        assert_eq!(sender.ready_with(64, give_up), Ok(()));
        assert_eq!(sender.send_with(b"next", give_up), Ok(()));
        assert_eq!(receiver.ready_with(give_up), Ok(true));
        assert_eq!(receiver.recv_with(&mut buffer, give_up), Ok(Some(4)));
    });
}

#[test]
fn nobody_rings_for_one_who_spins() {
    connected_by(8, [1, 1], |mut here, mut there, bells| {
        /// Sends a message at the third look, or when it is to sleep.
        struct Third<F>(F, u32);

        impl<F: FnMut()> Idle for Third<F> {
            fn spins(&mut self, looks: u32) -> bool {
                assert!(looks <= 3, "it was there");
                if looks == 3 {
                    (self.0)();
                }
                looks <= self.1
            }

            fn sleep(&mut self, wait: Wait) -> ControlFlow<()> {
                assert_eq!(wait, Wait::Ready, "it was sent before the bell was armed");
                ControlFlow::Continue(())
            }
        }

        let send = || here.sender().try_send(b"now").unwrap();
        let mut buffer = [0; 8];
        let received = there.receiver().recv_with(&mut buffer, Third(send, 3));
        assert_eq!((received, bells.rung(1)), (Ok(Some(3)), 0));

        let send = || here.sender().try_send(b"now").unwrap();
        let received = there.receiver().recv_with(&mut buffer, Third(send, 2));
        assert_eq!((received, bells.rung(1)), (Ok(Some(3)), 0));

        let mut sleeps = 0;
        let sleep = |wait| {
            assert_eq!(wait, Wait::UntilRung);
            here.sender().try_send(b"now").unwrap();
            sleeps += 1;
            ControlFlow::Continue(())
        };
        let spin = Spin { looks: 5, sleep };
        let received = there.receiver().recv_with(&mut buffer, spin);
        assert_eq!((received, bells.rung(1), sleeps), (Ok(Some(3)), 1, 1));
    });
}

#[test]
fn who_waits_for_a_peer_that_leaves_is_told() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, _there) = connect(&mut one, &mut other);
    let (start, mut other) = (Instant::now(), Some(other));
    let leave = |wait: Wait| {
        assert_eq!(wait, Wait::Briefly, "nobody can ring");
        assert!(start.elapsed() < DEADLINE);
        if let Some(other) = other.take() {
            other.leave();
        }
        ControlFlow::Continue(())
    };
    let received = here.receiver().recv_with(&mut [0; 8], leave);
    assert_eq!(received, Err(RecvError::Broken(Broken::PeerGone)));
}
