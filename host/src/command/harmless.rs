// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text of others, such as names and answers, made so that it cannot speak to a terminal: [`harmless`].

use std::borrow::Cow;
use std::fmt::Write;

/// Returns `document` as a line of JSON, or several if it was rendered so, with what JSON itself leaves as it is escaped.
pub(super) fn harmless_json(document: &str) -> String {
    let mut escaped = String::with_capacity(document.len() + 1);
    for character in document.chars() {
        // Beyond ASCII there are only strings; what is harmful lies below U+10000, in one unit.
        if !character.is_ascii() && is_harmful(character) {
            // Writing to a string does not fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped.push('\n');
    escaped
}

/// Returns `text` with everything escaped that ends a line, moves a cursor or turns the direction of writing.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) {
            escaped.extend(character.escape_debug());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

fn is_harmful(character: char) -> bool {
    let is_separator = matches!(character, '\u{2028}' | '\u{2029}');
    let turns = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    character.is_control() || is_separator || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_the_same_with_what_is_harmful_escaped() {
        let value = serde_json::json!({ "a\u{9b}": ["\u{1b}", "é\u{202e}\u{2028}"] });
        for document in [value.to_string(), format!("{value:#}")] {
            let escaped = harmless_json(&document);
            assert_eq!(escaped.lines().count(), document.lines().count());
            let is_rude = |c: char| c != '\n' && is_harmful(c);
            assert!(!escaped.contains(is_rude), "{escaped}");
            let same: serde_json::Value = serde_json::from_str(&escaped).unwrap();
            assert_eq!(same, value);
        }
    }

    #[test]
    fn what_speaks_to_a_terminal_is_escaped_and_nothing_else() {
        for text in ["", "größer \\ 'x' \"y\"", "/run/ivshmem.sock: 日本"] {
            assert!(matches!(harmless(text), Cow::Borrowed(same) if same == text));
        }
        for (text, escaped) in [
            ("\u{1b}]0;x\u{7}", r"\u{1b}]0;x\u{7}"),
            ("one\ntwo\r\t\0", r"one\ntwo\r\t\0"),
            ("\u{9b}2J", r"\u{9b}2J"),
            ("a\u{202e}b\u{2028}", r"a\u{202e}b\u{2028}"),
        ] {
            assert_eq!(harmless(text), escaped);
        }
    }
}
