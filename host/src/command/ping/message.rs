// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages that are sent and should come back: [`Messages`].

/// The shortest message: which run and which of its messages it is.
pub(super) const SHORTEST: usize = 16;

/// Composes the messages of one run, and knows them again.
#[derive(Debug)]
pub(super) struct Messages {
    run: u64,
    buffer: Vec<u8>,
}

/// What has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The message of this number, as it was sent.
    To(u64),
    /// Something else.
    Wrong,
}

impl Messages {
    /// Begins a run; `size` bytes each, at least [`SHORTEST`].
    pub(super) fn new(run: u64, size: usize) -> Self {
        Self {
            run,
            buffer: vec![0; size.max(SHORTEST)],
        }
    }

    pub(super) const fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Returns message `number`.
    pub(super) fn compose(&mut self, number: u64) -> &[u8] {
        for (place, byte) in self.buffer.iter_mut().enumerate() {
            *byte = expected(self.run, number, place);
        }
        &self.buffer
    }

    /// Examines what has come back.
    pub(super) fn examine(&self, message: &[u8]) -> Answer {
        let number = message.get(8..SHORTEST).and_then(|n| n.try_into().ok());
        let Some(number) = number.map(u64::from_le_bytes) else {
            return Answer::Wrong;
        };
        let same = |(place, &byte)| byte == expected(self.run, number, place);
        if message.len() == self.size() && message.iter().enumerate().all(same) {
            Answer::To(number)
        } else {
            Answer::Wrong
        }
    }
}

/// Returns the byte at a place of a message: run, number, then a pattern that shifts with the number.
fn expected(run: u64, number: u64, place: usize) -> u8 {
    let word = match place / 8 {
        0 => run,
        1 => number,
        _ => return (place as u64).wrapping_mul(31).wrapping_add(number) as u8,
    };
    (word >> (8 * (place % 8))) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_is_known_again() {
        for size in [0, SHORTEST, 17, 64, 4096] {
            let mut messages = Messages::new(0x0123_4567_89ab_cdef, size);
            let message = messages.compose(300).to_vec();
            assert_eq!(message.len(), size.max(SHORTEST));
            assert_eq!(messages.examine(&message), Answer::To(300));
            for place in 0..message.len() {
                let mut changed = message.clone();
                changed[place] ^= 0x40;
                assert!(messages.examine(&changed) != Answer::To(300), "{place}");
                // Whatever it says about its number, the pattern tells.
                if !(8..SHORTEST).contains(&place) {
                    assert_eq!(messages.examine(&changed), Answer::Wrong, "{place}");
                }
            }
            assert_eq!(messages.examine(&message[1..]), Answer::Wrong);
            let other = Messages::new(1, size);
            assert_eq!(other.examine(&message), Answer::Wrong);
        }
        assert_eq!(Messages::new(1, 64).examine(b""), Answer::Wrong);
    }
}
