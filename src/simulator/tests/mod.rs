//! The simulator over real sockets, spoken to by a client that sees every chunk.

mod accounts;
mod client;
mod control;
mod dialects;
mod errors;
mod faults;
mod money;

use serde_json::{Value, json};

use client::{Answer, Client};

use super::{Pico, SimKey, Simulator, SimulatorConfig, SimulatorHandle};

/// A simulator with one key on five dollars.
async fn simulator() -> (SimulatorHandle, SimKey) {
    let simulator = Simulator::start(SimulatorConfig::default()).await.expect("a free port");
    let key = simulator.funded_key(Pico::usd(5));
    (simulator, key)
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
