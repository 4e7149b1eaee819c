//! The ledger's calls: pages, sums, exports, receipts, and costs that are still open.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::money::ClientId;

const FORM: [(&str, &str); 2] =
    [("ndjson", "application/x-ndjson"), ("csv", "text/csv; charset=utf-8; header=present")];

async fn get(house: &House, path: &str) -> Value {
    let answer = house.call("GET", path, "").await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    answer.json()
}

fn ids(page: &Value) -> Vec<u64> {
    page["entries"].as_array().expect("entries").iter().map(|entry| entry["id"].as_u64().expect("an id")).collect()
}

/// Three keys' lines over two days.
async fn house() -> House {
    let house = House::new(None);
    house.donate(1).await;
    house.donate(2).await;
    let later = |entry: &mut Entry| entry.at = entry.at.after(Duration::from_secs(86_400));
    house.book_entry(|_| {});
    house.book_entry(|entry| entry.model = Some("anthropic/claude-sonnet-4.5".into()));
    house.book_entry(|entry| (entry.key, entry.client) = (KeyId(2), Some(ClientId(7).into())));
    house.book_entry(|entry| {
        later(entry);
        (entry.outcome, entry.status) = (Outcome::Refused, Some(400));
        entry.cost = Cost::Known(Usd::ZERO);
    });
    house.book_entry(|entry| {
        later(entry);
        (entry.outcome, entry.cost) = (Outcome::ClientGone, Cost::Unknown);
        entry.held = Some(Usd::from_pico(20_000_000_000));
    });
    house.clock.set(house.clock.now().after(Duration::from_secs(90_000)));
    house
}

#[tokio::test]
async fn lines_are_shown_with_everything_known_about_them() {
    let house = house().await;
    let page = get(&house, "/ledger").await;
    assert_eq!((ids(&page), &page["next"]), (vec![5, 4, 3, 2, 1], &Value::Null), "the newest first");
    let entry = &page["entries"][4];
    let expected = serde_json::json!({
        "id": 1, "kind": "attempt", "at": "2026-11-24T03:00:00Z", "day": "2026-11-24", "request": entry["request"],
        "attempt": 1, "key": "k1", "account": null, "client": null, "user": null, "endpoint": "chat_completions",
        "model": "openai/gpt-4o-mini", "generation": null,
        "tokens": {"prompt": 30, "completion": 5, "cached": 10, "reasoning": null}, "cost": "$0.00001185", "byok": null,
        "held": null, "inSuspense": false, "basis": null, "outcome": "answered", "status": 200, "durationMs": 12,
    });
    assert_eq!(*entry, expected);
    let open = &page["entries"][0];
    assert_eq!((&open["cost"], &open["inSuspense"], &open["held"]), (&Value::Null, &true.into(), &"$0.0200".into()));
}

#[tokio::test]
async fn filters_mean_what_they_say() {
    let house = house().await;
    let check = |query: &'static str, expected: Vec<u64>| {
        let house = &house;
        async move { assert_eq!(ids(&get(house, &format!("/ledger?{query}")).await), expected, "{query}") }
    };
    check("key=k2", vec![3]).await;
    check("client=c7", vec![3]).await;
    check("model=openai/*", vec![5, 4, 3, 1]).await;
    check("model=anthropic/claude-sonnet-4.5", vec![2]).await;
    check("outcome=client_gone", vec![5]).await;
    check("from=2026-11-25", vec![5, 4]).await;
    check("to=2026-11-24", vec![3, 2, 1]).await;
    check("to=2026-11-24&key=k1&model=openai/*", vec![1]).await;
    check("from=2026-11-24T03:00:00.001Z&to=2026-11-25T03:00:00Z", vec![]).await;
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_repetition() {
    let house = House::new(None);
    house.donate(1).await;
    for n in 0..25 {
        house.book_entry(|entry| entry.at = entry.at.after(Duration::from_millis(n / 2)));
    }
    let mut seen = Vec::new();
    let mut path = "/ledger?limit=7".to_owned();
    for _ in 0..10 {
        let page = get(&house, &path).await;
        seen.extend(ids(&page));
        house.book_entry(|entry| entry.at = entry.at.after(Duration::from_secs(60)));
        match page["next"].as_str() {
            Some(next) => path = format!("/ledger?limit=7&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25, "what is booked meanwhile is in front: {seen:?}");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 25);
}

#[tokio::test]
async fn exports_hold_every_line_however_many() {
    let house = House::new(None);
    house.donate(1).await;
    for n in 0..1234 {
        house.book_entry(|entry| entry.at = entry.at.after(Duration::from_millis(n)));
    }
    for (format, kind) in FORM {
        let by_name = house.call("GET", &format!("/ledger?format={format}"), "").await;
        assert_eq!(by_name.headers["content-type"], kind);
        let accept = kind.split(';').next().unwrap_or_default();
        let by_type = house.call_with("GET", "/ledger", &[("accept", accept)], "").await;
        assert_eq!(by_name.text, by_type.text, "{format}");
        let few = house.call("GET", &format!("/ledger?format={format}&limit=600"), "").await;
        let heads = usize::from(format == "csv");
        assert_eq!((by_name.text.lines().count(), few.text.lines().count()), (1234 + heads, 600 + heads), "{format}");
        assert!(by_name.text.starts_with(few.text.as_str()), "{format}");
    }
    let rest = house.call("GET", "/ledger?limit=1000", "").await.json();
    let rest = format!("/ledger?format=csv&cursor={}", rest["next"].as_str().expect("more"));
    let text = house.call("GET", &rest, "").await.text;
    assert_eq!((text.lines().count(), text.starts_with("id,kind,at,")), (235, true), "an export begins anywhere");
    let none = house.call("GET", "/ledger?format=ndjson&key=k7", "").await;
    assert_eq!((none.status, none.text.as_str()), (StatusCode::OK, ""));
    let head = house.call("GET", "/ledger?format=csv&key=k7", "").await.text;
    assert_eq!(head.lines().count(), 1, "columns are named also when there is nothing in them");
}

#[tokio::test]
async fn exports_say_the_same_as_pages_and_no_text_is_a_formula() {
    let house = house().await;
    house.book_entry(|entry| {
        entry.at = house.clock.now();
        entry.model = Some("=1+1,\"x\"\ny".into());
    });
    let pages = get(&house, "/ledger").await;
    let lines = house.call("GET", "/ledger?format=ndjson", "").await.text;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(Value::from(lines), pages["entries"]);
    let table = house.call("GET", "/ledger?format=csv", "").await;
    assert_eq!(table.headers["content-disposition"], "attachment; filename=\"potluck-ledger.csv\"");
    let mut table = csv::Reader::from_reader(table.text.as_bytes());
    let columns = table.headers().expect("columns").clone();
    let rows: Vec<csv::StringRecord> = table.records().map(|row| row.expect("a row")).collect();
    let cell = |row: usize, column: &str| {
        let at = columns.iter().position(|name| name == column).expect("a column");
        rows.get(row).and_then(|row| row.get(at)).expect("a cell")
    };
    assert_eq!(rows.len(), 6);
    assert_eq!(cell(0, "model"), "'=1+1,\"x\"\ny");
    assert_eq!((cell(0, "cost_usd"), cell(0, "prompt_tokens"), cell(0, "in_suspense")), ("0.00001185", "30", "false"));
    assert_eq!((cell(1, "cost_usd"), cell(1, "held_usd"), cell(1, "in_suspense")), ("", "0.02", "true"));
    assert_eq!((cell(3, "key"), cell(3, "client")), ("k2", "c7"));
}

#[tokio::test]
async fn a_summary_is_by_day_key_and_model() {
    let house = house().await;
    let summary = get(&house, "/ledger/summary").await;
    let line = |n: usize| {
        let line = &summary["lines"][n];
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        (text("day"), text("key"), text("model"), line["sums"]["attempts"].as_u64().expect("a count"))
    };
    let expected = |day: &str, key: &str, model: &str, n| (day.to_owned(), key.to_owned(), model.to_owned(), n);
    assert_eq!(line(0), expected("2026-11-24", "k1", "anthropic/claude-sonnet-4.5", 1));
    assert_eq!(line(1), expected("2026-11-24", "k1", "openai/gpt-4o-mini", 1));
    assert_eq!(line(2), expected("2026-11-24", "k2", "openai/gpt-4o-mini", 1));
    assert_eq!(line(3), expected("2026-11-25", "k1", "openai/gpt-4o-mini", 2));
    assert_eq!((&summary["total"]["attempts"], &summary["total"]["answered"]), (&5.into(), &3.into()));
    let total = &summary["total"];
    assert_eq!((&total["amount"], &total["cachedShare"]), (&"$0.00003555".into(), &"33.3%".into()));
    let of_key = get(&house, "/ledger/summary?key=k2&from=2026-11-24&to=2026-11-24").await;
    assert_eq!(of_key["lines"].as_array().map(Vec::len), Some(1));
    let table = house.call("GET", "/ledger/summary?format=csv", "").await.text;
    assert_eq!(
        table.lines().nth(1),
        Some("2026-11-24,k1,anthropic/claude-sonnet-4.5,1,1,1,30,5,10,0,0.00001185,0,0,0")
    );
    let lines = house.call("GET", "/ledger/summary?format=ndjson", "").await.text;
    assert_eq!(lines.lines().count(), 4);
}

#[tokio::test]
async fn a_receipt_tells_a_donor_everything_but_the_key() {
    let house = house().await;
    let receipt = get(&house, "/keys/openrouter/k1/receipt").await;
    assert_eq!((&receipt["from"], &receipt["to"]), (&"2026-11-01".into(), &"2026-11-25".into()), "this month");
    let of = &receipt["key"];
    assert_eq!((&of["id"], &of["key"], &of["label"]), (&"k1".into(), &"sk-or-v1-…0001".into(), &"key 1".into()));
    assert_eq!(of["hash"], crate::secret::Fingerprint::of(&key(1)).to_string(), "as OpenRouter hashes keys");
    assert_eq!((&receipt["sums"]["attempts"], &receipt["sums"]["amount"]), (&4.into(), &"$0.0000237".into()));
    assert_eq!(receipt["suspense"], serde_json::json!({"entries": 1, "most": "$0.0200"}));
    assert_eq!(receipt["models"].as_array().map(Vec::len), Some(2));
    assert_eq!(receipt["check"], Value::Null, "OpenRouter was not asked yet");
    let one_day = get(&house, "/keys/openrouter/k1/receipt?from=2026-11-24&to=2026-11-24").await;
    assert_eq!((&one_day["sums"]["attempts"], &one_day["suspense"]["entries"]), (&2.into(), &0.into()));

    house.call("DELETE", "/keys/openrouter", r#"{"id":"k1"}"#).await;
    let gone = get(&house, "/keys/openrouter/k1/receipt").await;
    assert_eq!(gone["sums"], receipt["sums"], "the books stay");
    let of = &gone["key"];
    assert_eq!((&of["inPool"], &of["hash"], &of["label"]), (&false.into(), &Value::Null, &Value::Null));
    let nobody = house.call("GET", "/keys/openrouter/k9/receipt", "").await;
    assert_eq!((nobody.status, nobody.code().as_str()), (StatusCode::NOT_FOUND, "key_not_found"));
    let wrong = house.call("GET", "/keys/openrouter/nine/receipt", "").await;
    assert_eq!((wrong.status, wrong.field().as_deref()), (StatusCode::BAD_REQUEST, Some("id")));
}

#[tokio::test]
async fn an_operators_word_settles_an_open_cost_once() {
    let house = house().await;
    let open = get(&house, "/ledger/suspense").await;
    let entry = &open["entries"][0];
    assert_eq!((&entry["entry"], &entry["key"], &entry["held"]), (&5.into(), &"k1".into(), &"$0.0200".into()));
    assert_eq!((&entry["model"], &entry["since"]), (&"openai/gpt-4o-mini".into(), &"2026-11-25T03:00:00Z".into()));
    assert_eq!((open["entries"].as_array().map(Vec::len), &open["notListed"]), (Some(1), &0.into()));

    for (entry, status, code) in [(1, 404, "entry_not_found"), (99, 404, "entry_not_found")] {
        let answer = house.call("POST", "/ledger/settle", &format!(r#"{{"entry":{entry},"cost":1}}"#)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{entry}");
    }
    let settled = house.call("POST", "/ledger/settle", r#"{"entry":5,"cost":0.0123}"#).await;
    assert_eq!((settled.status, &settled.json()["cost"]), (StatusCode::OK, &"$0.0123".into()), "{}", settled.text);
    let again = house.call("POST", "/ledger/settle", r#"{"entry":5,"cost":0.0123}"#).await;
    assert_eq!((again.status, again.code().as_str()), (StatusCode::CONFLICT, "entry_settled"));
    assert_eq!(get(&house, "/ledger/suspense").await["entries"], serde_json::json!([]));

    let correction = get(&house, "/ledger?limit=1").await["entries"][0].take();
    assert_eq!((&correction["kind"], &correction["basis"]), (&"correction".into(), &"operator".into()));
    assert_eq!((&correction["cost"], &correction["day"]), (&"$0.0123".into(), &"2026-11-25".into()));
    let day = get(&house, "/ledger/summary?from=2026-11-25").await;
    assert_eq!(day["total"]["amount"], "$0.0123");
    assert_eq!(house.pot.store().verify_totals(None).await.expect("readable"), []);

    // It lives on in sums only by then, and is settled all the same.
    let tomorrow = house.pot.clock().now().next_midnight().day();
    assert!(house.pot.store().roll_up(tomorrow).await.expect("rolled up").lines >= 5);
    let late = house.call("POST", "/ledger/settle", r#"{"entry":5,"cost":0.0123}"#).await;
    assert_eq!((late.status, late.code().as_str()), (StatusCode::CONFLICT, "entry_settled"));
    let never = house.call("POST", "/ledger/settle", r#"{"entry":99,"cost":0.0123}"#).await;
    assert_eq!((never.status, never.code().as_str()), (StatusCode::NOT_FOUND, "entry_not_found"));
}
