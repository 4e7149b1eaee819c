//! What donors allow: set at donation, changed later, shown everywhere.

use super::*;

/// The first key as `GET /keys` shows it.
async fn shown(house: &House) -> Value {
    house.call("GET", "/keys", "").await.json()["keys"][0].take()
}

async fn donate(house: &House, limits: &str) -> Answer {
    house.call("POST", "/keys/openrouter", &format!(r#"{{"key":"{}",{limits}}}"#, key(1))).await
}

async fn change(house: &House, limits: &str) -> Answer {
    house.call("PATCH", "/keys/openrouter/k1", &format!(r#"{{"limits":{limits}}}"#)).await
}

#[tokio::test]
async fn a_donation_brings_its_limits() {
    let house = House::new(None);
    let limits = r#""limits":{"caps":{"day":5,"month":60.5},"reserve":1.5,"models":["anthropic/*","*:free"],
        "concurrency":4,"paused":false,"expiresAt":"2027-01-01"},"limit":{"amount":20,"window":"week"}"#;
    assert_eq!(donate(&house, limits).await.status, StatusCode::OK);
    let key = shown(&house).await;
    let expected = serde_json::json!({
        "caps": {"day": "$5.0000", "week": "$20.0000", "month": "$60.5000", "total": null},
        "reserve": "$1.5000", "models": ["anthropic/*", "*:free"], "concurrency": 4, "paused": false,
        "expiresAt": "2027-01-01T00:00:00Z",
    });
    assert_eq!(key["limits"], expected);
    let day = serde_json::json!({
        "window": "day", "cap": "$5.0000", "spent": "$0.0000", "left": "$5.0000", "turnsAt": "2026-11-25T00:00:00Z",
    });
    assert_eq!(key["caps"][0], day);
    let windows: Vec<_> = key["caps"].as_array().expect("caps").iter().map(|cap| cap["window"].clone()).collect();
    assert_eq!(windows, ["day", "week", "month"]);
    for amount in ["held", "suspenseMost", "stranded"] {
        assert_eq!(key[amount], "$0.0000", "{amount}");
    }
    let pool = house.call("GET", "/status", "").await.json();
    assert_eq!(pool["openrouter"]["keys"][0]["limits"], expected, "everywhere the same");
    for amount in ["held", "stranded"] {
        assert_eq!(pool["openrouter"][amount], "$0.0000", "{amount}");
    }
    assert_eq!(pool["openrouter"]["suspense"]["most"], "$0.0000");
}

#[tokio::test]
async fn a_number_is_a_cap_in_all_and_no_word_is_no_limit() {
    let house = House::new(None);
    donate(&house, r#""limit":7.25"#).await;
    assert_eq!(shown(&house).await["limits"]["caps"]["total"], "$7.2500");
    house.donate(2).await;
    let second = house.call("GET", "/keys", "").await.json()["keys"][1].take();
    let none = serde_json::json!({
        "caps": {"day": null, "week": null, "month": null, "total": null},
        "reserve": null, "models": [], "concurrency": null, "paused": false, "expiresAt": null,
    });
    assert_eq!((&second["limits"], &second["gate"]), (&none, &"open".into()));
    for amount in ["held", "suspenseMost", "stranded", "left", "elsewhere", "drift", "lastCheckedAt"] {
        assert_eq!(second[amount], Value::Null, "{amount}: nothing to be said");
    }
    assert_eq!(second["caps"], serde_json::json!([]));
}

#[tokio::test]
async fn limits_are_changed_one_by_one_and_lifted_by_null() {
    let house = House::new(None);
    donate(&house, r#""limits":{"caps":{"day":5,"total":50},"models":["openai/*"]}"#).await;
    let answer = change(&house, r#"{"caps":{"day":2.5,"week":9},"concurrency":3}"#).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json(), shown(&house).await, "the answer is what GET /keys shows");
    let caps = serde_json::json!({"day": "$2.5000", "week": "$9.0000", "month": null, "total": "$50.0000"});
    let limits = answer.json()["limits"].take();
    assert_eq!((&limits["caps"], &limits["concurrency"]), (&caps, &3.into()));
    assert_eq!(limits["models"], serde_json::json!(["openai/*"]));

    let lifted = change(&house, r#"{"caps":{"day":null},"models":null,"concurrency":null}"#).await.json();
    assert_eq!(lifted["limits"]["caps"]["day"], Value::Null);
    assert_eq!(lifted["limits"]["caps"]["total"], "$50.0000");
    assert_eq!((&lifted["limits"]["models"], &lifted["limits"]["concurrency"]), (&serde_json::json!([]), &Value::Null));
    assert_eq!(change(&house, r#"{"caps":null}"#).await.json()["caps"], serde_json::json!([]));
}

#[tokio::test]
async fn a_paused_or_expired_key_says_so_and_comes_back_by_hand() {
    let house = House::new(None);
    house.donate(1).await;
    let paused = change(&house, r#"{"paused":true}"#).await.json();
    assert_eq!((&paused["gate"], &paused["limits"]["paused"]), (&"paused".into(), &true.into()));
    assert_eq!(paused["health"]["status"], "healthy", "pausing is not illness");
    let resumed = change(&house, r#"{"paused":false,"expiresAt":"2026-11-24T03:00:01Z"}"#).await.json();
    assert_eq!(resumed["gate"], "open");
    house.clock.set(house.clock.now().after(std::time::Duration::from_secs(1)));
    assert_eq!(shown(&house).await["gate"], "expired");
    assert_eq!(change(&house, r#"{"expiresAt":"2026-11-24T03:00:00Z"}"#).await.code(), "field_wrong_value");
    assert_eq!(change(&house, r#"{"expiresAt":null}"#).await.json()["gate"], "open");
}

#[tokio::test]
async fn a_cap_that_is_used_up_shows_as_depleted_until_its_window_turns() {
    let house = House::new(None);
    house.donate(1).await;
    // Booked behind the pool's back, which reads the key's money when it gets its first cap.
    house.book(Cost::Known(Usd::from_pico(500_000_000_000)));
    house.pot.store().flush().await.expect("written");
    let spent = change(&house, r#"{"caps":{"day":0.5,"total":9}}"#).await.json();
    let health = &spent["health"];
    assert_eq!(
        (&spent["gate"], &health["status"], &health["why"]),
        (&"spent".into(), &"depleted".into(), &"cap".into())
    );
    assert_eq!(health["until"], "2026-11-25T00:00:00Z");
    assert_eq!((&spent["caps"][0]["spent"], &spent["caps"][0]["left"]), (&"$0.5000".into(), &"$0.0000".into()));
    assert_eq!((&spent["caps"][1]["left"], &spent["left"]), (&"$8.5000".into(), &"$0.0000".into()));
    let pool = house.call("GET", "/status", "").await.json();
    assert_eq!(pool["openrouter"]["health"]["depleted"], 1);
    let word = house.call("POST", "/health/openrouter", r#"{"id":"k1","status":"healthy"}"#).await.json();
    assert_eq!((&word["status"], &word["health"]["status"]), (&"healthy".into(), &"depleted".into()));

    house.clock.set(Timestamp::parse_rfc3339("2026-11-25T00:00:00Z").expect("a time"));
    let turned = shown(&house).await;
    assert_eq!((&turned["gate"], &turned["health"]["status"]), (&"open".into(), &"healthy".into()));
    let cap = &turned["caps"][0];
    assert_eq!((&cap["left"], &cap["turnsAt"]), (&"$0.5000".into(), &"2026-11-26T00:00:00Z".into()));
}

#[tokio::test]
async fn nothing_to_spend_without_a_statement_of_openrouters_is_the_reserves_doing() {
    let house = House::new(None);
    donate(&house, r#""limits":{"reserve":1}"#).await;
    let key = shown(&house).await;
    assert_eq!((&key["gate"], &key["health"]["why"]), (&"spent".into(), &"reserve".into()));
    assert_eq!((&key["left"], &key["health"]["until"]), (&"$0.0000".into(), &Value::Null));
}
