//! The kept answers: least recently used ones go when there are too many bytes.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hashlink::LruCache;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::sync::watch;

use super::freshness::{Freshness, Use, age};
use crate::clock::Timestamp;
use crate::origin::{AskError, Asked};
use crate::upstream::Listing;

/// What an entry takes besides its body and target, roughly.
const OVERHEAD_BYTES: usize = 512;
/// The headers of a public answer that go to clients.
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::CACHE_CONTROL, header::RETRY_AFTER];

/// A public answer as a client gets it.
#[derive(Clone, Debug)]
pub struct Cached {
    /// Status code.
    pub status: u16,
    /// `Content-Type`, `Cache-Control`, `Retry-After` where the upstream sent them, and `Age`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The body as a list of models, read when that is first asked for: one answer is given many times.
    listing: Arc<OnceLock<Option<Listing>>>,
}

impl Cached {
    /// The body as a list of models, if it is one.
    pub fn listing(&self) -> Option<&Listing> {
        self.listing.get_or_init(|| Listing::read(&self.body).ok()).as_ref()
    }

    pub(super) fn of(asked: Asked) -> Self {
        let keep = |name: HeaderName| asked.headers.get(&name).cloned().map(|value| (name, value));
        let headers = KEPT_HEADERS.into_iter().filter_map(keep).collect();
        Self { status: asked.status, headers, body: asked.body, listing: Arc::default() }
    }

    fn aged(&self, seconds: u64) -> Self {
        let mut answer = self.clone();
        answer.headers.insert(header::AGE, HeaderValue::from(seconds));
        answer
    }
}

/// What a fetch under way will come to.
pub(super) type Flight = watch::Receiver<Option<Result<Cached, AskError>>>;

struct Stored {
    answer: Cached,
    freshness: Freshness,
    /// When the answer was made, going by the `Age` it came with.
    made_at: Timestamp,
    /// A fetch failed: until then no other one is tried while this answer will do.
    pause_until: Option<Timestamp>,
}

/// What the shelf has for a target.
pub(super) enum Look {
    /// Give this.
    Give(Cached),
    /// Give this, and see that a newer one is fetched.
    GiveAndFetch(Cached),
    /// Fetch; should that fail, this will still do.
    FetchElse(Cached),
    /// Fetch.
    Fetch,
}

pub(super) struct Shelf {
    answers: LruCache<Box<str>, Stored>,
    bytes: usize,
    bytes_max: usize,
    /// Fetches under way, one per target.
    pub(super) flights: HashMap<Box<str>, Flight>,
}

impl Shelf {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { answers: LruCache::new_unbounded(), bytes: 0, bytes_max, flights: HashMap::new() }
    }

    pub(super) fn look(&mut self, target: &str, now: Timestamp) -> Look {
        let Some(stored) = self.answers.get(target) else { return Look::Fetch };
        let answer = || stored.answer.aged(now.since(stored.made_at).as_secs());
        let paused = stored.pause_until.is_some_and(|until| now < until);
        match stored.freshness.at(now) {
            Use::Fresh => Look::Give(answer()),
            Use::Refresh | Use::OnError if paused => Look::Give(answer()),
            Use::Refresh => Look::GiveAndFetch(answer()),
            Use::OnError => Look::FetchElse(answer()),
            Use::Gone => Look::Fetch,
        }
    }

    /// A fetch succeeded: keep its answer if it may be kept, and forget the older one in any case.
    pub(super) fn keep(&mut self, target: &str, asked: Asked, now: Timestamp) -> Cached {
        self.forget(target);
        let freshness = Freshness::of(asked.status, &asked.headers, now);
        let age = age(&asked.headers);
        let answer = Cached::of(asked);
        let weight = weight(target, &answer);
        if let Some(freshness) = freshness.filter(|_| weight <= self.bytes_max) {
            let made_at = Timestamp::from_millis(
                now.as_millis().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
            );
            self.bytes += weight;
            self.answers
                .insert(target.into(), Stored { answer: answer.clone(), freshness, made_at, pause_until: None });
            self.make_room();
        }
        answer.aged(age.as_secs())
    }

    /// A fetch failed: what there is must do for a while.
    pub(super) fn pause(&mut self, target: &str, until: Timestamp, now: Timestamp) {
        match self.answers.get_mut(target) {
            Some(stored) if now < stored.freshness.over() => stored.pause_until = Some(until),
            Some(_) => self.forget(target),
            None => {}
        }
    }

    fn forget(&mut self, target: &str) {
        if let Some(old) = self.answers.remove(target) {
            self.bytes -= weight(target, &old.answer);
        }
    }

    fn make_room(&mut self) {
        while self.bytes > self.bytes_max {
            let Some((target, old)) = self.answers.remove_lru() else { break };
            self.bytes -= weight(&target, &old.answer);
        }
        debug_assert!(!self.answers.is_empty() || self.bytes == 0);
    }
}

fn weight(target: &str, answer: &Cached) -> usize {
    target.len() + answer.body.len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn asked(body: usize, control: &'static str) -> Asked {
        let headers = HeaderMap::from_iter([
            (header::CACHE_CONTROL, HeaderValue::from_static(control)),
            (header::SET_COOKIE, HeaderValue::from_static("session=1")),
            (header::AGE, HeaderValue::from_static("10")),
        ]);
        Asked { status: 200, headers, body: vec![b'x'; body].into() }
    }

    #[test]
    fn the_least_used_answer_makes_room() {
        let mut shelf = Shelf::new(3 * (OVERHEAD_BYTES + 2 + 1000));
        let has = |shelf: &mut Shelf, target: &str| !matches!(shelf.look(target, NOW), Look::Fetch);
        for target in ["/a", "/b", "/c"] {
            shelf.keep(target, asked(1000, "max-age=60"), NOW);
        }
        assert!(has(&mut shelf, "/a"));
        shelf.keep("/d", asked(1000, "max-age=60"), NOW);
        assert_eq!(["/a", "/b", "/c", "/d"].map(|target| has(&mut shelf, target)), [true, false, true, true]);
        // Kept anew it takes its room once, and an answer that is too big for the shelf is not kept at all.
        shelf.keep("/d", asked(1000, "max-age=60"), NOW);
        assert!(has(&mut shelf, "/a") && has(&mut shelf, "/c"));
        shelf.keep("/e", asked(10_000, "max-age=60"), NOW);
        assert!(has(&mut shelf, "/a") && !has(&mut shelf, "/e"));
        // An answer that may not be kept takes the older one away.
        shelf.keep("/a", asked(10, "no-store"), NOW);
        assert!(!has(&mut shelf, "/a"));
        for target in ["/c", "/d"] {
            shelf.forget(target);
        }
        assert_eq!(shelf.bytes, 0);
    }

    #[test]
    fn headers_are_an_allow_list_and_age_counts_on() {
        let mut shelf = Shelf::new(10_000);
        let first = shelf.keep("/a", asked(1, "max-age=60"), NOW);
        let Look::Give(second) = shelf.look("/a", NOW.after(Duration::from_secs(5))) else { panic!("fresh") };
        let shown = |answer: &Cached| format!("{:?}", answer.headers);
        assert_eq!(shown(&first), r#"{"cache-control": "max-age=60", "age": "10"}"#);
        assert_eq!(shown(&second), r#"{"cache-control": "max-age=60", "age": "15"}"#);
    }

    #[test]
    fn a_failed_fetch_is_not_repeated_at_once() {
        let mut shelf = Shelf::new(10_000);
        shelf.keep("/a", asked(1, "max-age=60, stale-if-error=100"), NOW);
        let at = |seconds| NOW.after(Duration::from_secs(seconds));
        assert!(matches!(shelf.look("/a", at(60)), Look::FetchElse(_)));
        shelf.pause("/a", at(65), at(60));
        assert!(matches!(shelf.look("/a", at(64)), Look::Give(_)));
        assert!(matches!(shelf.look("/a", at(65)), Look::FetchElse(_)));
        shelf.pause("/a", at(200), at(160));
        assert!(matches!(shelf.look("/a", at(161)), Look::Fetch));
        assert_eq!(shelf.bytes, 0);
    }
}
