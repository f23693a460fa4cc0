// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables and quantities for people to read.

use super::harmless::harmless;

/// On which side of its column a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table with a line of headings.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    columns: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// Creates a table without rows.
    pub(super) fn new(columns: [(&str, Align); N]) -> Self {
        Self {
            columns: columns.map(|(_, align)| align),
            rows: vec![columns.map(|(heading, _)| heading.to_owned())],
        }
    }

    /// Adds a row. Its cells may have names that others have chosen.
    pub(super) fn add(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| harmless(&cell).into_owned()));
    }

    /// Returns the lines of the table, each column as wide as its widest cell, two spaces apart.
    pub(super) fn render(&self) -> String {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(widths)
                .zip(self.columns)
                .map(|((cell, width), align)| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                })
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Returns a number of bytes, in the largest unit that divides it.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    units
        .iter()
        .find(|(shift, _)| bytes != 0 && bytes.is_multiple_of(1 << shift))
        .map_or_else(
            || format!("{bytes} bytes"),
            |(shift, unit)| format!("{} {unit}", bytes >> shift),
        )
}

/// Returns a time of so many seconds in its two largest units, or in days if there are ten or more.
pub(super) fn seconds(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        86_400..=863_999 => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let mut table = Table::new([("ID", Align::Right), ("NAME", Align::Left)]);
        table.add(["1".to_owned(), "größer".to_owned()]);
        table.add(["1234".to_owned(), "x".to_owned()]);
        assert_eq!(table.render(), "  ID  NAME\n   1  größer\n1234  x\n");
    }

    #[test]
    fn quantities_are_short_and_exact_where_it_matters() {
        for (number, text) in [
            (0, "0 bytes"),
            (4095, "4095 bytes"),
            (4096, "4 KiB"),
            (1 << 22, "4 MiB"),
            (3 << 30, "3 GiB"),
            (1 << 43, "8 TiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        for (number, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3600, "1 h 0 min"),
            (90_000, "1 d 1 h"),
            (864_000, "10 d"),
        ] {
            assert_eq!(seconds(number), text);
        }
    }
}
