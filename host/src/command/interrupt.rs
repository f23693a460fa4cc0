// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ctrl-C, for commands that have something to finish: [`Interrupt`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::pipe;

use super::{Failure, FAILURE};

/// Whether SIGINT or SIGTERM has come. The second one ends the process where it is.
#[derive(Debug)]
pub(super) struct Interrupt {
    came: Arc<AtomicBool>,
    pipe: UnixStream,
}

impl Interrupt {
    /// Catches the signals from now on.
    pub(super) fn catch() -> Result<Self, Failure> {
        Self::try_catch().map_err(|error| Failure::new(format!("cannot catch signals: {error}")))
    }

    fn try_catch() -> io::Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        let (read, write) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            // In this order, or the first would end the process.
            flag::register_conditional_shutdown(signal, FAILURE.into(), Arc::clone(&came))?;
            flag::register(signal, Arc::clone(&came))?;
            pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self { came, pipe: read })
    }

    pub(super) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }
}

/// A descriptor that is readable from the first signal on.
impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
