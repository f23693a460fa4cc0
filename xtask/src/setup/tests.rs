// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the order of steps, on made-up machines that the installers change.

use super::newer::tests::{with_newer_utils, NEW, OLD};
use super::valgrind::ensure_valgrind_on;
use super::*;
use crate::probe::fake::FakeMachine;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

const LIBDIR: &str = "/rust/lib";

/// What an installer's command line does to the machine: `None` if it fails.
type Effect = fn(FakeMachine, &str) -> Option<FakeMachine>;

struct Recorder<'a> {
    machine: &'a RefCell<FakeMachine>,
    effect: Effect,
    ran: Vec<String>,
}

impl Installer for Recorder<'_> {
    fn run(&mut self, _: &str, line: &[&str], _: Option<Duration>) -> Result<(), InstallFailure> {
        let line = line.join(" ");
        self.ran.push(line.clone());
        let before = self.machine.borrow().clone();
        match (self.effect)(before, &line) {
            Some(after) => {
                *self.machine.borrow_mut() = after;
                Ok(())
            }
            None => Err(InstallFailure {
                command: line,
                reason: "exit status: 1".into(),
                tail: vec!["no network".into()],
                log: "/log".into(),
            }),
        }
    }
}

/// Lets `ensure` change a machine, and returns the command lines too.
fn recorded<T>(
    machine: FakeMachine,
    effect: Effect,
    ensure: impl FnOnce(&RefCell<FakeMachine>, &mut Recorder<'_>) -> Result<T, SetupError>,
) -> (Result<T, SetupError>, Vec<String>) {
    let machine = RefCell::new(machine);
    let mut recorder = Recorder {
        machine: &machine,
        effect,
        ran: Vec::new(),
    };
    let result = ensure(&machine, &mut recorder);
    (result, recorder.ran)
}

fn set_up(
    machine: FakeMachine,
    install: Install,
    effect: Effect,
) -> (Result<Tools, SetupError>, Vec<String>) {
    recorded(machine, effect, |machine, recorder| {
        ensure_on(machine, install, recorder)
    })
}

fn set_up_valgrind(
    machine: FakeMachine,
    install: Install,
) -> (Result<PathBuf, SetupError>, Vec<String>) {
    recorded(machine, network, |machine, recorder| {
        ensure_valgrind_on(machine, install, recorder)
    })
}

fn debian() -> FakeMachine {
    FakeMachine::default()
        .with_file("/etc/os-release", "ID=debian\n")
        .with_program("/usr/bin/apt-get")
        .prints("id -u", "0\n")
}

fn with_rustup(machine: FakeMachine) -> FakeMachine {
    machine
        .with_program("/bin/rustup")
        .with_program("/bin/rustc")
        .prints("/bin/rustc -vV", "release: 1.95.0\n")
        .prints(
            "/bin/rustc --print target-libdir --target x86_64-unknown-none",
            LIBDIR,
        )
}

fn with_target(machine: FakeMachine) -> FakeMachine {
    machine.with_file("/rust/lib/libcore-1.rlib", "")
}

fn with_qemu(machine: FakeMachine) -> FakeMachine {
    machine.with_program("/usr/bin/qemu-system-x86_64").prints(
        "/usr/bin/qemu-system-x86_64 --version",
        "QEMU emulator version 7.2.22\n",
    )
}

fn with_debian_rust(machine: FakeMachine) -> FakeMachine {
    machine
        .with_file("/usr/bin/rustc", "")
        .with_file("/usr/bin/cargo", "")
        .prints("/usr/bin/rustc -vV", "release: 1.96.0\n")
        .with_file("/usr/lib/rustlib/src/rust/library/core/src/lib.rs", "")
        .with_file("/usr/lib/rustlib/src/rust/library/Cargo.lock", "")
}

/// Every installer does what it should.
fn network(machine: FakeMachine, line: &str) -> Option<FakeMachine> {
    Some(match line {
        _ if line.contains("qemu-system-x86 ") => with_qemu(machine),
        _ if line.contains("rustc-web") => with_debian_rust(machine),
        _ if line.ends_with(" valgrind") => machine.with_program("/usr/bin/valgrind"),
        "rustup target add x86_64-unknown-none" => with_target(machine),
        _ if line.ends_with(" update") => machine,
        _ => return None,
    })
}

/// As `network`, but rustup's server is out of reach.
fn apt_only(machine: FakeMachine, line: &str) -> Option<FakeMachine> {
    (!line.starts_with("rustup")).then(|| network(machine, line))?
}

fn nothing_works(_: FakeMachine, _: &str) -> Option<FakeMachine> {
    None
}

#[test]
fn what_is_there_is_taken() {
    let machine = with_target(with_rustup(with_qemu(debian())));
    let (result, ran) = set_up(machine, Install::IfMissing, nothing_works);
    assert!(result.is_ok());
    assert!(ran.is_empty(), "{ran:?}");
}

#[test]
fn a_fresh_debian_gets_qemu_from_apt_and_the_target_from_rustup() {
    let (result, ran) = set_up(with_rustup(debian()), Install::IfMissing, network);
    assert!(result.is_ok());
    let apt = "env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300";
    let options = "install -y --no-install-recommends --no-remove";
    assert_eq!(
        ran,
        [
            format!("{apt} update"),
            format!("{apt} {options} qemu-system-x86 seabios ovmf"),
            "rustup target add x86_64-unknown-none".to_owned(),
        ]
    );
}

#[test]
fn without_rustups_server_the_compiler_comes_from_apt() {
    let machine = with_qemu(with_rustup(debian()));
    let (result, ran) = set_up(machine, Install::IfMissing, apt_only);
    assert_eq!(
        result.unwrap().kernel.route,
        crate::toolchain::Route::System
    );
    assert!(ran[0].starts_with("rustup"), "{ran:?}");
    assert!(
        ran[2].ends_with("rustc-web cargo-web rust-web-src"),
        "{ran:?}"
    );
}

#[test]
fn no_install_installs_nothing_and_says_how() {
    let (result, ran) = set_up(with_rustup(debian()), Install::Never, network);
    assert!(ran.is_empty(), "{ran:?}");
    let text = result.unwrap_err().to_string();
    for command in [
        "sudo apt-get install qemu-system-x86 seabios ovmf",
        "sudo dnf install qemu",
        "sudo pacman -S qemu",
        "brew install qemu",
        "rustup target add x86_64-unknown-none",
    ] {
        assert!(text.contains(command), "{command} is in {text}");
    }
}

#[test]
fn elsewhere_nothing_is_touched_when_qemu_is_missing() {
    let fedora = with_rustup(FakeMachine::default()).with_file("/etc/os-release", "ID=fedora\n");
    let (result, ran) = set_up(fedora, Install::IfMissing, network);
    assert!(ran.is_empty(), "{ran:?}");
    let error = result.unwrap_err();
    assert!(matches!(error, SetupError::NotInstalled { .. }), "{error}");
}

#[test]
fn elsewhere_rustup_alone_will_do_when_qemu_is_there() {
    let fedora = with_qemu(with_rustup(FakeMachine::default()));
    let (result, ran) = set_up(fedora, Install::IfMissing, network);
    assert!(result.is_ok());
    assert_eq!(ran, ["rustup target add x86_64-unknown-none"]);
}

#[test]
fn advice_names_only_what_is_missing() {
    let (result, _) = set_up(with_rustup(with_qemu(debian())), Install::Never, network);
    let text = result.unwrap_err().to_string();
    assert!(!text.contains("install qemu"), "{text}");
    assert!(text.contains("rustup target add"), "{text}");
}

#[test]
fn a_failed_installation_shows_what_the_installer_said() {
    let (result, ran) = set_up(debian(), Install::IfMissing, nothing_works);
    let error = result.unwrap_err();
    assert!(matches!(error, SetupError::Failed { .. }), "{error}");
    assert!(error.to_string().contains("no network"), "{error}");
    assert_eq!(ran.len(), 2, "the rest is not tried: {ran:?}");
}

/// A machine whose package lists have an older QEMU than its qemu-utils is of.
fn with_newer_qemu_utils() -> FakeMachine {
    with_newer_utils(
        with_target(with_rustup(debian())),
        "qemu-system-x86 seabios ovmf",
    )
}

#[test]
fn a_newer_qemu_utils_is_left_alone_and_the_user_told_what_to_type() {
    let (result, ran) = set_up(with_newer_qemu_utils(), Install::IfMissing, network);
    assert_eq!(ran.len(), 1, "only the lists are read: {ran:?}");
    let text = result.unwrap_err().to_string();
    let line = text.lines().last().unwrap();
    for part in [
        &format!("qemu-utils {NEW}"),
        "IVSHMEM_ALLOW_DOWNGRADES=1 cargo xtask setup",
    ] {
        assert!(line.contains(part), "{part} is in {text}");
    }
}

#[test]
fn a_newer_qemu_utils_is_put_back_if_that_is_allowed() {
    let machine = with_newer_qemu_utils().with_variable("IVSHMEM_ALLOW_DOWNGRADES", "1");
    let (result, ran) = set_up(machine, Install::IfMissing, network);
    assert!(result.is_ok());
    let options = "install -y --no-install-recommends --no-remove --allow-downgrades";
    let packages = format!("qemu-system-x86 seabios ovmf qemu-utils={OLD}");
    assert!(
        ran[1].ends_with(&format!("{options} {packages}")),
        "{ran:?}"
    );
}

#[test]
fn valgrind_is_taken_or_installed_or_the_user_told_how() {
    let valgrind = Path::new("/usr/bin/valgrind");
    let there = debian().with_program("/usr/bin/valgrind");
    let (result, ran) = set_up_valgrind(there, Install::Never);
    assert_eq!(result.unwrap(), valgrind);
    assert!(ran.is_empty(), "{ran:?}");

    let (result, ran) = set_up_valgrind(debian(), Install::IfMissing);
    assert_eq!(result.unwrap(), valgrind);
    assert!(ran[1].contains("--no-remove"), "{ran:?}");

    let elsewhere = [
        (debian(), Install::Never),
        (FakeMachine::default(), Install::IfMissing),
    ];
    for (machine, install) in elsewhere {
        let (result, ran) = set_up_valgrind(machine, install);
        assert!(ran.is_empty(), "{ran:?}");
        let text = result.unwrap_err().to_string();
        assert!(text.contains("sudo dnf install valgrind"), "{text}");
    }
}

#[test]
fn a_bad_override_is_not_mended_by_installing() {
    let machine = debian().with_variable("IVSHMEM_QEMU", "/nonexistent");
    let (result, ran) = set_up(machine, Install::IfMissing, network);
    assert!(ran.is_empty(), "{ran:?}");
    let error = result.unwrap_err();
    assert!(matches!(error, SetupError::BadSetting(_)), "{error}");
}
