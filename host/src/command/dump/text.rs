// SPDX-License-Identifier: MIT OR Apache-2.0
//! A report for people to read.

use std::fmt::Write;

use super::report::{Frame, Report, RingReport, SideReport, Wrong};
use crate::command::table::{bytes, Align, Table};

/// Bytes of a frame on each line.
const LINE: usize = 16;

/// Whether what is wrong is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Red,
    Plain,
}

impl Colour {
    /// Returns how to write to stdout: in colour to a terminal, unless NO_COLOR says no.
    pub(super) fn of(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_terminal && !refused {
            Self::Red
        } else {
            Self::Plain
        }
    }

    fn paint(self, line: &str) -> String {
        match self {
            Self::Red => format!("\x1b[31m{line}\x1b[0m"),
            Self::Plain => line.to_owned(),
        }
    }
}

/// Renders a report.
pub(super) fn render(report: &Report, colour: Colour) -> String {
    let mut page = Page {
        text: String::new(),
        wrong: &report.findings,
        colour,
    };
    page.line(&format!(
        "memory  {}, {}",
        report.place,
        bytes(report.bytes as u64)
    ));
    match (&report.region, report.contents) {
        (Some(region), _) => page.line(&format!(
            "region  version {}, epoch {}, {} slots at 0x80, {} rings of {} at {:#x} to {:#x}",
            region.version,
            region.epoch,
            region.slots,
            usize::from(region.slots) * (usize::from(region.slots) - 1),
            bytes(region.ring_bytes as u64),
            region.rings_offset,
            region.end_offset,
        )),
        (None, "blank") => {
            page.line("region  none yet: the memory is blank, whoever opens it first formats it")
        }
        (None, _) => page.line("region  none that can be read"),
    }
    page.findings("header");
    slots(&mut page, report);
    rings(&mut page, report);
    if report.region.is_some() || !report.findings.is_empty() {
        let summary = match report.findings.len() {
            0 => "nothing is wrong".to_owned(),
            1 => "1 thing is wrong".to_owned(),
            count => format!("{count} things are wrong"),
        };
        page.line(&format!("\n{summary}"));
    }
    page.text
}

/// Lines, with what is wrong behind those that it belongs to.
struct Page<'r> {
    text: String,
    wrong: &'r [Wrong],
    colour: Colour,
}

impl Page<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn findings(&mut self, part: &str) {
        for wrong in self.wrong.iter().filter(|wrong| wrong.part == part) {
            let line = format!(
                "!! {part} at {:#x}: {}: {}",
                wrong.offset, wrong.problem, wrong.text
            );
            let line = self.colour.paint(&line);
            self.line(&line);
        }
    }

    /// Adds a table, of whose rows each is about a part and has more lines behind it.
    fn table<const N: usize>(&mut self, table: &Table<N>, rows: &[(String, String)]) {
        self.line("");
        let rendered = table.render();
        let mut lines = rendered.lines();
        if let Some(heading) = lines.next() {
            self.line(heading);
        }
        for (line, (part, more)) in lines.zip(rows) {
            self.line(line);
            self.text.push_str(more);
            self.findings(part);
        }
    }
}

fn slots(page: &mut Page<'_>, report: &Report) {
    if report.slots.is_empty() {
        return;
    }
    let mut table = Table::new([
        ("SLOT", Align::Right),
        ("STATE", Align::Left),
        ("NAME", Align::Left),
        ("INCARNATION", Align::Right),
        ("HEARTBEAT", Align::Right),
        ("ID", Align::Right),
        ("VECTORS", Align::Right),
        ("AT", Align::Right),
    ]);
    let mut rows = Vec::new();
    for slot in &report.slots {
        table.add([
            slot.slot.to_string(),
            slot.state.to_owned(),
            slot.name.clone().unwrap_or_else(nothing),
            slot.incarnation.to_string(),
            shown(slot.heartbeat),
            shown(slot.id),
            shown(slot.vectors),
            format!("{:#x}", slot.offset),
        ]);
        rows.push((format!("slot {}", slot.slot), String::new()));
    }
    page.table(&table, &rows);
}

fn rings(page: &mut Page<'_>, report: &Report) {
    if report.rings.is_empty() {
        return;
    }
    let mut table = Table::new([
        ("RING", Align::Right),
        ("STATE", Align::Left),
        ("HEAD", Align::Right),
        ("TAIL", Align::Right),
        ("USED", Align::Right),
        ("FRAMES", Align::Right),
        ("SENDER", Align::Left),
        ("RECEIVER", Align::Left),
        ("AT", Align::Right),
    ]);
    let mut rows = Vec::new();
    for ring in &report.rings {
        table.add([
            format!("{}:{}", ring.from, ring.to),
            ring.state.to_owned(),
            shown(ring.head),
            shown(ring.tail),
            used(ring),
            ring.frame_count.to_string(),
            side(&ring.producer),
            side(&ring.consumer),
            format!("{:#x}", ring.offset),
        ]);
        let frames = ring.frames.iter().flatten().map(frame).collect();
        rows.push((format!("ring {}:{}", ring.from, ring.to), frames));
    }
    page.table(&table, &rows);
}

/// Returns what is used of a ring, in percent.
fn used(ring: &RingReport) -> String {
    ring.used_bytes.map_or_else(nothing, |used| {
        format!("{used} ({}%)", used * 100 / ring.bytes.max(1))
    })
}

/// Returns what a side does, as far as it says.
fn side(side: &SideReport) -> String {
    match (side.standing, side.wish, side.sleeps) {
        ("current", _, true) => "sleeps",
        ("current", None, _) => "polls",
        ("current", ..) => "awake",
        ("other", ..) => "before",
        _ => "-",
    }
    .to_owned()
}

/// Returns the lines of a frame.
fn frame(frame: &Frame) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "      {:#x}: position {}, {} of {} bytes{}",
        frame.offset,
        frame.position,
        frame.kind,
        frame.bytes,
        if frame.more { ", goes on" } else { "" },
    );
    let digits = frame.payload.as_deref().unwrap_or_default().as_bytes();
    for (line, digits) in digits.chunks(2 * LINE).enumerate() {
        let _ = writeln!(text, "        {:04x}  {}", line * LINE, dumped(digits));
    }
    text
}

/// Returns up to [`LINE`] bytes, given in digits, in columns and as text.
fn dumped(digits: &[u8]) -> String {
    let bytes = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        (pair, u8::from_str_radix(pair, 16).unwrap_or(0))
    });
    let mut columns = String::new();
    let mut text = String::new();
    for (pair, byte) in bytes {
        columns.push_str(pair);
        columns.push(' ');
        text.push(if byte.is_ascii_graphic() || byte == b' ' {
            byte.into()
        } else {
            '.'
        });
    }
    format!("{columns:<width$} {text}", width = 3 * LINE)
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(nothing, |value| value.to_string())
}

fn nothing() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_columns_and_as_text() {
        let line = dumped(b"00417a207f");
        assert!(line.starts_with("00 41 7a 20 7f   "), "{line}");
        assert!(line.ends_with("  .Az ."), "{line}");
        assert_eq!(line.len(), 3 * LINE + 1 + 5);
    }
}
