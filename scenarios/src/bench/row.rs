// SPDX-License-Identifier: MIT OR Apache-2.0
//! What comes out of a measurement: [`Row`].

use core::fmt;

use crate::party::Manner;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The time of a message there and back.
    RoundTrip(Manner),
    /// The rate of messages in one direction.
    Stream,
}

/// A figure of a channel, and that of its bare reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was measured.
    pub what: What,
    /// Bytes of a message.
    pub bytes: usize,
    /// Median of the channel's rounds: of round trips the median time in nanoseconds, of streams messages in a second.
    pub channel: u64,
    /// The same of the reference.
    pub bare: u64,
    /// Median of the rounds' ratios, channel to reference, in percent.
    pub ratio_percent: u64,
}

impl Row {
    /// Returns the row that a line tells of, whose value of `key` is `get(key)`.
    pub fn parse<'l>(get: impl Fn(&str) -> Option<&'l str>) -> Option<Self> {
        let number = |key| get(key)?.parse().ok();
        let what = match get("what")? {
            "stream" => What::Stream,
            "round-trip" => What::RoundTrip(Manner::from_name(get("wait")?)?),
            _ => return None,
        };
        Some(Self {
            what,
            bytes: get("bytes")?.parse().ok()?,
            channel: number("channel")?,
            bare: number("bare")?,
            ratio_percent: number("ratio_percent")?,
        })
    }
}

/// As lines for programs have it.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::RoundTrip(manner) => write!(f, "what=round-trip wait={}", manner.name())?,
            What::Stream => write!(f, "what=stream")?,
        }
        write!(
            f,
            " bytes={} channel={} bare={} ratio_percent={}",
            self.bytes, self.channel, self.bare, self.ratio_percent
        )
    }
}
