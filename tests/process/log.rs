//! The log of a process: one line per event, every line an object, no key in any.

use std::collections::BTreeSet;

use potluck::simulator::{Play, Script, SimKey};
use serde_json::Value;

use crate::support::{Ask, CHAT, MODEL, Place, chat, chat_stream, simulator};

/// No part of a key that is longer than its mask.
fn assert_no_key(text: &str, keys: &[SimKey]) {
    for key in keys {
        let secret = key.text.trim_start_matches("sk-or-v1-").as_bytes();
        for run in secret.windows(8) {
            assert!(memchr::memmem::find(text.as_bytes(), run).is_none(), "a part of key {} is in: {text}", key.index);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_one_structured_line_without_a_key_in_it() {
    let (simulator, keys) = simulator(3).await;
    let place = Place::new(&simulator, "").keys(&keys[..2]);
    let mut running = place.start().await;
    let offer = format!(r#"{{"key":"{}","label":"three\nlines\n{{}}"}}"#, keys[2].text);
    assert_eq!(Ask::post("/keys/openrouter", offer).send(place.admin).await.status, 400);
    let offer = format!(r#"{{"key":"{}","label":"three"}}"#, keys[2].text);
    assert_eq!(Ask::post("/keys/openrouter", offer).send(place.admin).await.status, 200);
    for error in ["402-credits", "401-disabled", "429-provider"] {
        simulator.script(Script::next(Play::refuse(error)));
    }
    for _ in 0..3 {
        place.ask(&Ask::post(CHAT, chat(MODEL)).header("authorization", "Bearer sk-or-v1-of-the-client")).await;
    }
    simulator.close_port(true).await;
    place.ask(&Ask::post(CHAT, chat_stream(MODEL))).await;
    simulator.open_port().await;
    // A head that cannot be parsed is what libraries love to quote.
    let mut wire = crate::support::Wire::connect(place.proxy).await;
    wire.write(format!("GET /{} HTTP/1.1\r\nno colon {}\r\n\r\n", keys[0].text, keys[1].text).as_bytes()).await;
    wire.until_closed().await;
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.end().await, 0);

    let log = running.log();
    assert_no_key(&log, &keys);
    assert!(!log.contains("of-the-client"), "{log}");
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect();
    for line in &lines {
        for member in ["time", "level", "target", "message"] {
            assert!(line[member].is_string(), "{member}: {line}");
        }
        assert!(["INFO", "WARN", "ERROR"].contains(&line["level"].as_str().expect("a level")), "{line}");
    }
    let said: BTreeSet<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    for event in ["potluck serves", "key added to the pool", "key state changed", "no connection to the upstream"] {
        assert!(said.contains(event), "{event}: {said:#?}");
    }
    let changed = lines.iter().find(|line| line["message"] == "key state changed").expect("one");
    assert!(changed["key"].as_str().is_some_and(|key| key.starts_with('k')), "{changed}");
    assert!(changed["state"].is_string() && changed["reason"].is_string(), "{changed}");
    assert_eq!(lines.iter().filter(|line| line["message"] == "key added to the pool").count(), 3, "one line each");
}

#[tokio::test(flavor = "multi_thread")]
async fn for_people_the_log_is_lines_of_text() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys).env("POTLUCK_LOG_FORMAT", "text");
    let mut running = place.start().await;
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.end().await, 0);
    let log = running.log();
    assert_no_key(&log, &keys);
    for line in log.lines() {
        let (time, rest) = line.split_once("  ").unwrap_or_else(|| panic!("{line}"));
        assert!(time.ends_with('Z') && rest.starts_with("INFO potluck"), "{line}");
    }
    assert!(log.contains(&format!("proxy={}", place.proxy)), "{log}");
}
