//! Errors inside a 200, and those that need no order: credentials, bodies, paths.

use super::*;

const CHAT: &str = "/api/v1/chat/completions";
const RESPONSES: &str = "/api/v1/responses";
const MESSAGES: &str = "/api/v1/messages";

async fn failing(options: &str, path: &str, stream: bool) -> (Answer, Generation) {
    let (simulator, key) = simulator().await;
    let mut body = chat(&format!("sim/play?{options}"), stream);
    body["input"] = "hello".into();
    let answer = post(&simulator, path, &key.text, &body).await;
    assert_eq!((answer.status, answer.ending), (200, client::Ending::Whole));
    let call = simulator.bill().generations.remove(0);
    assert_eq!(answer.header("x-generation-id"), Some(call.id.as_str()));
    (answer, call)
}

#[tokio::test]
async fn a_chat_stream_ends_with_its_error() {
    for (inside, words) in [(0, 0), (2, 2)] {
        let (answer, call) = failing(&format!("error=429-provider&inside={inside}"), CHAT, true).await;
        let mut events = answer.events();
        let mut last = events.pop().expect("an event");
        assert_eq!(events.len(), words);
        let mut error = last["error"].take();
        assert_eq!(error["metadata"]["limit_source"].take(), "upstream_provider_shared_pool");
        assert_eq!(error["metadata"]["error_type"], "rate_limit_exceeded");
        assert_eq!((&error["code"], &error["message"]), (&json!(429), &json!("Provider returned error")));
        assert_eq!(last["choices"], json!([{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]));
        assert_eq!((&last["id"], &last["object"]), (&json!(call.id), &json!("chat.completion.chunk")));
        assert_eq!(last.get("usage"), None);
        assert!(!answer.text().contains("[DONE]"), "the stream ends after it");
        assert_eq!((call.status, call.cost), (Status::Failed, Pico::ZERO));
    }
}

#[tokio::test]
async fn a_responses_stream_ends_with_response_failed() {
    for (inside, opening, words) in [(0, 0, 0), (2, 4, 2)] {
        let (answer, call) = failing(&format!("error=502&inside={inside}"), RESPONSES, true).await;
        let events = answer.events();
        let numbers: Vec<u64> = events.iter().filter_map(|event| event["sequence_number"].as_u64()).collect();
        assert_eq!(numbers, (0..=opening + words).collect::<Vec<_>>());
        let last = events.last().expect("an event");
        let error = json!({"code": "server_error", "message": "Provider returned error"});
        assert_eq!((&last["type"], &last["error_type"]), (&json!("response.failed"), &json!("provider_unavailable")));
        assert_eq!((&last["response"]["status"], &last["response"]["error"]), (&json!("failed"), &error));
        assert_eq!((&last["response"]["id"], &last["response"]["usage"]), (&json!(call.id), &Value::Null));
        assert!(answer.text().ends_with("\n\ndata: [DONE]\n\n"));
        assert_eq!((call.status, call.cost), (Status::Failed, Pico::ZERO));
    }
}

#[tokio::test]
async fn a_messages_stream_ends_with_an_error_event() {
    for (inside, events) in [(0, 1), (2, 6)] {
        let (answer, call) = failing(&format!("error=529&inside={inside}"), MESSAGES, true).await;
        let error =
            r#"{"type":"overloaded_error","message":"Provider returned error","error_type":"provider_overloaded"}"#;
        let last = format!("event: error\ndata: {{\"type\":\"error\",\"error\":{error}}}\n\n");
        assert!(answer.text().ends_with(&last), "{}", answer.text());
        assert_eq!(answer.events().len(), events);
        assert_eq!((call.status, call.cost), (Status::Failed, Pico::ZERO));
    }
}

#[tokio::test]
async fn the_type_of_an_error_is_the_same_in_every_dialect() {
    for (name, error_type) in [("403-policy", "content_policy_violation"), ("403-refusal", "refusal")] {
        let options = format!("error={name}&inside=1");
        let last = async |path| failing(&options, path, true).await.0.events().pop().expect("an event");
        assert_eq!(last(CHAT).await["error"]["metadata"]["error_type"], error_type);
        assert_eq!(last(RESPONSES).await["error_type"], error_type);
        assert_eq!(last(MESSAGES).await["error"]["error_type"], error_type);
    }
}

#[tokio::test]
async fn a_json_answer_is_its_error_or_has_it_next_to_text() {
    let body = async |options: &str, path| {
        let (answer, call) = failing(&format!("error=504&{options}"), path, false).await;
        assert_eq!((call.status, call.cost), (Status::Failed, Pico::ZERO), "{options}");
        (answer.json(), call.id)
    };
    let text = "Request timed out. Please try again later.";
    for path in [CHAT, RESPONSES] {
        let (got, id) = body("inside=0", path).await;
        assert_eq!(got, json!({"error": {"message": text, "code": 504}, "id": id}));
    }
    for options in ["inside=0", "inside=2&inside_choice=true"] {
        let (got, id) = body(options, MESSAGES).await;
        let error = json!({"type": "timeout_error", "message": text, "error_type": "timeout"});
        assert_eq!(got, json!({"type": "error", "error": error, "request_id": id}));
    }
    let (got, _) = body("inside=2&inside_choice=true", CHAT).await;
    let choice = &got["choices"][0];
    assert_eq!((&choice["finish_reason"], got.get("usage")), (&json!("error"), None));
    assert_eq!(choice["error"], json!({"code": 504, "message": text, "metadata": {"error_type": "timeout"}}));
    assert!(choice["message"]["content"].as_str().is_some_and(|said| said.contains(' ')), "{choice}");
    let (got, _) = body("inside=2&inside_choice=true", RESPONSES).await;
    assert_eq!((&got["status"], &got["error"]), (&json!("failed"), &json!({"code": "server_error", "message": text})));
    assert!(got["output"][0]["content"][0]["text"].as_str().is_some_and(|said| said.contains(' ')), "{got}");
}

#[tokio::test]
async fn an_error_with_usage_is_billed_for_what_was_made() {
    for (path, place) in [(CHAT, "/usage/cost"), (RESPONSES, "/response/usage/cost"), (MESSAGES, "/usage/cost")] {
        let (answer, call) = failing("error=502&inside=3&error_usage=true", path, true).await;
        let last = answer.events().pop().expect("an event");
        assert_eq!(last.pointer(place), Some(&call.cost.to_json()), "{path}");
        assert!(call.cost > Pico::ZERO && call.output_tokens == 3, "{path}");
    }
}

#[tokio::test]
async fn credentials_are_looked_at_first() {
    let (simulator, key) = simulator().await;
    let unknown = format!("Bearer sk-or-v1-{}", "0".repeat(64));
    let (bearer, basic) = (format!("Bearer {}", key.text), format!("Basic {}", key.text));
    for (headers, text) in [
        (&[][..], "No cookie auth credentials found"),
        (&[("authorization", "Bearer hello")], "No cookie auth credentials found"),
        (&[("authorization", &*basic)], "No cookie auth credentials found"),
        (&[("authorization", &*unknown)], "User not found."),
        (&[("x-api-key", &*key.text)], ""),
        (&[("authorization", &*bearer)], ""),
    ] {
        let mut client = Client::connect(simulator.addr()).await;
        let answer = client.request("POST", CHAT, headers, b"not JSON").await;
        let expected = if text.is_empty() { 400 } else { 401 };
        assert_eq!(answer.status, expected, "{headers:?}: {}", answer.text());
        assert!(text.is_empty() || answer.json() == json!({"error": {"message": text, "code": 401}}), "{headers:?}");
        let public = client.request("GET", "/api/v1/models", headers, b"").await;
        assert_eq!(public.status, 200, "lists are for anybody: {headers:?}");
    }
}

#[tokio::test]
async fn requests_are_refused_for_what_they_lack() {
    let (simulator, key) = simulator().await;
    let input = "Input required: specify \"prompt\" or \"messages\"";
    for (path, body, text) in [
        (CHAT, json!({"model": "sim/echo"}), input),
        (MESSAGES, json!({"model": "sim/echo", "prompt": "hello"}), input),
        (RESPONSES, json!({"messages": []}), input),
        (CHAT, json!("hello"), "Invalid JSON body: invalid type: string"),
        (CHAT, json!({"model": "nobody/nothing", "messages": []}), "nobody/nothing is not a valid model ID"),
        (RESPONSES, json!({"input": "x", "store": true}), "The Responses API is stateless: `store`"),
        (
            RESPONSES,
            json!({"input": "x", "previous_response_id": "gen-1"}),
            "The Responses API is stateless: `previous",
        ),
    ] {
        let answer = post(&simulator, path, &key.text, &body).await;
        let message = answer.json()["error"]["message"].as_str().map(str::to_owned).unwrap_or_default();
        assert!(answer.status == 400 && message.starts_with(text), "{path} {body}: {}", answer.text());
        assert_eq!(answer.header("x-generation-id"), None, "{path} {body}");
    }
    let served = json!({"input": "x", "store": false, "previous_response_id": null});
    assert_eq!(post(&simulator, RESPONSES, &key.text, &served).await.status, 200);
}

#[tokio::test]
async fn paths_lead_to_json_or_to_the_web_site() {
    let (simulator, key) = simulator().await;
    let not_found = r#"{"error":{"message":"Not Found","code":404}}"#;
    for (path, text) in [
        ("/api/v1/messages/count_tokens?beta=true", not_found),
        ("/api/v1/soup", not_found),
        ("/v1/chat/completions", "<!DOCTYPE html>"),
        ("/", "<!DOCTYPE html>"),
    ] {
        let answer = post(&simulator, path, &key.text, &chat("sim/echo", false)).await;
        assert!(answer.status == 404 && answer.text().starts_with(text), "{path}: {}", answer.text());
    }
    let answer = get(&simulator, "/api/v1/keys", &key.text).await;
    let error = json!({"message": "Only management keys can perform this operation", "code": 403});
    assert_eq!((answer.status, answer.json()["error"].clone()), (403, error));
    let mut client = Client::connect(simulator.addr()).await;
    let preflight = client.request("OPTIONS", CHAT, &[("origin", "https://soup.example")], b"").await;
    assert_eq!((preflight.status, preflight.header("content-length")), (204, None));
    let allowed = preflight.header("access-control-allow-headers").unwrap_or_default();
    assert!(allowed.contains("Authorization") && !allowed.contains("X-OpenRouter-Metadata"), "{allowed}");
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,OPTIONS,PATCH,DELETE,POST,PUT"));
    assert_eq!(client.request("GET", "/api/v1/models", &[], b"").await.status, 200, "the connection goes on");
}
