// SPDX-License-Identifier: MIT OR Apache-2.0
//! A region for the model checker, of which it knows the words that matter: [`Islands`].

extern crate std;

use core::ops::Range;
use core::sync::atomic::Ordering;
use std::sync::Arc;

use loom::sync::atomic::AtomicU64;

use crate::channel::layout::{Geometry, GEOMETRY_AT, MAGIC, MAGIC_AT, SLOTS_AT, SLOT_LEN};
use crate::channel::region::Table;
use crate::channel::words::doubles::{At, Model, Orders, Turning};
use crate::channel::words::{Loads, Words};

/// Bytes of the region: the least for three slots.
pub(super) const LEN: usize = 0x2000;
/// The words of a slot that the checker knows: state, heartbeat, address, and one for all of the name.
const KNOWN: usize = 0x20;
/// The other words of a name in a slot.
const ALIASES: Range<usize> = KNOWN..0x58;

/// Memory of which the checker knows only some places: whatever else is written is seen by nobody, and reads as 0, or is the state of a free slot. All
/// words of a name are one, as all names here are one letter: so there is much less to check.
#[derive(Clone)]
pub(super) struct Islands {
    words: Model,
    places: &'static [Range<usize>],
    /// What the states of other slots read as.
    others: u64,
    /// Is changed before each access, relaxed, which orders nothing. The checker compares an access with the last one of the
    /// same word only, and so would take one who looks at a word and then exchanges it for the only one who was there.
    turn: Arc<AtomicU64>,
}

/// Header and first slot.
pub(super) const ONE_SLOT: &[Range<usize>] = &[0..0x10, SLOTS_AT..SLOTS_AT + KNOWN];
/// Header and two slots.
pub(super) const TWO_SLOTS: &[Range<usize>] = &[
    0..0x10,
    SLOTS_AT..SLOTS_AT + KNOWN,
    SLOTS_AT + SLOT_LEN..SLOTS_AT + SLOT_LEN + KNOWN,
];
/// Header, and the state and the heartbeat of the first slot: each further word that one looks at while another
/// writes it doubles what there is to check.
pub(super) const SIGNS: &[Range<usize>] = &[0..0x10, SLOTS_AT..SLOTS_AT + 0x10];

impl Islands {
    pub(super) fn new(places: &'static [Range<usize>], orders: Orders) -> Self {
        let len = places.iter().map(ExactSizeIterator::len).sum();
        let words = Model::with_orders(len, orders);
        Self {
            words,
            places,
            others: 0,
            turn: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The same, formatted for two slots.
    pub(super) fn formatted(places: &'static [Range<usize>], orders: Orders) -> Table<Self> {
        // Others are free, but have been used more than any: nobody takes them first.
        let words = Self {
            others: u64::from(u32::MAX) << 32,
            ..Self::new(places, orders)
        };
        let geometry = Geometry::divide(LEN, 2, None, 1).expect("it fits");
        words.store(GEOMETRY_AT, geometry.word(), Ordering::Relaxed);
        words.store(MAGIC_AT, MAGIC, Ordering::Relaxed);
        Table { words, geometry }
    }

    /// Returns where a word is that the checker knows, and lets others go first.
    fn at(&self, offset: usize) -> Option<usize> {
        let in_slot = offset.saturating_sub(SLOTS_AT) % SLOT_LEN;
        if ALIASES.contains(&in_slot) {
            return self.locate(offset - in_slot + KNOWN - 8);
        }
        let at = self.locate(offset)?;
        self.turn.fetch_add(1, Ordering::Relaxed);
        Some(at)
    }

    fn locate(&self, offset: usize) -> Option<usize> {
        let mut before = 0;
        for place in self.places {
            if place.contains(&offset) {
                return Some(before + offset - place.start);
            }
            before += place.len();
        }
        None
    }
}

impl Loads for Islands {
    fn load(&self, offset: usize, order: Ordering) -> u64 {
        let is_state = offset >= SLOTS_AT && (offset - SLOTS_AT) % SLOT_LEN == 0;
        match self.at(offset) {
            Some(at) => self.words.load(at, order),
            None if is_state => self.others,
            None => 0,
        }
    }
}

impl Words for Islands {
    type Word = At<Self>;
    type Circle = Turning<Self>;

    fn circle(&self, offset: usize, len_bytes: usize) -> Option<Turning<Self>> {
        Some(Turning::new(self, offset, len_bytes))
    }

    fn word(&self, offset: usize) -> At<Self> {
        At::new(self, offset)
    }

    fn store(&self, offset: usize, value: u64, order: Ordering) {
        if let Some(at) = self.at(offset) {
            self.words.store(at, value, order);
        }
    }

    fn compare_exchange(&self, offset: usize, current: u64, new: u64) -> Result<(), u64> {
        // What the checker does not know is always somebody else's.
        let at = self.at(offset).ok_or(!current)?;
        self.words.compare_exchange(at, current, new)
    }

    fn fence(&self, order: Ordering) {
        self.words.fence(order);
    }
}

/// Runs a model with all interleavings of up to `switches` switches from a thread that could go on.
pub(super) fn check(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    let model = Arc::new(model);
    builder.check(move || {
        let model = Arc::clone(&model);
        spawn(move || model()).join().unwrap();
    });
}

/// Begins a thread of a model that has room for what a member knows.
pub(super) fn spawn<T: Send + 'static>(
    does: impl FnOnce() -> T + Send + 'static,
) -> loom::thread::JoinHandle<T> {
    const STACK_WORDS: usize = 1 << 15;
    let builder = loom::thread::Builder::new().stack_size(STACK_WORDS);
    builder.spawn(does).expect("a thread")
}
