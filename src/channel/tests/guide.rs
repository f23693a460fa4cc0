// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `docs/channels.md` says about sizes.

use std::string::String;
use std::vec::Vec;

use crate::channel::layout::Geometry;

const GUIDE: &str = include_str!("../../../docs/channels.md");

/// Returns the cells of a row of a table.
fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// Returns a number of bytes such as `64 KiB`.
fn bytes(text: &str) -> usize {
    let (number, unit) = text.split_once(' ').expect(text);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => panic!("{text}"),
    };
    number.parse::<usize>().expect(text) << shift
}

#[test]
fn sizes_of_rings() {
    let mut lines = GUIDE.lines();
    let head = lines.find(|line| line.starts_with("| region |"));
    let slots = cells(head.expect("the table of ring sizes"));
    let rows: Vec<Vec<&str>> = lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect();
    assert_eq!((rows.len(), slots.len()), (4, 5), "{rows:?}");
    for row in rows {
        for (slots, size) in slots.iter().zip(&row).skip(1) {
            let slots = String::from(*slots).replace(" slots", "");
            let divided = Geometry::divide(bytes(row[0]), slots.parse().expect(&slots), None, 1);
            let said = match *size {
                "none fit" => None,
                size => Some(bytes(size).trailing_zeros()),
            };
            let ring_log2 = divided.map(|geometry| geometry.ring_log2);
            assert_eq!(ring_log2, said, "{} with {slots} slots", row[0]);
        }
    }
}
