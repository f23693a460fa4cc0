// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handling of virtual machines, tried on shell scripts that stand in for QEMU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use xtask::accelerator::{Accelerator, AcceleratorKind};
use xtask::qemu::{Guest, Marker, VmErrorKind};
use xtask::toolchain::{KernelToolchain, Route, RustVersion};
use xtask::tools::{QemuProgram, Tools};

/// Long enough for a loaded machine; nothing that works waits for it.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

struct FakeQemu {
    folder: TempDir,
    tools: Tools,
}

/// Passes a shell script off as QEMU.
///
/// The program is a link to one script in the repository, which runs the file `script` beside the
/// link: a program that was just written could be refused with "text file busy", because a child
/// that another test is starting may still hold it open for writing.
fn fake(script: &str) -> FakeQemu {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("script"), script).unwrap();
    let path = folder.path().join("qemu");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-qemu");
    std::os::unix::fs::symlink(program, &path).unwrap();
    FakeQemu {
        folder,
        tools: tools(path),
    }
}

fn tools(qemu: PathBuf) -> Tools {
    Tools {
        qemu: QemuProgram {
            path: qemu,
            version: "0".into(),
        },
        accelerator: Accelerator {
            kind: AcceleratorKind::Tcg,
            reason: "a test".into(),
        },
        kernel: KernelToolchain {
            route: Route::Active,
            version: RustVersion(1, 95, 0),
        },
        uefi: None,
    }
}

impl FakeQemu {
    fn guest(&self) -> Guest {
        Guest::new(&self.tools, "/kernel").name("fake")
    }
}

fn is_running(pid: u32) -> bool {
    // A zombie is dead, but it is still listed until somebody reaps it.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn lines_go_both_ways_and_a_pass_is_a_pass() {
    let qemu = fake("echo ready; read line; echo \"got $line\"; echo '== PASS'; exit 33");
    let vm = qemu.guest().spawn().unwrap();
    assert_eq!(vm.wait_line(|line| line == "ready", LONG).unwrap(), "ready");
    vm.send_line("go 1").unwrap();
    let line = vm.wait_line(|line| line.starts_with("got"), LONG).unwrap();
    assert_eq!(line, "got go 1");
    let outcome = vm.finish(LONG).unwrap();
    assert_eq!(outcome.status, Some(33));
    assert_eq!(outcome.lines, ["ready", "got go 1", "== PASS"]);
    assert_eq!(vm.log(), outcome.lines);
}

#[test]
fn a_failure_shows_log_complaints_and_command_line() {
    let qemu = fake("echo hello; echo '== FAIL no device'; echo 'qemu: oh' >&2; exit 35");
    let vm = qemu.guest().append("run=x").spawn().unwrap();
    let error = vm.finish(LONG).unwrap_err();
    let text = error.to_string();
    for part in [
        "the guest says FAIL no device, qemu's exit status is 35",
        "] hello",
        "qemu: oh",
        "-append run=x",
        "exit status: 35",
    ] {
        assert!(text.contains(part), "{part} is in {text}");
    }
    let outcome = vm.wait_exit(LONG).unwrap();
    assert_eq!(outcome.marker, Some(Marker::Fail("no device".into())));
}

#[test]
fn marker_and_status_must_agree() {
    for script in ["echo '== PASS'; exit 35", "echo hello; exit 33"] {
        let qemu = fake(script);
        let error = qemu.guest().spawn().unwrap().finish(LONG).unwrap_err();
        assert!(
            matches!(error.kind, VmErrorKind::NotPassed { .. }),
            "{error}"
        );
    }
}

#[test]
fn an_early_end_is_told_at_once() {
    let qemu = fake("echo one; echo 'bad option' >&2; exit 1");
    let vm = qemu.guest().spawn().unwrap();
    let started = Instant::now();
    let error = vm.wait_line(|line| line == "two", LONG).unwrap_err();
    assert!(matches!(error.kind, VmErrorKind::EndedEarly), "{error}");
    assert!(started.elapsed() < LONG / 2);
    assert!(error.to_string().contains("bad option"), "{error}");
    assert_eq!(
        error.report.status.and_then(|status| status.code()),
        Some(1)
    );
}

#[test]
fn waiting_has_an_end() {
    let qemu = fake("echo one; exec sleep 600");
    let vm = qemu.guest().spawn().unwrap();
    vm.wait_line(|line| line == "one", LONG).unwrap();
    let error = vm.wait_line(|line| line == "two", SHORT).unwrap_err();
    assert!(matches!(error.kind, VmErrorKind::NoLine { .. }), "{error}");
    let error = vm.finish(SHORT).unwrap_err();
    assert!(
        matches!(error.kind, VmErrorKind::StillRunning { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("qemu had not ended"), "{error}");
}

#[test]
fn a_machines_lifetime_ends_every_wait() {
    let qemu = fake("exec sleep 600");
    let vm = qemu.guest().lifetime(SHORT).spawn().unwrap();
    let started = Instant::now();
    assert!(vm.wait_line(|_| true, LONG).is_err());
    assert!(vm.finish(LONG).is_err());
    assert!(vm.qmp(LONG).is_err());
    assert!(started.elapsed() < LONG / 2);
}

#[test]
fn killing_and_dropping_end_the_process() {
    let qemu = fake("echo up; exec sleep 600");
    let vm = qemu.guest().spawn().unwrap();
    vm.wait_line(|line| line == "up", LONG).unwrap();
    vm.kill();
    assert!(!is_running(vm.pid()));
    let outcome = vm.wait_exit(LONG).unwrap();
    assert_eq!((outcome.status, outcome.marker), (None, None));

    let vm = qemu.guest().spawn().unwrap();
    let (pid, folder) = (vm.pid(), vm.folder().to_owned());
    assert!(is_running(pid) && folder.is_dir());
    drop(vm);
    assert!(!is_running(pid) && !folder.exists());
}

#[test]
fn a_machine_outlives_the_thread_that_started_it() {
    let qemu = fake("echo up; read line; echo '== PASS'; exit 33");
    let guest = qemu.guest();
    let vm = std::thread::spawn(|| guest.spawn().unwrap())
        .join()
        .unwrap();
    vm.wait_line(|line| line == "up", LONG).unwrap();
    vm.send_line("go").unwrap();
    vm.finish(LONG).unwrap();
}

#[test]
fn a_qemu_that_is_not_there_is_an_error() {
    let tools = tools("/nonexistent/qemu".into());
    let error = Guest::new(&tools, "/kernel").spawn().unwrap_err();
    assert!(matches!(error.kind, VmErrorKind::Start(_)), "{error}");
    assert!(
        error.to_string().contains("/nonexistent/qemu -name"),
        "{error}"
    );
}

#[test]
fn a_control_socket_of_a_dead_machine_is_not_waited_for() {
    let qemu = fake("exit 1");
    let vm = qemu.guest().spawn().unwrap();
    let started = Instant::now();
    assert!(vm.qmp(LONG).is_err());
    assert!(started.elapsed() < LONG / 2);
}

/// The variable that makes the next test the process to be killed.
const VICTIM: &str = "IVSHMEM_TEST_VICTIM";

#[test]
fn no_machine_survives_our_own_death() {
    if let Some(folder) = std::env::var_os(VICTIM) {
        be_the_victim(Path::new(&folder));
    }
    let qemu = fake("echo $$ > \"${0%/*}/pid\"; exec sleep 600");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no_machine_survives_our_own_death"])
        .env(VICTIM, qemu.folder.path())
        // What it cannot remove any more goes with our folder.
        .env("TMPDIR", qemu.folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut pid = None;
    wait_until("the machine starts", || {
        let text = fs::read_to_string(qemu.folder.path().join("pid"));
        pid = text.ok().and_then(|text| text.trim().parse::<u32>().ok());
        pid.is_some()
    });
    let pid = pid.unwrap();
    assert!(is_running(pid));
    // SIGKILL: nothing is dropped.
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until("the machine dies with us", || !is_running(pid));
}

fn be_the_victim(folder: &Path) -> ! {
    let guest = Guest::new(&tools(folder.join("qemu")), "/kernel");
    let vm = guest.spawn().unwrap();
    let _ = vm.wait_line(|_| false, LONG);
    unreachable!("killed by the test, or its machine ended");
}
