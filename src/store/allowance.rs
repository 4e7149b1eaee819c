//! How an allowance stands in a column: a JSON object of what is limited, money in whole pico-dollars.

use rusqlite::Row;
use serde::{Deserialize, Serialize};

use crate::clients::Allowance;
use crate::money::{Usd, Window};

use super::column;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    day: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    week: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    month: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
}

impl Written {
    pub(super) fn of(allowance: &Allowance) -> Self {
        let Allowance { budgets, requests_per_minute, tokens_per_minute, concurrency } = *allowance;
        let budget = |window| budgets.of(window).map(Usd::as_pico);
        Self {
            day: budget(Window::Day),
            week: budget(Window::Week),
            month: budget(Window::Month),
            total: budget(Window::Total),
            requests_per_minute,
            tokens_per_minute,
            concurrency,
        }
    }

    fn read(self) -> Allowance {
        let Self { day, week, month, total, requests_per_minute, tokens_per_minute, concurrency } = self;
        let windows = [(Window::Day, day), (Window::Week, week), (Window::Month, month), (Window::Total, total)];
        let budgets = windows.into_iter().filter_map(|(window, pico)| Some((window, Usd::from_pico(pico?)))).collect();
        Allowance { budgets, requests_per_minute, tokens_per_minute, concurrency }
    }
}

pub(super) fn written(allowance: &Allowance) -> String {
    // There is nothing in it that JSON could not hold.
    serde_json::json!(Written::of(allowance)).to_string()
}

/// What cannot be read must not become the absence of limits.
pub(super) fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Allowance> {
    let text = row.get_ref(at)?.as_str()?;
    serde_json::from_str(text).map(Written::read).map_err(|_| column::odd(at, "an allowance"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_read_as_it_was_written() {
        let some = Allowance {
            budgets: [(Window::Day, Usd::from_pico(1)), (Window::Total, Usd::from_pico(i64::MAX))]
                .into_iter()
                .collect(),
            requests_per_minute: Some(60),
            tokens_per_minute: None,
            concurrency: Some(u32::MAX),
        };
        for allowance in [Allowance::default(), some] {
            let text = written(&allowance);
            let read = serde_json::from_str(&text).map(Written::read);
            assert_eq!(read.ok(), Some(allowance), "{text}");
        }
        assert_eq!(written(&Allowance::default()), "{}");
        assert!(serde_json::from_str::<Written>(r#"{"year":1}"#).is_err());
    }
}
