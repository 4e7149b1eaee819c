//! Prices: fetched without a key, kept while the upstream is away, and bounds that no bill passes.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use potluck::money::{PriceList, Unbounded, Usd, worst_cost};
use potluck::pool::KeyId;
use potluck::pot::{KeyRef, Prices};
use potluck::simulator::{Pico, Play, Script};
use potluck::upstream::{Endpoint, Spending, parse_models};
use serde_json::{Value, json};

use crate::support::{Ask, House, MODEL, chat};

const LIST: &str = "/api/v1/models?output_modalities=all";

fn read(endpoint: Endpoint, body: &str) -> Spending {
    Spending::read(endpoint, &HeaderMap::new(), body.as_bytes())
}

fn plain(model: &str) -> Spending {
    read(Endpoint::ChatCompletions, &json!({"model": model, "messages": [], "max_tokens": 100}).to_string())
}

impl House {
    fn fetched(&self, target: &str) -> usize {
        let log = self.sim.log();
        let asked: Vec<_> = log.iter().filter(|entry| entry.target == target).collect();
        assert!(asked.iter().all(|entry| entry.header("authorization").is_empty()), "no key is needed for {target}");
        asked.len()
    }

    /// The bound with everything known that can be.
    async fn bound(&self, spending: &Spending) -> Result<Usd, Unbounded> {
        let prices = self.pot.prices().list_for(spending, &self.clock).await?;
        worst_cost(spending, &prices, self.clock.now(), None)
    }
}

#[tokio::test]
async fn the_list_is_fetched_at_once_and_again_and_again() {
    let house = House::new(0, "[prices]\nrefresh_ms = 1000").await;
    let list = house.pot.prices().list();
    assert!(list.len() > 10 && list.find(MODEL).is_some() && list.is_current(house.clock.now()));
    assert!(house.fetched(LIST) >= 1);
    house.until("it is fetched again", |_| house.fetched(LIST) >= 3).await;
}

#[tokio::test]
async fn an_old_list_is_good_for_a_while_and_then_for_nothing() {
    let house = House::new(0, "[prices]\nrefresh_ms = 1000\nmax_age_ms = 3600000").await;
    house.sim.close_port(true).await;
    house.pass(Duration::from_secs(3500));
    assert!(house.bound(&plain("meta-llama/llama-3.3-70b-instruct:free")).await.is_ok());
    house.pass(Duration::from_secs(200));
    assert_eq!(house.bound(&plain(MODEL)).await, Err(Unbounded::OldPrices));
    house
        .until("the failures are counted", |_| {
            house.pot.metrics().encode().unwrap_or_default().lines().any(|line| {
                line.strip_prefix("potluck_price_refresh_failures_total ").is_some_and(|count| count != "0")
            })
        })
        .await;
    house.sim.open_port().await;
    house.until("there is a new list", |_| house.pot.prices().list().is_current(house.clock.now())).await;
    assert!(house.bound(&plain(MODEL)).await.is_ok());
}

#[tokio::test]
async fn what_providers_charge_is_found_out_once_and_then_known() {
    let house = House::new(0, "").await;
    let model = "meta-llama/llama-3.3-70b-instruct";
    let endpoints = format!("/api/v1/models/{model}/endpoints");
    let spending = plain(model);
    let listed = worst_cost(&spending, &house.pot.prices().list(), house.clock.now(), None).unwrap();
    let bound = house.bound(&spending).await.unwrap();
    assert!(bound > listed, "another provider charges more than the listed one: {bound} {listed}");
    for _ in 0..5 {
        assert_eq!(house.bound(&plain(&format!("{model}:floor"))).await.map(|b| b >= bound), Ok(true));
    }
    assert_eq!(house.fetched(&endpoints), 1);
    // Known for as long as the list is good, also while the upstream is away; a model never asked for is not.
    house.sim.close_port(true).await;
    house.pass(Duration::from_secs(3 * 3600));
    assert_eq!(house.bound(&spending).await, Ok(bound));
    assert_eq!(house.bound(&plain(MODEL)).await, Err(Unbounded::NoProviders(MODEL.into())));
    // Nothing is asked for what has no price anyway.
    assert_eq!(house.bound(&plain("nobody/nothing")).await, Err(Unbounded::NoPrice("nobody/nothing".into())));
    assert!(house.bound(&plain("openrouter/auto")).await.is_ok());
}

/// Requests of every kind that has a bound.
fn requests() -> Vec<(Endpoint, &'static str, Value)> {
    use Endpoint::{ChatCompletions, Completions, CursorChat, Decisions, Embeddings, Messages, Responses, SystemOne};
    let chat = "/api/v1/chat/completions";
    let turns = |text: &str| json!([{"role": "user", "content": text}]);
    let claude = "anthropic/claude-sonnet-4.5";
    let gemini = "google/gemini-2.5-flash";
    let picture = format!("data:image/png;base64,{}", "iVBO".repeat(20_000));
    let shown = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture}}]}]);
    let cached =
        json!([{"type": "text", "text": "x".repeat(9_000), "cache_control": {"type": "ephemeral", "ttl": "1h"}}]);
    let long = "w ".repeat(150_000);
    vec![
        (ChatCompletions, chat, json!({"model": MODEL, "messages": turns("hello"), "max_tokens": 100})),
        (ChatCompletions, chat, json!({"model": MODEL, "messages": turns("hello"), "max_tokens": 100, "n": 5})),
        (ChatCompletions, chat, json!({"model": MODEL, "messages": turns("hello"), "max_completion_tokens": 9})),
        (ChatCompletions, chat, json!({"model": MODEL, "messages": turns("hello")})),
        (ChatCompletions, chat, json!({"model": MODEL, "messages": shown, "max_tokens": 10})),
        (ChatCompletions, chat, json!({"model": gemini, "messages": turns(&long), "max_tokens": 1_000})),
        (
            ChatCompletions,
            chat,
            json!({"model": claude, "messages": turns(&long), "max_tokens": 1_000, "stream": true}),
        ),
        (ChatCompletions, chat, json!({"model": "perplexity/sonar", "messages": turns("hello"), "max_tokens": 100})),
        (ChatCompletions, chat, json!({"model": "openrouter/auto", "messages": turns("hello"), "max_tokens": 100})),
        (
            ChatCompletions,
            chat,
            json!({"model": "meta-llama/llama-3.3-70b-instruct:nitro", "messages": turns("hello"), "max_tokens": 100}),
        ),
        (ChatCompletions, chat, json!({"model": "google/gemma-3-27b-it:free", "messages": turns("hello")})),
        (CursorChat, "/api/v1/cursor/chat/completions", json!({"model": MODEL, "messages": turns("hello")})),
        (Completions, "/api/v1/completions", json!({"model": MODEL, "prompt": "hello", "max_tokens": 7, "best_of": 4})),
        (
            Messages,
            "/api/v1/messages",
            json!({"model": claude, "max_tokens": 50, "system": cached, "messages": turns("x")}),
        ),
        (Responses, "/api/v1/responses", json!({"model": MODEL, "input": "hello", "max_output_tokens": 50})),
        (Embeddings, "/api/v1/embeddings", json!({"model": "openai/text-embedding-3-small", "input": [&long, &long]})),
        (Decisions, "/api/alpha/decisions", json!({"model": "typesafe/decider-1", "input": "hello"})),
        (SystemOne, "/api/v1/systemone", json!({"model": "typesafe/decider-1", "input": "hello"})),
    ]
}

#[tokio::test]
async fn a_greedy_upstream_bills_no_more_than_the_bound() {
    let house = House::new(0, "").await;
    let key = house.sim.funded_key(Pico::usd(1_000));
    house.sim.script(Script::always(Play { greedy: Some(true), ..Play::default() }));
    for (endpoint, path, body) in requests() {
        let body = body.to_string();
        let shown = &body[..body.len().min(200)];
        let bound = house.bound(&read(endpoint, &body)).await.unwrap_or_else(|why| panic!("{why}: {shown}"));
        let ask = Ask::post(path, body.clone()).header("authorization", &format!("Bearer {}", key.text));
        let answer = ask.send(house.sim.addr()).await;
        assert_eq!(answer.status, 200, "{shown}: {}", answer.text());
        let billed = house.sim.bill().generations.pop().expect("a generation").cost.0;
        let held = i128::from(bound.as_pico());
        assert!(billed <= held, "{billed} billed, {held} held: {shown}");
        // Nor is a bound without reason: what is reckoned with on top are a thousand tokens and the rest of a context.
        let greedy = ["perplexity", "auto", "free"].iter().all(|model| !shown.contains(model));
        assert!(!greedy || held < 2 * billed + 20_000_000_000, "{billed} billed, {held} held: {shown}");
    }
}

#[tokio::test]
async fn what_providers_charge_is_asked_again_when_it_is_older_than_a_list_may_be() {
    let house = House::new(0, "[prices]\nrefresh_ms = 1000\nmax_age_ms = 60000").await;
    assert!(house.bound(&plain(MODEL)).await.is_ok());
    house.pass(Duration::from_secs(45));
    let age = || house.pot.prices().list().age(house.clock.now()).unwrap();
    house.until("there is a new list", |_| age() < Duration::from_secs(1)).await;
    // The list is good for longer than what was learned before it.
    house.pass(Duration::from_secs(20));
    assert!(house.bound(&plain(MODEL)).await.is_ok());
}

#[tokio::test]
async fn a_key_without_limits_serves_while_prices_are_waited_for() {
    let house = House::new(2, "").await;
    let capped = KeyRef::Id(KeyId(1));
    house.pot.change_limits(capped, |limits| limits.reserve = Some(Usd::from_pico(1))).await.unwrap();
    house.pass(Duration::from_secs(48 * 60 * 60));
    assert!(!house.pot.prices().list().is_current(house.clock.now()));
    let _on_its_way = house.pot.prices().expect();
    house.sim.clear_log();
    for _ in 0..3 {
        let ask = Ask::post("/api/v1/chat/completions", chat(MODEL));
        // Prices are waited for five seconds.
        let answer = tokio::time::timeout(Duration::from_secs(4), house.ask(&ask)).await.expect("it does not wait");
        assert_eq!(answer.status, 200);
    }
    let used: Vec<_> = house.went_up().iter().map(|entry| entry.key).collect();
    assert_eq!(used, [Some(1); 3], "the key with limits is passed over until its costs can be told");
}

async fn assert_pending<T: std::fmt::Debug>(waiting: &mut (impl Future<Output = T> + Unpin)) {
    tokio::select! {
        biased;
        early = waiting => panic!("did not wait: {early:?}"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn a_request_that_comes_before_the_first_list_waits_for_it_or_for_its_failure() {
    let house = House::new(0, "").await;
    let prices = Arc::new(Prices::new(Arc::clone(house.pot.origin())));
    let asked = plain("some/model");
    let bound = async || {
        let list = prices.list_for(&asked, &house.clock).await?;
        worst_cost(&asked, &list, house.clock.now(), None)
    };
    assert_eq!(bound().await, Err(Unbounded::OldPrices), "nothing is on its way: nothing to wait for");

    let expected = prices.expect();
    let mut waiting = Box::pin(bound());
    assert_pending(&mut waiting).await;
    drop(expected);
    assert_eq!(waiting.await, Err(Unbounded::OldPrices), "it did not come");

    let expected = prices.expect();
    let mut waiting = Box::pin(bound());
    assert_pending(&mut waiting).await;
    let listed =
        json!({"data": [{"id": "free/model", "context_length": 1000, "pricing": {"prompt": "0", "completion": "0"}}]});
    let models = parse_models(listed.to_string().as_bytes()).unwrap();
    prices.publish(&PriceList::new(models, house.clock.now(), Duration::from_secs(60)));
    drop(expected);
    assert_eq!(waiting.await, Err(Unbounded::NoPrice("some/model".into())), "it has come, without that model");
}
