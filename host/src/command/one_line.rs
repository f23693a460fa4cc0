// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors of the command line in one line; for the program `ivshmem-server` as well.

/// Renders an error of the command line as one line.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut words = String::new();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty());
    for line in lines {
        let (separator, line) = match line.strip_prefix("tip: ") {
            Some(tip) => ("; ", tip),
            None => (" ", line),
        };
        if !words.is_empty() {
            words.push_str(separator);
        }
        words.push_str(line);
    }
    let message = words.strip_prefix("error: ").unwrap_or(&words);
    format!("{message} (try --help)")
}
