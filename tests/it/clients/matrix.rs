//! Every credential against every door: each opens its own, and no other.

use std::time::Duration;

use potluck::upstream::TARGETS;
use serde_json::json;

use super::*;

const TOKEN: &str = "an-admin-token-of-thirty-two-chars";
/// What clients read, with `/api/v1/` or `/v1/` in front.
const READS: [&str; 18] = [
    "models",
    "models/count",
    "model/openai/gpt-4o-mini",
    "models/openai/gpt-4o-mini/endpoints",
    "endpoints/zdr",
    "providers",
    "embeddings/models",
    "images/models",
    "images/models/google/gemini-2.5-flash-image/endpoints",
    "videos/models",
    "videos/job-1",
    "videos/job-1/content?index=0",
    "key",
    "auth/key",
    "credits",
    "generation?id=gen-1",
    // Doors that are shut, of which only clients hear why.
    "keys",
    "models/user",
];
/// What has no other place.
const OTHERS: [(&str, &str); 9] = [
    ("POST", "/responses"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/api/beta/batches"),
    ("POST", "/api/ai/completion"),
    ("POST", "/api/ai/route"),
    ("GET", "/api/ai/categories"),
    ("GET", "/api/ai/nowhere"),
    ("GET", "/auth/token"),
    ("DELETE", "/nowhere"),
];
/// What anybody may ask of the admin listener.
const OPEN: [&str; 2] = ["/health", "/ready"];

type Door = (&'static str, String);

/// Doors of the proxy listener that only clients may use: whatever goes up, whatever is read, and what is not there.
fn clients_doors() -> Vec<Door> {
    let inference = TARGETS.iter().map(|target| ("POST", (*target).to_owned()));
    let short = TARGETS.iter().filter_map(|target| Some(("POST", target.strip_prefix("/api")?.to_owned())));
    let reads = READS.iter().flat_map(|path| ["/api/v1/", "/v1/"].map(|prefix| ("GET", format!("{prefix}{path}"))));
    let others = OTHERS.iter().map(|(method, path)| (*method, (*path).to_owned()));
    inference.chain(short).chain(reads).chain(others).collect()
}

/// Doors of the admin listener that only operators may use, as its own document has them; those that end something last.
async fn operators_doors(house: &House) -> Vec<Door> {
    let document = bearing(Ask::get("/openapi.json"), TOKEN).send(house.admin).await.json();
    let mut doors: Vec<Door> = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let id = if path.starts_with("/clients") { "c1" } else { "k1" };
        for method in methods.as_object().expect("methods").keys() {
            let known =
                ["GET", "POST", "PATCH", "DELETE", "PUT"].into_iter().find(|known| known.eq_ignore_ascii_case(method));
            let method = known.unwrap_or_else(|| panic!("{method} is new here"));
            doors.push((method, path.replace("{id}", id)));
        }
    }
    doors.retain(|(_, path)| !OPEN.contains(&path.as_str()));
    doors.sort_by_key(|(method, _)| *method == "DELETE");
    assert!(doors.len() >= 19, "{doors:?}");
    doors
}

fn knock(door: &Door) -> Ask {
    let (method, path) = door;
    let body = if *method == "GET" { "" } else { "{}" };
    Ask::new(method, path).header("content-type", "application/json").body(body)
}

fn by_key(ask: Ask, credential: &str) -> Ask {
    ask.header("x-api-key", credential)
}

/// A house whose operators have a token, a client's key and a token of it.
async fn guarded(folder: &tempfile::TempDir) -> (House, String, String) {
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).expect("written");
    let house = House::new(1, &format!("{REQUIRED}[admin]\ntoken_file = {file:?}\n")).await;
    let client = json!({"name": "ann"}).to_string();
    let added = bearing(Ask::post("/clients", client), TOKEN).send(house.admin).await.json();
    let key = text(&added, "key");
    let token = text(&house.token(&key, Some("user-1")).await.json(), "token");
    (house, key, token)
}

#[tokio::test]
async fn only_clients_come_in_where_clients_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let (house, key, token) = guarded(&folder).await;
    let pooled = house.sim.bill().keys[0].name.clone();
    let strangers = [("nothing", ""), ("admin token", TOKEN), ("pooled key", &*pooled)];
    for (name, credential) in strangers.into_iter().chain([("client key", &*key), ("token", &*token)]) {
        let opens = matches!(name, "client key" | "token");
        if name == "client key" {
            assert_eq!(house.went_up().len(), 0, "nothing goes up for strangers");
        }
        for door in clients_doors() {
            for present in [bearing, by_key] {
                let status = present(knock(&door), credential).send(house.proxy).await.status;
                assert_eq!(status != 401, opens, "{name} at {door:?}: {status}");
            }
        }
        let issued = house.token(credential, None).await.status;
        assert_eq!(issued == 200, name == "client key", "{name}: {issued}");
        // What is asked for in vain there counts as a guess.
        house.pass(Duration::from_secs(600));
        let status = house.ask(&bearing(Ask::new("OPTIONS", CHAT), credential)).await.status;
        assert_eq!(status, 204, "whether a browser may call is told to everybody");
    }
}

#[tokio::test]
async fn only_operators_come_in_where_operators_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let (house, key, token) = guarded(&folder).await;
    let pooled = house.sim.bill().keys[0].name.clone();
    let doors = operators_doors(&house).await;
    for (name, credential) in [("nothing", ""), ("client key", &key), ("token", &token), ("pooled key", &pooled)] {
        for door in &doors {
            let status = bearing(knock(door), credential).send(house.admin).await.status;
            assert_eq!(status, 401, "{name} at {door:?}");
            house.pass(Duration::from_secs(6));
            assert_eq!(by_key(knock(door), credential).send(house.admin).await.status, 401, "{name} at {door:?}");
        }
        for open in OPEN {
            assert_eq!(bearing(Ask::get(open), credential).send(house.admin).await.status, 200, "{open}");
            house.pass(Duration::from_secs(6));
        }
    }
    let status = by_key(Ask::get("/keys"), TOKEN).send(house.admin).await.status;
    assert_eq!(status, 401, "an admin token has one place");
    for door in &doors {
        let status = bearing(knock(door), TOKEN).send(house.admin).await.status;
        let is_refused = matches!(status, 401 | 403 | 429) || status >= 500;
        assert!(!is_refused && (door.0 != "GET" || status == 200), "{door:?}: {status}");
    }
    let status = bearing(Ask::get("/keys"), TOKEN).send(house.admin).await.json();
    assert_eq!(status["totalKeys"], 1, "a body of nothing took no key away");
    assert_eq!(house.ask(&ask(&key)).await.status, 401, "but Ann's was revoked, as was asked for");
}

#[tokio::test]
async fn what_opens_one_listener_is_not_even_there_on_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (house, key, token) = guarded(&folder).await;
    for (_, path) in operators_doors(&house).await {
        for credential in [&key, &token] {
            let status = bearing(Ask::get(&path), credential).send(house.proxy).await.status;
            assert_eq!(status, 404, "{path}");
        }
    }
    for (method, path) in clients_doors() {
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let status = bearing(knock(&(method, path.clone())), TOKEN).send(house.admin).await.status;
        assert_eq!(status, 404, "{method} {path}");
    }
    let asked = bearing(Ask::post("/auth/token", json!({"apiKey": key}).to_string()), TOKEN).send(house.admin).await;
    assert_eq!(asked.status, 404);
}
