// SPDX-License-Identifier: MIT OR Apache-2.0
//! The build of the program that a Linux guest runs.

use std::path::PathBuf;

use super::package::folder;
use crate::build::{executable, BuildError, Wanted};
use crate::environment::scrubbed;
use crate::paths;

const PROGRAM: Wanted = Wanted {
    what: "the program of the Linux guest",
    name: "ivshmem-linux-guest",
};

/// Builds it, linked statically, since nothing else is in the guest. With a target of its own, so that the flags are not
/// for build scripts, and in a folder of its own, since the outer cargo may hold the lock of the usual one.
pub(super) fn build() -> Result<PathBuf, BuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = scrubbed(cargo);
    command
        .args(["build", "--release", "--package", PROGRAM.name])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .arg("--message-format=json-render-diagnostics")
        .arg("--target-dir")
        .arg(folder().join("build"))
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(paths::root());
    executable(PROGRAM, command)
}
