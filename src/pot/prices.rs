//! The prices everybody goes by: the newest list there is, and what models' providers charge, found out when a model is
//! first asked for.
//!
//! The list has one provider's price for each model; a request may be served by any other, who may charge more. Where
//! money is limited the providers' prices are therefore looked up first, once in a while and never with a key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Semaphore, watch};

use crate::clock::{Clock, Timestamp};
use crate::money::{PriceList, Unbounded};
use crate::origin::{Origin, PublicCache};
use crate::upstream::{Spending, parse_providers, providers_target};

/// Providers' prices are looked up again after so long.
const LEARN_EVERY: Duration = Duration::from_secs(10 * 60);
/// How long a request waits for prices, whatever number of models it allows.
const LEARN_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests whose models are looked up behind their backs at a time; what is asked for meanwhile comes up again with the
/// next request for it.
const LEARNERS: usize = 8;
/// Answers about providers have a few kilobytes each.
const ANSWERS_MAX_BYTES: usize = 8 << 20;

/// The holder of the price list.
pub struct Prices {
    list: ArcSwap<PriceList>,
    /// Whether a newer list is on its way.
    expected: watch::Sender<bool>,
    answers: PublicCache,
    learners: Arc<Semaphore>,
}

impl Prices {
    /// No prices yet; providers are asked about at `origin`.
    pub fn new(origin: Arc<Origin>) -> Self {
        let answers = PublicCache::new(origin, ANSWERS_MAX_BYTES);
        let learners = Arc::new(Semaphore::new(LEARNERS));
        Self { list: ArcSwap::default(), expected: watch::Sender::new(false), answers, learners }
    }

    /// A newer list is on its way until the value returned is dropped: who needs a current one and has none waits for it.
    pub fn expect(self: &Arc<Self>) -> Expected {
        self.expected.send_replace(true);
        Expected(Arc::clone(self))
    }

    /// The list as it is.
    pub fn list(&self) -> Arc<PriceList> {
        self.list.load_full()
    }

    /// Replace the list; what is known of providers stays.
    pub fn publish(&self, list: &PriceList) {
        self.list.rcu(|older| list.clone().succeeding(older));
    }

    /// What of the prices that the request needs is known without waiting.
    pub fn known_for(&self, spending: &Spending, now: Timestamp) -> Known {
        let list = self.list.load();
        if !list.is_current(now) {
            return if *self.expected.borrow() { Known::No } else { Known::All(list) };
        }
        if unknown(&list, spending, fresh_since(&list, now)).is_none() {
            return Known::All(list);
        }
        match unknown(&list, spending, now.before(list.max_age())) {
            Some(_) => Known::No,
            None => Known::Aged(list),
        }
    }

    /// Look up behind the request's back what the next one like it should not have to wait for.
    pub fn learn_soon(self: &Arc<Self>, spending: &Spending, clock: &Clock) {
        if let Ok(turn) = Arc::clone(&self.learners).try_acquire_owned() {
            let (prices, models, clock) = (Arc::clone(self), spending.models().to_vec(), clock.clone());
            tokio::spawn(async move {
                let _turn = turn;
                prices.learn_missing(&models, &clock).await;
            });
        }
    }

    /// The list, with the prices of the providers of every model that the request allows. Waits for the upstream where
    /// they are not known.
    ///
    /// # Errors
    /// [`Unbounded::NoProviders`]: nobody can say what the request may cost.
    pub async fn list_for(&self, spending: &Spending, clock: &Clock) -> Result<Arc<PriceList>, Unbounded> {
        // What is found out in time counts; the rest is on its way for the next request.
        let learn = async {
            self.wait_for_expected(clock).await;
            self.learn_missing(spending.models(), clock).await;
        };
        let _in_time = tokio::time::timeout(LEARN_TIMEOUT, learn).await;
        let (list, now) = (self.list(), clock.now());
        // What was learned is good for as long as the list is.
        let since = now.before(list.max_age());
        match unknown(&list, spending, since) {
            Some(name) if list.is_current(now) => Err(Unbounded::NoProviders(Unbounded::word(name))),
            _ => Ok(list),
        }
    }

    /// At the start, and after a time without an upstream, the list is a moment away.
    async fn wait_for_expected(&self, clock: &Clock) {
        if !self.list().is_current(clock.now()) {
            let mut expected = self.expected.subscribe();
            // The sender is in `self`, so the wait ends with the list's arrival or failure.
            drop(expected.wait_for(|expected| !expected).await);
        }
    }

    async fn learn_missing(&self, models: &[Box<str>], clock: &Clock) {
        for name in models {
            let (list, now) = (self.list(), clock.now());
            let fresh = list.knows_providers(name, fresh_since(&list, now));
            if !fresh
                && is_listed(&list, name)
                && list.is_current(now)
                && let Some(model) = list.find(name)
            {
                self.learn(&model.id, clock).await;
            }
        }
    }

    /// Ask what the providers of the model called `id` charge.
    async fn learn(&self, id: &str, clock: &Clock) {
        let Some(target) = providers_target(id) else { return };
        let answer = match self.answers.get(&target, clock).await {
            Ok(answer) if answer.status == 200 => answer,
            // The cache has told the log.
            Ok(_) | Err(_) => return,
        };
        let Ok(prices) = parse_providers(&answer.body, id) else {
            tracing::warn!(model = id, "what the providers of a model charge could not be read");
            return;
        };
        let now = clock.now();
        self.list.rcu(|list| list.with_providers(id, &prices, now));
    }
}

/// What is known of the prices that a request needs. The list is lent for a moment, not to be kept over a wait.
#[derive(Debug)]
pub enum Known {
    /// Everything that can be.
    All(Guard<Arc<PriceList>>),
    /// Everything; some of it is to be looked up again.
    Aged(Guard<Arc<PriceList>>),
    /// Something is yet to be found out.
    No,
}

/// The expectation of a newer price list.
#[derive(Debug)]
#[must_use = "the list is expected until this is dropped"]
pub struct Expected(Arc<Prices>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.expected.send_replace(false);
    }
}

/// Whether a price is listed at all.
fn is_listed(list: &PriceList, name: &str) -> bool {
    list.find(name).is_some_and(|model| !model.prices.is_empty())
}

/// What was learned before this is looked up again; also where a list is good for less than that.
fn fresh_since(list: &PriceList, now: Timestamp) -> Timestamp {
    now.before(LEARN_EVERY.min(list.max_age()))
}

/// The first model that the request allows whose providers' prices are not known since then.
fn unknown<'a>(list: &PriceList, spending: &'a Spending, since: Timestamp) -> Option<&'a str> {
    spending.models().iter().map(AsRef::as_ref).find(|name| list.lacks_providers(name, since))
}

impl fmt::Debug for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prices({:?})", self.list)
    }
}
