//! What a client is told that has used what it may.

use crate::clients::Shortage;
use crate::clock::Timestamp;

use super::BUSY_RETRY_S;

pub(super) const fn code(of: Shortage) -> &'static str {
    match of {
        Shortage::Busy => "client_busy",
        Shortage::Requests(_) => "client_requests_limited",
        Shortage::Tokens(_) => "client_tokens_limited",
        Shortage::Spent { .. } => "client_budget_spent",
        Shortage::TooDear { .. } => "client_budget_too_small",
        Shortage::Held => "client_budget_held",
        Shortage::Unbounded => "cost_unbounded",
    }
}

pub(super) fn message(of: Shortage, user: bool, affordable: Option<u64>) -> String {
    let whose = if user { "this user" } else { "this client key" };
    match of {
        Shortage::Busy => format!("{whose} has as many requests under way as it may: try again in a moment"),
        Shortage::Requests(dry) => {
            format!("{whose} may make {} requests a minute: the next one from {}", dry.per_minute, dry.until)
        }
        Shortage::Tokens(dry) => {
            format!(
                "{whose} may use {} tokens a minute: there are enough for this request from {}",
                dry.per_minute, dry.until
            )
        }
        Shortage::Spent { until: Some(at) } => format!("the budget of {whose} is spent: it starts anew at {at}"),
        Shortage::Spent { until: None } => {
            format!("the budget of {whose} is spent, or taken up by requests whose cost is still being looked up")
        }
        Shortage::TooDear { until, .. } => too_dear(whose, affordable, until),
        Shortage::Held => {
            format!("what the budget of {whose} leaves is held for its requests under way: try again in a moment")
        }
        Shortage::Unbounded => format!("{whose} has a budget, and nobody can say what this request may cost"),
    }
}

/// In OpenRouter's own words, which clients know how to read.
fn too_dear(whose: &str, affordable: Option<u64>, until: Option<Timestamp>) -> String {
    let what = match affordable {
        Some(tokens) if tokens > 0 => format!(
            "This request requires more credits, or fewer max_tokens. With the budget of {whose} you can only afford \
             {tokens}."
        ),
        _ => format!(
            "This request requires more credits than the budget of {whose} leaves, whatever max_tokens is: send less, or \
             choose a cheaper model."
        ),
    };
    until.map_or_else(|| what.clone(), |at| format!("{what} There is enough for it again at {at}."))
}

/// When a budget has enough again by itself.
pub(super) const fn reset(of: Shortage) -> Option<Timestamp> {
    match of {
        Shortage::Spent { until } | Shortage::TooDear { until, .. } => until,
        _ => None,
    }
}

pub(super) fn retry_after_s(of: Shortage, now: Timestamp) -> Option<u64> {
    let seconds = |until: Timestamp| u64::try_from(until.since(now).as_millis().div_ceil(1000).max(1)).ok();
    match of {
        Shortage::Busy | Shortage::Held => Some(BUSY_RETRY_S),
        Shortage::Requests(dry) | Shortage::Tokens(dry) => seconds(dry.until),
        Shortage::Spent { until } | Shortage::TooDear { until, .. } => until.and_then(seconds),
        Shortage::Unbounded => None,
    }
}
