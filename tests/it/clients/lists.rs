//! Lists of models tell a client of those that it may use, and of every one what the upstream says, to the byte.

use potluck::money::{Limits, ModelGlobs};
use potluck::pot::KeyRef;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// The lists, and what of a client's patterns below is on them.
const LISTS: [(&str, &[&str]); 5] = [
    (
        "models",
        &[
            "openai/gpt-4o-mini",
            "meta-llama/llama-3.3-70b-instruct:free",
            "google/gemma-3-27b-it:free",
            "openai/o3-pro",
        ],
    ),
    ("embeddings/models", &["openai/text-embedding-3-small"]),
    ("images/models", &[]),
    ("videos/models", &[]),
    ("models?limit=3", &["openai/gpt-4o-mini"]),
];

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().expect("data").iter().map(|model| model["id"].as_str().expect("an id")).collect()
}

async fn get(house: &House, path: &str, client: &Client) -> Answer {
    let answer = house.ask(&bearing(Ask::get(&format!("/api/v1/{path}")), &client.key)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer
}

async fn direct(house: &House, path: &str) -> Answer {
    Ask::get(&format!("/api/v1/{path}")).send(house.sim.addr()).await
}

#[tokio::test]
async fn a_client_is_told_of_what_it_may_use() {
    let house = House::new(1, REQUIRED).await;
    let ann = house.client(json!({"name": "ann", "models": ["OpenAI/*", "*:free"]})).await;
    let bob = house.client(json!({"name": "bob"})).await;
    for (path, expected) in LISTS {
        let whole = direct(&house, path).await;
        let answer = get(&house, path, &ann).await;
        let list = answer.json();
        let told: Vec<&str> = ids(&list).into_iter().filter(|id| !id.starts_with("sim/")).collect();
        assert_eq!(told, expected, "{path}");
        assert_eq!(answer.header("cache-control"), Some("private, no-store"), "{path}");
        assert_eq!((answer.header("content-type"), answer.header("age")), (Some("application/json"), None), "{path}");
        for model in list["data"].as_array().expect("data") {
            assert!(whole.text().contains(&model.to_string()), "{path}: {model} is the upstream's");
        }
        // Who may ask for everything gets the bytes that the upstream sent.
        let answer = get(&house, path, &bob).await;
        assert_eq!(answer.body, whole.body, "{path}");
        assert_eq!(answer.header("cache-control"), whole.header("cache-control"), "{path}");
        assert_eq!(answer.header("vary"), Some("Authorization, X-Api-Key"), "{path}");
    }
    let list = get(&house, "models", &ann).await.json();
    assert_eq!(list["total_count"], ids(&list).len());
    assert_eq!(get(&house, "models?limit=3", &ann).await.json()["total_count"], Value::Null, "of a page");
    // Everything that is listed may be asked for, and nothing else.
    for model in ids(&direct(&house, "models").await.json()) {
        let answer = house.ask(&bearing(Ask::post(CHAT, chat(model)), &ann.key)).await;
        assert_eq!(
            answer.status == 403 && answer.text().contains("client_model"),
            !ids(&list).contains(&model),
            "{model}"
        );
    }
}

#[tokio::test]
async fn a_token_is_told_the_same_and_a_change_holds_at_once() {
    let house = House::new(1, REQUIRED).await;
    let ann = house.client(json!({"name": "ann", "models": ["openai/gpt*"]})).await;
    let token = text(&house.token(&ann.key, Some("user")).await.json(), "token");
    let asked = house.ask(&bearing(Ask::get("/v1/models"), &token)).await;
    assert_eq!(asked.body, get(&house, "models", &ann).await.body);
    assert_eq!(ids(&asked.json()), [MODEL]);
    house.operate("PATCH", "/clients/c1", &json!({"models": ["anthropic/*"]})).await;
    assert_eq!(ids(&get(&house, "models", &ann).await.json()), ["anthropic/claude-sonnet-4.5"]);
    let fetched = house.sim.log().iter().filter(|entry| entry.target == "/api/v1/models").count();
    assert_eq!(fetched, 1, "nobody's list is fetched twice");
    house.operate("PATCH", "/clients/c1", &json!({"models": null})).await;
    assert_eq!(get(&house, "models", &ann).await.body, direct(&house, "models").await.body);
}

#[tokio::test]
async fn counts_and_endpoints_are_of_those_models_too() {
    let house = House::new(1, REQUIRED).await;
    let ann = house.client(json!({"name": "ann", "models": ["openai/*"]})).await;
    for query in ["", "?limit=1&offset=1"] {
        let counted = get(&house, &format!("models/count{query}"), &ann).await;
        assert_eq!(counted.json(), json!({"data": {"count": 2}}), "{query}");
        assert_eq!(counted.header("cache-control"), Some("private, no-store"));
    }
    assert_eq!(get(&house, "models/count?output_modalities=all", &ann).await.json()["data"]["count"], 5);
    let endpoints = get(&house, "endpoints/zdr", &ann).await.json();
    let endpoints = endpoints["data"].as_array().expect("data");
    assert!(!endpoints.is_empty());
    assert!(endpoints.iter().all(|one| one["model_id"].as_str().is_some_and(|id| id.starts_with("openai/"))));
    // What somebody names is public knowledge, and providers are no models.
    for path in ["providers", "model/anthropic/claude-sonnet-4.5", "models/anthropic/claude-sonnet-4.5/endpoints"] {
        assert_eq!(get(&house, path, &ann).await.body, direct(&house, path).await.body, "{path}");
    }
}

#[tokio::test]
async fn what_no_donor_allows_is_nobodys() {
    let house = House::new(2, "").await;
    let keys: Vec<_> = house.overview().await.keys.iter().map(|key| key.id).collect();
    let allow = async |at: usize, patterns: &[&str]| {
        let models = ModelGlobs::new(patterns);
        let set = |limits: &mut Limits| limits.models = models;
        house.pot.change_limits(KeyRef::Id(keys[at]), set).await.expect("set");
    };
    let whole = direct(&house, "models").await;
    let asked = async || house.ask(&Ask::get("/v1/models")).await;
    allow(0, &["openai/*"]).await;
    assert_eq!(asked().await.body, whole.body, "the other donor allows everything");
    allow(1, &["openai/gpt*", "perplexity/*"]).await;
    let answer = asked().await;
    assert_eq!(ids(&answer.json()), [MODEL, "perplexity/sonar", "openai/o3-pro"]);
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    let ann = house.client(json!({"name": "ann", "models": ["*mini", "anthropic/*"]})).await;
    assert_eq!(ids(&get(&house, "models", &ann).await.json()), [MODEL]);
    let body = json!({"id": keys[1].to_string()}).to_string();
    let gone = Ask::new("DELETE", "/keys/openrouter").header("content-type", "application/json").body(body);
    assert_eq!(gone.send(house.admin).await.status, 200);
    assert_eq!(ids(&asked().await.json()), [MODEL, "openai/o3-pro"]);
    allow(0, &[]).await;
    assert_eq!(asked().await.body, whole.body);
}

/// In the simulator's place, somebody who answers everything with that.
async fn in_its_place(house: &House, body: &'static str) {
    house.sim.close_port(true).await;
    let listener = tokio::net::TcpListener::bind(house.sim.addr()).await.expect("the port is free");
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // Whatever it is that is asked for. Who asks sees what comes of it.
            drop(socket.read(&mut [0; 4096]).await);
            drop(socket.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await);
        }
    });
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_only_for_those_who_may_use_everything() {
    const ODD: &str = "{\"data\":[{\"id\":\"openai/gpt-4o-mini\"},";
    let house = House::new(0, REQUIRED).await;
    let ann = house.client(json!({"name": "ann", "models": ["openai/*"]})).await;
    let bob = house.client(json!({"name": "bob"})).await;
    in_its_place(&house, ODD).await;
    for path in ["models", "models/count", "endpoints/zdr"] {
        let answer = house.ask(&bearing(Ask::get(&format!("/v1/{path}")), &ann.key)).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (502, &json!("upstream_broken")), "{path}");
        assert_eq!(get(&house, path, &bob).await.text(), ODD, "{path}");
    }
}

#[tokio::test]
async fn a_head_request_says_how_long_that_clients_list_is() {
    let house = House::new(1, REQUIRED).await;
    let ann = house.client(json!({"name": "ann", "models": ["openai/*"]})).await;
    let length = get(&house, "models", &ann).await.body.len().to_string();
    let mut wire = crate::support::Wire::connect(house.proxy).await;
    let head = format!("HEAD /v1/models HTTP/1.1\r\nHost: x\r\nx-api-key: {}\r\nConnection: close\r\n\r\n", ann.key);
    wire.write(head.as_bytes()).await;
    let told = String::from_utf8(wire.until_closed().await).expect("text").to_ascii_lowercase();
    assert!(told.contains(&format!("content-length: {length}\r\n")) && told.ends_with("\r\n\r\n"), "{told}");
}
