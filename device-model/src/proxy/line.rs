// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt line of a lent device.

use rustix::io::Errno;

use super::Report;
use crate::adapters::{Fd, Wiring};
use crate::{Level, MsiMessage, Notice};

/// A level-triggered line that QEMU, or KVM on its behalf, takes from an eventfd.
///
/// Ringing the eventfd asserts the interrupt. There is no way to take that back; instead QEMU rings the second
/// eventfd when the guest has ended the interrupt, and the line is looked at again.
#[derive(Debug)]
pub(super) struct Line<R> {
    level: Level,
    pins: Option<Pins>,
    report: R,
}

#[derive(Debug)]
struct Pins {
    event: Fd,
    resample: Fd,
}

impl<R: FnMut(Report)> Line<R> {
    pub(super) const fn new(report: R) -> Self {
        Self {
            level: Level::Low,
            pins: None,
            report,
        }
    }

    /// Connects the line to QEMU's interrupt controller, in place of what it was connected to, and returns that
    /// one's `resample`.
    pub(super) fn connect(&mut self, event: Fd, resample: Fd) -> Option<Fd> {
        let old = self.pins.replace(Pins { event, resample });
        self.assert();
        old.map(|pins| pins.resample)
    }

    /// Looks whether the guest has ended an interrupt, and asserts it again if the line is still high.
    ///
    /// # Errors
    ///
    /// - The descriptor cannot be read.
    pub(super) fn resample(&self) -> Result<(), Errno> {
        let Some(pins) = &self.pins else {
            return Ok(());
        };
        if pins.resample.take()?.is_some() {
            self.assert();
        }
        Ok(())
    }

    pub(super) fn report(&mut self, what: Report) {
        (self.report)(what);
    }

    fn assert(&self) {
        if let (Level::High, Some(pins)) = (self.level, &self.pins) {
            pins.event.ring();
        }
    }
}

impl<R: FnMut(Report)> Wiring for Line<R> {
    /// Nothing: QEMU's proxy has no way for it, and no device with MSI-X is lent.
    fn message(&mut self, _message: MsiMessage) {}

    fn line(&mut self, level: Level) {
        self.level = level;
        if let (Level::High, Some(pins)) = (level, &self.pins) {
            // The end of an interrupt before this one: looked at later, it would assert this one a second time. One
            // that cannot be read is an error when it is looked at.
            let _ = pins.resample.take();
        }
        self.assert();
    }

    fn notice(&mut self, notice: Notice) {
        self.report(Report::Notice(notice));
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{eventfd, EventfdFlags};

    use super::*;

    type Reporter = fn(Report);

    /// A line with its two eventfds.
    fn line() -> (Line<Reporter>, Fd, Fd) {
        let event = || Fd::new(eventfd(0, EventfdFlags::empty()).unwrap()).unwrap();
        let (interrupt, resample) = (event(), event());
        let mut line = Line::new((|_| ()) as Reporter);
        line.connect(interrupt.clone(), resample.clone());
        (line, interrupt, resample)
    }

    #[test]
    fn a_line_that_is_high_is_asserted_again_at_the_end_of_an_interrupt() {
        let (mut line, interrupt, resample) = line();
        line.line(Level::High);
        assert_eq!(interrupt.take(), Ok(Some(1)));
        resample.ring();
        line.resample().unwrap();
        assert_eq!(interrupt.take(), Ok(Some(1)));
        line.line(Level::Low);
        resample.ring();
        line.resample().unwrap();
        assert_eq!(interrupt.take(), Ok(None));
    }

    #[test]
    fn the_end_of_the_interrupt_before_does_not_count_for_the_next() {
        let (mut line, interrupt, resample) = line();
        resample.ring();
        line.line(Level::High);
        line.resample().unwrap();
        assert_eq!(interrupt.take(), Ok(Some(1)));
    }
}
