// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side of a scenario on a machine in this process: its arguments and its lines.

use ivshmem_scenarios::Failure;

/// Returns the value of `key` among `arguments`, which are as on a kernel command line.
pub fn argument<'a>(arguments: &'a str, key: &str) -> Option<&'a str> {
    arguments
        .split_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// Returns whether `word` is among `arguments`.
pub fn has(arguments: &str, word: &str) -> bool {
    arguments.split_whitespace().any(|have| have == word)
}

/// Puts the host's line where the scenario wants it.
pub fn put<'b>(line: &str, buffer: &'b mut [u8]) -> Result<&'b str, Failure> {
    let buffer = buffer
        .get_mut(..line.len())
        .ok_or("the host's line does not fit the buffer")?;
    buffer.copy_from_slice(line.as_bytes());
    Ok(std::str::from_utf8(buffer)?)
}
