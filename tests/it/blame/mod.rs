//! Blame over the wire: what each refusal of OpenRouter does to the key, its account and its client.
//!
//! Keys 0 and 1 are of one account, key 2 is of another, and the first that can serve is taken: so the keys that went up
//! tell whether another key or another account was tried.

mod everyone;
mod hostile;
mod inside;
mod rows;

use potluck::pool::KeyId;
use potluck::simulator::{AccountSettings, KeySettings, Pico};
use serde_json::{Value, json};

use crate::support::{Answer, Ask, House};

/// The first key that can serve is used, unknown costs are looked up at once.
const SETTINGS: &str = "[pool]\nrotation = \"fill_first\"\n\
    [ledger]\nreconcile_schedule_ms = [1, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000]\n";

/// An endpoint and the shape of its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Chat,
    Responses,
    Messages,
}

impl Dialect {
    const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    fn ask(self, model: &str, stream: bool) -> Ask {
        let turns = json!([{"role": "user", "content": "hello"}]);
        let (path, body) = match self {
            Self::Chat => ("chat/completions", json!({"model": model, "stream": stream, "messages": turns})),
            Self::Responses => ("responses", json!({"model": model, "stream": stream, "input": "hello"})),
            Self::Messages => {
                ("messages", json!({"model": model, "stream": stream, "max_tokens": 64, "messages": turns}))
            }
        };
        Ask::post(&format!("/api/v1/{path}"), body.to_string())
    }

    /// The error of an answer, which must be in this dialect.
    fn error(self, answer: &Answer) -> Value {
        assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.everything());
        let body = answer.json();
        let error = body["error"].clone();
        assert!(error["message"].is_string(), "{body}");
        match self {
            // A validator's complaints have an envelope of their own.
            Self::Chat if body["success"] == json!(false) => assert!(error["name"].is_string(), "{body}"),
            Self::Chat => assert!(!error["code"].is_null() && body.get("type").is_none(), "{body}"),
            Self::Responses => assert!(error["code"].is_string() && body.get("metadata").is_some(), "{body}"),
            Self::Messages => assert!(body["type"] == "error" && error["type"].is_string(), "{body}"),
        }
        error
    }
}

/// Two accounts with three keys.
struct Table {
    house: House,
    keys: Vec<KeyId>,
    /// What of the donors must never be seen.
    secrets: Vec<String>,
}

impl Table {
    async fn laid() -> Self {
        let house = House::new(0, SETTINGS).await;
        let mut table = Self { house, keys: Vec::new(), secrets: Vec::new() };
        for keys in [2, 1] {
            let account = table.house.sim.open_account(AccountSettings::with_balance(Pico::usd(10)));
            table.secrets.extend(table.house.sim.user_id(account));
            for _ in 0..keys {
                let key = table.house.sim.make_key(account, KeySettings::default());
                table.keys.push(table.house.donate_key(&key).await);
                table.secrets.push(key.text);
            }
        }
        table.secrets.extend(["openrouter.ai/workspaces", "limit_usd"].map(str::to_owned));
        table.house.settled_in().await;
        table
    }

    /// Nothing is held against anybody, nothing is ordered, and free questions get no answer.
    async fn cleared(&self) {
        self.house.sim.clear_scripts();
        self.house.silence_probes();
        for key in &self.keys {
            self.house.say(*key, potluck::pool::Health::Healthy).await;
        }
        self.house.forget_log();
    }

    /// The answer to a request, which tells nothing of a donor.
    async fn ask(&self, ask: &Ask, what: &str) -> Answer {
        let answer = self.house.ask(ask).await;
        let seen = answer.everything();
        for secret in &self.secrets {
            assert!(!seen.contains(secret), "{what}: {secret} in {seen}");
        }
        answer
    }

    /// The keys that a request goes up with, and its answer.
    async fn goes(&self, ask: &Ask, what: &str) -> (Vec<usize>, Answer) {
        self.house.forget_log();
        let answer = self.ask(ask, what).await;
        (self.house.used(), answer)
    }
}
