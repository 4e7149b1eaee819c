//! Pictures, transcripts and speech.

use serde_json::{Map, Value, json};

use super::job::Job;
use super::play::Play;
use super::reply::{Piece, Reply};
use super::seed::{Seed, of_bytes};

/// A PNG of one transparent pixel, in base64.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

fn image_usage(job: &Job<'_>) -> Value {
    let mut usage = Map::new();
    usage.insert("prompt_tokens".to_owned(), job.ask.prompt_tokens.into());
    usage.insert("completion_tokens".to_owned(), 0.into());
    usage.insert("total_tokens".to_owned(), job.ask.prompt_tokens.into());
    job.add_cost(&mut usage, "prompt", "completions");
    job.usage_or_null(usage)
}

/// `/images`, JSON.
pub fn images(job: &Job<'_>) -> Value {
    if let Some(failure) = &job.failure {
        return json!({"error": failure.chat_object(), "id": job.id});
    }
    let data: Vec<Value> = (0..job.ask.units).map(|_| json!({"b64_json": PIXEL, "media_type": "image/png"})).collect();
    let mut body = json!({"id": job.id, "created": job.created, "model": job.model.id, "data": data});
    if job.shows_usage() {
        body["usage"] = image_usage(job);
    }
    body
}

/// `/images`, SSE.
pub fn image_events(job: &Job<'_>) -> Vec<Piece> {
    let event = |value: &Value| [b"data: ", job.bytes(value).as_slice(), b"\n\n"].concat();
    if let Some(failure) = &job.failure {
        return vec![Piece::last(event(&json!({"type": "error", "error": failure.chat_object()})))];
    }
    let partial = json!({"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": PIXEL});
    let mut completed = json!({"type": "image_generation.completed", "b64_json": PIXEL, "created": job.created});
    if job.shows_usage() {
        completed["usage"] = image_usage(job);
    }
    vec![
        Piece { bytes: event(&partial), ..Piece::default() },
        Piece { hold: Play::on(job.play.hold_usage), ..Piece::last(event(&completed)) },
        Piece::last(b"data: [DONE]\n\n".to_vec()),
    ]
}

/// `/audio/transcriptions`
pub fn transcription(job: &Job<'_>) -> Value {
    if let Some(failure) = &job.failure {
        return json!({"error": failure.chat_object(), "id": job.id});
    }
    let mut usage = Map::new();
    usage.insert("seconds".to_owned(), json!(job.ask.units as f64 / 1000.0));
    usage.insert("input_tokens".to_owned(), job.ask.prompt_tokens.into());
    usage.insert("output_tokens".to_owned(), 6.into());
    usage.insert("total_tokens".to_owned(), (job.ask.prompt_tokens + 6).into());
    if let Some(cost) = job.cost() {
        usage.insert("cost".to_owned(), cost);
    }
    let mut body = json!({"text": "Bring a dish. Brüder, bringt Brot."});
    if job.shows_usage() {
        body["usage"] = job.usage_or_null(usage);
    }
    body
}

/// `/audio/speech`: bytes that are no text, in pieces; their cost is nowhere but in `/generation`.
pub fn speech(job: &Job<'_>) -> Reply {
    let mut seed = Seed::new(of_bytes(job.id.as_bytes()));
    let length = job.play.text_bytes.unwrap_or(4096);
    let mut audio = b"ID3\x04\0\0\0\0\0\0".to_vec();
    while audio.len() < length {
        audio.extend(seed.next().to_le_bytes());
    }
    let mut pieces: Vec<Piece> =
        audio.chunks(1024).map(|part| Piece { bytes: part.to_vec(), ..Piece::default() }).collect();
    if let Some(last) = pieces.last_mut() {
        last.closes = true;
    }
    Reply { status: 200, pieces, streamed: true, ..Reply::default() }.header("content-type", "audio/mpeg")
}
