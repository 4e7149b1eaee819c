//! [`PriceList`]: which model costs what, by every name a model goes by.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};

use crate::clock::Timestamp;

use super::{Model, OwnSearch, Price};

/// Suffixes that change how a request is routed, not which model answers it. `:free`, `:thinking`, `:extended` and
/// `:batch` are models of their own.
const ROUTING_SUFFIXES: [&str; 4] = ["nitro", "floor", "online", "exacto"];
/// Routers that may pick any model that writes text.
const AUTO: [&str; 2] = ["openrouter/auto", "openrouter/auto-beta"];
/// The router among the free models.
const FREE: &str = "openrouter/free";

/// Prices of a model's providers, and when they were asked for.
#[derive(Clone, Debug)]
struct Learned {
    at: Timestamp,
    prices: Arc<[Price]>,
}

/// What a name stands for.
struct Named {
    model: Model,
    providers: Providers,
}

/// What is known of the prices of a model's providers.
#[derive(Clone, Copy)]
enum Providers {
    /// There is nothing to ask: a router has none, and a free model costs nothing wherever it is served.
    None,
    /// They were never asked for.
    Unasked,
    /// They were asked for then.
    Asked(Timestamp),
}

/// The list: which model costs what. Made once, read by everybody.
#[derive(Clone, Default)]
pub struct PriceList {
    listed: Arc<[Model]>,
    /// What is known of providers' prices: the list itself has one provider's, and others may charge more.
    learned: HashMap<Box<str>, Learned>,
    by_name: HashMap<Box<str>, Arc<Named>>,
    as_of: Option<Timestamp>,
    max_age: Duration,
}

impl PriceList {
    /// The models listed at `as_of`. The list is good for `max_age`.
    pub fn new(models: Vec<Model>, as_of: Timestamp, max_age: Duration) -> Self {
        Self { listed: models.into(), as_of: Some(as_of), max_age, ..Self::default() }.indexed()
    }

    /// The same list with what has been learned of providers' prices for an older one and is not too old itself.
    #[must_use]
    pub fn succeeding(mut self, older: &Self) -> Self {
        let listed = |id: &str| self.listed.iter().any(|model| *model.id == *id);
        let good = |at| self.as_of.is_some_and(|as_of| as_of.since(at) <= self.max_age);
        let learned = older.learned.iter().filter(|(id, learned)| listed(id) && good(learned.at));
        self.learned = learned.map(|(id, learned)| (id.clone(), learned.clone())).collect();
        self.indexed()
    }

    /// The same list, in which the model called `id` may also be billed at its providers' prices, asked for at `at`.
    #[must_use]
    pub fn with_providers(&self, id: &str, prices: &[Price], at: Timestamp) -> Self {
        let mut list = self.clone();
        list.learned.insert(id.into(), Learned { at, prices: prices.into() });
        list.indexed()
    }

    /// The model of that name: its id; the id without routing suffixes; its permanent name. The routers among all
    /// models stand for all of them.
    pub fn find(&self, name: &str) -> Option<&Model> {
        self.named(name).map(|named| &named.model)
    }

    fn named(&self, name: &str) -> Option<&Named> {
        self.by_name.get(name).or_else(|| self.by_name.get(&*without_routing(name)?)).map(|named| &**named)
    }

    /// Whether a model of that name is listed and its providers' prices were asked for since `since`. Routers have none,
    /// and a free model costs nothing wherever it is served.
    pub fn knows_providers(&self, name: &str, since: Timestamp) -> bool {
        self.named(name).is_some_and(|named| named.knows_providers(since))
    }

    /// Whether a model of that name is listed with a price, and its providers' prices were not asked for since `since`.
    pub fn lacks_providers(&self, name: &str, since: Timestamp) -> bool {
        self.named(name).is_some_and(|named| !named.model.prices.is_empty() && !named.knows_providers(since))
    }

    /// Whether the prices of the dearer tiers of a model of that name are known. Free models have none.
    pub fn knows_tiers(&self, name: &str) -> bool {
        self.find(name).is_some_and(|model| is_free(&model.id) || self.learned.contains_key(&model.id))
    }

    /// Whether a model of that name is chosen by the upstream, among many.
    pub fn is_router(&self, name: &str) -> bool {
        self.find(name).is_some_and(|model| is_router(&model.id))
    }

    /// Whether the list may still be relied on.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.age(now).is_some_and(|age| age <= self.max_age)
    }

    /// For how long the list is good.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// How old the list is; `None` before the first one.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.as_of.map(|as_of| now.since(as_of))
    }

    /// Models listed.
    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    fn indexed(self) -> Self {
        Self { by_name: self.index(), ..self }
    }

    fn index(&self) -> HashMap<Box<str>, Arc<Named>> {
        let models: Vec<Arc<Named>> = self.listed.iter().map(|model| self.name(self.completed(model))).collect();
        let mut by_name: HashMap<Box<str>, Arc<Named>> = HashMap::with_capacity(2 * models.len() + 3);
        for named in &models {
            let Some(name) = &named.model.canonical else { continue };
            // Variants share the name, so it may mean any of them.
            let all = by_name
                .get(name)
                .map_or_else(|| Arc::clone(named), |known| self.name(either(&known.model, &named.model)));
            by_name.insert(name.clone(), all);
        }
        by_name.extend(models.iter().map(|named| (named.model.id.clone(), Arc::clone(named))));
        let router = |id: &str, picks: fn(&Model) -> bool| {
            let models = models.iter().map(|named| &named.model).filter(|model| picks(model));
            let prices = models.flat_map(|model| model.prices.clone()).collect();
            (id.into(), self.name(Model { id: id.into(), canonical: None, prices }))
        };
        by_name.extend(AUTO.map(|id| router(id, writes_text_only)));
        by_name.extend([router(FREE, |model| is_free(&model.id))]);
        by_name
    }

    fn name(&self, model: Model) -> Arc<Named> {
        let providers = match self.learned.get(&model.id) {
            _ if is_router(&model.id) || is_free(&model.id) => Providers::None,
            Some(learned) => Providers::Asked(learned.at),
            None => Providers::Unasked,
        };
        Arc::new(Named { model, providers })
    }

    /// The model with its providers' prices, where it has a price at all. The list's own price is one of theirs: what is there
    /// already need not be reckoned with twice.
    fn completed(&self, model: &Model) -> Model {
        let mut model = model.clone();
        if let Some(learned) = self.learned.get(&model.id)
            && !model.prices.is_empty()
        {
            for price in &*learned.prices {
                if !model.prices.contains(price) {
                    model.prices.push(price.clone());
                }
            }
        }
        model
    }
}

impl Named {
    fn knows_providers(&self, since: Timestamp) -> bool {
        match self.providers {
            Providers::None => true,
            Providers::Unasked => false,
            Providers::Asked(at) => at >= since,
        }
    }
}

impl fmt::Debug for PriceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PriceList({} models, {:?})", self.len(), self.as_of)
    }
}

/// The name without routing suffixes, wherever among the suffixes they stand; `None` when it has none.
fn without_routing(name: &str) -> Option<String> {
    let (base, suffixes) = name.split_once(':')?;
    let kept = suffixes.split(':').filter(|suffix| !ROUTING_SUFFIXES.contains(suffix));
    Some(kept.fold(base.to_owned(), |name, suffix| name + ":" + suffix))
}

/// Whether the name carries this routing suffix.
pub(crate) fn has_suffix(name: &str, suffix: &str) -> bool {
    // Most names have none.
    memchr::memchr(b':', name.as_bytes()).is_some() && name.split(':').skip(1).any(|part| part == suffix)
}

/// Whether a model's name says that it costs nothing.
pub(crate) fn is_free(name: &str) -> bool {
    has_suffix(name, "free")
}

fn is_router(id: &str) -> bool {
    AUTO.contains(&id) || id == FREE
}

/// One model of two that share a name: billed at any price of both, or at an unknown one if either is.
fn either(a: &Model, b: &Model) -> Model {
    let known = !a.prices.is_empty() && !b.prices.is_empty();
    let prices = if known { a.prices.iter().chain(&b.prices).cloned().collect() } else { Vec::new() };
    // The free variant has no providers to ask about.
    let named = if is_free(&a.id) { b } else { a };
    Model { prices, ..named.clone() }
}

/// Whether a router that is asked for text may pick the model. Agents that search and search are not for chatting.
fn writes_text_only(model: &Model) -> bool {
    model.prices.iter().all(|price| !price.draws && !price.plays && price.search != OwnSearch::Endless)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Rates, Usd};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn price(prompt: i64) -> Price {
        let rates =
            Rates { prompt: Some(Usd::from_pico(prompt)), completion: Some(Usd::from_pico(1)), ..Rates::default() };
        Price { rates, ..Price::default() }
    }

    fn model(id: &str, canonical: Option<&str>, prompts: &[i64]) -> Model {
        Model {
            id: id.into(),
            canonical: canonical.map(Into::into),
            prices: prompts.iter().map(|p| price(*p)).collect(),
        }
    }

    fn prompts(list: &PriceList, name: &str) -> Option<Vec<i64>> {
        let prompts = |model: &Model| model.prices.iter().filter_map(|p| p.rates.prompt).map(Usd::as_pico).collect();
        list.find(name).map(prompts)
    }

    #[test]
    fn models_are_found_by_every_name_they_go_by() {
        let list = PriceList::new(
            vec![
                model("a/b", Some("a/b-2026"), &[5]),
                model("a/b:free", Some("a/b-2026"), &[0]),
                model("c/d", Some("c/d"), &[7]),
                model("e/f", None, &[]),
                model("e/f:free", Some("e/f"), &[0]),
                model("openrouter/auto", None, &[]),
            ],
            NOW,
            DAY,
        );
        for (name, expected) in [
            ("a/b", Some(vec![5])),
            ("a/b:nitro", Some(vec![5])),
            ("a/b:floor:online", Some(vec![5])),
            ("a/b:exacto", Some(vec![5])),
            ("a/b:free", Some(vec![0])),
            ("a/b:free:online", Some(vec![0])),
            ("a/b:nitro:free", Some(vec![0])),
            // Not variants for routing: other models, and not listed.
            ("a/b:thinking", None),
            ("a/b:extended", None),
            ("a/b:batch", None),
            ("c/d:free", None),
            // The permanent name is that of both variants.
            ("a/b-2026", Some(vec![5, 0])),
            ("a/b-2026:nitro", Some(vec![5, 0])),
            ("c/d", Some(vec![7])),
            // An unknown price is not replaced by that of a variant that shares the name.
            ("e/f", Some(vec![])),
            ("g/h", None),
            ("", None),
            ("openrouter/auto", Some(vec![5, 0, 7, 0])),
            ("openrouter/auto-beta:online", Some(vec![5, 0, 7, 0])),
            ("openrouter/free", Some(vec![0, 0])),
        ] {
            assert_eq!(prompts(&list, name), expected, "{name}");
        }
    }

    #[test]
    fn providers_prices_come_on_top_and_outlive_the_list() {
        let fresh = || PriceList::new(vec![model("a/b", Some("a/c"), &[5]), model("x/y", None, &[])], NOW, DAY);
        let list = fresh();
        assert!(!list.knows_providers("a/b", NOW) && list.knows_providers("openrouter/auto", NOW));
        let list = list.with_providers("a/b", &[price(9)], NOW).with_providers("x/y", &[price(1)], NOW);
        for list in [&list, &fresh().succeeding(&list)] {
            assert_eq!((prompts(list, "a/b"), prompts(list, "a/c:nitro")), (Some(vec![5, 9]), Some(vec![5, 9])));
            assert_eq!(prompts(list, "x/y"), Some(vec![]), "unknown stays unknown");
            assert!(
                list.knows_providers("a/b:floor", NOW) && !list.knows_providers("a/b", Timestamp::from_secs(1_000_001))
            );
        }
        assert_eq!(prompts(&list, "openrouter/auto"), Some(vec![5, 9]));
        let same = fresh().with_providers("a/b", &[price(5), price(9), price(9)], NOW);
        assert_eq!(prompts(&same, "a/b"), Some(vec![5, 9]), "each price once");
        let late = PriceList::new(vec![model("a/b", None, &[6])], NOW.after(2 * DAY), DAY).succeeding(&list);
        assert_eq!(prompts(&late, "a/b"), Some(vec![6]), "what is too old is forgotten");
    }

    #[test]
    fn a_list_is_good_for_a_while() {
        let list = PriceList::new(Vec::new(), NOW, DAY);
        let after = |secs| NOW.after(Duration::from_secs(secs));
        assert!(list.is_current(NOW) && list.is_current(after(86_400)) && !list.is_current(after(86_401)));
        // A clock set back makes nothing old.
        assert!(list.is_current(Timestamp::from_secs(1)));
        assert!(!PriceList::default().is_current(NOW));
    }
}
