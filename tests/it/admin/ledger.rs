//! The ledger over the wire, against the simulator's bill.

use std::collections::BTreeSet;
use std::time::Duration;

use potluck::money::Usd;
use potluck::simulator::{Fault, Pico, Play, Script};
use serde_json::{Value, json};

use super::{SETTLE, call, code, get};
use crate::support::{Ask, House, MODEL, chat};

const CHAT: &str = "/api/v1/chat/completions";

fn dollars(amount: &Value) -> i128 {
    let text = amount.as_str().unwrap_or_else(|| panic!("no amount: {amount}"));
    let plain = text.replacen('$', "", 1);
    i128::from(Usd::parse(plain.as_bytes()).expect("exact").as_pico())
}

/// Every line, page by page.
async fn all_lines(house: &House) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut path = "/ledger?limit=3".to_owned();
    loop {
        let mut page = get(house, &path).await;
        lines.append(page["entries"].as_array_mut().expect("entries"));
        match page["next"].as_str() {
            Some(next) => path = format!("/ledger?limit=3&cursor={next}"),
            None => return lines,
        }
    }
}

#[tokio::test]
async fn the_ledger_is_the_bill_line_by_line() {
    let house = House::new(2, "").await;
    for _ in 0..7 {
        assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    }
    house.until("all is booked", |o| o.requests == 7 && o.in_flight == 0).await;
    let lines = all_lines(&house).await;
    assert_eq!(lines.len(), 7);
    let generations: BTreeSet<&str> = lines.iter().filter_map(|line| line["generation"].as_str()).collect();
    let billed = house.sim.bill().generations;
    assert_eq!(generations, billed.iter().map(|generation| generation.id.as_str()).collect());
    assert_eq!(lines.iter().map(|line| dollars(&line["cost"])).sum::<i128>(), house.sim.bill().total.0);
    let summary = get(&house, "/ledger/summary").await;
    assert_eq!(dollars(&summary["total"]["amount"]), house.sim.bill().total.0);
    assert_eq!((&summary["total"]["requests"], summary["lines"].as_array().map(Vec::len)), (&7.into(), Some(2)));

    for (form, wanted) in [("application/x-ndjson", 7), ("text/csv", 8)] {
        let export = Ask::get("/ledger").header("accept", form).send(house.admin).await;
        assert_eq!(export.status, 200);
        assert!(
            export.header("content-type").is_some_and(|kind| kind.starts_with(form)),
            "{:?}",
            export.header("content-type")
        );
        assert_eq!(export.text().lines().count(), wanted, "{}", export.text());
    }
}

#[tokio::test]
async fn a_receipt_is_the_bill_of_one_key() {
    let house = House::new(0, "").await;
    let (alice, _) = house.donate(Pico::usd(10)).await;
    house.donate(Pico::usd(10)).await;
    for _ in 0..4 {
        assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    }
    house.until("all is booked", |o| o.requests == 4 && o.in_flight == 0).await;
    let receipt = get(&house, "/keys/openrouter/k1/receipt").await;
    let billed = house.sim.bill().keys[0].cost.0;
    assert_eq!((dollars(&receipt["sums"]["amount"]), &receipt["sums"]["requests"]), (billed, &2.into()));
    assert_eq!(
        (&receipt["models"][0]["model"], dollars(&receipt["models"][0]["sums"]["amount"])),
        (&MODEL.into(), billed)
    );
    let hash = potluck::secret::Fingerprint::of(&alice.text).to_string();
    assert_eq!(receipt["key"]["hash"], hash.as_str());
    for run in alice.text.trim_start_matches("sk-or-v1-").as_bytes().windows(8) {
        let run = std::str::from_utf8(run).expect("hex");
        assert!(!receipt.to_string().replace(&hash, "").contains(run), "{run} of the key is in it");
    }
    let none = get(&house, "/keys/openrouter/k1/receipt?from=2026-10-01&to=2026-10-31").await;
    assert_eq!((&none["sums"]["amount"], &none["models"]), (&"$0.0000".into(), &json!([])));
}

#[tokio::test]
async fn a_cost_that_nobody_tells_is_settled_by_a_word_and_only_once() {
    let settings = "[ledger]\nreconcile_schedule_ms = [1000]\n";
    let house = House::new(1, settings).await;
    let play = Play { fault: Some(Fault::Cut { at: 10 }), no_generation_id: Some(true), ..Play::default() };
    house.sim.script(Script::next(play));
    house.ask(&Ask::post(CHAT, chat(MODEL))).await;
    house.until("its cost is in suspense", |o| o.suspense.open == 1).await;
    let open = get(&house, "/ledger/suspense").await;
    let entry = &open["entries"][0];
    assert_eq!((&entry["key"], &entry["model"], &open["notListed"]), (&"k1".into(), &MODEL.into(), &0.into()));
    let word = json!({"entry": entry["entry"], "cost": 0.0123}).to_string();
    let settled = call(&house, "POST", SETTLE, &word).await;
    assert_eq!((settled.status, &settled.json()["success"]), (200, &true.into()), "{}", settled.text());
    let again = call(&house, "POST", SETTLE, &word).await;
    assert_eq!((again.status, code(&again).as_str()), (409, "entry_settled"));
    let unknown = call(&house, "POST", SETTLE, r#"{"entry":999,"cost":0}"#).await;
    assert_eq!((unknown.status, code(&unknown).as_str()), (404, "entry_not_found"));

    house.pass(Duration::from_secs(60));
    let lines = get(&house, "/ledger").await;
    let correction = &lines["entries"][0];
    assert_eq!((&correction["kind"], &correction["basis"]), (&"correction".into(), &"operator".into()));
    assert_eq!(get(&house, "/status").await["openrouter"]["stats"]["totalCost"], "$0.0123");
}
