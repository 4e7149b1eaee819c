//! Guards by routes.

use super::*;

/// Every path with every method it takes, a body that would do something, and whether it is open without a token.
const CALLS: [(&str, &str, &str, bool); 15] = [
    ("GET", "/status", "", false),
    ("GET", "/keys", "", false),
    ("POST", "/keys/openrouter", r#"{"key":"sk-or-v1-c0ffee0123456789"}"#, false),
    ("DELETE", "/keys/openrouter", r#"{"id":"k1"}"#, false),
    ("PATCH", "/keys/openrouter/k1", r#"{"limits":{"paused":true}}"#, false),
    ("GET", "/keys/openrouter/k1/receipt", "", false),
    ("POST", "/health/openrouter", r#"{"id":"k1","status":"failed"}"#, false),
    ("GET", "/ledger", "", false),
    ("GET", "/ledger/summary", "", false),
    ("GET", "/ledger/suspense", "", false),
    ("POST", "/ledger/settle", r#"{"entry":1,"cost":5}"#, false),
    ("GET", "/metrics", "", false),
    ("GET", "/openapi.json", "", false),
    ("GET", "/health", "", true),
    ("GET", "/ready", "", true),
];

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Nothing was done by refused calls.
async fn untouched(house: &House) {
    let overview = house.pot.overview().await.expect("a readable store");
    assert_eq!(overview.keys.len(), 1);
    assert!(overview.keys.iter().all(|key| key.state.health == crate::pool::Health::Healthy && !key.limits.paused));
}

async fn house_with_a_key(token: Option<&str>) -> House {
    let house = House::new(token);
    let bearer = format!("Bearer {TOKEN}");
    let answer = house.call_with("POST", "/keys/openrouter", &[("authorization", &bearer)], &offer(1)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    house
}

#[tokio::test]
async fn foreign_hosts_and_origins_reach_nothing_and_learn_nothing() {
    let foreign: [(&str, &str, u16, &str); 7] = [
        ("host", "evil.example", 421, "host_foreign"),
        ("host", "localhost.evil.example:8769", 421, "host_foreign"),
        ("origin", "http://evil.example", 403, "origin_foreign"),
        ("origin", "null", 403, "origin_foreign"),
        ("origin", "http://localhost:3000", 403, "origin_foreign"),
        ("sec-fetch-site", "cross-site", 403, "origin_foreign"),
        ("sec-fetch-site", "same-site", 403, "origin_foreign"),
    ];
    let bearer = format!("Bearer {TOKEN}");
    let house = house_with_a_key(Some(TOKEN)).await;
    for (method, path, body, _) in CALLS {
        for (name, value, status, code) in foreign {
            for authorization in ["", bearer.as_str()] {
                let headers = [(name, value), ("authorization", authorization)];
                let answer = house.call_with(method, path, &headers, body).await;
                assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{method} {path} {value}");
                assert!(!answer.headers.keys().any(|h| h.as_str().starts_with("access-control-")));
            }
        }
    }
    untouched(&house).await;
}

#[tokio::test]
async fn the_token_is_needed_everywhere_but_where_it_is_not() {
    let house = house_with_a_key(Some(TOKEN)).await;
    let address = |n: u8| Caller([192, 0, 2, n].into());
    for (at, (method, path, body, open)) in (1..).zip(CALLS) {
        for authorization in ["", "Bearer wrong", "Basic eDp5", &format!("Bearer {TOKEN}0"), TOKEN] {
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "127.0.0.1")
                .header("content-type", "application/json");
            if !authorization.is_empty() {
                request = request.header("authorization", authorization);
            }
            let request = request.extension(address(at)).body(Body::from(body)).expect("a request");
            let answer = house.send(request).await;
            assert_eq!(answer.status == StatusCode::UNAUTHORIZED, !open, "{method} {path} {authorization}");
            assert_eq!(answer.headers.contains_key("www-authenticate"), !open);
        }
    }
    let unknown = house.call("GET", "/nothing", "").await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED, "strangers do not learn which paths there are");
    untouched(&house).await;
    let right = house.call_with("GET", "/status", &[("authorization", &format!("bearer {TOKEN}"))], "").await;
    assert_eq!(right.status, StatusCode::OK);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_rings() {
    let house = House::new(Some(TOKEN));
    let alarm = "potluck_alarms_total{reason=\"admin_token_guessing\"} 1";
    for _ in 0..10 {
        let answer = house.call_with("GET", "/status", &[("authorization", "Bearer guess")], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    assert!(house.pot.metrics().encode().expect("metrics").contains(alarm));
    let right = format!("Bearer {TOKEN}");
    let answer = house.call_with("GET", "/status", &[("authorization", &right)], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "token_guessing"));
    assert_eq!(answer.headers["retry-after"], "6");
    assert_eq!(house.call("GET", "/health", "").await.status, StatusCode::OK);
    house.clock.set(house.clock.now().after(std::time::Duration::from_secs(6)));
    let answer = house.call_with("GET", "/status", &[("authorization", &right)], "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(house.pot.metrics().encode().expect("metrics").contains(alarm), "it rang once");
}

#[tokio::test]
async fn calls_without_a_token_are_no_guesses() {
    let house = House::new(Some(TOKEN));
    for _ in 0..100 {
        assert_eq!(house.call("GET", "/metrics", "").await.status, StatusCode::UNAUTHORIZED);
    }
    let right = format!("Bearer {TOKEN}");
    assert_eq!(house.call_with("GET", "/metrics", &[("authorization", &right)], "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn writes_that_are_not_declared_as_json_do_nothing() {
    let house = house_with_a_key(None).await;
    for (method, path, body, _) in CALLS.into_iter().filter(|(method, ..)| *method != "GET") {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
            let answer = house.call_with(method, path, &[("content-type", content_type)], body).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (415, "content_type"), "{method} {path}");
        }
        let bare = Request::builder().method(method).uri(path).header("host", "localhost").body(Body::from(body));
        assert_eq!(house.send(bare.expect("a request")).await.status.as_u16(), 415, "{method} {path}");
        let query = house.call(method, &format!("{path}?dry=1"), body).await;
        assert_eq!((query.status.as_u16(), query.code().as_str()), (400, "query_unknown"), "{method} {path}");
    }
    untouched(&house).await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_in_json() {
    let house = House::new(None);
    for path in
        ["/", "/Status", "/status/", "//status", "/keys/openrouter/k1/x", "/api/v1/chat/completions", "/debug/pprof"]
    {
        let answer = house.call("GET", path, "").await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "path_unknown"), "{path}");
    }
    for path in ["/%73tatus", "/keys%2fopenrouter", "/keys/../status"] {
        assert_eq!(house.call("GET", path, "").await.status.as_u16(), 404, "{path}");
    }
    for (method, path, allow) in [
        ("POST", "/status", "GET,HEAD"),
        ("GET", "/keys/openrouter", "POST,DELETE"),
        ("PUT", "/keys/openrouter", "POST,DELETE"),
        ("OPTIONS", "/health/openrouter", "POST"),
        ("GET", "/keys/openrouter/k1", "PATCH"),
        ("DELETE", "/keys/openrouter/k1", "PATCH"),
        ("POST", "/keys/openrouter/k1/receipt", "GET,HEAD"),
        ("DELETE", "/ledger", "GET,HEAD"),
        ("GET", "/ledger/settle", "POST"),
        ("DELETE", "/metrics", "GET,HEAD"),
    ] {
        let answer = house.call(method, path, "{}").await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (405, "method_not_allowed"), "{method} {path}");
        assert_eq!(answer.headers["allow"], allow, "{method} {path}");
    }
}

#[tokio::test]
async fn every_answer_is_sealed() {
    let house = House::new(Some(TOKEN));
    let bearer = format!("Bearer {TOKEN}");
    let kinds: [(&str, &str, Headers<'_>); 8] = [
        ("GET", "/health", &[]),
        ("GET", "/status", &[]),
        ("GET", "/status", &[("authorization", &bearer)]),
        ("GET", "/metrics", &[("authorization", &bearer)]),
        ("GET", "/nothing", &[("authorization", &bearer)]),
        ("PUT", "/status", &[("authorization", &bearer), ("content-type", "application/json")]),
        ("GET", "/status", &[("host", "evil.example")]),
        ("GET", "/status", &[("origin", "http://evil.example")]),
    ];
    for (method, path, headers) in kinds {
        let answer = house.call_with(method, path, headers, "").await;
        assert_eq!(answer.headers["cache-control"], "no-store", "{method} {path} {headers:?}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
        assert_eq!(answer.headers["cross-origin-resource-policy"], "same-origin");
        assert!(!answer.headers.contains_key("set-cookie") && !answer.headers.contains_key("server"));
    }
}
