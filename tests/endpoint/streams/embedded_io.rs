// SPDX-License-Identifier: MIT OR Apache-2.0
//! The same tests for each version of `embedded-io`.

/// Writes the tests for one version.
macro_rules! implement_tests {
    ($io:ident, $io_async:ident) => {
        use std::task::Poll;
        use std::thread;

        use ivshmem::channel::{ByteReader, ByteWriter, Signal, StreamError};
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

        #[test]
        fn tasks_that_sleep_pass_a_file_through_a_small_ring() {
            const LEN: usize = 1 << 20;
            connected(12, |here, there, lines| {
                let [sending, receiving] = &lines.devices;
                let mut bytes = vec![0; LEN];
                fill(&mut bytes, 37);
                thread::scope(|scope| {
                    let bytes = &bytes;
                    scope.spawn(move || {
                        let mut writer = ByteWriter::new(here.split().0, &sending.sending);
                        block_on(async {
                            $io_async::Write::write_all(&mut writer, bytes)
                                .await
                                .unwrap();
                            $io_async::Write::flush(&mut writer).await.unwrap();
                        });
                    });
                    let mut reader = ByteReader::new(there.split().1, &receiving.receiving);
                    let mut out = vec![0; LEN];
                    block_on($io_async::Read::read_exact(&mut reader, &mut out)).unwrap();
                    assert!(out == *bytes);
                });
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
