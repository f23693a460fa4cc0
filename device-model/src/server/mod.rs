// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device as a client of its server: bytes and descriptors in, peers and their vectors out.

mod client;
mod error;
mod wire;

pub(crate) use client::{Change, Client};
pub use error::ServerError;

use crate::{Host, Notice};

/// A device that a server feeds.
pub(crate) trait Fed<H: Host> {
    /// Takes one message, or what is there of it, from the front of `bytes`.
    fn step(&mut self, bytes: &mut &[u8], host: &mut H) -> Result<(), ServerError>;

    /// Returns whether the device ends by an error. If not, the host is told, and nothing has changed.
    fn is_fatal(&self, error: &ServerError) -> bool;

    /// Takes all of `bytes`.
    fn feed(&mut self, mut bytes: &[u8], host: &mut H) -> Result<(), ServerError> {
        while !bytes.is_empty() {
            if let Err(error) = self.step(&mut bytes, host) {
                if self.is_fatal(&error) {
                    return Err(error);
                }
                host.notice(Notice::Server(error));
            }
        }
        Ok(())
    }
}
