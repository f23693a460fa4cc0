// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands that a user types where we install nothing.

use super::{lacks_qemu, lacks_toolchain, lacks_valgrind};
use crate::toolchain::TARGET;
use crate::tools::Missing;

/// Returns the commands for what is missing, one for each package manager.
pub fn commands(missing: &Missing) -> String {
    let mut lines: Vec<String> = Vec::new();
    if lacks_qemu(missing) {
        lines.extend(
            [
                "QEMU:",
                "  apt:    sudo apt-get install qemu-system-x86 seabios ovmf",
                "  dnf:    sudo dnf install qemu-system-x86 edk2-ovmf",
                "  pacman: sudo pacman -S qemu-system-x86 edk2-ovmf",
                "  brew:   brew install qemu",
            ]
            .map(str::to_owned),
        );
    }
    if lacks_toolchain(missing) {
        lines.extend([
            "a compiler for the kernel (the first that suits you):".to_owned(),
            format!("  rustup: rustup target add {TARGET}"),
            "  apt:    sudo apt-get install rustc-web cargo-web rust-web-src".to_owned(),
            format!("  dnf:    sudo dnf install rust-std-static-{TARGET}"),
            format!(
                "  pacman: sudo pacman -S rustup && rustup default stable && \
                 rustup target add {TARGET}"
            ),
            format!(
                "  brew:   brew install rustup && rustup default stable && \
                 rustup target add {TARGET}"
            ),
        ]);
    }
    if lacks_valgrind(missing) {
        lines.extend(
            [
                "valgrind:",
                "  apt:    sudo apt-get install valgrind",
                "  dnf:    sudo dnf install valgrind",
                "  pacman: sudo pacman -S valgrind",
                "  brew:   brew install valgrind (on Linux only)",
            ]
            .map(str::to_owned),
        );
    }
    lines.join("\n")
}
