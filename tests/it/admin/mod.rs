//! The admin API over the wire: its contract (design section 1), what it refuses, its specification, its metrics.

mod contract;
mod donations;
mod ledger;
mod limits;
mod metrics;
mod refusals;
mod schema;
mod specified;

use serde_json::Value;

use crate::support::{Answer, Ask, House};

const OFFER: &str = "/keys/openrouter";
const HEALTH: &str = "/health/openrouter";
const SETTLE: &str = "/ledger/settle";

/// A call with a JSON body.
async fn call(house: &House, method: &'static str, path: &str, body: &str) -> Answer {
    let ask = Ask::new(method, path).header("content-type", "application/json").body(body);
    ask.send(house.admin).await
}

async fn get(house: &House, path: &str) -> Value {
    let answer = Ask::get(path).send(house.admin).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// `GET /status`, its one member.
async fn status(house: &House) -> Value {
    get(house, "/status").await["openrouter"].take()
}

/// What is shown of a key.
fn mask(key: &str) -> String {
    format!("sk-or-v1-…{}", &key[key.len() - 4..])
}

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no code: {}", answer.text())).to_owned()
}
