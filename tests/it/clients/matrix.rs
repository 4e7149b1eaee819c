//! Every credential against every door: each opens its own, and no other.

use serde_json::json;

use super::*;

const TOKEN: &str = "an-admin-token-of-thirty-two-chars";
/// Doors of the proxy listener that only clients may use.
const CLIENTS_DOORS: [(&str, &str); 11] = [
    ("POST", "/api/v1/chat/completions"),
    ("POST", "/v1/messages"),
    ("POST", "/responses"),
    ("POST", "/v1/embeddings"),
    ("GET", "/api/v1/models"),
    ("GET", "/v1/providers"),
    ("GET", "/v1/key"),
    ("GET", "/v1/credits"),
    ("GET", "/v1/generation?id=gen-1"),
    ("GET", "/v1/videos/job-1"),
    ("POST", "/v1/messages/count_tokens"),
];
/// Doors of the admin listener that only operators may use.
const OPERATORS_DOORS: [(&str, &str); 16] = [
    ("GET", "/status"),
    ("GET", "/keys"),
    ("POST", "/keys/openrouter"),
    ("DELETE", "/keys/openrouter"),
    ("PATCH", "/keys/openrouter/k1"),
    ("POST", "/health/openrouter"),
    ("GET", "/clients"),
    ("POST", "/clients"),
    ("GET", "/clients/c1"),
    ("PATCH", "/clients/c1"),
    ("DELETE", "/clients/c1"),
    ("POST", "/tokens/rotate"),
    ("GET", "/ledger"),
    ("GET", "/ledger/summary"),
    ("POST", "/ledger/settle"),
    ("GET", "/metrics"),
];

#[tokio::test]
async fn each_credential_opens_its_own_doors_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).expect("written");
    let house = House::new(1, &format!("{REQUIRED}[admin]\ntoken_file = {file:?}\n")).await;
    let client = json!({"name": "ann"}).to_string();
    let added = bearing(Ask::post("/clients", client), TOKEN).send(house.admin).await.json();
    let key = text(&added, "key");
    let token = text(&house.token(&key, None).await.json(), "token");
    let pooled = house.sim.bill().keys[0].name.clone();

    let credentials =
        [("nothing", ""), ("client key", &key), ("token", &token), ("admin token", TOKEN), ("pooled key", &pooled)];
    let headers: [fn(Ask, &str) -> Ask; 2] = [bearing, |ask, credential| ask.header("x-api-key", credential)];
    for (name, credential) in credentials {
        let opens = matches!(name, "client key" | "token");
        for ((method, path), header) in CLIENTS_DOORS.into_iter().flat_map(|door| headers.map(|header| (door, header)))
        {
            let ask = Ask::new(method, path).header("content-type", "application/json").body(body(method));
            let status = header(ask, credential).send(house.proxy).await.status;
            assert_eq!(status != 401, opens, "{name} at {method} {path}: {status}");
        }
        let issued = house.token(credential, None).await.status;
        assert_eq!(issued == 200, name == "client key", "{name}: {issued}");
        house.pass(std::time::Duration::from_secs(600));
    }
    for (name, credential) in credentials.into_iter().filter(|(name, _)| *name != "admin token") {
        for (method, path) in OPERATORS_DOORS {
            let ask = Ask::new(method, path).header("content-type", "application/json").body(body(method));
            let status = bearing(ask.clone(), credential).send(house.admin).await.status;
            assert_eq!(status, 401, "{name} at {method} {path}");
            house.pass(std::time::Duration::from_secs(6));
            assert_eq!(ask.header("x-api-key", credential).send(house.admin).await.status, 401);
        }
        for open in ["/health", "/ready"] {
            assert_eq!(Ask::get(open).send(house.admin).await.status, 200);
        }
    }
    for (method, path) in OPERATORS_DOORS.into_iter().filter(|(method, _)| *method == "GET") {
        assert_eq!(bearing(Ask::new(method, path), TOKEN).send(house.admin).await.status, 200, "{path}");
    }
    // What opens the other listener is not even there.
    for (listener, path) in [(house.proxy, "/clients"), (house.proxy, "/status"), (house.admin, "/auth/token")] {
        for credential in [&key, TOKEN] {
            let status = bearing(Ask::get(path), credential).send(listener).await.status;
            assert!(matches!(status, 401 | 404), "{path}: {status}");
        }
    }
}

fn body(method: &str) -> &'static str {
    if method == "GET" { "" } else { "{}" }
}
