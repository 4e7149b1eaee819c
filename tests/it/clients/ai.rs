//! `/api/ai/…` with client keys: who may call it, and which models the router takes for whom.

use serde_json::json;

use super::*;

const COMPLETION: &str = "/api/ai/completion";
const ROUTE: &str = "/api/ai/route";
const CODE: &str = "Write a Python function that reverses a list.";
const FLASH: &str = "google/gemini-2.5-flash";

async fn post(house: &House, path: &str, credential: &str, body: Value) -> Answer {
    house.ask(&bearing(Ask::post(path, body.to_string()), credential)).await
}

#[tokio::test]
async fn nobody_is_routed_without_a_key_and_tokens_are_as_good() {
    let house = House::new(1, REQUIRED).await;
    let ann = house.client(json!({"name": "ann"})).await;
    let token = text(&house.token(&ann.key, Some("user")).await.json(), "token");
    let before = house.sim.received();
    for path in [COMPLETION, ROUTE] {
        let answer = house.ask(&Ask::post(path, json!({"prompt": CODE}).to_string())).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &json!("invalid_api_key")), "{path}");
        // Who it is comes before what it wants.
        assert_eq!(house.ask(&Ask::post(path, "{")).await.status, 401, "{path}");
    }
    assert_eq!(house.ask(&Ask::get("/api/ai/categories")).await.status, 401);
    assert_eq!(house.sim.received(), before);
    for credential in [&ann.key, &token] {
        for stream in [false, true] {
            let answer = post(&house, COMPLETION, credential, json!({"prompt": "hi", "stream": stream})).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.text().matches("\"_routing\":").count(), 1);
        }
        assert_eq!(post(&house, ROUTE, credential, json!({"prompt": CODE})).await.json()["category"], "coding");
        assert_eq!(house.ask(&bearing(Ask::get("/api/ai/categories"), credential)).await.status, 200);
    }
    house.booked().await;
    let lines = Ask::get("/ledger?client=c1").send(house.admin).await.json();
    assert_eq!(lines["entries"].as_array().expect("lines").len(), 4, "completions are booked as hers");
    house.revoke(&ann).await;
    for credential in [&ann.key, &token] {
        assert_eq!(post(&house, COMPLETION, credential, json!({"prompt": "hi"})).await.status, 401);
    }
    house.assert_books_balance().await;
}

#[tokio::test]
async fn the_router_takes_what_the_client_may_use() {
    let house = House::new(1, REQUIRED).await;
    let taken = async |models: Value, body: Value| {
        let client = house.client(json!({"name": "x", "models": models})).await;
        let decision = post(&house, ROUTE, &client.key, body.clone()).await.json();
        let answer = post(&house, COMPLETION, &client.key, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let routing = answer.json()["_routing"].clone();
        assert_eq!([&routing["model"], &routing["category"]], [&decision["model"], &decision["category"]]);
        (text(&routing, "model"), text(&routing, "category"), text(&routing, "reason"))
    };
    let (model, category, _) = taken(json!([]), json!({"prompt": CODE})).await;
    assert_eq!([&*model, &*category], ["anthropic/claude-sonnet-4.5", "coding"]);
    // The next of the same category...
    let (model, category, reason) = taken(json!(["google/*", "openai/*"]), json!({"prompt": CODE})).await;
    assert_eq!([&*model, &*category], [FLASH, "coding"]);
    assert!(reason.contains("anthropic/claude-sonnet-4.5 may not be used"), "{reason}");
    // ...or, where there is none, the default one's.
    let (model, category, reason) = taken(json!(["mistralai/*"]), json!({"prompt": CODE})).await;
    assert_eq!([&*model, &*category], ["mistralai/mistral-small-3.2-24b-instruct", "coding"]);
    assert!(reason.contains("google/gemini-2.5-flash may not be used"), "{reason}");
    let (model, _, _) = taken(json!(["openai/gpt-4o*"]), json!({"prompt": "hi", "category": "translation"})).await;
    assert_eq!(model, MODEL);
}

#[tokio::test]
async fn where_no_model_is_left_the_client_is_told_so() {
    let house = House::new(1, REQUIRED).await;
    let ann = house.client(json!({"name": "ann", "models": ["perplexity/*"]})).await;
    let before = house.went_up().len();
    for path in [COMPLETION, ROUTE] {
        let answer = post(&house, path, &ann.key, json!({"prompt": CODE})).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["code"]), (403, &json!("no_model")), "{path}: {error}");
        assert_eq!(error["message"], "no model of the category coding may be used here: name one in model");
        assert_eq!(answer.header("retry-after"), None, "another try will not help");
        // One that is named must be allowed, too, and so must every one that may take its place.
        for body in [
            json!({"prompt": CODE, "model": MODEL}),
            json!({"prompt": CODE, "model": "perplexity/sonar", "models": [MODEL]}),
        ] {
            if path == ROUTE && body["models"].is_array() {
                continue;
            }
            let answer = post(&house, path, &ann.key, body.clone()).await;
            let code = answer.json()["error"]["code"].clone();
            assert_eq!((answer.status, code), (403, json!("client_model_not_allowed")), "{path} {body}");
        }
    }
    assert_eq!(house.went_up().len(), before);
    let named = post(&house, COMPLETION, &ann.key, json!({"prompt": CODE, "model": "perplexity/sonar"})).await.json();
    assert_eq!([&named["_routing"]["model"], &named["_routing"]["category"]], ["perplexity/sonar", "coding"]);
    let list = house.ask(&bearing(Ask::get("/api/ai/categories"), &ann.key)).await.json();
    for category in list["categories"].as_array().expect("categories") {
        for model in category["models"].as_array().expect("models") {
            assert_eq!((&model["usable"], &model["reason"]), (&json!(false), &json!("may not be used")), "{model}");
        }
    }
    let metrics = Ask::get("/metrics").send(house.admin).await.text();
    assert!(metrics.contains("potluck_client_refusals_total{reason=\"model\"} 3"), "{metrics}");
}
