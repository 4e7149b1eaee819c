//! Tests of reading price lists.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn usd(dollars: &str) -> Option<Usd> {
    Some(dollars.parse().expect("an amount"))
}

/// The one model of a list with this entry merged into an ordinary one.
fn listed(entry: Value) -> Option<Model> {
    let mut model = json!({"id": "a/b", "canonical_slug": "a/b-1", "context_length": 1000,
        "pricing": {"prompt": "0.000003", "completion": "0.000015"}});
    for (key, value) in entry.as_object().expect("an object") {
        model[key] = value.clone();
    }
    parse_models(json!({"data": [model]}).to_string().as_bytes()).ok()?.pop()
}

fn priced(pricing: Value) -> Option<Price> {
    listed(json!({"pricing": pricing})).expect("a model").prices.pop()
}

#[test]
fn every_price_is_read_exactly_and_never_too_low() {
    let price = priced(json!({"prompt": "0.000003", "completion": "0.000015", "request": "0", "image": "0.0048",
        "image_token": "0.000001", "image_output": "0.00003", "audio": "0.00004", "audio_output": "0.00008",
        "web_search": "0.01", "internal_reasoning": "1.5e-5", "input_cache_read": "0.0000003",
        "input_cache_write": "0.0000000416666666666667", "input_cache_write_1h": 0.000006, "input_audio_cache": "1",
        "discount": 0.5, "overrides": [
            {"min_prompt_tokens": 200_000, "prompt": "0.000006", "completion": "0.0000225"},
            {"utc_start": 1630, "utc_end": 30, "utc_days": ["monday"], "prompt": "0.000009", "whatever": 5}]}));
    let price = price.expect("a price");
    let expected = Rates {
        prompt: usd("0.000003"),
        completion: usd("0.000015"),
        request: usd("0"),
        image: usd("0.0048"),
        image_token: usd("0.000001"),
        image_output: usd("0.00003"),
        audio: usd("0.00004"),
        audio_output: usd("0.00008"),
        web_search: usd("0.01"),
        internal_reasoning: usd("0.000015"),
        input_cache_read: usd("0.0000003"),
        input_cache_write: usd("0.000000041667"),
        input_cache_write_1h: usd("0.000006"),
        other: None,
    };
    assert_eq!(price.rates, expected);
    let long = Rates { prompt: usd("0.000006"), completion: usd("0.0000225"), ..Rates::default() };
    let peak = Rates { prompt: usd("0.000009"), ..Rates::default() };
    let overrides = [Override { above: 200_000, rates: long }, Override { above: 0, rates: peak }];
    assert_eq!(*price.overrides, overrides);
}

#[test]
fn what_is_no_price_is_unknown_and_never_zero() {
    let with = |name: &str, value: Value| {
        let mut pricing = json!({"prompt": "0.000003", "completion": "0.000015"});
        pricing[name] = value;
        priced(pricing)
    };
    assert!(with("web_search", Value::Null).is_some() && with("currency", "USD".into()).is_some());
    for junk in [json!("-1"), json!("free"), json!(""), json!("1,5"), json!(-1), json!(true), json!({}), json!([])] {
        for name in ["prompt", "completion", "request", "image", "input_cache_write", "internal_reasoning"] {
            assert_eq!(with(name, junk.clone()), None, "{name}: {junk}");
        }
    }
    for name in ["prompt", "completion"] {
        assert_eq!(with(name, Value::Null), None, "{name}");
    }
    assert_eq!(priced(json!({"prompt": "1"})), None);
    assert_eq!(priced(json!("1")), None);
    for (name, junk) in [
        ("discount", json!(-0.1)),
        ("discount", json!(2)),
        ("overrides", json!({})),
        ("overrides", json!([3])),
        ("overrides", json!([{"prompt": "-1"}])),
        ("ocr_page", json!("-1")),
        ("video_second", json!({"hd": "0.1"})),
    ] {
        assert_eq!(with(name, junk.clone()), None, "{name}: {junk}");
    }
    // A price for something new may be for anything.
    assert_eq!(with("video_token", "0.7".into()).and_then(|price| price.rates.other), usd("0.7"));
    // A zero that no name explains is a hole in the list.
    let zero = json!({"prompt": "0", "completion": "0"});
    for (id, known) in [("a/b", false), ("a/b:free", true), ("openrouter/pony-alpha", true)] {
        let model = listed(json!({"id": id, "pricing": zero})).expect("a model");
        assert_eq!(!model.prices.is_empty(), known, "{id}");
    }
    assert!(priced(json!({"prompt": "0", "completion": "0", "request": "0.001"})).is_some());
}

#[test]
fn limits_and_habits_are_read() {
    let price = |entry: Value| listed(entry).expect("a model").prices.pop().expect("a price");
    let top = price(json!({"top_provider": {"context_length": 2000, "max_completion_tokens": 500}}));
    assert_eq!((top.context, top.max_output), (Some(2000), Some(500)));
    let bare = price(json!({"context_length": null, "top_provider": {"max_completion_tokens": null}}));
    assert_eq!((bare.context, bare.max_output, bare.unlimited, bare.draws), (None, None, false, false));
    assert!(price(json!({"supported_parameters": ["temperature"]})).unlimited);
    assert!(!price(json!({"supported_parameters": ["max_completion_tokens"]})).unlimited);
    let makes = |all: Value| {
        let price = price(json!({"architecture": {"output_modalities": all, "input_modalities": ["text", "file"]}}));
        (price.draws, price.plays, price.reads_files)
    };
    assert_eq!(makes(json!(["text"])), (false, false, true));
    assert_eq!(makes(json!(["text", "image"])), (true, false, true));
    assert_eq!(makes(json!(["audio"])), (false, true, true));
    for (id, search) in [
        ("meta-llama/llama-4", OwnSearch::Never),
        ("relace/relace-search", OwnSearch::Never),
        ("anthropic/claude-sonnet-4.5", OwnSearch::Asked),
        ("~openai/gpt-latest", OwnSearch::Asked),
        ("openai/gpt-4o-search-preview", OwnSearch::Always),
        ("perplexity/sonar", OwnSearch::Always),
        ("perplexity/sonar-pro-search", OwnSearch::Endless),
        ("openai/o3-deep-research", OwnSearch::Endless),
    ] {
        assert_eq!(price(json!({"id": id})).search, search, "{id}");
    }
    let fee = json!({"prompt": "1", "completion": "1", "web_search": "0.01"});
    assert_eq!(price(json!({"pricing": fee})).search, OwnSearch::Asked);
}

#[test]
fn one_models_fault_is_its_own() {
    let good = json!({"id": "a/b", "pricing": {"prompt": "1", "completion": "1"}});
    let data = json!([good, 7, null, {}, {"id": 5}, {"id": ""}, {"id": "a b"}, {"id": "x".repeat(300)}, {"id": "c/d"}]);
    let models = parse_models(json!({"data": data}).to_string().as_bytes()).expect("a list");
    let read: Vec<(&str, usize)> = models.iter().map(|model| (&*model.id, model.prices.len())).collect();
    assert_eq!(read, [("a/b", 1), ("c/d", 0)]);
    for body in ["", "[]", "{}", r#"{"data":[]}"#, r#"{"data":{}}"#, r#"{"data":[{}]}"#, "<html>", "\u{1f}\u{8b}"] {
        assert_eq!(parse_models(body.as_bytes()), Err(NoModels), "{body}");
    }
    let paged = json!({"data": [good], "links": {"next": "/api/v1/models?offset=1"}});
    assert_eq!(parse_models(paged.to_string().as_bytes()), Err(NoModels), "a page is not the list");
    let whole = json!({"data": [good], "links": {"next": null}, "total_count": 1});
    assert!(parse_models(whole.to_string().as_bytes()).is_ok());
}

#[test]
fn providers_prices_are_read_or_none_are() {
    let endpoint = |tag: &str, prompt: &str| {
        json!({"tag": tag, "context_length": 5, "max_completion_tokens": 4,
            "pricing": {"prompt": prompt, "completion": "1"}})
    };
    let read = |endpoints: Value| {
        let body =
            json!({"data": {"id": "a/b", "architecture": {"output_modalities": ["image"]}, "endpoints": endpoints}});
        parse_providers(body.to_string().as_bytes(), "a/b")
    };
    let prices =
        read(json!([endpoint("openai", "2"), endpoint("openai/fast", "4"), endpoint("x/fp8", "0")])).expect("prices");
    let seen: Vec<_> = prices.iter().map(|p| (p.rates.prompt, p.fast, p.draws, p.context, p.max_output)).collect();
    let expect = |prompt, fast| (usd(prompt), fast, true, Some(5), Some(4));
    assert_eq!(seen, [expect("2", false), expect("4", true), expect("0", false)]);
    assert_eq!(read(json!([endpoint("a", "2"), endpoint("b", "-1")])), Err(NoModels));
    assert_eq!(read(json!([])), Err(NoModels));
    assert_eq!(parse_providers(b"{}", "a/b"), Err(NoModels));
}

#[test]
fn only_clean_ids_make_a_path() {
    assert_eq!(providers_target("a/b-1.5:free").as_deref(), Some("/api/v1/models/a/b-1.5:free/endpoints"));
    assert_eq!(providers_target("~a/b-latest").as_deref(), Some("/api/v1/models/~a/b-latest/endpoints"));
    for id in ["", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/b?x=1", "a/b#c", "a/b c", "a/%2e%2e", "a/b\r\n"] {
        assert_eq!(providers_target(id), None, "{id}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_are_a_panic(body in prop::collection::vec(prop::sample::select(&b"{}[]\":,data id pricing prompt 019.e-\\"[..]), 0..200)) {
        let read = parse_models(&body).is_ok() || parse_providers(&body, "a/b").is_ok();
        prop_assert!(!read, "a list needs more letters than that");
    }

    #[test]
    fn no_price_is_a_panic(name in "[a-z_]{1,20}", text in "\\PC{0,20}", number: f64) {
        for value in [json!(text), json!(number)] {
            let mut pricing = json!({"prompt": "1", "completion": "1"});
            pricing[&name] = value;
            if let Some(price) = priced(pricing) {
                prop_assert!(price.rates.prompt >= Some(Usd::ZERO));
            }
        }
    }
}
