// SPDX-License-Identifier: MIT OR Apache-2.0
//! Futures that are dropped before they are done.

use std::pin::pin;
use std::task::Poll;

use ivshmem::channel::{Progress, Signal};

use super::executor::{connected, Task};
use crate::support::{fill, Numbers};

#[test]
fn a_long_message_whose_future_is_dropped_after_any_poll_is_received_whole_or_not_at_all() {
    let mut long = [0; 1000];
    fill(&mut long, 1);
    let mut outcomes = [0; 2];
    for polls in 0..40 {
        connected(8, |mut here, mut there, lines| {
            let [sending, receiving] = &lines.devices;
            let (task, mut buffer, mut received) = (Task::default(), [0; 1000], Vec::new());
            let mut progress = Progress::default();
            let mut sent = false;
            {
                let mut send = pin!(here.sender().send(&sending.sending, &long));
                for _ in 0..polls {
                    sent = sent || task.poll(send.as_mut()) == Poll::Ready(Ok(()));
                    let len = there.receiver().poll_recv(&mut buffer, &mut progress);
                    if let Poll::Ready(len) = len {
                        received.push(buffer[..len.unwrap()].to_vec());
                    }
                }
            }
            let mut next = pin!(here.sender().send(&sending.sending, b"next"));
            let mut is_next_sent = false;
            while received.last().map(Vec::as_slice) != Some(b"next") {
                is_next_sent = is_next_sent || task.poll(next.as_mut()) == Poll::Ready(Ok(()));
                let signal = &receiving.receiving;
                let recv = there
                    .receiver()
                    .continue_recv(signal, &mut buffer, &mut progress);
                if let Poll::Ready(len) = task.poll_once(recv) {
                    let len = len.unwrap();
                    received.push(buffer[..len].to_vec());
                }
            }
            assert!(is_next_sent);
            let expected: &[&[u8]] = if sent { &[&long, b"next"] } else { &[b"next"] };
            assert_eq!(received, expected, "dropped after {polls} polls");
            outcomes[usize::from(sent)] += 1;
        });
    }
    assert!(outcomes[0] > 2 && outcomes[1] > 2, "{outcomes:?}");
}

#[test]
fn messages_of_one_frame_survive_any_number_of_dropped_futures() {
    connected(8, |here, there, lines| {
        let (mut sender, mut receiver) = (here.split().0, there.split().1);
        let [sending, receiving] = &lines.devices;
        let (task, mut random) = (Task::default(), Numbers(17));
        let (mut sent, mut received) = (0_u64, 0_u64);
        let mut dropped = 0;
        while received < 3000 {
            // In bursts, so that the ring is full as often as empty; every future is polled once and dropped.
            for _ in 0..random.next() % 12 {
                let message = sent.to_le_bytes();
                match task.poll_once(sender.send(&sending.sending, &message)) {
                    Poll::Ready(result) => {
                        result.unwrap();
                        sent += 1;
                    }
                    Poll::Pending => dropped += 1,
                }
            }
            for _ in 0..random.next() % 12 {
                let mut buffer = [0; 8];
                match task.poll_once(receiver.recv(&receiving.receiving, &mut buffer)) {
                    Poll::Ready(len) => {
                        assert_eq!((len, buffer), (Ok(8), received.to_le_bytes()));
                        received += 1;
                    }
                    Poll::Pending => dropped += 1,
                }
            }
        }
        assert!(dropped > 100, "{dropped}");
    });
}

#[test]
fn long_messages_go_on_with_their_progress_in_new_futures() {
    const MOST: usize = 3000;
    connected(8, |here, there, lines| {
        let (mut sender, mut receiver) = (here.split().0, there.split().1);
        let [sending, receiving] = &lines.devices;
        let (task, mut random) = (Task::default(), Numbers(19));
        let mut buffer = [0; MOST];
        for number in 0..100 {
            let mut message = vec![0; random.len(MOST)];
            fill(&mut message, number);
            let (mut there, mut here) = (Progress::default(), Progress::default());
            let mut is_sent = false;
            for turn in 0.. {
                assert!(turn < 2 * MOST, "stuck after {here:?}");
                if !is_sent {
                    let send = sender.continue_send(&sending.sending, &message, &mut there);
                    is_sent = task.poll_once(send) == Poll::Ready(Ok(()));
                }
                let recv = receiver.continue_recv(&receiving.receiving, &mut buffer, &mut here);
                if let Poll::Ready(len) = task.poll_once(recv) {
                    assert_eq!(len, Ok(message.len()), "message {number}");
                    assert!(buffer[..message.len()] == message, "message {number}");
                    break;
                }
            }
            assert!(is_sent);
        }
    });
}

#[test]
fn what_was_waited_for_in_place_is_still_there() {
    connected(8, |mut here, mut there, lines| {
        let (signal, task) = (Signal::new(), Task::default());
        let sender = here.sender();
        for _ in 0..5 {
            // A grant that is dropped with its future has sent nothing.
            assert!(task.poll_once(sender.next_grant(&signal, 16)).is_ready());
        }
        sender.try_send(b"one").unwrap();
        let signal = &lines.devices[1].receiving;
        for _ in 0..5 {
            let Poll::Ready(frame) = task.poll_once(there.receiver().next_frame(signal)) else {
                panic!("it is there");
            };
            assert_eq!(frame.unwrap().len(), 3);
        }
        let frame = there.receiver().peek().unwrap().unwrap();
        frame.release().unwrap();
        assert!(task
            .poll(pin!(there.receiver().next_frame(signal)))
            .is_pending());
    });
}
