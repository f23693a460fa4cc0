// SPDX-License-Identifier: MIT OR Apache-2.0
//! All orders in which others may see what members do to header and slots, as a model checker finds them.
//!
//! Each model also runs with accesses that are ordered less than the protocol asks for, and has to fail where that order
//! matters.

use super::islands::{check, spawn, Islands, LEN, ONE_SLOT, SIGNS, TWO_SLOTS};
use super::*;
use crate::channel::region::{format_anew, open};
use crate::channel::slot::{Origin, Phase, State};
use crate::channel::words::doubles::Orders;
use crate::channel::OpenError;

/// Returns one who wants a slot, and whose name fills all words. All but its name is told by the vectors.
fn candidate(letter: &str, vectors: u16) -> Candidate {
    Candidate::new(Introduction {
        vectors,
        ..introduction(&letter.repeat(32))
    })
}

/// Polls once, and returns a seat if there was one to have.
fn poll(candidate: &mut Candidate, table: &Table<Islands>, now: u64) -> Option<Seat> {
    match candidate.poll(table, now) {
        Poll::Ready(seated) => Some(seated.expect("room")),
        Poll::Pending => None,
    }
}

/// Makes a member with one vector of the first slot.
fn first_member(table: &Table<Islands>) -> Seat {
    poll(&mut candidate("a", 1), table, 0).expect("nobody else is there")
}

/// Returns a namesake with two vectors that takes the first slot at its next poll, at [`LATE`], unless it sees a beat.
fn robber(table: &Table<Islands>) -> Candidate {
    let mut robber = candidate("a", 2);
    for now in [0, LATE / 2] {
        assert!(poll(&mut robber, table, now).is_none());
    }
    robber
}

/// The time at which a robber has waited for longer than the limit.
const LATE: u64 = LIMIT + 2;

/// Returns the vectors of the member in the first slot, as far as it is known who that is.
fn vectors(table: &Table<Islands>, state: State) -> Option<u16> {
    let identity = table.slot(0).identity(state)?;
    assert_eq!(identity.name.0, [identity.name.0[0]; 32]);
    Some(identity.vectors)
}

/// Two format a blank region; the faster one also begins to use it. Both have the same format.
fn two_formatters(orders: Orders) {
    check(2, move || {
        let words = Islands::new(SIGNS, orders);
        let other = words.clone();
        let formatting = spawn(move || {
            let geometry = open_or_format(&other, LEN, &format(2)).expect("it was blank");
            let words = other;
            let table = Table { words, geometry };
            let slot = table.slot(0);
            let claimed = slot.claim(slot.look().0).expect("nobody else wants it");
            slot.beat(claimed, 1);
            geometry
        });
        let geometry = open_or_format(&words, LEN, &format(3)).expect("blank, or formatted");
        assert_eq!(formatting.join().unwrap(), geometry);
        assert_eq!(open(&words, LEN), Ok(geometry));
    });
}

#[test]
fn two_formatters_agree() {
    two_formatters(Orders::AsAsked);
}

#[test]
#[should_panic(expected = "left == right")]
fn two_formatters_do_not_agree_if_the_exchange_is_torn() {
    two_formatters(Orders::TornExchanges);
}

/// Two want a slot at once, of two that are free: each gets one of its own.
fn two_candidates(orders: Orders) {
    check(1, move || {
        let table = Islands::formatted(TWO_SLOTS, orders);
        let other = table.clone();
        let join = |table: &Table<Islands>, letter| {
            let mut candidate = candidate(letter, 1);
            // A slot can be taken away once, by the only other one.
            let seat = (0..2).find_map(|_| poll(&mut candidate, table, 0));
            seat.expect("a slot for each")
        };
        let joining = spawn(move || join(&other, "b").slot);
        let seat = join(&table, "a");
        assert_ne!(joining.join().unwrap(), seat.slot, "a slot for each");
        assert!(table.slot(seat.slot).is(seat.state));
    });
}

#[test]
fn two_candidates_get_two_slots() {
    two_candidates(Orders::AsAsked);
}

#[test]
#[should_panic(expected = "a slot for each")]
fn two_candidates_get_the_same_slot_if_the_exchange_is_torn() {
    two_candidates(Orders::TornExchanges);
}

/// One introduces itself while another looks: who sees the member sees all of who it is, and nobody sees a part.
fn introduction_and_look(orders: Orders) {
    check(3, move || {
        let table = Islands::formatted(ONE_SLOT, orders);
        let other = table.clone();
        let joining = spawn(move || first_member(&other));
        for _ in 0..2 {
            let (state, beat) = table.slot(0).look();
            if state.incarnation == 0 {
                // Nobody has been here, and nobody is asked who that is.
                continue;
            }
            let seen = vectors(&table, state);
            assert!([None, Some(1)].contains(&seen), "a part");
            if state.phase == Phase::Member {
                assert!(seen.is_some() && beat.is_some(), "a member without a name");
            }
        }
        joining.join().unwrap();
    });
}

#[test]
fn a_member_that_is_seen_has_a_name() {
    introduction_and_look(Orders::AsAsked);
}

#[test]
#[should_panic(expected = "a member without a name")]
fn a_member_has_no_name_yet_if_the_exchange_orders_nothing() {
    introduction_and_look(Orders::RelaxedExchanges);
}

#[test]
#[should_panic(expected = "a member without a name")]
fn a_member_has_no_name_yet_if_the_look_orders_nothing() {
    introduction_and_look(Orders::RelaxedLoads);
}

/// One leaves while its slot is robbed: it is free then, or the robber's.
fn leave_and_rob(orders: Orders) {
    check(3, move || {
        let table = Islands::formatted(ONE_SLOT, orders);
        let seat = first_member(&table);
        let (other, mut robber) = (table.clone(), robber(&table));
        let robbing = spawn(move || poll(&mut robber, &other, LATE).map(|seat| seat.state));
        seat.leave(&table);
        let expected = robbing.join().unwrap();
        let state = table.slot(0).look().0;
        if state.phase == Phase::Free {
            assert_eq!(expected, None, "the robber's slot was left by another");
        } else {
            assert_eq!(Some(state), expected, "it is the robber's");
        }
    });
}

#[test]
fn a_slot_is_left_or_robbed() {
    leave_and_rob(Orders::AsAsked);
}

#[test]
#[should_panic(expected = "robber's")]
fn a_robbed_slot_is_left_if_the_exchange_is_torn() {
    leave_and_rob(Orders::TornExchanges);
}

/// One is robbed in the middle of its beat, and stores late: nobody takes what it writes for the robber's, and the robber
/// puts it right.
fn rob_and_late_beat(orders: Orders) {
    check(1, move || {
        let table = Islands::formatted(ONE_SLOT, orders);
        let mut slow = first_member(&table);
        let (other, mut robber) = (table.clone(), robber(&table));
        let robbing = spawn(move || poll(&mut robber, &other, LATE));
        let _ = slow.poll_event(&table, 0);
        let state = table.slot(0).look().0;
        let seen = vectors(&table, state);
        assert!(seen.map_or(true, |seen| u32::from(seen) == state.incarnation));
        let Some(mut robber) = robbing.join().unwrap() else {
            // It saw the beat.
            return;
        };
        assert!(robber.poll_event(&table, 0).is_ok());
        let (state, beat) = table.slot(0).look();
        assert_eq!(vectors(&table, state), Some(2));
        assert!(state == robber.state && beat.is_some());
        assert!(slow.poll_event(&table, 0).is_err(), "it is told");
    });
}

/// It is the incarnation in each word that does it, and no order of accesses.
#[test]
fn what_a_robbed_one_stores_late_is_nobodys() {
    rob_and_late_beat(Orders::AllRelaxed);
}

/// The region is formatted anew, and somebody joins, while a member of before beats and leaves: that one is told, and has
/// no say in what is new.
fn format_anew_and_poll(orders: Orders) {
    check(1, move || {
        let old = Islands::formatted(ONE_SLOT, orders);
        let mut member = first_member(&old);
        let words = old.words.clone();
        let formatting = spawn(move || {
            let geometry = format_anew(&words, LEN, &format(2)).expect("nobody else does");
            let table = Table { words, geometry };
            assert_eq!(table.slot(0).look().0.phase, Phase::Free, "nobody is there");
            let mut candidate = candidate("b", 2);
            // The other one can leave once meanwhile.
            let seat = (0..2).find_map(|_| poll(&mut candidate, &table, 0));
            (seat.expect("a member of before has a say"), table)
        });
        let _ = member.poll_event(&old, 0);
        member.leave(&old);
        let (mut seat, new) = formatting.join().unwrap();
        assert!(member.poll_event(&old, 0).is_err(), "it is told");
        assert!(
            seat.poll_event(&new, 0).is_ok(),
            "a member of before has a say"
        );
        let state = new.slot(0).look().0;
        assert_eq!((state, state.origin), (seat.state, Origin::Vacant));
        assert_eq!(vectors(&new, state), Some(2));
        assert!(state.incarnation > member.state.incarnation);
    });
}

#[test]
fn a_member_of_before_has_no_say_in_a_new_format() {
    format_anew_and_poll(Orders::AsAsked);
}

#[test]
#[should_panic(expected = "a member of before has a say")]
fn a_member_of_before_leaves_another_ones_slot_if_the_exchange_is_torn() {
    format_anew_and_poll(Orders::TornExchanges);
}

/// Two format anew at once: each format is another one, so that nobody is in both.
fn two_format_anew(orders: Orders) {
    check(3, move || {
        let words = Islands::formatted(SIGNS, orders).words;
        let other = words.clone();
        let formatting = spawn(move || format_anew(&other, LEN, &format(2)));
        let first = format_anew(&words, LEN, &format(2));
        let second = formatting.join().unwrap();
        assert_ne!(first, second, "the same format");
        for result in [first, second] {
            assert!(matches!(result, Ok(_) | Err(OpenError::Raced)));
        }
        assert!([first, second].contains(&open(&words, LEN)));
    });
}

#[test]
fn two_who_format_anew_do_not_do_the_same() {
    two_format_anew(Orders::AsAsked);
}

#[test]
#[should_panic(expected = "the same format")]
fn two_who_format_anew_do_the_same_if_the_exchange_is_torn() {
    two_format_anew(Orders::TornExchanges);
}
