// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is seen, on a screen of any size, and as a table.

use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Row, Table, TableState};
use ratatui::Frame;

use super::sample::{Member, Ring, Sample};
use crate::command::table;

/// After so long without a heartbeat a member is shown as one that may be dead.
const STILL_MS: u64 = 2000;

/// Columns of a bar.
const BAR: u64 = 20;

const HEADINGS: [&str; 10] = [
    "SLOT", "NAME", "ID", "BEAT", "IN/s", "OUT/s", "MSG IN", "MSG OUT", "FILL", "WAITS",
];

/// By what members are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Slot,
    Name,
    In,
    Out,
    Fill,
}

impl Order {
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Slot => Self::Name,
            Self::Name => Self::In,
            Self::In => Self::Out,
            Self::Out => Self::Fill,
            Self::Fill => Self::Slot,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Name => "name",
            Self::In => "in",
            Self::Out => "out",
            Self::Fill => "fill",
        }
    }
}

/// What is on the screen.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) sample: Sample,
    pub(super) order: Order,
    pub(super) paused: bool,
    /// The slot whose rings are shown.
    pub(super) chosen: Option<u16>,
}

impl View {
    /// Returns the members in their order.
    fn members(&self) -> Vec<&Member> {
        let mut members: Vec<_> = self.sample.members.iter().collect();
        match self.order {
            Order::Slot => members.sort_by_key(|member| member.slot),
            Order::Name => members.sort_by(|one, other| one.name.cmp(&other.name)),
            Order::In => {
                members.sort_by_key(|member| std::cmp::Reverse(member.in_bytes_per_second))
            }
            Order::Out => {
                members.sort_by_key(|member| std::cmp::Reverse(member.out_bytes_per_second));
            }
            Order::Fill => members.sort_by_key(|member| std::cmp::Reverse(member.fill_percent)),
        }
        members
    }

    /// Returns where the chosen member is; the first one is if none is there that was chosen.
    fn position(&self, members: &[&Member]) -> usize {
        let chosen = |member: &&Member| Some(member.slot) == self.chosen;
        members.iter().position(chosen).unwrap_or(0)
    }

    /// Chooses the member `step` lines below.
    pub(super) fn choose(&mut self, step: isize) {
        let members = self.members();
        let last = members.len().saturating_sub(1);
        let next = self
            .position(&members)
            .saturating_add_signed(step)
            .min(last);
        self.chosen = members.get(next).map(|member| member.slot);
    }

    /// Draws all of it.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let members = self.members();
        let position = self.position(&members);
        let rings: Vec<_> = members.get(position).map_or_else(Vec::new, |member| {
            let is_its = |ring: &&Ring| ring.from == member.slot || ring.to == member.slot;
            self.sample.rings.iter().filter(is_its).collect()
        });
        let panel = if rings.is_empty() || frame.area().height < 12 {
            0
        } else {
            u16::try_from(rings.len())
                .unwrap_or(u16::MAX)
                .saturating_add(2)
                .min(frame.area().height / 2)
        };
        let [top, middle, bottom, keys] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(panel),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(self.title()), top);
        let widths = [4, 16, 5, 8, 9, 9, 8, 8, 5, 7];
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let rows = members.iter().map(|member| {
            let colour = if member.beat_age_ms > STILL_MS {
                Style::new().fg(Color::Red)
            } else {
                Style::new()
            };
            Row::new(cells(member)).style(colour)
        });
        let table = Table::new(rows, widths.map(Constraint::Length))
            .header(Row::new(HEADINGS).style(bold))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        let mut state = TableState::new().with_selected(Some(position));
        frame.render_stateful_widget(table, middle, &mut state);
        if panel > 0 {
            let lines: Vec<_> = rings.iter().map(|ring| Line::from(bar(ring))).collect();
            let block = Block::new().borders(Borders::TOP).title(" rings ");
            frame.render_widget(Paragraph::new(lines).block(block), bottom);
        }
        let help = format!(
            "q quit  s sort ({})  p pause  up/down choose",
            self.order.name()
        );
        frame.render_widget(Paragraph::new(help), keys);
    }

    fn title(&self) -> String {
        let sample = &self.sample;
        let what = match sample.contents {
            "region" => format!("{} of {} slots taken", sample.members.len(), sample.slots),
            "blank" => "blank".to_owned(),
            _ => "no region".to_owned(),
        };
        let paused = if self.paused { "  PAUSED" } else { "" };
        format!("ivshmem top: {what}, {}{paused}", sample.place)
    }
}

fn cells(member: &Member) -> [String; 10] {
    let waits = match member.pending {
        Some(pending) if pending > 0 => format!("{} {pending}!", member.waits),
        _ => member.waits.to_owned(),
    };
    [
        member.slot.to_string(),
        member.name.clone(),
        member
            .id
            .map_or_else(|| "-".to_owned(), |id| id.to_string()),
        format!("{} ms", member.beat_age_ms),
        short(member.in_bytes_per_second),
        short(member.out_bytes_per_second),
        short(member.in_messages_per_second),
        short(member.out_messages_per_second),
        format!("{}%", member.fill_percent),
        waits,
    ]
}

/// Returns the line of a ring, with a bar for how full it is.
fn bar(ring: &Ring) -> String {
    let percent = ring.percent();
    let filled = usize::try_from((percent * BAR).div_ceil(100).min(BAR)).unwrap_or(0);
    format!(
        "{:>3}:{:<3} [{:<width$}] {percent:>3}% of {:<8} {:>7}/s {:>7} msg/s  {}",
        ring.from,
        ring.to,
        "#".repeat(filled),
        table::bytes(ring.bytes as u64),
        short(ring.bytes_per_second),
        short(ring.messages_per_second),
        if ring.connected {
            ring.receiver
        } else {
            "not connected"
        },
        width = BAR as usize,
    )
}

/// Returns a number in at most five columns.
fn short(number: u64) -> String {
    let units = [
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
        (1000, "k"),
    ];
    match units.iter().find(|(unit, _)| number >= 10 * unit) {
        Some((unit, name)) => format!("{}{name}", number / unit),
        None => number.to_string(),
    }
}

/// Returns the members as a table, for who has no terminal.
pub(super) fn table(sample: &Sample) -> String {
    use table::Align::{Left, Right};
    let aligned = [
        Right, Left, Right, Right, Right, Right, Right, Right, Right, Left,
    ];
    let mut columns = [("", Left); 10];
    for (column, named) in columns.iter_mut().zip(HEADINGS.into_iter().zip(aligned)) {
        *column = named;
    }
    let mut table = table::Table::new(columns);
    for member in &sample.members {
        table.add(cells(member));
    }
    let view = View {
        sample: sample.clone(),
        ..View::default()
    };
    format!("{}\n\n{}", view.title(), table.render())
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;
    use ratatui::Terminal;

    use super::*;

    fn member(slot: u16, name: &str, rate: u64) -> Member {
        Member {
            slot,
            name: name.to_owned(),
            id: Some(slot + 7),
            beat_age_ms: 120,
            in_bytes_per_second: rate,
            out_bytes_per_second: 12_345_678,
            fill_percent: 42,
            waits: "sleeps",
            ..Member::default()
        }
    }

    fn view() -> View {
        let ring = Ring {
            from: 0,
            to: 1,
            connected: true,
            bytes: 8192,
            used_bytes: 3441,
            bytes_per_second: 999,
            messages_per_second: 10_000,
            receiver: "polls",
        };
        View {
            sample: Sample {
                place: "/dev/shm/x".to_owned(),
                contents: "region",
                slots: 16,
                members: vec![member(0, "beta", 5), member(1, "alpha", 70_000)],
                rings: vec![ring],
                ..Sample::default()
            },
            ..View::default()
        }
    }

    /// Returns the lines of a screen.
    fn lines(view: &View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let cell = |x, y| buffer.cell((x, y)).unwrap().symbol().to_owned();
        (0..height)
            .map(|y| (0..width).map(|x| cell(x, y)).collect::<String>())
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    #[test]
    fn the_screen_is_as_it_should_be() {
        let expected = [
            "ivshmem top: 2 of 16 slots taken, /dev/shm/x",
            "SLOT NAME             ID    BEAT     IN/s      OUT/s     MSG IN   MSG OUT  FILL  WAITS",
            "0    beta             7     120 ms   5         12M       0        0        42%   sleeps",
            "1    alpha            8     120 ms   70k       12M       0        0        42%   sleeps",
            "",
            "",
            "",
            "",
            "",
            " rings ",
            "  0:1   [#########           ]  42% of 8 KiB        999/s     10k msg/s  polls",
            "",
            "q quit  s sort (slot)  p pause  up/down choose",
        ];
        let seen = lines(&view(), 90, 13);
        for (line, (seen, expected)) in seen.iter().zip(expected).enumerate() {
            assert_eq!(
                seen.trim_end_matches('─'),
                expected.trim_end_matches('─'),
                "line {line}"
            );
        }
    }

    #[test]
    fn members_are_sorted_and_the_chosen_one_stays_so() {
        let mut view = view();
        let names = |view: &View| {
            let members = view.members();
            members
                .iter()
                .map(|member| member.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&view), ["beta", "alpha"]);
        view.choose(1);
        assert_eq!(view.chosen, Some(1));
        view.order = view.order.next();
        assert_eq!(names(&view), ["alpha", "beta"]);
        assert_eq!(view.position(&view.members()), 0);
        view.choose(-1);
        assert_eq!(view.chosen, Some(1));
        view.choose(5);
        assert_eq!(view.chosen, Some(0));
        let mut order = view.order;
        for _ in 0..5 {
            order = order.next();
        }
        assert_eq!(order, view.order);
    }

    #[test]
    fn any_size_of_screen_is_drawn_on() {
        let mut view = view();
        view.paused = true;
        for width in [0, 1, 2, 10, 40, 300] {
            for height in [0, 1, 2, 3, 5, 12, 80] {
                assert_eq!(lines(&view, width, height).len(), usize::from(height));
            }
        }
        let nothing = View::default();
        assert!(lines(&nothing, 80, 24)[0].contains("no region"));
        assert!(lines(&view, 80, 24)[0].ends_with("PAUSED"));
    }

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0, "0"),
            (9999, "9999"),
            (10_000, "10k"),
            (9_999_999, "9999k"),
            (10_000_000, "10M"),
        ];
        for (number, text) in cases {
            assert_eq!(short(number), text);
        }
    }
}
