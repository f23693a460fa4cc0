// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors of the command line in one line; for the program `ivshmem-server` as well.

/// Renders an error of the command line as one line.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let words = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let message = words.strip_prefix("error: ").unwrap_or(&words);
    format!("{message} (try --help)")
}
