// SPDX-License-Identifier: MIT OR Apache-2.0
//! The value of one option of QEMU: keys and values, as QEMU reads them.
//!
//! `kind,key=value,...` with a doubled comma for a comma, a key alone for `key=on` and `nokey` for
//! `key=off` (old, still taken), or a JSON object (QEMU 6.2 and later). A key given twice has its last value.

use std::fmt;

use serde_json::Value;

/// Keys and values, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::command) struct Options {
    /// As it was written, with the option's name: `-device ivshmem-plain,memdev=m`.
    text: String,
    implied: &'static str,
    pairs: Vec<(String, String)>,
}

/// Why a value is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::command) enum OptionsError {
    /// It begins like JSON and is not an object of JSON.
    Json(String),
    /// A value without a key.
    NoKey,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(why) => write!(f, "it is not an object of JSON: {why}"),
            Self::NoKey => write!(f, "there is a value without a key before '='"),
        }
    }
}

impl std::error::Error for OptionsError {}

impl Options {
    /// Reads the `value` of the option `name`, whose first word may stand without its key, `implied`.
    pub(super) fn parse(
        name: &str,
        implied: &'static str,
        value: &str,
    ) -> Result<Self, OptionsError> {
        let pairs = if value.starts_with('{') {
            json_pairs(value)?
        } else {
            comma_pairs(implied, value)?
        };
        Ok(Self {
            text: format!("-{name} {value}"),
            implied,
            pairs,
        })
    }

    /// Adds what is in `more`, which was given later.
    pub(super) fn merge(&mut self, more: Self) {
        self.text = more.text;
        self.pairs.extend(more.pairs);
    }

    /// Returns the value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| &value[..])
    }

    /// Returns the value of the key that may be left out.
    pub(super) fn kind(&self) -> &str {
        self.get(self.implied).unwrap_or_default()
    }

    /// Returns the option's `id`.
    pub(super) fn id(&self) -> Option<&str> {
        self.get("id")
    }

    /// Returns whether `key` is on, or `None` if it is not there or neither on nor off.
    pub(super) fn switch(&self, key: &str) -> Option<Switch> {
        self.get(key).and_then(Switch::of)
    }

    /// Returns all keys and values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (&key[..], &value[..]))
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a yes-or-no key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

impl Switch {
    /// Reads `text` as QEMU does.
    pub(super) fn of(text: &str) -> Option<Self> {
        match text {
            "on" | "yes" | "true" | "y" => Some(Self::On),
            "off" | "no" | "false" | "n" => Some(Self::Off),
            _ => None,
        }
    }
}

fn json_pairs(text: &str) -> Result<Vec<(String, String)>, OptionsError> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|error| OptionsError::Json(error.to_string()))?;
    let value = |value: Value| match value {
        Value::String(text) => text,
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        other => other.to_string(),
    };
    Ok(object.into_iter().map(|(k, v)| (k, value(v))).collect())
}

fn comma_pairs(implied: &str, text: &str) -> Result<Vec<(String, String)>, OptionsError> {
    words(text)
        .into_iter()
        .enumerate()
        .filter(|(_, word)| !word.is_empty())
        .map(|(index, word)| match word.split_once('=') {
            Some(("", _)) => Err(OptionsError::NoKey),
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None if index == 0 => Ok((implied.to_owned(), word)),
            None => Ok(match word.strip_prefix("no") {
                // A key of its own that begins so.
                Some(key) if !key.is_empty() && word != "nodelay" => {
                    (key.to_owned(), "off".to_owned())
                }
                _ => (word, "on".to_owned()),
            }),
        })
        .collect()
}

/// Splits at single commas; a doubled one is a comma.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == ',' && characters.next_if_eq(&',').is_none() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    words
}

/// Reads a size of memory as QEMU does: bytes, or a number, also a fraction, with B, K, M, G, T, P or E; or hexadecimal bytes.
pub(in crate::command) fn size_bytes(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // `from_str_radix` would take a sign.
        let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        return u64::from_str_radix(digits, 16).ok().filter(|_| all);
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let shift = match suffix {
        "" | "B" | "b" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        "P" | "p" => 50,
        "E" | "e" => 60,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let bytes = whole.checked_mul(1 << shift)?;
    // Nine places are beyond what any size needs.
    let places = fraction.get(..9).unwrap_or(fraction);
    if places.is_empty() {
        return Some(bytes);
    }
    if shift == 0 {
        return None;
    }
    let numerator = u128::from(places.parse::<u64>().ok()?);
    let denominator = 10_u128.pow(u32::try_from(places.len()).ok()?);
    let part = u64::try_from((numerator << shift) / denominator).ok()?;
    bytes.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let options = Options::parse("device", "driver", text).unwrap();
        options.pairs
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn keys_and_values_are_read_as_qemu_reads_them() {
        for (text, expected) in [
            ("e1000", &[("driver", "e1000")][..]),
            ("driver=e1000,id=a", &[("driver", "e1000"), ("id", "a")]),
            ("id=a,driver=e1000", &[("id", "a"), ("driver", "e1000")]),
            (
                "x,path=/a,,b,id=c",
                &[("driver", "x"), ("path", "/a,b"), ("id", "c")],
            ),
            ("x,a==,b=", &[("driver", "x"), ("a", "="), ("b", "")]),
            ("x,share", &[("driver", "x"), ("share", "on")]),
            ("x,noshare", &[("driver", "x"), ("share", "off")]),
            ("x,nodelay", &[("driver", "x"), ("nodelay", "on")]),
            ("x,,,y=1", &[("driver", "x,"), ("y", "1")]),
            ("", &[]),
            (
                r#"{"driver":"x","size":4096,"share":true,"off":false}"#,
                &[
                    ("driver", "x"),
                    ("off", "off"),
                    ("share", "on"),
                    ("size", "4096"),
                ],
            ),
        ] {
            assert_eq!(pairs(text), owned(expected), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        let parse = |text| Options::parse("device", "driver", text);
        assert_eq!(parse("x,=1"), Err(OptionsError::NoKey));
        for text in ["{", "{}x", r#"{"driver"}"#] {
            assert!(matches!(parse(text), Err(OptionsError::Json(_))), "{text}");
        }
    }

    #[test]
    fn the_last_value_counts() {
        let options = Options::parse("device", "driver", "x,a=1,a=2,b=on,c=maybe").unwrap();
        assert_eq!(options.get("a"), Some("2"));
        assert_eq!(options.kind(), "x");
        assert_eq!(options.switch("b"), Some(Switch::On));
        assert_eq!(options.switch("c"), None);
        assert_eq!(options.get("d"), None);
    }

    #[test]
    fn sizes_are_those_of_qemu() {
        for (text, bytes) in [
            ("4096", Some(4096)),
            ("4096B", Some(4096)),
            ("1M", Some(1 << 20)),
            ("1m", Some(1 << 20)),
            ("1.5M", Some(3 << 19)),
            ("0x100000", Some(1 << 20)),
            ("16E", None),
            ("1MB", None),
            ("1MiB", None),
            ("M", None),
            ("", None),
            ("-1M", None),
            ("0x+1", None),
            ("1.2", None),
            ("1.1.1M", None),
            ("1.é", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(size_bytes(text), bytes, "{text}");
        }
    }
}
