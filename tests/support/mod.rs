//! The real binary on ports and data of its own, in front of a simulator in the test's process.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

#[allow(clippy::wrong_self_convention, reason = "shared with tests/it")]
#[path = "../it/support/address.rs"]
mod address;
#[path = "../it/support/client.rs"]
mod client;
mod process;

pub use address::free_address;
pub use client::{Answer, Ask, Cut, Reading, Wire};
pub use process::{Place, Running, nothing_happens, output, with_patience};

use potluck::simulator::{Pico, SimKey, Simulator, SimulatorConfig, SimulatorHandle};

/// A cheap model of the simulator's catalogue.
pub const MODEL: &str = "openai/gpt-4o-mini";
/// Where chat completions are asked for.
pub const CHAT: &str = "/api/v1/chat/completions";

/// A simulator whose `/generation` knows a call soon after its end, and some keys with $10 each.
pub async fn simulator(keys: usize) -> (SimulatorHandle, Vec<SimKey>) {
    let config = SimulatorConfig { generation_delay: std::time::Duration::ZERO, ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.expect("the simulator starts");
    let keys = (0..keys).map(|_| simulator.funded_key(Pico::usd(10))).collect();
    (simulator, keys)
}

/// A chat request body.
pub fn chat(model: &str) -> String {
    serde_json::json!({"model": model, "messages": [{"role": "user", "content": "hello"}]}).to_string()
}

/// A streamed chat request body.
pub fn chat_stream(model: &str) -> String {
    serde_json::json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "hello"}]}).to_string()
}
