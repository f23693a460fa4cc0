// SPDX-License-Identifier: MIT OR Apache-2.0
//! The environment of compilers that we start.
//!
//! xtask and the tests run below a cargo of their own, which tells its children through variables
//! which compiler, flags and package it is working on. A second cargo that inherits them builds
//! with the wrong compiler (`RUSTUP_TOOLCHAIN`, `RUSTC`), with flags that are not meant for bare
//! metal (`CARGO_ENCODED_RUSTFLAGS`), or loads the wrong libraries (`LD_LIBRARY_PATH`, which
//! `cargo run` points at its own toolchain).

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// What a user sets to make cargo work at all at their place, and what no cargo sets for a child.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_BUILD_JOBS",
];

/// Makes a command whose program sees nothing of the cargo that we run below.
pub fn scrubbed(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in misleading(std::env::vars_os().map(|(name, _)| name)) {
        command.env_remove(name);
    }
    command
}

fn misleading(names: impl Iterator<Item = OsString>) -> Vec<OsString> {
    names
        .filter(|name| {
            let name = name.to_string_lossy();
            let compiler = name.starts_with("CARGO") || name.starts_with("RUSTC");
            let exact = ["RUSTFLAGS", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"];
            exact.contains(&&*name) || (compiler && !KEPT.iter().any(|kept| name.starts_with(kept)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_outer_cargo_sets_goes_and_what_a_user_needs_stays() {
        let names = [
            "PATH",
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_HOME",
            "CARGO_HTTP_PROXY",
            "CARGO_REGISTRIES_MINE_INDEX",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "RUSTUP_HOME",
            "LD_LIBRARY_PATH",
        ];
        let gone = misleading(names.iter().map(OsString::from));
        assert_eq!(
            gone,
            [
                "CARGO",
                "CARGO_MANIFEST_DIR",
                "CARGO_TARGET_DIR",
                "CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER",
                "CARGO_ENCODED_RUSTFLAGS",
                "RUSTC",
                "RUSTC_WRAPPER",
                "RUSTFLAGS",
                "RUSTUP_TOOLCHAIN",
                "LD_LIBRARY_PATH",
            ]
        );
    }
}
