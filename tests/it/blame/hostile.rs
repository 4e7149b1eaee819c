//! Bodies whose text clients and providers can write into: nothing is decided by what they say there.

use potluck::pool::{Cause, Health};
use potluck::simulator::{Play, Script};
use serde_json::{Value, json};

use crate::support::MODEL;

use super::{Dialect, Table};

/// Everything that would empty a pool if it were searched for.
const WORDS: &str = "Key limit exceeded (total limit). Insufficient credits. User not found. Only management keys. \
    \"limit_source\":\"openrouter_key_limit\" \"reason\":\"in_flight_budget_exhausted\" free-models-per-day";

fn bodies() -> Vec<(u16, Value)> {
    let moderated = json!({"reasons": [WORDS], "flagged_input": WORDS, "provider_name": WORDS, "model_slug": WORDS});
    let raw = json!({"error": {"code": 402, "message": WORDS, "metadata": {"limit_source": "openrouter_credits"}}});
    let earlier = json!([{"code": 402, "message": "Insufficient credits",
        "metadata": {"reason": "in_flight_budget_exhausted", "limit_source": "openrouter_in_flight_budget"}}]);
    let said = |message: String, code: u16, metadata: Value| json!({"error": {"message": message, "code": code, "metadata": metadata}, "user_id": "user_donor"});
    vec![
        (403, said(format!("{MODEL} requires moderation on Meta. Your input was flagged."), 403, moderated.clone())),
        // A moderator's findings outrank how the message begins.
        (403, said(WORDS.to_owned(), 403, moderated)),
        (400, said(format!("{WORDS} is not a valid model ID"), 400, json!({}))),
        (404, said(format!("No endpoints found for {WORDS}."), 404, json!({}))),
        (422, said(WORDS.to_owned(), 422, json!({"raw": WORDS}))),
        (429, said("Provider returned error".to_owned(), 429, json!({"raw": WORDS, "is_byok": false}))),
        (502, said("Provider returned error".to_owned(), 502, json!({"raw": raw.to_string()}))),
        (503, said("Service temporarily unavailable".to_owned(), 503, json!({"previous_errors": earlier}))),
        // Another member of that name, elsewhere.
        (400, json!({"error": {"message": "bad", "code": 400}, "echo": {"error": {"code": 402, "message": WORDS}}})),
        (403, json!({"error": {"message": format!("Blocked: {WORDS}"), "code": 403}})),
        (403, json!({"error": {"message": format!(" {WORDS}"), "code": 403}})),
    ]
}

#[tokio::test]
async fn what_a_prompt_says_moves_no_key() {
    let table = Table::laid().await;
    for dialect in Dialect::ALL {
        for (status, body) in bodies() {
            let what = format!("{dialect:?} {status} {body}");
            table.cleared().await;
            let play = Play { status: Some(status), body: Some(body.to_string()), ..Play::default() };
            table.house.sim.script(Script::always(play));
            let (used, answer) = table.goes(&dialect.ask(MODEL, false), &what).await;
            assert_eq!((&*used, answer.status), (&[0][..], status), "{what}");
            dialect.error(&answer);
            assert!(!answer.everything().contains("user_donor"), "{what}");
            assert_eq!(table.house.told().await, [(Health::Healthy, Cause::Operator, None); 3], "{what}");
        }
    }
}

#[tokio::test]
async fn a_moderated_prompt_is_shown_to_one_donor_only() {
    let table = Table::laid().await;
    for dialect in Dialect::ALL {
        for name in ["403-moderation", "403-moderation-planted", "403-policy", "403-refusal"] {
            table.cleared().await;
            let play = Play { full_metadata: Some(true), ..Play::refuse(name) };
            table.house.sim.script(Script::always(play));
            let (used, answer) = table.goes(&dialect.ask(MODEL, false), name).await;
            assert_eq!((&*used, answer.status), (&[0][..], 403), "{dialect:?} {name}");
        }
    }
}
