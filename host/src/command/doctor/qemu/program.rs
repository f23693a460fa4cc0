// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program QEMU: whether there is one, of which version, with ivshmem's devices; and whether KVM can be used.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::line::Line;
use crate::command::doctor::finding::{Code, Finding};
use crate::command::doctor::world::World;

/// The environment variable that names the program.
pub(in crate::command) const PROGRAM_VARIABLE: &str = "IVSHMEM_QEMU";

/// The program without it.
const USUAL: &str = "qemu-system-x86_64";

/// Where distributions put one that is not on the `PATH`.
const HIDDEN: &str = "/usr/libexec/qemu-kvm";

/// How long QEMU may take to say what it is.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// How often it is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Whether there has to be a QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Need {
    /// Somebody has named it.
    Named,
    /// Processes of the host get by without.
    Perhaps,
}

/// Returns the program that `IVSHMEM_QEMU` names, or the usual one.
pub(in crate::command) fn program() -> (PathBuf, Need) {
    if let Some(program) = env::var_os(PROGRAM_VARIABLE).filter(|program| !program.is_empty()) {
        return (program.into(), Need::Named);
    }
    let hidden = Path::new(HIDDEN);
    if on_path(Path::new(USUAL)).is_none() && hidden.exists() {
        return (hidden.into(), Need::Perhaps);
    }
    (USUAL.into(), Need::Perhaps)
}

/// Returns where a program is, as a shell would find it.
fn on_path(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.exists().then(|| program.to_owned());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// Checks a program: the one of a command line, or the one that would be used.
pub(in crate::command) fn check(program: &Path, need: Need) -> Vec<Finding> {
    let Some(found) = on_path(program) else {
        return vec![Finding::new(
            match need {
                Need::Named => Code::QemuNamedMissing,
                Need::Perhaps => Code::QemuMissing,
            },
            program.display(),
            "there is no QEMU here",
            format!(
                "install it (Debian: apt-get install qemu-system-x86), or set {PROGRAM_VARIABLE}"
            ),
        )];
    };
    let place = found.display();
    let problem = |code, what: String, cure: &str| vec![Finding::new(code, &place, what, cure)];
    let broken = |error: &dyn std::fmt::Display| {
        problem(
            Code::QemuBroken,
            format!("it does not say what it is: {error}"),
            "see what it says to: qemu-system-x86_64 --version",
        )
    };
    let version = match output(&found, &["--version"]) {
        Ok(text) => text,
        Err(error) => return broken(&error),
    };
    let Some(version) = version_of(&version) else {
        return broken(&"its version cannot be read");
    };
    let devices = match output(&found, &["-device", "help"]) {
        Ok(text) => text,
        Err(error) => return broken(&error),
    };
    let has = |device: &str| devices.contains(&format!("\"{device}\""));
    let lacks: Vec<_> = ["ivshmem-plain", "ivshmem-doorbell"]
        .into_iter()
        .filter(|device| !has(device))
        .collect();
    if lacks.is_empty() {
        let what = format!("QEMU {version} has ivshmem-plain and ivshmem-doorbell");
        return vec![Finding::fine(Code::QemuFine, place, what)];
    }
    let (code, cure) = if has("ivshmem") {
        (Code::QemuOld, "take QEMU 2.6 or later")
    } else {
        (
            Code::QemuWithoutDevice,
            "take a QEMU that was built with CONFIG_IVSHMEM, such as Debian's; RHEL's qemu-kvm has none",
        )
    };
    problem(
        code,
        format!("QEMU {version} has no {}", lacks.join(" and no ")),
        cure,
    )
}

/// Finds the version in `QEMU emulator version 7.2.22 (Debian ...)`.
fn version_of(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("version ")?;
    let version = rest.split([' ', '\n', '(', ',']).next()?;
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(version)
}

/// Runs a program and returns what it writes to stdout.
fn output(program: &Path, arguments: &[&str]) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut text))?;
        Ok::<_, io::Error>(text)
    });
    let deadline = Instant::now() + ANSWER_LIMIT;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() >= deadline => {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            None => thread::sleep(LOOK_INTERVAL),
        }
    };
    if !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    let text = reader
        .join()
        .map_err(|_| io::Error::other("reading failed"))??;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Whether KVM can be used here, else why not and what to do.
pub(in crate::command) fn kvm(world: &World) -> Result<(), (String, String)> {
    let device = world.at("/dev/kvm");
    let flags = world.text("/proc/cpuinfo").unwrap_or_default();
    let hardware = flags
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| {
            line.split_whitespace()
                .any(|flag| flag == "vmx" || flag == "svm")
        });
    match File::options().read(true).write(true).open(&device) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err((
            format!("this user may not use {}", device.display()),
            "put the user into the group kvm: usermod -aG kvm USER".to_owned(),
        )),
        Err(error) => Err((
            format!("{} does not open: {error}", device.display()),
            "turn virtualisation on in the firmware or in the outer machine (nested=1), and load kvm_intel or kvm_amd; QEMU works without, slower".to_owned(),
        )),
        Ok(_) if !hardware => Err((
            "there is a /dev/kvm, but the processor has neither vmx nor svm: this KVM is made of software".to_owned(),
            "use -accel tcg, which is faster here".to_owned(),
        )),
        Ok(_) => Ok(()),
    }
}

/// Checks KVM, for a command line if there is one.
pub(in crate::command) fn check_kvm(world: &World, line: Option<&Line>) -> Vec<Finding> {
    let wanted = line.is_some_and(Line::wants_kvm);
    vec![match kvm(world) {
        Ok(()) => Finding::fine(Code::QemuFine, "/dev/kvm", "KVM can be used"),
        Err((what, cure)) if wanted => Finding::new(
            Code::KvmAsked,
            "/dev/kvm",
            format!("the command line wants KVM, but {what}"),
            cure,
        ),
        Err((what, cure)) => Finding::new(Code::KvmUnusable, "/dev/kvm", what, cure),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::line::tests::line;
    use super::*;
    use crate::command::doctor::world::plant;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// What is found of a program that says these things.
    fn codes(version: &str, devices: &str) -> Code {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("qemu");
        let script = format!(
            "#!/bin/sh\ncase \"$1\" in\n--version) echo '{version}';;\n-device) printf '%b' '{devices}';;\nesac\n"
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let findings = check(&program, Need::Perhaps);
        assert_eq!(findings.len(), 1);
        findings[0].code
    }

    #[test]
    fn a_program_is_known_by_its_version_and_devices() {
        let version = "QEMU emulator version 7.2.22 (Debian)";
        let both = r#"name "ivshmem-plain", bus PCI\nname "ivshmem-doorbell", bus PCI\n"#;
        let plain = r#"name "ivshmem-plain", bus PCI\n"#;
        for (version, devices, code) in [
            (version, both, Code::QemuFine),
            (version, plain, Code::QemuWithoutDevice),
            (version, "", Code::QemuWithoutDevice),
            (
                "QEMU emulator version 2.5.0, Copyright",
                r#"name "ivshmem", bus PCI\n"#,
                Code::QemuOld,
            ),
            ("hello", both, Code::QemuBroken),
        ] {
            assert_eq!(codes(version, devices), code, "{version} {devices}");
        }
    }

    #[test]
    fn a_program_that_is_missing_or_fails_is_told() {
        for (program, need, code) in [
            ("/no/such/qemu", Need::Perhaps, Code::QemuMissing),
            ("no-such-qemu", Need::Perhaps, Code::QemuMissing),
            ("no-such-qemu", Need::Named, Code::QemuNamedMissing),
            ("false", Need::Named, Code::QemuBroken),
            ("/dev/null", Need::Named, Code::QemuBroken),
        ] {
            assert_eq!(check(Path::new(program), need)[0].code, code, "{program}");
        }
    }

    #[test]
    fn versions_are_found() {
        assert_eq!(
            version_of("QEMU emulator version 9.2.0 (x)\n"),
            Some("9.2.0")
        );
        assert_eq!(
            version_of("QEMU emulator version 8.0\nCopyright"),
            Some("8.0")
        );
        assert_eq!(version_of("version x"), None);
        assert_eq!(version_of(""), None);
    }

    #[test]
    fn kvm_wants_a_device_and_a_processor() {
        let cpu = |flags| ("/proc/cpuinfo", flags);
        let device = ("/dev/kvm", "");
        for (files, plain, asked) in [
            (
                &[cpu("flags\t: fpu vmx sse"), device][..],
                Code::QemuFine,
                Code::QemuFine,
            ),
            (
                &[cpu("flags\t: svm"), device],
                Code::QemuFine,
                Code::QemuFine,
            ),
            (
                &[cpu("flags\t: fpu vmxx"), device],
                Code::KvmUnusable,
                Code::KvmAsked,
            ),
            (&[cpu("flags\t: vmx")], Code::KvmUnusable, Code::KvmAsked),
        ] {
            let place = tempfile::tempdir().unwrap();
            let world = plant(place.path(), files);
            assert_eq!(check_kvm(&world, None)[0].code, plain, "{files:?}");
            assert_eq!(
                check_kvm(&world, Some(&line("q -accel tcg")))[0].code,
                plain
            );
            assert_eq!(
                check_kvm(&world, Some(&line("q -accel kvm")))[0].code,
                asked
            );
        }
    }
}
