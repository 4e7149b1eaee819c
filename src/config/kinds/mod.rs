//! The kinds of settings: how each is read from what was written, and how its default and range are told.

mod categories;
mod number;
mod secret;
mod text;

pub(super) use categories::Categories;
pub(super) use number::{Count, Millis, Money, Schedule, Threads};
pub(super) use secret::{KeyList, SecretText};
pub(super) use text::{Address, Choice, HostNames, Names, OptionalPath, Path, StoreAddress, Switch, UpstreamAddress};

use super::fault::Source;
use super::raw::{Given, Value};

/// One kind of setting: from what was written to a checked value.
pub(super) trait Kind: Describe {
    /// The checked type.
    type Checked;

    /// The value when nothing was written.
    fn default(&self) -> Self::Checked;

    /// The value of what was written, or what is wrong with it.
    fn read(&self, given: &Given) -> Result<Self::Checked, String>;
}

/// How a kind is documented in the printed configuration file.
pub(super) trait Describe: Sync {
    /// Unit, range and default in words, one sentence.
    fn describe(&self) -> String;

    /// What the printed file shows.
    fn sample(&self) -> Sample;
}

/// A value as TOML, for the printed file.
pub(super) enum Sample {
    /// The default.
    Default(String),
    /// Something to start from, where the default cannot be written down.
    Example(String),
    /// Several tables, which end their section.
    Tables(String),
    /// Nothing, because it may not be written there.
    Never,
}

impl Given {
    /// A whole number; text counts only where there is nothing but text (environment and flags).
    fn integer(&self) -> Option<i64> {
        match (&self.value, &self.source) {
            (Value::Integer(n), _) => Some(*n),
            (Value::Text(text), Source::Environment(_) | Source::Flag(_)) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn text(&self) -> Result<&str, String> {
        match &self.value {
            Value::Text(text) => Ok(text),
            other => Err(format!("must be a text in quotes, not {}", other.kind())),
        }
    }

    fn in_range(&self, min: u64, max: u64, unit: &str) -> Result<u64, String> {
        let Some(n) = self.integer() else {
            return Err(format!("must be a whole number of {unit} from {min} to {max}, not {}", self.value.shown()));
        };
        match u64::try_from(n) {
            Ok(n) if (min..=max).contains(&n) => Ok(n),
            _ => Err(format!("must be from {min} to {max} {unit}, not {n}")),
        }
    }
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Switch(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }

    /// The value for a message: short texts as they are, everything else (a misplaced key too) by its type.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) if text.len() <= 64 && !text.contains("sk-") => format!("{text:?}"),
            other => other.kind().to_owned(),
        }
    }
}
