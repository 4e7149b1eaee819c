//! What goes to the terminal, and what is typed there.

use std::io::{self, IsTerminal, Read, Write, stdin};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Serialize;
use zeroize::Zeroizing;

use super::CliError;

/// Write to standard output. A reader that has seen enough (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output(why)),
        _ => Ok(()),
    }
}

/// Write an answer as JSON.
pub(super) fn print_json(answer: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(answer).map_err(|why| CliError::Output(why.into()))?;
    print(&(text + "\n"))
}

/// Write a line that holds other people's text.
pub(super) fn print_line(text: &str) -> Result<(), CliError> {
    print(&(plain(text.trim_end()) + "\n"))
}

/// Text of other people's (labels, names, notes, refusals) without anything a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_invisible(c) { '\u{fffd}' } else { c }).collect()
}

/// Characters that reorder or hide what is around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The name a closed enum has on the wire.
pub(super) fn name_of(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A table with these columns; cells are made plain.
pub(super) fn table<const N: usize>(columns: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns);
    for row in rows {
        table.add_row(row.iter().map(|cell| Cell::new(plain(cell))));
    }
    format!("{table}\n")
}

/// A secret from standard input: typed without being shown, or piped in.
pub(super) fn read_secret(prompt: &str) -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::new());
    if stdin().is_terminal() {
        let shown = HiddenInput::new().map_err(CliError::Input)?;
        eprint!("{prompt}");
        let read = stdin().read_line(&mut text);
        drop(shown);
        eprintln!();
        read.map_err(CliError::Input)?;
    } else {
        stdin().take(SECRETS_MAX_BYTES).read_to_string(&mut text).map_err(CliError::Input)?;
    }
    Ok(text)
}

/// Room for 100,000 keys; anything larger is some other file.
const SECRETS_MAX_BYTES: u64 = 16 << 20;

/// While it lives, what is typed is not shown.
struct HiddenInput(Termios);

impl HiddenInput {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // Nothing more can be done about a terminal that has gone.
        tcsetattr(stdin(), OptionalActions::Flush, &self.0).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_peoples_text_cannot_command_the_terminal() {
        let check = |text: &str, shown: &str| assert_eq!(plain(text), shown);
        check("alice", "alice");
        check("Zoë 🍲", "Zoë 🍲");
        check("\u{1b}[2Jgone", "\u{fffd}[2Jgone");
        check("a\nb\u{202e}c\u{9b}d", "a\u{fffd}b\u{fffd}c\u{fffd}d");
    }
}
