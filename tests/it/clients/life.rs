//! A key's life and a token's, from the first request to the last.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::support::NOON;

#[tokio::test]
async fn a_key_from_its_first_day_to_its_last() {
    let house = House::new(1, REQUIRED).await;
    let client = house.client(json!({"name": "ann", "note": "of the library"})).await;
    assert!(client.key.starts_with("ptl-") && client.key.len() == 76 && client.id == "c1");

    // As OpenAI's SDKs send it, as Anthropic's do, and as those do that send a placeholder, too.
    assert_eq!(house.ask(&ask(&client.key)).await.status, 200);
    let messages = Ask::post(
        "/api/v1/messages",
        r#"{"model":"anthropic/claude-sonnet-4.5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
    );
    assert_eq!(house.ask(&messages.header("x-api-key", &client.key)).await.status, 200);
    assert_eq!(house.ask(&ask("anything").header("x-api-key", &client.key)).await.status, 200);
    for path in ["/api/v1/models", "/v1/key", "/v1/credits"] {
        assert_eq!(house.ask(&bearing(Ask::get(path), &client.key)).await.status, 200, "{path}");
    }
    for entry in house.sim.log() {
        assert!(!format!("{entry:?}").contains(&client.key[4..40]), "nothing of it goes up: {entry:?}");
    }

    // The books say whose it was.
    house.booked().await;
    let lines = Ask::get("/ledger?client=c1").send(house.admin).await.json();
    assert_eq!(lines["entries"].as_array().expect("lines").len(), 3);
    assert!(lines["entries"].as_array().expect("lines").iter().all(|line| line["client"] == "c1"));
    assert_eq!(Ask::get("/ledger?client=c2").send(house.admin).await.json()["entries"], json!([]));

    // Nobody is told the key again.
    for path in ["/clients", "/clients/c1", "/status", "/metrics", "/ledger"] {
        let answer = Ask::get(path).send(house.admin).await;
        assert!(!answer.everything().contains(&client.key[4..40]), "{path}");
    }
    let shown = Ask::get("/clients/c1").send(house.admin).await.json();
    assert_eq!((text(&shown, "name"), text(&shown, "status")), ("ann".to_owned(), "active".to_owned()));
    assert_eq!(text(&shown, "key"), format!("ptl-…{}", &client.key[72..]));
    let metrics = Ask::get("/metrics").send(house.admin).await.text();
    assert!(metrics.contains("potluck_client_requests_total{client=\"c1\"} 6"), "{metrics}");

    // It is good over a restart, and no good once it is revoked.
    let house = house.restart().await;
    assert_eq!(house.ask(&ask(&client.key)).await.status, 200);
    house.revoke(&client).await;
    assert_eq!(house.ask(&ask(&client.key)).await.status, 401);
    let again = house.operate("DELETE", "/clients/c1", &json!({})).await;
    assert_eq!((again.status, &again.json()["error"]["code"]), (404, &json!("client_not_found")));
    let house = house.restart().await;
    assert_eq!(house.ask(&ask(&client.key)).await.status, 401);
    let shown = Ask::get("/clients/c1").send(house.admin).await.json();
    assert_eq!((text(&shown, "name"), text(&shown, "status")), ("ann".to_owned(), "revoked".to_owned()));
    let metrics = Ask::get("/metrics").send(house.admin).await.text();
    assert!(!metrics.contains("client=\"c1\""), "{metrics}");
    assert_eq!(house.client(json!({"name": "bob"})).await.id, "c2");
}

#[tokio::test]
async fn a_token_from_its_first_moment_to_its_last() {
    let house = House::new(1, &format!("{REQUIRED}token_life_ms = 60000\n")).await;
    let client = house.client(json!({"name": "ann"})).await;
    // Time passes while something is waited for, so it is set here, not added to.
    let over = house.clock.now().after(Duration::from_secs(60));
    let issued = house.token(&client.key, Some("user 7")).await;
    assert_eq!((issued.status, issued.header("cache-control")), (200, Some("no-store")));
    assert_eq!((&issued.json()["expiresIn"], &issued.json()["type"]), (&json!(60), &json!("Bearer")));
    let token = text(&issued.json(), "token");
    assert_eq!(token.split('.').count(), 3, "a JWT");

    assert_eq!(house.ask(&ask(&token)).await.status, 200);
    assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL)).header("x-api-key", &token)).await.status, 200);
    house.booked().await;
    let lines = Ask::get("/ledger?client=c1").send(house.admin).await.json();
    assert_eq!(lines["entries"].as_array().expect("lines").len(), 2);
    assert!(house.sim.log().iter().all(|entry| !format!("{entry:?}").contains(&token[token.len() - 40..])));

    // A token gets no other token, and its time is its own.
    assert_eq!(house.token(&token, None).await.status, 401);
    house.clock.set(over.before(Duration::from_millis(1)));
    assert_eq!(house.ask(&ask(&token)).await.status, 200);
    house.clock.set(over);
    assert_eq!(house.ask(&ask(&token)).await.status, 401);

    // Good over a restart and a rotation; over at once when told so.
    let token = text(&house.token(&client.key, None).await.json(), "token");
    let house = house.restart().await;
    assert_eq!(house.ask(&ask(&token)).await.status, 200);
    assert_eq!(house.operate("POST", "/tokens/rotate", &json!({})).await.status, 200);
    assert_eq!(house.ask(&ask(&token)).await.status, 200);
    assert_eq!(house.operate("POST", "/tokens/rotate", &json!({"endTokens": true})).await.status, 200);
    assert_eq!(house.ask(&ask(&token)).await.status, 401);

    // It dies with its key.
    let token = text(&house.token(&client.key, None).await.json(), "token");
    assert_eq!(house.ask(&ask(&token)).await.status, 200);
    house.revoke(&client).await;
    assert_eq!(house.ask(&ask(&token)).await.status, 401);
    assert_eq!(house.token(&client.key, None).await.status, 401);
}

#[tokio::test]
async fn a_key_is_good_until_the_moment_it_expires() {
    let house = House::new(1, REQUIRED).await;
    let until = potluck::clock::Timestamp::from_millis(NOON).after(Duration::from_secs(60));
    let client = house.client(json!({"name": "ann", "expiresAt": until.to_string()})).await;
    let issued = house.token(&client.key, None).await.json();
    assert_eq!(issued["expiresIn"], 60, "a token is good no longer than its key");
    let token = text(&issued, "token");
    house.clock.set(until.before(Duration::from_millis(1)));
    for credential in [&client.key, &token] {
        assert_eq!(house.ask(&ask(credential)).await.status, 200);
    }
    house.clock.set(until);
    for credential in [&client.key, &token] {
        assert_eq!(house.ask(&ask(credential)).await.status, 401);
    }
    assert_eq!(Ask::get("/clients").send(house.admin).await.json()["clients"][0]["status"], "expired");
    assert_eq!(house.operate("PATCH", "/clients/c1", &json!({"expiresAt": null})).await.status, 200);
    assert_eq!(house.ask(&ask(&client.key)).await.status, 200);
}

#[tokio::test]
async fn where_everybody_is_let_in_a_client_is_still_known() {
    let house = House::new(1, "").await;
    let client = house.client(json!({"name": "ann"})).await;
    for credential in ["anything", "sk-or-v1-0011", &client.key] {
        assert_eq!(house.ask(&ask(credential)).await.status, 200, "{credential}");
    }
    assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    house.booked().await;
    let lines = Ask::get("/ledger?client=c1").send(house.admin).await.json();
    assert_eq!(lines["entries"].as_array().expect("lines").len(), 1);
    let token = text(&house.token(&client.key, None).await.json(), "token");
    assert_eq!(house.ask(&ask(&token)).await.status, 200);
    house.revoke(&client).await;
    for credential in [&client.key, &client.key[..70], &token] {
        assert_eq!(house.ask(&ask(credential)).await.status, 401, "what claims to be ours must be it");
    }
}

#[tokio::test]
async fn a_job_and_a_generation_are_their_clients_own() {
    let house = House::new(1, REQUIRED).await;
    let (ann, bob) = (house.client(json!({"name": "ann"})).await, house.client(json!({"name": "bob"})).await);
    let answer = house.ask(&ask(&ann.key)).await;
    let generation = answer.header("x-generation-id").expect("an id").to_owned();
    house.booked().await;
    house.pass(Duration::from_secs(60));
    let path = format!("/api/v1/generation?id={generation}");
    assert_eq!(house.ask(&bearing(Ask::get(&path), &bob.key)).await.status, 404);
    assert_eq!(house.ask(&bearing(Ask::get(&path), &ann.key)).await.status, 200);

    let video = json!({"model": "google/veo-3.1", "prompt": "a pot of soup"}).to_string();
    let answer = house.ask(&bearing(Ask::post("/api/v1/videos", video), &ann.key)).await;
    assert!(answer.status < 300, "{}", answer.text());
    let poll = format!("/api/v1/videos/{}", text(&answer.json(), "id"));
    assert_eq!(house.ask(&bearing(Ask::get(&poll), &bob.key)).await.status, 404);
    assert_eq!(house.ask(&bearing(Ask::get(&poll), &ann.key)).await.status, 200);
}
