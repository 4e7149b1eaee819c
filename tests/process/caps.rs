//! A donor's cap under a crowd, under clients that leave, and on a disk that fails.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use potluck::clock::{Clock, Timestamp};
use potluck::simulator::{Pico, Play, Script, SimKey, Simulator, SimulatorConfig, SimulatorHandle};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Ask, CHAT, Place, Running, simulator, with_patience};

const MODEL: &str = "sim/echo";

fn body(max_tokens: u64, stream: bool) -> String {
    json!({"model": MODEL, "max_tokens": max_tokens, "stream": stream, "messages": [{"role": "user", "content": "hello"}]})
        .to_string()
}

/// Let the donor of key `k1` allow so many dollars in all.
async fn cap(place: &Place, dollars: &str) {
    let change = format!(r#"{{"limits":{{"caps":{{"total":{dollars}}}}}}}"#);
    let ask = Ask::new("PATCH", "/keys/openrouter/k1").header("content-type", "application/json").body(change);
    let answer = ask.send(place.admin).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// One key, one potluck, a cap on it.
async fn capped(dollars: &str, settings: &str) -> (SimulatorHandle, SimKey, Place, Running) {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, settings).keys(&keys);
    let running = place.start().await;
    cap(&place, dollars).await;
    // Prices come from the upstream, a moment after the start.
    with_patience("prices are known", async || {
        let answer = Ask::post(CHAT, body(1, false)).send(place.proxy).await;
        (answer.status == 200).then_some(())
    })
    .await;
    // An answer is booked a moment after its client has it.
    place.status_when("it is booked", |status| status["inFlight"] == 0 && status["held"] == "$0.0000").await;
    let key = keys.into_iter().next().expect("a key");
    (simulator, key, place, running)
}

fn billed(simulator: &SimulatorHandle, key: &SimKey) -> i128 {
    simulator.bill().keys.iter().find(|line| line.index == key.index).map_or(0, |line| line.cost.0)
}

/// 1,000 requests at once where the cap fits about ten at their worst, and the upstream bills each at its worst.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_a_cap_for_ten_do_not_pass_it() {
    let (simulator, key, place, running) = capped("0.004", "").await;
    simulator.script(Script::always(Play { greedy: Some(true), gap_ms: Some(5), ..Play::default() }));
    let mut crowd = JoinSet::new();
    for _ in 0..1000 {
        let ask = Ask::post(CHAT, body(1_000, true));
        let proxy = place.proxy;
        crowd.spawn(async move { ask.send(proxy).await.status });
    }
    let (mut served, mut refused) = (0, 0);
    while let Some(status) = crowd.join_next().await {
        match status.expect("an answer") {
            200 => served += 1,
            402 | 503 => refused += 1,
            other => panic!("{other}"),
        }
        assert!(billed(&simulator, &key) <= 4_000_000_000, "never beyond the cap, at any event");
    }
    assert!((5..=20).contains(&served) && served + refused == 1000, "{served} served");
    let status = place.status().await;
    let key_status = &status["keys"][0];
    assert_eq!(key_status["held"], "$0.0000", "{key_status:#}");
    simulator.clear_scripts();
    place.assert_books_balance(&simulator).await;
    running.stop().await;
}

/// Clients that leave after each chunk of a stream: the hold stays until the cost is found, and not a moment longer.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_after_any_chunk_leave_no_hold_behind() {
    let (simulator, _key, place, running) =
        capped("1", "[ledger]\nreconcile_schedule_ms = [50, 100, 200, 400, 800]\n").await;
    let whole = Ask::post(CHAT, body(12, true)).open(place.proxy).await.rest().await;
    let chunks = whole.text().matches("data:").count();
    assert!(chunks > 5);
    for leave_after in 0..=chunks {
        let mut reading = Ask::post(CHAT, body(12, true)).open(place.proxy).await;
        for _ in 0..leave_after {
            if !matches!(reading.chunk().await, Some(Ok(_))) {
                break;
            }
        }
    }
    let free = |status: &Value| status["keys"][0]["held"] == "$0.0000" && status["suspense"]["entries"] == 0;
    place.status_when("nothing is held any more", free).await;
    place.assert_books_balance(&simulator).await;
    running.stop().await;
}

/// What a donor sees when the cap is reached, and what a client is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_dear_is_told_how_much_is_left() {
    let (_simulator, _key, place, running) = capped("0.001", "").await;
    let answer = Ask::post(CHAT, body(100_000, false)).send(place.proxy).await;
    assert_eq!(answer.status, 402, "{}", answer.text());
    let error = answer.json()["error"].clone();
    assert_eq!(error["code"], 402);
    let affordable = error["metadata"]["affordable_tokens"].as_u64().expect("a number of tokens");
    let message = error["message"].as_str().expect("words");
    assert!(message.contains(&format!("can only afford {affordable}.")), "{message}");
    let answer = Ask::post(CHAT, body(affordable, false)).send(place.proxy).await;
    assert_eq!(answer.status, 200, "what it says it affords is affordable: {}", answer.text());
    running.stop().await;
}

/// A request whose cost nobody can bound is refused on a capped key with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_bound_is_refused_with_the_reason() {
    let (simulator, _key, place, running) = capped("1", "").await;
    let posts = || simulator.log().into_iter().filter(|entry| entry.method == "POST").count();
    let before = posts();
    let ask = json!({"model": "nobody/knows-this", "messages": [{"role": "user", "content": "hello"}]}).to_string();
    let answer = Ask::post(CHAT, ask).send(place.proxy).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], "cost_unbounded", "{}", answer.text());
    assert_eq!(posts(), before, "nothing was sent");
    running.stop().await;
}

fn strace() -> bool {
    Path::new("/usr/bin/strace").exists()
}

/// The binary with one system call made to fail from its nth time on, on the database's own files.
fn failing(place: &Place, inject: &str) -> Running {
    let potluck = place.command(&["run", "-c", "potluck.toml"]);
    let mut command = Command::new("/usr/bin/strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync,pwrite64", "-e", inject]);
    command.arg(potluck.get_program()).args(potluck.get_args()).current_dir(place.folder()).env_clear();
    command.envs(potluck.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Running::spawn(place, command)
}

/// Kill what strace watches; strace ends with it.
fn kill_traced(strace: &Running) {
    let pid = strace.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("a process");
    for child in children.split_whitespace() {
        Command::new("kill").args(["-9", child]).status().expect("killed");
    }
}

/// A sync that fails: nothing more is spent, what was spent is booked when the disk is well again, no cap is passed.
async fn a_disk_that_fails(inject: &str) {
    if !strace() {
        return;
    }
    let settings = "[upstream]\nfirst_byte_timeout_ms = 3000\ntotal_timeout_ms = 3000\n\
                    [ledger]\nusage_settle_after_ms = 500\n";
    let (simulator, key, place, running) = capped("0.01", settings).await;
    // What a process loses on a key whose usage was never compared is estimated at last, and not found.
    place.status_when("its usage is compared", |status| !status["keys"][0]["lastCheckedAt"].is_null()).await;
    running.stop().await;
    let mut running = failing(&place, inject);
    running.serving().await;
    let mut refused = 0;
    for _ in 0..60 {
        let answer = Ask::post(CHAT, body(100, false)).send(place.proxy).await;
        assert!(matches!(answer.status, 200 | 402 | 503), "{}", answer.text());
        refused += usize::from(answer.status != 200);
        assert!(billed(&simulator, &key) <= 10_000_000_000);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(refused > 0, "what cannot be booked is not served");
    kill_traced(&running);
    running.end().await;
    let running = place.start().await;
    place.books_come_out(&simulator, "everything is accounted for").await;
    place.assert_books_balance(&simulator).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_stops_the_spending_and_loses_nothing() {
    a_disk_that_fails("inject=fdatasync,fsync:error=EIO:when=20+").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_spending_and_loses_nothing() {
    a_disk_that_fails("inject=pwrite64:error=ENOSPC:when=200+").await;
}

/// F16: this machine's clock is a day ahead of the upstream's. Its day is not begun, so its caps are not open.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_the_upstream_has_not_come_to_is_not_begun() {
    let upstream = Clock::system().now().before(Duration::from_secs(24 * 60 * 60));
    let config = SimulatorConfig { clock: Clock::manual(upstream), ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.expect("the simulator starts");
    let place = Place::new(&simulator, "").keys(&[simulator.funded_key(Pico::usd(10))]);
    let running = place.start().await;
    cap(&place, "0.01").await;
    assert_eq!(Ask::post(CHAT, body(1, false)).send(place.proxy).await.status, 200);
    place.status_when("it is booked", |status| status["inFlight"] == 0 && status["held"] == "$0.0000").await;
    let entry = place.admin("/ledger").await["entries"][0].clone();
    let at = Timestamp::parse_rfc3339(entry["at"].as_str().expect("a time")).expect("a time");
    assert_eq!(at.day(), upstream.day(), "{entry}");
    let metrics = Ask::get("/metrics").send(place.admin).await.text();
    let alarms = metrics.lines().find(|line| line.starts_with(r#"potluck_alarms_total{reason="clock_skewed"}"#));
    assert!(alarms.is_some_and(|line| !line.ends_with(" 0")), "{alarms:?}");
    running.stop().await;
}

/// Whether a disk can be made here, so small that it runs full.
fn small_disk() -> bool {
    let mounted = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    let possible = mounted.is_ok_and(|mounted| mounted.status.success());
    if !possible {
        eprintln!("not tried: no file system can be mounted here");
    }
    possible
}

/// potluck on a disk of 16 MiB, which is filled when a file `full` appears and has room again with a file `room`.
fn on_small_disk(place: &Place) -> Running {
    const SCRIPT: &str = r#"mount -t tmpfs -o size=16m,mode=0700 tmpfs "$POTLUCK_DATA_DIR" && {
        (until [ -e full ]; do sleep 0.02; done; cat /dev/zero > "$POTLUCK_DATA_DIR/fill"; : > filled
         until [ -e room ]; do sleep 0.02; done; rm "$POTLUCK_DATA_DIR/fill") 2> /dev/null &
        exec "$0" run -c potluck.toml; }"#;
    std::fs::create_dir_all(place.data()).expect("made");
    let potluck = place.command(&[]);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", SCRIPT]).arg(potluck.get_program()).env_clear().env("PATH", "/usr/bin:/bin");
    command.current_dir(place.folder());
    command.envs(potluck.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Running::spawn(place, command)
}

/// F6: a disk that is full takes what was under way, in the space that was kept for it, and nothing new is let in.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_what_is_under_way() {
    if !small_disk() {
        return;
    }
    let (simulator, keys) = simulator(2).await;
    let place = Place::new(&simulator, "[store]\nreserve_bytes = 4194304\n").keys(&keys);
    let mut running = on_small_disk(&place);
    running.serving().await;
    simulator.script(Script::always(Play { output_tokens: Some(40), gap_ms: Some(100), ..Play::default() }));
    let mut under_way = Vec::new();
    for _ in 0..5 {
        let mut reading = Ask::post(CHAT, body(100, true)).open(place.proxy).await;
        assert_eq!(reading.status, 200);
        reading.chunk().await.expect("a chunk").expect("a chunk");
        under_way.push(reading);
    }
    simulator.clear_scripts();
    std::fs::write(place.folder().join("full"), "").expect("written");
    with_patience("the disk is full", async || place.folder().join("filled").exists().then_some(())).await;
    with_patience("nothing new is let in", async || {
        (Ask::post(CHAT, body(1, false)).send(place.proxy).await.status == 503).then_some(())
    })
    .await;
    for mut reading in under_way {
        while let Some(chunk) = reading.chunk().await {
            chunk.expect("the stream is whole");
        }
    }
    with_patience("what was under way is booked", async || {
        let ledger = place.admin("/ledger?limit=1000").await;
        let entries = ledger["entries"].as_array().expect("entries");
        let streams = entries.iter().filter(|entry| entry["tokens"]["completion"] == 40);
        (streams.count() == 5).then_some(())
    })
    .await;
    assert_eq!(Ask::post(CHAT, body(1, false)).send(place.proxy).await.status, 503);
    std::fs::write(place.folder().join("room"), "").expect("written");
    with_patience("there is room again", async || {
        (Ask::post(CHAT, body(1, false)).send(place.proxy).await.status == 200).then_some(())
    })
    .await;
    place.books_come_out(&simulator, "everything is accounted for").await;
    place.assert_books_balance(&simulator).await;
    running.stop().await;
}
