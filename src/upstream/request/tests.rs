//! Tests of reading requests.

use http::{HeaderMap, HeaderName, HeaderValue};

use proptest::prelude::*;

use super::*;
use Endpoint::{ChatCompletions, Embeddings, Images, Messages, Responses, Transcriptions, Videos};

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
}

fn facts(endpoint: Endpoint, body: &str) -> RequestFacts {
    read_request(endpoint, body.as_bytes(), &HeaderMap::new(), 7).unwrap_or_else(|bad| panic!("{bad}: {body}"))
}

fn conversation(endpoint: Endpoint, body: &str) -> Conversation {
    facts(endpoint, body).conversation.unwrap_or_else(|| panic!("no conversation: {body}"))
}

#[test]
fn reads_model_lane_and_stream() {
    let check = |body: &str, model: Option<&str>, lane, stream| {
        let facts = facts(ChatCompletions, body);
        assert_eq!((facts.model.as_deref(), facts.lane, facts.stream), (model, lane, stream), "{body}");
    };
    check(r#"{"model":"openai/gpt-4o","messages":[],"stream":true}"#, Some("openai/gpt-4o"), Lane::Paid, true);
    check(r#" {"stream" : false , "model" : "a\/b:fr\u0065e"} "#, Some("a/b:free"), Lane::Free, false);
    check(r#"{"model":"openrouter/free"}"#, Some("openrouter/free"), Lane::Free, false);
    check(r#"{"model":"openrouter/auto"}"#, Some("openrouter/auto"), Lane::Paid, false);
    check(r#"{"model":"a/b:free","models":["c/d:free"]}"#, Some("a/b:free"), Lane::Free, false);
    check(r#"{"model":"a/b:free","models":["c/d:free","e/f"]}"#, Some("a/b:free"), Lane::Paid, false);
    check(r#"{"models":["c/d:free"]}"#, None, Lane::Free, false);
    check(r#"{"model":null,"models":null,"stream":null}"#, None, Lane::Paid, false);
    check("{}", None, Lane::Paid, false);
    // Wrong types are for the upstream to refuse.
    check(
        r#"{"model":4,"models":{"a":1},"stream":"yes","messages":"x","tools":7,"provider":1}"#,
        None,
        Lane::Paid,
        false,
    );
    check(r#"{"model":"a/b:free","models":[1]}"#, Some("a/b:free"), Lane::Paid, false);
    check(r#"{"model":"a/b:free","fallbacks":[{"model":"c/d:free"}]}"#, Some("a/b:free"), Lane::Free, false);
    check(r#"{"model":"a/b:free","fallbacks":[{"model":"e/f"}]}"#, Some("a/b:free"), Lane::Paid, false);
}

#[test]
fn models_in_anthropics_fallbacks_are_models_the_request_allows() {
    let fallbacks =
        |body: &str| facts(Messages, body).fallbacks.iter().map(|model| model.to_string()).collect::<Vec<_>>();
    let body =
        r#"{"model":"anthropic/a","models":["b/c"],"fallbacks":[{"model":"openai/o1-pro","max_tokens":1},"d/e",7]}"#;
    assert_eq!(fallbacks(body), ["b/c", "openai/o1-pro", "d/e", ""], "what cannot be read fits no donor's pattern");
    assert!(fallbacks(r#"{"model":"a/b","fallbacks":[{}]}"#).is_empty());
}

#[test]
fn knows_when_the_request_narrows_its_providers() {
    let check = |provider: &str, expected| {
        let facts = facts(ChatCompletions, &format!(r#"{{"model":"a/b","provider":{provider}}}"#));
        assert_eq!(facts.provider_restricted, expected, "{provider}");
    };
    check("null", false);
    check("{}", false);
    check(r#"{"sort":"price","order":["openai"],"preferred_max_latency":1,"allow_fallbacks":true}"#, false);
    check(r#"{"data_collection":"allow","zdr":false,"require_parameters":false}"#, false);
    check(r#"{"order":["openai"],"allow_fallbacks":false}"#, true);
    check(r#"{"only":["openai"]}"#, true);
    check(r#"{"data_collection":"deny"}"#, true);
    check(r#"{"zdr":true}"#, true);
    check(r#"{"max_price":{"prompt":1}}"#, true);
}

#[test]
fn refuses_what_reaches_into_an_account() {
    let check = |endpoint, body: &str, field: &str, what| {
        let found = read_request(endpoint, body.as_bytes(), &HeaderMap::new(), 7);
        assert_eq!(found, Err(BadRequest { field: field.into(), what }), "{body}");
    };
    let responses =
        |fields: &str, field, what| check(Responses, &format!(r#"{{"model":"a/b",{fields}}}"#), field, what);
    responses(r#""store":true"#, "store", BodyFault::Stored);
    responses(r#""stor\u0065":1"#, "store", BodyFault::Stored);
    responses(r#""previous_response_id":"gen-1""#, "previous_response_id", BodyFault::PreviousResponse);
    responses(r#""background":true"#, "background", BodyFault::Background);
    responses(r#""tools":[{"type":"shell"}]"#, "tools", BodyFault::Tool);
    responses(r#""tools":[{"type":"function"},{"type":"file_search"}]"#, "tools", BodyFault::Tool);
    responses(r#""tools":[{"type":"code_interpreter","container":"cntr_1"}]"#, "tools.container", BodyFault::Container);
    responses(
        r#""tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["f"]}}]"#,
        "tools.container",
        BodyFault::FileReference,
    );
    responses(
        r#""tools":[{"type":"namespace","name":"n","tools":[{"type":"openrouter:bash"}]}]"#,
        "tools",
        BodyFault::Tool,
    );
    responses(
        r#""input":[{"role":"user","content":[{"type":"input_file","file_id":"file_1"}]}]"#,
        "file_id",
        BodyFault::FileReference,
    );
    responses(
        r#""input":[{"type":"function_call_output","output":[{"type":"input_image","file_\u0069d":"f"}]}]"#,
        "file_id",
        BodyFault::FileReference,
    );
    let chat = |fields: &str, field, what| check(ChatCompletions, &format!("{{{fields}}}"), field, what);
    chat(r#""model":"@preset/email""#, "model", BodyFault::Preset);
    chat(r#""model":"a/b@PRESET/email""#, "model", BodyFault::Preset);
    chat(r#""models":["a/b","\u0040preset/email"]"#, "models", BodyFault::Preset);
    chat(r#""fallbacks":[{"model":"@preset/email"}]"#, "fallbacks", BodyFault::Preset);
    chat(r#""preset":"email""#, "preset", BodyFault::Preset);
    chat(&format!(r#""model":"{}""#, "x".repeat(257)), "model", BodyFault::TooLong);
    chat(r#""tools":[{"type":"openrouter:files"}]"#, "tools", BodyFault::Tool);
    chat(r#""tools":[{"type":"openrouter:f\u0069les"}]"#, "tools", BodyFault::Tool);
    chat(r#""tools":[{"type":"openrouter:not_known_yet"}]"#, "tools", BodyFault::Tool);
    chat(r#""tools":[{"type":"function","type":"openrouter:shell"}]"#, "tools", BodyFault::Tool);
    chat(
        r#""tools":[{"type":"openrouter:subagent","parameters":{"tools":[{"type":"openrouter:shell"}]}}]"#,
        "tools",
        BodyFault::Tool,
    );
    chat(
        r#""messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file_1"}}]}]"#,
        "file_id",
        BodyFault::FileReference,
    );
    check(
        Messages,
        r#"{"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]}]}"#,
        "file_id",
        BodyFault::FileReference,
    );
    check(Messages, r#"{"container":"cntr_1"}"#, "container", BodyFault::Container);
    check(Videos, r#"{"prompt":"x","callback_url":"https://example.com"}"#, "callback_url", BodyFault::Callback);
    check(Images, r#"{"prompt":"x","input_references":[{"file_id":"f"}]}"#, "file_id", BodyFault::FileReference);
}

#[test]
fn lets_through_what_only_looks_like_it() {
    for (endpoint, body) in [
        (
            Responses,
            r#"{"store":false,"previous_response_id":null,"background":null,"preset":null,"callback_url":null}"#,
        ),
        (
            Responses,
            r#"{"tools":[{"type":"local_shell"},{"type":"custom","name":"shell"},{"type":"code_interpreter","container":{"type":"auto"}}]}"#,
        ),
        (
            ChatCompletions,
            r#"{"tools":[{"type":"function","function":{"name":"openrouter:files","parameters":{"properties":{"file_id":{"type":"string"},"type":"shell"}}}}]}"#,
        ),
        (
            ChatCompletions,
            r#"{"tools":[{"type":"openrouter:web_search"},{"type":"openrouter:subagent","parameters":{"tools":[{"type":"openrouter:web_fetch"}]}}]}"#,
        ),
        (
            ChatCompletions,
            r#"{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{\"file_id\":1}"}}]},{"role":"user","content":"\"file_id\":\"f\""}]}"#,
        ),
        (
            ChatCompletions,
            r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":null,"file_data":"data:x"}}]}]}"#,
        ),
        (
            Messages,
            r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","name":"drive","input":{"file_id":"f"}}]}],"tools":[{"type":"bash_20250124","name":"bash"}]}"#,
        ),
        (ChatCompletions, r#"{"messages":[{"role":"user","content":"half a pair: \ud83d"}]}"#),
        (
            ChatCompletions,
            r#"{"response_format":{"json_schema":{"schema":{"store":true,"preset":{"store":1,"store":2}}}}}"#,
        ),
        (Embeddings, r#"{"input":["file_id",["a"]],"model":"x"}"#),
    ] {
        facts(endpoint, body);
    }
}

#[test]
fn refuses_what_is_no_json_object() {
    let check = |body: &[u8], field: &str, what| {
        let found = read_request(ChatCompletions, body, &HeaderMap::new(), 7);
        assert_eq!(found, Err(BadRequest { field: field.into(), what }), "{}", String::from_utf8_lossy(body));
    };
    check(b"", "body", BodyFault::NotJson { line: 1, column: 0 });
    check(b"model=a/b", "body", BodyFault::NotJson { line: 1, column: 1 });
    check(b"{\"model\":\n\"a/b\",}", "body", BodyFault::NotJson { line: 2, column: 7 });
    check(b"{\"x\":01}", "body", BodyFault::NotJson { line: 1, column: 7 });
    check(b"{} {}", "body", BodyFault::NotJson { line: 1, column: 4 });
    check(b"[{}]", "body", BodyFault::NotAnObject);
    check(b"null", "body", BodyFault::NotAnObject);
    check(b"\"text\"", "body", BodyFault::NotAnObject);
    check(br#"{"model":"a","x":1,"mod\u0065l":"b"}"#, "model", BodyFault::Twice);
    check(br#"{"x":1,"y":2,"x":1}"#, "x", BodyFault::Twice);
    let long = format!(r#"{{"{0}":1,"{0}":1}}"#, "é".repeat(100));
    check(long.as_bytes(), &"é".repeat(32), BodyFault::Twice);
    let deep = format!("{{\"x\":{}", "[".repeat(200_000));
    check(deep.as_bytes(), "body", BodyFault::NotJson { line: 1, column: 200_005 });
    let closed = format!("{deep}{}}}", "]".repeat(200_000));
    facts(ChatCompletions, &closed);
}

#[test]
fn passes_uploads_and_compressed_bodies_unread() {
    let upload = headers(&[("content-type", "multipart/form-data; boundary=b")]);
    let zstd = headers(&[("content-encoding", "zstd"), ("content-type", "application/json")]);
    let check = |endpoint, body: &[u8], headers: &HeaderMap, passes: bool| {
        let found = read_request(endpoint, body, headers, 7);
        assert_eq!(found == Ok(RequestFacts::UNKNOWN), passes, "{found:?}");
    };
    check(Transcriptions, b"--b\r\nContent-Disposition: form-data", &upload, true);
    check(ChatCompletions, b"--b\r\nContent-Disposition: form-data", &upload, false);
    check(ChatCompletions, b"\x28\xb5\x2f\xfd...", &zstd, true);
    check(ChatCompletions, b"\x28\xb5\x2f\xfd...", &headers(&[("content-encoding", "identity")]), false);
    // JSON is read as JSON, whatever the headers say.
    check(ChatCompletions, br#"{"store":true}"#, &zstd, false);
    check(Transcriptions, br#"{"preset":"x"}"#, &upload, false);
    check(Transcriptions, b" {\"preset\":\"x\",\"input\":\"\xff\"}", &upload, false);
}

#[test]
fn reads_the_model_of_an_upload() {
    let read = |model: &str| {
        let upload = headers(&[("content-type", "multipart/form-data; boundary=b")]);
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\0\"\r\n\
             --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b--\r\n"
        );
        read_request(Transcriptions, body.as_bytes(), &upload, 7)
    };
    let facts = |model: &str, lane| RequestFacts { model: Some(model.into()), lane, ..RequestFacts::UNKNOWN };
    assert_eq!(read("openai/whisper-1"), Ok(facts("openai/whisper-1", Lane::Paid)));
    assert_eq!(read("openai/whisper-1:free"), Ok(facts("openai/whisper-1:free", Lane::Free)));
    assert_eq!(read(""), Ok(RequestFacts::UNKNOWN), "what cannot be read is no reason to refuse");
    assert_eq!(read("@preset/mine"), Err(BadRequest { field: "model".into(), what: BodyFault::Preset }));
}

#[test]
fn a_session_id_names_the_conversation() {
    let read = |body: &str, fields: &[(&'static str, &'static str)], salt| {
        let facts = read_request(ChatCompletions, body.as_bytes(), &headers(fields), salt);
        facts.ok().and_then(|facts| facts.conversation)
    };
    let plain = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
    let by_field = read(r#"{"session_id":"s1","messages":[{"role":"user","content":"x"}]}"#, &[], 7);
    assert!(by_field.is_some_and(|c| c.continues));
    assert_eq!(by_field, read(plain, &[("x-session-id", "s1")], 7));
    assert_ne!(by_field, read(plain, &[("x-session-id", "s1")], 8));
    assert_ne!(by_field, read(plain, &[("x-session-id", "s2")], 7));
    assert_ne!(by_field, read(plain, &[("x-claude-code-session-id", "s1")], 7));
    assert_ne!(by_field, read(r#"{"prompt_cache_key":"s1"}"#, &[], 7));
    assert_eq!(by_field, read(r#"{"session_id":"s1","prompt_cache_key":"x"}"#, &[("x-session-id", "y")], 7));
    // An empty id is none.
    assert_eq!(read(r#"{"session_id":""}"#, &[("x-session-id", "")], 7), None);
    assert_eq!(read(plain, &[("x-session-id", "")], 7), read(plain, &[], 7));
    assert!(read(r#"{"prompt":"hi"}"#, &[], 7).is_none());
}

#[test]
fn later_turns_are_recognised_by_their_opening() {
    let check = |endpoint, first: &str, later: &str| {
        let (first, later) = (conversation(endpoint, first), conversation(endpoint, later));
        assert_eq!((first.continues, later.continues), (false, true), "{endpoint:?}");
        assert_eq!(first.hash, later.hash, "{endpoint:?}");
    };
    check(
        ChatCompletions,
        r#"{"messages":[{"role":"system","content":"be"},{"role":"user","content":"hi"}]}"#,
        r#"{"model":"m","messages":[{"content":[{"type":"text","text":"be","cache_control":{"type":"ephemeral"}}],"role":"system"},{"role":"user","content":"hi"},{"role":"assistant","content":"ho"},{"role":"user","content":"and"}]}"#,
    );
    check(
        Messages,
        r#"{"system":[{"type":"text","text":"be"}],"messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}},{"type":"image","source":{"data":"aGk="}}]}]}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"hi","type":"text"},{"type":"image","source":{"data":"aGk="}}]},{"role":"assistant","content":"ho"},{"role":"user","content":"and"}],"system":"be"}"#,
    );
    check(
        Responses,
        r#"{"instructions":"be","input":"hi"}"#,
        r#"{"instructions":"be","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]},{"type":"function_call","name":"f"},{"type":"function_call_output","output":"x"}]}"#,
    );
    let big = format!(r#""{}""#, "A".repeat(1 << 20));
    check(
        ChatCompletions,
        &format!(r#"{{"messages":[{{"role":"user","content":{big}}}]}}"#),
        &format!(r#"{{"messages":[{{"role":"user","content":{big}}},{{"role":"assistant","content":{big}}}]}}"#),
    );
}

#[test]
fn different_openings_are_different_conversations() {
    let mut seen = std::collections::HashSet::new();
    for body in [
        r#"{"messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"messages":[{"role":"user","content":"ho"}]}"#,
        r#"{"messages":[{"role":"system","content":"hi"},{"role":"user","content":"hi"}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"h"},{"type":"text","text":"i"}]}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"hi"}}]}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"ho"}}]}]}"#,
    ] {
        assert!(seen.insert(conversation(ChatCompletions, body).hash), "{body}");
    }
    assert_eq!(facts(ChatCompletions, r#"{"messages":[{"role":"system","content":"hi"}]}"#).conversation, None);
    assert_eq!(facts(ChatCompletions, r#"{"messages":["hi"]}"#).conversation, None);
    assert_eq!(facts(Embeddings, r#"{"input":"hi"}"#).conversation, None);
}

proptest! {
    #[test]
    fn a_string_is_read_as_serde_reads_it(text in "(\\PC|[\"\\\\\n\u{1}]){0,20}", number: i32) {
        for value in [serde_json::json!(text), serde_json::json!(number), serde_json::json!([text]), serde_json::json!(null)] {
            let json = value.to_string();
            let raw: &RawValue = serde_json::from_str(&json).expect("JSON");
            let read = string(Some(raw));
            prop_assert_eq!(read.as_deref(), value.as_str(), "{}", json);
        }
    }
}
