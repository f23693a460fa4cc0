// SPDX-License-Identifier: MIT OR Apache-2.0
//! Both directions in one: [`ByteStream`].

use super::{ByteReader, ByteWriter};
use crate::channel::doorbell::Doorbell;
use crate::channel::endpoint::Endpoint;

/// A reader and a writer in one, for libraries that want their transport so.
///
/// ```
/// use ivshmem::channel::{ByteStream, Doorbell, Endpoint, Signal, StreamError};
///
/// static RUNG: Signal = Signal::new(); // notified by the interrupt handler
///
/// /// Says back all that the peer says, until it leaves.
/// async fn echo<D: Doorbell>(endpoint: Endpoint<'_, D>) -> Result<(), StreamError> {
///     let mut stream = ByteStream::new(endpoint, &RUNG, &RUNG);
///     let mut buffer = [0; 512];
///     loop {
///         let mut said = match stream.reader.read(&mut buffer).await? {
///             0 => return Ok(()),
///             len => &buffer[..len],
///         };
///         while !said.is_empty() {
///             said = &said[stream.writer.write(said).await?..];
///         }
///     }
/// }
/// # let _ = echo::<ivshmem::channel::NoDoorbell>;
/// ```
#[derive(Debug)]
pub struct ByteStream<'m, D, R, W> {
    /// What is read from.
    pub reader: ByteReader<'m, D, R>,
    /// What is written to.
    pub writer: ByteWriter<'m, D, W>,
}

impl<'m, D: Doorbell, R, W> ByteStream<'m, D, R, W> {
    /// Reads from and writes to a peer, and waits for bytes as `reading` says, for room as `writing` says.
    pub fn new(endpoint: Endpoint<'m, D>, reading: R, writing: W) -> Self {
        let (sender, receiver) = endpoint.split();
        Self {
            reader: ByteReader::new(receiver, reading),
            writer: ByteWriter::new(sender, writing),
        }
    }
}
