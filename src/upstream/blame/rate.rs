//! 429: the free allowance of an account, a provider's limit, or one that does not say whose it is.

use crate::pool::Effect;

use super::{Case, Next, Reason, Verdict, by_status, provider_error, times};

const FREE_PER_DAY: &str = "Rate limit exceeded: free-models-per-day";
const FREE_PER_MINUTE: &str = "Rate limit exceeded: free-models-per-min";
/// A limit that does not say whose it is. What follows would say so.
const BARE: &str = "Rate limit exceeded";

/// Judge a 429.
pub(super) fn limited(case: &Case<'_>) -> Verdict {
    match case.limit_source() {
        "openrouter_free_tier_daily" => return free_daily(case),
        "openrouter_free_tier_per_minute" => return free_per_minute(case),
        "upstream_provider_shared_pool" => return Verdict::pass(Reason::ProviderLimited),
        _ => {}
    }
    if case.message_begins(FREE_PER_DAY) {
        return free_daily(case);
    }
    if case.message_begins(FREE_PER_MINUTE) {
        return free_per_minute(case);
    }
    if case.is_provider_error() {
        return provider_error(case);
    }
    if is_bare(case) {
        // Whether many keys get it at once, which would be about the proxy, is not for a single answer to say.
        return Verdict::new(
            Reason::RateLimited,
            Effect::TurnedAway { rest: times::turned_away_rest(case) },
            Next::Pass,
        );
    }
    by_status(429)
}

fn is_bare(case: &Case<'_>) -> bool {
    let said = case.error.message.strip_prefix(BARE).is_some_and(|rest| !rest.starts_with(':'));
    said && !case.reached && !times::says_reset(case)
}

fn free_daily(case: &Case<'_>) -> Verdict {
    let effect = Effect::FreeLaneLimited { until: times::free_day(case) };
    Verdict::new(Reason::FreeDaily, effect, Next::AnotherAccount)
}

fn free_per_minute(case: &Case<'_>) -> Verdict {
    let effect = Effect::FreeLaneLimited { until: times::free_minute(case) };
    Verdict::new(Reason::FreePerMinute, effect, Next::AnotherAccount)
}
