//! `/metrics` after traffic of every kind: what Prometheus' own checker says, and what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use potluck::simulator::Pico;

use super::{OFFER, call};
use crate::support::{Ask, House, MODEL, chat, chat_stream};

const CHAT: &str = "/api/v1/chat/completions";

/// Series by family: each a label text as it stands, and a value.
type Families = BTreeMap<String, BTreeMap<String, f64>>;

async fn scrape(house: &House) -> String {
    let answer = Ask::get("/metrics").send(house.admin).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text()
}

fn families(text: &str) -> Families {
    let mut families = Families::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let labels = labels.trim_end_matches('}').to_owned();
        assert!(families.entry(name.to_owned()).or_default().insert(labels, value).is_none(), "twice: {line}");
    }
    families
}

/// What `promtool check metrics` finds fault with.
fn promtool(text: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is missing: tests/run installs it (Debian: prometheus)");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() || !said.is_empty(), "it says what is wrong");
    String::from_utf8(said).expect("text")
}

/// Requests that make every family move.
async fn traffic(house: &House) {
    for body in [chat(MODEL), chat_stream(MODEL)] {
        assert_eq!(house.ask(&Ask::post(CHAT, body)).await.status, 200);
    }
    let donor = house.sim.bill().accounts.len() - 2;
    house.sim.edit_account(donor, |account| account.credits_usd = Pico::ZERO);
    assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200, "failed over");
    house.ask(&Ask::post(CHAT, chat("sim/error-500"))).await;
    house.ask(&Ask::post(CHAT, chat("no-such/model"))).await;
    house.ask(&Ask::post(CHAT, "{")).await;
    house.ask(&Ask::get("/api/v1/models")).await;
    house.ask(&Ask::get("/api/v1/files")).await;
    let mut stream = Ask::post(CHAT, chat_stream("sim/fixture-8")).open(house.proxy).await;
    stream.chunk().await.expect("not at its end").expect("a chunk");
    drop(stream);
    house.until("the hang-up is noticed", |o| o.suspense.open == 1 && o.in_flight == 0).await;
}

#[tokio::test]
async fn every_family_is_there_clean_and_true() {
    let house = House::new(4, "[ledger]\nreconcile_schedule_ms = [60000, 120000, 240000]\n").await;
    traffic(&house).await;
    let text = scrape(&house).await;
    assert_eq!(promtool(&text), "", "promtool finds nothing");
    assert_ne!(promtool("# TYPE bad_counter counter\nbad_counter 1\n"), "", "and it does find what is there");
    let seen = families(&text);
    let sum = |name: &str| seen.get(name).unwrap_or_else(|| panic!("{name} is missing: {text}")).values().sum::<f64>();
    let of = |name: &str, labels: &str| seen.get(name).and_then(|series| series.get(labels)).copied();

    assert_eq!(sum("potluck_keys"), 4.0);
    assert_eq!(of("potluck_keys", r#"state="depleted""#), Some(1.0));
    let answered = r#"endpoint="chat_completions",outcome="answered",status_class="2xx""#;
    assert_eq!(of("potluck_requests_total", answered), Some(3.0));
    assert_eq!(sum("potluck_requests_total"), 9.0, "{text}");
    assert_eq!(of("potluck_attempts_total", r#"outcome="client_gone",reason="none""#), Some(1.0));
    assert_eq!(of("potluck_attempts_total", r#"outcome="key_refused",reason="account_empty""#), Some(1.0));
    assert_eq!(of("potluck_attempts_total", r#"outcome="refused",reason="server_error""#), Some(1.0));
    assert!(sum("potluck_attempts_total") >= 6.0, "{text}");
    assert!(sum("potluck_failovers_total") >= 1.0, "{text}");
    assert_eq!(sum("potluck_unknown_cost_total"), 1.0);
    assert_eq!((sum("potluck_suspense_entries"), sum("potluck_suspense_settled_total")), (1.0, 0.0));
    assert!(sum("potluck_suspense_oldest_seconds") >= 0.0);
    assert!(of("potluck_tokens_total", r#"kind="prompt""#).is_some_and(|tokens| tokens > 0.0));
    assert!(of("potluck_tokens_total", r#"kind="completion""#).is_some_and(|tokens| tokens > 0.0));
    assert!(sum("potluck_time_to_first_byte_seconds_count") >= 4.0);
    assert!(sum("potluck_added_latency_seconds_count") >= 5.0);
    assert!(seen["potluck_added_latency_seconds_bucket"].len() > 5);
    assert_eq!(sum("potluck_requests_in_flight"), 0.0);
    assert_eq!(sum("potluck_store_errors_total"), 0.0);
    assert_eq!(of("potluck_build_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))), Some(1.0));

    // The graph's cost is the ledger's, as far as a float goes; and it follows when a cost is found later.
    let same = |spent: f64, overview: &potluck::pot::Overview| {
        let ledger = overview.spent_total.as_pico() as f64 / 1e12;
        assert!((spent - ledger).abs() < 1e-9 && ledger > 0.0, "{spent} {ledger}");
    };
    same(sum("potluck_cost_usd_total"), &house.overview().await);
    house.pass(Duration::from_secs(60));
    house.assert_books_balance().await;
    let settled = families(&scrape(&house).await);
    assert_eq!(settled["potluck_suspense_settled_total"].values().sum::<f64>(), 1.0);
    assert_eq!(settled["potluck_suspense_entries"].values().sum::<f64>(), 0.0);
    same(settled["potluck_cost_usd_total"].values().sum(), &house.overview().await);
}

#[tokio::test]
async fn label_sets_are_bounded_and_hold_nothing_from_outside() {
    let house = House::new(4, "").await;
    traffic(&house).await;
    let series = |text: &str| -> BTreeSet<(String, String)> {
        let families = families(text).into_iter();
        families.flat_map(|(name, series)| series.into_keys().map(move |labels| (name.clone(), labels))).collect()
    };
    let before = series(&scrape(&house).await);
    for n in 0..30 {
        house.ask(&Ask::post(CHAT, chat(&format!("no-such/model-{n}")))).await;
        house.ask(&Ask::get(&format!("/no/such/path/{n}"))).await;
        let ask = Ask::post(CHAT, "{").header("user-agent", &format!("agent-{n}"));
        house.ask(&ask.header("x-session-id", &format!("session-{n}"))).await;
    }
    let text = scrape(&house).await;
    assert_eq!(series(&text), before, "no series for what clients send");
    for (name, labels) in &before {
        for label in labels.split("\",").filter(|label| label.starts_with("key=")) {
            let id = label.trim_start_matches("key=\"").trim_end_matches('"');
            assert!(id.strip_prefix('k').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())), "{name} {labels}");
        }
    }
    for line in house.sim.bill().keys {
        assert!(!text.contains(&line.name[9..17]), "no part of a key");
    }

    // A key that leaves takes its series with it.
    assert!(text.contains(r#"key="k1""#), "{text}");
    assert_eq!(call(&house, "DELETE", OFFER, r#"{"id":"k1"}"#).await.status, 200);
    assert!(!scrape(&house).await.contains(r#"key="k1""#));
}

#[tokio::test]
async fn a_store_that_fails_shows() {
    let house = House::new(1, "").await;
    let broken = rusqlite::Connection::open(house.data_dir().join("potluck.db")).expect("opened");
    broken.execute_batch("DROP TABLE key_totals").expect("broken");
    assert_eq!(Ask::get("/status").send(house.admin).await.status, 503);
    let seen = families(&scrape(&house).await);
    assert!(seen["potluck_store_errors_total"].values().sum::<f64>() >= 1.0);
}
