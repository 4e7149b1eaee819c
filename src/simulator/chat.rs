//! `/chat/completions`, its Cursor twin and `/completions`: JSON and SSE.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::Api;
use super::job::Job;
use super::play::{Play, Usage};
use super::reply::Piece;

/// The keep-alive comment.
pub const COMMENT: &str = ": OPENROUTER PROCESSING\n\n";
/// What non-streaming bodies are padded with.
pub const PADDING: &str = "\n         \n";

/// The JSON answer.
pub fn body(job: &Job<'_>) -> Value {
    if let Some(failure) = &job.failure
        && !Play::on(job.play.inside_choice)
    {
        return json!({"error": failure.chat_object(), "id": job.id});
    }
    let mut choice = match job.ask.api {
        Api::Completions => json!({"index": 0, "text": job.text(), "logprobs": null}),
        _ => json!({"index": 0, "logprobs": null,
            "message": {"role": "assistant", "content": job.text(), "refusal": null, "reasoning": null}}),
    };
    choice["finish_reason"] = job.finish().into();
    choice["native_finish_reason"] = job.finish().into();
    if let Some(failure) = &job.failure {
        choice["finish_reason"] = "error".into();
        choice["error"] = json!({"code": failure.status, "message": failure.message,
            "metadata": {"error_type": failure.error_type}});
    }
    let mut body = envelope(job, "");
    body["choices"] = json!([choice]);
    if job.shows_usage() {
        body["usage"] = job.chat_usage();
    }
    body
}

/// The stream, event by event.
pub fn events(job: &Job<'_>) -> Vec<Piece> {
    let mut events = Vec::with_capacity(job.words.len() + 3);
    for (tokens, word) in (1..).zip(&job.words) {
        events.push(event(job, &chunk(job, word, None), tokens));
    }
    let made = job.words.len() as u64;
    if job.failure.is_some() {
        events.push(Piece { closes: true, ..event(job, &failed(job), made) });
        return events;
    }
    let usage = job.shows_usage().then(|| job.chat_usage());
    match (job.play.usage, usage) {
        (Some(Usage::EmptyChoices), Some(usage)) => {
            events.push(event(job, &chunk(job, "", Some(job.finish())), made));
            let mut last = envelope(job, ".chunk");
            last["choices"] = json!([]);
            last["usage"] = usage;
            events.push(closing(job, event(job, &last, made)));
        }
        (_, usage) => {
            let mut last = chunk(job, "", Some(job.finish()));
            events.push(event(job, &last, made));
            if let Some(usage) = usage {
                last["usage"] = usage;
                events.push(closing(job, event(job, &last, made)));
            }
        }
    }
    events.push(Piece {
        closes: true,
        ..Piece { bytes: b"data: [DONE]\n\n".to_vec(), tokens: made, ..Piece::default() }
    });
    events
}

/// The event that carries the usage: the call is over when it is sent, and may have to wait for that.
fn closing(job: &Job<'_>, piece: Piece) -> Piece {
    Piece { closes: true, hold: Play::on(job.play.hold_usage), ..piece }
}

fn envelope(job: &Job<'_>, suffix: &str) -> Value {
    let object = match job.ask.api {
        Api::Completions => "text_completion".to_owned(),
        _ => format!("chat.completion{suffix}"),
    };
    json!({"id": job.id, "provider": job.model.provider, "model": job.model.id, "object": object,
        "created": job.created, "system_fingerprint": null})
}

fn chunk(job: &Job<'_>, word: &str, finish: Option<&str>) -> Value {
    let mut chunk = envelope(job, ".chunk");
    let mut choice = match job.ask.api {
        Api::Completions => json!({"index": 0, "text": word, "logprobs": null}),
        _ => json!({"index": 0, "delta": {"role": "assistant", "content": word}, "logprobs": null}),
    };
    choice["finish_reason"] = finish.into();
    choice["native_finish_reason"] = finish.into();
    chunk["choices"] = json!([choice]);
    chunk
}

fn failed(job: &Job<'_>) -> Value {
    let mut last = envelope(job, ".chunk");
    if let Some(failure) = &job.failure {
        let mut error = failure.chat_object();
        error["metadata"]["error_type"] = failure.error_type.into();
        last["error"] = error;
    }
    last["choices"] = json!([{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]);
    if job.shows_usage() {
        last["usage"] = job.chat_usage();
    }
    last
}

fn event(job: &Job<'_>, value: &Value, tokens: u64) -> Piece {
    let bytes = [b"data: ", job.bytes(value).as_slice(), b"\n\n"].concat();
    Piece { bytes, tokens, ..Piece::default() }
}

/// Comments (or pings) before and between the events of a stream, and the waits.
pub fn pace(job: &Job<'_>, events: Vec<Piece>, keep_alive: &str) -> Vec<Piece> {
    let comment = || Piece { bytes: keep_alive.as_bytes().to_vec(), ..Piece::default() };
    let gap = Duration::from_millis(job.play.gap_ms.unwrap_or(0));
    let mut out: Vec<Piece> = (0..job.play.comments.unwrap_or(0)).map(|_| comment()).collect();
    for (number, event) in events.into_iter().enumerate() {
        if number > 0 && Play::on(job.play.comments_between) {
            out.push(comment());
        }
        out.push(Piece { gap, ..event });
    }
    out
}

/// A JSON body behind its padding.
pub fn padded(job: &Job<'_>, body: &Value) -> Vec<Piece> {
    let gap = Duration::from_millis(job.play.gap_ms.unwrap_or(0));
    let padding = || Piece { bytes: PADDING.as_bytes().to_vec(), gap, ..Piece::default() };
    let mut out: Vec<Piece> = (0..job.play.padding.unwrap_or(0)).map(|_| padding()).collect();
    if !Play::on(job.play.padding_only) {
        out.push(closing(job, Piece { bytes: job.bytes(body), ..Piece::default() }));
    }
    out
}
