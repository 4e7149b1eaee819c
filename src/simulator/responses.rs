//! `/responses`: `data:`-only SSE, usage within `response` of the last event, and that event repeats the whole output.

use serde_json::{Map, Value, json};

use super::errors::Refusal;
use super::job::Job;
use super::play::Play;
use super::reply::Piece;

/// The keep-alive line.
pub const COMMENT: &str = ": \n\n";

/// The JSON answer.
pub fn body(job: &Job<'_>) -> Value {
    match &job.failure {
        Some(failure) if Play::on(job.play.inside_choice) => failed(response(job, true), failure),
        Some(failure) => json!({"error": failure.chat_object(), "id": job.id}),
        None => response(job, true),
    }
}

fn failed(mut response: Value, failure: &Refusal) -> Value {
    response["status"] = "failed".into();
    response["error"] = json!({"code": failure.responses_code(), "message": failure.message});
    response
}

/// The stream, event by event.
pub fn events(job: &Job<'_>) -> Vec<Piece> {
    let mut stream = Stream { job, events: Vec::new() };
    // An error ordered as the very first event leaves no room for the opening ones.
    if job.failure.is_none() || job.play.inside != Some(0) {
        stream.open();
    }
    let with = |kind: &str, name: &str, value: Value| about_text(job, kind, name, value);
    for (tokens, word) in (1..).zip(&job.words) {
        stream.push(&with("response.output_text.delta", "delta", word.as_str().into()), tokens);
    }
    let made = job.words.len() as u64;
    if let Some(failure) = &job.failure {
        let failed = failed(response(job, job.shows_usage()), failure);
        stream.push(&json!({"type": "response.failed", "response": failed, "error_type": failure.error_type}), made);
    } else {
        stream.push(&with("response.output_text.done", "text", job.text().into()), made);
        stream.push(&with("response.content_part.done", "part", content(job)), made);
        stream.push(&json!({"type": "response.output_item.done", "output_index": 0, "item": item_done(job)}), made);
        let kind = if job.finish() == "length" { "response.incomplete" } else { "response.completed" };
        stream.push(&json!({"type": kind, "response": response(job, true)}), made);
    }
    let mut events = stream.events;
    if let Some(last) = events.last_mut() {
        (last.closes, last.hold) = (true, Play::on(job.play.hold_usage));
    }
    events.push(Piece { tokens: made, ..Piece::last(b"data: [DONE]\n\n".to_vec()) });
    events
}

/// An event about the one text there is.
fn about_text(job: &Job<'_>, kind: &str, name: &str, value: Value) -> Value {
    let mut event = json!({"type": kind, "item_id": item_id(job), "output_index": 0, "content_index": 0});
    event[name] = value;
    event
}

struct Stream<'a> {
    job: &'a Job<'a>,
    events: Vec<Piece>,
}

impl Stream<'_> {
    /// The events before the first word.
    fn open(&mut self) {
        let job = self.job;
        self.push(&json!({"type": "response.created", "response": response(job, false)}), 0);
        self.push(&json!({"type": "response.in_progress", "response": response(job, false)}), 0);
        let item =
            json!({"id": item_id(job), "type": "message", "status": "in_progress", "role": "assistant", "content": []});
        self.push(&json!({"type": "response.output_item.added", "output_index": 0, "item": item}), 0);
        let part = json!({"type": "output_text", "text": "", "annotations": []});
        self.push(&about_text(job, "response.content_part.added", "part", part), 0);
    }

    fn push(&mut self, event: &Value, tokens: u64) {
        let mut event = event.clone();
        event["sequence_number"] = self.events.len().into();
        let bytes = [b"data: ", self.job.bytes(&event).as_slice(), b"\n\n"].concat();
        self.events.push(Piece { bytes, tokens, ..Piece::default() });
    }
}

fn item_id(job: &Job<'_>) -> String {
    format!("msg_{}", job.id.rsplit('-').next().unwrap_or_default())
}

fn content(job: &Job<'_>) -> Value {
    json!({"type": "output_text", "text": job.text(), "annotations": []})
}

fn item_done(job: &Job<'_>) -> Value {
    json!({"id": item_id(job), "type": "message", "status": "completed", "role": "assistant", "content": [content(job)]})
}

/// The response object; while it is being made without output and with `"usage":null`.
fn response(job: &Job<'_>, done: bool) -> Value {
    let status = match (done, job.finish()) {
        (false, _) => "in_progress",
        (true, "length") => "incomplete",
        (true, _) => "completed",
    };
    let mut response = json!({"id": job.id, "object": "response", "created_at": job.created, "model": job.model.id,
        "status": status, "output": [], "error": null, "incomplete_details": null, "instructions": null,
        "metadata": {}, "temperature": 1, "tool_choice": "auto", "tools": [], "store": false, "usage": null});
    if status == "incomplete" {
        response["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    if done {
        response["output"] = json!([item_done(job)]);
        if job.shows_usage() {
            response["usage"] = usage(job);
        } else if let Some(fields) = response.as_object_mut() {
            fields.remove("usage");
        }
    }
    response
}

fn usage(job: &Job<'_>) -> Value {
    let (input, output) = (job.ask.prompt_tokens, job.output_tokens);
    let mut usage = Map::new();
    usage.insert("input_tokens".to_owned(), input.into());
    usage.insert("input_tokens_details".to_owned(), json!({"cached_tokens": 0}));
    usage.insert("output_tokens".to_owned(), output.into());
    usage.insert("output_tokens_details".to_owned(), json!({"reasoning_tokens": 0}));
    usage.insert("total_tokens".to_owned(), (input + output).into());
    job.add_cost(&mut usage, "input", "output");
    job.usage_or_null(usage)
}
