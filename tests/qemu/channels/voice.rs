// SPDX-License-Identifier: MIT OR Apache-2.0
//! What members of a crowd say, in guests and in this process alike.

use libtest_mimic::Failed;
use xtask::qemu::{field, Vm};

use crate::lab::PATIENCE;

/// Somebody who says lines.
pub trait Voice {
    /// Waits for the next line that is wanted; it and all before it are used up.
    fn wait(&self, wanted: &dyn Fn(&str) -> bool) -> Result<String, Failed>;

    /// Returns all lines so far.
    fn lines(&self) -> Vec<String>;

    /// Returns the name of whose lines these are.
    fn name(&self) -> &str;
}

impl Voice for Vm {
    fn wait(&self, wanted: &dyn Fn(&str) -> bool) -> Result<String, Failed> {
        Ok(self.wait_line(wanted, PATIENCE)?)
    }

    fn lines(&self) -> Vec<String> {
        self.log()
    }

    fn name(&self) -> &str {
        Self::name(self)
    }
}

/// Returns whether a line is `@ WORD ...` and has all fields `KEY=VALUE` of `fields`.
pub fn says(line: &str, word: &str, fields: &[(&str, &str)]) -> bool {
    let said = line.strip_prefix("@ ");
    said.and_then(|said| said.split_whitespace().next()) == Some(word)
        && fields
            .iter()
            .all(|(key, value)| field(line, key) == Some(value))
}

/// Waits until somebody says so.
pub fn hear(voice: &dyn Voice, word: &str, fields: &[(&str, &str)]) -> Result<String, Failed> {
    voice.wait(&|line| says(line, word, fields))
}

/// Waits for a member's next messages from `peer`, in this incarnation of it.
pub fn progress(voice: &dyn Voice, peer: &str, incarnation: &str) -> Result<(), Failed> {
    let fields = [("peer", peer), ("incarnation", incarnation)];
    hear(voice, "progress", &fields).map(drop)
}

/// Demands that somebody has said so.
pub fn has_said(voice: &dyn Voice, word: &str, fields: &[(&str, &str)]) -> Result<(), Failed> {
    if voice.lines().iter().any(|line| says(line, word, fields)) {
        return Ok(());
    }
    Err(format!("{} has not said `@ {word}` with {fields:?}", voice.name()).into())
}

/// Demands that whatever somebody has said about `word` is as `expected`.
pub fn all_said(
    voice: &dyn Voice,
    word: &str,
    expected: impl Fn(&str) -> bool,
) -> Result<(), Failed> {
    let lines = voice.lines();
    let wrong = lines
        .iter()
        .find(|line| says(line, word, &[]) && !expected(line));
    match wrong {
        Some(line) => Err(format!("{} said `{line}`", voice.name()).into()),
        None => Ok(()),
    }
}
