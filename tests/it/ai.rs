//! `/api/ai/…`: completions whose model the router chooses, over real sockets.

use potluck::money::{Limits, ModelGlobs};
use potluck::pot::KeyRef;
use potluck::simulator::{Fault, Pico, Play, Script};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Answer, Ask, House, MODEL};

const COMPLETION: &str = "/api/ai/completion";
const SONNET: &str = "anthropic/claude-sonnet-4.5";
const FLASH: &str = "google/gemini-2.5-flash";
const CODE: &str = "Write a Python function that reverses a list.";

fn ask(body: &Value) -> Ask {
    Ask::post(COMPLETION, body.to_string())
}

/// The last completion went up with exactly this body.
fn assert_sent(house: &House, body: &str) {
    let entry = house.went_up().pop().expect("something went up");
    assert_eq!((entry.path(), entry.body_len), ("/api/v1/chat/completions", body.len() as u64));
    let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(entry.body_sha256, hash, "not sent: {body}");
    assert_eq!(entry.header("content-type"), ["application/json"]);
}

/// `_routing`, with its five members and nothing else.
fn routing(answer: &Value) -> Value {
    let routing = answer["_routing"].clone();
    let names: Vec<&str> = routing.as_object().expect("_routing").keys().map(String::as_str).collect();
    assert_eq!(names, ["model", "provider", "category", "reason", "responseTimeMs"]);
    assert!(routing["responseTimeMs"].is_u64() && !routing["reason"].as_str().unwrap().is_empty());
    routing
}

fn refused(answer: &Answer, status: u16, field: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.json()["error"]["param"], field, "{}", answer.text());
}

#[tokio::test]
async fn the_router_chooses_and_the_answer_says_what() {
    let house = House::new(1, "").await;
    let body = format!(r#"{{ "messages": [{{"role":"user","content":"{CODE}"}}], "top_p" : 5.0e-1 }}"#);
    let answer = house.ask(&Ask::new("POST", COMPLETION).body(body)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert!(answer.whole && answer.header("content-length").is_none());
    let body = answer.json();
    let told = routing(&body);
    assert_eq!([&told["model"], &told["category"], &told["provider"]], [SONNET, "coding", "Anthropic"]);
    assert!(told["reason"].as_str().unwrap().contains("\"python\""), "{told}");
    assert_eq!((&body["model"], &body["object"]), (&json!(SONNET), &json!("chat.completion")));
    assert_sent(
        &house,
        &format!(r#"{{"model":"{SONNET}","messages":[{{"role":"user","content":"{CODE}"}}],"top_p":5.0e-1}}"#),
    );
    house.assert_books_balance().await;
    assert!(house.sim.bill().total > Pico::ZERO);
}

#[tokio::test]
async fn the_rest_of_the_answer_is_the_upstreams_byte_for_byte() {
    let house = House::new(1, "").await;
    let body = "\n   \n{ \"id\":\"gen-1\", \"n\": 1.0e0,\"choices\":[ ]}\n ";
    for chunk in [0, 1, 7] {
        let play = Play { body: Some(body.into()), chunk: Some(chunk), ..Play::default() };
        house.sim.script(Script::next(play));
        let text = house.ask(&ask(&json!({"prompt": "hi"}))).await.text();
        let (before, added) = text.split_once(",\"_routing\":{").expect("added");
        assert_eq!(format!("{before}{}", added.split_once('}').expect("closed").1), body);
        assert!(text.contains("\"provider\":\"openrouter\""), "{text}");
    }
}

#[tokio::test]
async fn a_stream_has_the_decision_just_before_its_end() {
    let house = House::new(1, "").await;
    let (twin, keys) = house.twin(1).await;
    let request = json!({"prompt": "Translate into French: good night", "stream": true});
    let answer = house.ask(&ask(&request)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    let direct = json!({"model": FLASH, "messages": [{"role": "user", "content": request["prompt"]}], "stream": true});
    let bearer = format!("Bearer {}", keys[0].text);
    let direct = Ask::post("/api/v1/chat/completions", direct.to_string()).header("authorization", &bearer);
    let direct = direct.send(twin.addr()).await.text();
    let text = answer.text();
    let events: Vec<&str> = text.split_inclusive("\n\n").collect();
    let (last, rest) = (events[events.len() - 2], [&events[..events.len() - 2], &events[events.len() - 1..]].concat());
    assert_eq!(rest.concat(), direct, "the events are the upstream's");
    assert_eq!(*rest.last().unwrap(), "data: [DONE]\n\n");
    let chunk: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).expect("JSON");
    let told = routing(&chunk);
    assert_eq!([&told["model"], &told["category"], &told["provider"]], [FLASH, "translation", "Google AI Studio"]);
    assert_eq!((&chunk["object"], &chunk["choices"]), (&json!("chat.completion.chunk"), &json!([])));
    let id = answer.header("x-generation-id").expect("an id");
    assert_eq!((chunk["id"].as_str(), chunk["created"].is_u64()), (Some(id), true));
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_stream_in_single_bytes_is_the_same() {
    let house = House::new(1, "").await;
    let play = Play { chunk: Some(1), comments: Some(2), ..Play::default() };
    house.sim.script(Script::next(play));
    let text = house.ask(&ask(&json!({"prompt": "hello", "stream": true}))).await.text();
    assert_eq!(text.matches("_routing").count(), 1);
    assert!(text.ends_with("}}\n\ndata: [DONE]\n\n") && text.starts_with(": OPENROUTER"), "{text}");
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_named_model_and_a_named_category_are_obeyed() {
    let house = House::new(1, "").await;
    let answer = house.ask(&ask(&json!({"prompt": CODE, "model": MODEL, "maxTokens": 9}))).await.json();
    let told = routing(&answer);
    assert_eq!([&told["model"], &told["category"]], [MODEL, "coding"]);
    assert_eq!(told["reason"], "the request names the model");
    let prompt = format!(r#"[{{"role":"user","content":"{CODE}"}}]"#);
    assert_sent(&house, &format!(r#"{{"model":"{MODEL}","messages":{prompt},"max_tokens":9}}"#));
    for field in ["category", "requestType"] {
        let answer = house.ask(&ask(&json!({"prompt": CODE, field: "summarization"}))).await.json();
        let told = routing(&answer);
        assert_eq!([&told["model"], &told["category"]], [FLASH, "summarization"], "{field}");
        assert_sent(&house, &format!(r#"{{"model":"{FLASH}","messages":{prompt}}}"#));
    }
    house.assert_books_balance().await;
}

#[tokio::test]
async fn bad_input_is_refused_with_its_field_and_nothing_goes_up() {
    let house = House::new(1, "").await;
    let before = house.sim.received();
    for (body, field) in [
        ("{\"prompt\":", "body"),
        ("{}", "messages"),
        (r#"{"messages":[{"role":"user"},1]}"#, "messages[1]"),
        (r#"{"prompt":7}"#, "prompt"),
        (r#"{"prompt":"x","maxTokens":-1}"#, "maxTokens"),
        (r#"{"prompt":"x","max_tokens":0}"#, "max_tokens"),
        (r#"{"prompt":"x","temperature":3}"#, "temperature"),
        (r#"{"prompt":"x","stream":"yes"}"#, "stream"),
        (r#"{"prompt":"x","model":{}}"#, "model"),
        (r#"{"prompt":"x","category":"weaving"}"#, "category"),
        (r#"{"prompt":"x","requestType":"weaving"}"#, "requestType"),
    ] {
        for target in [COMPLETION, "/api/ai/route"] {
            refused(&house.ask(&Ask::post(target, body)).await, 400, field);
        }
    }
    // What reaches into a donor's account is refused as everywhere.
    refused(&house.ask(&ask(&json!({"prompt": "x", "store": true}))).await, 400, "store");
    refused(&house.ask(&ask(&json!({"prompt": "x", "model": "@preset/x"}))).await, 400, "model");
    assert_eq!(house.sim.received(), before);
}

const OWN: &str = r#"
[routing.categories.coding]
models = ["nobody/gone", { model = "anthropic/claude-sonnet-4.5", max_prompt_usd = "2.99" }, "google/gemini-2.5-flash"]
[routing.categories.knitting]
description = "Wool."
keywords = ["yarn", "stitch*"]
models = ["openai/gpt-4o-mini"]
"#;

#[tokio::test]
async fn what_is_gone_too_dear_or_not_allowed_is_passed_over() {
    let house = House::new(1, OWN).await;
    let told = routing(&house.ask(&ask(&json!({"prompt": CODE}))).await.json());
    assert_eq!([&told["model"], &told["category"]], [FLASH, "coding"]);
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("nobody/gone is not listed upstream") && reason.contains("costs more"), "{reason}");
    let told = routing(&house.ask(&ask(&json!({"prompt": "how many stitches in a row?"}))).await.json());
    assert_eq!([&told["model"], &told["category"]], [MODEL, "knitting"]);

    // A donor who allows nothing of Google's: the default category has something left.
    let key = house.overview().await.keys[0].id;
    let set = |limits: &mut Limits| limits.models = ModelGlobs::new(["openai/*"]);
    house.pot.change_limits(KeyRef::Id(key), set).await.expect("set");
    let told = routing(&house.ask(&ask(&json!({"prompt": CODE}))).await.json());
    assert_eq!([&told["model"], &told["category"]], [MODEL, "coding"]);
}

#[tokio::test]
async fn a_decision_costs_nothing_and_says_everything() {
    let house = House::new(1, OWN).await;
    let before = house.sim.received();
    let answer = house.ask(&Ask::post("/api/ai/route", json!({"prompt": CODE}).to_string())).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("private, no-store")));
    let body = answer.json();
    assert_eq!((&body["model"], &body["category"]), (&json!(FLASH), &json!("coding")));
    assert!(body["signals"].as_array().unwrap().iter().any(|s| s["category"] == "coding" && s["weight"].is_u64()));
    assert_eq!(body["passedOver"][0], json!({"model": "nobody/gone", "reason": "is not listed upstream"}));

    let list = house.ask(&Ask::get("/api/ai/categories")).await;
    assert_eq!((list.status, list.header("access-control-allow-origin")), (200, Some("*")));
    let list = list.json();
    assert_eq!(list["default"], "conversational");
    let names: Vec<&str> = list["categories"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(names.len(), 10);
    assert_eq!(names[9], "knitting");
    let coding = &list["categories"][1]["models"];
    assert_eq!((&coding[0]["usable"], &coding[2]["usable"]), (&json!(false), &json!(true)));
    assert_eq!(coding[1]["maxPromptUsd"], "2.99");
    let preflight = house.ask(&Ask::new("OPTIONS", COMPLETION)).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(house.sim.received(), before, "not a byte upstream");
    assert_eq!(house.sim.bill().total, Pico::ZERO);
}

#[tokio::test]
async fn errors_pass_as_they_do_elsewhere() {
    let house = House::new(2, "").await;
    house.sim.script(Script::next(Play { error: Some("403-key-total".into()), ..Play::default() }));
    let answer = house.ask(&ask(&json!({"prompt": "hello"}))).await;
    assert_eq!(answer.status, 200, "another key serves: {}", answer.text());
    for stream in [false, true] {
        house.sim.script(Script::next(Play { inside: Some(0), error: Some("429-provider".into()), ..Play::default() }));
        let text = house.ask(&ask(&json!({"prompt": "hello", "stream": stream}))).await.text();
        assert!(text.contains("\"error\"") && !text.contains("_routing"), "{text}");
    }
    let empty = House::new(0, "").await;
    let answer = empty.ask(&ask(&json!({"prompt": "hello"}))).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("no_keys_added")));
}

#[tokio::test]
async fn a_stream_that_breaks_off_looks_broken() {
    let house = House::new(1, "").await;
    house.sim.script(Script::next(Play { fault: Some(Fault::Cut { at: 200 }), ..Play::default() }));
    let answer = house.ask(&ask(&json!({"prompt": "hello", "stream": true}))).await;
    assert!(!answer.whole && !answer.text().contains("_routing"), "{}", answer.text());
}
