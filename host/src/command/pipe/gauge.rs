// SPDX-License-Identifier: MIT OR Apache-2.0
//! How far a stream is, shown on stderr.

use std::time::Instant;

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::command::output::log;

const KNOWN: &str = "{bytes}/{total_bytes} {bar:30} {binary_bytes_per_sec}, {eta} left";
const UNKNOWN: &str = "{bytes} {spinner} {binary_bytes_per_sec}, {elapsed}";

/// A line on a terminal that moves, and one that stays at the end; nothing if that was not asked for.
#[derive(Debug)]
pub(in crate::command) struct Gauge {
    bar: Option<(ProgressBar, Instant)>,
}

impl Gauge {
    /// Shows nothing.
    pub(in crate::command) const fn off() -> Self {
        Self { bar: None }
    }

    /// Begins; `size` is how many bytes there are to come, if that is known.
    pub(in crate::command) fn begin(size: Option<u64>) -> Self {
        let (bar, template) = match size {
            Some(size) => (ProgressBar::new(size), KNOWN),
            None => (ProgressBar::no_length(), UNKNOWN),
        };
        // The templates are correct, so there is no other style.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        Self {
            bar: Some((bar, Instant::now())),
        }
    }

    /// Shows that so many bytes are done.
    pub(in crate::command) fn set(&self, bytes: u64) {
        if let Some((bar, _)) = &self.bar {
            bar.set_position(bytes);
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        if let Some((bar, start)) = &self.bar {
            bar.finish_and_clear();
            let (bytes, elapsed) = (bar.position(), start.elapsed());
            let rate = bytes as f64 / elapsed.as_secs_f64().max(1e-6);
            log(format_args!(
                "{bytes} bytes in {}, {} a second",
                HumanDuration(elapsed),
                HumanBytes(rate as u64)
            ));
        }
    }
}
