//! What is scraped is legal, complete, and bounded.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::labels::endpoint_name;
use super::*;
use crate::clock::Timestamp;
use crate::money::{Cost, Entry, RequestId, Usd};

fn entry(key: KeyId, cost: Cost) -> Entry {
    Entry {
        at: Timestamp::from_secs(0),
        request: RequestId(uuid::Uuid::nil()),
        attempt: 1,
        key,
        account: None,
        client: None,
        endpoint: Endpoint::ChatCompletions,
        model: Some("vendor/model".into()),
        generation: None,
        tokens: Tokens { prompt: Some(10), completion: Some(4), cached: None, reasoning: Some(3) },
        cost,
        held: None,
        byok: None,
        outcome: Outcome::Answered,
        status: Some(200),
        duration_ms: 12,
    }
}

/// Metrics in which every family has a series.
fn busy() -> Metrics {
    let metrics = Metrics::new();
    metrics.remember(KeyId(1));
    metrics.attempt(&entry(KeyId(1), Cost::Known(Usd::from_pico(2_672_000_000))), None);
    metrics.attempt(&entry(KeyId(1), Cost::Unknown), None);
    metrics.settled(KeyId(1), Usd::from_pico(1_000_000_000));
    metrics.request_done(None, RequestOutcome::Refused, Some(404), Duration::from_millis(1));
    metrics.failover("account_empty");
    metrics.alarm("edge_block");
    metrics.time_to_first_byte(Duration::from_millis(350));
    metrics.added_latency(Duration::from_micros(120));
    metrics.connection_refused();
    let snapshot =
        Snapshot { keys: [3, 1, 0, 0, 0], suspense_oldest_seconds: 1.5, store_errors: 1, ..Snapshot::default() };
    metrics.refresh(&snapshot);
    metrics.refresh(&snapshot);
    metrics
}

fn text(metrics: &Metrics) -> String {
    metrics.encode().expect("metrics encode")
}

/// The value of one series, `name{labels}`.
fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    text(metrics).lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn enums_index_their_rows() {
    let check = |indices: Vec<usize>| assert_eq!(indices, (0..indices.len()).collect::<Vec<_>>());
    check(Endpoint::ALL.map(|e| e as usize).to_vec());
    check(Outcome::ALL.map(|o| o as usize).to_vec());
    check(RequestOutcome::ALL.map(|o| o as usize).to_vec());
    check(StatusClass::ALL.map(|c| c as usize).to_vec());
    check(TokenKind::ALL.map(|k| k as usize).to_vec());
    check(Reason::ALL.map(|r| r as usize).to_vec());
}

#[test]
fn every_metric_has_help_type_and_a_legal_name_once() {
    let text = text(&busy());
    let (mut help, mut kinds, mut series) = (HashSet::new(), HashMap::new(), HashSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').expect("a help text");
            assert!(help.insert(name), "{name} is described twice");
            assert!(words.ends_with('.') && words.len() > 10, "{name} is hardly described: {words}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(kinds.insert(name, kind).is_none(), "{name} is typed twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(
                name.starts_with("potluck_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
        } else {
            let (name, _) = line.rsplit_once(' ').expect("a sample");
            assert!(series.insert(name), "{name} stands twice");
        }
    }
    assert_eq!(help, kinds.keys().copied().collect(), "help and type for each");
    for name in kinds.keys() {
        assert!(series.iter().any(|s| s.starts_with(name)), "{name} has no series");
    }
}

#[test]
fn promtool_has_no_complaint() {
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("SKIPPED: promtool is not on PATH (Debian package `prometheus`); metric names were not linted");
        return;
    };
    let mut input = promtool.stdin.take().expect("a pipe");
    input.write_all(text(&busy()).as_bytes()).expect("promtool reads");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "promtool: {said}");
}

#[test]
fn attempts_count_their_money_and_tokens() {
    let metrics = busy();
    let check = |series: &str, expected: f64| assert_eq!(value(&metrics, series), Some(expected), "{series}");
    check(r#"potluck_attempts_total{outcome="answered",reason="none"}"#, 2.0);
    check(r#"potluck_attempts_total{outcome="client_gone",reason="none"}"#, 0.0);
    check(r#"potluck_cost_usd_total{key="k1"}"#, 0.003672);
    check(r#"potluck_unknown_cost_total{key="k1"}"#, 1.0);
    check("potluck_suspense_settled_total", 1.0);
    check(r#"potluck_tokens_total{kind="prompt"}"#, 20.0);
    check(r#"potluck_tokens_total{kind="cached"}"#, 0.0);
    check(r#"potluck_keys{state="healthy"}"#, 3.0);
    check(r#"potluck_keys{state="depleted"}"#, 1.0);
    check("potluck_suspense_oldest_seconds", 1.5);
    check(r#"potluck_requests_total{endpoint="other",outcome="refused",status_class="4xx"}"#, 1.0);
    check("potluck_added_latency_seconds_count", 1.0);
}

#[test]
fn every_cell_of_the_request_grid_counts_its_own_labels() {
    let metrics = Metrics::new();
    let statuses = [None, Some(101), Some(200), Some(302), Some(402), Some(503)];
    for endpoint in Endpoint::ALL.into_iter().map(Some).chain([None]) {
        for outcome in RequestOutcome::ALL {
            for status in statuses {
                metrics.request_done(endpoint, outcome, status, Duration::from_millis(1));
                let (name, class) = (endpoint_name(endpoint), StatusClass::of(status).name());
                let labels = [name, outcome.name(), class];
                assert_eq!(metrics.requests.family.with_label_values(&labels).get(), 1, "{labels:?}");
            }
        }
    }
}

#[test]
fn attempts_are_counted_by_their_reason() {
    let metrics = Metrics::new();
    metrics.remember(KeyId(1));
    for outcome in Outcome::ALL {
        for reason in Reason::ALL.into_iter().map(Some).chain([None]) {
            metrics.attempt(&Entry { outcome, ..entry(KeyId(1), Cost::Known(Usd::ZERO)) }, reason);
            let labels = [outcome.name(), reason.map_or("none", Reason::name)];
            assert_eq!(metrics.attempts.family.with_label_values(&labels).get(), 1, "{labels:?}");
        }
    }
    let series = text(&metrics).lines().filter(|line| line.starts_with("potluck_attempts_total{")).count();
    assert_eq!(series, Outcome::ALL.len() * (Reason::ALL.len() + 1), "bounded");
}

#[test]
fn a_removed_key_leaves_no_series_not_even_late() {
    let metrics = Metrics::new();
    for id in 1..=10_000 {
        metrics.remember(KeyId(id));
        metrics.attempt(&entry(KeyId(id), Cost::Known(Usd::from_pico(1))), None);
        metrics.attempt(&entry(KeyId(id), Cost::Unknown), None);
        metrics.forget(KeyId(id));
        metrics.settled(KeyId(id), Usd::from_pico(5));
    }
    assert!(!text(&metrics).contains("key="));
    assert!(!text(&metrics).contains("vendor/model"), "what a client writes becomes no label");
}

#[test]
fn two_potlucks_do_not_share_a_count() {
    let (one, other) = (busy(), Metrics::new());
    assert_eq!(value(&one, "potluck_store_errors_total"), Some(1.0));
    assert_eq!(value(&other, "potluck_store_errors_total"), Some(0.0));
}
