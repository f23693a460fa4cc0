// SPDX-License-Identifier: MIT OR Apache-2.0
//! How one side of a ring wakes the other, and is not asked to when the other is awake.
//!
//! A ring has two positions that move on: the producer's, which the consumer waits for, and the consumer's, which a
//! producer without room waits for. Both are waited for in the same way, by a *publisher* and a *waiter* with one word each.
//!
//! - The waiter's **wish** is the position at which it wants to be woken, or [`POLLING`]: it looks by itself.
//! - The publisher's **promise** is [`LOOKS`] while it orders every publication before its look at the wish by
//!   a fence of all memory, and 0 while it does not.
//!
//! ```text
//! publisher                          waiter
//! publish position                   wish := position
//! fence                              fence
//! wish passed? ring                  promise and nothing published? sleep
//! ```
//!
//! With a fence on both sides one of them sees the other, so a wake-up is not lost. The fence costs the publisher the
//! wait for its stores, once for each message, and nobody needs it while the waiter polls. So a publisher that
//! finds [`POLLING`] takes its promise back, by the same pattern with the roles exchanged, and a waiter that finds no promise
//! may sleep for a bounded time only ([`Sleep::Bounded`]); the next publication renews the promise.
//!
//! ```text
//! publisher                          waiter
//! promise := 0                       wish := position
//! fence                              fence
//! look at the wish, from now on      no promise? sleep for a bounded time
//! without a fence
//! ```
//!
//! | word | written by | stores | loads |
//! | --- | --- | --- | --- |
//! | wish | waiter | relaxed, before a sequentially consistent fence if it is a position | relaxed |
//! | promise | publisher | 0 relaxed, before a sequentially consistent fence; `LOOKS` release | acquire, after the waiter's fence |
//!
//! The publisher's fence stands behind its store of the position, or of the header that announces it; the waiter's
//! stands before its last look. Neither side believes the other's word more than that: a wrong wish costs a ring too
//! many or is the waiter's own loss, a wrong promise costs the waiter its sleep.
//!
//! Both words outlive a session and whoever wrote them. Each side begins by writing its own, and a publisher begins with its
//! promise given, so what the other one finds before is stale but not wrong. Only a member that was evicted and does not know it
//! yet can spoil a word of its successor, by the one store it was about to make: the reason why a sleep has to end with
//! the next heartbeat, rung or not.

use core::sync::atomic::Ordering;

use super::words::{Word, Words};

/// The wish of a waiter that looks by itself. No position comes near it: positions begin at 0 and count bytes.
pub(crate) const POLLING: u64 = u64::MAX;

/// The promise of a publisher that fences.
pub(crate) const LOOKS: u64 = 1;

/// Where the two words are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) wish: usize,
    pub(crate) promise: usize,
}

/// The side that publishes positions.
#[derive(Debug)]
pub(crate) struct Publisher<W: Words> {
    wish: W::Word,
    promise: W::Word,
    /// Whether the promise is given.
    fences: bool,
    /// Up to here wishes have been looked at behind a fence, so that one of them is rung for once at most.
    looked: u64,
}

impl<W: Words> Publisher<W> {
    /// Begins at `position`, before it is published, with the promise given.
    pub(crate) fn begin(places: Places, words: &W, position: u64) -> Self {
        let promise = words.word(places.promise);
        promise.store(LOOKS, Ordering::Release);
        Self {
            wish: words.word(places.wish),
            promise,
            fences: true,
            looked: position,
        }
    }

    /// Is called when `position` has just been published, and returns whether to ring.
    #[inline(always)]
    pub(crate) fn published(&mut self, words: &W, position: u64) -> bool {
        if !self.fences && self.wish.load(Ordering::Relaxed) == POLLING {
            return false;
        }
        self.look(words, position)
    }

    /// Looks at the wish of a waiter that may sleep.
    #[cold]
    fn look(&mut self, words: &W, position: u64) -> bool {
        if !self.fences {
            self.fences = true;
            self.promise.store(LOOKS, Ordering::Release);
        }
        words.fence(Ordering::SeqCst);
        let wish = self.wish.load(Ordering::Relaxed);
        if wish == POLLING {
            self.take_back(words);
            return false;
        }
        let passed = is_within(wish, self.looked, position);
        self.looked = position;
        passed
    }

    /// Takes the promise back. A waiter that has not seen this is seen by the next look, which is behind the fence; what
    /// was published before is behind the fence of `published`, so such a waiter has seen it.
    fn take_back(&mut self, words: &W) {
        self.promise.store(0, Ordering::Relaxed);
        words.fence(Ordering::SeqCst);
        self.fences = false;
    }
}

/// Returns whether `wish` is behind `from` and not behind `to`.
const fn is_within(wish: u64, from: u64, to: u64) -> bool {
    to.wrapping_sub(wish) < to.wrapping_sub(from)
}

/// How long a waiter may sleep when nothing has been published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Until it is rung.
    Rung,
    /// For a limited time: this once the ring may not come.
    Bounded,
}

/// The side that waits for positions.
#[derive(Debug)]
pub(crate) struct Waiter {
    places: Places,
    polling: bool,
}

impl Waiter {
    /// Begins with a wish: [`POLLING`], or a position that it has seen already, for which nobody rings.
    pub(crate) fn begin<W: Words>(places: Places, words: &W, wish: u64) -> Self {
        words.store(places.wish, wish, Ordering::Relaxed);
        Self {
            places,
            polling: wish == POLLING,
        }
    }

    /// Wishes to be woken when `position` is published. Look again afterwards, then sleep as told.
    pub(crate) fn arm<W: Words>(&mut self, words: &W, position: u64) -> Sleep {
        self.polling = false;
        words.store(self.places.wish, position, Ordering::Relaxed);
        words.fence(Ordering::SeqCst);
        if words.load(self.places.promise, Ordering::Acquire) == LOOKS {
            Sleep::Rung
        } else {
            Sleep::Bounded
        }
    }

    /// Says that nobody need ring.
    #[inline]
    pub(crate) fn poll<W: Words>(&mut self, words: &W) {
        if !self.polling {
            self.polling = true;
            words.store(self.places.wish, POLLING, Ordering::Relaxed);
        }
    }
}
