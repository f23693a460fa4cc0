// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem-device`.
#![deny(unsafe_code)]

mod cli;
mod device;
mod launch;
mod log;
mod proxy;
mod socket;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// Exit code for whatever keeps the command from doing its work.
const FAILURE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            log::line(cli::one_line(&error));
            return ExitCode::from(FAILURE);
        }
        // Help or version. If it cannot be printed, nobody wants to read it.
        Err(text) => {
            let _ = text.print();
            return ExitCode::SUCCESS;
        }
    };
    let result = match cli.command {
        Command::Proxy(arguments) => proxy::run(arguments),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            log::line(message);
            ExitCode::from(FAILURE)
        }
    }
}
