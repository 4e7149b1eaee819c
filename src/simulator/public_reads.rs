//! What anybody may read: models, providers, endpoints. A bad credential does not matter here.

use serde_json::{Value, json};

use super::catalogue::{self, Modality, Model};
use super::reply::Reply;
use super::wire::Head;

/// The caching OpenRouter declares for its lists.
const CACHE: &str = "public, max-age=120, stale-while-revalidate=3600, stale-if-error=3600";

/// Answer a public read. `None`: the path is none of them.
pub fn read(head: &Head) -> Option<Reply> {
    let path = head.path().strip_prefix("/api/v1/")?;
    let of = |modality: Modality| move |model: &Model| model.modality == modality;
    let body = match path {
        "models" => list(head),
        "models/count" => json!({"data": {"count": catalogue::all().filter(of(Modality::Text)).count()}}),
        "embeddings/models" => models(of(Modality::Embedding)),
        "images/models" => models(of(Modality::Image)),
        "videos/models" => models(of(Modality::Video)),
        "endpoints/zdr" => {
            json!({"data": catalogue::all().filter(|m| !m.trains).flat_map(|m| endpoints(&m)).collect::<Vec<_>>()})
        }
        "providers" => {
            let provider = |name: &str| json!({"name": name, "slug": slug(name), "privacy_policy_url": null, "status_page_url": null});
            json!({"data": catalogue::PROVIDERS.iter().map(|name| provider(name)).collect::<Vec<_>>()})
        }
        _ => one(path)?,
    };
    Some(Reply::json(200, &body).header("cache-control", CACHE))
}

/// `/model/{id}`, `/models/{id}/endpoints`, `/images/models/{id}/endpoints`
fn one(path: &str) -> Option<Value> {
    if let Some(id) = path.strip_prefix("model/") {
        return Some(json!({"data": entry(&catalogue::all().find(|model| model.id == id)?)}));
    }
    let rest = path.strip_prefix("images/").unwrap_or(path);
    let id = rest.strip_prefix("models/")?.strip_suffix("/endpoints")?;
    let model = catalogue::all().find(|model| model.id == id)?;
    let mut data = entry(&model);
    data["endpoints"] = endpoints(&model).into();
    Some(json!({"data": data}))
}

fn models(wanted: impl Fn(&Model) -> bool) -> Value {
    json!({"data": catalogue::all().filter(|model| wanted(model)).map(|model| entry(&model)).collect::<Vec<_>>()})
}

/// Text models, or all of them with `output_modalities=all`; `limit` and `offset` page.
fn list(head: &Head) -> Value {
    let all = head.parameter("output_modalities") == Some("all");
    let wanted: Vec<Model> = catalogue::all().filter(|model| all || model.modality == Modality::Text).collect();
    let number = |name: &str| head.parameter(name).and_then(|text| text.parse::<usize>().ok());
    let (offset, limit) = (number("offset").unwrap_or(0), number("limit").unwrap_or(1000).clamp(1, 1000));
    let page: Vec<Value> = wanted.iter().skip(offset).take(limit).map(entry).collect();
    json!({"data": page, "total_count": wanted.len(), "links": {"next": null}})
}

fn slug(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

/// Prices are text, in dollars for one token or unit.
fn pricing(model: &Model) -> Value {
    let fine = &model.fine_print;
    let image = if model.modality == Modality::Image { model.unit } else { fine.picture.unwrap_or_default() };
    let mut pricing = json!({"prompt": model.prompt.to_string(), "completion": model.completion.to_string(),
        "request": model.request.to_string(), "image": image.to_string(), "web_search": "0",
        "internal_reasoning": "0"});
    for (name, price) in [
        ("audio", fine.audio),
        ("input_cache_read", fine.cache_read),
        ("input_cache_write", fine.cache_write),
        ("input_cache_write_1h", fine.cache_write_1h),
    ] {
        if let Some(price) = price {
            pricing[name] = price.to_string().into();
        }
    }
    if let Some((above, prompt, completion)) = fine.long {
        pricing["overrides"] = json!([{"min_prompt_tokens": above, "prompt": prompt.to_string(),
            "completion": completion.to_string()}]);
    }
    pricing
}

fn entry(model: &Model) -> Value {
    json!({
        "id": model.id,
        "canonical_slug": model.id,
        "name": format!("{}: {}", model.provider, model.id),
        "created": 1_752_000_000,
        "description": "A model of the simulator.",
        "context_length": model.context,
        "architecture": {"modality": format!("text->{}", model.modality.word()), "input_modalities": inputs(model),
            "output_modalities": [model.modality.word()], "tokenizer": "Other", "instruct_type": null},
        "pricing": pricing(model),
        "top_provider": {"context_length": model.context, "max_completion_tokens": model.default_max, "is_moderated": false},
        "per_request_limits": null,
        "supported_parameters": ["max_tokens", "temperature", "tools"],
    })
}

fn inputs(model: &Model) -> Vec<&'static str> {
    let fine = &model.fine_print;
    let kinds = [("text", true), ("image", fine.picture.is_some()), ("audio", fine.audio.is_some())];
    kinds.into_iter().filter(|(_, reads)| *reads).map(|(kind, _)| kind).collect()
}

/// The usual provider, and the other one where there is one.
fn endpoints(model: &Model) -> Vec<Value> {
    let endpoint = |provider: &str, pricing: Value| {
        json!({"name": format!("{provider} | {}", model.id), "model_id": model.id, "provider_name": provider,
            "tag": slug(provider), "context_length": model.context, "pricing": pricing,
            "max_completion_tokens": model.default_max, "status": 0, "uptime_last_30m": 100})
    };
    let mut endpoints = vec![endpoint(model.provider, pricing(model))];
    if let Some((provider, prompt, completion)) = model.fine_print.other {
        endpoints.push(endpoint(provider, pricing(&Model { prompt, completion, ..model.clone() })));
    }
    endpoints
}
