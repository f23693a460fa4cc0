// SPDX-License-Identifier: MIT OR Apache-2.0
//! Passes the kernel's memory layout to the linker.

use std::{env, path::PathBuf};

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let script = package.join("link.ld");
    println!("cargo:rerun-if-changed={}", script.display());
    println!("cargo:rustc-link-arg-bins=-T{}", script.display());
    // `x86_64-unknown-none` links position-independent executables, but nothing relocates
    // this kernel. Said here and not in `rustflags`, which RUSTFLAGS would silently replace.
    println!("cargo:rustc-link-arg-bins=-no-pie");
}
