//! Exact wire shapes of the text endpoints: what each line of SSE and each JSON body looks like.

use super::*;
use crate::simulator::json::text;

const CHAT: &str = "/api/v1/chat/completions";
const COMPLETIONS: &str = "/api/v1/completions";
const RESPONSES: &str = "/api/v1/responses";
const MESSAGES: &str = "/api/v1/messages";
const TIME: &str = "2026-11-25T12:00:00Z";

/// One request in the endpoint's own words.
fn body(path: &str, model: &str, stream: bool) -> Value {
    match path {
        RESPONSES => json!({"model": model, "stream": stream, "max_output_tokens": 50, "input": "hello"}),
        COMPLETIONS => json!({"model": model, "stream": stream, "max_tokens": 50, "prompt": "hello"}),
        _ => chat(model, stream),
    }
}

async fn answer(path: &str, model: &str, stream: bool) -> (Answer, Facts) {
    let simulator = simulator_at(TIME).await;
    let key = simulator.funded_key(Pico::usd(5));
    let body = body(path, model, stream);
    let answer = post(&simulator, path, &key.text, &body).await;
    assert_eq!((answer.status, answer.ending), (200, client::Ending::Whole));
    let id = answer.header("x-generation-id").expect("an id").to_owned();
    assert!(id.starts_with("gen-1795608000-") && id.len() == 35, "{id}");
    let (prompt, call) = (body.to_string().len() as u64 / 4, simulator.bill().generations.remove(0));
    (answer, Facts { id, prompt, output: call.output_tokens, cost: call.cost })
}

/// What an answer mentions.
struct Facts {
    id: String,
    prompt: u64,
    output: u64,
    cost: Pico,
}

impl Facts {
    /// `"cost":…,"is_byok":…,"cost_details":{…}`
    fn cost(&self, input: &str, output: &str) -> String {
        let (cost, base) = (text(&self.cost.to_json()), text(&(Pico(127_037) * self.prompt).to_json()));
        let written = text(&(Pico(390_001) * self.output).to_json());
        format!(
            r#""cost":{cost},"is_byok":false,"cost_details":{{"upstream_inference_cost":{cost},"upstream_inference_{input}_cost":{base},"upstream_inference_{output}_cost":{written}}}"#
        )
    }

    fn chat_usage(&self) -> String {
        format!(
            r#"{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},{},"prompt_tokens_details":{{"cached_tokens":0,"cache_write_tokens":0,"audio_tokens":0,"video_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"image_tokens":0,"audio_tokens":0}}}}"#,
            self.prompt,
            self.output,
            self.prompt + self.output,
            self.cost("prompt", "completions")
        )
    }

    fn responses_usage(&self) -> String {
        format!(
            r#"{{"input_tokens":{},"input_tokens_details":{{"cached_tokens":0}},"output_tokens":{},"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":{},{}}}"#,
            self.prompt,
            self.output,
            self.prompt + self.output,
            self.cost("input", "output")
        )
    }

    fn messages_usage(&self, output: u64, cost: &str) -> String {
        format!(
            r#"{{"input_tokens":{},"output_tokens":{output},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"service_tier":"standard"{cost}}}"#,
            self.prompt
        )
    }
}

/// The texts of two words, as JSON has them, taken from an answer so that the rest of it can be compared exactly.
fn two_words(answer: &Answer, pointer: &str) -> (String, String) {
    let words: Vec<String> =
        answer.events().iter().filter_map(|e| e.pointer(pointer)?.as_str().map(str::to_owned)).collect();
    let [first, second, ..] = words.as_slice() else { panic!("two words: {}", answer.text()) };
    assert!(!first.is_empty() && second.starts_with(' '), "{words:?}");
    (text(first), text(second))
}

#[tokio::test]
async fn chat_streams() {
    for (path, object, open, close) in [
        (CHAT, "chat.completion.chunk", r#""delta":{"role":"assistant","content":"#, "}"),
        ("/api/v1/cursor/chat/completions", "chat.completion.chunk", r#""delta":{"role":"assistant","content":"#, "}"),
        (COMPLETIONS, "text_completion", r#""text":"#, ""),
    ] {
        let (answer, facts) = answer(path, "sim/play?output_tokens=2&comments=2&comments_between=true", true).await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        let pointer = if path == COMPLETIONS { "/choices/0/text" } else { "/choices/0/delta/content" };
        let (first, second) = two_words(&answer, pointer);
        let envelope = format!(
            r#"data: {{"id":"{}","provider":"Simulated","model":"sim/play","object":"{object}","created":1795608000,"system_fingerprint":null,"choices":[{{"index":0,{open}"#,
            facts.id
        );
        let chunk = |word: &str, finish: &str| {
            format!(
                r#"{envelope}{word}{close},"logprobs":null,"finish_reason":{finish},"native_finish_reason":{finish}}}]"#
            )
        };
        let (ended, usage) = (chunk("\"\"", "\"stop\""), facts.chat_usage());
        let events = [
            format!("{}}}", chunk(&first, "null")),
            format!("{}}}", chunk(&second, "null")),
            format!("{ended}}}"),
            format!(r#"{ended},"usage":{usage}}}"#),
            "data: [DONE]".to_owned(),
        ];
        let comment = ": OPENROUTER PROCESSING\n\n";
        assert_eq!(
            answer.text(),
            format!("{comment}{comment}{}\n\n", events.join(&format!("\n\n{comment}"))),
            "{path}"
        );
    }
}

#[tokio::test]
async fn chat_bodies() {
    for (path, object) in [(CHAT, "chat.completion"), (COMPLETIONS, "text_completion")] {
        let (answer, facts) = answer(path, "sim/play?output_tokens=2", false).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body = answer.json();
        let said = if path == CHAT { &body["choices"][0]["message"]["content"] } else { &body["choices"][0]["text"] };
        assert!(said.as_str().is_some_and(|said| said.contains(' ')), "two words: {said}");
        let choice = match path {
            CHAT => format!(
                r#""logprobs":null,"message":{{"role":"assistant","content":{said},"refusal":null,"reasoning":null}}"#
            ),
            _ => format!(r#""text":{said},"logprobs":null"#),
        };
        let expected = format!(
            r#"{{"id":"{}","provider":"Simulated","model":"sim/play","object":"{object}","created":1795608000,"system_fingerprint":null,"choices":[{{"index":0,{choice},"finish_reason":"stop","native_finish_reason":"stop"}}],"usage":{}}}"#,
            facts.id,
            facts.chat_usage()
        );
        assert_eq!(answer.text(), expected);
    }
}

#[tokio::test]
async fn responses_streams() {
    let (answer, facts) = answer(RESPONSES, "sim/play?output_tokens=2&comments=1", true).await;
    let (first, second) = two_words(&answer, "/delta");
    let said = text(&answer.events().iter().filter_map(|e| e["delta"].as_str()).collect::<String>());
    let item_id = format!("msg_{}", facts.id.rsplit('-').next().expect("letters"));
    let item = |status: &str, content: &str| {
        format!(r#"{{"id":"{item_id}","type":"message","status":"{status}","role":"assistant","content":[{content}]}}"#)
    };
    let part = |said: &str| format!(r#"{{"type":"output_text","text":{said},"annotations":[]}}"#);
    let whole = item("completed", &part(&said));
    let response = |status: &str, output: &str, usage: &str| {
        format!(
            r#""response":{{"id":"{}","object":"response","created_at":1795608000,"model":"sim/play","status":"{status}","output":[{output}],"error":null,"incomplete_details":null,"instructions":null,"metadata":{{}},"temperature":1,"tool_choice":"auto","tools":[],"store":false,"usage":{usage}}}"#,
            facts.id
        )
    };
    let at = |name: &str, value: &str| {
        format!(r#""item_id":"{item_id}","output_index":0,"content_index":0,"{name}":{value}"#)
    };
    let events = [
        ("created", response("in_progress", "", "null")),
        ("in_progress", response("in_progress", "", "null")),
        ("output_item.added", format!(r#""output_index":0,"item":{}"#, item("in_progress", ""))),
        ("content_part.added", at("part", &part("\"\""))),
        ("output_text.delta", at("delta", &first)),
        ("output_text.delta", at("delta", &second)),
        ("output_text.done", at("text", &said)),
        ("content_part.done", at("part", &part(&said))),
        ("output_item.done", format!(r#""output_index":0,"item":{whole}"#)),
        ("completed", response("completed", &whole, &facts.responses_usage())),
    ];
    let mut expected = ": \n\n".to_owned();
    for (number, (kind, fields)) in events.into_iter().enumerate() {
        expected.push_str(&format!("data: {{\"type\":\"response.{kind}\",{fields},\"sequence_number\":{number}}}\n\n"));
    }
    expected.push_str("data: [DONE]\n\n");
    assert_eq!(answer.text(), expected);
}

#[tokio::test]
async fn messages_streams() {
    let (answer, facts) = answer(MESSAGES, "sim/play?output_tokens=2&comments=1", true).await;
    let (first, second) = two_words(&answer, "/delta/text");
    let usage = facts.messages_usage(0, "");
    let message = format!(
        r#"{{"id":"{}","type":"message","role":"assistant","container":null,"content":[],"model":"sim/play","stop_reason":null,"stop_sequence":null,"usage":{usage},"provider":"Simulated"}}"#,
        facts.id
    );
    let delta = |word: &str| format!(r#","index":0,"delta":{{"type":"text_delta","text":{word}}}"#);
    let usage = facts.messages_usage(2, &format!(",{}", facts.cost("prompt", "completions")));
    let end = format!(
        r#","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{usage},"context_management":null"#
    );
    let events = [
        ("ping", String::new()),
        ("message_start", format!(r#","message":{message}"#)),
        ("ping", String::new()),
        ("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#.to_owned()),
        ("content_block_delta", delta(&first)),
        ("content_block_delta", delta(&second)),
        ("content_block_stop", r#","index":0"#.to_owned()),
        ("message_delta", end),
        ("message_stop", String::new()),
    ];
    let events = events.map(|(kind, fields)| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{fields}}}\n\n"));
    assert_eq!(answer.text(), format!("{}event: data\ndata: [DONE]\n\n", events.concat()));
}

#[tokio::test]
async fn responses_and_messages_bodies() {
    let (got, facts) = answer(RESPONSES, "sim/play?output_tokens=2", false).await;
    let body = got.json();
    let printed = got.text();
    assert!(printed.ends_with(&format!(r#","usage":{}}}"#, facts.responses_usage())), "{printed}");
    assert_eq!((&body["id"], &body["status"]), (&json!(facts.id), &json!("completed")));
    assert_eq!(body["output"][0]["content"][0]["type"], "output_text");

    let (got, facts) = answer(MESSAGES, "sim/play?output_tokens=2", false).await;
    let said = got.json()["content"][0]["text"].clone();
    let usage = facts.messages_usage(2, &format!(",{}", facts.cost("prompt", "completions")));
    let expected = format!(
        r#"{{"id":"{}","type":"message","role":"assistant","container":null,"content":[{{"type":"text","text":{said},"citations":null}}],"model":"sim/play","stop_reason":"end_turn","stop_sequence":null,"usage":{usage},"provider":"Simulated"}}"#,
        facts.id
    );
    assert_eq!(got.text(), expected);
}

#[tokio::test]
async fn every_dialect_says_that_the_limit_was_reached() {
    let model = "sim/play?output_tokens=50";
    let reason = async |path, pointer: &str| answer(path, model, false).await.0.json().pointer(pointer).cloned();
    assert_eq!(reason(CHAT, "/choices/0/finish_reason").await, Some(json!("length")));
    assert_eq!(reason(COMPLETIONS, "/choices/0/native_finish_reason").await, Some(json!("length")));
    assert_eq!(reason(MESSAGES, "/stop_reason").await, Some(json!("max_tokens")));
    assert_eq!(reason(RESPONSES, "/status").await, Some(json!("incomplete")));
    assert_eq!(reason(RESPONSES, "/incomplete_details/reason").await, Some(json!("max_output_tokens")));
    let last = answer(RESPONSES, model, true).await.0.events().pop().expect("an event");
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.incomplete"), &json!("incomplete")));
}
