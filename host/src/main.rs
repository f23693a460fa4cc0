// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem`.
#![deny(unsafe_code)]

mod cli;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use ivshmem_host::server::{raise_descriptor_limit, Config, Server};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use cli::{Cli, Command};

/// Exit code for whatever keeps the command from doing its work.
const FAILURE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            log(cli::one_line(&error));
            return ExitCode::from(FAILURE);
        }
        // Help or version. If it cannot be printed, nobody wants to read it.
        Err(text) => {
            let _ = text.print();
            return ExitCode::SUCCESS;
        }
    };
    let result = match cli.command {
        Command::Server(arguments) => serve(arguments.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            log(message);
            ExitCode::from(FAILURE)
        }
    }
}

/// Serves until SIGTERM or SIGINT.
fn serve(config: Config) -> Result<(), String> {
    if let Err(error) = raise_descriptor_limit() {
        log(format_args!(
            "the limit of open files stays as it is: {error}"
        ));
    }
    // Caught before there is anything to clean up.
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    let server = Server::bind(config).map_err(|error| error.to_string())?;
    let stop = server.stop_handle();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                stop.stop();
            }
        })
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let config = server.config();
    log(format_args!(
        "listening at {}: {} bytes of shared memory, {} per client, at most {} clients",
        config.socket.display(),
        config.size_bytes,
        match config.vectors {
            1 => "1 vector".to_owned(),
            vectors => format!("{vectors} vectors"),
        },
        server.client_limit(),
    ));
    server
        .run(|event| log(event))
        .map_err(|error| format!("the server failed: {error}"))
}

/// Writes one line to stderr; a log that cannot be written must not end the server.
fn log(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "ivshmem: {line}");
}
