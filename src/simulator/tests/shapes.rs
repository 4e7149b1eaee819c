//! The same answers in other shapes: usage elsewhere, costs verbatim, padding, chunks, packing.

use super::*;
use crate::simulator::KeySettings;

const CHAT: &str = "/api/v1/chat/completions";
const RESPONSES: &str = "/api/v1/responses";
const MESSAGES: &str = "/api/v1/messages";
/// What a JSON body is padded with.
const PADDING: &str = "\n         \n";

fn body(path: &str, model: &str, stream: bool) -> Value {
    let mut body = chat(model, stream);
    if path == RESPONSES {
        body["input"] = "hello".into();
    }
    body
}

/// Every object in an answer's JSON or events at whose `pointer` there is something other than null.
fn found(answer: &Answer, stream: bool, pointer: &str) -> Vec<Value> {
    let documents = if stream { answer.events() } else { vec![answer.json()] };
    documents.iter().filter_map(|value| value.pointer(pointer)).filter(|value| !value.is_null()).cloned().collect()
}

#[tokio::test]
async fn a_cost_is_printed_as_it_was_ordered_and_billed_if_it_is_one() {
    let (simulator, key) = simulator().await;
    let usual = |prompt: usize| Pico(127_037) * prompt as u64 + Pico(390_001) * 2;
    for (path, place) in [(CHAT, "/usage"), (RESPONSES, "/response/usage"), (MESSAGES, "/usage")] {
        for (cost, billed) in [
            ("7.669e-7", Some(Pico(766_900))),
            ("3E-7", Some(Pico(300_000))),
            ("0.000126255304", Some(Pico(126_255_304))),
            ("0", Some(Pico::ZERO)),
            ("null", None),
            ("missing", None),
        ] {
            for stream in [true, false] {
                let before = simulator.bill().total;
                let request = body(path, &format!("sim/play?output_tokens=2&cost={cost}"), stream);
                let answer = post(&simulator, path, &key.text, &request).await;
                let what = format!("{path} {stream} {cost}: {}", answer.text());
                let printed =
                    format!("\"cost\":{cost},\"is_byok\":false,\"cost_details\":{{\"upstream_inference_cost\":{cost},");
                assert_eq!(answer.text().matches(&printed).count(), usize::from(cost != "missing"), "{what}");
                assert_eq!(answer.text().matches("\"cost\":").count(), usize::from(cost != "missing"), "{what}");
                let place = if stream { place } else { "/usage" };
                assert!(found(&answer, stream, place).iter().any(|usage| usage.is_object()), "{what}");
                let prompt = request.to_string().len() / 4;
                assert_eq!(simulator.bill().total - before, billed.unwrap_or_else(|| usual(prompt)), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn usage_stands_where_it_was_ordered() {
    let (simulator, key) = simulator().await;
    for path in [CHAT, RESPONSES, MESSAGES] {
        for stream in [true, false] {
            for (usage, shown) in [("normal", true), ("empty-choices", true), ("null", false), ("missing", false)] {
                let request = body(path, &format!("sim/play?output_tokens=2&usage={usage}"), stream);
                let answer = post(&simulator, path, &key.text, &request).await;
                let what = format!("{path} {stream} {usage}: {}", answer.text());
                let in_response = if stream && path == RESPONSES { "/response/usage/cost" } else { "/usage/cost" };
                assert_eq!(found(&answer, stream, in_response).len(), usize::from(shown), "{what}");
                if usage == "missing" && path != MESSAGES && !(path == RESPONSES && stream) {
                    assert!(!answer.text().contains("usage"), "{what}");
                }
            }
        }
    }
    let calls = simulator.bill().generations;
    assert!(calls.iter().all(|call| call.cost > Pico::ZERO), "what is not shown is billed all the same");
}

#[tokio::test]
async fn the_chunk_with_the_usage_repeats_the_choices_or_has_none() {
    let (simulator, key) = simulator().await;
    for (usage, choices) in [
        (
            "normal",
            json!([{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": null,
            "finish_reason": "stop", "native_finish_reason": "stop"}]),
        ),
        ("empty-choices", json!([])),
    ] {
        let request = chat(&format!("sim/play?output_tokens=1&usage={usage}"), true);
        let answer = post(&simulator, CHAT, &key.text, &request).await;
        let [_, ended, last] = <[Value; 3]>::try_from(answer.events()).expect("three events");
        assert_eq!((&ended["choices"][0]["finish_reason"], &ended["usage"]), (&json!("stop"), &Value::Null));
        assert_eq!(last["choices"], choices);
        assert!(last["usage"]["cost"].is_number());
        assert!(answer.text().ends_with("}\n\ndata: [DONE]\n\n"));
    }
}

#[tokio::test]
async fn json_is_padded_as_captured() {
    let (simulator, key) = simulator().await;
    for path in [CHAT, RESPONSES, MESSAGES] {
        let answer = post(&simulator, path, &key.text, &body(path, "sim/play?padding=3", false)).await;
        let text = answer.text();
        let rest = text.strip_prefix(&PADDING.repeat(3)).unwrap_or_else(|| panic!("{path}: {text}"));
        assert!(rest.starts_with("{\"id\":\"gen-") && rest.ends_with('}'), "{path}: {text}");
        assert_eq!((answer.chunks.len(), answer.header("transfer-encoding")), (4, Some("chunked")));

        let answer = post(&simulator, path, &key.text, &body(path, "sim/fixture-6", false)).await;
        assert_eq!((answer.status, answer.text()), (200, PADDING.repeat(200)));
        let answer = post(&simulator, path, &key.text, &body(path, "sim/fixture-6-error", false)).await;
        let rest = answer.text().strip_prefix(&PADDING.repeat(2)).map(str::to_owned).expect("padding");
        assert!(rest.contains("The operation was aborted") && rest.starts_with('{'), "{path}: {rest}");
        assert_eq!(answer.status, 200);
    }
    let answer = post(&simulator, CHAT, &key.text, &chat("sim/play", false)).await;
    assert!(answer.text().starts_with('{') && answer.header("content-length").is_some(), "only if ordered");
}

#[tokio::test]
async fn chunks_fall_where_they_were_ordered() {
    let (simulator, key) = simulator().await;
    let whole = async |options: &str| {
        // The options are headers: the same body makes the same text.
        let mut client = Client::connect(simulator.addr()).await;
        let headers: Vec<(&str, &str)> = options.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let answer = client.post(CHAT, &key.text, &headers, &chat("sim/play?output_tokens=30", true)).await;
        let words: Vec<Value> = answer.events().iter().map(|event| event["choices"].clone()).collect();
        (answer.chunks, words)
    };
    let (events, words) = whole("").await;
    assert_eq!(events.len(), 33, "an event is a chunk");
    assert!(events.iter().all(|event| event.starts_with(b"data: ") && event.ends_with(b"\n\n")));

    let (chunks, same) = whole("x-sim-coalesce=true").await;
    assert_eq!((chunks.len(), &same), (1, &words));

    let (chunks, same) = whole("x-sim-coalesce=true&x-sim-chunk=7").await;
    let (last, others) = chunks.split_last().expect("chunks");
    assert!(others.iter().all(|chunk| chunk.len() == 7) && (1..=7).contains(&last.len()));
    assert_eq!(same, words);

    let (chunks, same) = whole("x-sim-split-utf8=true").await;
    let inside = chunks.iter().filter(|chunk| std::str::from_utf8(chunk).is_err()).count();
    assert!(inside >= 2 && chunks.len() > 33, "{inside} chunks end or begin inside a character");
    assert_eq!(same, words);
}

#[tokio::test]
async fn bodies_are_framed_and_packed_as_ordered() {
    let (simulator, key) = simulator().await;
    for (option, name, value) in [
        ("framing=length", "content-length", None),
        ("framing=chunked", "transfer-encoding", Some("chunked")),
        ("framing=close", "connection", Some("close")),
    ] {
        let model = format!("sim/play?{option}");
        for stream in [true, false] {
            let answer = post(&simulator, CHAT, &key.text, &chat(&model, stream)).await;
            assert!(answer.header(name).is_some_and(|got| value.is_none_or(|value| value == got)), "{option} {stream}");
            assert_eq!(found(&answer, stream, "/usage/cost").len(), 1, "{option} {stream}");
        }
    }
    for (option, begins) in [("gzip", &[0x1f, 0x8b][..]), ("br", &[])] {
        let model = format!("sim/play?encoding={option}");
        let answer = post(&simulator, CHAT, &key.text, &chat(&model, false)).await;
        assert_eq!(answer.header("content-encoding"), Some(option));
        let packed = answer.body();
        assert!(packed.starts_with(begins) && packed.first() != Some(&b'{'), "{option}");
        assert!(memchr::memmem::find(&packed, b"\"cost\":").is_some(), "both carry it as it is");
    }
}

#[tokio::test]
async fn an_answer_can_be_replaced_and_its_head_dressed_up() {
    let (simulator, key) = simulator().await;
    let answer = post(&simulator, CHAT, &key.text, &chat("sim/play?status=207&body=%7B%22a%22%3A1%7D", false)).await;
    assert_eq!((answer.status, answer.text().as_str()), (207, r#"{"a":1}"#));
    assert!(simulator.bill().generations.is_empty(), "nothing was run");
    let raw = "sim/play?raw=HTTP/1.1 299 Odd%0D%0Acontent-length: 2%0D%0A%0D%0Aok";
    let answer = post(&simulator, CHAT, &key.text, &chat(raw, false)).await;
    assert_eq!((answer.status, answer.text().as_str()), (299, "ok"));
    assert!(simulator.bill().generations.is_empty(), "nothing was run");

    let dressed = r#"sim/play?no_generation_id=true&headers={"x-provider-name":"Simulated"}"#;
    let answer = post(&simulator, CHAT, &key.text, &chat(dressed, false)).await;
    assert_eq!((answer.header("x-generation-id"), answer.header("x-provider-name")), (None, Some("Simulated")));
    assert_eq!(simulator.bill().generations.len(), 1);
}

#[tokio::test]
async fn texts_are_as_long_and_as_misleading_as_ordered() {
    let (simulator, key) = simulator().await;
    let sibling = simulator.make_key(key.account, KeySettings::default());
    let answer = post(&simulator, RESPONSES, &key.text, &body(RESPONSES, "sim/fixture-3", true)).await;
    let text = answer.text();
    let longest = text.lines().map(str::len).max().unwrap_or(0);
    assert!(longest > 2_000_000 && answer.events().last().is_some_and(|e| e["type"] == "response.completed"));

    let planted = chat("sim/play?plant=true&output_tokens=4", true);
    let answer = post(&simulator, CHAT, &sibling.text, &planted).await;
    let said: String = answer
        .events()
        .iter()
        .filter_map(|e| e.pointer("/choices/0/delta/content")?.as_str().map(str::to_owned))
        .collect();
    for plant in
        ["\"cost\":41.5", "\n\ndata: {\"id\":\"gen-planted\"", "data: [DONE]", "Key limit exceeded (total limit)"]
    {
        assert!(said.contains(plant), "{plant}");
    }
    let costs = found(&answer, true, "/usage/cost");
    assert_eq!(costs, [simulator.bill().keys[sibling.index].cost.to_json()], "quoted, it is only text");
}
