// SPDX-License-Identifier: MIT OR Apache-2.0
//! Members that leave, return and lose their slots while they are connected.

use std::thread;
use std::time::Instant;

use ivshmem::channel::{
    Broken, ConnectError, Endpoint, Format, NoDoorbell, RecvError, Region, SendError, SlotIndex,
    Wait,
};

use super::support::{connect, format, join, join_as, map, DEADLINE, LIMIT};

/// Sends until the ring is full, and returns what ended it.
fn send_all(endpoint: &mut Endpoint<'_, NoDoorbell>) -> SendError {
    (0..1000)
        .find_map(|_| endpoint.sender().try_send(b"old").err())
        .expect("the ring has no end")
}

#[test]
fn connections_are_to_members_and_once_for_each_life() {
    let mapping = map(1 << 16);
    let region = format(mapping.memory(), 4, 8);
    let mut one = join(region, "one");
    let other = join(region, "other");
    let connect =
        |one: &mut ivshmem::channel::Member<'_>, slot| one.connect(slot, NoDoorbell).map(drop);

    let own = one.slot();
    assert_eq!(
        connect(&mut one, own),
        Err(ConnectError::NoPeer { slot: own })
    );
    for slot in [4, 256, u16::MAX].map(SlotIndex) {
        assert_eq!(connect(&mut one, slot), Err(ConnectError::NoPeer { slot }));
    }
    let slot = SlotIndex(3);
    assert_eq!(
        connect(&mut one, slot),
        Err(ConnectError::NobodyThere { slot })
    );
    // So that there is but one slot to return to.
    let _others = ["third", "fourth"].map(|name| join(region, name));

    let slot = other.slot();
    let incarnation = other.incarnation();
    let already = ConnectError::AlreadyConnected { slot, incarnation };
    assert_eq!(connect(&mut one, slot), Ok(()));
    assert_eq!(connect(&mut one, slot), Err(already));
    other.leave();
    assert_eq!(
        connect(&mut one, slot),
        Err(ConnectError::NobodyThere { slot })
    );
    let other = join(region, "other");
    assert_eq!(other.slot(), slot);
    let endpoint = one.connect(slot, NoDoorbell).expect("a new life");
    assert_eq!(endpoint.incarnation(), other.incarnation());
    assert_ne!(endpoint.incarnation(), incarnation);
}

#[test]
fn what_was_sent_before_leaving_is_received_first() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, mut there) = connect(&mut one, &mut other);
    there.sender().try_send(b"farewell").unwrap();
    other.leave();

    let mut buffer = [0; 16];
    assert_eq!(here.receiver().arm(), Ok(Wait::Ready));
    assert_eq!(here.receiver().try_recv(&mut buffer), Ok(Some(8)));
    let gone = RecvError::Broken(Broken::PeerGone);
    assert_eq!(here.receiver().try_recv(&mut buffer), Err(gone));
    assert_eq!(here.receiver().peek().map(drop), Err(Broken::PeerGone));
    assert_eq!(here.receiver().arm(), Err(Broken::PeerGone));
    assert_eq!(send_all(&mut here), SendError::Broken(Broken::PeerGone));
    assert_eq!(here.sender().arm(1), Err(Broken::PeerGone));
    assert_eq!(
        there.sender().try_send(b""),
        Err(SendError::Broken(Broken::Evicted))
    );
}

#[test]
fn a_restart_is_seen_by_both_halves_and_the_new_life_gets_nothing_old() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, mut there) = connect(&mut one, &mut other);
    let mut buffer = [0; 16];
    for life in 0..20 {
        // Something old in both rings, at another place each time.
        for _ in 0..=life % 5 {
            here.sender().try_send(b"old").unwrap();
            there.sender().try_send(b"old").unwrap();
        }
        other.leave();
        other = join(region, "other");
        if life % 2 == 0 {
            // The returned one connects first: what it left behind is of its old life.
            there = other.connect(one.slot(), NoDoorbell).unwrap();
            assert_eq!(there.receiver().try_recv(&mut buffer), Ok(None));
            there.sender().try_send(b"new").unwrap();
        } else {
            while here
                .receiver()
                .try_recv(&mut buffer)
                .is_ok_and(|len| len.is_some())
            {}
        }
        let restarted = RecvError::Broken(Broken::PeerRestarted);
        assert_eq!(here.receiver().try_recv(&mut buffer), Err(restarted));
        assert_eq!(
            send_all(&mut here),
            SendError::Broken(Broken::PeerRestarted)
        );

        let mut old = here;
        here = one.connect(other.slot(), NoDoorbell).unwrap();
        here.sender().try_send(b"also new").unwrap();
        if life % 2 == 1 {
            there = other.connect(one.slot(), NoDoorbell).unwrap();
            there.sender().try_send(b"new").unwrap();
        }
        let broken = SendError::Broken(Broken::PeerRestarted);
        assert_eq!(old.sender().try_send(b"late"), Err(broken));
        assert_eq!(here.receiver().try_recv(&mut buffer), Ok(Some(3)));
        assert_eq!(there.receiver().try_recv(&mut buffer), Ok(Some(8)));
        assert_eq!(buffer[..8], *b"also new");
        assert_eq!(here.receiver().try_recv(&mut buffer), Ok(None));
        assert_eq!(there.receiver().try_recv(&mut buffer), Ok(None));
    }
}

#[test]
fn an_endpoint_of_before_cannot_touch_the_ring_of_the_next() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut old, _) = connect(&mut one, &mut other);
    other.leave();
    other = join(region, "other");
    // It has neither found its ring full nor empty, so it does not know yet.
    let (mut new, mut there) = connect(&mut one, &mut other);
    let mut buffer = [0; 16];
    let broken = Broken::PeerRestarted;
    assert_eq!(
        old.sender().try_send(b"old"),
        Err(SendError::Broken(broken))
    );
    assert_eq!(
        old.receiver().try_recv(&mut buffer),
        Err(RecvError::Broken(broken))
    );
    new.sender().try_send(b"new").unwrap();
    assert_eq!(there.receiver().try_recv(&mut buffer), Ok(Some(3)));
}

#[test]
fn a_message_that_is_read_while_its_sender_restarts_is_not_confirmed() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, mut there) = connect(&mut one, &mut other);
    there.sender().try_send(b"old").unwrap();
    let frame = here.receiver().peek().unwrap().unwrap();
    other.leave();
    other = join(region, "other");
    let _new = other.connect(one.slot(), NoDoorbell).unwrap();
    assert_eq!(frame.release(), Err(Broken::PeerRestarted));
}

#[test]
fn who_has_lost_its_slot_sends_and_receives_no_more() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut slow, mut there) = connect(&mut one, &mut other);
    // Also one that has been in use for long.
    for _ in 0..100 {
        there.sender().try_send(b"usual").unwrap();
        assert_eq!(slow.receiver().try_recv(&mut [0; 8]), Ok(Some(5)));
    }
    there.sender().try_send(b"for the one of before").unwrap();
    let grant = slow.sender().reserve(8).unwrap();
    // It stands still for longer than the limit.
    let mut successor = join_as(region, "one", None, 0, LIMIT);
    assert_eq!(successor.slot(), one.slot());
    assert_eq!(grant.commit(), Err(Broken::Evicted));
    let mut buffer = [0; 32];
    assert_eq!(
        slow.sender().try_send(b""),
        Err(SendError::Broken(Broken::Evicted))
    );
    assert_eq!(
        slow.receiver().try_recv(&mut buffer),
        Err(RecvError::Broken(Broken::Evicted))
    );
    assert_eq!(slow.sender().free_bytes(), Err(Broken::Evicted));
    assert_eq!(
        one.connect(other.slot(), NoDoorbell).map(drop),
        Err(ConnectError::Evicted)
    );

    let (mut new, mut there) = connect(&mut successor, &mut other);
    new.sender().try_send(b"new").unwrap();
    assert_eq!(there.receiver().try_recv(&mut buffer), Ok(Some(3)));
    assert_eq!(new.receiver().try_recv(&mut buffer), Ok(None));
}

#[test]
fn a_new_format_ends_all_connections() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, mut there) = connect(&mut one, &mut other);
    let format = Format {
        slots: 2,
        ring_log2: Some(9),
    };
    Region::format_anew(mapping.memory(), &format).unwrap();
    assert_eq!(
        here.sender().try_send(b"x"),
        Err(SendError::Broken(Broken::Evicted))
    );
    let evicted = RecvError::Broken(Broken::Evicted);
    assert_eq!(there.receiver().try_recv(&mut [0]), Err(evicted));
}

#[test]
fn a_farewell_is_not_lost_however_fast_its_sender_leaves() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let mut one = join(region, "one");
    for round in 0..1000 {
        let mut other = join(region, "other");
        let (mut here, mut there) = connect(&mut one, &mut other);
        let (mut buffer, mut messages) = ([0; 8], 0);
        thread::scope(|scope| {
            scope.spawn(move || {
                there.sender().try_send(b"farewell").unwrap();
                other.leave();
            });
            let start = Instant::now();
            loop {
                match here.receiver().try_recv(&mut buffer) {
                    Ok(Some(_)) => messages += 1,
                    Ok(None) => {
                        assert!(start.elapsed() < DEADLINE, "round {round}");
                        thread::yield_now();
                    }
                    Err(error) => {
                        assert_eq!(error, RecvError::Broken(Broken::PeerGone));
                        break;
                    }
                }
            }
        });
        assert_eq!(messages, 1, "round {round}");
    }
}

#[test]
fn what_lies_in_rings_from_before_is_nobodys_though_slots_were_zeroed() {
    let mapping = map(1 << 16);
    let memory = mapping.memory();
    let region = format(memory, 2, 12);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, _there) = connect(&mut one, &mut other);
    here.sender().try_send(b"of before").unwrap();

    // One who scribbles takes the memory of who was there last away, so incarnations begin again.
    memory.fill(0x80, 0x100, 0).unwrap();
    let format = Format {
        slots: 2,
        ring_log2: Some(12),
    };
    let region = Region::format_anew(memory, &format).unwrap();
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let mut there = other.connect(one.slot(), NoDoorbell).unwrap();
    assert_eq!(one.incarnation(), 1);
    assert_eq!(there.receiver().try_recv(&mut [0; 32]), Ok(None));
    let mut here = one.connect(other.slot(), NoDoorbell).unwrap();
    here.sender().try_send(b"of now").unwrap();
    assert_eq!(there.receiver().try_recv(&mut [0; 32]), Ok(Some(6)));
}

#[test]
fn what_was_sent_before_leaving_can_be_received_while_others_join() {
    let mapping = map(1 << 16);
    let region = format(mapping.memory(), 4, 9);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, mut there) = connect(&mut one, &mut other);
    here.sender().try_send(b"farewell").unwrap();
    assert_eq!(here.sender().unread(), Ok(16));
    let left = one.slot();
    one.leave();
    let mut next = join(region, "next");
    assert_ne!(next.slot(), left);
    let _new = next.connect(other.slot(), NoDoorbell).unwrap();
    let mut buffer = [0; 32];
    assert_eq!(there.receiver().try_recv(&mut buffer), Ok(Some(8)));
    assert_eq!(
        there.receiver().try_recv(&mut buffer),
        Err(RecvError::Broken(Broken::PeerGone))
    );
}

#[test]
fn a_sender_learns_that_all_was_received() {
    let mapping = map(4096);
    let region = format(mapping.memory(), 2, 8);
    let (mut one, mut other) = (join(region, "one"), join(region, "other"));
    let (mut here, mut there) = connect(&mut one, &mut other);
    here.sender().try_send(b"message").unwrap();
    assert_eq!(here.sender().unread(), Ok(16));
    let mut buffer = [0; 32];
    assert_eq!(there.receiver().try_recv(&mut buffer), Ok(Some(7)));
    assert_eq!(there.receiver().try_recv(&mut buffer), Ok(None));
    assert_eq!(here.sender().unread(), Ok(0));
}

#[test]
fn who_waits_until_all_is_received_does_not_wait_for_one_who_has_left() {
    for receives in [true, false] {
        let mapping = map(4096);
        let region = format(mapping.memory(), 2, 8);
        let (mut one, mut other) = (join(region, "one"), join(region, "other"));
        let (mut here, mut there) = connect(&mut one, &mut other);
        here.sender().try_send(b"message").unwrap();
        if receives {
            while there.receiver().try_recv(&mut [0; 8]).unwrap().is_some() {}
        }
        other.leave();
        let unread = here.sender().unread();
        assert_eq!(
            unread,
            if receives {
                Ok(0)
            } else {
                Err(Broken::PeerGone)
            }
        );
    }
}
