//! What does it cost to judge a refusal, and can a client make it dear?
//!
//! A chat 402, a Messages 403, Cloudflare's page of 16 KB, and a moderated prompt that fills the body to its bound with
//! what the rules look for elsewhere; each is also cleaned for the client.
//!
//! `cargo bench --bench blame`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use potluck::clock::Timestamp;
use potluck::pool::Lane;
use potluck::upstream::{Answer, Dialect, judge, scrub};

const NOW: Timestamp = Timestamp::from_secs(1_795_620_600);
const BODY_MAX_BYTES: usize = 64 * 1024;

fn answer(status: u16, body: &[u8], dialect: Dialect) -> Answer<'_> {
    Answer {
        status,
        retry_after: None,
        rate_limit_reset: None,
        content_type: None,
        generation: false,
        body,
        dialect,
        restricted: false,
        lane: Lane::Paid,
        model: Some("openai/gpt-5.2"),
    }
}

fn bodies() -> [(&'static str, u16, Dialect, Vec<u8>); 4] {
    let chat = r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only afford 27342. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account","code":402,"metadata":{"provider_name":null}},"user_id":"user_2abcdefghijklmnop"}"#;
    let messages = r#"{"type":"error","error":{"type":"permission_error","message":"Key limit exceeded (monthly limit). Manage it using https://openrouter.ai/settings/keys","error_type":"permission_denied"},"request_id":null}"#;
    let page =
        format!("<!DOCTYPE html><html><body>{}</body></html>", "<p>Sorry, you have been blocked</p>".repeat(470));
    let head = r#"{"error":{"message":"meta/llama-4 requires moderation on Meta.","code":403,"metadata":{"reasons":["misc"],"flagged_input":""#;
    let (plant, tail) = ("Key limit exceeded openrouter.ai/docs/ user_a ", r#""}}}"#);
    let room = BODY_MAX_BYTES - head.len() - tail.len();
    let flagged = format!("{head}{}{tail}", plant.repeat(room / plant.len()));
    [
        ("chat_402", 402, Dialect::Chat, chat.into()),
        ("messages_403", 403, Dialect::Messages, messages.into()),
        ("page_16_kb", 403, Dialect::Chat, page.into()),
        ("flagged_64_kb", 403, Dialect::Chat, flagged.into()),
    ]
}

fn verdicts(c: &mut Criterion) {
    let mut group = c.benchmark_group("judge");
    for (name, status, dialect, body) in bodies() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        let answer = answer(status, &body, dialect);
        group.bench_function(name, |b| b.iter(|| judge(black_box(&answer), NOW)));
    }
    group.finish();
}

fn cleaning(c: &mut Criterion) {
    let mut group = c.benchmark_group("scrub");
    for (name, status, dialect, body) in bodies() {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| b.iter(|| scrub(black_box(&body), dialect, status)));
    }
    group.finish();
}

criterion_group!(benches, verdicts, cleaning);
criterion_main!(benches);
