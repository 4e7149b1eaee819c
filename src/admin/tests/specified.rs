//! The specification against the running router, both ways.

use std::collections::BTreeSet;

use super::schema::faults;
use super::*;
use crate::money::Cost;

/// The path of an operation, with a key or client in it that is there.
fn real(path: &str) -> String {
    path.replace("{id}", if path.starts_with("/clients") { "c1" } else { "k1" })
}

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];

fn document() -> Value {
    serde_json::to_value(openapi::document()).expect("the specification is JSON")
}

/// Every documented path, method and operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().expect("methods").clone();
        let path = path.clone();
        methods.into_iter().map(move |(method, operation)| (path.clone(), method, operation)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// A good body for a documented operation.
fn good_body(method: &str, path: &str) -> String {
    match (method, path) {
        ("post", "/keys/openrouter") => offer(9),
        ("delete", "/keys/openrouter") => r#"{"id":"k1"}"#.to_owned(),
        ("patch", "/keys/openrouter/{id}") => r#"{"limits":{"caps":{"day":5},"paused":true}}"#.to_owned(),
        ("post", "/clients") => r#"{"name":"ann","models":["openai/*"],"concurrency":2,"weight":3}"#.to_owned(),
        ("patch", "/clients/{id}") => r#"{"note":"of the library"}"#.to_owned(),
        ("delete", "/clients/{id}") => "{}".to_owned(),
        ("post", "/tokens/rotate") => r#"{"endTokens":true}"#.to_owned(),
        ("post", "/ledger/settle") => r#"{"entry":1,"cost":0.5}"#.to_owned(),
        ("post", "/health/openrouter") => r#"{"id":"k1","status":"degraded","error":"by hand"}"#.to_owned(),
        _ => String::new(),
    }
}

#[tokio::test]
async fn every_documented_call_answers_as_documented() {
    let document = document();
    let operations = operations(&document);
    assert_eq!(operations.len(), 22);
    for (path, method, operation) in &operations {
        let house = House::new(None);
        house.donate(1).await;
        house.call("POST", "/clients", r#"{"name":"bob"}"#).await;
        if path == "/ledger/settle" {
            house.book(Cost::Unknown);
        }
        let answer = house.call(&method.to_uppercase(), &real(path), &good_body(method, path)).await;
        let documented = &operation["responses"]["200"];
        assert_eq!(answer.status, StatusCode::OK, "{method} {path}: {}", answer.text);
        let (content_type, content) =
            documented["content"].as_object().and_then(|content| content.iter().next()).expect("a documented answer");
        let given = answer.headers["content-type"].to_str().expect("a content type");
        assert!(given.starts_with(content_type), "{method} {path}: {given}");
        if content_type == "application/json" {
            let found = faults(&document, &content["schema"], &answer.json(), "");
            assert!(found.is_empty(), "{method} {path}: {found:#?}");
        }
        assert!(operation["summary"].is_string() && operation["operationId"].is_string(), "{method} {path}");
    }
}

#[tokio::test]
async fn every_refusal_is_a_documented_one() {
    let document = document();
    let schema = serde_json::json!({"$ref": "#/components/schemas/ErrorAnswer"});
    let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(BODY_MAX));
    let limits = r#"{"limits":{"paused":true}}"#;
    let bodies =
        ["", "{", "{}", r#"{"id":"k77","status":"healthy"}"#, r#"{"entry":7,"cost":1}"#, limits, &offer(1), &huge];
    let senders =
        [("content-type", "application/json"), ("content-type", "text/plain"), ("host", "x"), ("origin", "x")];
    for (path, method, operation) in operations(&document) {
        for token in [None, Some(TOKEN)] {
            let house = House::new(token);
            if token.is_none() {
                house.donate(1).await;
                house.call("POST", "/clients", r#"{"name":"bob"}"#).await;
            }
            for (body, sender) in bodies.iter().flat_map(|body| senders.map(|sender| (body, sender))) {
                let answer = house.call_with(&method.to_uppercase(), &real(&path), &[sender], body).await;
                if answer.status.is_success() || path == "/ready" && answer.status == StatusCode::SERVICE_UNAVAILABLE {
                    continue;
                }
                let status = answer.status.as_str();
                assert!(operation["responses"][status].is_object(), "{method} {path}: {status} {}", answer.text);
                let found = faults(&document, &schema, &answer.json(), "");
                assert!(found.is_empty(), "{method} {path}: {found:#?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_documented_is_not_there() {
    let document = document();
    let documented: BTreeSet<_> = document["paths"].as_object().expect("paths").keys().cloned().collect();
    let routed: BTreeSet<_> = routes().into_iter().map(|(path, _)| path.to_owned()).collect();
    assert_eq!(documented, routed);
    let house = House::new(None);
    for path in &routed {
        for method in METHODS {
            // Every GET answers HEAD too, which needs no documentation.
            let of = if method == "head" { "get" } else { method };
            let is_documented = document["paths"][path][of].is_object();
            let answer = house.call(&method.to_uppercase(), &real(path), "{}").await;
            assert_eq!(answer.status != StatusCode::METHOD_NOT_ALLOWED, is_documented, "{method} {path}");
        }
    }
}

#[test]
fn documented_requests_name_the_members_that_are_read() {
    let document = document();
    let members = |name: &str| -> Vec<String> {
        let schema = &document["components"]["schemas"][name];
        schema["properties"].as_object().unwrap_or_else(|| panic!("{name}")).keys().cloned().collect()
    };
    assert_eq!(members("KeyOffer"), ["donorId", "donorName", "key", "label", "limit", "limits"]);
    assert_eq!(members("KeyChange"), ["limits"]);
    assert_eq!(members("LimitsWord"), ["caps", "concurrency", "expiresAt", "models", "paused", "reserve"]);
    assert_eq!(members("CapsWord"), ["day", "month", "total", "week"]);
    let allowance = ["budgets", "concurrency", "requestsPerMinute", "tokensPerMinute"];
    assert_eq!(members("AllowanceWord"), allowance);
    let offer = [
        "budgets",
        "concurrency",
        "expiresAt",
        "models",
        "name",
        "note",
        "perUser",
        "requestsPerMinute",
        "tokensPerMinute",
        "weight",
    ];
    assert_eq!(members("ClientOffer"), offer);
    assert_eq!(members("ClientChange"), members("ClientOffer"));
    assert_eq!(members("RotationWord"), ["endTokens"]);
    assert_eq!(members("CostWord"), ["cost", "entry"]);
    assert_eq!(members("KeyNamed"), ["id", "key"]);
    assert_eq!(members("HealthWord"), ["cost", "error", "id", "key", "status"]);
    for call in [Method::GET, Method::POST] {
        let open = document.pointer(&format!("/paths/~1health/{}/security", call.as_str().to_lowercase()));
        assert_eq!(open.is_some(), call == Method::GET, "liveness is documented as open");
    }
}

#[tokio::test]
async fn the_specification_is_served_as_it_is() {
    let served = House::new(None).call("GET", "/openapi.json", "").await.json();
    assert_eq!(served, document());
    assert!(served["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", served["openapi"]);
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
}
