// SPDX-License-Identifier: MIT OR Apache-2.0
//! Command lines as text that a user can paste into a shell.

use std::ffi::OsStr;
use std::process::Command;

/// Returns the program and its arguments, quoted for a shell; without the environment.
#[must_use]
pub fn shell_line(command: &Command) -> String {
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    parts.map(quote).collect::<Vec<_>>().join(" ")
}

fn quote(part: &OsStr) -> String {
    let part = part.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !part.is_empty() && part.chars().all(plain) {
        part.into_owned()
    } else {
        format!("'{}'", part.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_split_is_quoted() {
        let mut command = Command::new("/bin/q");
        command.args(["-device", "x,y=1", "run=a mode=b", "", "it's"]);
        assert_eq!(
            shell_line(&command),
            r"/bin/q -device x,y=1 'run=a mode=b' '' 'it'\''s'"
        );
    }
}
