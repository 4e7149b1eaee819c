//! A bill as high as the rules allow: what a bound must never be below.

use serde_json::Value;

use super::amount::Pico;
use super::api::Api;
use super::ask::{Ask, Greed};
use super::catalogue::Model;

/// Tokens of a picture.
const PICTURE_TOKENS: u64 = 40_009;
/// Text that is made at most: the rest is charged for all the same.
pub const WORDS_MAX: u64 = 64;

/// The same request, reckoned greedily.
pub fn greedy(ask: Ask, model: &Model, body: &[u8]) -> Ask {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut pictures = Pictures::default();
    pictures.find(&request);
    let limit = |name: &str| request.get(name).and_then(Value::as_u64);
    let limits = [limit("max_tokens"), limit("max_completion_tokens"), limit("max_output_tokens")];
    let most = limits.into_iter().flatten().max().unwrap_or(model.default_max).min(model.context.max(1));
    let copies = limit("n").max(limit("best_of")).unwrap_or(1).max(1);
    let writes = ask.api.writes() || matches!(ask.api, Api::Decisions | Api::SystemOne);
    let output_tokens = if writes { most * copies } else { 0 };
    let tokens = body.len() as u64 - pictures.bytes + pictures.count * PICTURE_TOKENS;
    // Embeddings take several inputs, each as long as the context.
    let prompt_tokens = if ask.api.writes() { tokens.min(model.context) } else { tokens };
    let hour = memchr::memmem::find(body, b"\"1h\"").is_some();
    let max_tokens = Some(output_tokens);
    Ask { prompt_tokens, max_tokens, greed: Some(Greed { output_tokens, pictures: pictures.count, hour }), ..ask }
}

/// The highest prices that apply: per prompt token, per output token, and for the pictures.
pub fn prices(model: &Model, ask: &Ask, greed: &Greed) -> (Pico, Pico, Pico) {
    let fine = &model.fine_print;
    let long = fine.long.filter(|(above, ..)| ask.prompt_tokens > *above);
    let other = fine.other;
    let hour = fine.cache_write_1h.filter(|_| greed.hour);
    let prompt = [fine.cache_write, hour, long.map(|l| l.1), other.map(|o| o.1)];
    let output = [long.map(|l| l.2), other.map(|o| o.2)];
    let highest = |base: Pico, others: &[Option<Pico>]| others.iter().flatten().copied().fold(base, Pico::max);
    let pictures = fine.picture.unwrap_or_default() * greed.pictures;
    (highest(model.prompt, &prompt), highest(model.completion, &output), pictures)
}

/// Pictures within a request, and how much of it they are.
#[derive(Default)]
struct Pictures {
    count: u64,
    bytes: u64,
}

impl Pictures {
    fn find(&mut self, value: &Value) {
        match value {
            Value::Array(elements) => elements.iter().for_each(|element| self.find(element)),
            Value::Object(members) => {
                let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
                if ["image_url", "input_image", "image"].contains(&kind) {
                    self.count += 1;
                    members.values().for_each(|member| self.weigh(member));
                }
                members.values().for_each(|member| self.find(member));
            }
            _ => {}
        }
    }

    /// Base64 is not text.
    fn weigh(&mut self, member: &Value) {
        let text = member.get("url").or_else(|| member.get("data")).unwrap_or(member);
        let text = text.as_str().unwrap_or_default();
        let base64 = text.split_once(";base64,").map_or(text, |(_, base64)| base64);
        self.bytes += if base64.len() > 2000 { base64.len() as u64 } else { 0 };
    }
}
