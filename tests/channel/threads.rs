// SPDX-License-Identifier: MIT OR Apache-2.0
//! Members of one process, over mappings of their own.

use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use ivshmem::channel::{EventKind, JoinError, Member, Region};

use crate::lab::{events, format, introduction, join, join_while, map, memory, news, LIMIT};

/// Two to many come at once, each formats; all see all others.
pub fn any_start_order() {
    for count in [2_u16, 3, 16] {
        let fd = memory(1 << 20);
        thread::scope(|scope| {
            for index in 0..count {
                let fd = &fd;
                scope.spawn(move || {
                    let mapping = map(fd);
                    let region =
                        Region::open_or_format(mapping.memory(), &format(count)).expect("a region");
                    // Time stands still, so nobody dies of a busy machine.
                    let mut joining = region.join(introduction(&format!("m{index}"), LIMIT));
                    let deadline = Instant::now() + Duration::from_secs(30);
                    let mut member = loop {
                        match joining.poll(0) {
                            Poll::Ready(result) => break result.expect("room for all"),
                            Poll::Pending => assert!(Instant::now() < deadline),
                        }
                    };
                    let mut seen = 1;
                    while seen < count {
                        for event in events(&mut member, 0) {
                            assert_eq!((event.kind, event.incarnation), (EventKind::Joined, 1));
                            seen += 1;
                        }
                        assert!(Instant::now() < deadline, "{seen} of {count} seen");
                        thread::yield_now();
                    }
                });
            }
        });
    }
}

/// All kinds of event, with names and incarnations.
pub fn events_of_a_life(observer: &mut Member<'_>, region: Region<'_>) {
    let told = |kind, incarnation| vec![(kind, incarnation, "a".to_owned())];
    let first = join_while(region, "a", |_| ()).0.expect("room");
    assert_eq!(news(observer, 0), told(EventKind::Joined, 1));
    first.leave();
    assert_eq!(news(observer, 0), told(EventKind::Left, 1));
    let mut second = join_while(region, "a", |_| ()).0.expect("room");
    assert_eq!(news(observer, 10), told(EventKind::Joined, 2));
    for now in (10..=10 + LIMIT).step_by(10) {
        assert_eq!(news(observer, now), []);
    }
    assert_eq!(news(observer, 20 + LIMIT), told(EventKind::Died, 2));
    assert!(second.poll_event(0).is_ok());
    assert_eq!(
        news(observer, 20 + LIMIT),
        told(EventKind::Joined, 2),
        "it was only slow"
    );
    let third = join_while(region, "a", |_| ()).0.expect("its own slot");
    assert_eq!(news(observer, 20 + LIMIT), told(EventKind::Restarted, 3));
    assert!(second.poll_event(0).is_err(), "evicted");
    third.leave();
    // It was seen neither to leave nor to come.
    join_while(region, "b", |_| ()).0.expect("room").leave();
    assert_eq!(
        news(observer, 20 + LIMIT),
        [(EventKind::Left, 3, String::new())]
    );
}

pub fn events_over_memory() {
    let fd = memory(1 << 20);
    let mapping = map(&fd);
    let mut observer = join(mapping.memory(), 2, "observer");
    let region = Region::open(mapping.memory()).expect("it is formatted");
    events_of_a_life(&mut observer, region);
}

/// A namesake has its slot back after the limit, not before; one that lives keeps its own.
pub fn namesake() {
    let fd = memory(1 << 20);
    let mapping = map(&fd);
    let mut first = join(mapping.memory(), 4, "a");
    let region = Region::open(mapping.memory()).expect("it is formatted");
    let (second, when) = join_while(region, "a", |now| assert!(first.poll_event(now).is_ok()));
    let second = second.expect("another slot");
    assert!(
        second.slot() != first.slot() && when <= 10,
        "a namesake that lives is another"
    );
    second.leave();
    let (third, when) = join_while(region, "a", |_| ());
    assert_eq!(third.expect("its slot").slot(), first.slot());
    assert!((LIMIT + 1..=LIMIT + 10).contains(&when), "{when}");
}

/// A full region has no room as long as all live, and has when one does not.
pub fn full() {
    let fd = memory(1 << 20);
    let mapping = map(&fd);
    let mut first = join(mapping.memory(), 2, "a");
    let mut second = join(mapping.memory(), 2, "b");
    let region = Region::open(mapping.memory()).expect("it is formatted");
    let (refused, when) = join_while(region, "c", |_| {
        assert!(first.poll_event(0).is_ok() && second.poll_event(0).is_ok());
    });
    assert_eq!(refused.map(drop), Err(JoinError::Full { slots: 2 }));
    assert!(when > LIMIT);
    let (third, _) = join_while(region, "c", |_| assert!(first.poll_event(0).is_ok()));
    assert_eq!(third.expect("b is dead").slot(), second.slot());
    assert!(second.poll_event(0).is_err() && first.poll_event(0).is_ok());
}

/// A member is small enough for a kernel without an allocator.
pub fn size() {
    assert!(
        std::mem::size_of::<Member<'_>>() < 8192,
        "{}",
        std::mem::size_of::<Member<'_>>()
    );
}
