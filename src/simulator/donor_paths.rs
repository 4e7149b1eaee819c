//! Paths that reveal or change the account behind a key. They work, so that a proxy that lets them through is found out.

use serde_json::{Value, json};

use super::api::Api;
use super::errors;
use super::inference::refused;
use super::play::Play;
use super::reply::Reply;
use super::shared::Shared;
use super::wire::Head;

/// Management keys only.
const MANAGEMENT: [&str; 11] = [
    "keys",
    "activity",
    "analytics",
    "byok",
    "guardrails",
    "observability",
    "organization",
    "scim",
    "workspaces",
    "generation/feedback",
    "credits/coinbase",
];
/// Any key will do.
const ORDINARY: [&str; 9] = [
    "generation/content",
    "models/user",
    "presets",
    "auth/keys",
    "files",
    "containers",
    "benchmarks",
    "classifications",
    "datasets",
];

fn under(path: &str, roots: &[&str]) -> bool {
    roots.iter().any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Answer a path of the account's owner. `None`: the path is none of them.
pub fn serve(shared: &Shared, head: &Head) -> Option<Reply> {
    let path = head.path();
    let batch = path == "/api/beta/batches" || path.starts_with("/api/beta/batches/");
    let rest = path.strip_prefix("/api/v1/").unwrap_or_default();
    if !batch && !under(rest, &MANAGEMENT) && !under(rest, &ORDINARY) {
        return None;
    }
    let now_ms = shared.now_ms();
    let mut world = shared.world();
    let key = match world.authenticate(head.credential(), now_ms) {
        Ok(key) => key,
        // The exchange of an OAuth code is not authenticated at all.
        Err(_) if rest == "auth/keys" => {
            return Some(Reply::json(200, &json!({"key": world.seed.key(), "user_id": "user_sim_donor"})));
        }
        Err(refusal) => return Some(refused(&refusal, Api::Chat, None, &Play::default())),
    };
    let (key, account) = world.pair(key)?;
    let user_id = account.user_id.clone();
    if under(rest, &MANAGEMENT) && !key.settings.management {
        return Some(refused(&errors::management_only(), Api::Chat, Some(&user_id), &Play::default()));
    }
    let body = match rest {
        "auth/keys/code" => json!({"data": {"id": world.seed.letters(32), "user_id": user_id}}),
        "auth/keys" => json!({"key": world.seed.key(), "user_id": user_id}),
        _ => secrets(&user_id),
    };
    Some(Reply::json(200, &body))
}

/// Something a donor would not like to see elsewhere.
fn secrets(user_id: &str) -> Value {
    json!({"data": [{"creator_user_id": user_id, "system_prompt": "DONOR-SECRET: my private preset",
        "input": "DONOR-SECRET: my stored prompt", "filename": "DONOR-SECRET.pdf"}]})
}
