//! Errors inside a 200 (`openrouter-api.md` 4.2).

use super::*;

fn error(code: Option<ErrorCode>, message: &str) -> InsideError {
    InsideError { code, message: message.into(), ..InsideError::default() }
}

fn status(status: u16, message: &str) -> InsideError {
    error(Some(ErrorCode::Status(status)), message)
}

#[track_caller]
fn check(error: &InsideError, reason: Reason, effect: Effect, next: Next) {
    assert_eq!(judge_inside(error, Some(MODEL), now()), Verdict { reason, effect, next }, "{error:?}");
}

#[track_caller]
fn passes(error: &InsideError, reason: Reason) {
    check(error, reason, Effect::None, Next::Pass);
}

#[test]
fn the_same_rules_hold_inside() {
    check(&status(401, "User not found."), Reason::KeyUnknown, Effect::KeyDoubted, Next::AnotherKey);
    check(&status(402, "Insufficient credits. Add"), Reason::AccountEmpty, Effect::AccountEmpty, Next::AnotherAccount);
    let until = Some(at("2026-12-01T00:00:00Z"));
    let capped = Effect::KeyCapped { until };
    check(&status(403, "Key limit exceeded (monthly limit)."), Reason::KeyLimit, capped, Next::AnotherKey);
    let busy = InsideError { reason: Some("in_flight_budget_exhausted".into()), ..status(402, "") };
    check(&busy, Reason::InFlightBudget, Effect::AccountBusy { rest: secs(120) }, Next::AnotherMeanwhile);
    let heavy = InsideError { reason: Some("weight_exceeds_budget".into()), ..status(402, "") };
    check(&heavy, Reason::RequestTooHeavy, Effect::None, Next::AnotherAccount);
    let source = InsideError { limit_source: Some("openrouter_workspace_budget".into()), ..status(403, "x") };
    check(&source, Reason::Budget, Effect::AccountCapped { until: None }, Next::AnotherAccount);
    let free = Effect::FreeLaneLimited { until: at("2026-11-26T00:00:00Z") };
    check(&status(429, "Rate limit exceeded: free-models-per-day"), Reason::FreeDaily, free, Next::AnotherAccount);
    let region = Effect::AccountCannot { what: MODEL.into() };
    check(
        &status(403, "This model is not available in your region."),
        Reason::Region,
        region,
        Next::AnotherAccountOnce,
    );
    let afford = "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account";
    let cut: String = afford.chars().take(crate::upstream::MESSAGE_MAX_BYTES).collect();
    let affords = Effect::Affords { tokens: Some(30_104) };
    check(&status(402, &cut), Reason::OutputTooDear, affords, Next::AnotherAccount);
}

#[test]
fn providers_faults_blame_nobody() {
    let limited = InsideError { error_type: Some("rate_limit_exceeded".into()), ..status(429, "Rate limit exceeded") };
    passes(&limited, Reason::RateLimited);
    passes(&status(504, "The operation was aborted"), Reason::Timeout);
    passes(&status(502, "Provider returned error"), Reason::ProviderError);
    passes(&error(Some(ErrorCode::Name("server_error".into())), "x"), Reason::ServerError);
    passes(&InsideError::default(), Reason::ServerError);
    // In a provider's words: OpenRouter knew the key, or it would not have asked the provider.
    passes(&status(401, "Incorrect API key provided"), Reason::Unauthorized);
    passes(&status(402, "Insufficient Balance"), Reason::PaymentRequired);
    passes(&status(403, "Forbidden"), Reason::Forbidden);
    passes(&status(403, "Your IP address is not in the allow list of this organization."), Reason::Forbidden);
    passes(&status(404, "No endpoints found matching your data policy"), Reason::DataPolicy);
    let refused = InsideError { error_type: Some("refusal".into()), ..status(403, "User not found.") };
    passes(&refused, Reason::Moderated);
    for odd in [0, 200, 302, 600, 1008, u16::MAX] {
        passes(&status(odd, "Insufficient credits"), Reason::ServerError);
    }
}

#[test]
fn names_stand_for_statuses() {
    let named = |code: Option<&str>, kind: Option<&str>, error_type: Option<&str>, message: &str| {
        let error = InsideError {
            code: code.map(|name| ErrorCode::Name(name.into())),
            kind: kind.map(Into::into),
            error_type: error_type.map(Into::into),
            message: message.into(),
            ..InsideError::default()
        };
        judge_inside(&error, Some(MODEL), now()).reason
    };
    let empty = "Insufficient credits";
    assert_eq!(named(None, Some("billing_error"), None, empty), Reason::AccountEmpty);
    assert_eq!(named(None, None, Some("payment_required"), empty), Reason::AccountEmpty);
    assert_eq!(named(Some("server_error"), None, Some("payment_required"), empty), Reason::AccountEmpty);
    assert_eq!(named(Some("server_error"), None, None, empty), Reason::ServerError);
    assert_eq!(named(None, Some("authentication_error"), None, "User not found."), Reason::KeyUnknown);
    assert_eq!(named(None, Some("permission_error"), None, "Key limit exceeded"), Reason::KeyLimit);
    assert_eq!(named(None, Some("overloaded_error"), Some("provider_overloaded"), empty), Reason::Unavailable);
    assert_eq!(named(Some("rate_limit_exceeded"), None, None, "Rate limit exceeded"), Reason::RateLimited);
    assert_eq!(named(Some("invalid_prompt"), None, None, empty), Reason::RequestInvalid);
    assert_eq!(named(None, None, Some("timeout"), empty), Reason::Timeout);
}
