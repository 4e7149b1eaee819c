//! What each call does and says.

use super::*;

#[tokio::test]
async fn status_stands_as_in_the_contract() {
    let house = House::new(None);
    house.donate(1).await;
    house.donate(2).await;
    house.call("POST", "/health/openrouter", r#"{"id":"k2","status":"depleted"}"#).await;
    let answer = house.call("GET", "/status", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    let start = concat!(
        r#"{"openrouter":{"totalKeys":2,"health":{"healthy":1,"depleted":1,"degraded":0,"failed":0,"rate_limited":0},"#,
        r#""stats":{"totalRequests":0,"successRate":"100.00%","totalCostToday":"$0.0000","#
    );
    assert!(answer.text.starts_with(start), "{}", answer.text);
    let pool = &answer.json()["openrouter"];
    assert_eq!(pool["rotation"], "round_robin");
    assert_eq!(pool["rotationIndex"], 0);
    assert_eq!(pool["lastKeyId"], Value::Null);
    assert_eq!(pool["time"], "2026-11-24T03:00:00Z");
    assert_eq!(pool["keys"][1]["id"], "k2");
    assert_eq!(pool["keys"][1]["key"], "sk-or-v1-…0002");
    assert_eq!(pool["keys"][1]["label"], "key 2");
    assert_eq!(pool["keys"][1]["health"]["status"], "depleted");
    assert_eq!(pool["keys"][1]["health"]["why"], "operator");
    assert_eq!(pool["keys"][1]["spentToday"], "$0.0000");
}

#[tokio::test]
async fn a_key_comes_and_goes() {
    let house = House::new(None);
    let body = format!(r#"{{"key":" {} ","donorId":"d-7","donorName":"Zoë","label":"alice"}}"#, key(1));
    let donated = house.call("POST", "/keys/openrouter", &body).await.json();
    assert_eq!(donated["success"], true);
    assert_eq!(donated["model"], "openrouter");
    assert_eq!(donated["totalKeys"], 1);
    assert_eq!(donated["id"], "k1");
    assert_eq!(donated["key"], "sk-or-v1-…0001");
    assert_eq!(donated["verified"], false, "the upstream cannot be reached, and the key is taken all the same");
    let keys = house.call("GET", "/keys", "").await.json();
    assert_eq!(keys["totalKeys"], 1);
    assert_eq!(keys["keys"][0]["donorName"], "Zoë");
    assert_eq!(keys["keys"][0]["donorId"], "d-7");
    assert_eq!(keys["keys"][0]["addedAt"], "2026-11-24T03:00:00Z");

    let again = house.call("POST", "/keys/openrouter", &offer(1)).await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "key_present"));
    assert_eq!(again.json()["error"]["id"], "k1");

    let gone = house.call("DELETE", "/keys/openrouter", &format!(r#"{{"key":"{}"}}"#, key(1))).await;
    assert_eq!(gone.status, StatusCode::OK);
    assert_eq!(gone.json()["success"], true);
    assert_eq!(gone.json()["id"], "k1");
    assert_eq!(gone.json()["totalKeys"], 0);
    for named in [r#"{"id":"k1"}"#.to_owned(), format!(r#"{{"key":"{}"}}"#, key(1))] {
        let answer = house.call("DELETE", "/keys/openrouter", &named).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "key_not_found"), "{named}");
    }
}

#[tokio::test]
async fn all_five_states_can_be_set_by_key_or_id() {
    let house = House::new(None);
    house.donate(1).await;
    for state in ["depleted", "degraded", "failed", "rate_limited", "healthy"] {
        for named in [r#""id":"k1""#.to_owned(), format!(r#""key":"{}""#, key(1))] {
            let body = format!(r#"{{{named},"status":"{state}","error":"seen by hand"}}"#);
            let answer = house.call("POST", "/health/openrouter", &body).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
            let json = answer.json();
            assert_eq!(json["success"], true);
            assert_eq!(json["model"], "openrouter");
            assert_eq!(json["key"], "sk-or-v1-…0001");
            assert_eq!(json["id"], "k1");
            assert_eq!(json["status"], state);
            assert_eq!(json["health"]["note"], "seen by hand");
            let counts = house.call("GET", "/status", "").await.json();
            assert_eq!(counts["openrouter"]["health"][state], 1, "{state}");
        }
    }
    let nobody = house.call("POST", "/health/openrouter", r#"{"id":"k9","status":"healthy"}"#).await;
    assert_eq!((nobody.status, nobody.code().as_str()), (StatusCode::NOT_FOUND, "key_not_found"));
}

const WRONG: &str = "field_wrong_value";

#[tokio::test]
async fn bad_bodies_change_nothing_and_name_the_member() {
    let house = House::new(None);
    house.donate(1).await;
    let before = house.call("GET", "/keys", "").await.text;
    let canary = key(99);
    let with = |member: &str| format!(r#"{{"key":"{canary}",{member}}}"#);
    let long = "x".repeat(BODY_MAX + 1);
    // Method, path, body; status, code and member of the refusal.
    type Row<'a> = (&'a str, &'a str, String, u16, &'a str, Option<&'a str>);
    let table: Vec<Row<'_>> = vec![
        ("POST", "/keys/openrouter", "{".into(), 400, "json_malformed", None),
        ("POST", "/keys/openrouter", "[]".into(), 400, "json_not_an_object", None),
        ("POST", "/keys/openrouter", format!("\"{canary}\""), 400, "json_not_an_object", None),
        ("POST", "/keys/openrouter", "{}".into(), 400, "field_missing", Some("key")),
        ("POST", "/keys/openrouter", r#"{"key":5}"#.into(), 400, "field_wrong_value", Some("key")),
        ("POST", "/keys/openrouter", r#"{"key":"sk-ant-1"}"#.into(), 400, "key_malformed", Some("key")),
        ("POST", "/keys/openrouter", with(r#""label":7"#), 400, "field_wrong_value", Some("label")),
        ("POST", "/keys/openrouter", with(r#""label":"a\u0000""#), 400, "field_text", Some("label")),
        ("POST", "/keys/openrouter", with(r#""donorName":"\u202ex""#), 400, "field_text", Some("donorName")),
        ("POST", "/keys/openrouter", with(&format!(r#""donorId":"{canary}""#)), 400, "field_text", Some("donorId")),
        ("POST", "/keys/openrouter", with(r#""limit":"5""#), 400, "field_wrong_value", Some("limit")),
        ("POST", "/keys/openrouter", with(r#""limits":5"#), 400, "field_wrong_value", Some("limits")),
        ("POST", "/keys/openrouter", with(r#""limits":{"caps":{"day":0}}"#), 400, WRONG, Some("limits.caps.day")),
        (
            "POST",
            "/keys/openrouter",
            with(r#""limits":{"caps":{"year":1}}"#),
            400,
            "field_unknown",
            Some("limits.caps.year"),
        ),
        ("POST", "/keys/openrouter", with(&format!(r#""limits":{{"{canary}":1}}"#)), 400, "field_unknown", None),
        (
            "POST",
            "/keys/openrouter",
            with(&format!(r#""limits":{{"models":["{canary}"],"x":1}}"#)),
            400,
            "field_unknown",
            Some("limits.x"),
        ),
        ("PATCH", "/keys/openrouter/k1", "{}".into(), 400, "field_missing", Some("limits")),
        ("PATCH", "/keys/openrouter/k1", r#"{"limits":null}"#.into(), 400, "field_missing", Some("limits")),
        ("PATCH", "/keys/openrouter/k1", r#"{"limits":{"paused":"yes"}}"#.into(), 400, WRONG, Some("limits.paused")),
        (
            "PATCH",
            "/keys/openrouter/k1",
            r#"{"limits":{"paused":true},"label":"x"}"#.into(),
            400,
            "field_unknown",
            Some("label"),
        ),
        ("PATCH", "/keys/openrouter/1", r#"{"limits":{"paused":true}}"#.into(), 400, WRONG, Some("id")),
        ("PATCH", "/keys/openrouter/k9", r#"{"limits":{"paused":true}}"#.into(), 404, "key_not_found", None),
        ("POST", "/ledger/settle", "{}".into(), 400, "field_missing", Some("entry")),
        ("POST", "/ledger/settle", r#"{"entry":1}"#.into(), 400, "field_missing", Some("cost")),
        ("POST", "/ledger/settle", r#"{"entry":"1","cost":1}"#.into(), 400, WRONG, Some("entry")),
        ("POST", "/ledger/settle", r#"{"entry":1,"cost":-1}"#.into(), 400, WRONG, Some("cost")),
        ("POST", "/ledger/settle", r#"{"entry":1,"cost":1}"#.into(), 404, "entry_not_found", Some("entry")),
        ("POST", "/keys/openrouter", with(r#""status":"x""#), 400, "field_unknown", Some("status")),
        ("POST", "/keys/openrouter", with(&format!(r#""{canary}":1"#)), 400, "field_unknown", None),
        ("POST", "/keys/openrouter", with(r#""key":"x""#), 400, "field_twice", Some("key")),
        ("POST", "/keys/openrouter", with(&format!(r#""label":"{long}""#)), 413, "body_too_large", None),
        ("DELETE", "/keys/openrouter", "{}".into(), 400, "key_or_id", Some("key")),
        ("DELETE", "/keys/openrouter", with(r#""id":"k1""#), 400, "key_or_id", Some("key")),
        ("DELETE", "/keys/openrouter", r#"{"id":1}"#.into(), 400, "field_wrong_value", Some("id")),
        ("DELETE", "/keys/openrouter", r#"{"id":"k1","why":"x"}"#.into(), 400, "field_unknown", Some("why")),
        (
            "DELETE",
            "/keys/openrouter",
            format!(r#"{{"id":"k1"}}{}"#, " ".repeat(BODY_MAX)),
            413,
            "body_too_large",
            None,
        ),
        ("POST", "/health/openrouter", r#"{"id":"k1"}"#.into(), 400, "field_missing", Some("status")),
        ("POST", "/health/openrouter", r#"{"status":"failed"}"#.into(), 400, "key_or_id", Some("key")),
        (
            "POST",
            "/health/openrouter",
            r#"{"id":"k1","status":"dead"}"#.into(),
            400,
            "field_wrong_value",
            Some("status"),
        ),
        (
            "POST",
            "/health/openrouter",
            r#"{"id":"k1","status":"failed","error":""}"#.into(),
            400,
            "field_text",
            Some("error"),
        ),
        (
            "POST",
            "/health/openrouter",
            r#"{"id":"k1","status":"failed","cost":-1}"#.into(),
            400,
            "field_wrong_value",
            Some("cost"),
        ),
        (
            "POST",
            "/health/openrouter",
            r#"{"id":"k1","status":"failed","cost":"1"}"#.into(),
            400,
            "field_wrong_value",
            Some("cost"),
        ),
    ];
    for (method, path, body, status, code, field) in table {
        let answer = house.call(method, path, &body).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{method} {path} {body}");
        assert_eq!(answer.field().as_deref(), field, "{method} {path} {body}");
        assert_eq!(answer.json()["success"], false);
        assert!(!answer.text.contains("c0ffee"), "{}", answer.text);
    }
    assert_eq!(house.call("GET", "/keys", "").await.text, before, "nothing changed");
}

#[tokio::test]
async fn no_answer_holds_more_of_a_key_than_its_mask() {
    let house = House::new(None);
    for number in 1..=5 {
        house.donate(number).await;
    }
    let mut answers = String::new();
    for path in
        ["/status", "/keys", "/metrics", "/health", "/ready", "/openapi.json", "/keys/openrouter/k1/receipt", "/ledger"]
    {
        answers += &house.call("GET", path, "").await.text;
    }
    for (method, path) in [("POST", "/keys/openrouter"), ("DELETE", "/keys/openrouter"), ("DELETE", "/keys/openrouter")]
    {
        answers += &house.call(method, path, &format!(r#"{{"key":"{}"}}"#, key(1))).await.text;
    }
    answers +=
        &house.call("POST", "/health/openrouter", &format!(r#"{{"key":"{}","status":"failed"}}"#, key(2))).await.text;
    for number in 1..=5 {
        let key = key(number);
        let body = key.strip_prefix("sk-or-v1-").expect("the prefix");
        for start in 0..=body.len() - 8 {
            let run = &body[start..start + 8];
            assert!(!answers.contains(run), "{run}");
        }
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text_and_current() {
    let house = House::new(None);
    house.donate(1).await;
    let answer = house.call("GET", "/metrics", "").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text.contains("potluck_keys{state=\"healthy\"} 1\n"), "{}", answer.text);
}

#[tokio::test]
async fn liveness_and_readiness_are_two_things() {
    let house = House::new(Some(TOKEN));
    let live = house.call("GET", "/health", "").await;
    assert_eq!((live.status, live.text.as_str()), (StatusCode::OK, r#"{"status":"ok"}"#));
    let ready = house.call("GET", "/ready", "").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.text, r#"{"ready":false,"reason":"no_key"}"#);
    let bearer = format!("Bearer {TOKEN}");
    let answer = house.call_with("POST", "/keys/openrouter", &[("authorization", &bearer)], &offer(1)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let ready = house.call("GET", "/ready?probe=1", "").await;
    assert_eq!((ready.status, ready.text.as_str()), (StatusCode::OK, r#"{"ready":true,"reason":null}"#));
}
