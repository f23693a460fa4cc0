// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server and the virtual machine as child processes, and what the kernel tells of a process.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::LIMIT;

/// A child that is killed on drop.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Returns the memory that is resident, in KiB.
    pub fn resident_kib(&self) -> Result<u64, Box<dyn Error>> {
        let status = fs::read_to_string(self.entry("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.ok_or("no VmRSS")?.parse()?)
    }

    /// Returns the number of open file descriptors.
    pub fn descriptors(&self) -> Result<usize, Box<dyn Error>> {
        Ok(fs::read_dir(self.entry("fd"))?.count())
    }

    /// Waits until so many file descriptors are open, and returns how many there are in the end.
    pub fn await_descriptors(&self, wanted: usize) -> Result<usize, Box<dyn Error>> {
        let start = Instant::now();
        loop {
            let found = self.descriptors()?;
            if found == wanted || start.elapsed() > LIMIT {
                return Ok(found);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the processor time used so far.
    pub fn processor_time(&self) -> Result<Duration, Box<dyn Error>> {
        // The first number of each thread: nanoseconds on a processor.
        let mut total = 0;
        for thread in fs::read_dir(self.entry("task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let number = text.split_whitespace().next().ok_or("no schedstat")?;
            total += number.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    fn entry(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.0.id().to_string()).join(name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `command`, which is `ivshmem`, as a server at `socket`, and waits until it listens.
pub fn serve(mut command: Command, socket: &Path, vectors: u16) -> Result<Process, Box<dyn Error>> {
    let server = command
        .args(["server", "--size", "1M", "--vectors"])
        .arg(vectors.to_string())
        .arg("--socket")
        .arg(socket)
        .stdin(Stdio::null())
        .stderr(fs::File::create(socket.with_extension("log"))?)
        .spawn()
        .map_err(|error| format!("cannot start the server: {error}"))?;
    let mut server = Process(server);
    let start = Instant::now();
    // The line comes when the server listens; to connect would be to join.
    while !fs::read_to_string(socket.with_extension("log"))?.contains("listening at") {
        if server.0.try_wait()?.is_some() || start.elapsed() > LIMIT {
            let log = fs::read_to_string(socket.with_extension("log"))?;
            return Err(format!("the server does not start: {log}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(server)
}

/// A virtual machine with the device, whose processor stands still; QEMU itself does not.
#[derive(Debug)]
pub struct Qemu {
    _process: Process,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Qemu {
    /// Starts QEMU and waits until its device has joined.
    pub fn start(socket: &Path, vectors: u16) -> Result<Self, Box<dyn Error>> {
        let chardev = format!("socket,id=ivshmem,path={}", socket.display());
        let device = format!("ivshmem-doorbell,chardev=ivshmem,vectors={vectors}");
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-machine", "q35", "-accel", "tcg", "-m", "64M", "-S"])
            .args(["-qmp", "stdio", "-chardev", &chardev, "-device", &device])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("qemu-system-x86_64: {error} (or go without: --no-qemu)"))?;
        let commands = qemu.stdin.take().ok_or("QEMU has no stdin")?;
        let answers = qemu.stdout.take().ok_or("QEMU has no stdout")?;
        let mut machine = Self {
            _process: Process(qemu),
            commands,
            answers: BufReader::new(answers),
        };
        machine.answer("QMP")?;
        machine.execute("qmp_capabilities")?;
        Ok(machine)
    }

    /// Asks QEMU how it is, which its main loop answers, the same that listens to the server.
    pub fn is_alive(&mut self) -> bool {
        self.execute("query-status").is_ok()
    }

    fn execute(&mut self, command: &str) -> Result<(), Box<dyn Error>> {
        writeln!(self.commands, r#"{{"execute": "{command}"}}"#)?;
        self.answer("return")
    }

    /// Reads to the answer with this key.
    fn answer(&mut self, key: &str) -> Result<(), Box<dyn Error>> {
        let mut line = String::new();
        while self.answers.read_line(&mut line)? > 0 {
            let answer: serde_json::Value = serde_json::from_str(&line)?;
            if answer.get(key).is_some() {
                return Ok(());
            }
            line.clear();
        }
        Err("QEMU has ended".into())
    }
}
