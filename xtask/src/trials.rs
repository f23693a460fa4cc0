// SPDX-License-Identifier: MIT OR Apache-2.0
//! Test binaries whose trials boot virtual machines.
//!
//! Where a tool is missing, every trial is ignored with the reason; with
//! `IVSHMEM_REQUIRE_QEMU` set, as `cargo xtask test` sets it, that is a failure.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::suite::REQUIRE_QEMU;
use crate::tools::{Tools, UefiFirmware};

/// What a trial does; `L` is what all trials of a binary share, such as the tools and a built kernel.
type Run<L> = Box<dyn FnOnce(&L) -> Result<Completion, Failed> + Send>;

/// A trial that wants a virtual machine.
pub struct Need<L> {
    name: String,
    run: Run<L>,
}

impl<L> std::fmt::Debug for Need<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Need").field(&self.name).finish()
    }
}

impl<L> Need<L> {
    /// Describes a trial.
    pub fn new(
        name: impl Into<String>,
        run: impl FnOnce(&L) -> Result<(), Failed> + Send + 'static,
    ) -> Self {
        Self::where_possible(name, |shared| run(shared).map(|()| Completion::Completed))
    }

    /// Describes a trial that may find out that this machine lacks something which not every machine has.
    pub fn where_possible(
        name: impl Into<String>,
        run: impl FnOnce(&L) -> Result<Completion, Failed> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// Runs a test binary: opens what its trials share, or learns why that cannot be, and runs them.
pub fn main<L: Sync + 'static>(
    open: impl FnOnce() -> Result<L, String>,
    needs: impl IntoIterator<Item = Need<L>>,
) -> ExitCode {
    let arguments = Arguments::from_args();
    // Listing must work, and be quick, without any tool.
    let shared = if arguments.list {
        Err("only listed".into())
    } else {
        open()
    };
    if let Err(reason) = &shared {
        if std::env::var_os(REQUIRE_QEMU).is_some() && !arguments.list {
            eprintln!("the trials cannot run, and {REQUIRE_QEMU} is set:\n{reason}");
            return ExitCode::FAILURE;
        }
    }
    // Trials run on threads that outlive this function's frame, in principle.
    let shared: &'static Result<L, String> = Box::leak(Box::new(shared));
    let trials = needs.into_iter().map(|need| {
        Trial::ignorable_test(need.name, move || match shared {
            Ok(shared) => (need.run)(shared),
            Err(reason) => Ok(Completion::ignored_with(reason)),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs a trial that needs UEFI firmware. Where there is none it is ignored, or fails with
/// `IVSHMEM_REQUIRE_QEMU`.
///
/// # Errors
///
/// - Those of the trial, or the firmware is missing and must not be.
pub fn with_firmware(
    tools: &Tools,
    run: impl FnOnce(&UefiFirmware) -> Result<(), Failed>,
) -> Result<Completion, Failed> {
    match &tools.uefi {
        Some(firmware) => run(firmware).map(|()| Completion::Completed),
        None if std::env::var_os(REQUIRE_QEMU).is_some() => {
            Err(format!("no OVMF is found, and {REQUIRE_QEMU} is set").into())
        }
        None => Ok(Completion::ignored_with("no OVMF is found")),
    }
}

/// Fails with both values unless they are equal.
///
/// # Errors
///
/// - What was compared, and both values.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<(), Failed> {
    if got == expected {
        return Ok(());
    }
    Err(format!("{what}: got {got:?}, expected {expected:?}").into())
}
