// SPDX-License-Identifier: MIT OR Apache-2.0
//! The build of the test kernel.

use crate::build::{self, BuildError, Wanted};
use crate::paths;
use crate::tools::Tools;
use std::path::PathBuf;

/// The kernel's binary.
const KERNEL: Wanted = Wanted {
    what: "the kernel",
    name: "ivshmem-kernel",
};

/// The kernel's part of a target folder.
const TARGET_PART: &str = "kernel-example";

/// How the kernel is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// With debug assertions, unoptimized.
    Debug,
    /// Optimized; what trials and the demo boot.
    Release,
}

/// Builds the test kernel and returns the path of its ELF file.
///
/// Says only that it builds; the compiler's output is part of the error. Calls at the same time
/// are safe: cargo locks its folder.
///
/// # Errors
///
/// - Cargo cannot be run, the compiler refuses, or the executable is not where it should be.
pub fn build(tools: &Tools, profile: Profile) -> Result<PathBuf, BuildError> {
    let mut command = tools.kernel.cargo("build");
    command.arg("--message-format=json-render-diagnostics");
    if profile == Profile::Release {
        command.arg("--release");
    }
    let chosen = std::env::var_os("CARGO_TARGET_DIR");
    if let Some(folder) = paths::target_part(chosen, TARGET_PART) {
        command.arg("--target-dir").arg(folder);
    }
    // The package's own .cargo/config.toml is found by the working directory.
    command.current_dir(paths::kernel());
    build::executable(KERNEL, command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_target_folder_gets_a_part_for_the_kernel() {
        assert_eq!(paths::target_part(None, TARGET_PART), None);
        assert_eq!(paths::target_part(Some("".into()), TARGET_PART), None);
        let chosen = paths::target_part(Some("/t".into()), TARGET_PART);
        assert_eq!(chosen, Some(PathBuf::from("/t/kernel-example")));
    }
}
