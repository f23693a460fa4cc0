// SPDX-License-Identifier: MIT OR Apache-2.0
//! Times in arguments, all of them in seconds.

use std::time::Duration;

/// The longest time that can be asked for, in seconds: 30 years, which no clock overflows by.
const MOST_SECONDS: f64 = 1e9;

/// Reads a number of seconds above 0, which may have decimals.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    read(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "not a number of seconds above 0, such as 2 or 0.5".to_owned())
}

/// Reads a number of seconds from `least` to `most`, which may have decimals.
pub(super) fn seconds_within(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    read(text)
        .filter(|duration| (least..=most).contains(&duration.as_secs_f64()))
        .ok_or_else(|| format!("not a number of seconds from {least} to {most}"))
}

fn read(text: &str) -> Option<Duration> {
    let seconds = text
        .parse()
        .ok()
        .filter(|&seconds| seconds <= MOST_SECONDS)?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_decimals_and_are_never_none() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in [
            "", "0", "-1", "nan", "inf", "1e99", "1e19", "two", "1s", "1e-12",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_belong_to_what_they_allow() {
        let read = |text| seconds_within(text, 0.1, 3600.0);
        assert_eq!(read("0.1"), Ok(Duration::from_millis(100)));
        assert_eq!(read("3600"), Ok(Duration::from_secs(3600)));
        for text in ["", "0", "0.05", "3601", "-1", "inf", "NaN", "1s"] {
            let line = "not a number of seconds from 0.1 to 3600".to_owned();
            assert_eq!(read(text), Err(line), "{text}");
        }
    }
}
