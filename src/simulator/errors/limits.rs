//! 429: too many requests, of the free tier, of a provider's, or of nobody in particular.

use serde_json::json;

use super::{Facts, Form, Refusal};
use crate::simulator::calendar::Reset;

pub const NAMES: &[&str] = &[
    "429-free-day",
    "429-free-day-high",
    "429-free-minute",
    "429-provider",
    "429-own-key",
    "429-bare",
    "429-cloudflare",
];

/// Which daily allowance of free requests an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daily {
    /// Fewer than nine credits ever bought.
    Basic,
    /// Nine or more.
    HighBalance,
}

fn free(name: &str, remedy: &str, source: &str, limit: u32, reset_ms: i64) -> Refusal {
    let (limit, reset) = (limit.to_string(), reset_ms.to_string());
    let headers = json!({"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset});
    Refusal::new(429, "rate_limit_exceeded", format!("Rate limit exceeded: {name}.{remedy}"))
        .with("headers", headers)
        .with("provider_name", json!(null))
        .source(source)
        .header("X-RateLimit-Limit", limit)
        .header("X-RateLimit-Remaining", "0")
        .header("X-RateLimit-Reset", reset)
}

/// 429: the account's free requests of the day are used up.
pub fn free_per_day(tier: Daily, limit: u32, now_ms: i64) -> Refusal {
    let (name, remedy) = match tier {
        Daily::Basic => ("free-models-per-day", " Add 10 credits to unlock 1000 free model requests per day"),
        Daily::HighBalance => ("free-models-per-day-high-balance", " "),
    };
    free(name, remedy, "openrouter_free_tier_daily", limit, Reset::Daily.next(now_ms))
}

/// 429: too many free requests within this minute.
pub fn free_per_minute(limit: u32, now_ms: i64) -> Refusal {
    let reset = (now_ms.div_euclid(60_000) + 1) * 60_000;
    free("free-models-per-min", " ", "openrouter_free_tier_per_minute", limit, reset)
}

pub fn named(name: &str, facts: &Facts<'_>) -> Option<Refusal> {
    Some(match name {
        "429-free-day" => free_per_day(Daily::Basic, 50, facts.now_ms),
        "429-free-day-high" => free_per_day(Daily::HighBalance, 1000, facts.now_ms),
        "429-free-minute" => free_per_minute(20, facts.now_ms),
        "429-provider" => provider(facts, false),
        "429-own-key" => provider(facts, true),
        "429-bare" => {
            Refusal::new(429, "rate_limit_exceeded", "Rate limit exceeded").with("error_type", "rate_limit_exceeded")
        }
        "429-cloudflare" => Refusal::new(429, "rate_limit_exceeded", "")
            .form(Form::Html(super::forbidden::CLOUDFLARE))
            .header("Retry-After", "30")
            .anonymous(),
        _ => return None,
    })
}

fn provider(facts: &Facts<'_>, own_key: bool) -> Refusal {
    let model = facts.model;
    let refusal = Refusal::new(429, "rate_limit_exceeded", "Provider returned error")
        .with(
            "raw",
            format!(
                "{model} is temporarily rate-limited upstream. Please retry shortly, or add your own key to accumulate \
                 your rate limits: https://openrouter.ai/settings/integrations"
            ),
        )
        .with("provider_name", facts.provider)
        .with("is_byok", own_key)
        .reached();
    if own_key {
        return refusal;
    }
    refusal
        .source("upstream_provider_shared_pool")
        .with("retry_after_seconds", 7)
        .with("headers", json!({"Retry-After": "7"}))
        .header("Retry-After", "7")
}
