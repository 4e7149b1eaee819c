//! A past generation: `GET /generation`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::figures::{Envelope, charge, error_of, is_null, is_true, text, whole};
use crate::money::{GenerationId, Tokens, Usd};

/// The fields of a generation's record that a client may see. The others tell about the donor's account, or about
/// who else used it and from where.
const PUBLIC_FIELDS: [&str; 26] = [
    "id",
    "model",
    "provider_name",
    "created_at",
    "api_type",
    "streamed",
    "cancelled",
    "finish_reason",
    "native_finish_reason",
    "total_cost",
    "usage",
    "cache_discount",
    "latency",
    "generation_time",
    "moderation_latency",
    "tokens_prompt",
    "tokens_completion",
    "native_tokens_prompt",
    "native_tokens_completion",
    "native_tokens_reasoning",
    "native_tokens_cached",
    "native_tokens_completion_images",
    "num_media_prompt",
    "num_media_completion",
    "num_input_audio_prompt",
    "num_search_results",
];

/// The answer to `GET /generation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenerationAnswer {
    /// What it cost.
    Settled(Settled),
    /// The upstream has no (priced) record of it, or not yet.
    NotYet,
    /// No statement.
    Silent,
}

/// The figures of a past generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What was charged.
    pub cost: Usd,
    /// The donor's own provider bill, under BYOK.
    pub byok: Option<Usd>,
    /// Token counts as the provider counted them.
    pub tokens: Tokens,
    /// The model that answered.
    pub model: Option<Box<str>>,
}

/// Read the answer to `GET /generation?id=…` about the generation `id`.
pub fn read_generation(status: u16, body: &[u8], id: &GenerationId) -> GenerationAnswer {
    match status {
        200 => generation(body, id).unwrap_or(GenerationAnswer::Silent),
        404 if error_of(body, 404).is_some() => GenerationAnswer::NotYet,
        _ => GenerationAnswer::Silent,
    }
}

fn generation(body: &[u8], id: &GenerationId) -> Option<GenerationAnswer> {
    let data = fields(body)?;
    let field = |name: &str| data.get(name).copied();
    if text(field("id")).is_some_and(|told| told != id.as_str()) {
        return None;
    }
    let Some(cost) = field("total_cost").filter(|raw| !is_null(raw)) else { return Some(GenerationAnswer::NotYet) };
    let byok = if is_true(field("is_byok")) { field("upstream_inference_cost").and_then(charge) } else { None };
    let tokens = Tokens {
        prompt: whole(field("native_tokens_prompt")).or_else(|| whole(field("tokens_prompt"))),
        completion: whole(field("native_tokens_completion")).or_else(|| whole(field("tokens_completion"))),
        cached: whole(field("native_tokens_cached")),
        reasoning: whole(field("native_tokens_reasoning")),
    };
    let model = text(field("model")).map(String::into_boxed_str);
    Some(GenerationAnswer::Settled(Settled { cost: charge(cost)?, byok, tokens, model }))
}

/// The part of an answer to `GET /generation` that may go to a client: single values of the allowed fields, as they
/// stand. `None` when the body is not a generation's record.
pub fn public_generation(body: &[u8]) -> Option<Vec<u8>> {
    let data = fields(body)?;
    let mut out = String::from(r#"{"data":{"#);
    let single = |raw: &&RawValue| !raw.get().starts_with(['{', '[']);
    for name in PUBLIC_FIELDS {
        if let Some(value) = data.get(name).filter(|raw| single(raw)) {
            let comma = if out.ends_with('{') { "" } else { "," };
            out.push_str(&format!(r#"{comma}"{name}":{}"#, value.get()));
        }
    }
    out.push_str("}}");
    Some(out.into_bytes())
}

fn fields(body: &[u8]) -> Option<BTreeMap<Cow<'_, str>, &RawValue>> {
    serde_json::from_slice::<Envelope<_>>(body).ok().map(|envelope| envelope.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> Usd {
        text.parse().expect("an amount")
    }

    const RECORD: &str = r#"{"data":{"id":"gen-1","upstream_id":"u","total_cost":0.000126255304,"usage":0.000126255304,
        "upstream_inference_cost":0.5,"is_byok":false,"model":"a/b","provider_name":"P","tokens_prompt":9,
        "native_tokens_prompt":10,"native_tokens_completion":20,"native_tokens_reasoning":3,"native_tokens_cached":4,
        "http_referer":"https://x","user_agent":"secret","external_user":"e","workspace_id":"w","app_id":7,"session_id":"s",
        "provider_responses":[{"status":200}],"finish_reason":"st\"op","model_extra":1,"streamed":true,"latency":{"x":1}}}"#;

    #[test]
    fn generations_settle_exactly_or_not_at_all() {
        let id = GenerationId::parse(b"gen-1").expect("an id");
        let read = |status, body: &str| read_generation(status, body.as_bytes(), &id);
        let tokens = Tokens { prompt: Some(10), completion: Some(20), cached: Some(4), reasoning: Some(3) };
        let settled = Settled { cost: usd("0.000126255304"), byok: None, tokens, model: Some("a/b".into()) };
        assert_eq!(read(200, RECORD), GenerationAnswer::Settled(settled.clone()));
        let byok = RECORD.replace(r#""is_byok":false"#, r#""is_byok":true"#);
        let expected = Settled { byok: Some(usd("0.5")), ..settled };
        assert_eq!(read(200, &byok), GenerationAnswer::Settled(expected));

        let check = |status, body: &str, expected| assert_eq!(read(status, body), expected, "{status} {body}");
        let free = Settled { cost: Usd::ZERO, byok: None, tokens: Tokens::default(), model: None };
        check(200, r#"{"data":{"total_cost":0}}"#, GenerationAnswer::Settled(free));
        check(200, r#"{"data":{"id":"gen-1","total_cost":null}}"#, GenerationAnswer::NotYet);
        check(200, r#"{"data":{"id":"gen-1"}}"#, GenerationAnswer::NotYet);
        check(200, r#"{"data":{"id":"gen-2","total_cost":1}}"#, GenerationAnswer::Silent);
        check(200, r#"{"data":{"id":"gen-1","total_cost":-1}}"#, GenerationAnswer::Silent);
        check(200, r#"{"data":{"id":"gen-1","total_cost":"1"}}"#, GenerationAnswer::Silent);
        check(200, "", GenerationAnswer::Silent);
        check(404, r#"{"error":{"message":"Generation gen-1 not found","code":404}}"#, GenerationAnswer::NotYet);
        check(404, "<html>", GenerationAnswer::Silent);
        check(401, r#"{"error":{"message":"User not found.","code":401}}"#, GenerationAnswer::Silent);
        check(500, r#"{"data":{"total_cost":0}}"#, GenerationAnswer::Silent);
    }

    #[test]
    fn clients_see_their_generation_and_nothing_of_the_account() {
        let public = public_generation(RECORD.as_bytes()).expect("a record");
        let expected = r#"{"data":{"id":"gen-1","model":"a/b","provider_name":"P","streamed":true,"finish_reason":"st\"op","total_cost":0.000126255304,"usage":0.000126255304,"tokens_prompt":9,"native_tokens_prompt":10,"native_tokens_completion":20,"native_tokens_reasoning":3,"native_tokens_cached":4}}"#;
        assert_eq!(String::from_utf8(public).expect("UTF-8"), expected);
        assert_eq!(public_generation(br#"{"error":{"message":"x","code":404},"user_id":"u"}"#), None);
        assert_eq!(public_generation(br#"{"data":[]}"#), None);
    }
}
