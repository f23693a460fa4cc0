// SPDX-License-Identifier: MIT OR Apache-2.0
//! The traits of `std::io`.

use std::io::{Error, ErrorKind, Read, Result, Write};

use super::{ByteReader, ByteStream, ByteWriter, StreamError};
use crate::channel::{Broken, Doorbell, Idle};

impl From<StreamError> for Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::Broken(Broken::PeerGone) => ErrorKind::BrokenPipe,
            StreamError::Broken(Broken::PeerRestarted) => ErrorKind::ConnectionReset,
            StreamError::Broken(Broken::Corrupt) => ErrorKind::InvalidData,
            StreamError::Broken(Broken::Evicted) => ErrorKind::ConnectionAborted,
            StreamError::GaveUp => ErrorKind::TimedOut,
        };
        Self::new(kind, error)
    }
}

impl<D: Doorbell, W: Idle> Read for ByteReader<'_, D, W> {
    fn read(&mut self, target: &mut [u8]) -> Result<usize> {
        Ok(self.read(target)?)
    }
}

impl<D: Doorbell, W: Idle> Write for ByteWriter<'_, D, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(self.write(bytes)?)
    }

    fn flush(&mut self) -> Result<()> {
        self.check()
            .map_err(|broken| StreamError::from(broken).into())
    }
}

impl<D: Doorbell, R: Idle, W> Read for ByteStream<'_, D, R, W> {
    fn read(&mut self, target: &mut [u8]) -> Result<usize> {
        Read::read(&mut self.reader, target)
    }
}

impl<D: Doorbell, R, W: Idle> Write for ByteStream<'_, D, R, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        Write::write(&mut self.writer, bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.flush()
    }
}
