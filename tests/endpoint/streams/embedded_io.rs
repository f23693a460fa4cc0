// SPDX-License-Identifier: MIT OR Apache-2.0
//! The same tests for each version of `embedded-io`.

/// Writes the tests for one version.
macro_rules! implement_tests {
    ($io:ident, $io_async:ident) => {
        use std::task::Poll;
        use std::thread;

        use ivshmem::channel::{ByteReader, ByteStream, ByteWriter, Signal, StreamError};
        use $io::{Error, Read, ReadReady, Write, WriteReady};

        use crate::streams::{check_cuts, give_up, with_random_cuts, ERRORS};
        use crate::support::fill;
        use crate::tasks::executor::{block_on, connected, Task};

        #[test]
        fn bytes_come_out_as_they_went_in() {
            with_random_cuts(|cuts, sender, receiver| {
                let mut writer = ByteWriter::new(sender, give_up);
                let mut reader = ByteReader::new(receiver, give_up);
                let done = |result| match result {
                    Err(StreamError::GaveUp) => None,
                    result => Some(result.unwrap()),
                };
                check_cuts(
                    cuts,
                    |bytes| done(Write::write(&mut writer, bytes)),
                    |target| done(Read::read(&mut reader, target)),
                );
            });
        }

        #[test]
        fn bytes_come_out_as_they_went_in_for_tasks() {
            let (sending, receiving, task) = (Signal::new(), Signal::new(), Task::default());
            with_random_cuts(|cuts, sender, receiver| {
                let mut writer = ByteWriter::new(sender, &sending);
                let mut reader = ByteReader::new(receiver, &receiving);
                let done = |polled| match polled {
                    Poll::Pending => None,
                    Poll::Ready(result) => Some(Result::<_, StreamError>::unwrap(result)),
                };
                check_cuts(
                    cuts,
                    |bytes| done(task.poll_once($io_async::Write::write(&mut writer, bytes))),
                    |target| done(task.poll_once($io_async::Read::read(&mut reader, target))),
                );
            });
        }

        /// Reads until the end of the stream, and writes it back, as a library would.
        async fn echo<S>(mut stream: S) -> usize
        where
            S: $io_async::Read<Error = StreamError> + $io_async::Write<Error = StreamError>,
        {
            let (mut buffer, mut all) = ([0; 700], 0);
            loop {
                let len = stream.read(&mut buffer).await.unwrap();
                stream.write_all(&buffer[..len]).await.unwrap();
                stream.flush().await.unwrap();
                all += len;
                if all == ECHO {
                    return all;
                }
            }
        }

        const ECHO: usize = 1 << 19;

        #[test]
        fn tasks_that_sleep_pass_a_file_through_small_rings_and_back() {
            connected(12, |here, there, lines| {
                let [one, other] = &lines.devices;
                let mut bytes = vec![0; ECHO];
                fill(&mut bytes, 37);
                let ByteStream {
                    mut reader,
                    mut writer,
                } = ByteStream::new(here, &one.receiving, &one.sending);
                thread::scope(|scope| {
                    let bytes = &bytes;
                    scope.spawn(move || {
                        let there = ByteStream::new(there, &other.receiving, &other.sending);
                        assert_eq!(block_on(echo(there)), ECHO);
                    });
                    scope.spawn(move || {
                        block_on($io_async::Write::write_all(&mut writer, bytes)).unwrap();
                    });
                    let mut out = vec![0; ECHO];
                    block_on($io_async::Read::read_exact(&mut reader, &mut out)).unwrap();
                    assert!(out == *bytes);
                });
            });
        }

        /// Compiles: what libraries that do not wait by themselves want.
        fn takes<S: Read + ReadReady + Write + WriteReady>(mut stream: S) {
            assert_eq!(stream.read_ready().ok(), Some(false));
            assert_eq!(stream.write_ready().ok(), Some(true));
            assert!(stream.write_all(b"all").is_ok());
            assert!(stream.flush().is_ok());
            assert!(stream.read(&mut [0; 3]).is_err());
        }

        #[test]
        fn one_object_reads_and_writes() {
            connected(8, |here, mut there, _| {
                takes(ByteStream::new(here, give_up, give_up));
                assert_eq!(there.receiver().try_recv(&mut [0; 8]), Ok(Some(3)));
            });
        }

        #[test]
        fn readiness_is_told() {
            connected(8, |here, there, _| {
                let mut writer = ByteWriter::new(here.split().0, give_up);
                let mut reader = ByteReader::new(there.split().1, give_up);
                assert_eq!(reader.read_ready(), Ok(false));
                assert_eq!(writer.write_ready(), Ok(true));
                while writer.write(&[0; 50]).is_ok() {}
                assert_eq!(writer.write_ready(), Ok(false));
                assert_eq!(reader.read_ready(), Ok(true));
                assert_eq!(Write::flush(&mut writer), Ok(()));
            });
        }

        #[test]
        fn errors_have_the_kinds_that_they_have_in_std() {
            for error in ERRORS {
                let kind = std::io::Error::from(error).kind();
                assert_eq!(format!("{:?}", error.kind()), format!("{kind:?}"));
            }
        }
    };
}

#[cfg(feature = "embedded-io-06")]
mod version_06 {
    implement_tests!(embedded_io_06, embedded_io_async_06);
}
#[cfg(feature = "embedded-io-07")]
mod version_07 {
    implement_tests!(embedded_io_07, embedded_io_async_07);
}
