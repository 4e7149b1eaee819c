//! Clients get the error in their dialect, and nothing of the donor's.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const DIALECTS: [Dialect; 3] = [Dialect::Chat, Dialect::Responses, Dialect::Messages];
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const KEY: &str = "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";

fn scrubbed(body: &Value, dialect: Dialect, status: u16) -> String {
    text(scrub(body.to_string().as_bytes(), dialect, status))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

#[track_caller]
fn check(body: &Value, dialect: Dialect, status: u16, expected: &str) {
    assert_eq!(scrubbed(body, dialect, status), expected);
}

fn moderation() -> Value {
    json!({
        "error": {
            "message": "meta/llama-4 requires moderation on Meta. Your input was flagged for \"misc\".",
            "code": 403,
            "metadata": {
                "reasons": ["misc"], "flagged_input": "zum Beispiel…", "provider_name": "Meta",
                "model_slug": "meta/llama-4", "is_byok": false, "error_type": "content_policy_violation",
            },
        },
        "openrouter_metadata": {"region": "fra"},
        "user_id": "user_2abcdefghijklmnopqrstuvwxyz",
    })
}

#[test]
fn what_is_about_the_request_stays_in_its_order() {
    check(
        &moderation(),
        Dialect::Chat,
        403,
        concat!(
            r#"{"error":{"message":"meta/llama-4 requires moderation on Meta. Your input was flagged for \"misc\".","code":403,"#,
            r#""metadata":{"reasons":["misc"],"flagged_input":"zum Beispiel…","provider_name":"Meta","model_slug":"meta/llama-4","#,
            r#""error_type":"content_policy_violation"}}}"#,
        ),
    );
    let shared = json!({"error": {"code": 429, "message": "Provider returned error", "metadata": {
        "raw": "a/b is temporarily rate-limited upstream.", "provider_name": null, "is_byok": false,
        "limit_source": "upstream_provider_shared_pool", "retry_after_seconds": 7,
        "headers": {"X-RateLimit-Limit": "50", "Retry-After": "7", "X-RateLimit-Remaining": "0"},
        "previous_errors": [{"code": 402, "message": "Insufficient credits"}],
    }, "availability": {"code": "capacity_exhausted", "retryable": true, "retry_after": 9, "account": "x"}}, "user_id": "user_1"});
    check(
        &shared,
        Dialect::Chat,
        429,
        concat!(
            r#"{"error":{"code":429,"message":"Provider returned error","metadata":{"raw":"a/b is temporarily rate-limited upstream.","#,
            r#""provider_name":null,"limit_source":"upstream_provider_shared_pool","retry_after_seconds":7,"headers":{"Retry-After":"7"}},"#,
            r#""availability":{"code":"capacity_exhausted","retryable":true,"retry_after":9}}}"#,
        ),
    );
    let responses = json!({"error": {"code": "invalid_prompt", "message": "too long"}, "metadata": null});
    check(
        &responses,
        Dialect::Responses,
        400,
        r#"{"error":{"code":"invalid_prompt","message":"too long"},"metadata":null}"#,
    );
    let messages = json!({"type": "error", "error": {"type": "not_found_error", "message": "no", "error_type": "not_found"}, "request_id": null});
    check(
        &messages,
        Dialect::Messages,
        404,
        r#"{"type":"error","error":{"type":"not_found_error","message":"no","error_type":"not_found"},"request_id":null}"#,
    );
    let zod = json!({"success": false, "error": {"name": "ZodError", "message": "[{\"code\":\"x\"}]"}});
    check(&zod, Dialect::Chat, 400, r#"{"success":false,"error":{"name":"ZodError","message":"[{\"code\":\"x\"}]"}}"#);
}

#[test]
fn errors_are_turned_into_the_dialect_of_the_endpoint() {
    let chat = json!({"error": {"message": "no", "code": 400, "metadata": {"error_type": "invalid_request", "provider_name": "P"}}});
    check(
        &chat,
        Dialect::Responses,
        400,
        concat!(
            r#"{"error":{"message":"no","code":"invalid_prompt"},"metadata":{"error_type":"invalid_request","provider_name":"P"},"#,
            r#""error_type":"invalid_request"}"#,
        ),
    );
    check(
        &chat,
        Dialect::Messages,
        400,
        concat!(
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"no","code":400,"error_type":"invalid_request","#,
            r#""metadata":{"error_type":"invalid_request","provider_name":"P"}},"request_id":null}"#,
        ),
    );
    let responses = json!({"error": {"code": "server_error", "message": "no"}, "metadata": {"provider_name": "P"}, "error_type": "timeout"});
    check(
        &responses,
        Dialect::Chat,
        504,
        r#"{"error":{"code":504,"message":"no","metadata":{"provider_name":"P","error_type":"timeout"}}}"#,
    );
    check(
        &responses,
        Dialect::Messages,
        504,
        concat!(
            r#"{"type":"error","error":{"type":"timeout_error","code":"server_error","message":"no","error_type":"timeout","#,
            r#""metadata":{"provider_name":"P"}},"request_id":null}"#,
        ),
    );
    let messages = json!({"type": "error", "error": {"type": "overloaded_error", "message": "no", "error_type": "provider_overloaded"}, "request_id": "req_1"});
    check(
        &messages,
        Dialect::Chat,
        503,
        r#"{"error":{"type":"overloaded_error","message":"no","code":503,"metadata":{"error_type":"provider_overloaded"}}}"#,
    );
    check(
        &messages,
        Dialect::Responses,
        503,
        r#"{"error":{"type":"overloaded_error","message":"no","code":"server_error"},"metadata":null,"error_type":"provider_overloaded"}"#,
    );
    let nested = json!({"error": {"error": {"message": "no", "code": 400}, "code": 400}, "code": 400});
    check(&nested, Dialect::Chat, 400, r#"{"error":{"message":"no","code":400}}"#);
    let zod = json!({"success": false, "error": {"name": "ZodError", "message": "[]"}});
    check(
        &zod,
        Dialect::Messages,
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","name":"ZodError","message":"[]"},"request_id":null}"#,
    );
}

#[test]
fn what_is_no_error_becomes_one() {
    let page = b"\n <!DOCTYPE html><html>openrouter.ai/workspaces/x</html>";
    let check = |body: &[u8], sentence: &str| {
        assert_eq!(
            text(scrub(body, Dialect::Chat, 503)),
            format!(r#"{{"error":{{"message":"{sentence}","code":503}}}}"#)
        );
        let responses = format!(r#"{{"error":{{"message":"{sentence}","code":"server_error"}},"metadata":null}}"#);
        assert_eq!(text(scrub(body, Dialect::Responses, 503)), responses);
        let messages = format!(
            r#"{{"type":"error","error":{{"type":"overloaded_error","message":"{sentence}","code":503}},"request_id":null}}"#
        );
        assert_eq!(text(scrub(body, Dialect::Messages, 503)), messages);
    };
    check(page, "OpenRouter's edge answered with a web page (status 503)");
    for body in [&b""[..], b" \n\t "] {
        check(body, "OpenRouter answered with status 503 and no explanation");
    }
    let huge = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(BODY_MAX_BYTES));
    let deep = format!(r#"{{"error":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for body in
        ["nope", "{", "[]", "{}", r#"{"error":"text"}"#, r#"{"error":[]}"#, r#"{"message":"x"}"#, &huge, &deep, "\u{0}"]
    {
        check(body.as_bytes(), "OpenRouter answered with status 503 and a body that is no readable error");
    }
    check(b"\xff\xfe", "OpenRouter answered with status 503 and a body that is no readable error");
    let padded = [&b"\n         \n".repeat(200)[..], br#"{"error":{"message":"no","code":504}}"#].concat();
    assert_eq!(text(scrub(&padded, Dialect::Chat, 504)), r#"{"error":{"message":"no","code":504}}"#);
    assert_eq!(
        text(scrub(br#"{"error":{"code":500}}"#, Dialect::Chat, 500)),
        r#"{"error":{"code":500,"message":"OpenRouter answered with status 500 and no explanation"}}"#
    );
}

#[test]
fn texts_lose_what_is_the_donors() {
    let check = |said: &str, expected: &str| assert_eq!(redact::redact(said), expected);
    check("nothing to see", "nothing to see");
    check(&format!("key {KEY}, gone"), "key [redacted], gone");
    check(&format!("key_{KEY}"), "key_[redacted]");
    check("label SK-OR-V1-au7...890!", "label [redacted]!");
    check(&format!("see https://openrouter.ai/workspaces/default/keys/{HASH} now"), "see https://[redacted] now");
    check("see https://openrouter.ai/workspaces/default", "see https://[redacted]");
    check("https:\\/\\/openrouter.ai\\/workspaces\\/default\\/keys\\/abc\"", "https:\\/\\/[redacted]\"");
    check("https://OpenRouter.ai/settings/keys/abc", "https://[redacted]");
    check("https://openrouter.ai/settings/keys?hash=abc", "https://[redacted]");
    check("https://openrouter.ai/settings/keys#abc", "https://[redacted]");
    check("https://openrouter.ai%2Fworkspaces%2Fx", "https://[redacted]");
    check("https://openrouter.ai:443/workspaces/x", "https://[redacted]");
    check("https://openrouter.ai/docs/../workspaces/x", "https://[redacted]");
    check("Configure: https://openrouter.ai/settings/privacy", "Configure: https://openrouter.ai/settings/privacy");
    check(
        "See https://openrouter.ai/docs/faq. Or openrouter.ai.",
        "See https://openrouter.ai/docs/faq. Or openrouter.ai.",
    );
    check(&format!("https://openrouter.ai/docs/{HASH}"), "https://openrouter.ai/docs/[redacted]");
    check("of user_2abcdefghijklmnopqrstuvwxyz and org_2abcdefghijklm.", "of [redacted] and [redacted].");
    check("user_input and user_prompt are fields", "user_input and user_prompt are fields");
    check(&format!("hash {HASH}"), "hash [redacted]");
    check("hash 9f86d081884c7d65", "hash 9f86d081884c7d65");
    check("äöü sk-or-v1-x€", "äöü [redacted]€");
}

#[test]
fn leaks_are_stopped_wherever_they_stand() {
    let page = format!("https://openrouter.ai/workspaces/default/keys/{HASH}");
    let raw = json!({"error": {"message": format!("see {page}"), "is_byok": true, "user_id": "user_x", "limit_usd": 25, "deep": [{"workspace_id": "w", "k": KEY}]}}).to_string();
    let body = json!({
        "error": {
            "message": format!("Go to {page} with {KEY}"), "code": 400, "user_id": "user_x", "is_byok": true, "budget": 1,
            "type": KEY, "param": page, "availability": {"code": KEY, "key": KEY},
            "metadata": {
                "raw": raw, "provider_name": page, "is_byok": true, "limit_source": "openrouter_credits", "reason": "weight",
                "limit_usd": 25, "spend_usd": 24.5, "scope": "workspace", "resets_at": "2026-12-01T00:00:00Z", "manage_url": page,
                "headers": {"Retry-After": KEY, "X-Key": KEY}, "patterns": [KEY, {"a": KEY}], "flagged_input": format!("{KEY}"),
            },
        },
        "metadata": {"raw": page, "is_byok": true}, "user_id": "user_x", "openrouter_metadata": {"is_byok": true}, "error_type": KEY,
        "request_id": KEY, "budget": {"limit_usd": 25},
    });
    for dialect in DIALECTS {
        let out = scrubbed(&body, dialect, 400);
        for leak in [
            "sk-or",
            "workspaces",
            HASH,
            "is_byok",
            "user_",
            "_usd",
            "24.5",
            "scope",
            "openrouter_credits",
            "weight",
            "resets_at",
            "manage",
            "budget",
            "workspace_id",
        ] {
            assert!(!out.contains(leak), "{leak} in {out}");
        }
        assert!(out.contains("Go to https://[redacted] with [redacted]"), "{out}");
        let parsed: Value = serde_json::from_str(&out).expect("JSON");
        assert!(parsed.get("error").is_some_and(Value::is_object));
    }
    for text in [
        "This request requires more credits, or fewer max_tokens. You requested up to 9 tokens, but can only afford 8.",
        "Prompt tokens limit exceeded: 9 > 8.",
        "Insufficient credits. This account never purchased credits.",
        "Key limit exceeded (daily limit).",
        "Workspace monthly budget of $500.00 exceeded.",
    ] {
        let out = scrubbed(&json!({"error": {"message": text, "code": 402}}), Dialect::Chat, 402);
        assert_eq!(
            out,
            r#"{"error":{"message":"OpenRouter would not serve this request with the key used","code":402}}"#
        );
    }
}

#[test]
fn hostile_texts_take_no_time() {
    let units =
        ["openrouter.ai/docs/", "sk-or-", "user_a", "0123456789abcdef", "openrouter.ai", "a openrouter.ai/models/"];
    for unit in units {
        let long = unit.repeat(60_000 / unit.len());
        let out = scrubbed(&json!({"error": {"message": long, "code": 400}}), Dialect::Chat, 400);
        assert!(out.len() <= BODY_MAX_BYTES);
    }
}

fn canary() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "user_2abcdefghijklmnopqrstuvwxyz".to_owned(),
        KEY.to_owned(),
        format!("https://openrouter.ai/workspaces/default/keys/{HASH}"),
        format!("https://openrouter.ai/settings/keys/{HASH}"),
        HASH.to_owned(),
    ])
}

/// Errors with canaries as values, inside of texts, and as names, in members known and unknown.
fn body() -> impl Strategy<Value = Value> {
    let text = (canary(), "[ a-z.:/\"\\\\]{0,6}", "[ .,\"'é]?")
        .prop_map(|(canary, before, after)| format!("{before} {canary}{after}"));
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        canary().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(Value::Null)
    ];
    let known = prop::sample::select(vec![
        "error",
        "message",
        "code",
        "type",
        "param",
        "error_type",
        "metadata",
        "raw",
        "flagged_input",
        "reasons",
        "headers",
        "Retry-After",
        "availability",
        "request_id",
        "name",
        "success",
        "provider_name",
        "patterns",
        "previous_errors",
        "model_slug",
        "failed_routing_step",
        "retry_after_seconds",
        "available_providers",
        "limit_source",
    ]);
    let names = prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[a-z_]{1,10}", 1 => canary()];
    let tree = leaf.prop_recursive(5, 64, 8, move |inner| {
        let objects = prop::collection::vec((names.clone(), inner.clone()), 0..8)
            .prop_map(|members| members.into_iter().collect::<Value>());
        prop_oneof![
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::from),
            4 => objects.clone(),
            1 => objects.prop_map(|object| object.to_string().into()),
        ]
    });
    (tree.clone(), tree, any::<bool>()).prop_map(|(error, root, flat)| {
        let mut body = if flat { json!({}) } else { root };
        if !body.is_object() {
            body = json!({"other": body});
        }
        let wrapped = if error.is_object() { error } else { json!({"message": error.clone(), "unknown": error}) };
        body["error"] = wrapped;
        body
    })
}

#[test]
fn an_id_right_behind_a_hash_is_redacted_too() {
    let text = format!("{}user_aaa000aaa00000aa000a", "0".repeat(64));
    assert_eq!(redact::redact(&text), "[redacted][redacted]");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_canary_comes_out(body in body(), status in 400u16..600) {
        for dialect in DIALECTS {
            let out = scrubbed(&body, dialect, status);
            for leak in [HASH, "sk-or", "user_2", "workspaces", "settings/keys/"] {
                prop_assert!(!out.contains(leak), "{leak}: {body} -> {out}");
            }
            let parsed: Value = serde_json::from_str(&out).expect("JSON");
            prop_assert!(parsed["error"]["message"].is_string(), "{out}");
        }
    }

    #[test]
    fn any_bytes_are_scrubbed(body in prop::collection::vec(any::<u8>(), 0..300), status in any::<u16>()) {
        for dialect in DIALECTS {
            let out = scrub(&body, dialect, status);
            prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());
        }
    }

    #[test]
    fn any_text_is_redacted_once(text in "(sk-or-|openrouter\\.ai|user_|[a-f0-9]{20}|/|[ .é]|\\PC){0,30}") {
        let once = redact::redact(&text).into_owned();
        prop_assert!(!once.contains("sk-or-"));
        prop_assert_eq!(redact::redact(&once), once.as_str());
    }
}
