//! One call that was taken on, and the figures its answer shows.

use serde_json::{Map, Value, json};

use super::amount::Pico;
use super::ask::Ask;
use super::bill::Quote;
use super::catalogue::Model;
use super::errors::Refusal;
use super::json;
use super::play::{Play, Usage};

/// Stands for a cost that is printed verbatim; clients' texts are never echoed, so it cannot come from outside.
const COST_MARK: &str = "@@sim-cost@@";

/// What an answer is made of.
#[derive(Debug)]
pub struct Job<'a> {
    /// What was asked.
    pub ask: &'a Ask,
    /// Who answers.
    pub model: &'a Model,
    /// What was ordered.
    pub play: &'a Play,
    /// `gen-…`
    pub id: String,
    /// When it began, in seconds since the epoch.
    pub created: i64,
    /// The price.
    pub quote: Quote,
    /// The text, token by token.
    pub words: Vec<String>,
    /// Output tokens billed.
    pub output_tokens: u64,
    /// The error that ends it, if one was ordered inside.
    pub failure: Option<Refusal>,
}

impl Job<'_> {
    /// `finish_reason`.
    pub fn finish(&self) -> &str {
        let limited = self.ask.max_tokens.is_some_and(|max| self.output_tokens >= max);
        self.play.finish.as_deref().unwrap_or(if limited { "length" } else { "stop" })
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.words.concat()
    }

    /// Whether the account's own provider key was used.
    pub const fn own_key(&self) -> bool {
        self.quote.own_key.is_some()
    }

    /// Whether usage is shown at all; with a failure only if ordered.
    pub fn shows_usage(&self) -> bool {
        self.play.usage != Some(Usage::Missing) && (self.failure.is_none() || Play::on(self.play.error_usage))
    }

    /// `cost` as it is printed; `None` is left out.
    pub fn cost(&self) -> Option<Value> {
        match self.play.cost.as_deref() {
            Some("missing") => None,
            Some("null") => Some(Value::Null),
            Some(_) => Some(COST_MARK.into()),
            None => Some(self.quote.charge(self.output_tokens).to_json()),
        }
    }

    /// `cost`, `is_byok` and `cost_details` (the names of its parts differ between the dialects) into a usage object.
    pub fn add_cost(&self, usage: &mut Map<String, Value>, input: &str, output: &str) {
        let Some(cost) = self.cost() else { return };
        let upstream = match self.quote.upstream(self.output_tokens) {
            Some(own) => own.to_json(),
            None => cost.clone(),
        };
        usage.insert("cost".to_owned(), cost);
        usage.insert("is_byok".to_owned(), self.own_key().into());
        let written = self.quote.per_token * self.output_tokens;
        let parts = [
            ("upstream_inference_cost".to_owned(), upstream),
            (format!("upstream_inference_{input}_cost"), self.quote.base.to_json()),
            (format!("upstream_inference_{output}_cost"), written.to_json()),
        ];
        usage.insert("cost_details".to_owned(), Value::Object(parts.into_iter().collect()));
    }

    /// The usage of chat and completions.
    pub fn chat_usage(&self) -> Value {
        let (prompt, completion) = (self.ask.prompt_tokens, self.output_tokens);
        let mut usage = Map::new();
        usage.insert("prompt_tokens".to_owned(), prompt.into());
        usage.insert("completion_tokens".to_owned(), completion.into());
        usage.insert("total_tokens".to_owned(), (prompt + completion).into());
        self.add_cost(&mut usage, "prompt", "completions");
        let details = json!({"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0, "video_tokens": 0});
        usage.insert("prompt_tokens_details".to_owned(), details);
        let details = json!({"reasoning_tokens": 0, "image_tokens": 0, "audio_tokens": 0});
        usage.insert("completion_tokens_details".to_owned(), details);
        self.usage_or_null(usage)
    }

    /// The object, or `null` if that was ordered.
    pub fn usage_or_null(&self, usage: Map<String, Value>) -> Value {
        if self.play.usage == Some(Usage::Null) { Value::Null } else { Value::Object(usage) }
    }

    /// The bytes of a JSON value of this answer.
    pub fn bytes(&self, value: &Value) -> Vec<u8> {
        let text = json::text(value);
        match self.play.cost.as_deref() {
            Some(cost) => text.replace(&format!("\"{COST_MARK}\""), cost).into_bytes(),
            None => text.into_bytes(),
        }
    }
}

/// The bill that a cost printed verbatim comes to; `None` leaves the usual one.
pub fn fixed_cost(play: &Play) -> Option<Pico> {
    play.cost.as_deref().and_then(Pico::parse_usd).filter(|cost| *cost >= Pico::ZERO)
}
