// SPDX-License-Identifier: MIT OR Apache-2.0
//! What has happened since the start.

use super::event::{Event, Fault, Refusal};
use crate::admin::{Counters, CutOff, Refused};

impl Counters {
    /// Counts `event`.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Joined { .. } => self.joined += 1,
            Event::Left { .. } => self.left += 1,
            Event::CutOff { fault, .. } => self.cut_off.note(*fault),
            Event::Refused { reason, .. } => self.refused.note(*reason),
            // The first is reported once for many failures.
            Event::AcceptFailed(_)
            | Event::HandedOver { .. }
            | Event::HandoverFailed(_)
            | Event::Alive
            | Event::Stopping { .. } => {}
        }
    }
}

impl CutOff {
    fn note(&mut self, fault: Fault) {
        match fault {
            Fault::Spoke => self.spoke += 1,
            Fault::Connection(_) => self.connection += 1,
        }
    }
}

impl Refused {
    fn note(&mut self, reason: Refusal) {
        match reason {
            Refusal::Full { .. } => self.full += 1,
            Refusal::NoIdLeft => self.no_id_left += 1,
            Refusal::System(_) | Refusal::Watch(_) => self.system += 1,
        }
    }
}
