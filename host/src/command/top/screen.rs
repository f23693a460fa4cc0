// SPDX-License-Identifier: MIT OR Apache-2.0
//! The terminal while it is taken: keys, and that it is given back whatever happens.

use std::io;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;

use super::sample::{Sample, Sampler};
use super::view::View;
use crate::command::interrupt::Interrupt;
use crate::command::{Exit, Failure};

/// How long a signal may go unseen.
const PATIENCE: Duration = Duration::from_millis(100);

/// The terminal, given back on drop; a panic gives it back as well, before its message is printed.
struct Taken(DefaultTerminal);

impl Drop for Taken {
    fn drop(&mut self) {
        // Where that fails there is no terminal any more.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Stay,
    End,
}

/// Shows what the sampler sees, from `first` on, until a key or a signal ends it.
pub(super) fn run(
    sampler: &mut Sampler<'_>,
    first: Sample,
    interval: Duration,
) -> Result<Exit, Failure> {
    let interrupt = Interrupt::catch()?;
    let failed = |error: io::Error| Failure::new(format!("cannot use the terminal: {error}"));
    let mut terminal = match ratatui::try_init() {
        Ok(terminal) => Taken(terminal),
        Err(error) => {
            // It may be half taken.
            let _ = ratatui::try_restore();
            return Err(failed(error));
        }
    };
    let mut view = View {
        sample: first,
        ..View::default()
    };
    let mut due = Instant::now() + interval;
    while !interrupt.came() {
        terminal.0.draw(|frame| view.draw(frame)).map_err(failed)?;
        let left = due.saturating_duration_since(Instant::now());
        if event::poll(left.min(PATIENCE)).map_err(failed)? {
            // A new size is drawn as well.
            if let Event::Key(key) = event::read().map_err(failed)? {
                if press(&mut view, key) == Next::End {
                    break;
                }
            }
        }
        if Instant::now() >= due {
            due = Instant::now() + interval;
            if !view.paused {
                view.sample = sampler.look();
            }
        }
    }
    Ok(Exit::Success)
}

/// Does what a key asks for.
fn press(view: &mut View, key: KeyEvent) -> Next {
    if key.kind == KeyEventKind::Release {
        return Next::Stay;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Next::End,
        KeyCode::Char('q') | KeyCode::Esc => return Next::End,
        KeyCode::Char('s') => view.order = view.order.next(),
        KeyCode::Char('p' | ' ') => view.paused = !view.paused,
        KeyCode::Up | KeyCode::Char('k') => view.choose(-1),
        KeyCode::Down | KeyCode::Char('j') => view.choose(1),
        _ => {}
    }
    Next::Stay
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::top::view::Order;

    #[test]
    fn keys_do_what_the_help_says() {
        let mut view = View::default();
        let mut press = |code| press(&mut view, KeyEvent::new(code, KeyModifiers::NONE));
        for code in ['s', 'p', 'j', 'k', 'x'].map(KeyCode::Char) {
            assert_eq!(press(code), Next::Stay);
        }
        assert_eq!(press(KeyCode::Down), Next::Stay);
        assert_eq!(press(KeyCode::Char('q')), Next::End);
        assert_eq!(press(KeyCode::Esc), Next::End);
        assert_eq!((view.order, view.paused), (Order::Name, true));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(super::press(&mut view, interrupt), Next::End);
    }
}
