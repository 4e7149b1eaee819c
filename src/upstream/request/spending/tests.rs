//! Tests of reading what a request may cost.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::json;

use super::super::{read_request, read_request_and_spending};
use super::*;
use Endpoint::{ChatCompletions, Completions, CursorChat, Decisions, Embeddings, Messages, Responses};

fn facts(endpoint: Endpoint, body: &str) -> Facts {
    let spending = Spending::read(endpoint, &HeaderMap::new(), body.as_bytes());
    spending.facts().cloned().unwrap_or_else(|why| panic!("{why}: {body}"))
}

fn why(endpoint: Endpoint, body: &str) -> Unbounded {
    let spending = Spending::read(endpoint, &HeaderMap::new(), body.as_bytes());
    assert!(spending.models().is_empty());
    spending.facts().cloned().expect_err(body)
}

/// A chat request with these further fields.
fn chat(fields: &str) -> String {
    format!(r#"{{"model":"a/b","messages":[]{}{fields}}}"#, if fields.is_empty() { "" } else { "," })
}

fn output(endpoint: Endpoint, fields: &str) -> Output {
    let rest = match endpoint {
        Responses | Embeddings | Decisions => r#""input":"x""#,
        Completions => r#""x":1"#,
        _ => r#""messages":[]"#,
    };
    facts(endpoint, &format!(r#"{{"model":"a/b",{rest},{fields}}}"#)).output.expect("an output")
}

#[test]
fn every_model_the_request_allows_counts() {
    let models = |endpoint, fields: &str| {
        facts(endpoint, &format!("{{{fields}}}")).models.iter().map(|model| model.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(models(ChatCompletions, r#""model":"a/b""#), ["a/b"]);
    assert_eq!(models(ChatCompletions, r#""model":"a\/b","models":["c/d","e/f:nitro"]"#), ["a/b", "c/d", "e/f:nitro"]);
    assert_eq!(models(ChatCompletions, r#""models":["c/d"]"#), ["c/d"]);
    assert_eq!(models(Messages, r#""model":"a/b","fallbacks":[{"model":"c/d"},{"x":1}]"#), ["a/b", "c/d"]);
    for body in ["{}", r#"{"model":null,"models":[]}"#] {
        assert_eq!(why(ChatCompletions, body), Unbounded::NoModel, "{body}");
    }
    for (field, body) in [
        ("model", r#"{"model":5}"#),
        ("models", r#"{"models":"c/d"}"#),
        ("models", r#"{"models":["c/d",null]}"#),
        ("fallbacks", r#"{"model":"a/b","fallbacks":["c/d"]}"#),
        ("fallbacks", r#"{"model":"a/b","fallbacks":{"model":"c/d"}}"#),
        ("models", &json!({"models": vec!["a/b"; 33]}).to_string()),
    ] {
        assert_eq!(why(ChatCompletions, body), Unbounded::Field(field.into()), "{body}");
    }
}

#[test]
fn output_is_limited_by_what_the_endpoint_heeds() {
    let asked = |endpoint, fields: &str| output(endpoint, fields).asked;
    assert_eq!(asked(ChatCompletions, r#""max_tokens":100"#), Some(100));
    assert_eq!(asked(ChatCompletions, r#""max_tokens":100,"max_completion_tokens":200"#), Some(200));
    assert_eq!(asked(ChatCompletions, r#""max_tokens":100,"max_output_tokens":5"#), Some(100));
    assert_eq!(asked(ChatCompletions, r#""max\u005ftokens":100"#), Some(100));
    assert_eq!(asked(Completions, r#""max_tokens":100,"max_completion_tokens":200"#), Some(100));
    assert_eq!(asked(Messages, r#""max_tokens":100,"max_completion_tokens":200"#), Some(100));
    assert_eq!(asked(Responses, r#""max_output_tokens":100,"max_tokens":5"#), Some(100));
    assert_eq!(asked(CursorChat, r#""max_tokens":100,"max_output_tokens":5"#), Some(100));
    // Not heeded here, or not to be relied on.
    assert_eq!(asked(ChatCompletions, r#""max_output_tokens":5"#), None);
    assert_eq!(asked(Responses, r#""max_tokens":5"#), None);
    assert_eq!(asked(Decisions, r#""max_tokens":5"#), None);
    for value in ["null", "1e2", "5.0", "-1", "\"5\"", "true", "99999999999999999999"] {
        assert_eq!(asked(ChatCompletions, &format!(r#""max_tokens":{value}"#)), None, "{value}");
    }
    assert_eq!(asked(ChatCompletions, r#""max_tokens":5,"max_completion_tokens":5.5"#), None);
    assert_eq!(facts(Embeddings, r#"{"model":"a/b","input":"x"}"#).output, None);
}

#[test]
fn answers_and_thoughts_multiply_and_add() {
    let copies = |endpoint, fields: &str| output(endpoint, fields).copies;
    assert_eq!(copies(ChatCompletions, r#""n":null"#), 1);
    assert_eq!(copies(ChatCompletions, r#""n":0"#), 1);
    assert_eq!(copies(ChatCompletions, r#""n":3"#), 3);
    assert_eq!(copies(Completions, r#""n":3,"best_of":7"#), 7);
    assert_eq!(copies(Completions, r#""n":2,"prompt":["a","b",[1]]"#), 6);
    assert_eq!(copies(Completions, r#""prompt":[1,2,3]"#), 1);
    assert_eq!(copies(Completions, r#""prompt":"x""#), 1);
    for value in ["\"3\"", "3.0", "-3", "[3]"] {
        assert_eq!(why(ChatCompletions, &chat(&format!(r#""n":{value}"#))), Unbounded::Field("n".into()), "{value}");
    }
    let more = |endpoint, fields: &str| output(endpoint, fields).more;
    assert_eq!(more(ChatCompletions, r#""x":1"#), 0);
    assert_eq!(more(ChatCompletions, r#""reasoning":{"effort":"high"}"#), REASONING_MIN_TOKENS);
    assert_eq!(more(ChatCompletions, r#""reasoning_effort":"high""#), REASONING_MIN_TOKENS);
    assert_eq!(more(ChatCompletions, r#""reasoning":{"max_tokens":5000}"#), 5000);
    assert_eq!(more(Responses, r#""reasoning":{"max_tokens":5,"max_tokens":5000}"#), 5000);
    assert_eq!(more(Messages, r#""thinking":{"type":"enabled","budget_tokens":9000}"#), 9000);
    assert_eq!(more(Messages, r#""thinking":{"budget_tokens":9e3}"#), u64::MAX);
    assert_eq!(more(Messages, r#""thinking":{"budget_tokens":null}"#), REASONING_MIN_TOKENS);
    let predicted = chat(r#""prediction":{"type":"content","content":"xyz"}"#);
    assert_eq!(facts(ChatCompletions, &predicted).output.map(|output| output.more), Some(predicted.len() as u64));
}

#[test]
fn a_byte_is_a_token_and_pictures_are_not_bytes() {
    let input = |body: &str| facts(ChatCompletions, body).input;
    let plain = chat("");
    let expected = Input {
        tokens: plain.len() as u64 + TEMPLATE_TOKENS,
        images: 0,
        whole_context: false,
        prompts: Some(1),
        audio: false,
        hour_cache: false,
    };
    assert_eq!(input(&plain), expected);
    let long = chat(&format!(r#""x":"{}""#, "y".repeat(1 << 20)));
    assert_eq!(input(&long).tokens, long.len() as u64 + TEMPLATE_TOKENS);
    let picture = |bytes: usize| {
        let url = format!("data:image/png;base64,{}", "A".repeat(bytes));
        json!({"model": "a/b", "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "z".repeat(10_000)}]}]})
    };
    let (small, large) = (input(&picture(10_000).to_string()), input(&picture(5_000_000).to_string()));
    assert_eq!((small.tokens, small.images), (large.tokens, 1));
    assert!(large.tokens > 60_000 && large.tokens < 63_000, "{}", large.tokens);
    let hour = |fields: &str| input(&chat(fields)).hour_cache;
    assert!(hour(r#""cache_control":{"type":"ephemeral","ttl":"1h"}"#));
    assert!(hour(r#""cache_control":{"ttl": "1\u0068"}"#) && hour(r#""cache_control":{"ttl":"\u0031h"}"#));
    assert!(!hour(r#""cache_control":{"type":"ephemeral","ttl":"5m"}"#));
    assert_eq!(facts(Completions, r#"{"model":"a/b","prompt":["x","y"]}"#).input.prompts, Some(2));
    assert_eq!(facts(Embeddings, r#"{"model":"a/b","input":["x","y"]}"#).input.prompts, None);
    assert!(facts(Responses, r#"{"model":"a/b","prompt":{"id":"p"}}"#).input.whole_context);
    let remote = r#"{"model":"a/b","input":[{"type":"image_url","image_url":{"url":"https://x"}}]}"#;
    assert_eq!(why(Embeddings, remote), Unbounded::Media);
    assert!(facts(Responses, remote).input.whole_context);
}

#[test]
fn tools_of_the_clients_own_are_bounded_and_others_are_not() {
    let added = |tools: &str| {
        let body = chat(&format!(r#""tools":[{tools}]"#));
        facts(ChatCompletions, &body).input.tokens - body.len() as u64 - TEMPLATE_TOKENS
    };
    assert_eq!(added(""), 0);
    assert_eq!(added(r#"{"type":"function","function":{"name":"f"}},{"name":"g"},{"type":"custom"}"#), 1024);
    assert_eq!(added(r#"{"type":"bash_20250124","name":"bash"},{"type":"local_shell"}"#), 1024 + 2 * 4096);
    assert_eq!(added(r#"{"type":"namespace","tools":[{"type":"apply_patch"},{"type":"function"}]}"#), 1024 + 4096);
    for (kind, tool) in [
        ("openrouter:web_search", r#"{"type":"openrouter:web_search"}"#),
        ("openrouter:datetime", r#"{"type":"openrouter:d\u0061tetime"}"#),
        ("web_search_20250305", r#"{"type":"web_search_20250305","max_uses":1}"#),
        ("code_interpreter", r#"{"type":"code_interpreter","container":{"type":"auto"}}"#),
        ("mcp", r#"{"type":"namespace","tools":[{"type":"mcp"}]}"#),
        ("image_generation", r#"{"type":"function","type":"image_generation"}"#),
    ] {
        let body = chat(&format!(r#""tools":[{{"type":"function"}},{tool}]"#));
        assert_eq!(why(ChatCompletions, &body), Unbounded::Tool(kind.into()), "{tool}");
    }
}

#[test]
fn plugins_and_searches() {
    let search = |fields: &str| facts(ChatCompletions, &chat(fields)).search;
    let fee = |results: i64| Usd::from_pico(15_000_000_000 + results * 1_000_000_000);
    assert_eq!(search(""), Search::No);
    assert_eq!(search(r#""plugins":[{"id":"web"}]"#), Search::Either(fee(0)));
    assert_eq!(search(r#""plugins":[{"id":"web","max_results":20}]"#), Search::Either(fee(20)));
    assert_eq!(search(r#""plugins":[{"id":"web","engine":"exa","max_results":3}]"#), Search::Engine(fee(3)));
    assert_eq!(search(r#""plugins":[{"id":"web","engine":"native"}]"#), Search::Provider);
    assert_eq!(search(r#""plugins":[{"id":"web","enabled":false},{"id":"response-healing"}]"#), Search::No);
    assert_eq!(search(r#""web_search_options":{}"#), Search::Provider);
    assert_eq!(facts(ChatCompletions, r#"{"model":"a/b:free:online"}"#).search, Search::Either(fee(0)));
    for plugins in [
        r#"{"id":"web","engine":"firecrawl"}"#,
        r#"{"id":"web","max_results":"9"}"#,
        r#"{"id":"web","max_results":99999999999999}"#,
        r#"{"id":"web","x_search":{}}"#,
        r#"{"id":"web"},{"id":"web"}"#,
        r#"{"id":"web","engine":"exa","engine":"native"}"#,
    ] {
        assert_eq!(
            why(ChatCompletions, &chat(&format!(r#""plugins":[{plugins}]"#))),
            Unbounded::Plugin("web".into()),
            "{plugins}"
        );
    }
    assert_eq!(why(ChatCompletions, &chat(r#""plugins":[{"id":"fusion"}]"#)), Unbounded::Plugin("fusion".into()));
    assert_eq!(why(ChatCompletions, &chat(r#""plugins":["web"]"#)), Unbounded::Field("plugins".into()));
    for (field, value) in [
        ("mcp_servers", r#"[{"url":"x"}]"#),
        ("search_parameters", r#"{"mode":"on"}"#),
        ("x_search_filter", "{}"),
        ("context_management", r#"{"edits":[{"type":"compact_20260112"}]}"#),
    ] {
        let body = chat(&format!(r#""{field}":{value}"#));
        assert_eq!(why(ChatCompletions, &body), Unbounded::Field(field.into()), "{body}");
    }
    facts(Messages, &chat(r#""mcp_servers":[],"context_management":{"edits":[{"type":"clear_thinking_20251015"}]}"#));
}

#[test]
fn files_are_tokens_or_scanned_for_a_fee() {
    let read = |plugins: &str| {
        let content = r#"[{"type":"file","file":{"file_data":"data:application/pdf;base64,AAAA"}}]"#;
        let message = format!(r#"[{{"role":"user","content":{content}}}]"#);
        let body = format!(r#"{{"model":"a/b","messages":{message},"plugins":[{plugins}]}}"#);
        let spending = Spending::read(ChatCompletions, &HeaderMap::new(), body.as_bytes());
        spending.facts().map(|facts| (facts.files, facts.input.whole_context))
    };
    assert_eq!(read(""), Ok((Files::ModelOrScanned, true)));
    assert_eq!(read(r#"{"id":"file-parser"}"#), Ok((Files::ModelOrScanned, true)));
    for engine in ["native", "cloudflare-ai", "pdf-text"] {
        assert_eq!(
            read(&format!(r#"{{"id":"file-parser","pdf":{{"engine":"{engine}"}}}}"#)),
            Ok((Files::AsTokens, true))
        );
    }
    let scanned = Err(Unbounded::Plugin("file-parser".into()));
    assert_eq!(read(r#"{"id":"file-parser","pdf":{"engine":"mistral-ocr"}}"#), scanned);
    assert_eq!(read(r#"{"id":"file-parser","pdf":{"engine":"native","engine":"mistral-ocr"}}"#), scanned);
    // Without files the plugin does nothing.
    let idle = facts(ChatCompletions, &chat(r#""plugins":[{"id":"file-parser","pdf":{"engine":"mistral-ocr"}}]"#));
    assert_eq!(idle.files, Files::No);
}

#[test]
fn tiers_that_cost_more_are_seen() {
    let tier = |fields: &str| {
        let facts = facts(ChatCompletions, &chat(fields));
        (facts.fast, facts.ordinary)
    };
    for name in ["auto", "flex", "standard", "standard_only"] {
        assert_eq!(tier(&format!(r#""service_tier":"{name}""#)), (false, false), "{name}");
    }
    assert_eq!(tier(r#""service_tier":"default""#), (false, true));
    assert_eq!(tier(r#""service_tier":null,"speed":null"#), (false, false));
    assert_eq!(tier(r#""speed":"standard","provider":{"order":["openai","azure"]}"#), (false, false));
    for fields in [
        r#""service_tier":"priority""#,
        r#""service_tier":"f\u0061st""#,
        r#""service_tier":["default"]"#,
        r#""speed":"fast""#,
        r#""speed":7"#,
        r#""provider":{"order":["openai\/fast"]}"#,
        r#""provider":{"only":["azure","google-vertex/priority"]}"#,
    ] {
        assert_eq!(tier(fields), (true, false), "{fields}");
    }
    assert!(facts(ChatCompletions, &chat(r#""modalities":["text","image"]"#)).media_out);
    assert!(!facts(ChatCompletions, &chat(r#""modalities":["text"]"#)).media_out);
}

#[test]
fn what_cannot_be_read_or_is_not_listed_has_no_bound() {
    use Endpoint::{Images, Rerank, Speech, Transcriptions, Videos};
    for endpoint in [Images, Rerank, Speech, Transcriptions, Videos] {
        assert_eq!(why(endpoint, r#"{"model":"a/b"}"#), Unbounded::Endpoint(endpoint));
    }
    for body in ["", "[]", "null", "--b\r\n", "\u{1f}\u{8b}", r#"{"model":"a","model":"b"}"#, r#"{"model":"#] {
        assert_eq!(why(ChatCompletions, body), Unbounded::Unreadable, "{body}");
    }
    let read = |coding: &'static str| {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]);
        Spending::read(ChatCompletions, &headers, chat("").as_bytes()).facts().cloned().err()
    };
    assert_eq!((read("identity"), read("zstd")), (None, Some(Unbounded::Unreadable)));
}

#[test]
fn both_readings_at_once_say_what_each_says() {
    let long = "x".repeat(9_000);
    let picture = format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{long}"}}}}"#);
    let bodies = [
        chat(r#""max_tokens":7,"n":2"#),
        chat(r#""store":true"#),
        chat(r#""stream":true,"plugins":[{"id":"web"}],"x":"1h""#),
        format!(r#"{{"model":"a/b","models":["c/d:free"],"messages":[{{"role":"user","content":[{picture}]}}]}}"#),
        "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na/b\r\n--b--\r\n".to_owned(),
        "[]".to_owned(),
        r#"{"model":"a/b","model":"c/d"}"#.to_owned(),
    ];
    let kinds = [
        ("content-encoding", "zstd"),
        ("content-encoding", "identity"),
        ("content-type", "multipart/form-data; boundary=b"),
    ];
    for (endpoint, body) in
        Endpoint::ALL.into_iter().flat_map(|endpoint| bodies.iter().map(move |body| (endpoint, body.as_bytes())))
    {
        for (name, value) in kinds {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            let each = read_request(endpoint, body, &headers, 7)
                .map(|facts| (facts, Spending::read(endpoint, &headers, body)));
            assert_eq!(read_request_and_spending(endpoint, body, &headers, 7), each);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_bytes_are_a_panic(body in prop::collection::vec(prop::sample::select(&b"{}[]\":,\\u0model messages content type image_url n 019.e-\xC3"[..]), 0..300)) {
        for endpoint in Endpoint::ALL {
            let spending = Spending::read(endpoint, &HeaderMap::new(), &body);
            prop_assert_eq!(spending.facts().is_err(), spending.models().is_empty());
            let both = read_request_and_spending(endpoint, &body, &HeaderMap::new(), 7);
            prop_assert_eq!(both, read_request(endpoint, &body, &HeaderMap::new(), 7).map(|facts| (facts, spending)));
        }
    }

    #[test]
    fn a_longer_request_is_never_cheaper(fields in "[a-z]{1,8}", text in "\\PC{0,3000}", more in "\\PC{1,3000}") {
        let body = |text: &str| json!({"model": "a/b", "messages": [{"role": "user", "content": text}], "f": fields}).to_string();
        let tokens = |body: &str| facts(ChatCompletions, body).input.tokens;
        let (short, long) = (body(&text), body(&format!("{text}{more}")));
        prop_assert!(tokens(&long) > tokens(&short) && tokens(&short) >= text.len() as u64);
    }
}
