//! How fast is an answer read for its cost, in MB/s, as JSON and as a stream of events?
//!
//! `cargo bench --bench usage`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use potluck::money::{Cost, Usd};
use potluck::upstream::{BodyShape, Endpoint, UsageReader};

/// How much Pingora reads from a socket at a time.
const CHUNK_BYTES: usize = 64 * 1024;
const USAGE: &str =
    r#""usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"cost":7.669e-7,"is_byok":false}"#;

/// A completion with that much text in it.
fn completion(text_bytes: usize) -> Vec<u8> {
    let text = r#"Bring a dish, she said: \"soup\".\n "#.repeat(text_bytes / 35 + 1);
    format!(r#"{{"id":"gen-1","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}}}}],{USAGE}}}"#)
        .into_bytes()
}

/// A stream of so many events, each with a few characters of text.
fn stream(events: usize) -> Vec<u8> {
    let start = r#"data: {"id":"gen-1","object":"chat.completion.chunk","created":1796083200,"model":"openai/gpt-4o","provider":"OpenAI","choices":[{"index":0,"delta":{"role":"assistant","content":""#;
    let mut body = format!("{start} soup\"}},\"finish_reason\":null}}]}}\n\n").repeat(events);
    body.push_str(&format!("{start}\"}},\"finish_reason\":\"stop\"}}],{USAGE}}}\n\ndata: [DONE]\n\n"));
    body.into_bytes()
}

fn cost(shape: BodyShape, body: &[u8]) -> Cost {
    let mut reader = UsageReader::new(Endpoint::ChatCompletions, shape);
    body.chunks(CHUNK_BYTES).for_each(|chunk| reader.push(black_box(chunk)));
    reader.finish().cost
}

fn usage(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("usage");
    for (name, shape, body) in [
        ("json small", BodyShape::Json, completion(40)),
        ("json 1 MiB of text", BodyShape::Json, completion(1 << 20)),
        ("sse 1 event", BodyShape::EventStream, stream(1)),
        ("sse 5,000 events", BodyShape::EventStream, stream(5_000)),
        ("sse 2 MB line", BodyShape::EventStream, [b"data: ", &*completion(2_000_000), b"\n\n"].concat()),
    ] {
        assert_eq!(cost(shape, &body), Cost::Known(Usd::from_pico(766_900)), "{name}");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| cost(shape, &body)));
    }
    group.finish();
}

criterion_group!(benches, usage);
criterion_main!(benches);
