//! The simulator over real sockets, spoken to by a client that sees every chunk.

mod accounts;
mod client;
mod control;
mod dialects;
mod errors;
mod faults;
mod figures;
mod free_tier;
mod inside;
mod media;
mod money;
mod shapes;

use serde_json::{Value, json};

use client::{Answer, Client};

use super::{Generation, Pico, SimKey, Simulator, SimulatorConfig, SimulatorHandle, Status};
use crate::clock::{Clock, Timestamp};

/// A simulator with one key on five dollars.
async fn simulator() -> (SimulatorHandle, SimKey) {
    let simulator = Simulator::start(SimulatorConfig::default()).await.expect("a free port");
    let key = simulator.funded_key(Pico::usd(5));
    (simulator, key)
}

/// A simulator whose clock stands still at that time until it is set.
async fn simulator_at(time: &str) -> SimulatorHandle {
    let config = SimulatorConfig { clock: Clock::manual(at(time)), ..SimulatorConfig::default() };
    Simulator::start(config).await.expect("a free port")
}

fn at(time: &str) -> Timestamp {
    Timestamp::parse_rfc3339(time).expect("a time")
}

/// Dollars.
fn usd(text: &str) -> Pico {
    Pico::parse_usd(text).expect("an amount")
}

/// The last call, once it is over.
async fn last_call(simulator: &SimulatorHandle) -> Generation {
    loop {
        let generation = simulator.bill().generations.pop().expect("a call");
        if generation.status != Status::Running {
            return generation;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// One chat request; its status and the error's message, if there is one.
async fn ask(simulator: &SimulatorHandle, key: &SimKey, model: &str) -> (u16, String) {
    let answer = post(simulator, "/api/v1/chat/completions", &key.text, &chat(model, false)).await;
    (answer.status, answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned())
}

fn chat(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]})
}

/// One POST on a connection of its own.
async fn post(simulator: &SimulatorHandle, path: &str, key: &str, body: &Value) -> Answer {
    let mut client = Client::connect(simulator.addr()).await;
    client.post(path, key, &[], body).await
}

/// One GET on a connection of its own.
async fn get(simulator: &SimulatorHandle, path: &str, key: &str) -> Answer {
    let mut client = Client::connect(simulator.addr()).await;
    client.request("GET", path, &[("authorization", &format!("Bearer {key}"))], b"").await
}
