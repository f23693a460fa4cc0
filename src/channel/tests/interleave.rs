// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two sides that want the same slot: one pauses at each operation there is, and goes on later.

use std::rc::Rc;

use core::cell::RefCell;

use super::stepped::Stepped;
use super::*;

/// Two come to a blank region at once: both get in, into slots of their own.
#[test]
fn two_format_and_join_at_once() {
    // The second does all that it does while the first is paused.
    two_at_once(Stepped::new, usize::MAX / 2);
}

/// The same in a formatted region, where the second may die at each operation as well.
#[test]
fn two_join_at_once() {
    let formatted = || {
        let words = Stepped::new();
        table(&words, 3);
        words.side()
    };
    two_at_once(formatted, 0);
}

fn two_at_once(memory: impl Fn() -> Stepped, dies_from: usize) {
    for at in 0.. {
        for dies in dies_from.. {
            let (first, second) = (memory(), Rc::new(RefCell::new(None)));
            let died = Rc::new(RefCell::new(false));
            let (other, seat, dead) = (first.side(), Rc::clone(&second), Rc::clone(&died));
            first.pauses_at(at, move || {
                *dead.borrow_mut() = other.dies_at(dies, || {
                    let table = table(&other, 3);
                    let joined = join(&table, "second", 0).expect("room");
                    *seat.borrow_mut() = Some(joined.0);
                });
            });
            let table_first = table(&first, 3);
            let (mut seat, _) = join(&table_first, "first", 0).expect("room");
            if first.is_planned() {
                assert!(at > 20, "{at} operations were stepped through");
                return;
            }
            let died = *died.borrow();
            if let Some(mut second) = second.borrow_mut().take() {
                assert_ne!(second.slot, seat.slot);
                let other = table(&first.side(), 3);
                let mut present = Present::default();
                present.take(round(&mut second, &other, 0));
                assert_eq!(present.names(), names(["first"]));
                let mut present = Present::default();
                present.take(round(&mut seat, &table_first, 0));
                assert_eq!(present.names(), names(["second"]));
            } else {
                // It may have come as far as being a member, and not known it.
                assert!(died);
                let mut present = Present::default();
                for now in (0..3 * LIMIT).step_by(STEP as usize) {
                    present.take(round(&mut seat, &table_first, now));
                }
                assert_eq!(present.names(), []);
            }
            if !died {
                break;
            }
        }
    }
}

/// One is stopped for longer than the limit in its life, loses its slot to another, and goes on: it finds that out, and
/// what it still wrote does no harm to the other.
#[test]
fn a_slow_one_is_evicted() {
    for at in 0.. {
        let slow = Stepped::new();
        let table_slow = table(&slow, 2);
        // The other slot is held by one whose time stands still while the slow one is stopped.
        let table_b = table(&slow.side(), 2);
        let holder = Rc::new(RefCell::new(join(&table_b, "b", 0).expect("room").0));
        let taker = Rc::new(RefCell::new(None));
        let (beating, taken, side) = (Rc::clone(&holder), Rc::clone(&taker), slow.side());
        slow.pauses_at(at, move || {
            let table = table(&side, 2);
            let mut candidate = Candidate::new(introduction("taker"));
            for now in (0..3 * LIMIT).step_by(STEP as usize) {
                let _ = beating.borrow_mut().poll_event(&table, now);
                if let Poll::Ready(Ok(seat)) = candidate.poll(&table, now) {
                    *taken.borrow_mut() = Some(seat);
                    return;
                }
            }
            panic!("a stopped one keeps its slot");
        });
        // Its candidate does not live to see the limit itself, so it does not take anything back.
        let mut candidate = Candidate::new(introduction("slow"));
        let mut slow_seat = match candidate.poll(&table_slow, 0) {
            Poll::Ready(joined) => joined.ok(),
            Poll::Pending => None,
        };
        let mut evicted = slow_seat.is_none();
        for now in 1..4 {
            evicted |= slow_seat
                .as_mut()
                .is_some_and(|seat| seat.poll_event(&table_slow, now).is_err());
        }
        if slow.is_planned() {
            assert!(at > 30, "{at} evictions");
            return;
        }
        // One more, if it was stopped in the last of those.
        evicted |= slow_seat
            .as_mut()
            .is_some_and(|seat| seat.poll_event(&table_slow, 4).is_err());
        assert!(evicted, "operation {at}");

        let mut taker = taker.borrow_mut().take().expect("the slot was taken");
        let own = table(&slow.side(), 2);
        round(&mut taker, &own, 0);
        let slot = own.slot(taker.slot);
        let identity = slot
            .identity(slot.look().0)
            .expect("what the slow one wrote is put right");
        assert_eq!(identity.name, Name::new("taker"));
        let events = round(&mut holder.borrow_mut(), &own, 3 * LIMIT);
        assert!(events
            .iter()
            .all(|event| event.kind != EventKind::Died || event.name != Name::new("taker")));
    }
}
