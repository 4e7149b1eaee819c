//! What donors allow, from a terminal: flags, and how limits are told.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::admin::{CapAnswer, KeyAnswer, KeyGate};
use crate::money::{Usd, Window};

/// Limits to set.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Limits (dollars such as 5 or 0.25; days are UTC)")]
pub(super) struct LimitArgs {
    /// The most the pool may spend on the key in a day
    #[arg(long, value_name = "USD")]
    day: Option<Usd>,
    /// The most in a week, from Monday
    #[arg(long, value_name = "USD")]
    week: Option<Usd>,
    /// The most in a calendar month
    #[arg(long, value_name = "USD")]
    month: Option<Usd>,
    /// The most for ever
    #[arg(long, value_name = "USD")]
    total: Option<Usd>,
    /// What stays the owner's of whatever OpenRouter says is left
    #[arg(long, value_name = "USD")]
    reserve: Option<Usd>,
    /// Only these models: patterns such as 'anthropic/*', separated by commas
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// The most requests at a time
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Out of rotation from this date or time on, such as 2027-01-01
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
}

impl LimitArgs {
    /// The `limits` of a call; `None` when nothing is said.
    pub(super) fn body(&self) -> Option<Value> {
        let caps = Window::ALL.into_iter().zip([self.day, self.week, self.month, self.total]);
        let caps: Map<String, Value> =
            caps.filter_map(|(window, cap)| Some((window.name().to_owned(), cap?.to_json()))).collect();
        let mut limits = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                limits.insert(name.to_owned(), value);
            }
        };
        set("caps", (!caps.is_empty()).then_some(Value::Object(caps)));
        set("reserve", self.reserve.map(Usd::to_json));
        set("models", self.models.clone().map(Value::from));
        set("concurrency", self.concurrency.map(Value::from));
        set("expiresAt", self.expires.clone().map(Value::from));
        (!limits.is_empty()).then_some(Value::Object(limits))
    }
}

/// Limits to lift.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Limits to lift")]
pub(super) struct LiftArgs {
    /// Lift the cap of the day
    #[arg(long, conflicts_with = "day")]
    no_day: bool,
    /// Lift the cap of the week
    #[arg(long, conflicts_with = "week")]
    no_week: bool,
    /// Lift the cap of the month
    #[arg(long, conflicts_with = "month")]
    no_month: bool,
    /// Lift the cap for ever
    #[arg(long, conflicts_with = "total")]
    no_total: bool,
    /// Nothing stays the owner's
    #[arg(long, conflicts_with = "reserve")]
    no_reserve: bool,
    /// All models
    #[arg(long, conflicts_with = "models")]
    no_models: bool,
    /// Any number of requests at a time
    #[arg(long, conflicts_with = "concurrency")]
    no_concurrency: bool,
    /// No date
    #[arg(long, conflicts_with = "expires")]
    no_expires: bool,
}

impl LiftArgs {
    /// Add to the `limits` of a call what is to be lifted.
    pub(super) fn add_to(&self, limits: Option<Value>) -> Option<Value> {
        let mut limits = limits.unwrap_or_else(|| json!({}));
        let caps = [self.no_day, self.no_week, self.no_month, self.no_total];
        for (window, _) in Window::ALL.into_iter().zip(caps).filter(|(_, lift)| *lift) {
            limits["caps"][window.name()] = Value::Null;
        }
        for (name, lift) in [
            ("reserve", self.no_reserve),
            ("models", self.no_models),
            ("concurrency", self.no_concurrency),
            ("expiresAt", self.no_expires),
        ] {
            if lift {
                limits[name] = Value::Null;
            }
        }
        limits.as_object().is_some_and(|limits| !limits.is_empty()).then_some(limits)
    }
}

/// A key's limits in one line.
pub(super) fn told(key: &KeyAnswer) -> String {
    let limits = &key.limits;
    let caps = [
        (&limits.caps.day, "a day"),
        (&limits.caps.week, "a week"),
        (&limits.caps.month, "a month"),
        (&limits.caps.total, "in all"),
    ];
    let mut parts: Vec<String> =
        caps.into_iter().filter_map(|(cap, window)| Some(format!("{} {window}", cap.as_ref()?))).collect();
    if !parts.is_empty() {
        parts = vec![format!("at most {}", parts.join(", "))];
    }
    parts.extend(limits.reserve.as_ref().map(|reserve| format!("{reserve} stay the owner's")));
    if !limits.models.is_empty() {
        parts.push(format!("only {}", limits.models.join(", ")));
    }
    parts.extend(limits.concurrency.map(|n| format!("at most {n} at a time")));
    parts.extend(limits.expires_at.as_ref().map(|at| format!("until {at}")));
    let limits = if parts.is_empty() { "no limits".to_owned() } else { parts.join("; ") };
    let left = key.left.as_ref().map(|left| format!("; {left} left now")).unwrap_or_default();
    let lost = if key.lost { "; what a crashed potluck had leased counts as spent until it is found out" } else { "" };
    format!("{} ({}): {limits}{left}{lost}{}", key.id, key.key, gate(key.gate))
}

/// What keeps a key from serving, beside its health.
pub(super) const fn gate(gate: KeyGate) -> &'static str {
    match gate {
        KeyGate::Open | KeyGate::Spent => "",
        KeyGate::Paused => " (paused)",
        KeyGate::Expired => " (expired)",
        KeyGate::Unsound => " (its books are wrong)",
    }
}

/// Caps in a cell: what is left of which.
pub(super) fn caps(caps: &[CapAnswer]) -> String {
    let one = |cap: &CapAnswer| format!("{} of {} / {}", cap.left, cap.cap, cap.window);
    caps.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        set: LimitArgs,
        #[command(flatten)]
        lift: LiftArgs,
    }

    fn body(words: &str) -> Option<Value> {
        let words = Words::try_parse_from(["x"].into_iter().chain(words.split_whitespace())).expect(words);
        words.lift.add_to(words.set.body())
    }

    #[test]
    fn flags_are_the_calls_members() {
        let check = |words: &str, expected: Value| assert_eq!(body(words), Some(expected), "{words}");
        assert_eq!(body(""), None);
        check("--day 5 --total 0.25", json!({"caps": {"day": 5, "total": 0.25}}));
        check("--day 5 --no-week", json!({"caps": {"day": 5, "week": null}}));
        check("--no-month --no-total", json!({"caps": {"month": null, "total": null}}));
        check("--reserve 1.5 --concurrency 4", json!({"reserve": 1.5, "concurrency": 4}));
        check("--models anthropic/*,*:free", json!({"models": ["anthropic/*", "*:free"]}));
        check("--expires 2027-01-01", json!({"expiresAt": "2027-01-01"}));
        check(
            "--no-day --no-reserve --no-models --no-concurrency --no-expires",
            json!({"caps": {"day": null}, "reserve": null, "models": null, "concurrency": null, "expiresAt": null}),
        );
        for words in ["--day 5 --no-day", "--day five", "--concurrency -1"] {
            let words = ["x"].into_iter().chain(words.split_whitespace());
            assert!(Words::try_parse_from(words).is_err());
        }
    }
}
