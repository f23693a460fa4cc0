// SPDX-License-Identifier: MIT OR Apache-2.0
//! One side stops for ever, at each operation there is.

use super::stepped::{Stepped, LEN};
use super::*;
use crate::channel::region::format_anew;

/// A life: format, join, a few beats, and `Left` at the end.
fn live(words: &Stepped, name: &str, slots: u16, mut now: u64) {
    let table = table(words, slots);
    let Ok((mut seat, joined)) = join(&table, name, now) else {
        return;
    };
    now = joined;
    for _ in 0..3 {
        // Nobody is robbed who lives.
        while seat.poll_event(&table, now).expect("not evicted").is_some() {}
        now += STEP;
    }
    seat.leave(&table);
}

/// Runs `observer` for two limits from `now` on, and returns the time then.
fn watch(observer: &mut Seat, table: &Table<Stepped>, present: &mut Present, now: u64) -> u64 {
    let end = now + 2 * LIMIT;
    for now in (now..=end).step_by(STEP as usize) {
        present.take(round(observer, table, now));
    }
    end
}

/// Somebody dies at an operation of its life, before or while others are there; then a namesake and another come.
#[test]
fn one_dies_at_each_operation() {
    let mut operations = 0;
    for at in 0.. {
        let memory = Stepped::new();
        let died = memory.dies_at(at, || live(&memory, "a", 3, 0));
        let b = memory.side();
        let table_b = table(&b, 3);
        let (mut observer, now) = join(&table_b, "b", 1000).expect("room for b");
        let mut present = Present::default();
        let now = watch(&mut observer, &table_b, &mut present, now);
        assert_eq!(present.names(), [], "the dead is gone, operation {at}");

        let c = memory.side();
        let table_c = table(&c, 3);
        let (mut again, now) = join_while(&table_c, "a", now, |now| {
            present.take(round(&mut observer, &table_b, now));
        });
        // A second one of another name has room, since nobody but those two lives.
        let (mut third, now) = join_while(&table(&memory.side(), 3), "d", now, |now| {
            present.take(round(&mut observer, &table_b, now));
            round(&mut again, &table_c, now);
        });
        for now in (now..now + 2 * LIMIT).step_by(STEP as usize) {
            present.take(round(&mut observer, &table_b, now));
            round(&mut again, &table_c, now);
            round(&mut third, &table_c, now);
        }
        assert_eq!(present.names(), names(["a", "d"]), "operation {at}");
        if !died {
            break;
        }
        operations = at + 1;
    }
    assert!(
        operations > 40,
        "{operations} operations were stepped through"
    );
}

/// The same with an observer that was there before: it is told of what it was told of.
#[test]
fn one_dies_at_each_operation_before_an_observer() {
    for at in 0.. {
        let memory = Stepped::new();
        let table_b = table(&memory, 2);
        let (mut observer, _) = join(&table_b, "b", 0).expect("room for b");
        let a = memory.side();
        let died = a.dies_at(at, || live(&a, "a", 2, 0));
        let mut present = Present::default();
        let now = watch(&mut observer, &table_b, &mut present, 60);
        assert_eq!(present.names(), [], "operation {at}");
        // The only other slot is had again, whatever state it was left in.
        let table_c = table(&memory.side(), 2);
        let (_seat, now) = join_while(&table_c, "c", now, |now| {
            present.take(round(&mut observer, &table_b, now));
        });
        // One round tells that the one before has gone, the next who is there now.
        present.take(round(&mut observer, &table_b, now));
        present.take(round(&mut observer, &table_b, now));
        assert_eq!(present.names(), names(["c"]), "operation {at}");
        if !died {
            break;
        }
    }
}

/// A namesake dies at each operation of taking over, and the next one takes over from it.
#[test]
fn one_dies_at_each_operation_of_a_takeover() {
    for at in 0.. {
        let memory = Stepped::new();
        let table_b = table(&memory, 2);
        let (mut observer, _) = join(&table_b, "b", 0).expect("room for b");
        let table_a = table(&memory.side(), 2);
        join(&table_a, "a", 0).expect("room for a");
        let mut present = Present::default();
        present.take(round(&mut observer, &table_b, 0));
        assert_eq!(present.names(), names(["a"]));
        let second = memory.side();
        // The first observer has to beat as long as this lasts, or it would be taken for dead as well: it does
        // so by being there for no time at all, since the ticks of each are its own.
        let died = second.dies_at(at, || {
            let table = table(&second, 2);
            let mut candidate = Candidate::new(introduction("a"));
            for now in (0..2 * LIMIT).step_by(STEP as usize) {
                round(&mut observer, &table_b, 0);
                if candidate.poll(&table, now).is_ready() {
                    break;
                }
            }
        });
        let table_c = table(&memory.side(), 2);
        let (mut third, now) = join_while(&table_c, "a", 1000, |now| {
            round(&mut observer, &table_b, now);
        });
        assert_eq!(third.slot, 1);
        assert!(round(&mut third, &table_c, now)
            .iter()
            .all(|event| event.name == Name::new("b")));
        if !died {
            break;
        }
    }
}

/// Somebody dies at each operation of formatting anew; the region is of the old format or of the new one.
#[test]
fn one_dies_at_each_operation_of_formatting_anew() {
    for at in 0.. {
        let memory = Stepped::new();
        let old = table(&memory, 4);
        let (mut member, _) = join(&old, "a", 0).expect("room for a");
        let other = memory.side();
        let died = other.dies_at(at, || {
            let _ = format_anew(&other, LEN, &format(2));
        });
        let new = table(&memory.side(), 3);
        if new.geometry == old.geometry {
            assert!(member.poll_event(&old, 0).is_ok());
        } else {
            assert_eq!(new.geometry.slots, 2);
            assert!(member.poll_event(&old, 0).is_err(), "evicted");
            // The slot that nobody has used is taken first.
            let (mut first, _) = join(&new, "b", 0).expect("nobody is there");
            assert_eq!(round(&mut first, &new, 0), []);
            let (second, _) = join(&new, "c", 0).expect("nobody else is there");
            assert_eq!((first.slot, second.slot), (1, 0));
            assert!(second.state.incarnation > member.state.incarnation);
        }
        if !died {
            break;
        }
    }
}

/// Joins within two limits, while others do something at each time.
fn join_while(
    table: &Table<Stepped>,
    name: &str,
    now: u64,
    mut others: impl FnMut(u64),
) -> (Seat, u64) {
    let mut candidate = Candidate::new(introduction(name));
    for now in (now..=now + 2 * LIMIT).step_by(STEP as usize) {
        others(now);
        if let Poll::Ready(joined) = candidate.poll(table, now) {
            return (joined.expect("room"), now);
        }
    }
    panic!("{name} waits for more than two limits")
}
