// SPDX-License-Identifier: MIT OR Apache-2.0
//! Places in the repository.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Returns the repository's top folder.
///
/// # Panics
///
/// Panics if the package `xtask` is not one folder below it, which the layout rules out.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package xtask is one folder below the repository's top")
}

/// Returns the folder of the test kernel's package.
#[must_use]
pub fn kernel() -> PathBuf {
    root().join("kernel-example")
}

/// Returns the target description that the build-std routes use.
#[must_use]
pub fn target_description() -> PathBuf {
    root().join("x86_64-target.json")
}

/// Returns the part for `what` of a target folder that the user chose. A part of its own, because
/// the outer cargo may hold the lock of the folder itself.
#[must_use]
pub fn target_part(chosen: Option<OsString>, what: &str) -> Option<PathBuf> {
    let chosen = chosen.filter(|folder| !folder.is_empty())?;
    Some(root().join(chosen).join(what))
}
