//! Budgets and rates over real sockets, against the simulator's bill.

use std::time::Duration;

use potluck::simulator::{Play, Script};
use serde_json::json;
use tokio::task::JoinSet;

use super::*;

/// The upstream charges for each request all that it may.
async fn dear_house() -> House {
    let house = House::new(2, REQUIRED).await;
    house.sim.script(Script::always(Play { greedy: Some(true), gap_ms: Some(5), ..Play::default() }));
    house
}

fn greedy(max_tokens: u64) -> String {
    json!({"model": MODEL, "max_tokens": max_tokens, "stream": true,
        "messages": [{"role": "user", "content": "hello"}]})
    .to_string()
}

fn billed(house: &House) -> i128 {
    house.sim.bill().keys.iter().map(|line| line.cost.0).sum()
}

async fn of_client(house: &House, id: &str) -> Value {
    Ask::get(&format!("/clients/{id}")).send(house.admin).await.json()
}

/// A client of whom nothing is in suspense. Its budgets know of that a moment after the books do.
async fn until_settled(house: &House, id: &str) -> Value {
    for _ in 0..1000 {
        let client = of_client(house, id).await;
        if client["suspenseMost"] == "$0.0000" {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never settled: {:#}", of_client(house, id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_at_once_at_a_budget_for_twenty_never_pass_it() {
    let house = dear_house().await;
    let ann = house.client(json!({"name": "ann", "budgets": {"total": 0.008}})).await;
    let mut crowd = JoinSet::new();
    for _ in 0..500 {
        let (ask, proxy) = (bearing(Ask::post(CHAT, greedy(1_000)), &ann.key), house.proxy);
        crowd.spawn(async move { ask.send(proxy).await.status });
    }
    let (mut served, mut refused) = (0, 0);
    while let Some(status) = crowd.join_next().await {
        match status.expect("an answer") {
            200 => served += 1,
            402 | 429 => refused += 1,
            other => panic!("{other}"),
        }
        assert!(billed(&house) <= 8_000_000_000, "never beyond the budget, at any moment");
    }
    assert!((10..=40).contains(&served) && served + refused == 500, "{served} served");
    house.booked().await;
    house.pot.store().flush().await.expect("durable");
    let client = of_client(&house, &ann.id).await;
    assert_eq!((&client["held"], &client["refused"]), (&"$0.0000".into(), &refused.into()), "{client:#}");
    assert_eq!(client["requests"], served, "{client:#}");
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_spent_budget_is_told_with_its_turn_in_each_dialect() {
    let house = dear_house().await;
    let ann = house.client(json!({"name": "ann", "budgets": {"day": 0.002}})).await;
    let mut asked = 0;
    let refused = loop {
        let answer = bearing(Ask::post(CHAT, greedy(1_000)), &ann.key).send(house.proxy).await;
        house.booked().await;
        asked += 1;
        match answer.status {
            200 => assert!(asked < 20, "the budget is for four or so"),
            _ => break answer,
        }
    };
    // What is left pays for less than was asked for.
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["code"]), (402, &402.into()), "{error}");
    assert_eq!(error["metadata"]["reason"], "client_budget_too_small", "{error}");
    let reset = error["metadata"]["reset_at"].as_str().unwrap_or_default();
    assert!(reset.ends_with("T00:00:00Z") && refused.header("retry-after") == Some("43200"), "midnight: {error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains(reset)), "{error}");
    let affordable = error["metadata"]["affordable_tokens"].as_u64().expect("a number");
    assert!((1..1_000).contains(&affordable), "{error}");
    let last = bearing(Ask::post(CHAT, greedy(affordable)), &ann.key).send(house.proxy).await;
    assert_eq!(last.status, 200, "{}", last.text());
    house.booked().await;
    // Fractions of a token are left, which no request is small enough for.
    let spent = bearing(Ask::post(CHAT, greedy(1_000)), &ann.key).send(house.proxy).await;
    assert_eq!(spent.status, 402, "{}", spent.text());
    let messages =
        json!({"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "x"}]}).to_string();
    let anthropic = Ask::post("/api/v1/messages", messages).header("x-api-key", &ann.key).send(house.proxy).await;
    assert_eq!((anthropic.status, &anthropic.json()["error"]["type"]), (402, &"billing_error".into()));
    let responses = json!({"model": MODEL, "max_output_tokens": 1000, "input": "x"}).to_string();
    let responses = bearing(Ask::post("/api/v1/responses", responses), &ann.key).send(house.proxy).await;
    let error = &responses.json()["error"];
    assert!(
        responses.status == 402 && error["code"].as_str().is_some_and(|c| c.starts_with("client_budget")),
        "{error}"
    );

    // Raised at once, and back by itself at midnight.
    let bob = house.client(json!({"name": "bob", "budgets": {"day": 0.0000001}})).await;
    let small = bearing(Ask::post(CHAT, greedy(10)), &bob.key);
    assert_eq!(small.send(house.proxy).await.status, 402);
    let raised = house.operate("PATCH", &format!("/clients/{}", bob.id), &json!({"budgets": {"day": 1}})).await;
    assert_eq!((raised.status, &raised.json()["budgets"][0]["cap"]), (200, &"$1.0000".into()), "{}", raised.text());
    assert_eq!(small.send(house.proxy).await.status, 200);
    let used = of_client(&house, &ann.id).await;
    assert!(used["spentToday"] != "$0.0000" && used["budgets"][0]["left"] != used["budgets"][0]["cap"], "{used:#}");
    house.pass(Duration::from_secs(24 * 60 * 60));
    let tomorrow = loop {
        let answer = bearing(Ask::post(CHAT, greedy(1_000)), &ann.key).send(house.proxy).await;
        // Prices are a day old by this clock, which is looked at every few seconds.
        if answer.status != 503 {
            break answer;
        }
        assert_eq!(answer.json()["error"]["code"], "prices_unknown", "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(tomorrow.status, 200, "{}", tomorrow.text());
    house.assert_books_balance().await;
}

#[tokio::test]
async fn rates_are_told_like_openrouters() {
    let house = dear_house().await;
    let ann = house.client(json!({"name": "ann", "requestsPerMinute": 2})).await;
    for _ in 0..2 {
        assert_eq!(ask(&ann.key).send(house.proxy).await.status, 200);
    }
    let limited = ask(&ann.key).send(house.proxy).await;
    assert_eq!((limited.status, &limited.json()["error"]["code"]), (429, &"client_requests_limited".into()));
    let number = |name: &str| limited.header(name).and_then(|text| text.parse::<i64>().ok());
    assert_eq!(
        (number("retry-after"), number("x-ratelimit-limit"), number("x-ratelimit-remaining")),
        (Some(30), Some(2), Some(0))
    );
    let now = house.clock.now().as_millis();
    assert!(number("x-ratelimit-reset").is_some_and(|at| (now + 29_000..=now + 30_000).contains(&at)), "{limited:?}");
    house.pass(Duration::from_secs(30));
    assert_eq!(ask(&ann.key).send(house.proxy).await.status, 200);

    let bob = house.client(json!({"name": "bob", "tokensPerMinute": 1000})).await;
    let long = |tokens: u64| bearing(Ask::post(CHAT, greedy(tokens)), &bob.key);
    assert_eq!(long(600).send(house.proxy).await.status, 200);
    house.booked().await;
    let limited = long(400).send(house.proxy).await;
    assert_eq!((limited.status, &limited.json()["error"]["code"]), (429, &"client_tokens_limited".into()));
    assert_eq!(limited.header("x-ratelimit-limit"), Some("1000"));
    assert_eq!(long(10).send(house.proxy).await.status, 200, "a smaller one passes");
    house.pass(Duration::from_secs(60));
    assert_eq!(long(400).send(house.proxy).await.status, 200);
}

#[tokio::test]
async fn users_share_their_clients_budget_and_have_their_own() {
    let house = dear_house().await;
    let terms =
        json!({"name": "app", "budgets": {"total": 1}, "perUser": {"budgets": {"total": 0.0009}, "concurrency": 1}});
    let app = house.client(terms).await;
    let one = text(&house.token(&app.key, Some("u1")).await.json(), "token");
    let two = text(&house.token(&app.key, Some("u2")).await.json(), "token");
    assert_eq!(bearing(Ask::post(CHAT, greedy(1_000)), &one).send(house.proxy).await.status, 200);
    house.booked().await;
    let refused = bearing(Ask::post(CHAT, greedy(1_000)), &one).send(house.proxy).await;
    assert_eq!(refused.status, 402, "{}", refused.text());
    assert!(refused.json()["error"]["message"].as_str().is_some_and(|m| m.contains("this user")), "{}", refused.text());
    assert_eq!(
        bearing(Ask::post(CHAT, greedy(1_000)), &two).send(house.proxy).await.status,
        200,
        "another's is his own"
    );
    house.booked().await;
    house.pot.store().flush().await.expect("durable");
    let lines = Ask::get("/ledger?client=c1").send(house.admin).await.json();
    let users: Vec<_> = lines["entries"].as_array().expect("lines").iter().map(|line| line["user"].clone()).collect();
    assert_eq!(users, ["u2", "u1"], "{lines:#}");
    let house = house.restart().await;
    let still = bearing(Ask::post(CHAT, greedy(1_000)), &one).send(house.proxy).await;
    assert_eq!(still.status, 402, "a restart forgets nothing: {}", still.text());
    let users = Ask::get("/clients/c1/users?limit=1").send(house.admin).await.json();
    let first = &users["users"][0];
    assert_eq!((&first["name"], &first["requests"]), (&"u1".into(), &1.into()), "{users:#}");
    assert!(first["spentTotal"] != "$0.0000" && first["refused"] != 0 && users["next"] == "u1", "{users:#}");
    let rest = Ask::get("/clients/c1/users?after=u1").send(house.admin).await.json();
    assert_eq!((&rest["users"][0]["name"], &rest["next"]), (&"u2".into(), &Value::Null), "{rest:#}");
    assert_eq!(Ask::get("/clients/c9/users").send(house.admin).await.status, 404);
    let client = of_client(&house, "c1").await;
    assert_eq!(
        (&client["requests"], &client["perUser"]["budgets"]["total"]),
        (&2.into(), &"$0.0009".into()),
        "{client:#}"
    );
}

#[tokio::test]
async fn what_nobody_can_price_is_not_spent_of_a_budget() {
    let house = House::new(1, REQUIRED).await;
    let ann = house.client(json!({"name": "ann", "budgets": {"day": 1}})).await;
    let bob = house.client(json!({"name": "bob"})).await;
    let unlisted = chat("acme/nobody-knows");
    let refused = bearing(Ask::post(CHAT, unlisted.clone()), &ann.key).send(house.proxy).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (400, &"cost_unbounded".into()),
        "{}",
        refused.text()
    );
    assert!(house.went_up().iter().all(|entry| entry.path() != CHAT), "nothing was sent");
    let served = bearing(Ask::post(CHAT, unlisted), &bob.key).send(house.proxy).await;
    assert_ne!(served.json()["error"]["code"], "cost_unbounded", "without a budget it is the upstream's to say");
}

#[tokio::test]
async fn a_stream_whose_client_leaves_counts_at_its_worst_until_its_cost_is_found() {
    let house = House::new(1, PATIENT).await;
    let ann = house.client(json!({"name": "ann", "budgets": {"total": 1}})).await;
    let play = Play { gap_ms: Some(20), output_tokens: Some(5_000), stops_on_cancel: Some(true), ..Play::default() };
    house.sim.script(Script::always(play));
    let mut reading = bearing(Ask::post(CHAT, greedy(5_000)), &ann.key).open(house.proxy).await;
    assert!(reading.chunk().await.is_some_and(|chunk| chunk.is_ok()));
    let under_way = of_client(&house, "c1").await;
    assert!(under_way["held"] != "$0.0000" && under_way["inFlight"] == 1, "{under_way:#}");
    drop(reading);
    house.booked().await;
    let suspended = of_client(&house, "c1").await;
    assert_eq!(
        (&suspended["held"], &suspended["suspenseMost"]),
        (&"$0.0000".into(), &under_way["held"]),
        "{suspended:#}"
    );
    house.pass(Duration::from_secs(10));
    house.assert_books_balance().await;
    let settled = until_settled(&house, "c1").await;
    assert_ne!(settled["spentTotal"], "$0.0000", "{settled:#}");
}

#[tokio::test]
async fn each_is_told_its_own_key_and_credits() {
    let house = dear_house().await;
    let terms = json!({"name": "app", "budgets": {"day": 0.25, "total": 2}, "requestsPerMinute": 60,
        "expiresAt": "2100-01-01", "perUser": {"budgets": {"month": 0.01}}});
    let app = house.client(terms).await;
    let other = house.client(json!({"name": "other"})).await;
    let user = text(&house.token(&app.key, Some("u1")).await.json(), "token");
    assert_eq!(bearing(Ask::post(CHAT, greedy(1_000)), &user).send(house.proxy).await.status, 200);
    assert_eq!(bearing(Ask::post(CHAT, greedy(100)), &app.key).send(house.proxy).await.status, 200);
    house.booked().await;
    let get = async |path: &str, credential: &str| {
        let answer = bearing(Ask::get(path), credential).send(house.proxy).await;
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("private, no-store")),
            "{}",
            answer.text()
        );
        answer.json()["data"].clone()
    };
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value}"));
    let (whole, one) = (get("/api/v1/key", &app.key).await, get("/v1/key", &user).await);
    assert_eq!(
        (&whole["label"], &whole["limit_reset"], &one["limit_reset"]),
        (&"app".into(), &"daily".into(), &"monthly".into())
    );
    assert_eq!((number(&whole["limit"]), number(&one["limit"])), (0.25, 0.01));
    assert_eq!(whole["rate_limit"], json!({"requests": 60, "interval": "60s"}));
    assert_eq!(whole["expires_at"], "2100-01-01T00:00:00Z");
    assert!(number(&whole["usage"]) > number(&one["usage"]) && number(&one["usage"]) > 0.0, "{whole} {one}");
    assert_eq!(whole["usage"], whole["usage_daily"]);
    let left = |key: &Value| number(&key["limit"]) - number(&key["usage"]);
    assert!((left(&one) - number(&one["limit_remaining"])).abs() < 1e-12, "{one}");
    let credits = get("/api/v1/credits", &user).await;
    assert_eq!(credits["total_usage"], one["usage"]);
    assert!((number(&credits["total_credits"]) - 0.01).abs() < 1e-12, "{credits}");
    let free = get("/api/v1/auth/key", &other.key).await;
    assert_eq!((&free["usage"], &free["limit"], &free["limit_remaining"]), (&0.into(), &Value::Null, &Value::Null));
}
