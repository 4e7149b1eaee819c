//! 402: money. The texts tell an empty account from a request that is too big for it, and from one too many at once.

use serde_json::{Value, json};

use super::{Facts, Form, Refusal};
use crate::simulator::calendar::Reset;

pub const NAMES: &[&str] = &[
    "402-credits",
    "402-never-purchased",
    "402-afford",
    "402-afford-add",
    "402-afford-key-daily",
    "402-afford-key-weekly",
    "402-afford-key-monthly",
    "402-afford-key-total",
    "402-prompt",
    "402-prompt-key",
    "402-capacity",
    "402-in-flight",
    "402-weight",
    "402-key-limit",
    "402-nested",
    "402-previous",
    "402-leaky",
];

/// Whose money falls short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    /// The account's; it has or has not ever paid.
    Account {
        /// Whether it ever bought credits.
        purchased: bool,
    },
    /// The cap of the key; `None` is a total cap.
    Key(Option<Reset>),
}

/// How a request is too big for the money there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// The output asked for, in tokens.
    Output {
        /// What was asked for.
        requested: u64,
        /// What there is money for.
        affordable: u64,
    },
    /// The prompt itself, in tokens.
    Prompt {
        /// What was sent.
        tokens: u64,
        /// What there is money for.
        affordable: u64,
    },
}

impl Payer {
    fn remedy(self) -> String {
        match self {
            Self::Account { purchased: false } => {
                "visit https://openrouter.ai/settings/credits and upgrade to a paid account".to_owned()
            }
            Self::Account { purchased: true } => {
                "visit https://openrouter.ai/settings/credits and add more credits".to_owned()
            }
            Self::Key(reset) => format!(
                "visit https://openrouter.ai/settings/keys and create a key with a higher {} limit",
                reset.map_or("total", Reset::word)
            ),
        }
    }
}

impl Shortfall {
    /// The 402 that says so.
    pub fn refusal(self, payer: Payer) -> Refusal {
        let remedy = payer.remedy();
        let message = match self {
            Self::Output { requested, affordable } => format!(
                "This request requires more credits, or fewer max_tokens. You requested up to {requested} tokens, but \
                 can only afford {affordable}. To increase, {remedy}"
            ),
            Self::Prompt { tokens, affordable } => {
                format!("Prompt tokens limit exceeded: {tokens} > {affordable}. To increase, {remedy}")
            }
        };
        paid(message).with("provider_name", Value::Null)
    }
}

fn paid(message: impl Into<String>) -> Refusal {
    Refusal::new(402, "payment_required", message)
}

impl Refusal {
    /// 402: the account has nothing left.
    pub fn insufficient_credits(purchased: bool) -> Self {
        let message = if purchased {
            "Insufficient credits. Add more using https://openrouter.ai/settings/credits"
        } else {
            "Insufficient credits. This account never purchased credits. Make sure your key is on the correct account \
             or org, and if so, purchase more at https://openrouter.ai/settings/credits"
        };
        paid(message).source("openrouter_credits")
    }

    /// 402: what is already running holds the rest of the account's money.
    pub fn in_flight(retry_after_s: u64) -> Self {
        paid(
            "This request would exceed your available credits given your current in-flight requests. Please retry \
             after your in-flight requests complete, or add more credits.",
        )
        .source("openrouter_in_flight_budget")
        .with("reason", "in_flight_budget_exhausted")
        .with("headers", json!({"Retry-After": retry_after_s.to_string()}))
        .header("Retry-After", retry_after_s.to_string())
    }

    /// 402: this one request alone is more than the account may have in flight.
    pub fn too_heavy() -> Self {
        paid("This request would exceed your available credits. Reduce max_tokens or add more credits.")
            .source("openrouter_credits")
            .with("reason", "weight_exceeds_budget")
    }
}

pub fn named(name: &str, facts: &Facts<'_>) -> Option<Refusal> {
    let output = |payer| Shortfall::Output { requested: 65_536, affordable: 30_104 }.refusal(payer);
    let prompt = |payer| Shortfall::Prompt { tokens: 230_799, affordable: 91_442 }.refusal(payer);
    Some(match name {
        "402-credits" => Refusal::insufficient_credits(true),
        "402-never-purchased" => Refusal::insufficient_credits(false),
        "402-afford" => output(Payer::Account { purchased: false }),
        "402-afford-add" => output(Payer::Account { purchased: true }),
        "402-afford-key-daily" => output(Payer::Key(Some(Reset::Daily))),
        "402-afford-key-weekly" => output(Payer::Key(Some(Reset::Weekly))),
        "402-afford-key-monthly" => output(Payer::Key(Some(Reset::Monthly))),
        "402-afford-key-total" => output(Payer::Key(None)),
        "402-prompt" => prompt(Payer::Account { purchased: true }),
        "402-prompt-key" => prompt(Payer::Key(None)),
        "402-capacity" => paid(
            "More credits are required to run this request. 128000 token capacity required, 19484 available. To \
             increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account",
        ),
        "402-in-flight" => Refusal::in_flight(120),
        "402-weight" => Refusal::too_heavy(),
        "402-key-limit" => paid("Key limit exceeded. Manage it using https://openrouter.ai/settings/keys")
            .source("openrouter_key_limit"),
        "402-nested" => {
            paid("Insufficient credits. Add more using https://openrouter.ai/settings/credits").form(Form::Nested)
        }
        "402-previous" => Refusal::insufficient_credits(true).with("previous_errors", previous()),
        "402-leaky" => leaky(facts),
        _ => return None,
    })
}

fn previous() -> Value {
    json!([
        {"code": 429, "message": "Provider returned error", "provider_name": "Chutes", "raw": "rate-limited upstream"},
        {"code": 402, "message": "This request would exceed your available credits.",
         "metadata": {"reason": "in_flight_budget_exhausted", "limit_source": "openrouter_in_flight_budget"}},
    ])
}

/// Everything about the donor that an error can give away.
fn leaky(facts: &Facts<'_>) -> Refusal {
    let page = format!("https://openrouter.ai/workspaces/default/keys/{}", facts.key_hash);
    paid(format!(
        "This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only \
         afford 27342. To increase, visit {page} and create a key with a higher monthly limit"
    ))
    .with("provider_name", Value::Null)
    .with("is_byok", false)
    .with("limit_usd", 25)
    .with("spend_usd", 24.875)
    .with("manage_url", page)
    .with("previous_errors", previous())
}
