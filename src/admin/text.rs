//! Texts from outside: names and notes, short, printable, and no keys; times and dates.

use std::fmt;

use crate::clock::{Day, Timestamp};

/// A name: of a key, of a donor, or a donor's number.
pub(super) const NAME_MAX_CHARS: usize = 100;
/// An operator's note on a key's health.
pub(super) const NOTE_MAX_CHARS: usize = 300;

/// Why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextFault {
    /// Nothing but space.
    Empty,
    /// Longer than so many characters.
    Long(usize),
    /// Holds control characters, invisible ones, or ones that change the direction of writing.
    Unprintable,
    /// Holds what looks like an OpenRouter key, a client key or a token, and texts are shown to everybody.
    Key,
}

impl fmt::Display for TextFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::Long(max) => write!(f, "must have at most {max} characters"),
            Self::Unprintable => f.write_str("must have printable characters only, on one line"),
            Self::Key => f.write_str("looks like a key; texts are shown to everybody"),
        }
    }
}

/// Check a text, and take the space around it away.
pub(super) fn check(text: &str, max_chars: usize) -> Result<String, TextFault> {
    let text = text.trim();
    if text.is_empty() {
        return Err(TextFault::Empty);
    }
    if text.chars().take(max_chars + 1).count() > max_chars {
        return Err(TextFault::Long(max_chars));
    }
    if !is_printable(text) {
        return Err(TextFault::Unprintable);
    }
    let lower = text.to_ascii_lowercase();
    // Tokens are JSON objects in base64, all of which begin alike.
    if lower.contains("sk-or-") || lower.contains("ptl-") || text.contains("eyJ") {
        return Err(TextFault::Key);
    }
    Ok(text.to_owned())
}

/// Whether the standard library would print `text` as it is: it escapes control characters, formats, unassigned
/// characters, odd spaces, and a combining mark that has nothing to stand on.
fn is_printable(text: &str) -> bool {
    let mut escaped = text.escape_debug();
    text.chars().all(|c| {
        let quoted = matches!(c, '"' | '\'' | '\\');
        (!quoted || escaped.next() == Some('\\')) && escaped.next() == Some(c)
    })
}

/// A time in RFC 3339.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text)
}

/// A date, `YYYY-MM-DD`.
pub(super) fn day(text: &str) -> Option<Day> {
    let is_date = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    is_date.then(|| Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")).map(Timestamp::day)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_dates() {
        assert_eq!(day("2026-11-24").map(|day| day.to_string()).as_deref(), Some("2026-11-24"));
        for text in ["2026-11-31", "2026-11-24T00:00:00Z", "20261124", "2026-1-1", "-026-11-24", "----------", ""] {
            assert_eq!(day(text), None, "{text}");
        }
        assert_eq!(time("2026-11-24T03:00:00Z"), Some(Timestamp::from_secs(1_795_489_200)));
        assert_eq!(time("2026-11-24"), None);
    }

    #[test]
    fn printable_texts_pass_whatever_their_script() {
        let check = |text: &str| assert_eq!(check(text, NAME_MAX_CHARS).as_deref(), Ok(text.trim()), "{text:?}");
        check("alice");
        check("  Zoë & \"Bob\" <b@example.org> \\ 100 % ");
        check("Łódź 東京 Москва مرحبا");
        check("decomposed e\u{301}");
        check("🍲 potluck");
        check("'; DROP TABLE keys; --");
        check(&"é".repeat(NAME_MAX_CHARS));
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        let check = |text: &str, fault| assert_eq!(check(text, NAME_MAX_CHARS), Err(fault), "{text:?}");
        check("", TextFault::Empty);
        check(" \t\n ", TextFault::Empty);
        check(&"x".repeat(NAME_MAX_CHARS + 1), TextFault::Long(NAME_MAX_CHARS));
        check("two\nlines", TextFault::Unprintable);
        check("nul\0", TextFault::Unprintable);
        check("\u{1b}[31mred", TextFault::Unprintable);
        check("c1 \u{9b}31m", TextFault::Unprintable);
        check("bidi \u{202e}txt", TextFault::Unprintable);
        check("isolate \u{2066}txt", TextFault::Unprintable);
        check("zero\u{200b}width", TextFault::Unprintable);
        check("line\u{2028}break", TextFault::Unprintable);
        check("bom\u{feff}", TextFault::Unprintable);
        check("private \u{e000}", TextFault::Unprintable);
        check("nbsp\u{a0}space", TextFault::Unprintable);
        check("my key sk-or-v1-0011", TextFault::Key);
        check("SK-OR-V1-0011", TextFault::Key);
        check("ptl-0011", TextFault::Key);
        check("my token eyJhbGci", TextFault::Key);
    }
}
