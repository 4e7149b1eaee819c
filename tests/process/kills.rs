//! kill -9 under load, again and again: every process that dies leaves books that come out equal to the bill.
//!
//! 200 kills are part of every run; `POTLUCK_KILLS=10000 cargo test --test process kills` is the long one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use potluck::simulator::{Pico, SimKey, SimulatorHandle};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{Ask, CHAT, Place, simulator};

/// Clients at work when the process dies.
const CLIENTS: usize = 6;
/// Places that are killed side by side.
const PLACES: usize = 8;
/// The donor of the second key allows so much, in pico-dollars.
const CAP: i128 = 400_000_000;
/// A client may spend so much between two kills, in pico-dollars.
const BUDGET: i128 = 600_000_000;

/// Unknown costs are settled by a key's usage as soon as that makes sense: the simulator books at once.
const SETTINGS: &str = "[upstream]\nfirst_byte_timeout_ms = 1500\ntotal_timeout_ms = 1500\n\
                        [ledger]\nreconcile_schedule_ms = [50, 200, 400]\nusage_settle_after_ms = 500\n";

fn kills() -> usize {
    std::env::var("POTLUCK_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

/// SplitMix64, so that a place's kills can be repeated.
fn dice(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let a = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn request(roll: u64) -> (String, usize) {
    let model =
        ["sim/echo", "sim/play?gap_ms=10", "sim/play?delay_head_ms=120", "sim/play?gap_ms=3&stops_on_cancel=false"];
    let model = model[roll as usize % model.len()];
    let body = json!({"model": model, "max_tokens": 40, "stream": roll & 16 != 0,
        "messages": [{"role": "user", "content": format!("dish {roll}")}]});
    // Some clients leave early.
    (body.to_string(), if roll & 96 == 0 { (roll % 5) as usize } else { usize::MAX })
}

/// Ask on and on until told to stop, as a client or as anybody. What becomes of a request whose proxy dies does not matter
/// here.
async fn eat(proxy: SocketAddr, client: Option<Arc<str>>, mut seed: u64, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let (body, leave_after) = request(dice(&mut seed));
        // A proxy that died in the middle is not waited for.
        let asked = one(proxy, client.as_deref(), &body, leave_after);
        drop(tokio::time::timeout(Duration::from_secs(2), asked).await);
    }
}

/// One request on a connection of its own; its client leaves after so many reads.
async fn one(proxy: SocketAddr, client: Option<&str>, body: &str, leave_after: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(proxy).await?;
    let key = client.map_or_else(String::new, |key| format!("x-api-key: {key}\r\n"));
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n{key}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut part = vec![0; 64 * 1024];
    for _ in 0..leave_after {
        if stream.read(&mut part).await? == 0 {
            break;
        }
    }
    Ok(())
}

async fn limit(place: &Place) {
    let change = json!({"limits": {"caps": {"total": 0.0004}}}).to_string();
    let ask = Ask::new("PATCH", "/keys/openrouter/k2").header("content-type", "application/json").body(change);
    let answer = ask.send(place.admin).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A client that all eat as in this place, with the budget it has.
struct Guest {
    key: Arc<str>,
    budget: i128,
}

impl Guest {
    async fn new(place: &Place) -> Self {
        let ask = Ask::new("POST", "/clients").body(r#"{"name":"guest","budgets":{"total":0.000001}}"#);
        let answer = ask.header("content-type", "application/json").send(place.admin).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Self { key: answer.json()["key"].as_str().expect("a key").into(), budget: 0 }
    }

    /// A little more than what was spent for it so far.
    async fn allow(&mut self, place: &Place, simulator: &SimulatorHandle) {
        self.budget = billed(simulator) + BUDGET;
        let (dollars, pico) = (self.budget / 1_000_000_000_000, self.budget % 1_000_000_000_000);
        let change = format!(r#"{{"budgets":{{"total":{dollars}.{pico:012}}}}}"#);
        let ask = Ask::new("PATCH", "/clients/c1").header("content-type", "application/json").body(change);
        let answer = ask.send(place.admin).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Whatever it was that died, no more was spent than the budget, and nothing of it stays out of reach.
    async fn kept_within(&self, place: &Place, simulator: &SimulatorHandle, number: usize) {
        let billed = billed(simulator);
        assert!(billed <= self.budget, "kill {number}: {billed} of {} pico-dollars", self.budget);
        let client = Ask::get("/clients/c1").send(place.admin).await.json();
        assert_eq!((&client["held"], &client["suspenseMost"]), (&"$0.0000".into(), &"$0.0000".into()), "{client:#}");
    }
}

fn billed(simulator: &SimulatorHandle) -> i128 {
    simulator.bill().keys.iter().map(|line| line.cost.0).sum()
}

/// Kill the process of one place so many times; after each death the books must come out.
async fn kill_again_and_again(kills: usize, mut seed: u64, as_client: bool) {
    let (simulator, keys) = simulator(3).await;
    simulator.edit_key(keys[2].index, |key| key.limit_usd = Some(Pico::usd(5)));
    // Most models here have no listed price: on behalf of a client they count as so much.
    let settings = if as_client { format!("{SETTINGS}default_bound_usd = \"0.00005\"\n") } else { SETTINGS.to_owned() };
    let place = Place::new(&simulator, &settings).keys(&keys);
    let first = place.start().await;
    limit(&place).await;
    // What was spent before a key came into the pool is known from its first free question on.
    let compared = |status: &Value| {
        let keys = status["keys"].as_array().expect("keys");
        keys.iter().all(|key| key["lastCheckedAt"].is_string())
    };
    place.status_when("every key's usage was looked at", compared).await;
    let mut guest = if as_client { Some(Guest::new(&place).await) } else { None };
    first.stop().await;
    for number in 0..kills {
        let mut running = place.start().await;
        if let Some(guest) = &mut guest {
            guest.allow(&place, &simulator).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut eaters = JoinSet::new();
        for _ in 0..CLIENTS {
            let client = guest.as_ref().map(|guest| Arc::clone(&guest.key));
            eaters.spawn(eat(place.proxy, client, dice(&mut seed), Arc::clone(&stop)));
        }
        tokio::time::sleep(Duration::from_millis(dice(&mut seed) % 350)).await;
        running.signal(Signal::KILL);
        assert_eq!(running.end().await, -9);
        stop.store(true, Ordering::Relaxed);
        while eaters.join_next().await.is_some() {}
        let running = place.start().await;
        recovered(&place, &simulator, &keys, number).await;
        if let Some(guest) = &guest {
            guest.kept_within(&place, &simulator, number).await;
        }
        running.stop().await;
    }
}

/// Nothing is in suspense, and ledger and bill are equal, key by key.
async fn recovered(place: &Place, simulator: &SimulatorHandle, keys: &[SimKey], number: usize) {
    place.books_come_out(simulator, &format!("kill {number} is accounted for")).await;
    place.assert_books_balance(simulator).await;
    let bill = simulator.bill();
    let billed = bill.keys.iter().find(|line| line.index == keys[1].index).map_or(0, |line| line.cost.0);
    assert!(billed <= CAP, "kill {number}: {billed} of {CAP} pico-dollars");
}

#[test]
fn two_hundred_kills_lose_no_cent_and_pass_no_cap_and_no_budget() {
    let each = kills().div_ceil(PLACES);
    let places = (0..PLACES).map(|place| {
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
            runtime.block_on(kill_again_and_again(each, 0x1000 + place as u64, place % 2 == 1));
        })
    });
    for place in places.collect::<Vec<_>>() {
        place.join().expect("every kill was recovered from");
    }
}
