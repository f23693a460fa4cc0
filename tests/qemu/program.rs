// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of other packages, built for a trial: cargo builds a package's programs for that package's own tests only.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use libtest_mimic::Failed;

/// Returns the path of a program, which the first caller builds.
pub fn build(package: &'static str, name: &'static str) -> Result<PathBuf, Failed> {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(name) {
        return Ok(path.clone());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--package", package, "--bin", name])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(xtask::paths::root())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} does not build:\n{errors}").into());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = messages.lines().find_map(executable);
    let path = path.ok_or_else(|| format!("cargo named no executable {name}"))?;
    built.insert(name, path.clone());
    Ok(path)
}

/// Returns the path in one of cargo's messages.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let path = message["executable"].as_str()?;
    Some(path.into())
}
