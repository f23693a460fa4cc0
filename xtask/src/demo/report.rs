// SPDX-License-Identifier: MIT OR Apache-2.0
//! The figures of the demo: a table for people and JSON for programs.

use std::fmt;

use ivshmem::PeerId;
use ivshmem_scenarios::demo::Role;
use ivshmem_scenarios::party::{Figures, Manner};
use serde_json::{json, Value};

use super::relay::Transfer;
use crate::figures::Time;
use crate::qemu::field;
use crate::tools::Tools;

/// The round trips of one pair in one way of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Who measured.
    pub from: Role,
    /// Who answered.
    pub to: Role,
    /// How both waited.
    pub wait: Manner,
    /// What came out.
    pub figures: Figures,
    /// Doorbells that the measuring side heard.
    pub doorbells: u64,
}

impl Series {
    /// Returns the series that a guest's line tells of.
    pub fn from_line(line: &str) -> Option<Self> {
        let number = |key| field(line, key)?.parse().ok();
        Some(Self {
            from: Role::from_name(field(line, "from")?)?,
            to: Role::from_name(field(line, "to")?)?,
            wait: Manner::from_name(field(line, "wait")?)?,
            figures: Figures {
                count: field(line, "count")?.parse().ok()?,
                p50_ns: number("p50_ns")?,
                p99_ns: number("p99_ns")?,
                max_ns: number("max_ns")?,
            },
            doorbells: field(line, "doorbells")?.parse().ok()?,
        })
    }

    fn to_json(self) -> Value {
        json!({
            "from": self.from.name(),
            "to": self.to.name(),
            "wait": self.wait.name(),
            "count": self.figures.count,
            "p50_ns": self.figures.p50_ns,
            "p99_ns": self.figures.p99_ns,
            "max_ns": self.figures.max_ns,
            "doorbells": self.doorbells,
        })
    }
}

/// Everything measured, and on what.
#[derive(Clone, Debug)]
pub struct Report {
    qemu: String,
    accelerator: String,
    ids: [(Role, PeerId); 3],
    series: Vec<Series>,
    /// The file's.
    pub transfer: Option<Transfer>,
}

impl Report {
    /// Starts a report of guests with `guests` as IDs of A and B.
    pub fn new(tools: &Tools, guests: (PeerId, PeerId), host: PeerId) -> Self {
        Self {
            qemu: tools.qemu.version.clone(),
            accelerator: tools.accelerator.kind.name().into(),
            ids: [(Role::A, guests.0), (Role::B, guests.1), (Role::Host, host)],
            series: Vec::new(),
            transfer: None,
        }
    }

    /// Adds a series.
    pub fn add(&mut self, series: Series) {
        self.series.push(series);
    }

    /// Returns the figures for programs.
    pub fn to_json(&self) -> Value {
        let ids = self.ids.iter();
        json!({
            "qemu": self.qemu,
            "accelerator": self.accelerator,
            "peers": ids.map(|(role, id)| (role.name().to_string(), json!(id.0))).collect::<serde_json::Map<_, _>>(),
            "file": self.transfer.map(Transfer::to_json),
            "round_trips": self.series.iter().map(|series| series.to_json()).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "round trips     by         count        p50        p99        max  doorbells"
        )?;
        for series in &self.series {
            let figures = series.figures;
            writeln!(
                f,
                "{:<4} <-> {:<6} {:<10} {:>5} {:>10} {:>10} {:>10} {:>10}",
                series.from.to_string(),
                series.to.to_string(),
                series.wait.name(),
                figures.count,
                Time(figures.p50_ns.into()).to_string(),
                Time(figures.p99_ns.into()).to_string(),
                Time(figures.max_ns.into()).to_string(),
                series.doorbells,
            )?;
        }
        write!(
            f,
            "QEMU {}, accelerator {}; times are of this machine, now",
            self.qemu, self.accelerator
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_line_becomes_a_series() {
        let line = "@ figures from=a to=b wait=polling count=10000 p50_ns=130 p99_ns=150 max_ns=9000 doorbells=0";
        let series = Series::from_line(line).unwrap();
        assert_eq!((series.from, series.to), (Role::A, Role::B));
        assert_eq!(series.figures.p99_ns, 150);
        assert_eq!(series.to_json()["wait"], "polling");
        assert_eq!(Series::from_line("@ figures from=a to=b"), None);
        assert_eq!(Series::from_line(&line.replace("polling", "magic")), None);
    }
}
