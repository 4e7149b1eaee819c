//! `/messages`: SSE with event lines, the cost in the last `message_delta`, and OpenRouter's own end after Anthropic's.

use serde_json::{Map, Value, json};

use super::job::Job;
use super::play::Play;
use super::reply::Piece;

/// The keep-alive event.
pub const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";

/// The JSON answer.
pub fn body(job: &Job<'_>) -> Value {
    if let Some(failure) = &job.failure {
        return json!({"type": "error", "error": failure.messages_object(), "request_id": job.id});
    }
    let mut body = message(job);
    body["content"] = json!([{"type": "text", "text": job.text(), "citations": null}]);
    body["stop_reason"] = stop_reason(job).into();
    if job.shows_usage() {
        body["usage"] = usage(job, true);
    } else if let Some(fields) = body.as_object_mut() {
        fields.remove("usage");
    }
    body
}

/// The stream, event by event.
pub fn events(job: &Job<'_>) -> Vec<Piece> {
    let event = |kind: &str, data: &Value, tokens: u64| {
        let bytes = [format!("event: {kind}\ndata: ").as_bytes(), &job.bytes(data), b"\n\n"].concat();
        Piece { bytes, tokens, ..Piece::default() }
    };
    let made = job.words.len() as u64;
    let failed = job.failure.as_ref().map(|failure| {
        let mut data = json!({"type": "error", "error": failure.messages_object()});
        if job.shows_usage() {
            data["usage"] = usage(job, true);
        }
        Piece { closes: true, ..event("error", &data, made) }
    });
    let mut events = Vec::with_capacity(job.words.len() + 8);
    if let (Some(failed), Some(0)) = (&failed, job.play.inside) {
        return vec![failed.clone()];
    }
    events.push(event("message_start", &json!({"type": "message_start", "message": message(job)}), 0));
    events.push(event("ping", &json!({"type": "ping"}), 0));
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    events.push(event("content_block_start", &block, 0));
    for (tokens, word) in (1..).zip(&job.words) {
        let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}});
        events.push(event("content_block_delta", &delta, tokens));
    }
    if let Some(failed) = failed {
        events.push(failed);
        return events;
    }
    events.push(event("content_block_stop", &json!({"type": "content_block_stop", "index": 0}), made));
    let mut delta = json!({"type": "message_delta", "delta": {"stop_reason": stop_reason(job), "stop_sequence": null}});
    if job.shows_usage() {
        delta["usage"] = usage(job, true);
    }
    delta["context_management"] = Value::Null;
    let hold = Play::on(job.play.hold_usage);
    events.push(Piece { closes: true, hold, ..event("message_delta", &delta, made) });
    events.push(event("message_stop", &json!({"type": "message_stop"}), made));
    events.push(Piece { bytes: b"event: data\ndata: [DONE]\n\n".to_vec(), tokens: made, ..Piece::default() });
    events
}

fn stop_reason<'a>(job: &'a Job<'_>) -> &'a str {
    match job.finish() {
        "stop" => "end_turn",
        "length" => "max_tokens",
        other => other,
    }
}

fn message(job: &Job<'_>) -> Value {
    json!({"id": job.id, "type": "message", "role": "assistant", "container": null, "content": [],
        "model": job.model.id, "stop_reason": null, "stop_sequence": null, "usage": usage(job, false),
        "provider": job.model.provider})
}

fn usage(job: &Job<'_>, done: bool) -> Value {
    let mut usage = Map::new();
    usage.insert("input_tokens".to_owned(), job.ask.prompt_tokens.into());
    usage.insert("output_tokens".to_owned(), if done { job.output_tokens } else { 0 }.into());
    usage.insert("cache_creation_input_tokens".to_owned(), 0.into());
    usage.insert("cache_read_input_tokens".to_owned(), 0.into());
    usage.insert("service_tier".to_owned(), "standard".into());
    if !done {
        return Value::Object(usage);
    }
    job.add_cost(&mut usage, "prompt", "completions");
    job.usage_or_null(usage)
}
