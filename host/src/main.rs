// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem`.
#![deny(unsafe_code)]

mod command;

fn main() -> std::process::ExitCode {
    command::main()
}
