//! Limits, books and receipts from a terminal, against a running potluck.

use std::process::Command;

use potluck::money::Usd;
use potluck::simulator::{Fault, Play, Script};
use serde_json::Value;

use crate::support::{Ask, CHAT, MODEL, Place, chat, output, simulator};

/// What a command prints, when it succeeds.
async fn prints(command: Command) -> String {
    let output = output(command).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
    String::from_utf8(output.stdout).expect("text")
}

/// What a command says when it is refused.
async fn refused(command: Command, code: i32) -> String {
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).expect("text")
}

fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_are_set_lifted_and_shown_from_a_terminal() {
    let (simulator, keys) = simulator(2).await;
    let place = Place::new(&simulator, "").keys(&keys[..1]);
    let running = place.start().await;
    let run = async |words: &[&str]| prints(place.command(words)).await;
    says(&run(&["keys", "limits", "k1"]).await, &["k1 (sk-or-v1-…", "): no limits\n"]);
    let words =
        ["keys", "limits", "k1", "--day", "5", "--month", "60.5", "--models", "openai/*,*:free", "--concurrency", "4"];
    let text = run(&words).await;
    says(&text, &["at most $5.0000 a day, $60.5000 a month; only openai/*, *:free; at most 4 at a time"]);
    let text = run(&["keys", "limits", "k1", "--no-day", "--no-models", "--expires", "2999-01-01"]).await;
    says(&text, &["at most $60.5000 a month; at most 4 at a time; until 2999-01-01T00:00:00Z"]);
    let set: Value = serde_json::from_str(&run(&["keys", "limits", "k1", "--json"]).await).expect("JSON");
    assert_eq!((&set["caps"]["month"], &set["caps"]["day"]), (&"$60.5000".into(), &Value::Null));
    says(&run(&["keys", "pause", "k1"]).await, &["(paused)"]);
    says(&run(&["keys", "list"]).await, &["healthy (paused)", "$60.5000 of $60.5000 / month"]);
    assert!(!run(&["keys", "resume", "k1"]).await.contains("paused"));
    says(&run(&["status"]).await, &["limited   $0.0000 held"]);

    let added = place.clone().env("BOBS_KEY", &keys[1].text);
    run(&["status"]).await;
    prints(added.command(&[
        "keys",
        "add",
        "--from-env",
        "BOBS_KEY",
        "--label",
        "bob",
        "--total",
        "7",
        "--reserve",
        "0.5",
    ]))
    .await;
    says(&run(&["keys", "limits", "k2"]).await, &["at most $7.0000 in all; $0.5000 stay the owner's"]);

    let gone = refused(place.command(&["keys", "limits", "k9", "--day", "5"]), 1).await;
    assert_eq!(gone, "potluck: no such key in the pool\n");
    says(&refused(place.command(&["keys", "limits", "k9"]), 1).await, &["no key k9 in the pool"]);
    let past = refused(place.command(&["keys", "limits", "k1", "--expires", "2020-01-01"]), 1).await;
    says(&past, &["limits.expiresAt must be a time to come"]);
    says(&refused(place.command(&["keys", "limits", "k1", "--day", "0"]), 1).await, &["limits.caps.day must be"]);
    for words in [["--day", "five"], ["--concurrency", "few"]] {
        refused(place.command(&[&["keys", "limits", "k1"], &words[..]].concat()), 64).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_books_are_read_from_a_terminal() {
    let (simulator, keys) = simulator(2).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let running = place.start().await;
    let run = async |words: &[&str]| prints(place.command(words)).await;
    assert_eq!(run(&["ledger"]).await, "no such lines\n");
    assert_eq!(run(&["ledger", "suspense"]).await, "every cost is known\n");
    for _ in 0..6 {
        assert_eq!(place.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    }
    place.assert_books_balance(&simulator).await;

    let text = run(&["ledger", "--limit", "2"]).await;
    says(&text, &[MODEL, "answered", "there are older ones: --all"]);
    assert_eq!(run(&["ledger", "--all"]).await.matches("answered").count(), 6);
    assert_eq!(run(&["ledger", "--key", "k1"]).await.matches("answered").count(), 3);
    assert_eq!(run(&["ledger", "--model", "nobody/*"]).await, "no such lines\n");
    let lines = run(&["ledger", "--all", "--json"]).await;
    let costs = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["cost"].clone());
    let booked: i64 = costs
        .map(|cost| Usd::parse(cost.as_str().expect("an amount").trim_start_matches('$').as_bytes()).expect("exact"))
        .map(Usd::as_pico)
        .sum();
    assert_eq!(i128::from(booked), simulator.bill().total.0);
    assert_eq!(run(&["ledger", "--csv", "--limit", "4"]).await.lines().count(), 5);
    assert_eq!(run(&["ledger", "--csv", "--all"]).await.lines().count(), 7);
    let total = Usd::from_pico(booked).to_string();
    says(&run(&["ledger", "summary"]).await, &["k1", "k2", MODEL, &total]);
    assert_eq!(run(&["ledger", "summary", "--csv"]).await.lines().count(), 3);

    let text = run(&["keys", "receipt", "k1"]).await;
    let hash = potluck::secret::Fingerprint::of(&keys[0].text).to_string();
    says(&text, &["Receipt for k1", "Requests               3 (3 attempts, 3 answered)", MODEL, &hash]);
    assert!(!text.contains(&keys[0].text[9..20]), "never the key");
    says(&refused(place.command(&["keys", "receipt", "k1", "--from", "yesterday"]), 1).await, &["from must be a date"]);
    says(&refused(place.command(&["ledger", "--outcome", "good"]), 1).await, &["outcome must be one of"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cost_is_settled_from_a_terminal() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "[ledger]\nreconcile_schedule_ms = [3600000]\n").keys(&keys);
    let running = place.start().await;
    let run = async |words: &[&str]| prints(place.command(words)).await;
    simulator.script(Script::next(Play { fault: Some(Fault::Cut { at: 10 }), ..Play::default() }));
    place.ask(&Ask::post(CHAT, chat(MODEL))).await;
    place.status_when("its cost is in suspense", |status| status["suspense"]["entries"] == 1).await;
    let open: Value = serde_json::from_str(&run(&["ledger", "suspense", "--json"]).await).expect("JSON");
    let entry = open["entries"][0]["entry"].to_string();
    says(&run(&["ledger", "suspense"]).await, &[&entry, "k1", MODEL]);
    let text = run(&["ledger", "settle", &entry, "0.0123"]).await;
    assert_eq!(text, "$0.0123 is booked on k1, on the day of the attempt, by your word\n");
    says(&run(&["ledger"]).await, &["correction", "(operator)", "cost found later", "$0.0123"]);
    let again = refused(place.command(&["ledger", "settle", &entry, "0.0123"]), 1).await;
    says(&again, &["not in suspense any more"]);
    running.stop().await;
}
