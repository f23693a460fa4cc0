// SPDX-License-Identifier: MIT OR Apache-2.0
//! Members who ping, and one who answers them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ivshmem::channel::{
    Broken, Doorbell, Echo, Endpoint, Event, EventKind, Member, Name, NoDoorbell, Region,
    SlotIndex, Wait,
};
use ivshmem::{PeerId, VectorIndex};

use super::support::{fill, format, join, join_as, map, wait, Bells, Numbers, DEADLINE, LIMIT};

const RING_LOG2: u32 = 12;

/// Takes in all events of a round, and returns those that are no pinger's.
fn look<'m>(
    member: &mut Member<'m>,
    echo: &mut Echo<'m, NoDoorbell, 2>,
    now: u64,
) -> Vec<(EventKind, Name)> {
    let mut others = Vec::new();
    while let Some(event) = member.poll_event(now).unwrap() {
        if !echo.take(member, &event, NoDoorbell) {
            others.push((event.kind, event.name));
        }
    }
    others
}

/// Receives what the echo has sent.
fn receive(endpoint: &mut Endpoint<'_, NoDoorbell>) -> Option<Vec<u8>> {
    let mut buffer = [0; 1 << RING_LOG2];
    let len = endpoint.receiver().try_recv(&mut buffer).unwrap()?;
    Some(buffer[..len].to_vec())
}

fn slots(echo: &Echo<'_, NoDoorbell, 2>) -> usize {
    echo.slots().iter().flatten().count()
}

/// Has one pinged by another.
fn pinged(region: Region<'_>) -> (Endpoint<'_, NoDoorbell>, Echo<'_, NoDoorbell, 2>) {
    let mut server = join(region, "server");
    let mut echo = Echo::new();
    let mut pinger = join(region, "ping:1");
    let to_server = pinger.connect(server.slot(), NoDoorbell).unwrap();
    assert_eq!(look(&mut server, &mut echo, 1), []);
    (to_server, echo)
}

#[test]
fn messages_of_any_frame_come_back_as_they_are() {
    let mapping = map(1 << 18);
    let region = format(mapping.memory(), 3, RING_LOG2);
    let mut server = join(region, "server");
    let mut echo = Echo::<_, 2>::new();
    assert_eq!(echo.poll(), Wait::UntilRung, "nobody is there");
    let pinger = &mut join(region, "ping:1");
    let _friend = join(region, "ping");
    let mut to_server = pinger.connect(server.slot(), NoDoorbell).unwrap();
    let others = look(&mut server, &mut echo, 1);
    assert_eq!(others, [(EventKind::Joined, Name::new("ping"))]);
    assert_eq!(slots(&echo), 1);

    let longest = to_server.sender().longest();
    let mut numbers = Numbers(7);
    for number in 0..1000 {
        let len = match number {
            0 => 0,
            1 => longest,
            _ => numbers.len(longest),
        };
        let mut message = vec![0; len];
        fill(&mut message, number);
        to_server.sender().try_send(&message).unwrap();
        while echo.poll() == Wait::Ready {}
        assert_eq!(receive(&mut to_server), Some(message), "{number}");
        assert_eq!(receive(&mut to_server), None, "no answer comes twice");
    }
    assert_eq!(echo.answered(), 1000);
    assert!(!echo.is_rung());
    server.leave();
}

#[test]
fn one_call_is_bounded_and_a_full_ring_loses_nothing() {
    let mapping = map(1 << 18);
    let region = format(mapping.memory(), 3, RING_LOG2);
    let (mut to_server, mut echo) = pinged(region);

    let mut sent = 0_u64;
    while to_server.sender().try_send(&sent.to_le_bytes()).is_ok() {
        sent += 1;
    }
    assert_eq!(
        echo.poll(),
        Wait::Ready,
        "there is more than one call takes"
    );
    let mut some = 0;
    while receive(&mut to_server).is_some() {
        some += 1;
    }
    assert!((1..sent).contains(&some), "{some} of {sent}");

    // The way back is full, and what has no room there waits on the way there.
    let mut received = some;
    while echo.poll() == Wait::Ready {}
    let first = sent;
    while to_server.sender().try_send(&sent.to_le_bytes()).is_ok() {
        sent += 1;
    }
    assert!(sent > first);
    while echo.poll() == Wait::Ready {}
    let mut polls = 0;
    while received < sent {
        while let Some(message) = receive(&mut to_server) {
            assert_eq!(message, received.to_le_bytes());
            received += 1;
        }
        let _ = echo.poll();
        polls += 1;
        assert!(polls < 10_000, "{received} of {sent} came back");
    }
}

#[test]
fn fragments_are_dropped_and_the_next_ping_is_answered() {
    let mapping = map(1 << 18);
    let region = format(mapping.memory(), 3, RING_LOG2);
    let (mut to_server, mut echo) = pinged(region);
    let message = vec![1; 3 << RING_LOG2];
    let mut progress = Default::default();
    let start = Instant::now();
    while to_server
        .sender()
        .poll_send(&message, &mut progress)
        .is_pending()
    {
        let _ = echo.poll();
        assert!(start.elapsed() < DEADLINE);
    }
    to_server.sender().try_send(b"short").unwrap();
    while echo.poll() == Wait::Ready {}
    assert_eq!(receive(&mut to_server).as_deref(), Some(&b"short"[..]));
    assert_eq!(receive(&mut to_server), None);
}

#[test]
fn those_who_come_and_go_are_hidden_and_their_places_are_used_again() {
    let mapping = map(1 << 20);
    let region = format(mapping.memory(), 8, RING_LOG2);
    let mut server = join(region, "server");
    let mut echo = Echo::<_, 2>::new();
    let one = join(region, "ping:1");
    let mut two = join(region, "ping:2");
    let three = join(region, "ping:3");
    assert_eq!(look(&mut server, &mut echo, 1), []);
    assert_eq!(slots(&echo), 2, "the third is one too many");

    let slot = one.slot();
    one.leave();
    three.leave();
    // Somebody else sits in the place of one who pinged: the names of those who have gone are not known any more.
    let others: Vec<_> = (0..3).map(|n| join(region, ["a", "b", "c"][n])).collect();
    let mut told = look(&mut server, &mut echo, 2);
    told.extend(look(&mut server, &mut echo, 3));
    assert!(
        told.iter().all(|(kind, _)| *kind == EventKind::Joined),
        "{told:?}"
    );
    assert_eq!(told.len(), 3);
    assert_eq!(
        echo.slots()
            .iter()
            .flatten()
            .filter(|s| **s == slot)
            .count(),
        0
    );

    // One that is dead gives way to one that lives, and one that returns is answered on.
    let mut now = 3;
    let mut to_server = two.connect(server.slot(), NoDoorbell).unwrap();
    let mut told = Vec::new();
    while now < 4 * LIMIT {
        now += 1;
        told.extend(look(&mut server, &mut echo, now));
    }
    assert!(told.iter().all(|(kind, name)| {
        *kind == EventKind::Died && ["a", "b", "c"].iter().any(|n| *name == Name::new(n))
    }));
    let _ = two.poll_event(now);
    assert_eq!(look(&mut server, &mut echo, now + 1), []);
    to_server.sender().try_send(b"again").unwrap();
    while echo.poll() == Wait::Ready {}
    assert_eq!(receive(&mut to_server).as_deref(), Some(&b"again"[..]));

    let four = join(region, "ping:4");
    now += 1;
    assert_eq!(look(&mut server, &mut echo, now), []);
    assert_eq!(slots(&echo), 2);
    // `two` stands still, `four` does not.
    let mut four = four;
    for _ in 0..4 * LIMIT {
        now += 1;
        let _ = four.poll_event(now);
        assert_eq!(look(&mut server, &mut echo, now), []);
    }
    let five = join_as(region, "ping:5", None, 0, now);
    assert_eq!(look(&mut server, &mut echo, now + 1), []);
    let answered = echo.slots();
    assert!(answered.contains(&Some(five.slot())), "{answered:?}");
    assert!(answered.contains(&Some(four.slot())), "{answered:?}");
    drop(others);
}

#[test]
fn one_who_has_gone_ends_nothing_else() {
    let mapping = map(1 << 18);
    let region = format(mapping.memory(), 4, RING_LOG2);
    let mut server = join(region, "server");
    let mut echo = Echo::<_, 2>::new();
    let mut one = join(region, "ping:1");
    let mut two = join(region, "ping:2");
    look(&mut server, &mut echo, 1);
    let mut from_one = one.connect(server.slot(), NoDoorbell).unwrap();
    let mut from_two = two.connect(server.slot(), NoDoorbell).unwrap();
    from_one.sender().try_send(b"1").unwrap();
    from_two.sender().try_send(b"2").unwrap();
    one.leave();
    while echo.poll() == Wait::Ready {}
    assert_eq!(receive(&mut from_two).as_deref(), Some(&b"2"[..]));
    // It is broken, and its place free, before an event tells.
    while echo.poll() == Wait::Ready {}
    assert_eq!(slots(&echo), 1);
    assert_eq!(
        from_one.receiver().try_recv(&mut [0; 8]),
        Err(Broken::Evicted.into())
    );
}

#[test]
fn rung_and_asleep() {
    const PINGS: u64 = 500;
    let mapping = map(1 << 18);
    let bells = Bells::default();
    let region = format(mapping.memory(), 2, RING_LOG2);
    let mut server = join_as(region, "server", Some(0), 1, 0);
    let mut pinger = join_as(region, "ping:1", Some(1), 1, 0);
    assert_eq!(pinger.device_of(server.slot()), Some(PeerId(0)));
    assert_eq!(pinger.device_of(SlotIndex(7)), None);
    let mut endpoint = pinger.connect(server.slot(), &bells).unwrap();
    let mut echo = Echo::<_, 1>::new();
    let done = AtomicBool::new(false);
    let event = server.poll_event(1).unwrap().unwrap();
    assert!(echo.take(&mut server, &event, &bells));
    assert!(echo.is_rung());
    std::thread::scope(|scope| {
        let (bells, endpoint, done) = (&bells, &mut endpoint, &done);
        scope.spawn(move || {
            let mut buffer = [0; 8];
            for number in 0..PINGS {
                endpoint.sender().try_send(&number.to_le_bytes()).unwrap();
                while endpoint.receiver().try_recv(&mut buffer).unwrap().is_none() {
                    wait(endpoint.receiver().arm().unwrap(), bells, 1);
                }
                assert_eq!(buffer, number.to_le_bytes());
            }
            done.store(true, Ordering::Release);
            bells.ring(PeerId(0), VectorIndex(0));
        });
        while !done.load(Ordering::Acquire) {
            // A ring that is lost fails here.
            wait(echo.poll(), bells, 0);
        }
    });
    let event = Event {
        kind: EventKind::Left,
        ..event
    };
    assert!(echo.take(&mut server, &event, &bells));
    assert!(
        !echo.take(&mut server, &event, &bells),
        "it is known no more"
    );
}
