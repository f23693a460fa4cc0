// SPDX-License-Identifier: MIT OR Apache-2.0
//! The traits of `embedded-io` and `embedded-io-async`, of each version that is asked for.

use super::{ByteReader, ByteStream, ByteWriter, StreamError};
use crate::channel::{Broken, Doorbell, Idle, Signal};

/// Implements the traits of one version. So far they look the same in all.
macro_rules! implement {
    ($io:ident, $io_async:ident) => {
        impl $io::Error for StreamError {
            fn kind(&self) -> $io::ErrorKind {
                match self {
                    Self::Broken(Broken::PeerGone) => $io::ErrorKind::BrokenPipe,
                    Self::Broken(Broken::PeerRestarted) => $io::ErrorKind::ConnectionReset,
                    Self::Broken(Broken::Corrupt) => $io::ErrorKind::InvalidData,
                    Self::Broken(Broken::Evicted) => $io::ErrorKind::ConnectionAborted,
                    Self::GaveUp => $io::ErrorKind::TimedOut,
                }
            }
        }

        impl<D, W> $io::ErrorType for ByteReader<'_, D, W> {
            type Error = StreamError;
        }

        impl<D: Doorbell, W: Idle> $io::Read for ByteReader<'_, D, W> {
            fn read(&mut self, target: &mut [u8]) -> Result<usize, StreamError> {
                self.read(target)
            }
        }

        impl<D: Doorbell> $io_async::Read for ByteReader<'_, D, &Signal> {
            async fn read(&mut self, target: &mut [u8]) -> Result<usize, StreamError> {
                Ok(self.read(target).await?)
            }
        }

        impl<D: Doorbell, W> $io::ReadReady for ByteReader<'_, D, W> {
            fn read_ready(&mut self) -> Result<bool, StreamError> {
                Ok(self.is_ready()?)
            }
        }

        impl<D, W> $io::ErrorType for ByteWriter<'_, D, W> {
            type Error = StreamError;
        }

        impl<D: Doorbell, W: Idle> $io::Write for ByteWriter<'_, D, W> {
            fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
                self.write(bytes)
            }

            fn flush(&mut self) -> Result<(), StreamError> {
                Ok(self.check()?)
            }
        }

        impl<D: Doorbell> $io_async::Write for ByteWriter<'_, D, &Signal> {
            async fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
                Ok(self.write(bytes).await?)
            }

            async fn flush(&mut self) -> Result<(), StreamError> {
                Ok(self.check()?)
            }
        }

        impl<D: Doorbell, W> $io::WriteReady for ByteWriter<'_, D, W> {
            fn write_ready(&mut self) -> Result<bool, StreamError> {
                Ok(self.is_ready()?)
            }
        }

        impl<D, R, W> $io::ErrorType for ByteStream<'_, D, R, W> {
            type Error = StreamError;
        }

        impl<D: Doorbell, R: Idle, W> $io::Read for ByteStream<'_, D, R, W> {
            fn read(&mut self, target: &mut [u8]) -> Result<usize, StreamError> {
                self.reader.read(target)
            }
        }

        impl<D: Doorbell, W> $io_async::Read for ByteStream<'_, D, &Signal, W> {
            async fn read(&mut self, target: &mut [u8]) -> Result<usize, StreamError> {
                Ok(self.reader.read(target).await?)
            }
        }

        impl<D: Doorbell, R, W> $io::ReadReady for ByteStream<'_, D, R, W> {
            fn read_ready(&mut self) -> Result<bool, StreamError> {
                Ok(self.reader.is_ready()?)
            }
        }

        impl<D: Doorbell, R, W: Idle> $io::Write for ByteStream<'_, D, R, W> {
            fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
                self.writer.write(bytes)
            }

            fn flush(&mut self) -> Result<(), StreamError> {
                Ok(self.writer.check()?)
            }
        }

        impl<D: Doorbell, R> $io_async::Write for ByteStream<'_, D, R, &Signal> {
            async fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
                Ok(self.writer.write(bytes).await?)
            }

            async fn flush(&mut self) -> Result<(), StreamError> {
                Ok(self.writer.check()?)
            }
        }

        impl<D: Doorbell, R, W> $io::WriteReady for ByteStream<'_, D, R, W> {
            fn write_ready(&mut self) -> Result<bool, StreamError> {
                Ok(self.writer.is_ready()?)
            }
        }
    };
}

#[cfg(feature = "embedded-io-06")]
implement!(embedded_io_06, embedded_io_async_06);
#[cfg(feature = "embedded-io-07")]
implement!(embedded_io_07, embedded_io_async_07);

/// Which errors have to be from version 0.7 on.
#[cfg(feature = "embedded-io-07")]
impl core::error::Error for StreamError {}
