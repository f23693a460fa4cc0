// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of `ivshmem`: one file for each subcommand, with its arguments and what it does.
//!
//! Results go to stdout, everything else to stderr, where every error is one line that says what, where and what to do.

mod bench;
mod completions;
mod doctor;
mod dump;
mod duration;
mod harmless;
mod interrupt;
mod liveness;
mod man;
mod membership;
mod one_line;
mod output;
mod peers;
mod ping;
mod pinger;
mod pipe;
mod place;
mod recv;
mod region;
mod run;
mod send;
mod server;
mod status;
mod table;
mod target;
mod times;
mod top;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use one_line::one_line;

/// Shared memory and doorbells between virtual machines and host processes (QEMU's ivshmem).
#[derive(Debug, Parser)]
// Without arguments: an error like any other, not the help on stderr.
#[command(name = "ivshmem", version, arg_required_else_help = false, after_help = EXIT_CODES)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// A subcommand, in the order of the help.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Command {
    Server(server::Arguments),
    Status(status::Arguments),
    Peers(peers::Arguments),
    Ping(ping::Arguments),
    Send(send::Arguments),
    Recv(recv::Arguments),
    Dump(dump::Arguments),
    Top(top::Arguments),
    Doctor(doctor::Arguments),
    Run(run::Arguments),
    Bench(bench::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

const EXIT_CODES: &str = "\
Exit status: 0 if all is well, 1 if what was asked for is not so (nobody answered, something is wrong
with what was looked at), 2 if the command could not do its work, for a wrong argument as well.";

/// How a command that did its work ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// All is well.
    Success,
    /// What was asked for is not so.
    No,
    /// As a guest ended that was started, which may be anything.
    Guest(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::No => Self::FAILURE,
            Exit::Guest(code) => Self::from(code),
        }
    }
}

/// Exit code for whatever keeps a command from doing its work.
const FAILURE: u8 = 2;

/// What keeps a command from doing its work: one line.
#[derive(Debug)]
struct Failure(String);

impl Failure {
    fn new(line: impl ToString) -> Self {
        Self(line.to_string())
    }
}

/// Returns the arguments there are. A negative number is no option, so that a wrong one is told to be a wrong number.
fn command_line() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        command.mut_args(|argument| {
            let takes_values = argument.get_action().takes_values();
            argument.allow_negative_numbers(takes_values)
        })
    })
}

/// Runs the command that the process's arguments ask for.
pub(crate) fn main() -> ExitCode {
    let cli = command_line()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            output::log_failure(one_line(&error));
            return ExitCode::from(FAILURE);
        }
        // Help or version. If it cannot be printed, nobody wants to read it.
        Err(text) => {
            let _ = text.print();
            return ExitCode::SUCCESS;
        }
    };
    let result = match cli.command {
        Command::Server(arguments) => server::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Peers(arguments) => peers::run(arguments),
        Command::Dump(arguments) => dump::run(arguments),
        Command::Top(arguments) => top::run(arguments),
        Command::Ping(arguments) => ping::run(arguments),
        Command::Send(arguments) => send::run(arguments),
        Command::Recv(arguments) => recv::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Man(arguments) => man::run(arguments),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(Failure(line)) => {
            output::log_failure(line);
            ExitCode::from(FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn options_of_one_name_have_one_unit_everywhere() {
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                let unit = match argument.get_long() {
                    Some("interval" | "limit" | "wait" | "watch" | "deadline") => "SECONDS",
                    Some("socket" | "admin" | "shm-file") => "PATH",
                    _ => continue,
                };
                let names = argument.get_value_names().unwrap_or_default();
                assert_eq!(names, [unit], "{argument} of {}", command.get_name());
            }
        }
    }

    #[test]
    fn what_stands_for_the_number_of_a_guest_is_no_end_of_a_line() {
        let mut command = Cli::command();
        let run = command.find_subcommand_mut("run").unwrap();
        let help = run.render_long_help().to_string();
        assert_eq!(help.matches("{N}").count(), 3, "{help}");
    }

    #[test]
    fn every_subcommand_has_an_example_and_says_how_it_exits() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            for part in ["Example", "Exit status: 0", "2 "] {
                assert!(help.contains(part), "{part} in the help of {name}");
            }
        }
    }
}
