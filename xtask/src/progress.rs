// SPDX-License-Identifier: MIT OR Apache-2.0
//! Progress of long steps: a spinner on a terminal, plain lines elsewhere.
//!
//! Everything goes to stderr, so that a verb's result on stdout can be piped on.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// How much of a detail is shown.
const DETAIL_CHARS: usize = 36;

/// Tells the user one line about what is done.
pub fn note(line: &str) {
    eprintln!("{line}");
}

/// A step that may take long. Dropped without [`done`](Self::done), it vanishes from a terminal.
#[derive(Debug)]
pub struct Step {
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl Step {
    /// Announces a step: `what` is in the present, such as "building the kernel".
    #[must_use]
    pub fn start(what: &str) -> Self {
        let spinner = io::stderr().is_terminal().then(|| spinner(what));
        if spinner.is_none() {
            note(&format!("{what} ..."));
        }
        Self {
            started: Instant::now(),
            spinner,
        }
    }

    /// Shows what the step is at. Only a terminal shows it.
    pub fn detail(&self, detail: &str) {
        if let Some(spinner) = &self.spinner {
            // A line that wraps would be drawn again and again.
            let short: String = detail.trim().chars().take(DETAIL_CHARS).collect();
            spinner.set_prefix(short);
        }
    }

    /// Ends the step: `what` is in the past, such as "built the kernel".
    pub fn done(self, what: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.clear();
        note(&format!("{what} in {seconds:.1} s"));
    }

    fn clear(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.clear();
    }
}

fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    // A template that does not parse would only cost the looks.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed}) {prefix:.dim}") {
        spinner.set_style(style);
    }
    spinner.set_message(what.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
