//! How long a public answer may be used, by its own `Cache-Control`. Pure.

use std::time::Duration;

use http::{HeaderMap, header};
use pingora::cache::cache_control::CacheControl;

use crate::clock::Timestamp;

/// No answer is kept longer than this, whatever it says: a slip of the upstream's should be over in a day.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Until when an answer may be used for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness {
    /// As it is.
    fresh_until: Timestamp,
    /// While a newer one is fetched behind the client's back.
    refresh_until: Timestamp,
    /// When a newer one cannot be had.
    error_until: Timestamp,
}

/// What an answer is good for at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Give it.
    Fresh,
    /// Give it, and fetch a newer one meanwhile.
    Refresh,
    /// Fetch a newer one; give it when that fails.
    OnError,
    /// Nothing any more.
    Gone,
}

impl Freshness {
    /// From the head of an answer that arrived at `now`; `None` when it may not be kept. Only what states its
    /// lifetime is kept: nothing is guessed.
    pub(super) fn of(status: u16, headers: &HeaderMap, now: Timestamp) -> Option<Self> {
        let control = CacheControl::from_headers_named(header::CACHE_CONTROL.as_str(), headers)?;
        let varies = headers.get_all(header::VARY).iter().any(|value| value.as_bytes().contains(&b'*'));
        if !matches!(status, 200 | 404) || control.no_store() || control.private() || control.no_cache() || varies {
            return None;
        }
        // potluck answers many clients, so a shared cache's own lifetime comes first.
        let lifetime = match control.s_maxage().ok()? {
            Some(seconds) => seconds,
            None => control.max_age().ok()??,
        };
        let lifetime = Duration::from_secs(lifetime.into()).min(LIFETIME_MAX).checked_sub(age(headers))?;
        let strict = control.must_revalidate() || control.proxy_revalidate();
        let window = |directive: pingora::Result<Option<u32>>| match directive {
            Ok(Some(seconds)) if !strict => Duration::from_secs(seconds.into()).min(LIFETIME_MAX),
            _ => Duration::ZERO,
        };
        let fresh_until = now.after(lifetime);
        Some(Self {
            fresh_until,
            refresh_until: fresh_until.after(window(control.stale_while_revalidate())),
            error_until: fresh_until.after(window(control.stale_if_error())),
        })
    }

    /// What the answer is good for at `now`.
    pub(super) fn at(&self, now: Timestamp) -> Use {
        match () {
            () if now < self.fresh_until => Use::Fresh,
            () if now < self.refresh_until => Use::Refresh,
            () if now < self.error_until => Use::OnError,
            () => Use::Gone,
        }
    }

    /// When nothing is left of it.
    pub(super) fn over(&self) -> Timestamp {
        self.refresh_until.max(self.error_until)
    }
}

/// How old the answer was when it arrived (caches in front of the upstream count too).
pub(super) fn age(headers: &HeaderMap) -> Duration {
    let text = headers.get(header::AGE).and_then(|value| value.to_str().ok());
    Duration::from_secs(text.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn freshness(status: u16, lines: &str) -> Option<Freshness> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines.lines().filter_map(|line| line.trim().split_once(": ")) {
            let name: http::HeaderName = name.parse().expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        Freshness::of(status, &headers, NOW)
    }

    #[test]
    fn lifetimes_come_from_the_answer() {
        let check = |lines: &str, expected: &[(u64, Use)]| {
            let freshness = freshness(200, lines).unwrap_or_else(|| panic!("{lines}"));
            for (second, usage) in expected {
                assert_eq!(freshness.at(NOW.after(Duration::from_secs(*second))), *usage, "{lines} at {second}");
            }
        };
        use Use::{Fresh, Gone, OnError, Refresh};
        check("cache-control: max-age=60", &[(0, Fresh), (59, Fresh), (60, Gone)]);
        check("cache-control: public, s-maxage=300, max-age=60", &[(299, Fresh), (300, Gone)]);
        check("cache-control: max-age=60\nage: 50", &[(9, Fresh), (10, Gone)]);
        check(
            "cache-control: public, max-age=60, stale-while-revalidate=30, stale-if-error=600",
            &[(59, Fresh), (60, Refresh), (89, Refresh), (90, OnError), (659, OnError), (660, Gone)],
        );
        check("cache-control: max-age=60\ncache-control: stale-if-error=10", &[(60, OnError), (70, Gone)]);
        check("cache-control: max-age=60, stale-if-error=600, must-revalidate", &[(59, Fresh), (60, Gone)]);
        check("cache-control: max-age=0, stale-while-revalidate=30", &[(0, Refresh), (30, Gone)]);
        check("cache-control: max-age=99999999999", &[(86_399, Fresh), (86_400, Gone)]);
        check("cache-control: max-age=60\nvary: accept-encoding", &[(0, Fresh)]);
    }

    #[test]
    fn what_may_not_be_kept_is_not() {
        let check = |status, lines: &str| assert_eq!(freshness(status, lines), None, "{status} {lines}");
        check(200, "");
        check(200, "cache-control: public");
        check(200, "cache-control: no-store, max-age=60");
        check(200, "cache-control: private, max-age=60");
        check(200, "cache-control: no-cache, max-age=60");
        check(200, "cache-control: max-age=soon");
        check(200, "cache-control: max-age=60\nvary: *");
        check(200, "cache-control: max-age=60\nage: 61");
        check(500, "cache-control: max-age=60");
        check(301, "cache-control: max-age=60");
        assert!(freshness(404, "cache-control: max-age=60").is_some());
    }
}
