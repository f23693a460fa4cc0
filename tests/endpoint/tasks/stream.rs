// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many messages, each of which somebody may sleep for.

use std::hint;
use std::thread;

use ivshmem::channel::{Receiver, RecvError, Sender};

use super::executor::{block_on, connected, Lines, Tasks};
use crate::support::{fill, Numbers};

#[test]
fn tasks_pass_messages_of_any_length_to_and_fro() {
    const ROUNDS: u64 = 500;
    const MOST: usize = 5000;
    connected(10, |here, there, lines| {
        let ((mut ask, mut answers), (mut answer, mut asked)) = (here.split(), there.split());
        let [asking, answering] = &lines.devices;
        thread::scope(|scope| {
            scope.spawn(|| {
                block_on(async {
                    let mut buffer = vec![0; MOST];
                    for _ in 0..ROUNDS {
                        let len = asked.recv(&answering.receiving, &mut buffer).await;
                        let message = &buffer[..len.unwrap()];
                        answer.send(&answering.sending, message).await.unwrap();
                    }
                });
            });
            block_on(async {
                let mut lengths = Numbers(5);
                let (mut message, mut buffer) = (vec![0; MOST], vec![0; MOST]);
                for number in 0..ROUNDS {
                    let message = &mut message[..lengths.len(MOST)];
                    fill(message, number);
                    ask.send(&asking.sending, message).await.unwrap();
                    let len = answers.recv(&asking.receiving, &mut buffer).await;
                    assert_eq!(len, Ok(message.len()), "message {number}");
                    assert!(buffer[..message.len()] == *message, "message {number}");
                }
            });
        });
        assert!(lines.rung() > 0, "nobody has slept");
    });
}

/// Sends numbers in bursts, and pauses so that the receiver goes to sleep at any moment.
async fn send_numbers(sender: &mut Sender<'_, &Lines>, tasks: &Tasks, numbers: u64) {
    let mut random = Numbers(11);
    for number in 0..numbers {
        let message = number.to_le_bytes();
        sender.send(&tasks.sending, &message).await.unwrap();
        if random.next() % 64 == 0 {
            for _ in 0..random.next() % 2000 {
                hint::spin_loop();
            }
        }
    }
}

async fn receive_numbers(receiver: &mut Receiver<'_, &Lines>, tasks: &Tasks, numbers: u64) {
    let mut buffer = [0; 8];
    for number in 0..numbers {
        let len = receiver.recv(&tasks.receiving, &mut buffer).await;
        assert_eq!(
            (len, u64::from_le_bytes(buffer)),
            (Ok::<_, RecvError>(8), number)
        );
    }
}

#[test]
fn no_task_that_sleeps_is_forgotten() {
    const NUMBERS: u64 = 200_000;
    // So small that both sides sleep.
    connected(9, |here, there, lines| {
        let (mut sender, mut receiver) = (here.split().0, there.split().1);
        thread::scope(|scope| {
            scope.spawn(|| block_on(send_numbers(&mut sender, &lines.devices[0], NUMBERS)));
            block_on(receive_numbers(&mut receiver, &lines.devices[1], NUMBERS));
        });
        assert!(lines.rung() > 0, "nobody has slept");
    });
}

#[test]
fn frames_are_written_and_read_in_place() {
    const FRAMES: u64 = 20_000;
    connected(9, |here, there, lines| {
        let (mut sender, mut receiver) = (here.split().0, there.split().1);
        let [sending, receiving] = &lines.devices;
        thread::scope(|scope| {
            scope.spawn(|| {
                block_on(async {
                    for number in 0..FRAMES {
                        let grant = sender.next_grant(&sending.sending, 48).await.unwrap();
                        grant.write_u64_le(40, number).unwrap();
                        grant.commit().unwrap();
                    }
                });
            });
            block_on(async {
                for number in 0..FRAMES {
                    let frame = receiver.next_frame(&receiving.receiving).await.unwrap();
                    assert_eq!(frame.len(), 48);
                    assert_eq!(frame.read_u64_le(40), Ok(number));
                    frame.release().unwrap();
                }
            });
        });
    });
}
