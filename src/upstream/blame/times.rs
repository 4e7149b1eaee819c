//! Times that a refusal names, believed only within bounds: numbers come as text, as floats, and from anybody's clock.

use std::time::Duration;

use crate::clock::Timestamp;

use super::Case;

/// An in-flight budget that does not say when: OpenRouter has said 120 s (`openrouter-api.md` 5.2).
const IN_FLIGHT_REST: Duration = Duration::from_secs(120);
/// The longest rest of an account that an in-flight budget can ask for; requests end sooner.
const IN_FLIGHT_REST_MAX: Duration = Duration::from_secs(900);
/// A limited provider key that does not say when.
const OWN_KEY_REST: Duration = Duration::from_secs(60);
/// The longest rest of an account for an author's models; a day's quota is found out again each hour.
const OWN_KEY_REST_MAX: Duration = Duration::from_secs(3600);
/// A block of the edge that does not say for how long. Short: a single client may have provoked it by what it sent.
const EDGE_REST: Duration = Duration::from_secs(30);
/// The longest rest of the whole proxy.
const EDGE_REST_MAX: Duration = Duration::from_secs(300);
/// A limit that does not say whose it is nor for how long, met by most of the pool...
const TURNED_AWAY_REST: Duration = Duration::from_secs(10);
/// ...and the longest rest of the whole proxy after it.
const TURNED_AWAY_REST_MAX: Duration = Duration::from_secs(60);
/// The shortest rest: `Retry-After: 0` must not turn into a loop.
const REST_MIN: Duration = Duration::from_secs(1);
/// Limits turn monthly at the slowest: a reset further off is not believed.
const RESET_MAX: Duration = Duration::from_secs(32 * 86_400);
/// Free allowances turn daily at the slowest, plus an hour for clocks that disagree.
const FREE_DAY_MAX: Duration = Duration::from_secs(25 * 3600);
/// Free allowances of the minute.
const FREE_MINUTE: Duration = Duration::from_secs(60);
/// A reset no longer ago than this is one that our clock runs ahead of, not a mistake...
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// ...and comes after this much more.
const SKEWED_REST: Duration = Duration::from_secs(60);
/// Numbers from here up are milliseconds since the epoch (from 1973 on), smaller ones seconds (up to the year 5138).
const MILLIS_FROM: f64 = 1e11;

/// How often a limit turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    Daily,
    Weekly,
    Monthly,
    /// Never: only the donor can raise it.
    Total,
}

impl Window {
    pub(super) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "daily" => Self::Daily,
            "weekly" => Self::Weekly,
            "monthly" => Self::Monthly,
            "total" => Self::Total,
            _ => return None,
        })
    }

    /// When it turns next: at UTC midnight, weeks on Monday (`openrouter-api.md` 6.1).
    fn turns(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Daily => Some(now.next_midnight()),
            Self::Weekly => Some(now.next_monday()),
            Self::Monthly => Some(now.next_month()),
            Self::Total => None,
        }
    }
}

/// When a limit or budget turns over: `resets_at` where it can be believed, else by its window. A limit that names
/// neither has no time of its own: free questions about the key find out, and nothing is lost by not guessing.
pub(super) fn reset(case: &Case<'_>, window: Option<Window>) -> Option<Timestamp> {
    let told = case.error.resets_at.as_deref().and_then(timestamp);
    told.and_then(|at| believable(at, case.now)).or_else(|| window.and_then(|window| window.turns(case.now)))
}

fn believable(at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    if at > now {
        return (at <= now.after(RESET_MAX)).then_some(at);
    }
    (now.since(at) <= CLOCK_SKEW).then(|| now.after(SKEWED_REST))
}

/// When the free requests of the day are back: at `X-RateLimit-Reset`, else at UTC midnight.
pub(super) fn free_day(case: &Case<'_>) -> Timestamp {
    let told = rate_limit_reset(case).filter(|at| *at > case.now && *at <= case.now.after(FREE_DAY_MAX));
    told.unwrap_or_else(|| case.now.next_midnight())
}

/// When the free requests of the minute are back: at `X-RateLimit-Reset`, but within a minute.
pub(super) fn free_minute(case: &Case<'_>) -> Timestamp {
    let latest = case.now.after(FREE_MINUTE);
    rate_limit_reset(case).filter(|at| *at > case.now).map_or(latest, |at| at.min(latest))
}

fn rate_limit_reset(case: &Case<'_>) -> Option<Timestamp> {
    let in_body = || case.error.rate_limit_reset.as_deref().and_then(timestamp);
    case.rate_limit_reset.and_then(timestamp).or_else(in_body)
}

/// How long an account with too much in flight rests.
pub(super) fn in_flight_rest(case: &Case<'_>) -> Duration {
    retry_after(case).unwrap_or(IN_FLIGHT_REST).clamp(REST_MIN, IN_FLIGHT_REST_MAX)
}

/// How long an account rests whose own provider key is limited.
pub(super) fn own_key_rest(case: &Case<'_>) -> Duration {
    retry_after(case).unwrap_or(OWN_KEY_REST).clamp(REST_MIN, OWN_KEY_REST_MAX)
}

/// How long everyone rests after a block of the edge.
pub(super) fn edge_rest(retry_after: Option<&str>) -> Duration {
    retry_after.and_then(seconds).unwrap_or(EDGE_REST).clamp(REST_MIN, EDGE_REST_MAX)
}

/// How long everyone rests when most of the pool is turned away.
pub(super) fn turned_away_rest(case: &Case<'_>) -> Duration {
    retry_after(case).unwrap_or(TURNED_AWAY_REST).clamp(REST_MIN, TURNED_AWAY_REST_MAX)
}

/// Whether the refusal says when a limit turns over, and so belongs to somebody.
pub(super) fn says_reset(case: &Case<'_>) -> bool {
    rate_limit_reset(case).is_some()
}

/// Whether the refusal says when to come back.
pub(super) fn says_when(case: &Case<'_>) -> bool {
    retry_after(case).is_some()
}

fn retry_after(case: &Case<'_>) -> Option<Duration> {
    case.retry_after.and_then(seconds).or_else(|| case.error.retry_after.as_deref().and_then(seconds))
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(number(text)?).ok()
}

/// An RFC 3339 time, or a number since the epoch.
fn timestamp(text: &str) -> Option<Timestamp> {
    let Some(number) = number(text) else { return Timestamp::parse_rfc3339(text.trim()) };
    let millis = if number.abs() >= MILLIS_FROM { number } else { number * 1000.0 };
    // Saturates; what is out of bounds is not believed anyway.
    Some(Timestamp::from_millis(millis as i64))
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}
