//! Embeddings, rerank, decisions: one small JSON answer each, with a usage of its own.

use serde_json::{Map, Value, json};

use super::api::Api;
use super::job::Job;
use super::seed::{Seed, of_bytes};

fn with_usage(job: &Job<'_>, mut body: Value, usage: Map<String, Value>) -> Value {
    if job.shows_usage() {
        body["usage"] = job.usage_or_null(usage);
    }
    body
}

fn failed(job: &Job<'_>) -> Option<Value> {
    job.failure.as_ref().map(|failure| json!({"error": failure.chat_object(), "id": job.id}))
}

/// `/embeddings`
pub fn embeddings(job: &Job<'_>) -> Value {
    if let Some(failed) = failed(job) {
        return failed;
    }
    let mut seed = Seed::new(of_bytes(job.id.as_bytes()));
    let data = (0..job.ask.units).map(|index| {
        let vector: Vec<Value> = (0..8).map(|_| json!(i32::try_from(seed.below(2000)).unwrap_or(0) - 1000)).collect();
        json!({"object": "embedding", "index": index, "embedding": vector})
    });
    let data: Vec<Value> = data.collect();
    let mut usage = Map::new();
    usage.insert("prompt_tokens".to_owned(), job.ask.prompt_tokens.into());
    usage.insert("total_tokens".to_owned(), job.ask.prompt_tokens.into());
    job.add_cost(&mut usage, "prompt", "completions");
    let body =
        json!({"id": job.id, "object": "list", "model": job.model.id, "provider": job.model.provider, "data": data});
    with_usage(job, body, usage)
}

/// `/rerank`
pub fn rerank(job: &Job<'_>) -> Value {
    if let Some(failed) = failed(job) {
        return failed;
    }
    let results =
        (0..job.ask.units).map(|index| json!({"index": index, "relevance_score": 1.0 / (index as f64 + 1.5)}));
    let results: Vec<Value> = results.collect();
    let mut usage = Map::new();
    usage.insert("search_units".to_owned(), job.ask.units.div_ceil(100).into());
    usage.insert("total_tokens".to_owned(), job.ask.prompt_tokens.into());
    if let Some(cost) = job.cost() {
        usage.insert("cost".to_owned(), cost);
    }
    let body = json!({"id": job.id, "model": job.model.id, "provider": job.model.provider, "results": results});
    with_usage(job, body, usage)
}

/// `/api/alpha/decisions` and `/systemone`
pub fn decision(job: &Job<'_>) -> Value {
    if let Some(failed) = failed(job) {
        return failed;
    }
    let mut usage = Map::new();
    usage.insert("input_tokens".to_owned(), job.ask.prompt_tokens.into());
    usage.insert("output_tokens".to_owned(), job.output_tokens.into());
    if let Some(cost) = job.cost() {
        usage.insert("cost".to_owned(), cost);
    }
    let answer = json!({"label": "dessert", "confidence": 0.875});
    let body = match job.ask.api {
        Api::SystemOne => json!({"id": job.id, "model": job.model.id, "output": answer}),
        _ => json!({"id": job.id, "object": "decision", "model": job.model.id, "decision": answer}),
    };
    with_usage(job, body, usage)
}
