// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command `ivshmem-device proxy`, started as a user starts it.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};

use command_fds::CommandFdExt;
use rustix::process::{kill_process, Pid, Signal};

use crate::support::{event, memory, wait_for, Client, Qemu, Server};

const SIZE: u64 = 1 << 20;

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ivshmem-device"));
    command.arg("proxy").stdin(Stdio::null());
    command
}

/// A running command, killed at the end of the test.
pub struct Running(pub Child);

impl Running {
    /// Lends the devices of `texts` to as many QEMUs.
    fn start(texts: &[String], more: &[&str]) -> (Self, Vec<Qemu>) {
        Self::start_by(command(), texts, more)
    }

    /// The same by a command line that begins otherwise.
    pub fn start_by(mut command: Command, texts: &[String], more: &[&str]) -> (Self, Vec<Qemu>) {
        let (mut qemus, mut sockets) = (Vec::new(), Vec::new());
        for text in texts {
            let (qemu, socket) = Qemu::pair();
            let number = socket.as_raw_fd().to_string();
            command.args(["--device", text, "--fd", &number]);
            qemus.push(qemu);
            sockets.push(socket);
        }
        command.args(more).stderr(Stdio::piped());
        (Self(command.preserved_fds(sockets).spawn().unwrap()), qemus)
    }

    pub fn lines(&mut self) -> impl Iterator<Item = String> {
        let stderr = self.0.stderr.take().expect("taken once");
        BufReader::new(stderr).lines().map(Result::unwrap)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the end of the command", || self.0.try_wait().unwrap())
    }

    /// Returns how many descriptors it has open.
    fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.0.id());
        std::fs::read_dir(path).unwrap().count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended, as it should have.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the text of a device of that server.
pub fn device(server: &Server) -> String {
    format!("ivshmem,chardev={},size=1M", server.path().display())
}

/// Returns the connection of a device that has got its memory.
pub fn connected(server: &Server, id: u16) -> Client {
    let client = server.accept();
    client.greet(id, memory(SIZE));
    client
}

#[test]
fn every_wrong_input_is_one_line() {
    let absent = "ivshmem,chardev=/nowhere/socket";
    for (arguments, part) in [
        (&[][..], "--device"),
        (&["--device", absent], "--fd N"),
        (&["--device", absent, "--fd", "x"], "--fd"),
        (
            &["--device", absent, "--fd", "987654"],
            "no such descriptor",
        ),
        (&["--device", absent, "--fd", "-3"], "--fd"),
        (
            &["--device", absent, "--fd", "0"],
            "not a unix stream socket",
        ),
        (
            &["--device", absent, "--fd", "3", "--fd", "4"],
            "one for each",
        ),
        (
            &[
                "--device", absent, "--device", absent, "--fd", "3", "--fd", "3",
            ],
            "twice",
        ),
        (&["--device", absent, "--fd", "3", "--", "true"], "--fd"),
        (&["--device", absent, "--", "true"], "/nowhere/socket"),
        (
            &["--device", "ivshmem,chardev=a,msi=on", "--", "true"],
            "msi=off",
        ),
        (
            &["--device", "ivshmem,chardev=a,use64=1", "--", "true"],
            "use64=0",
        ),
        (
            &["--device", "ivshmem-doorbell,chardev=a", "--", "true"],
            "only the device ivshmem",
        ),
        (&["--device", "ivshmem,shm=/a/b", "--", "true"], "/a/b"),
        (
            &["--device", "ivshmem,shm=/a\nb\u{1b}/c", "--", "true"],
            "/a\\nb\\u{1b}/c",
        ),
        (
            &[
                "--device",
                "ivshmem,shm=/a,size=0",
                "--generation",
                "2.3",
                "--",
                "true",
            ],
            "give size=1M or more",
        ),
        (
            &["--device", absent, "--generation", "7.2", "--", "true"],
            "2.3, 2.5",
        ),
        (
            &["--device", absent, "--protocol", "1", "--", "true"],
            "0, none",
        ),
    ] {
        let output = command().args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
        assert!(
            stderr.starts_with("ivshmem-device: ") && stderr.contains(part),
            "{arguments:?}: {stderr}"
        );
        assert_eq!(output.stdout, [], "{arguments:?}");
    }
}

#[test]
fn help_says_what_the_exit_codes_are() {
    let output = command().arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("Exit status:"),
        "{text}"
    );
}

#[test]
fn several_devices_are_each_on_its_own() {
    let servers = [Server::new(), Server::new(), Server::new()];
    let texts = servers.each_ref().map(device);
    let (mut running, mut qemus) = Running::start(&texts, &[]);
    let clients: Vec<_> = servers
        .iter()
        .zip(1..)
        .map(|(server, id)| connected(server, id))
        .collect();
    let mut stderr = running.lines();
    // One QEMU goes wrong, one goes, one server goes wrong.
    qemus[0].tell(9, &[], &[]);
    let line = stderr.next().unwrap();
    assert!(
        line.contains(&texts[0]) && line.contains("command 9"),
        "{line}"
    );
    // Although the descriptor that the command inherited is still open.
    assert!(qemus[0].is_closed(), "QEMU does not wait");
    drop(qemus.remove(1));
    clients[2].send(1, Some(rustix::pipe::pipe().unwrap().0.as_fd()));
    let line = stderr.next().unwrap();
    assert!(
        line.contains(&texts[2]) && line.contains("keeps the device"),
        "{line}"
    );
    assert_eq!(qemus[1].read_config(0, 4), 0x1110_1af4);
    qemus[1].write_config(0x10, 0xfebf_0000, 4);
    qemus[1].write_config(0x04, 2, 2);
    assert_eq!(qemus[1].read(0xfebf_0008, 4), 3);
    drop(qemus);
    assert_eq!(running.wait().code(), Some(2), "one QEMU sent nonsense");
}

#[test]
fn the_end_of_all_qemus_is_the_end() {
    let server = Server::new();
    let (mut running, qemus) = Running::start(&[device(&server)], &["-v"]);
    let mut client = connected(&server, 0);
    drop(qemus);
    assert_eq!(running.wait().code(), Some(0));
    assert!(client.is_closed());
    assert!(running.lines().any(|line| line.contains("unplugged")));
}

#[test]
fn signals_end_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::new();
        let (mut running, mut qemus) = Running::start(&[device(&server)], &[]);
        let mut client = connected(&server, 0);
        qemus[0].read_config(0, 4);
        running.signal(signal);
        assert_eq!(running.wait().code(), Some(0));
        assert!(client.is_closed());
        assert!(qemus[0].is_closed(), "QEMU does not wait");
    }
}

#[test]
fn no_descriptor_stays_behind() {
    let server = Server::new();
    let (running, mut qemus) = Running::start(&[device(&server)], &[]);
    let client = connected(&server, 0);
    let qemu = &mut qemus[0];
    let _line = qemu.set_irqfd();
    qemu.write_config(0x10, 0xfebf_0000, 4);
    qemu.write_config(0x04, 2, 2);
    wait_for("the memory", || {
        (qemu.read(0xfebf_0008, 4) == 0).then_some(())
    });
    let before = running.descriptors();
    let file = memory(4096);
    for _ in 0..50 {
        qemu.sync_memory(&[file.as_fd(); 8]);
    }
    let _line = qemu.set_irqfd();
    let lost: Vec<OwnedFd> = (0..5).map(|_| event()).collect();
    for vector in &lost {
        // One vector is kept; of the memory the first.
        client.send(4, Some(vector.as_fd()));
        client.send(-1, Some(file.as_fd()));
    }
    qemu.read_config(0, 4);
    let after = before + 1;
    wait_for("as many descriptors as before, and one peer's", || {
        qemu.read_config(0, 4);
        (running.descriptors() == after).then_some(())
    });
    // It is not just that nothing has arrived yet: the fifth vector is refused, and its neighbour too.
    let last = event();
    client.send(5, Some(last.as_fd()));
    wait_for("the next peer", || {
        qemu.write(0xfebf_000c, 0x0005_0000, 4);
        crate::support::is_readable(&last, std::time::Duration::ZERO).then_some(())
    });
    assert_eq!(running.descriptors(), after + 1);
}

#[test]
fn a_command_gets_its_devices_and_gives_its_exit_code() {
    let server = Server::new();
    let text = device(&server);
    let script = "for arg do echo $arg; done; exit 7";
    for (more, expected) in [
        (&[][..], "-device\nx-pci-proxy-dev,fd="),
        (
            &["-device", "x-pci-proxy-dev,addr=5,fd={}"],
            "-device\nx-pci-proxy-dev,addr=5,fd=",
        ),
    ] {
        let output = command()
            .args(["--device", &text, "--", "sh", "-c", script, "sh"])
            .args(more)
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(7), "{stdout}");
        let number = stdout.strip_prefix(expected).expect(&stdout).trim();
        assert!(
            number.parse::<u32>().is_ok_and(|number| number > 2),
            "{stdout}"
        );
    }
}

#[test]
fn a_command_is_ended_with_it() {
    // The first is ended by the signal; the second does not care until it cannot help it.
    for (script, signals, code) in [
        ("echo; exec sleep 1000", 1, 128 + 15),
        (
            "trap '' TERM; echo; while :; do sleep 0.01; done",
            2,
            128 + 9,
        ),
    ] {
        let server = Server::new();
        let mut command = command();
        command.args(["--device", &device(&server), "--", "sh", "-c", script]);
        let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
        let _client = connected(&server, 0);
        let mut started = [0];
        running
            .0
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut started)
            .unwrap();
        for _ in 0..signals {
            assert_eq!(running.0.try_wait().unwrap(), None);
            running.signal(Signal::TERM);
            // Two at once would be one.
            let status = format!("/proc/{}/status", running.0.id());
            wait_for("the signal to be taken", || {
                let status = std::fs::read_to_string(&status).ok()?;
                let pending = status.lines().find(|line| line.starts_with("ShdPnd"))?;
                pending.trim_end().ends_with("0000").then_some(())
            });
        }
        assert_eq!(running.wait().code(), Some(code));
    }
}
