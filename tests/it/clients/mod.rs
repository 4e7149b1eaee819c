//! Client keys and tokens over real sockets: what they open, what they do not, and how they end.

mod ai;
mod budgets;
mod fair;
mod guesses;
mod life;
mod lists;
mod matrix;
mod refusals;
mod streams;

use serde_json::{Value, json};

use crate::support::{Answer, Ask, House, MODEL, chat};

const CHAT: &str = "/api/v1/chat/completions";
/// Nobody is let in without a client key.
const REQUIRED: &str = "[clients]\nmode = \"required\"\n";
/// And streams may take their time.
const PATIENT: &str = "[clients]\nmode = \"required\"\n[upstream]\nfirst_byte_timeout_ms = 30000\n\
                       total_timeout_ms = 30000\n";

/// A client as its operator let it in.
struct Client {
    id: String,
    key: String,
}

impl House {
    /// A call of the admin API.
    async fn operate(&self, method: &'static str, path: &str, body: &Value) -> Answer {
        let ask = Ask::new(method, path).header("content-type", "application/json").body(body.to_string());
        ask.send(self.admin).await
    }

    /// Let a client in.
    async fn client(&self, terms: Value) -> Client {
        let answer = self.operate("POST", "/clients", &terms).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let member = |name: &str| answer.json()[name].as_str().expect("a text").to_owned();
        Client { id: member("id"), key: member("key") }
    }

    async fn revoke(&self, client: &Client) {
        let answer = self.operate("DELETE", &format!("/clients/{}", client.id), &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Ask for a token.
    async fn token(&self, key: &str, user: Option<&str>) -> Answer {
        let body = match user {
            Some(user) => json!({"apiKey": key, "userId": user}),
            None => json!({"apiKey": key}),
        };
        Ask::post("/auth/token", body.to_string()).send(self.proxy).await
    }
}

/// A chat request that presents this.
fn ask(credential: &str) -> Ask {
    bearing(Ask::post(CHAT, chat(MODEL)), credential)
}

fn bearing(ask: Ask, credential: &str) -> Ask {
    ask.header("authorization", &format!("Bearer {credential}"))
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("{name} in {answer}")).to_owned()
}
