//! The served OpenAPI document against the running server: every path, method, status and schema in it.

use std::collections::BTreeSet;

use potluck::clients::Terms;
use potluck::money::{Cost, Entry, Outcome, RequestId, Tokens};
use potluck::pool::KeyId;
use potluck::upstream::Endpoint;
use serde_json::{Value, json};

use super::schema::faults;
use super::{OFFER, SETTLE, call, get};
use crate::support::{Answer, Ask, House};

const LIMITS: &str = "/keys/openrouter/{id}";
const RECEIPT: &str = "/keys/openrouter/{id}/receipt";

const CLIENTS: &str = "/clients";
const CLIENT: &str = "/clients/{id}";
const USERS: &str = "/clients/{id}/users";
const ROTATE: &str = "/tokens/rotate";

const TOKEN: &str = "a-token-of-thirty-two-characters";
/// What no call over the wire can bring about: a fault of potluck's own, and a wait of ten seconds for a body (both are
/// tested where they can be made).
const NOT_HERE: [&str; 2] = ["500", "408"];

/// Seen: method, path, status.
type Seen = BTreeSet<(String, String, String)>;

struct Checked<'a> {
    document: &'a Value,
    seen: Seen,
}

impl Checked<'_> {
    /// Hold an answer against the document, and note that it was seen.
    fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let (method, status) = (method.to_lowercase(), answer.status.to_string());
        let documented = &self.document["paths"][path][&method]["responses"][&status];
        assert!(documented.is_object(), "{method} {path} answers {status}, which is not documented: {}", answer.text());
        let content = documented["content"].as_object().and_then(|content| content.iter().next());
        let (kind, content) = content.unwrap_or_else(|| panic!("{method} {path} {status}: no content is documented"));
        let given = answer.header("content-type").expect("a content type");
        assert!(given.starts_with(kind.as_str()), "{method} {path} {status}: {given}");
        if kind == "application/json" {
            let found = faults(self.document, &content["schema"], &answer.json(), "");
            assert!(found.is_empty(), "{method} {path} {status}: {found:#?}");
        }
        self.seen.insert((method, path.to_owned(), status));
    }
}

/// Every documented method and path.
fn operations(document: &Value) -> Vec<(&'static str, String)> {
    let name = |method: &str| match method {
        "get" => "GET",
        "post" => "POST",
        "delete" => "DELETE",
        "patch" => "PATCH",
        other => panic!("{other} is new here"),
    };
    let paths = document["paths"].as_object().expect("paths");
    let methods = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().expect("methods").keys().map(|method| name(method)).collect::<Vec<_>>();
        methods.into_iter().map(|method| (method, path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

fn good_body(house: &House, method: &str, path: &str) -> String {
    match (method, path) {
        ("POST", OFFER) => {
            let key = house.sim.funded_key(potluck::simulator::Pico::usd(1));
            json!({"key": key.text, "label": "alice", "donorId": "1", "donorName": "Ann"}).to_string()
        }
        ("DELETE", OFFER) => r#"{"id":"k1"}"#.to_owned(),
        ("PATCH", LIMITS) => r#"{"limits":{"caps":{"day":5},"paused":false}}"#.to_owned(),
        ("POST", CLIENTS) => {
            r#"{"name":"ann","note":"x","models":["openai/*"],"concurrency":2,"budgets":{"day":1},"requestsPerMinute":9,
            "tokensPerMinute":99,"perUser":{"budgets":{"month":2},"concurrency":1}}"#
                .to_owned()
        }
        ("PATCH", CLIENT) => r#"{"note":"of the library","expiresAt":"2030-01-01"}"#.to_owned(),
        ("POST", ROTATE) => "{}".to_owned(),
        ("POST", SETTLE) => r#"{"entry":1,"cost":0.5}"#.to_owned(),
        ("POST", _) => r#"{"id":"k2","status":"degraded","error":"by hand","cost":0.5}"#.to_owned(),
        _ => String::new(),
    }
}

/// A documented path with a key or a client in it that is there to the end.
fn real(path: &str) -> String {
    path.replace("{id}", if path.starts_with(CLIENTS) { "c1" } else { "k2" })
}

/// The ledger's first line: an attempt whose cost is not known.
fn book_unknown(house: &House) {
    let entry = Entry {
        at: house.clock.now(),
        request: RequestId(uuid::Uuid::now_v7()),
        attempt: 1,
        key: KeyId(1),
        account: None,
        client: None,
        endpoint: Endpoint::ChatCompletions,
        model: None,
        generation: None,
        tokens: Tokens::default(),
        cost: Cost::Unknown,
        held: None,
        byok: None,
        outcome: Outcome::Broken,
        status: None,
        duration_ms: 1,
    };
    house.pot.store().slot().expect("room").book(entry);
}

/// What goes wrong with every call: from whom it comes, what it is, how big it is.
async fn badly(checked: &mut Checked<'_>, house: &House, method: &'static str, path: &str) {
    let target = real(path);
    let ask = |body: &str| Ask::new(method, &target).header("content-type", "application/json").body(body);
    let huge = format!(r#"{{"x":"{}"}}"#, "x".repeat(70_000));
    let asks = [
        ask("{").header("x", "y"),
        ask(r#"{"id":"k77","status":"healthy"}"#),
        ask(&huge),
        Ask::new(method, &target).body("{}"),
        ask("{}").header("origin", "http://evil.example"),
        Ask::new(method, &format!("{target}?a=b")).header("content-type", "application/json").body("{}"),
        ask("{}").header("sec-fetch-site", "cross-site"),
    ];
    for ask in asks {
        checked.check(method, path, &ask.send(house.admin).await);
    }
    let raw = format!("{method} {target} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n");
    checked.check(method, path, &exchange(house, &raw).await);
    let malformed = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nX y: z\r\n\r\n");
    checked.check(method, path, &exchange(house, &malformed).await);
}

async fn exchange(house: &House, raw: &str) -> Answer {
    let mut wire = crate::support::Wire::connect(house.admin).await;
    wire.write(raw.as_bytes()).await;
    wire.head().await.rest().await
}

#[tokio::test]
async fn every_documented_path_method_status_and_schema_is_real() {
    let house = House::new(2, "").await;
    let document = get(&house, "/openapi.json").await;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let mut checked = Checked { document: &document, seen: Seen::new() };
    book_unknown(&house);
    for name in ["bob", "carl"] {
        house.pot.add_client(Terms { name: name.to_owned(), ..Terms::default() }).await.expect("added");
    }
    let operations = operations(&document);
    for (method, path) in &operations {
        badly(&mut checked, &house, method, path).await;
    }
    for (method, path) in operations.iter().filter(|(method, _)| *method != "DELETE") {
        let answer = call(&house, method, &real(path), &good_body(&house, method, path)).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        checked.check(method, path, &answer);
    }
    checked.check(
        "PATCH",
        LIMITS,
        &call(&house, "PATCH", "/keys/openrouter/k9", &good_body(&house, "PATCH", LIMITS)).await,
    );
    checked.check("GET", RECEIPT, &Ask::get("/keys/openrouter/k9/receipt").send(house.admin).await);
    for entry in [1, 99] {
        let word = json!({"entry": entry, "cost": 0.5}).to_string();
        checked.check("POST", SETTLE, &call(&house, "POST", SETTLE, &word).await);
    }
    for method in ["GET", "PATCH", "DELETE"] {
        let nobody = call(&house, method, "/clients/c77", &good_body(&house, method, CLIENT)).await;
        checked.check(method, CLIENT, &nobody);
    }
    checked.check("DELETE", CLIENT, &call(&house, "DELETE", "/clients/c2", "").await);
    checked.check("GET", CLIENT, &call(&house, "GET", "/clients/c2", "").await);
    checked.check("GET", USERS, &Ask::get("/clients/c77/users").send(house.admin).await);
    for _ in 0..17 {
        checked.check("POST", ROTATE, &call(&house, "POST", ROTATE, "{}").await);
    }
    let present = json!({"key": house.sim.bill().keys[1].name}).to_string();
    checked.check("POST", OFFER, &call(&house, "POST", OFFER, &present).await);
    checked.check("DELETE", OFFER, &call(&house, "DELETE", OFFER, r#"{"id":"k1"}"#).await);

    // Without a store nothing can be read or written, and nothing is changed.
    house.pot.store().close().expect("closed");
    checked.check("DELETE", OFFER, &call(&house, "DELETE", OFFER, r#"{"id":"k2"}"#).await);
    checked.check("GET", CLIENT, &call(&house, "GET", "/clients/c2", "").await);
    checked.check("POST", ROTATE, &call(&house, "POST", ROTATE, r#"{"endTokens":true}"#).await);
    assert_eq!(house.pot.total_keys(), 2, "what cannot be written down does not happen");
    for (method, path) in &operations {
        checked.check(method, path, &call(&house, method, &real(path), &good_body(&house, method, path)).await);
    }
    drop(house);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).expect("written");
    let guarded = House::new(1, &format!("[admin]\ntoken_file = {file:?}\n")).await;
    for (method, path) in &operations {
        let bare = call(&guarded, method, &real(path), &good_body(&guarded, method, path)).await;
        checked.check(method, path, &bare);
    }
    let bearer = |token: &str| format!("Bearer {token}");
    for _ in 0..10 {
        assert_eq!(Ask::get("/keys").header("authorization", &bearer("wrong")).send(guarded.admin).await.status, 401);
    }
    for (method, path) in &operations {
        let ask = Ask::new(method, &real(path)).header("content-type", "application/json");
        checked.check(method, path, &ask.header("authorization", &bearer(TOKEN)).body("{}").send(guarded.admin).await);
    }

    let mut unseen = Seen::new();
    for (method, path) in &operations {
        let method = method.to_lowercase();
        let statuses = document["paths"][path][&method]["responses"].as_object().expect("responses").keys();
        unseen.extend(statuses.map(|status| (method.clone(), path.clone(), status.clone())));
    }
    unseen.retain(|(_, _, status)| !NOT_HERE.contains(&status.as_str()));
    let unseen: Vec<_> = unseen.difference(&checked.seen).collect();
    assert!(unseen.is_empty(), "documented, but never answered: {unseen:#?}");
}
