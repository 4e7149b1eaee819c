//! Tests of bounds, to the pico-dollar.

use std::slice::from_ref;
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::money::{Override, Rates};
use crate::upstream::Endpoint;
use Endpoint::{ChatCompletions, Completions, Decisions, Embeddings, Messages};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const DAY: Duration = Duration::from_secs(86_400);
/// What is reckoned with for every template.
const TEMPLATE: u64 = 1024;
const PICTURE: u64 = 50_000;

fn usd(pico: i64) -> Option<Usd> {
    Some(Usd::from_pico(pico))
}

fn price() -> Price {
    let rates = Rates { prompt: usd(1_000), completion: usd(5_000), ..Rates::default() };
    Price { rates, context: Some(100_000), max_output: Some(4_000), ..Price::default() }
}

fn with_rates(change: impl FnOnce(&mut Rates)) -> Price {
    let mut price = price();
    change(&mut price.rates);
    price
}

fn list(models: &[(&str, &[Price])]) -> PriceList {
    let model = |(id, prices): &(&str, &[Price])| Model { id: (*id).into(), canonical: None, prices: prices.to_vec() };
    PriceList::new(models.iter().map(model).collect(), NOW, DAY)
}

fn read(endpoint: Endpoint, body: &Value) -> Spending {
    Spending::read(endpoint, &HeaderMap::new(), body.to_string().as_bytes())
}

fn chat(fields: Value) -> Value {
    let mut body = json!({"model": "a/b", "messages": [{"role": "user", "content": "hi"}]});
    for (key, value) in fields.as_object().expect("an object") {
        body[key] = value.clone();
    }
    body
}

/// Check one bound at `prices` of the model `a/b`; `expected` is given the tokens of the body.
fn check(prices: &[Price], endpoint: Endpoint, body: &Value, expected: impl Fn(u64) -> i64) {
    let tokens = body.to_string().len() as u64 + TEMPLATE;
    let found = worst_cost(&read(endpoint, body), &list(&[("a/b", prices)]), NOW, None);
    assert_eq!(found, Ok(Usd::from_pico(expected(tokens))), "{body}");
}

fn refused(prices: &[Price], body: &Value) -> Unbounded {
    worst_cost(&read(ChatCompletions, body), &list(&[("a/b", prices)]), NOW, None).expect_err("no bound")
}

fn pico(tokens: u64, rate: i64) -> i64 {
    i64::try_from(tokens).expect("few") * rate
}

#[test]
fn input_and_output_at_their_highest_prices() {
    let chat100 = chat(json!({"max_tokens": 100}));
    check(&[price()], ChatCompletions, &chat100, |t| pico(t, 1_000) + 100 * 5_000);
    check(&[price()], ChatCompletions, &chat(json!({})), |t| pico(t, 1_000) + 4_000 * 5_000);
    check(&[price()], ChatCompletions, &chat(json!({"max_tokens": 1})), |t| pico(t, 1_000) + 16 * 5_000);
    check(&[price()], ChatCompletions, &chat(json!({"max_tokens": 10_000_000})), |t| pico(t, 1_000) + 100_000 * 5_000);
    check(&[price()], ChatCompletions, &chat(json!({"max_tokens": 100, "n": 3})), |t| pico(t, 1_000) + 300 * 5_000);
    let thinking = chat(json!({"max_tokens": 100, "thinking": {"budget_tokens": 2_000}}));
    check(&[price()], Messages, &thinking, |t| pico(t, 1_000) + 2_100 * 5_000);
    let endless = Price { max_output: None, ..price() };
    check(from_ref(&endless), ChatCompletions, &chat(json!({})), |t| pico(t, 1_000) + 100_000 * 5_000);
    let unlimited = Price { unlimited: true, ..price() };
    check(&[unlimited], ChatCompletions, &chat100, |t| pico(t, 1_000) + 4_000 * 5_000);
    let fees = with_rates(|r| {
        r.request = usd(77);
        r.internal_reasoning = usd(6_000);
        r.input_cache_write = usd(1_250);
    });
    check(&[fees], ChatCompletions, &chat100, |t| pico(t, 1_250) + 100 * 6_000 + 77);
    let hour = chat(json!({"max_tokens": 100, "cache_control": {"type": "ephemeral", "ttl": "1h"}}));
    check(&[price()], ChatCompletions, &hour, |t| pico(t, 2_000) + 100 * 5_000);
    // The dearest of several providers, whichever it is dearest for.
    let dear = with_rates(|r| r.prompt = usd(3_000));
    check(&[price(), dear, price()], ChatCompletions, &chat100, |t| pico(t, 3_000) + 100 * 5_000);
}

#[test]
fn long_prompts_cost_what_long_prompts_cost() {
    let long = Rates { prompt: usd(2_000), completion: usd(7_500), ..Rates::default() };
    let price = Price { overrides: [Override { above: 20_000, rates: long }].into(), ..price() };
    let body = |bytes: usize| json!({"model": "a/b", "messages": "x".repeat(bytes), "max_tokens": 100});
    check(from_ref(&price), ChatCompletions, &body(5_000), |t| pico(t, 1_000) + 100 * 5_000);
    check(from_ref(&price), ChatCompletions, &body(25_000), |t| pico(t, 2_000) + 100 * 7_500);
    // No more than fits.
    check(&[price], ChatCompletions, &body(900_000), |_| 100_000 * 2_000 + 100 * 7_500);
}

#[test]
fn media() {
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let body = |parts: &[Value]| chat(json!({"max_tokens": 100, "messages": [{"role": "user", "content": parts}]}));
    let fee = with_rates(|r| r.image = usd(9_000_000));
    let one = |t| pico(t + PICTURE, 1_000) + 100 * 5_000 + 9_000_000;
    check(from_ref(&fee), ChatCompletions, &body(from_ref(&picture)), one);
    let three = |_| pico(100_000, 1_000) + 100 * 5_000 + 3 * 9_000_000;
    check(&[fee], ChatCompletions, &body(&[picture.clone(), picture.clone(), picture.clone()]), three);
    let tokens = with_rates(|r| r.image_token = usd(1_500));
    check(&[tokens], ChatCompletions, &body(&[picture]), |t| pico(t + PICTURE, 1_500) + 100 * 5_000);
    let video = json!({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}});
    check(&[price()], ChatCompletions, &body(from_ref(&video)), |_| 100_000 * 1_000 + 100 * 5_000);
    let sound = json!({"type": "input_audio", "input_audio": {"data": "AAAA"}});
    let heard = with_rates(|r| r.audio = usd(40_000));
    check(from_ref(&heard), ChatCompletions, &body(&[sound]), |_| 100_000 * 40_000 + 100 * 5_000);
    check(from_ref(&heard), ChatCompletions, &body(from_ref(&video)), |_| 100_000 * 40_000 + 100 * 5_000);
    check(&[heard], ChatCompletions, &body(&[]), |t| pico(t, 1_000) + 100 * 5_000);
    let nowhere = Price { context: None, ..price() };
    assert_eq!(refused(&[nowhere], &body(&[video])), Unbounded::NoContext("a/b".into()));
    let file = json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}});
    assert_eq!(refused(&[price()], &body(from_ref(&file))), Unbounded::Files("a/b".into()));
    let reader = Price { reads_files: true, ..price() };
    check(&[reader], ChatCompletions, &body(&[file]), |_| 100_000 * 1_000 + 100 * 5_000);
}

#[test]
fn answers_that_are_not_text() {
    let body = chat(json!({"max_tokens": 100}));
    let draws = Price { draws: true, ..price() };
    assert_eq!(refused(&[draws], &body), Unbounded::Output("a/b".into()));
    // A picture is drawn whole.
    let drawing = Price { draws: true, ..with_rates(|r| r.image_output = usd(30_000)) };
    check(&[drawing], ChatCompletions, &body, |t| pico(t, 1_000) + 4_000 * 30_000);
    let plays = Price { plays: true, ..price() };
    assert_eq!(refused(from_ref(&plays), &body), Unbounded::Output("a/b".into()));
    check(&[plays], Decisions, &json!({"model": "a/b", "input": "x"}), |t| pico(t, 1_000) + 4_000 * 5_000);
    let speaking = Price { plays: true, ..with_rates(|r| r.audio_output = usd(80_000)) };
    check(&[speaking], ChatCompletions, &body, |t| pico(t, 1_000) + 100 * 80_000);
}

#[test]
fn searches() {
    let web = |engine: Value| chat(json!({"max_tokens": 100, "plugins": [{"id": "web", "engine": engine}]}));
    let found = |_| 100_000 * 1_000 + 100 * 5_000 + 15_000_000_000;
    check(&[price()], ChatCompletions, &web(Value::Null), found);
    let asked = Price { search: OwnSearch::Asked, ..price() };
    check(from_ref(&asked), ChatCompletions, &web("exa".into()), found);
    assert_eq!(refused(from_ref(&asked), &web(Value::Null)), Unbounded::Search("a/b".into()));
    assert_eq!(refused(&[price()], &web("native".into())), Unbounded::Search("a/b".into()));
    assert_eq!(refused(from_ref(&asked), &chat(json!({"model": "a/b:online"}))), Unbounded::Search("a/b".into()));
    check(&[asked], ChatCompletions, &chat(json!({"max_tokens": 100})), |t| pico(t, 1_000) + 100 * 5_000);
    let always = |fee: i64| Price { search: OwnSearch::Always, ..with_rates(|r| r.web_search = usd(fee)) };
    let own = |_| 100_000 * 1_000 + 100 * 5_000 + 3 * 5_000_000_000;
    for fields in [json!({"max_tokens": 100}), json!({"max_tokens": 100, "web_search_options": {}})] {
        check(&[always(5_000_000_000)], ChatCompletions, &chat(fields), own);
    }
    assert_eq!(refused(&[always(0)], &chat(json!({}))), Unbounded::Search("a/b".into()));
    let endless = Price { search: OwnSearch::Endless, ..price() };
    assert_eq!(refused(&[endless], &chat(json!({}))), Unbounded::Search("a/b".into()));
}

#[test]
fn other_endpoints() {
    let several = json!({"model": "a/b", "input": vec!["x".repeat(90_000); 3]});
    check(&[price()], Embeddings, &several, |t| pico(t, 1_000));
    let prompts = json!({"model": "a/b", "prompt": vec!["x".repeat(150_000); 2], "max_tokens": 100, "n": 2});
    check(&[price()], Completions, &prompts, |_| 200_000 * 1_000 + 400 * 5_000);
}

#[test]
fn the_dearest_of_the_models_allowed_counts() {
    let prices = list(&[
        ("a/b", &[price()]),
        ("c/d", &[with_rates(|r| r.completion = usd(50_000))]),
        ("c/d:free", &[with_rates(|r| *r = Rates { prompt: usd(0), completion: usd(0), ..Rates::default() })]),
        ("e/f", &[]),
    ]);
    let cost = |fields: Value| worst_cost(&read(ChatCompletions, &chat(fields)), &prices, NOW, None);
    let tokens = |fields: Value| pico(chat(fields).to_string().len() as u64 + TEMPLATE, 1_000);
    let both = json!({"max_tokens": 100, "models": ["c/d:floor"]});
    assert_eq!(cost(both.clone()), Ok(Usd::from_pico(tokens(both) + 100 * 50_000)));
    let auto = json!({"max_tokens": 100, "model": "openrouter/auto"});
    assert_eq!(cost(auto.clone()), Ok(Usd::from_pico(tokens(auto) + 100 * 50_000)));
    assert_eq!(cost(json!({"model": "c/d:free"})), Ok(Usd::ZERO));
    assert_eq!(cost(json!({"model": "c/d:free:nitro", "speed": "fast"})), Ok(Usd::ZERO));
    assert_eq!(cost(json!({"models": ["e/f"]})), Err(Unbounded::NoPrice("e/f".into())));
    assert_eq!(cost(json!({"models": ["g/h"]})), Err(Unbounded::NoPrice("g/h".into())));
    let drawing = json!({"model": "openrouter/auto", "modalities": ["image"]});
    assert_eq!(cost(drawing), Err(Unbounded::Output("openrouter/auto".into())));
}

#[test]
fn dearer_tiers_count_when_they_may_be_used() {
    let fast = Price { fast: true, ..with_rates(|r| r.completion = usd(10_000)) };
    let known = list(&[("a/b", &[price()])]).with_providers("a/b", &[price(), fast], NOW);
    let unknown = list(&[("a/b", &[price()])]);
    let cost = |fields: Value, prices: &PriceList| {
        let body = chat(fields);
        let input = pico(body.to_string().len() as u64 + TEMPLATE, 1_000);
        let cost = worst_cost(&read(ChatCompletions, &body), prices, NOW, None)?;
        Ok((cost.as_pico() - input) / 100)
    };
    for fields in [
        json!({"max_tokens": 100, "service_tier": "priority"}),
        json!({"max_tokens": 100, "speed": "fast"}),
        json!({"max_tokens": 100, "model": "a/b:nitro"}),
    ] {
        assert_eq!(cost(fields.clone(), &known), Ok(10_000), "{fields}");
        assert!(matches!(cost(fields.clone(), &unknown), Err(Unbounded::Tier(_))), "{fields}");
    }
    for fields in [
        json!({"max_tokens": 100}),
        json!({"max_tokens": 100, "model": "a/b:floor"}),
        json!({"max_tokens": 100, "model": "a/b:nitro", "service_tier": "default"}),
    ] {
        assert_eq!((cost(fields.clone(), &known), cost(fields.clone(), &unknown)), (Ok(5_000), Ok(5_000)), "{fields}");
    }
}

#[test]
fn what_has_no_bound_costs_what_the_operator_says() {
    let prices = list(&[("a/b", &[price()])]);
    let default = usd(500_000_000_000);
    let plain = read(ChatCompletions, &chat(json!({})));
    let tool = read(ChatCompletions, &chat(json!({"tools": [{"type": "openrouter:fusion"}]})));
    assert_eq!(worst_cost(&tool, &prices, NOW, None), Err(Unbounded::Tool("openrouter:fusion".into())));
    assert_eq!(worst_cost(&tool, &prices, NOW, default), Ok(Usd::from_pico(500_000_000_000)));
    assert!(worst_cost(&plain, &prices, NOW, default).is_ok_and(|cost| cost < Usd::from_pico(500_000_000_000)));
    let late = NOW.after(DAY + Duration::from_secs(1));
    assert_eq!(worst_cost(&plain, &prices, late, None), Err(Unbounded::OldPrices));
    assert_eq!(worst_cost(&plain, &PriceList::default(), NOW, None), Err(Unbounded::OldPrices));
    let endless = Price { max_output: None, context: None, ..price() };
    assert_eq!(refused(&[endless], &chat(json!({}))), Unbounded::NoLimit("a/b".into()));
    let precious = with_rates(|r| r.prompt = usd(i64::MAX));
    assert_eq!(refused(&[precious], &chat(json!({}))), Unbounded::Overflow);
    let many = chat(json!({"n": u64::MAX}));
    assert_eq!(refused(&[price()], &many), Unbounded::Overflow);
}

#[test]
fn every_reason_is_half_a_sentence() {
    let prices = [price()];
    let long = "x".repeat(300);
    for body in [chat(json!({"model": long})), chat(json!({"tools": [{"type": long}]}))] {
        let why = refused(&prices, &body).to_string();
        assert!(why.len() < 200 && why.starts_with(char::is_lowercase) && !why.ends_with('.'), "{why}");
    }
}

#[test]
fn the_tokens_that_money_affords() {
    let prices = list(&[("a/b", &[price()]), ("c/d", &[with_rates(|r| r.completion = usd(0))])]);
    let body = chat(json!({"max_tokens": 50_000, "n": 2}));
    let input = pico(body.to_string().len() as u64 + TEMPLATE, 1_000);
    let spending = read(ChatCompletions, &body);
    let afford = |pico: i64| affordable_tokens(&spending, &prices, Usd::from_pico(pico));
    assert_eq!(afford(input - 1), Some(0));
    assert_eq!(afford(input + 2 * 16 * 5_000 - 1), Some(0), "no provider makes less than 16");
    assert_eq!(afford(input + 2 * 16 * 5_000), Some(16));
    assert_eq!(afford(input + 2 * 1_234 * 5_000 + 9_999), Some(1_234));
    assert_eq!(afford(i64::MAX), Some(100_000));
    let free = read(ChatCompletions, &chat(json!({"model": "c/d"})));
    assert_eq!(affordable_tokens(&free, &prices, Usd::from_pico(100_000_000)), Some(100_000));
    let embedding = read(Embeddings, &json!({"model": "a/b", "input": "x"}));
    assert_eq!(affordable_tokens(&embedding, &prices, Usd::from_pico(i64::MAX)), None);
    let tool = read(ChatCompletions, &chat(json!({"tools": [{"type": "openrouter:fusion"}]})));
    assert_eq!(affordable_tokens(&tool, &prices, Usd::from_pico(i64::MAX)), None);
}
