//! What kinds of requests there are, and which models serve each.

use crate::money::{Price, PriceList, Usd};

use super::decision::PassedOver;

/// Where a request belongs that no signal speaks about.
pub const DEFAULT_CATEGORY: &str = "conversational";

/// Prices in ceilings are for so many tokens.
const TOKENS: i128 = 1_000_000;

/// A kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its name, in lower case.
    pub name: Box<str>,
    /// What belongs there, for people.
    pub description: Box<str>,
    /// The operator's own words that speak for it; `translat*` stands for all words that begin so.
    pub keywords: Vec<Box<str>>,
    /// Its models, the preferred one first.
    pub models: Vec<Offer>,
}

/// A model of a category, and the most it may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its id, `author/slug`.
    pub model: Box<str>,
    /// Dollars for a million input tokens.
    pub max_prompt: Option<Usd>,
    /// Dollars for a million output tokens.
    pub max_completion: Option<Usd>,
}

/// Name, description, dollars per million input and output tokens, models.
type Row = (&'static str, &'static str, i64, i64, &'static [&'static str]);

const ROWS: [Row; 9] = [
    (
        DEFAULT_CATEGORY,
        "Small talk, questions of fact, advice; everything that fits nowhere else.",
        1,
        4,
        &["openai/gpt-4o-mini", "google/gemini-2.5-flash", "mistralai/mistral-small-3.2-24b-instruct"],
    ),
    (
        "coding",
        "Writing, explaining and mending programs; tools that work on files or in a shell.",
        5,
        20,
        &["anthropic/claude-sonnet-4.5", "qwen/qwen3-coder", "google/gemini-2.5-flash", "openai/gpt-4o-mini"],
    ),
    (
        "reasoning",
        "Proofs, sums, riddles, decisions to be weighed: where thinking first pays.",
        5,
        20,
        &["openai/gpt-5-mini", "google/gemini-2.5-pro", "anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash"],
    ),
    (
        "creative",
        "Stories, verse, slogans, role play.",
        5,
        20,
        &["anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash", "openai/gpt-4o-mini"],
    ),
    (
        "summarization",
        "A given text made shorter.",
        1,
        4,
        &["google/gemini-2.5-flash", "openai/gpt-4o-mini", "meta-llama/llama-3.3-70b-instruct"],
    ),
    (
        "translation",
        "From one language into another, and what foreign words mean.",
        1,
        4,
        &["google/gemini-2.5-flash", "openai/gpt-4o-mini", "mistralai/mistral-small-3.2-24b-instruct"],
    ),
    (
        "extraction",
        "Facts of a given text as data: fields, lists, labels.",
        1,
        4,
        &["openai/gpt-4o-mini", "google/gemini-2.5-flash", "mistralai/mistral-small-3.2-24b-instruct"],
    ),
    (
        "vision",
        "Requests with pictures.",
        5,
        20,
        &["google/gemini-2.5-flash", "openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5"],
    ),
    (
        "long_context",
        "More text than most models hold.",
        3,
        15,
        &["google/gemini-2.5-flash", "google/gemini-2.5-pro", "openai/gpt-4.1-mini"],
    ),
];

/// The categories that there are without any configuration.
pub fn built_in() -> Vec<Category> {
    let dollars = |n: i64| format!("{n}").parse::<Usd>().ok();
    let category = |(name, description, prompt, completion, models): &Row| Category {
        name: (*name).into(),
        description: (*description).into(),
        keywords: Vec::new(),
        models: models
            .iter()
            .map(|model| Offer {
                model: (*model).into(),
                max_prompt: dollars(*prompt),
                max_completion: dollars(*completion),
            })
            .collect(),
    };
    ROWS.iter().map(category).collect()
}

impl Offer {
    /// Whether the upstream lists the model within its ceilings, for a prompt of about so many tokens. Without a list that is
    /// to be relied on, it does.
    pub(super) fn judge(&self, list: Option<&PriceList>, tokens: u64) -> Result<(), PassedOver> {
        let Some(list) = list else { return Ok(()) };
        let Some(model) = list.find(&self.model) else { return Err(PassedOver::NotListed) };
        if self.max_prompt.is_none() && self.max_completion.is_none() {
            return Ok(());
        }
        // The first price is the list's own; behind it stand those of single providers, as far as somebody has asked.
        let price = model.prices.first().ok_or(PassedOver::PriceUnknown)?;
        let (prompt, completion) = rates(price, tokens);
        let fits = within(prompt, self.max_prompt) && within(completion, self.max_completion);
        if fits { Ok(()) } else { Err(PassedOver::TooDear) }
    }
}

/// The highest prices of an input and an output token in a prompt of so many.
fn rates(price: &Price, tokens: u64) -> (Option<Usd>, Option<Usd>) {
    let overrides = price.overrides.iter().filter(|o| tokens > o.above).map(|o| &o.rates);
    let all = || std::iter::once(&price.rates).chain(overrides.clone());
    (all().filter_map(|r| r.prompt).max(), all().filter_map(|r| r.completion).max())
}

/// Whether a token's price is known and at most a millionth of `ceiling`.
fn within(rate: Option<Usd>, ceiling: Option<Usd>) -> bool {
    let Some(ceiling) = ceiling else { return true };
    rate.is_some_and(|rate| i128::from(rate.as_pico()) * TOKENS <= i128::from(ceiling.as_pico()))
}
