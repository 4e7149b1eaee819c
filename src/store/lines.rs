//! What is asked of the ledger, and what it answers. Plain data.

use std::fmt;
use std::str::FromStr;

use crate::clock::{Day, Timestamp};
use crate::money::{Basis, ClientId, GenerationId, Outcome, RequestId, Usd};
use crate::pool::{AccountId, KeyId};
use crate::upstream::Endpoint;

use super::record::TokenTotals;

/// Which lines of the ledger are meant. The default means all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerFilter {
    /// Lines of this time and later. Sums go by whole days: the day that holds it is the first.
    pub from: Option<Timestamp>,
    /// Lines before this time. Sums go by whole days: the day that holds the moment before it is the last.
    pub to: Option<Timestamp>,
    /// Lines of this key.
    pub key: Option<KeyId>,
    /// Lines of this client.
    pub client: Option<ClientId>,
    /// Lines of this model; `*` stands for anything, `?` for one character, and case does not matter.
    pub model: Option<String>,
    /// Lines of attempts that ended so, and their corrections.
    pub outcome: Option<Outcome>,
}

/// A place in the ledger: where a page ended. As text, for those who turn the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) at: Timestamp,
    pub(super) line: i64,
}

/// A text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor that a page of the ledger ended with")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.as_millis(), self.line)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (at, line) = text.split_once('.').ok_or(CursorError)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| CursorError);
        Ok(Self { at: Timestamp::from_millis(number(at)?), line: number(line)? })
    }
}

/// Some lines of the ledger, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerPage {
    /// The lines. There may be none and yet a next page: so many lines were passed over that others had to have their turn.
    pub lines: Vec<LedgerLine>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// Whether a line is an attempt or corrects one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// An attempt.
    Attempt,
    /// What has to be added to an attempt's figures to make them true; with attempt 0, what was spent on the key by attempts
    /// that nobody had written down.
    Correction,
}

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLine {
    /// Its number.
    pub id: u64,
    /// Attempt or correction.
    pub kind: LineKind,
    /// What a correction rests on.
    pub basis: Option<Basis>,
    /// The attempt's end, or when the correction was found.
    pub at: Timestamp,
    /// The day its amounts belong to: a correction's is its attempt's.
    pub day: Day,
    /// The client request.
    pub request: RequestId,
    /// Which attempt of it.
    pub attempt: u16,
    /// The key.
    pub key: KeyId,
    /// The key's account, where known.
    pub account: Option<AccountId>,
    /// The client, where known.
    pub client: Option<ClientId>,
    /// The client's user, by the client's own name for it.
    pub user: Option<Box<str>>,
    /// The endpoint called; `None` where attempts were never written down.
    pub endpoint: Option<Endpoint>,
    /// The model.
    pub model: Option<Box<str>>,
    /// The upstream's id, where it sent one.
    pub generation: Option<GenerationId>,
    /// Tokens; a correction's are what is added, and may be below zero.
    pub tokens: LineTokens,
    /// What was charged; a correction's is what is added. `None`: unknown when the line was written.
    pub cost: Option<Usd>,
    /// The donor's own provider bill under BYOK.
    pub byok: Option<Usd>,
    /// The worst cost that was held for it.
    pub held: Option<Usd>,
    /// The cost is still to be found out.
    pub in_suspense: bool,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The upstream's status code, where a response head arrived.
    pub status: Option<u16>,
    /// Milliseconds from the attempt's start to its end.
    pub duration_ms: u32,
}

/// Token counts of a line, as far as they were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineTokens {
    /// Input tokens, cached ones included.
    pub prompt: Option<i64>,
    /// Output tokens, reasoning included.
    pub completion: Option<i64>,
    /// Input tokens read from a provider's prompt cache.
    pub cached: Option<i64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<i64>,
}

/// Figures of many attempts and their corrections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Client requests that began with one of the attempts.
    pub requests: u64,
    /// Attempts.
    pub attempts: u64,
    /// Attempts that were answered.
    pub answered: u64,
    /// Tokens.
    pub tokens: TokenTotals,
    /// What was charged, as far as it is known.
    pub amount: Usd,
    /// The donors' own provider bills under BYOK, outside `amount`.
    pub byok: Usd,
    /// The part of `amount` that was told from the key's own usage: right in all, a guess for each attempt.
    pub by_usage: Usd,
    /// The part of `amount` that is a worst case, because nothing was to be learned.
    pub estimated: Usd,
}

/// What a model has cost on a key on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryLine {
    /// The day.
    pub day: Day,
    /// The key.
    pub key: KeyId,
    /// The model, where known.
    pub model: Option<Box<str>>,
    /// The figures.
    pub sums: Sums,
}

/// What a key was used for, for its donor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The key.
    pub key: KeyId,
    /// The first day.
    pub from: Day,
    /// The last day.
    pub to: Day,
    /// Everything.
    pub sums: Sums,
    /// By model, the dearest first; `None` where no model is known.
    pub models: Vec<(Option<Box<str>>, Sums)>,
    /// Attempts of these days whose cost is still to be found out.
    pub suspense: u64,
    /// Their worst costs, as far as those are known.
    pub suspense_held: Usd,
}

impl Sums {
    /// How much of the input came from prompt caches, in thousandths; `None` without input.
    pub fn cached_permille(&self) -> Option<u32> {
        let (cached, prompt) = (u128::from(self.tokens.cached), u128::from(self.tokens.prompt));
        (cached * 1000).checked_div(prompt).and_then(|share| u32::try_from(share).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back() {
        for (at, line) in [(0, 0), (1_800_000_000_123, 42), (i64::MIN, i64::MAX), (-5, 1)] {
            let cursor = Cursor { at: Timestamp::from_millis(at), line };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", ".", "1", "1.", ".1", "1.2.3", "a.b", "1;DROP TABLE entries.2"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }

    #[test]
    fn a_cached_share_needs_input() {
        let of = |cached, prompt| Sums {
            tokens: TokenTotals { cached, prompt, ..TokenTotals::default() },
            ..Sums::default()
        };
        assert_eq!(of(0, 0).cached_permille(), None);
        assert_eq!(of(1, 3).cached_permille(), Some(333));
        assert_eq!(of(u64::MAX, u64::MAX).cached_permille(), Some(1000));
    }
}
