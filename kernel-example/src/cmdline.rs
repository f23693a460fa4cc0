// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel command line: `key=value` pairs and bare words between white space.

use crate::boot;

/// Returns the value of the first `key=value`.
pub fn get(key: &str) -> Option<&'static str> {
    arguments().find_map(|argument| argument.strip_prefix(key)?.strip_prefix('='))
}

/// Returns whether the bare word `word` is given.
pub fn has(word: &str) -> bool {
    arguments().any(|argument| argument == word)
}

fn arguments() -> impl Iterator<Item = &'static str> {
    boot::info()
        .map_or("", |info| info.command_line())
        .split_ascii_whitespace()
}
