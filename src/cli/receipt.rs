//! `potluck keys receipt`: what a key was used for, told to its donor.

use clap::Args;
use http::Method;

use super::CliError;
use super::client::{AdminClient, escaped, target};
use super::screen::{plain, print, print_json, table};
use crate::admin::{LedgerSums, ReceiptAnswer, ReceiptKey};

/// The days of a receipt.
#[derive(Debug, Default, Args)]
pub(super) struct PeriodArgs {
    /// The first UTC day [default: the first of the month]
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// The last UTC day [default: today]
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
}

pub(super) fn receipt(client: &AdminClient, id: &str, period: &PeriodArgs, json: bool) -> Result<(), CliError> {
    let path = format!("/keys/openrouter/{}/receipt", escaped(id));
    let query = [("from", period.from.as_deref()), ("to", period.to.as_deref())];
    let answer: ReceiptAnswer = client.call(Method::GET, &target(&path, &query), None)?;
    if json { print_json(&answer) } else { print(&shown(&answer)) }
}

fn shown(receipt: &ReceiptAnswer) -> String {
    let ReceiptAnswer { key, from, to, time, sums, suspense, .. } = receipt;
    let mut text = format!(
        "Receipt for {}\n{from} to {to} (UTC days, both included), as of {time}\n\n\
         Charged by OpenRouter  {}\n\
         Requests               {} ({} attempts, {} answered)\n\
         Tokens                 {} in{}, {} out\n",
        plain(&name(key)),
        sums.amount,
        sums.requests,
        sums.attempts,
        sums.answered,
        sums.tokens.prompt,
        sums.cached_share.as_ref().map(|share| format!(" ({share} of it cached)")).unwrap_or_default(),
        sums.tokens.completion,
    );
    if suspense.entries > 0 {
        let open = format!("{} attempts, at most {} (not in the amount yet)", suspense.entries, suspense.most);
        line(&mut text, "Still being looked up", &open);
    }
    if !is_zero(&sums.by_usage) {
        line(&mut text, "Of the amount", &format!("{} told from the key's own usage", sums.by_usage));
    }
    if !is_zero(&sums.estimated) {
        line(&mut text, "Of the amount", &format!("{} estimated: the worst case", sums.estimated));
    }
    if !is_zero(&sums.byok) {
        line(&mut text, "Your own providers", &format!("{} beside it (BYOK, as OpenRouter told)", sums.byok));
    }
    if !receipt.models.is_empty() {
        text.push('\n');
        text += &models(receipt);
    }
    text += &check(receipt);
    text += &hash(key);
    text
}

fn line(text: &mut String, name: &str, what: &str) {
    text.push_str(&format!("{name:<22} {what}\n"));
}

/// Whose key it is.
fn name(key: &ReceiptKey) -> String {
    let names = [key.donor_name.as_deref(), key.label.as_deref(), Some(&key.id), key.key.as_deref()];
    let mut told: Vec<&str> = Vec::new();
    for name in names.into_iter().flatten() {
        if !told.contains(&name) {
            told.push(name);
        }
    }
    told.join(" · ")
}

fn models(receipt: &ReceiptAnswer) -> String {
    let columns = ["model", "requests", "tokens in", "cached", "tokens out", "charged"];
    let row = |model: Option<&String>, sums: &LedgerSums| {
        [
            model.map_or("(not known)", String::as_str).to_owned(),
            sums.requests.to_string(),
            sums.tokens.prompt.to_string(),
            sums.cached_share.clone().unwrap_or_default(),
            sums.tokens.completion.to_string(),
            sums.amount.clone(),
        ]
    };
    table(columns, receipt.models.iter().map(|model| row(model.model.as_ref(), &model.sums)))
}

/// The books against OpenRouter's own figure, over the key's whole time in the pool.
fn check(receipt: &ReceiptAnswer) -> String {
    let Some(check) = &receipt.check else {
        return "\nThe books were not compared with OpenRouter's own figure for this key yet.\n".to_owned();
    };
    let mut text = format!(
        "\nAt {}, when it was asked last, OpenRouter said that the key was charged {} in all; what came since is compared \
         next time:\n",
        check.at, check.usage
    );
    let mut part = |what: &str, amount: &str| text.push_str(&format!("  {amount:<20} {what}\n"));
    part("through this pool, as booked", &check.booked);
    part("before it came here", &check.before);
    part("by you, elsewhere, since", &check.elsewhere);
    match is_zero(&check.drift) {
        true => part("unexplained: the books agree with OpenRouter", &check.drift),
        false => part("UNEXPLAINED: ask the operator; the log says more", &check.drift),
    }
    text
}

/// How the donor finds the key in their own account.
fn hash(key: &ReceiptKey) -> String {
    match &key.hash {
        Some(hash) => format!(
            "\nYou find the key in your account, its settings' address and its activity, by its hash (SHA-256, not the \
             key):\n  {hash}\n"
        ),
        None => "\nThe key has left this pool; its text and names are wiped.\n".to_owned(),
    }
}

fn is_zero(amount: &str) -> bool {
    amount.bytes().all(|b| !b.is_ascii_digit() || b == b'0')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sums(amount: &str) -> Value {
        json!({
            "requests": 2, "attempts": 3, "answered": 2,
            "tokens": {"prompt": 3000, "completion": 500, "cached": 1000, "reasoning": 0},
            "cachedShare": "33.3%", "amount": amount, "byok": "$0.0000", "byUsage": "$0.0000", "estimated": "$0.0000",
        })
    }

    fn receipt() -> Value {
        json!({
            "key": {"id": "k1", "inPool": true, "key": "sk-or-v1-…beef", "hash": "ab".repeat(32), "label": "alice",
                    "donorId": null, "donorName": "Ann\u{1b}[31m", "addedAt": "2026-11-01T00:00:00Z"},
            "from": "2026-11-01", "to": "2026-11-24", "time": "2026-11-24T12:00:00Z", "sums": sums("$2.4567"),
            "models": [{"model": "openai/gpt-4o-mini", "sums": sums("$2.0000")}, {"model": null, "sums": sums("$0.4567")}],
            "suspense": {"entries": 0, "most": "$0.0000"},
            "check": {"at": "2026-11-24T11:00:00Z", "usage": "$9.0000", "booked": "$2.4567", "before": "$5.0000",
                      "elsewhere": "$1.5433", "drift": "$0.0000"},
        })
    }

    fn text(receipt: Value) -> String {
        shown(&serde_json::from_value(receipt).expect("as the server answers"))
    }

    #[test]
    fn a_donor_is_told_everything() {
        let text = text(receipt());
        for part in [
            "Receipt for Ann\u{fffd}[31m · alice · k1 · sk-or-v1-…beef\n",
            "2026-11-01 to 2026-11-24",
            "Charged by OpenRouter  $2.4567\n",
            "2 (3 attempts, 2 answered)",
            "3000 in (33.3% of it cached), 500 out",
            "openai/gpt-4o-mini",
            "(not known)",
            "$1.5433              by you, elsewhere, since",
            "the books agree",
            &"ab".repeat(32),
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for part in ["looked up", "estimated", "BYOK", "UNEXPLAINED"] {
            assert!(!text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_is_open_estimated_or_wrong_is_said() {
        let mut receipt = receipt();
        receipt["suspense"] = json!({"entries": 2, "most": "$0.0200"});
        receipt["sums"]["byUsage"] = "$0.1000".into();
        receipt["sums"]["estimated"] = "$0.2000".into();
        receipt["sums"]["byok"] = "$0.3000".into();
        receipt["check"]["drift"] = "-$0.0001".into();
        let text = text(receipt);
        for part in [
            "2 attempts, at most $0.0200 (not in the amount yet)",
            "$0.1000 told from the key's own usage",
            "$0.2000 estimated",
            "$0.3000 beside it (BYOK",
            "-$0.0001             UNEXPLAINED",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_key_that_has_left_has_a_receipt_without_names() {
        let mut receipt = receipt();
        let key = json!({"id": "k1", "inPool": false, "key": null, "hash": null, "label": null, "donorId": null,
                         "donorName": null, "addedAt": null});
        receipt["key"] = key;
        receipt["check"] = Value::Null;
        let text = text(receipt);
        for part in ["Receipt for k1\n", "not compared", "has left this pool"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
