// SPDX-License-Identifier: MIT OR Apache-2.0
//! The figures of the benchmark, for people and for programs.

use std::fmt;

use ivshmem_scenarios::bench::{Row, What};
use ivshmem_scenarios::demo::Role;
use serde_json::{json, Value};

use crate::figures::Time;
use crate::tools::Tools;

/// Everything measured, and on what.
#[derive(Clone, Debug)]
pub struct Table {
    qemu: String,
    accelerator: String,
    rows: Vec<(Role, Row)>,
}

impl Table {
    pub fn new(tools: &Tools) -> Self {
        Self {
            qemu: tools.qemu.version.clone(),
            accelerator: tools.accelerator.kind.name().into(),
            rows: Vec::new(),
        }
    }

    /// Adds what guest A has measured with `other`.
    pub fn add(&mut self, other: Role, row: Row) {
        self.rows.push((other, row));
    }

    pub fn to_json(&self) -> Value {
        let row = |(other, row): &(Role, Row)| {
            let (what, wait) = match row.what {
                What::RoundTrip(manner) => ("round-trip", Some(manner.name())),
                What::Stream => ("stream", None),
            };
            json!({
                "with": other.name(),
                "what": what,
                "wait": wait,
                "bytes": row.bytes,
                "channel": row.channel,
                "bare": row.bare,
                "ratio_percent": row.ratio_percent,
            })
        };
        json!({
            "qemu": self.qemu,
            "accelerator": self.accelerator,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "guest A with  what                   bytes      channel         bare  channel / bare"
        )?;
        for (other, row) in &self.rows {
            let figure = |figure: u64| match row.what {
                What::RoundTrip(_) => Time(figure).to_string(),
                What::Stream => format!("{figure}/s"),
            };
            let what = match row.what {
                What::RoundTrip(manner) => format!("round trip, {}", manner.name()),
                What::Stream => "messages".into(),
            };
            writeln!(
                f,
                "{:<13} {what:<20} {:>7} {:>12} {:>12} {:>15.2}",
                other.to_string(),
                row.bytes,
                figure(row.channel),
                figure(row.bare),
                row.ratio_percent as f64 / 100.0,
            )?;
        }
        write!(
            f,
            "QEMU {}, accelerator {}; medians of rounds in turn, so only the ratios tell much",
            self.qemu, self.accelerator
        )?;
        if cfg!(debug_assertions) {
            write!(
                f,
                "\nthis process is not optimized; cargo run --release -p xtask -- bench is"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::qemu::field;
    use ivshmem_scenarios::party::Manner;

    use super::*;

    #[test]
    fn a_guests_line_becomes_a_row() {
        for (what, wait) in [
            (What::Stream, ""),
            (What::RoundTrip(Manner::Polling), "wait=polling"),
        ] {
            let row = Row {
                what,
                bytes: 64,
                channel: 1_500,
                bare: 1_000,
                ratio_percent: 150,
            };
            let line = format!("@ bench with=b {row}");
            assert!(line.contains(wait));
            assert_eq!(Row::parse(|key| field(&line, key)), Some(row));
            let broken = line.replace("bare=", "bear=");
            assert_eq!(Row::parse(|key| field(&broken, key)), None);
        }
    }
}
