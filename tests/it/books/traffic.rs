//! Requests of every kind, at random from a seed.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Ask, Dice};

/// One request, and when its client has had enough.
pub struct Call {
    ask: Ask,
    leave: Leave,
}

/// When a client leaves.
#[derive(Clone, Copy)]
enum Leave {
    /// It reads to the end.
    AtTheEnd,
    /// It has had the head, and so many chunks.
    After(usize),
    /// It has heard nothing yet.
    BeforeTheHead(Duration),
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Saw {
    /// A whole answer of that status.
    Whole(u16),
    /// An answer that was cut short.
    Cut,
    /// Nothing: it left before.
    Left,
}

/// `model?key=value&…`: orders to the simulator, in a model's name. `then=close` is not among them: a connection that is
/// closed unannounced, just as the next request takes it, leaves a cost that nothing names and only a person can settle.
const TWISTS: [&str; 15] = [
    "cost=7.669e-7",
    "cost=0",
    "cost=null",
    "usage=missing",
    "usage=empty-choices",
    "cost=0&own_key_cost=0.00197",
    "plant=true",
    "padding=20",
    "chunk=7",
    "encoding=gzip",
    "error=429-provider&inside=0",
    "error=504-aborted&inside=2&error_usage=true",
    "fault=cut%40120",
    "fault=reset%40200",
    "then=announce-close",
];

const TEXT_MODELS: [&str; 8] = [
    "openai/gpt-4o-mini",
    "openai/gpt-4o-mini",
    "anthropic/claude-sonnet-4.5",
    "google/gemini-2.5-flash",
    "mistralai/mistral-small-3.2-24b-instruct",
    "perplexity/sonar",
    "meta-llama/llama-3.3-70b-instruct:free",
    "sim/echo",
];

impl Call {
    pub fn any(dice: &mut Dice, number: usize) -> Self {
        let text = dice.percent(75);
        let twist = dice.percent(35).then(|| dice.pick(&TWISTS));
        let (path, body) = if text { text_call(dice, number, twist) } else { other_call(dice, number, twist) };
        let streamed = body["stream"] == json!(true);
        let leave = match dice.below(100) {
            0..8 if streamed => Leave::After(dice.below(6)),
            8..12 => Leave::After(0),
            12..16 => Leave::BeforeTheHead(Duration::from_millis(dice.below(12) as u64)),
            _ => Leave::AtTheEnd,
        };
        let ask = Ask::post(path, body.to_string());
        Self { ask: if dice.percent(10) { ask.chunked(50) } else { ask }, leave }
    }

    /// Make the call, as far as its client does.
    pub async fn make(&self, proxy: SocketAddr) -> Saw {
        match self.leave {
            Leave::AtTheEnd => {
                let answer = self.ask.send(proxy).await;
                if answer.whole { Saw::Whole(answer.status) } else { Saw::Cut }
            }
            Leave::After(chunks) => {
                let mut reading = self.ask.open(proxy).await;
                let chunked = reading.header("transfer-encoding") == Some("chunked");
                for _ in 0..if chunked { chunks } else { 0 } {
                    if !matches!(reading.chunk().await, Some(Ok(_))) {
                        break;
                    }
                }
                Saw::Left
            }
            Leave::BeforeTheHead(patience) => match tokio::time::timeout(patience, self.ask.send(proxy)).await {
                Ok(answer) if answer.whole => Saw::Whole(answer.status),
                Ok(_) => Saw::Cut,
                Err(_) => Saw::Left,
            },
        }
    }
}

/// A model, with the order for its answer.
fn model(name: &str, twist: Option<&str>) -> String {
    twist.map_or_else(|| name.to_owned(), |twist| format!("{name}?{twist}"))
}

fn text_call(dice: &mut Dice, number: usize, twist: Option<&str>) -> (&'static str, Value) {
    let name = dice.pick(&TEXT_MODELS);
    // `:free` is the end of a name, or it is another model.
    let model = if name.ends_with(":free") { name.to_owned() } else { model(name, twist) };
    let prompt = format!("Dish number {number}: {}", "salt ".repeat(dice.below(40)));
    let turn = json!([{"role": "user", "content": prompt}]);
    let (path, mut body) = match dice.below(12) {
        0..5 => ("/api/v1/chat/completions", json!({"messages": turn, "max_tokens": 400})),
        5 => ("/v1/chat/completions", json!({"messages": turn, "max_tokens": 400})),
        6 => ("/api/v1/cursor/chat/completions", json!({"messages": turn, "max_tokens": 400})),
        7 => ("/api/v1/completions", json!({"prompt": prompt, "max_tokens": 400})),
        8 | 9 => ("/api/v1/responses", json!({"input": prompt, "max_output_tokens": 400})),
        _ => ("/api/v1/messages?beta=true", json!({"messages": turn, "max_tokens": 400})),
    };
    body["model"] = json!(model);
    body["stream"] = json!(dice.percent(60));
    (path, body)
}

fn other_call(dice: &mut Dice, number: usize, twist: Option<&str>) -> (&'static str, Value) {
    let of = |name| model(name, twist);
    let text = format!("dish {number}");
    match dice.below(8) {
        0 | 1 => ("/api/v1/embeddings", json!({"model": of("openai/text-embedding-3-small"), "input": [text, "more"]})),
        2 | 3 => {
            let documents = ["soup", "bread"];
            ("/api/v1/rerank", json!({"model": of("cohere/rerank-v3.5"), "query": text, "documents": documents}))
        }
        4 => {
            let model = of("google/gemini-2.5-flash-image");
            ("/api/v1/images", json!({"model": model, "prompt": text, "stream": dice.percent(50)}))
        }
        5 => {
            let audio = json!({"data": "UklGRg==", "format": "wav"});
            let body = json!({"model": of("openai/whisper-1"), "input_audio": audio, "note": text});
            ("/api/v1/audio/transcriptions", body)
        }
        6 => ("/api/v1/audio/speech", json!({"model": of("openai/gpt-4o-mini-tts"), "input": text, "voice": "alloy"})),
        _ => ("/api/alpha/decisions", json!({"model": of("typesafe/decider-1"), "input": text})),
    }
}
