// SPDX-License-Identifier: MIT OR Apache-2.0
//! The halves of a connection as streams of bytes and as tasks have them.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ivshmem::channel::{
    ByteReader, ByteWriter, Doorbell, Receiver, RecvError, SendError, Sender, Signal,
};

use super::halves::Health;

/// Writes to a stream what goes, and returns the sender and whether that was anything.
pub fn write<'m, D: Doorbell>(
    sender: Sender<'m, D>,
    health: &mut Health,
    bytes: &[u8],
) -> (Sender<'m, D>, bool) {
    let mut writer = ByteWriter::new(sender, ());
    let written = match writer.try_write(bytes) {
        // Of nothing nothing is written, whether the connection is broken or not.
        Ok(_) if bytes.is_empty() => None,
        written => health.of(written).flatten(),
    };
    assert!(written.is_none_or(|len| 0 < len && len <= bytes.len()));
    (writer.into_sender(), written.is_some())
}

/// Reads a part of a stream, drops what is left of a message, and returns the receiver and whether there was anything.
pub fn read<'m, D: Doorbell>(
    receiver: Receiver<'m, D>,
    health: &mut Health,
    target: &mut [u8],
) -> (Receiver<'m, D>, bool) {
    let mut reader = ByteReader::new(receiver, ());
    let read = match reader.try_read(target) {
        // That the peer has gone is the end of a stream and no error; into no room nothing is read.
        Ok(Some(0)) => None,
        read => health.of(read).flatten(),
    };
    assert!(read.is_none_or(|len| len <= target.len()));
    (reader.into_receiver(), read.is_some())
}

/// Sends as a task that is woken twice and then dropped. Returns whether all was sent.
pub fn send<D: Doorbell>(
    sender: &mut Sender<'_, D>,
    health: &mut Health,
    message: &[u8],
    meddle: impl FnOnce(),
) -> bool {
    let signal = Signal::new().spinning(0);
    let sent: Poll<Result<(), SendError>> = poll_twice(sender.send(&signal, message), meddle);
    health.of_poll(sent).is_some()
}

/// Receives likewise.
pub fn recv<D: Doorbell>(
    receiver: &mut Receiver<'_, D>,
    health: &mut Health,
    target: &mut [u8],
    meddle: impl FnOnce(),
) -> bool {
    let (signal, room) = (Signal::new().spinning(0), target.len());
    let received: Poll<Result<usize, RecvError>> =
        poll_twice(receiver.recv(&signal, target), meddle);
    if let Poll::Ready(Ok(len)) = received {
        assert!(len <= room, "{len} bytes into {room}");
    }
    health.of_poll(received).is_some()
}

fn poll_twice<T>(future: impl Future<Output = T>, meddle: impl FnOnce()) -> Poll<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut context) {
        Poll::Pending => {
            meddle();
            future.poll(&mut context)
        }
        ready => ready,
    }
}
