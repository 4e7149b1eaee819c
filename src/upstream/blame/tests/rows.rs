//! The table itself.

use super::*;

const CAN_ONLY: &str =
    "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford";
const MORE: &str = "To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account";
const MORE_ADD: &str = "To increase, visit https://openrouter.ai/settings/credits and add more credits";
const MORE_KEY: &str = "To increase, visit https://openrouter.ai/settings/keys and create a key with a higher";

/// In every envelope that can hold its fields.
#[track_caller]
fn row(said: &Said, reason: Reason, effect: Effect, next: Next) {
    let expected = Verdict { reason, effect, next };
    for form in Form::FULL {
        // The nested envelope has only been seen with a message and a code.
        if matches!(form, Form::Nested) && said.error_type.is_some() {
            continue;
        }
        assert_eq!(said.judged(form), expected, "{form:?}: {said:?}");
    }
}

/// Also where nothing but the message and the headers is left.
#[track_caller]
fn row_by_message(said: &Said, reason: Reason, effect: Effect, next: Next) {
    row(said, reason, effect.clone(), next);
    assert_eq!(said.judged(Form::Bare), Verdict { reason, effect, next }, "bare: {said:?}");
}

#[track_caller]
fn passes(said: &Said, reason: Reason) {
    row(said, reason, Effect::None, Next::Pass);
}

#[test]
fn requests_at_fault_pass() {
    let invalid = |said: &Said| {
        passes(said, Reason::RequestInvalid);
        passes(&said.clone().reached(), Reason::RequestInvalid);
    };
    invalid(&said(400, "nobody/nothing is not a valid model ID"));
    invalid(&said(400, "Input required: specify \"prompt\" or \"messages\""));
    invalid(&said(400, "This endpoint's maximum context length is 8192 tokens.").kind("context_length_exceeded"));
    invalid(&said(412, "Precondition failed").kind("precondition_failed"));
    invalid(&said(413, "Downloaded image content cannot exceed 30MB"));
    invalid(&said(413, "Request payload too large"));
    invalid(&said(422, "Invalid argument"));
    let zod = br#"{"success":false,"error":{"name":"ZodError","message":"[{\"code\":\"invalid_type\"}]"}}"#;
    for status in [400, 401, 402, 403, 422] {
        assert_eq!(judge_body(status, zod, None), Verdict::pass(Reason::RequestInvalid), "{status}");
    }
}

#[test]
fn unauthorized() {
    for text in ["No cookie auth credentials found", "No auth credentials found", "Missing Authentication header"] {
        row_by_message(&said(401, text), Reason::NoCredential, Effect::None, Next::AnotherKey);
    }
    let unknown = said(401, "User not found.");
    row_by_message(&unknown, Reason::KeyUnknown, Effect::KeyDoubted, Next::AnotherKey);
    row_by_message(&unknown.reached(), Reason::KeyUnknown, Effect::KeyDoubted, Next::AnotherKey);
    let other = said(401, "Invalid credentials").kind("authentication");
    row_by_message(&other, Reason::Unauthorized, Effect::KeyDoubted, Next::AnotherKey);
    row_by_message(&other.reached(), Reason::Unauthorized, Effect::None, Next::Pass);
    passes(&said(401, "Provider returned error").meta("raw", "bad key").reached(), Reason::ProviderError);
}

#[test]
fn empty_accounts() {
    let empty = |said: &Said| row_by_message(said, Reason::AccountEmpty, Effect::AccountEmpty, Next::AnotherAccount);
    let text = "Insufficient credits. Add more using https://openrouter.ai/settings/credits";
    empty(&said(402, text).meta("limit_source", "openrouter_credits").kind("payment_required"));
    empty(&said(402, text));
    empty(&said(
        402,
        "Insufficient credits. This account never purchased credits. Make sure your key is on the \
        correct account or org, and if so, purchase more at https://openrouter.ai/settings/credits",
    ));
    empty(&said(402, &format!("{CAN_ONLY} 0. {MORE}")));
    empty(&said(402, &format!("{CAN_ONLY} -1532. {MORE_ADD}")).meta("limit_source", "openrouter_credits"));
    empty(&said(402, &format!("{CAN_ONLY} 0.4. {MORE_ADD}")));
    empty(&said(402, &format!("Prompt tokens limit exceeded: 230799 > 0. {MORE}")));
}

#[test]
fn requests_too_dear_for_what_is_left() {
    let affords = |tokens| Effect::Affords { tokens: Some(tokens) };
    let check = |message: String, reason, tokens, next| {
        let text = said(402, &message);
        row_by_message(&text, reason, affords(tokens), next);
        // It may say "credits" as its source, or the key's limit, and is not empty or capped for that.
        row_by_message(&text.clone().meta("limit_source", "openrouter_credits"), reason, affords(tokens), next);
        row_by_message(&text.meta("limit_source", "openrouter_key_limit"), reason, affords(tokens), next);
    };
    let (output, input) = (Reason::OutputTooDear, Reason::InputTooDear);
    check(format!("{CAN_ONLY} 30104. {MORE}"), output, 30_104, Next::AnotherAccount);
    check(format!("{CAN_ONLY} 30104. {MORE_ADD}"), output, 30_104, Next::AnotherAccount);
    for window in ["daily", "weekly", "monthly", "total"] {
        check(format!("{CAN_ONLY} 27342. {MORE_KEY} {window} limit"), output, 27_342, Next::AnotherKey);
    }
    let page =
        "To increase, visit https://openrouter.ai/workspaces/default/keys/0123abc and create a key with a higher";
    check(format!("{CAN_ONLY} 27342. {page} monthly limit"), output, 27_342, Next::AnotherKey);
    check(format!("{CAN_ONLY} 99999999999999999999999. {MORE}"), output, u64::MAX, Next::AnotherAccount);
    check(format!("Prompt tokens limit exceeded: 230799 > 91442. {MORE}"), input, 91_442, Next::AnotherAccount);
    check(
        format!("Prompt tokens limit exceeded: 230799 > 91442. {MORE_KEY} total limit"),
        input,
        91_442,
        Next::AnotherKey,
    );
    let capacity = "More credits are required to run this request. 128000 token capacity required, 19484 available.";
    check(format!("{capacity} {MORE}"), input, 19_484, Next::AnotherAccount);
    check(capacity.to_owned(), input, 19_484, Next::AnotherKey);

    // Not understood to the end: then how much is not known, and a nought is not believed.
    let vague = |text: &str, reason, tokens| {
        row_by_message(&said(402, text), reason, Effect::Affords { tokens }, Next::AnotherKey);
    };
    vague("This request requires more credits", output, None);
    vague("This request requires more credits, or fewer max_tokens. You requested up to", output, None);
    vague(&format!("{CAN_ONLY} many. {MORE}"), output, None);
    vague(&format!("{CAN_ONLY} . {MORE}"), output, None);
    vague(&format!("{CAN_ONLY} 0. To increase, visit https://evil.example/settings/credits"), output, Some(0));
    vague(&format!("{CAN_ONLY} 0"), output, Some(0));
    vague("Prompt tokens limit exceeded", input, None);
    vague("More credits are required to run this request.", input, None);
}

#[test]
fn keys_that_cannot_pay_one_token() {
    let capped = |window: &str, until: Option<Timestamp>| {
        let text = said(402, &format!("{CAN_ONLY} 0. {MORE_KEY} {window} limit"));
        row_by_message(&text, Reason::KeyLimit, Effect::KeyCapped { until }, Next::AnotherKey);
        let text = said(402, &format!("{CAN_ONLY} -9. {MORE_KEY} {window} limit"));
        row_by_message(&text, Reason::KeyLimit, Effect::KeyCapped { until }, Next::AnotherKey);
    };
    capped("daily", Some(at("2026-11-26T00:00:00Z")));
    capped("weekly", Some(at("2026-11-30T00:00:00Z")));
    capped("monthly", Some(at("2026-12-01T00:00:00Z")));
    capped("total", None);
    capped("new", None);
}

#[test]
fn too_much_in_flight() {
    let text = "This request would exceed your available credits given your current in-flight requests. Please retry.";
    let busy = |said: &Said, rest| {
        row(said, Reason::InFlightBudget, Effect::AccountBusy { rest: secs(rest) }, Next::AnotherMeanwhile);
    };
    let full = said(402, text)
        .meta("reason", "in_flight_budget_exhausted")
        .meta("limit_source", "openrouter_in_flight_budget")
        .kind("payment_required");
    busy(&full, 120);
    busy(&full.clone().after("45"), 45);
    busy(&full.clone().meta("headers", json!({"Retry-After": "77"})), 77);
    busy(&full.clone().meta("headers", json!({"Retry-After": 77})), 77);
    busy(&full.clone().after("soon").meta("headers", json!({"Retry-After": "77"})), 77);
    busy(&full.meta("retry_after_seconds", 12.0), 12);
    busy(&said(402, "").meta("reason", "in_flight_budget_exhausted"), 120);
    busy(&said(402, "").meta("limit_source", "openrouter_in_flight_budget"), 120);
    // `/messages` keeps neither: the message, or a header that no other 402 has.
    for said in [
        said(402, text),
        said(402, "New words").after("60"),
        said(402, "This request would exceed your available credits.").after("60"),
    ] {
        let rest = secs(if said.retry_after.is_some() { 60 } else { 120 });
        row_by_message(&said, Reason::InFlightBudget, Effect::AccountBusy { rest }, Next::AnotherMeanwhile);
    }
}

#[test]
fn too_heavy_for_the_budget() {
    let text = "This request would exceed your available credits. Reduce max_tokens or add more credits.";
    let full = said(402, text).meta("reason", "weight_exceeds_budget").meta("limit_source", "openrouter_credits");
    row_by_message(&full, Reason::RequestTooHeavy, Effect::None, Next::AnotherAccount);
    row(
        &said(402, "").meta("reason", "weight_exceeds_budget").after("9"),
        Reason::RequestTooHeavy,
        Effect::None,
        Next::AnotherAccount,
    );
}

#[test]
fn payment_in_words_we_do_not_know() {
    let vague = Effect::Affords { tokens: None };
    row_by_message(&said(402, "Please pay."), Reason::PaymentRequired, vague.clone(), Next::AnotherKey);
    let source = said(402, "Please pay.").meta("limit_source", "openrouter_credits");
    row(&source, Reason::PaymentRequired, vague, Next::AnotherAccount);
    row_by_message(&said(402, "Please pay.").reached(), Reason::PaymentRequired, Effect::None, Next::Pass);
    row_by_message(&said(402, "Please pay.").reached().after("5"), Reason::PaymentRequired, Effect::None, Next::Pass);
    passes(&said(402, "Provider returned error").meta("raw", "Insufficient Balance").reached(), Reason::ProviderError);
}

#[test]
fn key_limits() {
    let check = |said: &Said, until: Option<&str>| {
        let effect = Effect::KeyCapped { until: until.map(at) };
        row(said, Reason::KeyLimit, effect, Next::AnotherKey);
    };
    let manage = "Manage it using https://openrouter.ai/settings/keys";
    let windows = [
        ("total", None),
        ("daily", Some("2026-11-26T00:00:00Z")),
        ("weekly", Some("2026-11-30T00:00:00Z")),
        ("monthly", Some("2026-12-01T00:00:00Z")),
        ("hourly", None),
    ];
    for (window, until) in windows {
        let text = said(403, &format!("Key limit exceeded ({window} limit). {manage}"));
        check(&text, until);
        let effect = Effect::KeyCapped { until: until.map(at) };
        row_by_message(&text, Reason::KeyLimit, effect, Next::AnotherKey);
        check(&text.clone().reached(), until);
        check(&text.meta("resets_at", "2026-11-27T08:00:00.000Z"), Some("2026-11-27T08:00:00Z"));
    }
    for status in [402, 403] {
        check(&said(status, "Key limit exceeded"), None);
        check(&said(status, &format!("Key limit exceeded. {manage}")), None);
        let source = said(status, "Spending limit reached.").meta("limit_source", "openrouter_key_limit");
        check(&source, None);
        check(&source.clone().meta("resets_at", "2026-11-26T00:00:00Z"), Some("2026-11-26T00:00:00Z"));
        check(&source.meta("resets_at", Value::Null), None);
        check(&said(status, "").meta("limit_source", "openrouter_key_limit"), None);
    }
}

#[test]
fn budgets() {
    let check = |said: &Said, until: Option<&str>| {
        let effect = Effect::AccountCapped { until: until.map(at) };
        row(said, Reason::Budget, effect, Next::AnotherAccount);
    };
    for source in ["openrouter_guardrail_budget", "openrouter_workspace_budget"] {
        let full = said(403, "Budget of $5.00 exceeded. Contact your workspace admin.")
            .meta("limit_source", source)
            .meta("scope", "workspace")
            .meta("limit_usd", 5)
            .meta("spend_usd", 5.01)
            .kind("permission_denied");
        check(&full, None);
        check(&full.meta("resets_at", "2026-12-01T00:00:00Z"), Some("2026-12-01T00:00:00Z"));
    }
    let text = |window: &str| {
        said(403, &format!("Workspace {window}budget of $500.00 exceeded. Contact your workspace admin."))
    };
    let by_text = [
        ("daily ", Some("2026-11-26T00:00:00Z")),
        ("weekly ", Some("2026-11-30T00:00:00Z")),
        ("monthly ", Some("2026-12-01T00:00:00Z")),
        ("total ", None),
        ("", None),
        ("yearly ", None),
    ];
    for (window, until) in by_text {
        let effect = Effect::AccountCapped { until: until.map(at) };
        row_by_message(&text(window), Reason::Budget, effect, Next::AnotherAccount);
    }
    check(&text("monthly ").meta("limit_source", "openrouter_workspace_budget"), Some("2026-12-01T00:00:00Z"));
}

#[test]
fn forbidden_by_policy_of_either_side() {
    row_by_message(
        &said(403, "Only management keys can perform this operation"),
        Reason::ManagementOnly,
        Effect::None,
        Next::Pass,
    );
    let injection =
        said(403, "Request blocked: prompt injection patterns detected").meta("patterns", json!(["ignore_previous"]));
    row_by_message(&injection, Reason::PromptInjection, Effect::None, Next::AnotherAccountOnce);

    let text =
        "meta/llama-4 requires moderation on Meta. Your input was flagged for \"misc\". No credits were charged.";
    let flagged = said(403, text)
        .meta("reasons", json!(["misc"]))
        .meta("flagged_input", "…")
        .meta("provider_name", "Meta")
        .meta("model_slug", "meta/llama-4");
    passes(&flagged, Reason::Moderated);
    assert_eq!(flagged.judged(Form::Bare), Verdict::pass(Reason::Forbidden), "unknown, and never tried elsewhere");
    passes(&said(403, "Rejected by the content policy.").kind("content_policy_violation").reached(), Reason::Moderated);
    passes(&said(403, "The model refused to answer.").kind("refusal").reached(), Reason::Moderated);
    row_by_message(&said(403, "Something new."), Reason::Forbidden, Effect::None, Next::Pass);
    row_by_message(&said(403, ""), Reason::Forbidden, Effect::None, Next::Pass);
}

#[test]
fn models_out_of_an_accounts_reach() {
    let check = |said: &Said, reason, what: &str| {
        row(said, reason, Effect::AccountCannot { what: what.into() }, Next::AnotherAccountOnce);
    };
    check(&said(403, "This model is not available in your region."), Reason::Region, MODEL);
    check(&said(403, "Author openai is banned"), Reason::AuthorBanned, "openai/");
    check(&said(403, "Author OpenAI is banned."), Reason::AuthorBanned, "openai/");
    check(&said(403, "Author anthropic is banned"), Reason::AuthorBanned, MODEL);
    let raw = r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}"#;
    let country = said(403, "Provider returned error").meta("raw", raw).meta("provider_name", "OpenAI").reached();
    check(&country, Reason::Region, MODEL);
    let own = "OpenAI is requiring a key to access this model, which you can add in https://openrouter.ai/settings/integrations";
    check(&said(403, own), Reason::ProviderKeyNeeded, MODEL);
    check(&said(403, &own.replace("OpenAI", "Amazon Bedrock")), Reason::ProviderKeyNeeded, MODEL);

    let policy = "No endpoints found matching your data policy (Free model training). Configure: https://openrouter.ai/settings/privacy";
    let policy = said(404, policy).meta("failed_routing_step", "data_policy").kind("not_found");
    check(&policy, Reason::DataPolicy, MODEL);
    passes(&policy.restricted(), Reason::DataPolicy);
    let providers = said(404, "No allowed providers are available for the selected model.");
    check(&providers, Reason::DataPolicy, MODEL);
    passes(&providers.restricted(), Reason::DataPolicy);
}

#[test]
fn availability_is_a_name_for_it_too() {
    for (status, code, reason) in
        [(403, "region_restricted", Reason::Region), (404, "privacy_restricted", Reason::DataPolicy)]
    {
        let body =
            json!({"error": {"code": status, "message": "New words", "availability": {"code": code}}}).to_string();
        let verdict = judge_body(status, body.as_bytes(), None);
        let effect = Effect::AccountCannot { what: MODEL.into() };
        assert_eq!(verdict, Verdict::new(reason, effect, Next::AnotherAccountOnce));
    }
    let body =
        br#"{"error":{"code":404,"message":"New words","availability":{"code":"model_not_found","retryable":false}}}"#;
    assert_eq!(judge_body(404, body, None), Verdict::pass(Reason::NotFound));
}

#[test]
fn without_a_model_nothing_is_remembered() {
    for text in ["This model is not available in your region.", "Author openai is banned"] {
        let body = said(403, text).body(Form::Chat);
        let verdict = judge(&Answer { body: &body, model: None, ..plain(403) }, now());
        assert_eq!((verdict.effect, verdict.next), (Effect::None, Next::AnotherAccountOnce));
    }
    let body = said(429, "Provider returned error").meta("is_byok", true).body(Form::Chat);
    for model in [None, Some("auto"), Some(&*"a/".repeat(200))] {
        let verdict = judge(&Answer { body: &body, model, ..plain(429) }, now());
        assert_eq!((verdict.effect, verdict.next), (Effect::None, Next::AnotherAccountOnce));
    }
}

#[test]
fn addresses_not_on_the_list() {
    let barred = |text: &str| {
        row_by_message(&said(403, text), Reason::AddressBarred, Effect::KeyBarred, Next::AnotherKey);
        row_by_message(&said(403, text).reached(), Reason::Forbidden, Effect::None, Next::Pass);
    };
    barred("Your IP address is not in the allow list of this organization.");
    barred("IP address is not on the IP allowlist");
    barred("Your IP not in the allowlist");
    for text in [
        "Your IP address is blocked",
        "Your IP address is not in the mood",
        "Access denied: Your IP is not in the allow list",
    ] {
        row_by_message(&said(403, text), Reason::Forbidden, Effect::None, Next::Pass);
    }
}

#[test]
fn what_is_not_there_passes() {
    for text in [
        "No endpoints found for a/b.",
        "No endpoints found that support tool use",
        "No endpoints found that satisfy the max price",
        "Not Found",
    ] {
        row_by_message(&said(404, text), Reason::NotFound, Effect::None, Next::Pass);
    }
}

#[test]
fn free_allowances() {
    let check = |said: &Said, reason, until: &str| {
        row(said, reason, Effect::FreeLaneLimited { until: at(until) }, Next::AnotherAccount);
    };
    // 2026-11-26T00:00:00Z
    const MIDNIGHT_MS: &str = "1795651200000";
    let midnight = "2026-11-26T00:00:00Z";
    let day = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day";
    let headers =
        json!({"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795648000000"});
    let full = said(429, day).meta("limit_source", "openrouter_free_tier_daily").meta("headers", headers.clone());
    check(&full.clone().reset(MIDNIGHT_MS), Reason::FreeDaily, midnight);
    check(&full, Reason::FreeDaily, "2026-11-25T23:06:40Z");
    check(&said(429, day).meta("headers", headers), Reason::FreeDaily, "2026-11-25T23:06:40Z");
    check(&said(429, "").meta("limit_source", "openrouter_free_tier_daily"), Reason::FreeDaily, midnight);
    let effect = Effect::FreeLaneLimited { until: at(midnight) };
    row_by_message(&said(429, day), Reason::FreeDaily, effect.clone(), Next::AnotherAccount);
    let high = said(429, "Rate limit exceeded: free-models-per-day-high-balance. ");
    row_by_message(&high, Reason::FreeDaily, effect, Next::AnotherAccount);

    let minute = said(429, "Rate limit exceeded: free-models-per-min. ");
    let effect = Effect::FreeLaneLimited { until: at("2026-11-25T15:31:00Z") };
    row_by_message(&minute, Reason::FreePerMinute, effect, Next::AnotherAccount);
    check(&minute.clone().reset("1795620620000"), Reason::FreePerMinute, "2026-11-25T15:30:20Z");
    check(&minute.reset(MIDNIGHT_MS), Reason::FreePerMinute, "2026-11-25T15:31:00Z");
    let source = said(429, "").meta("limit_source", "openrouter_free_tier_per_minute");
    check(&source, Reason::FreePerMinute, "2026-11-25T15:31:00Z");
}

#[test]
fn the_lane_of_the_request_does_not_matter() {
    let day = said(429, "Rate limit exceeded: free-models-per-day. ").body(Form::Chat);
    let judged = |lane| judge(&Answer { body: &day, lane, ..plain(429) }, now());
    assert_eq!(judged(Lane::Free), judged(Lane::Paid));
}

#[test]
fn limits_of_providers() {
    let raw = "a/b is temporarily rate-limited upstream. Please retry shortly.";
    let shared = said(429, "Provider returned error")
        .meta("raw", raw)
        .meta("provider_name", "Chutes")
        .meta("is_byok", false)
        .meta("limit_source", "upstream_provider_shared_pool")
        .meta("retry_after_seconds", 7)
        .reached();
    passes(&shared, Reason::ProviderLimited);
    passes(&shared.meta("is_byok", true), Reason::ProviderLimited);
    passes(&said(429, "Provider returned error").meta("is_byok", false), Reason::ProviderLimited);
    let source = said(429, "New words").meta("limit_source", "upstream_provider_shared_pool");
    passes(&source, Reason::ProviderLimited);
    let own = |said: &Said, rest| {
        let effect = Effect::AccountRests { what: "openai/".into(), rest: secs(rest) };
        row(said, Reason::OwnProviderKey, effect, Next::AnotherAccountOnce);
    };
    let byok = said(429, "Provider returned error").meta("raw", raw).meta("is_byok", true).reached();
    own(&byok, 60);
    own(&byok.clone().after("9"), 9);
    own(&byok.clone().meta("headers", json!({"Retry-After": "8"})), 8);
    own(&byok.meta("retry_after_seconds", 7), 7);
    for status in [401, 402] {
        own(&said(status, "Provider returned error").meta("is_byok", true).reached(), 60);
    }
    passes(&said(403, "Provider returned error").meta("is_byok", true).reached(), Reason::ProviderError);
}

#[test]
fn limits_that_do_not_say_whose_they_are() {
    let away = |said: &Said, rest| {
        row_by_message(said, Reason::RateLimited, Effect::TurnedAway { rest: secs(rest) }, Next::Pass);
    };
    let bare = said(429, "Rate limit exceeded");
    away(&bare, 10);
    away(&bare.clone().kind("rate_limit_exceeded"), 10);
    away(&bare.clone().after("5"), 5);
    away(&bare.clone().after("100000"), 60);
    // Somebody's own limit, a provider's words, or no words at all.
    passes(&bare.clone().reset("1795651200000"), Reason::RateLimited);
    passes(&bare.reached(), Reason::RateLimited);
    passes(&said(429, "Rate limit exceeded: something-new"), Reason::RateLimited);
    passes(&said(429, "Too many requests").kind("rate_limit_exceeded"), Reason::RateLimited);
}

#[test]
fn the_edge_turns_the_proxy_away() {
    let page = b"<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head></html>";
    let json =
        br#"{"type":"https://developers.cloudflare.com/x","status":403,"cloudflare_error":true,"error_code":1020}"#;
    let html = Some("text/html; charset=UTF-8");
    for status in [403, 429] {
        let rests = |rest| Verdict::new(Reason::EdgeBlocked, Effect::EveryoneRests { rest: secs(rest) }, Next::Pass);
        for body in [&page[..], b"\n\n  <html>", json, b"error code: 1015"] {
            assert_eq!(judge_body(status, body, None), rests(30), "{status}");
        }
        assert_eq!(judge_body(status, b"", html), rests(30));
        assert_eq!(judge_body(status, b"Access denied", html), rests(30));
        let answer = Answer { body: page, retry_after: Some("90"), ..plain(status) };
        assert_eq!(judge(&answer, now()), rests(90));
        let answer = Answer { body: page, generation: true, ..plain(status) };
        assert_eq!(judge(&answer, now()).effect, Effect::None, "behind a generation it is a provider's page");
        // What can be read as OpenRouter's own word is that, whatever the header says.
        let own = said(status, "Rate limit exceeded: free-models-per-day").body(Form::Chat);
        assert_ne!(judge_body(status, &own, html).reason, Reason::EdgeBlocked);
    }
    for status in [400, 404, 500, 502, 503, 504, 520, 524, 529] {
        let verdict = judge_body(status, page, html);
        assert_eq!((verdict.effect, verdict.next), (Effect::None, Next::Pass), "{status}");
    }
}

#[test]
fn the_upstreams_own_trouble_passes() {
    let table = [
        (408, "Operation timed out after 60 s", Reason::Timeout),
        (504, "Request timed out. Please try again later.", Reason::Timeout),
        (524, "", Reason::Timeout),
        (500, "Internal Server Error", Reason::ServerError),
        (520, "", Reason::ServerError),
        (502, "Provider returned error", Reason::ProviderError),
        (503, "Service temporarily unavailable", Reason::Unavailable),
        (529, "Provider returned error", Reason::ProviderError),
    ];
    for (status, text, reason) in table {
        let said = said(status, text);
        row_by_message(&said, reason, Effect::None, Next::Pass);
        passes(&said.clone().after("11").reached(), reason);
        passes(&said.meta("limit_source", "openrouter_key_limit").meta("is_byok", true), reason);
    }
}

#[test]
fn what_cannot_be_read_blames_nobody() {
    for body in [&b""[..], b"   \n ", b"nope", b"{", b"[]", b"null", b"{}", br#"{"error":"User not found."}"#, b"\xff"]
    {
        for status in [401, 402] {
            let verdict = judge_body(status, body, None);
            assert_eq!(verdict, Verdict::new(Reason::Unreadable, Effect::None, Next::AnotherKey), "{status} {body:?}");
            let verdict = judge(&Answer { body, generation: true, ..plain(status) }, now());
            assert_eq!(verdict, Verdict::pass(Reason::Unreadable));
        }
        for status in [400, 403, 404, 429, 500, 503, 599, 999] {
            let verdict = judge_body(status, body, None);
            assert_eq!((verdict.effect, verdict.next), (Effect::None, Next::Pass), "{status} {body:?}");
        }
    }
    for status in [100, 204, 302, 399] {
        assert_eq!(
            judge_body(status, &said(402, "Insufficient credits").body(Form::Chat), None),
            Verdict::pass(Reason::NoRefusal)
        );
    }
}

#[test]
fn reasons_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    let alarms: Vec<_> = Reason::ALL.into_iter().filter(|reason| reason.alarm()).collect();
    let expected = [
        Reason::NoCredential,
        Reason::ManagementOnly,
        Reason::AddressBarred,
        Reason::EdgeBlocked,
        Reason::Unreadable,
        Reason::Contradictory,
    ];
    assert_eq!(alarms, expected);
}
