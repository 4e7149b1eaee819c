//! What the demo shows: a live picture of the keys on a terminal, a plain log elsewhere.

use std::io::{IsTerminal, Stdout, Write as _, stdout};

use ratatui::backend::CrosstermBackend;
use ratatui::layout::Constraint;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, Widget};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use crate::pool::Health;
use crate::pot::{KeyView, Overview};

/// Lines of the live picture: a frame with a head and three keys in it.
const HEIGHT: u16 = 6;

/// Where the demo's words and figures go.
pub enum Picture {
    /// The live picture at the bottom, words scrolling above it.
    Live(Box<Terminal<CrosstermBackend<Stdout>>>),
    /// Words only, and the figures as a line where they matter.
    Log,
}

impl Picture {
    /// A live picture when there is a terminal to draw on and `plain` was not asked for.
    pub fn new(plain: bool) -> Self {
        if plain || !stdout().is_terminal() {
            return Self::Log;
        }
        let options = TerminalOptions { viewport: Viewport::Inline(HEIGHT) };
        Terminal::with_options(CrosstermBackend::new(stdout()), options).map_or(Self::Log, |t| Self::Live(Box::new(t)))
    }

    /// The title of an act.
    pub fn act(&mut self, title: &str) {
        self.write("", Style::new());
        self.write(title, Style::new().add_modifier(Modifier::BOLD).fg(Color::Cyan));
    }

    /// A line of the story.
    pub fn say(&mut self, line: &str) {
        self.write(line, Style::new());
    }

    fn write(&mut self, line: &str, style: Style) {
        match self {
            // A reader that went away (`| head`) is no reason to stop either.
            Self::Log => writeln!(stdout(), "{line}").unwrap_or_default(),
            Self::Live(terminal) => {
                let text = Paragraph::new(Line::styled(line.to_owned(), style));
                // A terminal that went away is no reason to stop serving.
                terminal.insert_before(1, |buffer| text.render(buffer.area, buffer)).ok();
            }
        }
    }

    /// Draw the keys as they are now.
    pub fn draw(&mut self, overview: &Overview) {
        if let Self::Live(terminal) = self {
            terminal.draw(|frame| draw(frame, overview)).ok();
        }
    }

    /// Leave the terminal as it was, below the last picture.
    pub fn leave(&mut self) {
        if let Self::Live(terminal) = self {
            terminal.show_cursor().ok();
            println!();
        }
    }

    /// The keys as a table: the last thing a log shows of an act.
    pub fn sum_up(&mut self, overview: &Overview) {
        self.draw(overview);
        if matches!(self, Self::Log) {
            for key in &overview.keys {
                let [label, state, served, spent, _] = columns(key, overview);
                self.say(&format!("    {label:<9} {state:<13} {served:>9} served  {spent:>16}"));
            }
        }
    }
}

fn draw(frame: &mut Frame<'_>, overview: &Overview) {
    let rows = overview.keys.iter().map(|key| {
        let [label, state, served, spent, bar] = columns(key, overview);
        Row::new([
            Cell::from(label).style(Style::new().add_modifier(Modifier::BOLD)),
            Cell::from(state).style(Style::new().fg(colour(key.state.health))),
            Cell::from(Line::from(served).right_aligned()),
            Cell::from(Line::from(spent).right_aligned()),
            Cell::from(bar).style(Style::new().fg(Color::Cyan)),
        ])
    });
    let widths = [
        Constraint::Length(9),
        Constraint::Length(14),
        Constraint::Length(9),
        Constraint::Length(18),
        Constraint::Min(10),
    ];
    let head = Row::new(["key", "state", "served", "spent", "share"]).style(Style::new().add_modifier(Modifier::DIM));
    let foot = format!(
        " spent today {} · cost being looked up: {} · under way: {} ",
        overview.spent_today, overview.suspense.open, overview.in_flight
    );
    let block = Block::bordered().title(" potluck ").title_bottom(foot);
    frame.render_widget(Table::new(rows, widths).header(head).block(block), frame.area());
}

fn columns(key: &KeyView, overview: &Overview) -> [String; 5] {
    const BAR: u64 = 24;
    let all: u64 = overview.keys.iter().map(|k| k.totals.successes).sum();
    let share = (key.totals.successes * BAR).checked_div(all).unwrap_or(0);
    let marker = if overview.last_key == Some(key.id) { " ◂" } else { "" };
    let mut bar = "█".repeat(usize::try_from(share).unwrap_or(0));
    bar.push_str(marker);
    [
        key.label.clone().unwrap_or_else(|| key.id.to_string()),
        key.state.health.name().to_owned(),
        key.totals.successes.to_string(),
        key.totals.spent_total.to_string(),
        bar,
    ]
}

fn colour(health: Health) -> Color {
    match health {
        Health::Healthy => Color::Green,
        Health::Degraded | Health::RateLimited => Color::Yellow,
        Health::Depleted | Health::Failed => Color::Red,
    }
}
