//! Which accounts are known not to reach which models, for a while and within a bound.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::clock::Timestamp;

use super::{AccountId, KeyId};

/// Who cannot: an account with all its keys, or a single key whose account is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Holder {
    Account(AccountId),
    Key(KeyId),
}

type Holders = HashMap<Holder, Timestamp>;

/// (model or author) × (account or key) → until.
#[derive(Clone, Debug)]
pub(super) struct Exclusions {
    by_subject: HashMap<Arc<str>, Holders>,
    /// The same pairs, the first to end first: that one makes room when the bound is reached.
    by_end: BTreeSet<(Timestamp, Arc<str>, Holder)>,
    max: usize,
}

/// Longer subjects are no model's name.
const SUBJECT_MAX_BYTES: usize = 256;

impl Exclusions {
    pub fn new(max: usize) -> Self {
        Self { by_subject: HashMap::new(), by_end: BTreeSet::new(), max }
    }

    /// Leave `holder` out for `subject` (`author/model` or `author/`) until then.
    pub fn add(&mut self, subject: &str, holder: Holder, until: Timestamp) {
        if self.max == 0 || subject.len() > SUBJECT_MAX_BYTES {
            return;
        }
        let subject = self.by_subject.get_key_value(subject).map_or_else(|| subject.into(), |(known, _)| known.clone());
        let old = self.by_subject.entry(subject.clone()).or_default().insert(holder, until);
        if let Some(old) = old {
            self.by_end.remove(&(old, subject.clone(), holder));
        }
        self.by_end.insert((until, subject, holder));
        if self.by_end.len() > self.max {
            self.drop_first();
        }
    }

    /// Forget what has ended.
    pub fn expire(&mut self, now: Timestamp) {
        while self.by_end.first().is_some_and(|(until, ..)| *until <= now) {
            self.drop_first();
        }
    }

    /// Forget everything about `holder`: an operator vouches for it, or it is gone.
    pub fn forget(&mut self, holder: Holder) {
        self.by_end.retain(|(_, _, other)| *other != holder);
        self.by_subject.retain(|_, holders| {
            holders.remove(&holder);
            !holders.is_empty()
        });
    }

    pub fn clear(&mut self) {
        self.by_subject.clear();
        self.by_end.clear();
    }

    /// Who is left out for this model, by its own name or its author's.
    pub fn of_model(&self, model: Option<&str>, now: Timestamp) -> LeftOut<'_> {
        // Most pools never learn an exclusion: then no text is hashed.
        let Some(model) = model.filter(|_| !self.by_subject.is_empty()) else { return LeftOut::default() };
        let author = model.find('/').and_then(|slash| model.get(..=slash));
        LeftOut {
            by_name: [Some(model), author].map(|subject| subject.and_then(|subject| self.by_subject.get(subject))),
            now,
        }
    }

    fn drop_first(&mut self) {
        let Some((_, subject, holder)) = self.by_end.pop_first() else { return };
        let Some(holders) = self.by_subject.get_mut(&subject) else { return };
        holders.remove(&holder);
        if holders.is_empty() {
            self.by_subject.remove(&subject);
        }
    }

    /// Panics when the two views differ or the bound is passed.
    pub fn invariants(&self) {
        assert!(self.by_end.len() <= self.max, "exclusions are bounded");
        assert_eq!(self.by_subject.values().map(HashMap::len).sum::<usize>(), self.by_end.len(), "each stands in both");
        for (until, subject, holder) in &self.by_end {
            assert_eq!(self.by_subject.get(subject).and_then(|holders| holders.get(holder)), Some(until));
        }
    }
}

/// The exclusions that concern one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LeftOut<'a> {
    by_name: [Option<&'a Holders>; 2],
    now: Timestamp,
}

impl LeftOut<'_> {
    /// Whether this key is left out, by itself or through its account.
    pub fn has(&self, key: KeyId, account: Option<AccountId>) -> bool {
        self.by_name.into_iter().flatten().any(|holders| {
            let ended = |holder| holders.get(&holder).is_none_or(|until| *until <= self.now);
            !ended(Holder::Key(key)) || account.is_some_and(|account| !ended(Holder::Account(account)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    const A1: Holder = Holder::Account(AccountId(1));

    #[test]
    fn matches_the_model_or_its_author_until_it_ends() {
        let mut exclusions = Exclusions::new(10);
        exclusions.add("acme/large", A1, at(10));
        exclusions.add("lab/", Holder::Key(KeyId(5)), at(20));
        let has = |model, key, account: Option<u32>, now| {
            exclusions.of_model(model, at(now)).has(KeyId(key), account.map(AccountId))
        };
        assert!(has(Some("acme/large"), 1, Some(1), 9));
        assert!(!has(Some("acme/large"), 1, Some(1), 10), "ended");
        assert!(!has(Some("acme/large"), 1, Some(2), 9), "another account");
        assert!(!has(Some("acme/small"), 1, Some(1), 9), "another model");
        assert!(!has(Some("acme"), 1, Some(1), 9));
        assert!(has(Some("lab/x:free"), 5, None, 19) && has(Some("lab/y"), 5, Some(9), 19));
        assert!(!has(None, 5, None, 19));
        exclusions.invariants();
    }

    #[test]
    fn is_bounded_and_forgets() {
        let mut exclusions = Exclusions::new(3);
        for n in 0..10 {
            exclusions.add("acme/large", Holder::Key(KeyId(n)), at(100 - i64::from(n)));
            exclusions.invariants();
        }
        let kept: Vec<u32> =
            (0..10).filter(|n| exclusions.of_model(Some("acme/large"), at(0)).has(KeyId(*n), None)).collect();
        assert_eq!(kept, [0, 1, 2], "those that last longest");
        exclusions.add("acme/large", Holder::Key(KeyId(0)), at(500));
        exclusions.invariants();
        exclusions.forget(Holder::Key(KeyId(1)));
        exclusions.expire(at(98));
        exclusions.invariants();
        assert_eq!(exclusions.by_end.len(), 1);
        exclusions.add(&"x".repeat(SUBJECT_MAX_BYTES + 1), A1, at(500));
        exclusions.expire(at(500));
        assert!(exclusions.by_subject.is_empty() && exclusions.by_end.is_empty());
        exclusions.invariants();
    }
}
