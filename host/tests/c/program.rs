// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program in C: building it, running it, and what it says.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::lab::LIMIT;

const SOURCES: [&str; 7] = [
    "region.c",
    "slot.c",
    "member.c",
    "connection.c",
    "send.c",
    "receive.c",
    "echo.c",
];
/// What every build has to pass.
const FLAGS: [&str; 6] = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pthread", "-g"];
const SANITIZERS: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
/// How the program ends when a sanitizer has found something.
const FOUND: i32 = 99;

/// The program, built in two ways.
pub struct Built {
    pub plain: Program,
    /// Without, the compiler has no sanitizers.
    pub sanitized: Option<Program>,
}

#[derive(Clone)]
pub struct Program {
    path: PathBuf,
    _directory: Arc<TempDir>,
}

impl Built {
    pub fn new() -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a directory"));
        let build = |name: &str, flags: &[&str], sources: &[PathBuf]| {
            let path = directory.path().join(name);
            let mut cc = Command::new("cc");
            cc.args(FLAGS)
                .args(flags)
                .arg("-o")
                .arg(&path)
                .args(sources);
            let output = cc
                .output()
                .expect("a C compiler: install gcc, or another cc");
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let program = Program {
                path,
                _directory: Arc::clone(&directory),
            };
            output.status.success().then_some(program).ok_or(text)
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("c");
        let sources = SOURCES.map(|source| folder.join(source));
        let plain = build("echo", &["-O2"], &sources);
        // Whether there are sanitizers is asked with a program that has no fault of its own.
        let probe = directory.path().join("probe.c");
        std::fs::write(&probe, "int main(void) { return 0; }\n").expect("a file");
        let sanitized = build("probe", &SANITIZERS, &[probe])
            .ok()
            .map(|_| build("echo-sanitized", &SANITIZERS, &sources));
        let unwrap = |built: Result<Program, String>| built.unwrap_or_else(|text| panic!("{text}"));
        Self {
            plain: unwrap(plain),
            sanitized: sanitized.map(unwrap),
        }
    }
}

impl Program {
    /// Starts it on the region in a file.
    pub fn start(&self, arguments: &[&str], file: &Path, name: &str) -> Running {
        let errors = tempfile::tempfile().expect("a file");
        let mut child = Command::new(&self.path)
            .args(arguments)
            .arg(file)
            .arg(name)
            .env("ASAN_OPTIONS", format!("exitcode={FOUND}"))
            .env(
                "UBSAN_OPTIONS",
                format!("exitcode={FOUND}:print_stacktrace=1"),
            )
            .stdin(Stdio::null())
            .stderr(errors.try_clone().expect("a descriptor"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            lines.map_while(|line| sender.send(line).ok()).count()
        });
        Running {
            child,
            lines,
            errors,
        }
    }
}

/// The program as it runs, killed on drop.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: File,
}

impl Running {
    /// Returns the next line that it writes.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line")
    }

    /// Returns what it has complained of.
    pub fn errors(&mut self) -> String {
        let mut text = String::new();
        self.errors.rewind().expect("a file");
        self.errors.read_to_string(&mut text).expect("text");
        text
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("its end");
    }

    /// Returns how it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its status")
    }

    /// Waits for it to end by itself.
    pub fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(start.elapsed() < LIMIT, "it goes on");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
