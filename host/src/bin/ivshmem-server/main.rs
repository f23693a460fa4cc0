// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program `ivshmem-server`, with the options of the one that QEMU's sources have.
//!
//! For scripts and units that start that one. Everything else is better served by `ivshmem server`.
#![deny(unsafe_code)]

mod arguments;
mod daemon;
#[path = "../../command/one_line.rs"]
mod one_line;

use std::fmt::Display;
use std::io::{stderr, stdout, Write};
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use ivshmem_host::server::{raise_descriptor_limit, Config, PidFile, Server, Stop};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use arguments::Arguments;
use one_line::one_line;

/// What ends the program with status 1: one line.
type Failure = String;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return fail(&one_line(&error)),
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => fail(&line),
    }
}

fn fail(line: &dyn Display) -> ExitCode {
    let _ = writeln!(stderr(), "ivshmem-server: {line}");
    ExitCode::FAILURE
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.config().map_err(|error| error.to_string())?;
    if arguments.is_daemon {
        daemon::detach()?;
    } else if arguments.foreground {
        return serve(config, arguments, || Ok(()));
    } else if arguments.verbose {
        return Err("cannot use verbose in daemon mode; add -F (try -h)".to_owned());
    } else {
        return daemon::start();
    }
    let mut pid_file = None;
    serve(config, arguments, || {
        let file = PidFile::create(&arguments.pid_file).map_err(|error| error.to_string())?;
        pid_file = Some(file);
        daemon::report_ready()
    })
}

/// Serves until SIGTERM or SIGINT; `ready` is called once clients can connect.
fn serve(
    config: Config,
    arguments: &Arguments,
    ready: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    // A lower limit only means fewer clients.
    let _ = raise_descriptor_limit();
    let signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|error| format!("cannot catch signals: {error}"))?;
    let server = Server::bind(config).map_err(|error| error.to_string())?;
    stop_on(signals, server.stop_handle())?;
    ready()?;
    let say = |line: &dyn Display| {
        if arguments.verbose {
            // Nobody reading is no reason to stop.
            let _ = writeln!(stdout(), "{line}");
        }
    };
    let config = server.config();
    say(&format_args!(
        "listening at {}: {} bytes of shared memory in {}, {} vectors per client, {}",
        config.socket.display(),
        config.size_bytes,
        config.backing,
        config.vectors,
        server.client_limit(),
    ));
    if let Some(predecessor) = server.predecessor() {
        say(&predecessor);
    }
    server
        .run(|event| say(event))
        .map(drop)
        .map_err(|error| format!("the server failed: {error}"))
}

fn stop_on(mut signals: Signals, stop: Stop) -> Result<(), Failure> {
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || signals.forever().for_each(|_| stop.stop()))
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}
