//! How the upstream answers a request.

use crate::dice::Dice;
use crate::upstream::Pico;

/// An answer, or what comes in its place. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing, for ever.
    Silence,
    /// The connection breaks before the head.
    Broken { after: u64 },
    /// A refusal that certainly cost nothing.
    Refused { after: u64, status: u16 },
    /// The account is busy.
    Busy { after: u64, rest: u64 },
    /// The key's limit is used up.
    KeyLimit { after: u64 },
    /// The account is empty.
    NoCredit { after: u64 },
    /// The account can pay so much and no more.
    Affords { after: u64, amount: Pico },
    /// A failure that may have cost something.
    Failed { after: u64, status: u16, generation: bool, words: bool },
    /// A 200.
    Answer { head_after: u64, generation: bool, chunks: Vec<u64>, end: End },
}

/// How a 200 ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its cost.
    Told,
    /// Without it.
    Untold,
    /// With an error, and its cost or not.
    Error { told: bool },
    /// In the middle.
    Cut,
}

impl Reply {
    pub fn any(dice: &mut Dice) -> Self {
        let after = dice.between(5, 3_000);
        match dice.below(1000) {
            0..4 => Self::Silence,
            4..14 => Self::Broken { after },
            14..24 => Self::Refused { after, status: dice.pick(&[400, 401, 403, 404, 503]) },
            24..32 => Self::Busy { after, rest: dice.between(1_000, 30_000) },
            32..42 => Self::Failed {
                after,
                status: dice.pick(&[408, 500, 502, 504, 524]),
                generation: dice.permille(500),
                words: dice.permille(500),
            },
            _ => Self::answer(dice),
        }
    }

    fn answer(dice: &mut Dice) -> Self {
        let quick = dice.permille(800);
        let pause = if quick { 300 } else { 6_000 };
        let chunks = (0..dice.below(4)).map(|_| dice.between(1, pause)).collect();
        let end = match dice.below(100) {
            0..90 => End::Told,
            90..95 => End::Untold,
            95..97 => End::Error { told: dice.permille(500) },
            _ => End::Cut,
        };
        Self::Answer { head_after: dice.between(5, pause), generation: dice.permille(900), chunks, end }
    }

    /// Whether nothing can be billed for it.
    pub fn is_free(&self) -> bool {
        match self {
            Self::Silence | Self::Broken { .. } | Self::Answer { .. } => false,
            // OpenRouter's own 5xx, before a provider was asked; but not a timeout.
            Self::Failed { status, generation, words, .. } => {
                !generation && *words && !matches!(status, 408 | 504 | 524)
            }
            _ => true,
        }
    }
}
