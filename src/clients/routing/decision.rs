//! The decision: a category, a model, and why.

use std::fmt;

use crate::money::PriceList;

use super::category::{Category, DEFAULT_CATEGORY, Offer};
use super::features::Features;
use super::signals::{self, Signal, Words};

/// Less than this is no reason to leave the default.
const LEAST_WEIGHT: u32 = 3;

/// Of two categories with the same weight, the one that stands first here; the operator's own before all of them.
const PRIORITY: [&str; 9] = [
    "vision",
    "long_context",
    "translation",
    "summarization",
    "extraction",
    "coding",
    "creative",
    "reasoning",
    "conversational",
];

/// Decides about requests, by categories that do not change.
pub struct Router {
    categories: Vec<Category>,
    words: Words,
    long_context_tokens: u64,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where the request belongs.
    pub category: Box<str>,
    /// The model that serves it.
    pub model: Box<str>,
    /// Why, for people.
    pub reason: String,
    /// All that was found, whatever it spoke for.
    pub signals: Vec<Signal>,
    /// Models that come first in the category's list and were not taken.
    pub passed_over: Vec<(Box<str>, PassedOver)>,
}

/// Why a model of the list was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedOver {
    /// The upstream does not list it (any longer).
    NotListed,
    /// Its list price is above the category's ceiling.
    TooDear,
    /// There is a ceiling, and the list says no price.
    PriceUnknown,
    /// This client, or every donor, has other models only.
    NotAllowed,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotListed => "is not listed upstream",
            Self::TooDear => "costs more than its ceiling",
            Self::PriceUnknown => "has a ceiling and no known price",
            Self::NotAllowed => "may not be used",
        })
    }
}

/// No model of the category, nor of the default one, can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoModel {
    /// The category.
    pub category: Box<str>,
    /// None of them may be used by whoever asks: another try will not help.
    pub is_barred: bool,
}

impl fmt::Display for NoModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_barred { "may be used here" } else { "can be used now" };
        write!(f, "no model of the category {} {how}", self.category)
    }
}

impl Router {
    /// A router for these categories. Texts of `long_context_tokens` or more are long.
    pub fn new(categories: Vec<Category>, long_context_tokens: u64) -> Self {
        let words = Words::new(&categories);
        Self { categories, words, long_context_tokens }
    }

    /// Its categories, the built-in ones first.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The category of that name.
    pub fn category(&self, name: &str) -> Option<&Category> {
        self.categories.iter().find(|category| &*category.name == name)
    }

    /// Why a model of a category would be passed over for a short request; `None` when it would be taken.
    pub fn stands(
        &self,
        offer: &Offer,
        list: Option<&PriceList>,
        allowed: &dyn Fn(&str) -> bool,
    ) -> Option<PassedOver> {
        judge(offer, list, allowed, 0).err()
    }

    /// Which category the signals speak for, and in words why.
    pub fn classify(&self, features: &Features) -> (&str, String, Vec<Signal>) {
        let signals = signals::read(features, &self.words, self.long_context_tokens);
        let weight = |name: &str| signals.iter().filter(|s| &*s.category == name).map(|s| s.weight).sum::<u32>();
        let rank = |name: &str| PRIORITY.iter().position(|known| *known == name).map_or(0, |at| at + 1);
        let names = self.categories.iter().map(|category| &*category.name);
        let best = names.map(|name| (weight(name), name)).max_by_key(|(w, name)| (*w, std::cmp::Reverse(rank(name))));
        match best {
            Some((weight, name)) if weight >= LEAST_WEIGHT => {
                let found = signals.iter().filter(|s| &*s.category == name).map(|s| s.explanation.as_str());
                let reason = found.collect::<Vec<_>>().join("; ");
                (name, reason, signals)
            }
            _ => (DEFAULT_CATEGORY, "nothing speaks for another category".to_owned(), signals),
        }
    }

    /// Decide. `named` is the category that the request names (one that exists), `list` what the upstream lists where that is
    /// known, `allowed` says which models may be used.
    ///
    /// # Errors
    /// [`NoModel`]: there is no model to use.
    pub fn decide(
        &self,
        features: &Features,
        named: Option<&str>,
        list: Option<&PriceList>,
        allowed: &dyn Fn(&str) -> bool,
    ) -> Result<Decision, NoModel> {
        let (category, mut reason, signals) = match named {
            Some(named) => (named, "the request names the category".to_owned(), Vec::new()),
            None => self.classify(features),
        };
        let mut passed_over = Vec::new();
        for name in [category, DEFAULT_CATEGORY] {
            let offers = self.category(name).map(|category| &*category.models).unwrap_or_default();
            for offer in offers {
                let Err(why) = judge(offer, list, allowed, features.tokens()) else {
                    explain(&mut reason, &passed_over, list.is_some());
                    let (category, model) = (category.into(), offer.model.clone());
                    return Ok(Decision { category, model, reason, signals, passed_over });
                };
                passed_over.push((offer.model.clone(), why));
            }
        }
        let is_barred = passed_over.iter().all(|(_, why)| *why == PassedOver::NotAllowed);
        Err(NoModel { category: category.into(), is_barred })
    }
}

fn judge(
    offer: &Offer,
    list: Option<&PriceList>,
    allowed: &dyn Fn(&str) -> bool,
    tokens: u64,
) -> Result<(), PassedOver> {
    if allowed(&offer.model) { offer.judge(list, tokens) } else { Err(PassedOver::NotAllowed) }
}

/// Add to the reason what became of the models before the one taken.
fn explain(reason: &mut String, passed_over: &[(Box<str>, PassedOver)], is_listed: bool) {
    for (model, why) in passed_over {
        reason.push_str(&format!("; {model} {why}"));
    }
    if !is_listed {
        reason.push_str("; the upstream's list of models is not known yet");
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Router({} categories)", self.categories.len())
    }
}
