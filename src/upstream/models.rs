//! The model list (`GET /models`) and a model's providers (`GET /models/{author}/{slug}/endpoints`), as far as prices go.
//!
//! One model's fault is that model's: its price is then unknown, and the others stand. What a key means that nobody here
//! has heard of is not guessed: its price counts for everything.

mod listing;

pub use listing::Listing;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::money::{Model, Override, OwnSearch, Price, Rates, Usd};

/// The list to ask for: models of every kind. Its answer is a [`parse_models`].
pub const MODELS_TARGET: &str = "/api/v1/models?output_modalities=all";

/// OpenRouter lists about 650 models; an answer with more than this is not its list.
const MODELS_MAX: usize = 20_000;
/// Providers of one model.
const ENDPOINTS_MAX: usize = 1000;
/// No model's id is near this.
const ID_MAX_BYTES: usize = 256;

/// Authors whose models search by themselves when a search is asked for (`:online`, the `web` plugin).
const SEARCHING_AUTHORS: [&str; 5] = ["anthropic", "google", "openai", "perplexity", "x-ai"];
/// Tiers of a provider that cost more and are only used when asked for.
const FAST_TAGS: [&str; 2] = ["fast", "priority"];
/// Parameters that limit the output.
const OUTPUT_LIMITS: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

/// The answer is no model list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is no list of models")]
pub struct NoModels;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    links: Option<Links>,
}

#[derive(Deserialize)]
struct Links {
    next: Option<Value>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    canonical_slug: Option<Value>,
    #[serde(flatten)]
    offer: Offer,
    top_provider: Option<Offer>,
}

/// What a model has in the list, and each of its providers has in its own.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Offer {
    tag: Option<Value>,
    context_length: Option<Value>,
    max_completion_tokens: Option<Value>,
    supported_parameters: Option<Value>,
    architecture: Option<Value>,
    pricing: Option<Value>,
}

/// Read a model list. Models whose price is unknown are in it, without a price.
///
/// # Errors
/// The answer is not the whole list: not of that form, empty, or only a page of it.
pub fn parse_models(body: &[u8]) -> Result<Vec<Model>, NoModels> {
    let page: Page<'_> = serde_json::from_slice(body).map_err(|_| NoModels)?;
    let more = page.links.and_then(|links| links.next).is_some_and(|next| !next.is_null());
    if more || page.data.len() > MODELS_MAX {
        return Err(NoModels);
    }
    let entries = page.data.iter().filter_map(|raw| serde_json::from_str::<Entry>(raw.get()).ok());
    let models: Vec<Model> = entries.filter_map(Entry::model).collect();
    if models.is_empty() { Err(NoModels) } else { Ok(models) }
}

/// Where a model's providers are listed; `None` for an id that does not fit into a path.
pub fn providers_target(id: &str) -> Option<String> {
    let clean =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:~".contains(&b));
    let (author, slug) = id.split_once('/')?;
    let fits = clean(author) && clean(slug) && ![".", ".."].contains(&author) && ![".", ".."].contains(&slug);
    fits.then(|| format!("/api/v1/models/{author}/{slug}/endpoints"))
}

/// Read the prices of the providers of the model called `id`.
///
/// # Errors
/// The answer is not of that form, or a provider's price is unknown: then it is unknown what the model may cost.
pub fn parse_providers(body: &[u8], id: &str) -> Result<Vec<Price>, NoModels> {
    #[derive(Deserialize)]
    struct Answer {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        architecture: Option<Value>,
        endpoints: Vec<Offer>,
    }
    let Answer { data } = serde_json::from_slice(body).map_err(|_| NoModels)?;
    if data.endpoints.is_empty() || data.endpoints.len() > ENDPOINTS_MAX {
        return Err(NoModels);
    }
    let price = |offer: &Offer| offer.price(id, data.architecture.as_ref()).ok_or(NoModels);
    data.endpoints.iter().map(price).collect()
}

impl Entry {
    fn model(self) -> Option<Model> {
        let id = &*self.id;
        if id.is_empty() || id.len() > ID_MAX_BYTES || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let listed = self.offer.price(id, self.offer.architecture.as_ref());
        let mut price = listed.filter(|price| !is_unexplained_zero(id, &price.rates));
        if let (Some(price), Some(top)) = (&mut price, &self.top_provider) {
            price.context = price.context.max(count(top.context_length.as_ref()));
            price.max_output = price.max_output.max(count(top.max_completion_tokens.as_ref()));
        }
        let canonical = self.canonical_slug.as_ref().and_then(Value::as_str).map(Into::into);
        Some(Model { id: id.into(), canonical, prices: price.into_iter().collect() })
    }
}

impl Offer {
    fn price(&self, id: &str, architecture: Option<&Value>) -> Option<Price> {
        let pricing = self.pricing.as_ref()?.as_object()?;
        let rates = rates(pricing, Place::Base)?;
        let overrides = match pricing.get("overrides") {
            None | Some(Value::Null) => Box::default(),
            Some(Value::Array(entries)) => entries.iter().map(an_override).collect::<Option<_>>()?,
            Some(_) => return None,
        };
        if rates.prompt.is_none() || rates.completion.is_none() {
            return None;
        }
        let architecture = architecture.and_then(Value::as_object);
        let modalities = |key| architecture.and_then(|architecture| words(architecture.get(key)));
        let makes = modalities("output_modalities").unwrap_or_else(|| vec!["text"]);
        let parameters = words(self.supported_parameters.as_ref()).filter(|parameters| !parameters.is_empty());
        let tag = self.tag.as_ref().and_then(Value::as_str).unwrap_or_default();
        Some(Price {
            search: own_search(id, &rates),
            rates,
            overrides,
            context: count(self.context_length.as_ref()),
            max_output: count(self.max_completion_tokens.as_ref()),
            unlimited: parameters.is_some_and(|all| !all.iter().any(|name| OUTPUT_LIMITS.contains(name))),
            draws: makes.contains(&"image"),
            plays: makes.iter().any(|made| !["text", "image"].contains(made)),
            reads_files: modalities("input_modalities").is_some_and(|read| read.contains(&"file")),
            fast: tag.rsplit_once('/').is_some_and(|(_, tier)| FAST_TAGS.contains(&tier)),
        })
    }
}

/// Where prices stand: beside other facts, or beside conditions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Base,
    Override,
}

/// Every price under its name. `None`: one of them cannot be read, and it might be the one that counts.
fn rates(pricing: &Map<String, Value>, place: Place) -> Option<Rates> {
    let mut rates = Rates::default();
    for (name, value) in pricing {
        let slot = match name.as_str() {
            "prompt" => &mut rates.prompt,
            "completion" => &mut rates.completion,
            "request" => &mut rates.request,
            "image" => &mut rates.image,
            "image_token" => &mut rates.image_token,
            "image_output" => &mut rates.image_output,
            "audio" => &mut rates.audio,
            "audio_output" => &mut rates.audio_output,
            "web_search" => &mut rates.web_search,
            "internal_reasoning" => &mut rates.internal_reasoning,
            "input_cache_read" => &mut rates.input_cache_read,
            "input_cache_write" => &mut rates.input_cache_write,
            "input_cache_write_1h" => &mut rates.input_cache_write_1h,
            // Never dearer than reading from a cache and from sound, which are reckoned with.
            "input_audio_cache" => continue,
            "overrides" if place == Place::Base => continue,
            // Off the price, so leaving it out only makes a bound larger; more than nothing off would be more.
            "discount" if value.is_null() || value.as_f64().is_some_and(|off| (0.0..=1.0).contains(&off)) => continue,
            "discount" => return None,
            "min_prompt_tokens" | "utc_start" | "utc_end" | "utc_days" if place == Place::Override => continue,
            _ => {
                rates.other = rates.other.max(unheard_of(value, place)?);
                continue;
            }
        };
        *slot = price(value)?;
    }
    Some(rates)
}

/// A price in dollars: decimal text, or a number. `Some(None)`: there is none.
fn price(value: &Value) -> Option<Option<Usd>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => Usd::parse_price(text.as_bytes()).ok().map(Some),
        Value::Number(number) => Usd::parse_price(number.to_string().as_bytes()).ok().map(Some),
        _ => None,
    }
}

/// What stands under an unknown name. Prices are text; beside conditions, lists may be conditions too.
fn unheard_of(value: &Value, place: Place) -> Option<Option<Usd>> {
    match value {
        Value::String(text) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => price(value),
        Value::Array(_) | Value::Object(_) if place == Place::Base => None,
        _ => Some(None),
    }
}

fn an_override(entry: &Value) -> Option<Override> {
    let entry = entry.as_object()?;
    // A threshold that cannot be read holds nothing back.
    let above = entry.get("min_prompt_tokens").and_then(Value::as_u64).unwrap_or(0);
    Some(Override { above, rates: rates(entry, Place::Override)? })
}

/// Whether the prices say "free" of a model whose name does not: rather a list with a hole in it. OpenRouter's own models
/// on trial cost nothing.
fn is_unexplained_zero(id: &str, rates: &Rates) -> bool {
    let Rates { prompt, completion, request, image, image_output, audio_output, other, .. } = *rates;
    let nothing = [prompt, completion, request, image, image_output, audio_output, other];
    let free = nothing.into_iter().flatten().all(|rate| rate == Usd::ZERO);
    free && !crate::money::is_free(id) && !id.starts_with("openrouter/")
}

/// How a model searches, by what the list and the names of the known searching models say.
fn own_search(id: &str, rates: &Rates) -> OwnSearch {
    let (author, slug) = id.split_once('/').unwrap_or(("", id));
    let author = author.trim_start_matches('~');
    let searching = SEARCHING_AUTHORS.contains(&author);
    if searching && (slug.contains("deep-research") || slug.contains("pro-search")) {
        OwnSearch::Endless
    } else if author == "perplexity" || (searching && slug.contains("-search")) {
        OwnSearch::Always
    } else if searching || rates.web_search.is_some_and(|fee| fee > Usd::ZERO) {
        OwnSearch::Asked
    } else {
        OwnSearch::Never
    }
}

fn count(value: Option<&Value>) -> Option<u64> {
    value.and_then(Value::as_u64).filter(|count| *count > 0)
}

fn words(value: Option<&Value>) -> Option<Vec<&str>> {
    Some(value?.as_array()?.iter().filter_map(Value::as_str).collect())
}

#[cfg(test)]
mod tests;
