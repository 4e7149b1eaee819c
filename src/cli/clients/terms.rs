//! What a client may do, as flags and as the body of a call.

use clap::Args;
use serde_json::{Map, Value};

use crate::money::Usd;

/// What a client may do.
#[derive(Debug, Default, Args)]
pub(super) struct TermArgs {
    /// A note about it
    #[arg(long)]
    note: Option<String>,
    /// Its key is no good from this date or time on, such as 2027-01-01
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
    /// Only these models: patterns such as 'anthropic/*', separated by commas
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// The most dollars in a UTC day
    #[arg(long, value_name = "USD")]
    day: Option<Usd>,
    /// The most dollars in a week, from Monday
    #[arg(long, value_name = "USD")]
    week: Option<Usd>,
    /// The most dollars in a calendar month
    #[arg(long, value_name = "USD")]
    month: Option<Usd>,
    /// The most dollars for ever
    #[arg(long, value_name = "USD")]
    total: Option<Usd>,
    /// The most requests in a minute
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<u32>,
    /// The most tokens in a minute
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<u32>,
    /// The most requests at a time
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// The most dollars in a UTC day for each of its users
    #[arg(long, value_name = "USD")]
    user_day: Option<Usd>,
    /// The most dollars in a calendar month for each of its users
    #[arg(long, value_name = "USD")]
    user_month: Option<Usd>,
    /// The most requests in a minute for each of its users
    #[arg(long, value_name = "N")]
    user_requests_per_minute: Option<u32>,
    /// The most tokens in a minute for each of its users
    #[arg(long, value_name = "N")]
    user_tokens_per_minute: Option<u32>,
    /// The most requests at a time for each of its users
    #[arg(long, value_name = "N")]
    user_concurrency: Option<u32>,
    /// Its share when there are more requests than the pool can serve, from 1 (what it has when nothing is said) to 1000
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
}

/// What is to be lifted.
#[derive(Debug, Default, Args)]
pub(super) struct LiftArgs {
    /// Take the note away
    #[arg(long, conflicts_with = "note")]
    no_note: bool,
    /// Good for ever
    #[arg(long, conflicts_with = "expires")]
    no_expires: bool,
    /// Every model
    #[arg(long, conflicts_with = "models")]
    no_models: bool,
    /// No daily budget
    #[arg(long, conflicts_with = "day")]
    no_day: bool,
    /// No weekly budget
    #[arg(long, conflicts_with = "week")]
    no_week: bool,
    /// No monthly budget
    #[arg(long, conflicts_with = "month")]
    no_month: bool,
    /// No budget for ever
    #[arg(long, conflicts_with = "total")]
    no_total: bool,
    /// As many requests in a minute as it likes
    #[arg(long, conflicts_with = "requests_per_minute")]
    no_requests_per_minute: bool,
    /// As many tokens in a minute as it likes
    #[arg(long, conflicts_with = "tokens_per_minute")]
    no_tokens_per_minute: bool,
    /// As many requests at a time as it likes
    #[arg(long, conflicts_with = "concurrency")]
    no_concurrency: bool,
    /// Its users share what it may use, without limits of their own
    #[arg(
        long,
        conflicts_with_all = ["user_day", "user_month", "user_requests_per_minute", "user_tokens_per_minute", "user_concurrency"]
    )]
    no_user_limits: bool,
}

/// A member of a body, when something is said about it.
type Member = Option<(String, Value)>;

fn member(name: &str, value: Option<Value>, lifted: bool) -> Member {
    let value = if lifted { Some(Value::Null) } else { value };
    Some((name.to_owned(), value?))
}

/// A member that is an object of what is said, when anything is.
fn object(name: &str, members: impl IntoIterator<Item = Member>) -> Member {
    let members: Map<String, Value> = members.into_iter().flatten().collect();
    (!members.is_empty()).then(|| (name.to_owned(), members.into()))
}

/// The body of a call: what is set, and what is lifted.
pub(super) fn body(name: Option<String>, set: TermArgs, lift: &LiftArgs) -> Map<String, Value> {
    let number = |number: Option<u32>| number.map(Value::from);
    let budgets = [
        member("day", set.day.map(Usd::to_json), lift.no_day),
        member("week", set.week.map(Usd::to_json), lift.no_week),
        member("month", set.month.map(Usd::to_json), lift.no_month),
        member("total", set.total.map(Usd::to_json), lift.no_total),
    ];
    let user_budgets = [("day", set.user_day), ("month", set.user_month)];
    let user_budgets = user_budgets.map(|(window, amount)| member(window, amount.map(Usd::to_json), false));
    let user = [
        object("budgets", user_budgets),
        member("requestsPerMinute", number(set.user_requests_per_minute), false),
        member("tokensPerMinute", number(set.user_tokens_per_minute), false),
        member("concurrency", number(set.user_concurrency), false),
    ];
    [
        member("name", name.map(Value::from), false),
        member("note", set.note.map(Value::from), lift.no_note),
        member("expiresAt", set.expires.map(Value::from), lift.no_expires),
        member("models", set.models.map(Value::from), lift.no_models),
        object("budgets", budgets),
        member("requestsPerMinute", number(set.requests_per_minute), lift.no_requests_per_minute),
        member("tokensPerMinute", number(set.tokens_per_minute), lift.no_tokens_per_minute),
        member("concurrency", number(set.concurrency), lift.no_concurrency),
        if lift.no_user_limits { member("perUser", None, true) } else { object("perUser", user) },
        member("weight", number(set.weight), false),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_becomes_a_body() {
        let set = TermArgs {
            models: Some(vec!["a/*".to_owned()]),
            concurrency: Some(3),
            weight: Some(9),
            ..TermArgs::default()
        };
        let lift = LiftArgs { no_note: true, ..LiftArgs::default() };
        let said = Value::from(body(Some("ann".to_owned()), set, &lift));
        assert_eq!(said, json!({"name": "ann", "note": null, "models": ["a/*"], "concurrency": 3, "weight": 9}));
        assert!(body(None, TermArgs::default(), &LiftArgs::default()).is_empty());
        let set = TermArgs { day: "0.50".parse().ok(), user_concurrency: Some(1), ..TermArgs::default() };
        let lift = LiftArgs { no_month: true, ..LiftArgs::default() };
        let said = Value::from(body(None, set, &lift)).to_string();
        assert_eq!(said, r#"{"budgets":{"day":0.5,"month":null},"perUser":{"concurrency":1}}"#);
        let lift = LiftArgs { no_user_limits: true, ..LiftArgs::default() };
        assert_eq!(Value::from(body(None, TermArgs::default(), &lift)), json!({"perUser": null}));
    }
}
