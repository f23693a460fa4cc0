// SPDX-License-Identifier: MIT OR Apache-2.0
//! The connection: greeting, commands, answers and events.

use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::{json, Value};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a single command may take.
const COMMAND: Duration = Duration::from_secs(10);

/// Why QEMU gave no answer, or not the one that was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum QmpError {
    /// Nobody listens on the socket (yet).
    NotListening(io::Error),
    /// The connection broke.
    Broken(io::Error),
    /// No answer came in time.
    TimedOut,
    /// What came is no QMP, or not what the command's definition says.
    Unexpected(String),
    /// QEMU refused the command.
    Refused {
        /// The command.
        command: String,
        /// QEMU's reason.
        reason: String,
    },
}

impl fmt::Display for QmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListening(error) => write!(f, "nobody listens on the socket: {error}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::TimedOut => write!(f, "no answer in time"),
            Self::Unexpected(text) => write!(f, "unexpected answer: {text}"),
            Self::Refused { command, reason } => write!(f, "{command} was refused: {reason}"),
        }
    }
}

impl std::error::Error for QmpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotListening(error) | Self::Broken(error) => Some(error),
            _ => None,
        }
    }
}

/// A connection to a QEMU, past the greeting.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    /// What was read past the last whole line.
    rest: Vec<u8>,
    events: VecDeque<Value>,
    next_id: u64,
}

impl Qmp {
    /// Connects, takes the greeting and ends the negotiation.
    ///
    /// # Errors
    ///
    /// - Nobody listens, the other side speaks no QMP, or the deadline passes.
    pub fn connect(socket: &Path, deadline: Instant) -> Result<Self, QmpError> {
        let stream = UnixStream::connect(socket).map_err(QmpError::NotListening)?;
        let mut qmp = Self {
            stream,
            rest: Vec::new(),
            events: VecDeque::new(),
            next_id: 0,
        };
        let greeting = qmp.read_message(deadline)?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Unexpected(greeting.to_string()));
        }
        qmp.execute_until("qmp_capabilities", &json!({}), deadline)?;
        Ok(qmp)
    }

    /// Runs a command and returns its result. Events that come meanwhile are kept.
    ///
    /// # Errors
    ///
    /// - QEMU refuses, breaks off, or does not answer within 10 seconds.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        self.execute_until(command, arguments, Instant::now() + COMMAND)
    }

    /// Gives QEMU a copy of `descriptor` under `name`, for properties such as `fd` of a device that is plugged in later.
    ///
    /// # Errors
    ///
    /// - As for [`execute`](Self::execute).
    pub fn getfd(&mut self, name: &str, descriptor: impl AsFd) -> Result<(), QmpError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor.as_fd()];
        // There is room for just this one.
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        // QEMU keeps what came last until the command asks for it; white space is no command.
        sendmsg(
            &self.stream,
            &[IoSlice::new(b" ")],
            &mut control,
            SendFlags::NOSIGNAL,
        )
        .map_err(|error| QmpError::Broken(error.into()))?;
        self.execute("getfd", &json!({ "fdname": name }))?;
        Ok(())
    }

    /// Waits for an event, such as `DEVICE_DELETED`. Events before it are dropped.
    ///
    /// # Errors
    ///
    /// - It does not come within the time, or the connection breaks.
    pub fn wait_event(&mut self, name: &str, within: Duration) -> Result<Value, QmpError> {
        let deadline = Instant::now() + within;
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => self.read_message(deadline)?,
            };
            if event["event"] == name {
                return Ok(event);
            }
        }
    }

    fn execute_until(
        &mut self,
        command: &str,
        arguments: &Value,
        deadline: Instant,
    ) -> Result<Value, QmpError> {
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({"execute": command, "arguments": arguments, "id": id});
        writeln!(self.stream, "{request}").map_err(QmpError::Broken)?;
        loop {
            let mut answer = self.read_message(deadline)?;
            if answer.get("event").is_some() {
                self.events.push_back(answer);
            } else if answer["id"] != id {
                return Err(QmpError::Unexpected(answer.to_string()));
            } else if let Some(error) = answer.get("error") {
                let reason = error["desc"].as_str().unwrap_or("no reason given");
                return Err(QmpError::Refused {
                    command: command.to_owned(),
                    reason: reason.to_owned(),
                });
            } else {
                return Ok(answer["return"].take());
            }
        }
    }

    fn read_message(&mut self, deadline: Instant) -> Result<Value, QmpError> {
        let line = self.read_line(deadline)?;
        serde_json::from_slice(&line)
            .map_err(|_| QmpError::Unexpected(String::from_utf8_lossy(&line).into_owned()))
    }

    fn read_line(&mut self, deadline: Instant) -> Result<Vec<u8>, QmpError> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                return Ok(self.rest.drain(..=end).collect());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(QmpError::TimedOut);
            }
            self.stream
                .set_read_timeout(Some(left))
                .map_err(QmpError::Broken)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(QmpError::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.rest.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The time limit of a read is reported as the first on Linux.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Err(QmpError::TimedOut);
                }
                Err(error) => return Err(QmpError::Broken(error)),
            }
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
