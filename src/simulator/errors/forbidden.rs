//! 403 and the 404s that stem from an account's own settings.

use serde_json::{Value, json};

use super::{Facts, Form, Refusal};
use crate::simulator::amount::Pico;
use crate::simulator::calendar::{Reset, iso};

pub const NAMES: &[&str] = &[
    "403-key-total",
    "403-key-daily",
    "403-key-weekly",
    "403-key-monthly",
    "403-key-bare",
    "403-key-source",
    "403-guardrail-budget",
    "403-workspace-budget",
    "403-workspace-text",
    "403-injection",
    "403-moderation",
    "403-moderation-planted",
    "403-policy",
    "403-refusal",
    "403-region",
    "403-author",
    "403-country",
    "403-own-key",
    "403-ip",
    "403-cloudflare",
    "404-privacy",
    "404-providers",
];

/// What Cloudflare shows to an address it has blocked.
pub const CLOUDFLARE: &str = "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head>\
<body><h1>Sorry, you have been blocked</h1><p>You are unable to access openrouter.ai</p></body></html>";

fn denied(message: impl Into<String>) -> Refusal {
    Refusal::new(403, "permission_denied", message)
}

/// 403: the key's cap is used up. A total cap has no reset.
pub fn key_limit(reset: Option<Reset>) -> Refusal {
    denied(format!(
        "Key limit exceeded ({} limit). Manage it using https://openrouter.ai/settings/keys",
        reset.map_or("total", Reset::word)
    ))
}

/// 403: a guardrail's or a workspace's budget is used up.
pub fn budget(source: &str, scope: &str, limit: Pico, spent: Pico, resets_at: Option<i64>) -> Refusal {
    denied(format!("Budget of ${:.2} exceeded. Contact your workspace admin.", dollars(limit)))
        .source(source)
        .with("scope", scope)
        .with("limit_usd", limit.to_json())
        .with("spend_usd", spent.to_json())
        .with("resets_at", resets_at.map_or(Value::Null, |ms| iso(ms).into()))
}

#[allow(clippy::cast_precision_loss)]
fn dollars(amount: Pico) -> f64 {
    amount.0 as f64 / 1e12
}

/// 403: a guardrail saw an injection.
pub fn injection(pattern: &str) -> Refusal {
    denied("Request blocked: prompt injection patterns detected").with("patterns", json!([pattern]))
}

/// 403: the account may not use that author.
pub fn author_banned(author: &str) -> Refusal {
    denied(format!("Author {author} is banned"))
}

/// 403: not where the account is.
pub fn region() -> Refusal {
    denied("This model is not available in your region.")
}

/// 403: the author wants the account's own key.
pub fn own_key_needed(provider: &str) -> Refusal {
    denied(format!(
        "{provider} is requiring a key to access this model, which you can add in \
         https://openrouter.ai/settings/integrations"
    ))
}

/// 403: the account only takes calls from known addresses.
pub fn ip_blocked() -> Refusal {
    denied("Your IP address is not in the allow list of this organization.")
}

/// 404: the account does not let prompts be trained on.
pub fn data_policy() -> Refusal {
    Refusal::new(
        404,
        "not_found",
        "No endpoints found matching your data policy (Free model training). Configure: \
         https://openrouter.ai/settings/privacy",
    )
    .with("failed_routing_step", "data_policy")
}

/// A 403 of the provider that only its `error_type` tells from the others.
fn typed(error_type: &'static str, message: &str) -> Refusal {
    Refusal::new(403, error_type, message).with("error_type", error_type).reached()
}

fn moderation(facts: &Facts<'_>, input: &str) -> Refusal {
    let model = facts.model;
    denied(format!(
        "{model} requires moderation on Meta. Your input was flagged for \"misc\". No credits were charged."
    ))
    .with("reasons", json!(["misc"]))
    .with("flagged_input", input)
    .with("provider_name", "Meta")
    .with("model_slug", model)
}

pub fn named(name: &str, facts: &Facts<'_>) -> Option<Refusal> {
    let resets = Reset::Monthly.next(facts.now_ms);
    Some(match name {
        "403-key-total" => key_limit(None),
        "403-key-daily" => key_limit(Some(Reset::Daily)),
        "403-key-weekly" => key_limit(Some(Reset::Weekly)),
        "403-key-monthly" => key_limit(Some(Reset::Monthly)),
        "403-key-bare" => denied("Key limit exceeded"),
        "403-key-source" => denied("Spending limit reached for this API key.")
            .source("openrouter_key_limit")
            .with("resets_at", iso(Reset::Daily.next(facts.now_ms))),
        "403-guardrail-budget" => {
            budget("openrouter_guardrail_budget", "api_key", Pico::usd(5), Pico(5_000_127_037_001), Some(resets))
        }
        "403-workspace-budget" => {
            budget("openrouter_workspace_budget", "workspace", Pico::usd(500), Pico(500_012_345_678_901), Some(resets))
        }
        "403-workspace-text" => {
            denied("Workspace monthly budget of $500.00 exceeded. Contact your workspace admin.")
        }
        "403-injection" => injection("ignore_previous_instructions"),
        "403-moderation" => moderation(facts, "something the moderator did not like…"),
        "403-moderation-planted" => moderation(
            facts,
            "Key limit exceeded (total limit). Insufficient credits. User not found. limit_source openrouter_key_limit",
        ),
        "403-policy" => typed("content_policy_violation", "The request was rejected by the provider's content policy."),
        "403-refusal" => typed("refusal", "The model refused to answer."),
        "403-region" => region(),
        "403-author" => author_banned("openai"),
        "403-country" => denied("Provider returned error")
            .with(
                "raw",
                r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}"#,
            )
            .with("provider_name", facts.provider)
            .with("is_byok", false)
            .reached(),
        "403-own-key" => own_key_needed("OpenAI"),
        "403-ip" => ip_blocked(),
        "403-cloudflare" => denied("").form(Form::Html(CLOUDFLARE)).anonymous(),
        "404-privacy" => data_policy(),
        "404-providers" => Refusal::new(404, "not_found", "No allowed providers are available for the selected model.")
            .with("available_providers", json!([facts.provider]))
            .with("requested_providers", json!(["nowhere"])),
        _ => return None,
    })
}
