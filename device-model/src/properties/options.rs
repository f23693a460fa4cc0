// SPDX-License-Identifier: MIT OR Apache-2.0
//! The syntax of QEMU's `-device`: a kind, then `name=value` after commas. A comma in a value is doubled.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

use super::PropertyError;

/// The name of what comes first, which may also be written out.
pub(super) const DRIVER: &str = "driver";

/// Splits a text into its options. Of those given twice the last is kept, as in QEMU 7.2.
///
/// # Errors
///
/// - [`PropertyError::NoValue`]: an option without `=`. QEMU 7.2 takes it for `on`, and warns that it will not for long.
pub(super) fn split(text: &str) -> Result<BTreeMap<String, String>, PropertyError> {
    let mut options = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['=', ',']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let (name, value) = match after.strip_prefix('=') {
            Some(value) => (name.to_string(), value),
            None if rest.len() == text.len() => (DRIVER.to_string(), rest),
            None => {
                return Err(PropertyError::NoValue {
                    name: name.to_string(),
                })
            }
        };
        let value_and_rest = take_value(value);
        options.insert(name, value_and_rest.0);
        rest = value_and_rest.1;
    }
    Ok(options)
}

/// Returns the value at the beginning of `text`, and what comes after the comma that ends it.
fn take_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut rest = text;
    while let Some((piece, after)) = rest.split_once(',') {
        value.push_str(piece);
        match after.strip_prefix(',') {
            Some(after_both) => {
                value.push(',');
                rest = after_both;
            }
            None => return (value, after),
        }
    }
    value.push_str(rest);
    (value, "")
}
