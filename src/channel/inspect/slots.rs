// SPDX-License-Identifier: MIT OR Apache-2.0
//! What slots say: [`SlotLook`].

use super::finding::{Finding, Findings, Part, Problem};
use super::source::{Source, View};
use crate::channel::layout::Geometry;
use crate::channel::slot::{Phase, Slot, State};
use crate::channel::{Name, SlotIndex};
use crate::registers::PeerId;

/// A slot, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotLook {
    /// Its number.
    pub slot: SlotIndex,
    /// Where it is, in bytes from the start of the region.
    pub offset: usize,
    /// The word of its state.
    pub word: u64,
    /// Who is there.
    pub presence: Presence,
    /// Of whom its words are: each new member of a slot has the next number. 0 if nobody was ever there.
    pub incarnation: u32,
    /// The heartbeat, which a member that lives changes several times within anybody's limit; nothing if it is not one of this
    /// incarnation.
    pub heartbeat: Option<u32>,
    /// How the member has introduced itself, if it has.
    pub identity: Option<MemberIdentity>,
}

/// Who is in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Nobody.
    Free,
    /// Somebody who is about to introduce itself.
    Joining,
    /// A member, which may live or be dead: whether its heartbeat moves, two looks tell.
    Member,
}

/// How a member has introduced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberIdentity {
    /// Its name.
    pub name: Name,
    /// Its device's ID, where it can be rung.
    pub device: Option<PeerId>,
    /// How many vectors it listens to.
    pub vectors: u16,
}

/// Looks at a slot.
pub(super) fn look<S: Source + ?Sized>(
    words: View<'_, S>,
    geometry: Geometry,
    slot: SlotIndex,
) -> (SlotLook, Findings) {
    let offset = geometry.slot(slot.0);
    let at = Slot::new(words, offset, geometry.epoch);
    let word = at.word();
    let state = State::from_word(word, geometry.epoch);
    let presence = match state.phase {
        Phase::Free => Presence::Free,
        Phase::Claimed => Presence::Joining,
        Phase::Member => Presence::Member,
    };
    let is_member = presence == Presence::Member;
    let identity = at.identity(state).filter(|_| is_member);
    let looked = SlotLook {
        slot,
        offset,
        word,
        presence,
        incarnation: state.incarnation,
        heartbeat: at.heartbeat(state),
        identity: identity.map(|identity| MemberIdentity {
            name: identity.name,
            device: identity.device.map(PeerId),
            vectors: identity.vectors,
        }),
    };
    let mut findings = Findings::default();
    let problem = |offset, problem| Finding {
        part: Part::Slot(slot),
        offset,
        problem,
    };
    let bad = is_bad(word, geometry.epoch);
    findings.add(bad.then(|| problem(offset, Problem::BadState { found: word })));
    let strange = at.strange_word(state).filter(|_| is_member);
    findings.add(strange.map(|(place, word)| {
        let found = (word >> 32) as u32;
        let expected = state.incarnation;
        problem(offset + place, Problem::StrangeWord { found, expected })
    }));
    (looked, findings)
}

/// Returns whether a state's word is none that the protocol has written since the region was formatted. In its first epoch it
/// was blank before; in later ones anything of another epoch may be left over.
pub(super) const fn is_bad(word: u64, epoch: u16) -> bool {
    let claims_epoch = (word >> 16) as u16 == epoch;
    word != 0 && (claims_epoch || epoch == 1) && State::from_word(word, epoch).word() != word
}
