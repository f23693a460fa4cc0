// SPDX-License-Identifier: MIT OR Apache-2.0
//! The choice between KVM and TCG.
//!
//! KVM is taken only where the processor really has it. A nested KVM made of software opens
//! `/dev/kvm` just as well, runs kernel code about a thousand times slower than TCG and stops at
//! the first SSE instruction; it is told apart by the missing `vmx` or `svm` flag.

use crate::probe::Probe;
use crate::tools::BadSetting;
use std::fmt;
use std::path::Path;

/// The variable that overrides the choice: `tcg` or `kvm`.
pub const VARIABLE: &str = "IVSHMEM_ACCEL";

/// The two ways in which QEMU runs a guest here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceleratorKind {
    /// The processor's own virtualization.
    Kvm,
    /// QEMU's translator: slower in general, works everywhere.
    Tcg,
}

impl AcceleratorKind {
    /// Returns the name that QEMU's `-accel` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// The accelerator that was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accelerator {
    /// Which one.
    pub kind: AcceleratorKind,
    /// Why this one, in words.
    pub reason: String,
}

impl Accelerator {
    /// Chooses the accelerator for this machine.
    ///
    /// # Errors
    ///
    /// - `IVSHMEM_ACCEL` is neither `tcg` nor `kvm`, or demands a KVM that cannot be opened.
    pub fn choose(probe: &impl Probe) -> Result<Self, BadSetting> {
        let opens = probe.opens_read_write(Path::new("/dev/kvm"));
        let bad = |value: String, problem: &str| BadSetting {
            variable: VARIABLE,
            value,
            problem: problem.into(),
        };
        let (kind, reason) = match probe.variable(VARIABLE) {
            Some(value) if value == "tcg" => (AcceleratorKind::Tcg, "IVSHMEM_ACCEL says so"),
            Some(value) if value == "kvm" && opens => {
                (AcceleratorKind::Kvm, "IVSHMEM_ACCEL says so")
            }
            Some(value) if value == "kvm" => {
                return Err(bad(
                    value,
                    "/dev/kvm does not open for reading and writing; load the KVM module, join \
                     the group kvm, or unset the variable",
                ));
            }
            Some(value) => return Err(bad(value, "must be tcg or kvm")),
            None if !has_virtualization(probe) => {
                (AcceleratorKind::Tcg, "no vmx or svm in the CPU flags")
            }
            None if !opens => (
                AcceleratorKind::Tcg,
                "/dev/kvm does not open for reading and writing",
            ),
            None => (
                AcceleratorKind::Kvm,
                "the CPU has virtualization and /dev/kvm opens",
            ),
        };
        Ok(Self {
            kind,
            reason: reason.into(),
        })
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind.name(), self.reason)
    }
}

fn has_virtualization(probe: &impl Probe) -> bool {
    let text = probe.text(Path::new("/proc/cpuinfo")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.trim() == "flags")
        .flat_map(|(_, flags)| flags.split_ascii_whitespace())
        .any(|flag| flag == "vmx" || flag == "svm")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake::FakeMachine;

    fn with_flags(flags: &str) -> FakeMachine {
        let text = format!("processor\t: 0\nmodel name\t: a vmx b\nflags\t\t: fpu {flags} sse\n");
        FakeMachine::default().with_file("/proc/cpuinfo", &text)
    }

    fn kind(machine: &FakeMachine) -> AcceleratorKind {
        Accelerator::choose(machine).unwrap().kind
    }

    #[test]
    fn kvm_needs_the_flag_and_the_device() {
        assert_eq!(
            kind(&with_flags("vmx").with_writable("/dev/kvm")),
            AcceleratorKind::Kvm
        );
        assert_eq!(
            kind(&with_flags("svm").with_writable("/dev/kvm")),
            AcceleratorKind::Kvm
        );
        assert_eq!(kind(&with_flags("vmx")), AcceleratorKind::Tcg);
        assert_eq!(
            kind(&FakeMachine::default().with_writable("/dev/kvm")),
            AcceleratorKind::Tcg
        );
    }

    #[test]
    fn software_kvm_is_not_taken() {
        let choice =
            Accelerator::choose(&with_flags("svm_lock").with_writable("/dev/kvm")).unwrap();
        assert_eq!(choice.to_string(), "tcg (no vmx or svm in the CPU flags)");
    }

    #[test]
    fn the_variable_overrides_both_ways() {
        let tcg = with_flags("vmx")
            .with_writable("/dev/kvm")
            .with_variable(VARIABLE, "tcg");
        assert_eq!(kind(&tcg), AcceleratorKind::Tcg);
        let kvm = with_flags("")
            .with_writable("/dev/kvm")
            .with_variable(VARIABLE, "kvm");
        assert_eq!(kind(&kvm), AcceleratorKind::Kvm);
    }

    #[test]
    fn bad_overrides_are_errors() {
        let unknown = with_flags("vmx").with_variable(VARIABLE, "xen");
        let text = Accelerator::choose(&unknown).unwrap_err().to_string();
        assert_eq!(text, "IVSHMEM_ACCEL=xen: must be tcg or kvm");
        let absent = with_flags("vmx").with_variable(VARIABLE, "kvm");
        let text = Accelerator::choose(&absent).unwrap_err().to_string();
        assert!(text.starts_with("IVSHMEM_ACCEL=kvm: /dev/kvm"), "{text}");
    }
}
