// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two members whose messages must all arrive, whatever happens elsewhere in the memory.

use ivshmem::channel::{Endpoint, Member, NoDoorbell, Receiver, SendError, Sender};

/// Longer than the longest message by enough to show a wrong length.
const BUFFER_LEN: usize = 256;

/// Two members, and a connection from one to the other.
pub struct Undisturbed<'m> {
    members: [Member<'m>; 2],
    sender: Sender<'m, NoDoorbell>,
    receiver: Receiver<'m, NoDoorbell>,
    sent: u64,
    received: u64,
}

impl<'m> Undisturbed<'m> {
    /// Connects two members.
    pub fn new([mut one, mut other]: [Member<'m>; 2]) -> Self {
        let connect = |from: &mut Member<'m>, to: &Member<'m>| -> Endpoint<'m, NoDoorbell> {
            from.connect(to.slot(), NoDoorbell).unwrap()
        };
        let (sender, _) = connect(&mut one, &other).split();
        let (_, receiver) = connect(&mut other, &one).split();
        Self {
            members: [one, other],
            sender,
            receiver,
            sent: 0,
            received: 0,
        }
    }

    /// Sends the next message, or receives one.
    pub fn step(&mut self, choice: u8) {
        match choice % 8 {
            0..=2 => self.send(),
            3..=5 => {
                self.receive();
            }
            6 => {
                let wait = self.receiver.arm();
                assert!(wait.is_ok() && self.sender.arm(0).is_ok());
            }
            _ => {
                for member in &mut self.members {
                    // Time stands still, so that nobody dies; what others do is of no interest.
                    while member.poll_event(0).expect("not evicted").is_some() {}
                }
            }
        }
    }

    fn send(&mut self) {
        let message = message(self.sent);
        match self.sender.try_send(&message) {
            Ok(()) => self.sent += 1,
            Err(error) => assert_eq!(error, SendError::Full),
        }
    }

    /// Receives the next message, if there is one, and returns whether.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; BUFFER_LEN];
        let received = self.receiver.try_recv(&mut buffer);
        let Some(len) = received.expect("undisturbed") else {
            assert_eq!(self.sent, self.received, "a message is missing");
            return false;
        };
        assert_eq!(buffer[..len], message(self.received), "{}", self.received);
        self.received += 1;
        true
    }

    /// Receives what is left, and returns how many messages there were.
    pub fn end(mut self) -> u64 {
        while self.receive() {}
        self.received
    }
}

/// Returns the message of a number.
fn message(number: u64) -> Vec<u8> {
    let len = number as usize * 7 % 97;
    let bytes = (0..len).map(|at| (number as usize * 31 + at) as u8);
    bytes.collect()
}
