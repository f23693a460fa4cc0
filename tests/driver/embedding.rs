// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `docs/embedding.md` says about the size of the examples. That they compile and run, they test themselves.

const PAGE: &str = include_str!("../../docs/embedding.md");

/// Returns the number of lines that do something: no blanks, comments and imports.
fn lines(source: &str) -> usize {
    let no_code =
        |line: &&str| line.is_empty() || ["//", "use "].iter().any(|start| line.starts_with(start));
    let lines = source.lines().map(str::trim);
    lines.clone().count() - lines.filter(no_code).count()
}

#[test]
fn the_glue_of_each_kernel_is_under_50_lines_as_the_page_says() {
    let hermit = lines(include_str!("../../examples/hermit/glue.rs"));
    let attach = lines(include_str!("../../examples/theseus/glue.rs"));
    let parts = lines(include_str!("../../examples/theseus/parts.rs"));
    let glue = lines(include_str!("../../examples/asterinas/glue.rs"));
    let shim = lines(include_str!("../../examples/asterinas/shim.rs"));
    let asterinas = glue + shim;
    for count in [hermit, attach, parts, asterinas] {
        assert!((10..50).contains(&count), "{count} lines");
    }
    for row in [
        format!("| Hermit | {hermit} |"),
        format!("| Theseus, by `attach` | {attach} |"),
        format!("| Theseus, by `Parts` | {parts} |"),
        format!("| Asterinas | {asterinas}, of which {shim} in the shim |"),
    ] {
        assert!(PAGE.contains(&row), "the page lacks: {row}");
    }
}
