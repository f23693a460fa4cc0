// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's side of the proxy protocol, byte by byte as QEMU 7.2 was seen to speak it.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::{event, is_end, send, LIMIT};

/// QEMU's end of the socket.
pub struct Qemu(pub UnixStream);

/// Returns the bytes of a message.
pub fn request(command: i32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(command.to_le_bytes());
    bytes.extend([0xcc; 4]);
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(payload);
    bytes
}

impl Qemu {
    /// Returns both ends of a connection, QEMU's first.
    pub fn pair() -> (Self, OwnedFd) {
        let (qemus, remotes) = UnixStream::pair().unwrap();
        qemus.set_read_timeout(Some(LIMIT)).unwrap();
        qemus.set_write_timeout(Some(LIMIT)).unwrap();
        (Self(qemus), remotes.into())
    }

    /// Sends a message that has no answer. As in QEMU, the descriptors are with the header.
    pub fn tell(&mut self, command: i32, payload: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let bytes = request(command, payload);
        send(&self.0, &bytes[..16], descriptors);
        self.0.write_all(&bytes[16..]).unwrap();
    }

    /// Sends a message and returns the payload of its answer.
    pub fn ask(&mut self, command: i32, payload: &[u8]) -> Vec<u8> {
        self.tell(command, payload, &[]);
        self.answer()
    }

    /// Receives an answer.
    pub fn answer(&mut self) -> Vec<u8> {
        let mut header = [0; 16];
        self.0.read_exact(&mut header).unwrap();
        assert_eq!(header[..4], 1_i32.to_le_bytes(), "the command is RET");
        let len = u64::from_le_bytes(header[8..].try_into().unwrap());
        assert!(len <= 192, "longer than QEMU takes: {len}");
        let mut payload = vec![0; len as usize];
        self.0.read_exact(&mut payload).unwrap();
        payload
    }

    /// Returns whether the device closes the connection within the time limit.
    pub fn is_closed(&mut self) -> bool {
        is_end(self.0.read(&mut [0]))
    }

    /// Announces the guest's memory.
    pub fn sync_memory(&mut self, descriptors: &[BorrowedFd<'_>]) {
        self.tell(0, &[0; 192], descriptors);
    }

    /// Hands over a line: returns the eventfd that interrupts, and the one to ring at the end of an interrupt.
    pub fn set_irqfd(&mut self) -> (OwnedFd, OwnedFd) {
        let (interrupt, resample) = (event(), event());
        self.tell(6, &[], &[interrupt.as_fd(), resample.as_fd()]);
        (interrupt, resample)
    }

    pub fn read_config(&mut self, offset: u32, len: i32) -> u64 {
        number(&self.ask(3, &config(offset, 0, len)))
    }

    pub fn write_config(&mut self, offset: u32, value: u32, len: i32) {
        assert_eq!(number(&self.ask(2, &config(offset, value, len))), 0);
    }

    pub fn read(&mut self, address: u64, len: u32) -> u64 {
        number(&self.ask(5, &bar(address, 0, len, 1)))
    }

    pub fn write(&mut self, address: u64, value: u64, len: u32) {
        assert_eq!(number(&self.ask(4, &bar(address, value, len, 1))), 0);
    }

    pub fn read_port(&mut self, address: u64, len: u32) -> u64 {
        number(&self.ask(5, &bar(address, 0, len, 0)))
    }

    pub fn reset(&mut self) {
        assert_eq!(self.ask(7, &[]), [0; 0]);
    }
}

fn number(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload.try_into().unwrap())
}

fn config(offset: u32, value: u32, len: i32) -> Vec<u8> {
    [offset.to_le_bytes(), value.to_le_bytes(), len.to_le_bytes()].concat()
}

fn bar(address: u64, value: u64, len: u32, is_memory: u8) -> Vec<u8> {
    let mut payload = [address.to_le_bytes(), value.to_le_bytes()].concat();
    payload.extend(len.to_le_bytes());
    payload.extend([is_memory, 0xcc, 0xcc, 0xcc]);
    payload
}
