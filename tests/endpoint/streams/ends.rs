// SPDX-License-Identifier: MIT OR Apache-2.0
//! How streams end.

use ivshmem::channel::{
    Broken, ByteReader, ByteWriter, Member, NoDoorbell, Region, Signal, StreamError,
};

use super::give_up;
use crate::support::{connect, format, join, join_as, map, LIMIT};
use crate::tasks::executor::block_on;

/// Writes until that fails.
fn fill_up<W: FnMut() -> Result<usize, E>, E>(mut write: W) -> E {
    (0..1000)
        .find_map(|_| write().err())
        .expect("the ring has no end")
}

fn region(mapping: &ivshmem_host::mapping::Mapping) -> Region<'_> {
    format(mapping.memory(), 2, 8)
}

#[test]
fn a_stream_ends_when_the_peer_has_left_and_all_is_read() {
    let mapping = map(4096);
    let region = region(&mapping);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (here, mut there) = connect(&mut one, &mut other);
    there.sender().try_send(b"farewell").unwrap();
    other.leave();

    let (sender, receiver) = here.split();
    let mut reader = ByteReader::new(receiver, give_up);
    let mut target = [0; 6];
    assert_eq!(reader.read(&mut target), Ok(6));
    assert_eq!(reader.read(&mut target), Ok(2));
    for _ in 0..3 {
        assert_eq!(reader.is_ready(), Ok(true));
        assert_eq!(reader.read(&mut target), Ok(0));
        assert_eq!(reader.try_read(&mut target), Ok(Some(0)));
    }
    let signal = Signal::new();
    let mut reader = ByteReader::new(reader.into_receiver(), &signal);
    assert_eq!(block_on(reader.read(&mut target)), Ok(0));

    let mut writer = ByteWriter::new(sender, give_up);
    let gone = Broken::PeerGone;
    let end = fill_up(|| writer.write(&[0; 50]));
    assert_eq!(end, StreamError::Broken(gone));
    assert_eq!(writer.is_ready(), Err(gone));
    assert_eq!(writer.check(), Err(gone));
    let mut writer = ByteWriter::new(writer.into_sender(), &signal);
    assert_eq!(block_on(writer.write(&[0; 50])), Err(gone));
}

#[test]
fn only_a_frame_that_was_read_in_part_is_dropped_with_the_reader() {
    let mapping = map(4096);
    let region = region(&mapping);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (here, mut there) = connect(&mut one, &mut other);
    there.sender().try_send(b"first").unwrap();
    there.sender().try_send(b"second").unwrap();
    let (_, receiver) = here.split();
    let mut target = [0; 8];

    let mut reader = ByteReader::new(receiver, give_up);
    assert_eq!(reader.is_ready(), Ok(true));
    let mut receiver = reader.into_receiver();
    assert_eq!(receiver.try_recv(&mut target), Ok(Some(5)));

    let mut reader = ByteReader::new(receiver, give_up);
    assert_eq!(reader.read(&mut target[..3]), Ok(3));
    assert_eq!(reader.into_receiver().try_recv(&mut target), Ok(None));
}

#[test]
fn one_who_waits_for_the_peer_sees_the_end_too() {
    let mapping = map(4096);
    let region = region(&mapping);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (here, _there) = connect(&mut one, &mut other);
    let mut other = Some(other);
    let leave = |_| {
        if let Some(other) = other.take() {
            other.leave();
        }
        std::ops::ControlFlow::Continue(())
    };
    let mut reader = ByteReader::new(here.split().1, leave);
    assert_eq!(reader.read(&mut [0; 6]), Ok(0));
}

/// Has a stream read in part and another written full, lets something `happen` to the two members, and returns what
/// the two sides get then.
fn use_while(
    happen: impl for<'m> FnOnce(&mut Member<'m>, Member<'m>, Region<'m>),
) -> [Result<usize, StreamError>; 2] {
    let mapping = map(4096);
    let region = region(&mapping);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (here, mut there) = connect(&mut one, &mut other);
    there.sender().try_send(b"half read").unwrap();
    let (sender, receiver) = here.split();
    let mut reader = ByteReader::new(receiver, give_up);
    let mut writer = ByteWriter::new(sender, give_up);
    assert_eq!(reader.read(&mut [0; 4]), Ok(4));
    assert_eq!(fill_up(|| writer.write(&[0; 50])), StreamError::GaveUp);
    happen(&mut one, other, region);
    [reader.read(&mut [0; 4]), writer.write(&[0; 50])]
}

#[test]
fn a_peer_that_restarts_has_not_ended_its_stream() {
    let results = use_while(|one, other, region| {
        other.leave();
        let mut other = join(region, "other");
        let _new = other.connect(one.slot(), NoDoorbell).unwrap();
    });
    assert_eq!(results, [Err(Broken::PeerRestarted.into()); 2]);
}

#[test]
fn one_who_has_lost_its_slot_reads_and_writes_no_more() {
    let results = use_while(|one, _, region| {
        let successor = join_as(region, "one", None, 0, LIMIT);
        assert_eq!(successor.slot(), one.slot());
    });
    assert_eq!(results, [Err(Broken::Evicted.into()); 2]);
}
