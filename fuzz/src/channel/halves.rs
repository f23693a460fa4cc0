// SPDX-License-Identifier: MIT OR Apache-2.0
//! The halves of a connection, whose methods an input calls.

use std::fmt::Display;
use std::task::Poll;

use ivshmem::channel::{
    Broken, Doorbell, Endpoint, Progress, Receiver, RecvError, SendError, Sender,
};

use super::waiting;
use crate::device::shown;
use crate::input::Input;

/// How many times as long as others a long message is.
const LONGEST_IN_FRAMES: usize = 3;

/// Whether a half was found to be broken: if so, it must stay so, and for the same reason.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health(Option<Broken>);

impl Health {
    fn note(&mut self, broken: Option<Broken>) {
        if let Some(before) = self.0 {
            assert_eq!(broken, Some(before), "it was broken before");
        }
        self.0 = broken;
    }

    pub(super) fn of<T, E: MayBreak>(&mut self, result: Result<T, E>) -> Option<T> {
        let result = shown(result);
        self.note(result.as_ref().err().and_then(E::broken));
        result.ok()
    }

    pub(super) fn of_poll<T, E: MayBreak>(&mut self, result: Poll<Result<T, E>>) -> Option<T> {
        match result {
            Poll::Ready(result) => self.of(result),
            Poll::Pending => {
                self.note(None);
                None
            }
        }
    }
}

/// An error that may be the end of a connection.
pub(super) trait MayBreak: Display {
    fn broken(&self) -> Option<Broken>;
}

impl MayBreak for Broken {
    fn broken(&self) -> Option<Broken> {
        Some(*self)
    }
}

impl MayBreak for SendError {
    fn broken(&self) -> Option<Broken> {
        match self {
            Self::Broken(broken) => Some(*broken),
            _ => None,
        }
    }
}

impl MayBreak for RecvError {
    fn broken(&self) -> Option<Broken> {
        match self {
            Self::Broken(broken) => Some(*broken),
            _ => None,
        }
    }
}

/// A sending half.
pub struct Outgoing<'m, D> {
    /// Always there, but in the middle of a call that takes it for a stream.
    sender: Option<Sender<'m, D>>,
    health: Health,
    progress: Progress,
    /// The message that is sent in fragments.
    long: Vec<u8>,
    /// Bytes of a ring's data.
    ring_len: usize,
}

/// A receiving half.
pub struct Incoming<'m, D> {
    /// As the sender.
    receiver: Option<Receiver<'m, D>>,
    health: Health,
    progress: Progress,
    buffer: Vec<u8>,
    /// Bytes of a ring's data.
    ring_len: usize,
}

/// What a call has received.
pub enum Received<'b> {
    Nothing,
    /// A message that may have come in fragments.
    Long,
    /// A message of one frame.
    Message(&'b [u8]),
}

/// Takes a connection to pieces, which are over rings of `ring_len` bytes.
pub fn split<D: Doorbell>(
    endpoint: Endpoint<'_, D>,
    ring_len: usize,
) -> (Outgoing<'_, D>, Incoming<'_, D>) {
    let (sender, receiver) = endpoint.split();
    let outgoing = Outgoing {
        sender: Some(sender),
        health: Health::default(),
        progress: Progress::default(),
        long: Vec::new(),
        ring_len,
    };
    let incoming = Incoming {
        receiver: Some(receiver),
        health: Health::default(),
        progress: Progress::default(),
        buffer: vec![0; 2 * ring_len],
        ring_len,
    };
    (outgoing, incoming)
}

impl<D: Doorbell> Outgoing<'_, D> {
    pub const fn broken(&self) -> Option<Broken> {
        self.health.0
    }

    /// Calls a method; `meddle` is called in the middle of those that take several steps. Returns whether a message was
    /// sent.
    pub fn act(&mut self, input: &mut Input<'_>, meddle: impl FnOnce()) -> bool {
        let (kind, short): (u8, u8) = (input.take(), input.take());
        let sender = self.sender.as_mut().expect("it is back");
        let longest = sender.longest();
        // Short ones, and those about the longest.
        let len = match kind / 8 % 3 {
            0 => usize::from(short),
            1 => (longest + usize::from(short % 16)).saturating_sub(8),
            _ => longest / 2,
        };
        let message = vec![short; len];
        match kind % 8 {
            0..=2 => {
                let sent = sender.try_send(&message);
                assert!(len <= longest || sent.is_err());
                self.health.of(sent).is_some()
            }
            3 if short % 2 == 1 => self.write_batch(&message, short, meddle),
            3 => {
                let (one, other) = message.split_at(len / 3);
                let sent = sender.send_vectored(&[one, &[], other]);
                self.health.of(sent).is_some()
            }
            4 => self.write_in_place(&message, short, meddle),
            5 => {
                self.long.resize(len * LONGEST_IN_FRAMES, short);
                let sent = sender.poll_send(&self.long, &mut self.progress);
                // Of one that became shorter meanwhile more may have been sent than there is.
                let most = usize::from(u8::MAX).max(longest + 8);
                assert!(self.progress.bytes() <= LONGEST_IN_FRAMES * most);
                self.health.of_poll(sent).is_some()
            }
            6 => {
                self.health.of(sender.arm(len));
                false
            }
            _ if short % 3 == 1 => {
                let sender = self.sender.take().expect("it is back");
                let (sender, sent) = waiting::write(sender, &mut self.health, &message);
                self.sender = Some(sender);
                sent
            }
            _ if short % 3 == 2 => {
                self.long.resize(len * LONGEST_IN_FRAMES, short);
                waiting::send(sender, &mut self.health, &self.long, meddle)
            }
            _ => {
                let free = self.health.of(sender.free_bytes());
                assert!(free.is_none_or(|free| free <= self.ring_len));
                false
            }
        }
    }

    /// Writes a message twice, once with half of it, to be announced together.
    fn write_batch(&mut self, message: &[u8], ended: u8, meddle: impl FnOnce()) -> bool {
        let mut batch = self.sender.as_mut().expect("it is back").batch();
        let first = self.health.of(batch.push(message));
        meddle();
        let second = self.health.of(batch.push(&message[message.len() / 2..]));
        // One that is dropped is sent as well.
        if ended % 4 == 1 {
            drop(batch);
        } else {
            self.health.of(batch.send());
        }
        first.or(second).is_some()
    }

    fn write_in_place(&mut self, message: &[u8], kept: u8, meddle: impl FnOnce()) -> bool {
        let sender = self.sender.as_mut().expect("it is back");
        let granted = match sender.reserve(message.len()) {
            Ok(grant) => {
                self.health.note(None);
                assert_eq!(grant.len(), message.len());
                grant.write(0, message).unwrap();
                assert!(grant.write(1, message).is_err() || message.is_empty());
                meddle();
                // One that is dropped has sent nothing.
                (!kept.is_multiple_of(4)).then(|| grant.commit_first(usize::from(kept)))
            }
            Err(error) => {
                self.health.of(Err::<(), _>(error));
                return false;
            }
        };
        granted.is_some_and(|committed| self.health.of(committed).is_some())
    }
}

impl<D: Doorbell> Incoming<'_, D> {
    pub const fn broken(&self) -> Option<Broken> {
        self.health.0
    }

    /// Calls a method; `meddle` is called while a message is read in place.
    pub fn act(&mut self, input: &mut Input<'_>, meddle: impl FnOnce()) -> Received<'_> {
        let (kind, len): (u8, u8) = (input.take(), input.take());
        let receiver = self.receiver.as_mut().expect("it is back");
        let manner = len % 3;
        // As a rule there is room for all.
        let len = match kind / 8 % 4 {
            0 => usize::from(len).min(self.buffer.len()),
            _ => self.buffer.len(),
        };
        match kind % 8 {
            0..=3 => {
                let received = receiver.try_recv(&mut self.buffer[..len]);
                let received = self.health.of(received).flatten();
                if let Some(len) = received {
                    return self.message(len);
                }
            }
            4 => {
                if let Some(len) = self.read_in_place(meddle) {
                    return self.message(len);
                }
            }
            5 | 6 => {
                let target = &mut self.buffer[..len];
                let received = receiver.poll_recv(target, &mut self.progress);
                // After one that was too long its progress goes beyond a shorter target.
                assert!(self.progress.bytes() <= self.buffer.len());
                if let Some(received) = self.health.of_poll(received) {
                    assert!(received <= len, "{received} bytes into {len}");
                    return Received::Long;
                }
            }
            _ if manner == 1 => {
                let target = &mut self.buffer[..len];
                let receiver = self.receiver.take().expect("it is back");
                let (receiver, read) = waiting::read(receiver, &mut self.health, target);
                self.receiver = Some(receiver);
                if read {
                    return Received::Long;
                }
            }
            _ if manner == 2 => {
                let target = &mut self.buffer[..len];
                if waiting::recv(receiver, &mut self.health, target, meddle) {
                    return Received::Long;
                }
            }
            _ => {
                self.health.of(receiver.arm());
            }
        }
        Received::Nothing
    }

    fn read_in_place(&mut self, meddle: impl FnOnce()) -> Option<usize> {
        let receiver = self.receiver.as_mut().expect("it is back");
        let frame = match receiver.peek() {
            Ok(None) => {
                self.health.note(None);
                return None;
            }
            Err(broken) => {
                self.health.of(Err::<(), _>(broken));
                return None;
            }
            Ok(Some(frame)) => frame,
        };
        let len = frame.len();
        assert_eq!(frame.copy_to(&mut self.buffer), len);
        assert_eq!(frame.read_u64_le(0).is_ok(), len >= 8);
        meddle();
        let released = frame.release();
        self.health.of(released)?;
        Some(len)
    }

    fn message(&self, len: usize) -> Received<'_> {
        assert!(len <= self.ring_len / 2, "a message of {len} bytes");
        Received::Message(&self.buffer[..len])
    }
}
