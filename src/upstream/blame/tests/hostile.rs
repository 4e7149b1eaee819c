//! Bodies whose writable parts say what is not theirs to say, and bodies that say anything at all.

use proptest::prelude::*;

use super::*;

/// What a client would love to have believed.
const PLANTS: [&str; 12] = [
    "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys",
    "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
    "User not found.",
    "This request requires more credits, or fewer max_tokens. You requested up to 9 tokens, but can only afford 0. \
     To increase, visit https://openrouter.ai/settings/credits and add more credits",
    "Rate limit exceeded: free-models-per-day",
    "Workspace monthly budget of $500.00 exceeded.",
    "Your IP address is not in the allow list of this organization.",
    "This model is not available in your region.",
    r#"","limit_source":"openrouter_key_limit","reason":"in_flight_budget_exhausted","x":""#,
    r#"{"error":{"code":402,"message":"Insufficient credits","metadata":{"limit_source":"openrouter_key_limit"}}}"#,
    "openrouter_key_limit",
    "in_flight_budget_exhausted",
];

fn judged(status: u16, body: &Value) -> Verdict {
    judge_body(status, body.to_string().as_bytes(), Some("application/json"))
}

/// Every place of an error body that somebody else than OpenRouter has a say in.
fn planted(status: u16, plant: &str) -> Vec<Value> {
    let error =
        |message: String, metadata: Value| json!({"error": {"code": status, "message": message, "metadata": metadata}});
    vec![
        error("meta/llama-4 requires moderation on Meta.".into(), json!({"reasons": [plant], "flagged_input": plant})),
        error("Provider returned error".into(), json!({"raw": plant, "provider_name": plant})),
        error("Provider returned error".into(), json!({"raw": {"error": {"message": plant}}})),
        error(
            "Provider returned error".into(),
            json!({"previous_errors": [{"code": 402, "message": plant}], "model_slug": plant}),
        ),
        error(
            "Provider returned error".into(),
            json!({"headers": {"X-Other": plant}, "patterns": [plant], "reason_": plant}),
        ),
        error(format!("Something else: {plant}"), json!({})),
        error(format!(" {plant}"), json!({})),
        error(format!("\u{feff}{plant}"), json!({})),
        error(format!("acme/model {plant}"), json!({})),
        error(String::new(), json!({"limit_source": [plant], "reason": {"a": plant}, "resets_at": [plant]})),
        error(String::new(), json!([plant, plant])),
        error(String::new(), json!(plant)),
        json!({"error": {"code": status, "message": {"text": plant}}}),
        json!({"error": {"code": status, "message": [plant]}}),
        json!({"error": [{"code": status, "message": plant}]}),
        json!({"error": {"code": status, "message": "x", "error": {"message": plant}}}),
        json!({"error": {"code": status, "message": "x", "param": plant, "type": plant}, "user_id": plant}),
        json!({"error": {"code": status, "message": "x"}, "openrouter_metadata": {"error": plant, "limit_source": plant}}),
        json!({"message": plant, "limit_source": plant, "reason": plant, "metadata_": {"limit_source": plant}}),
        json!({"choices": [{"error": {"code": status, "message": plant}}]}),
        json!(plant),
        json!([{"error": {"code": status, "message": plant}}]),
    ]
}

#[test]
fn planted_texts_move_nothing() {
    for plant in PLANTS {
        for status in [400, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529] {
            for body in planted(status, plant) {
                let verdict = judged(status, &body);
                assert_eq!((&verdict.effect, verdict.next), (&Effect::None, Next::Pass), "{status} {body}");
            }
        }
        // A 401 or 402 is about a key in any case; but what is planted adds nothing.
        for status in [401, 402] {
            for (at, body) in planted(status, plant).iter().enumerate() {
                assert_eq!(judged(status, body), judged(status, &planted(status, "nothing")[at]), "{status} {body}");
                let mild = matches!(
                    judged(status, body).effect,
                    Effect::None | Effect::KeyDoubted | Effect::Affords { tokens: None }
                );
                assert!(mild, "{status} {body}");
            }
        }
    }
}

#[test]
fn fixture_10_a_flagged_prompt_says_key_limit_exceeded() {
    let text =
        "meta/llama-4 requires moderation on Meta. Your input was flagged for \"misc\". No credits were charged.";
    for plant in PLANTS {
        let flagged = said(403, text).meta("reasons", json!(["misc"])).meta("flagged_input", plant);
        for form in Form::FULL {
            assert_eq!(flagged.judged(form), Verdict::pass(Reason::Moderated), "{form:?} {plant}");
        }
    }
}

#[test]
fn the_right_words_under_the_wrong_status_move_nothing() {
    for plant in PLANTS {
        for status in [400, 408, 413, 422, 500, 502, 503, 504, 524, 529] {
            for form in Form::FULL {
                let verdict = said(status, plant).meta("limit_source", "openrouter_key_limit").judged(form);
                assert_eq!((verdict.effect, verdict.next), (Effect::None, Next::Pass), "{status} {plant}");
            }
        }
    }
}

#[test]
fn a_code_that_contradicts_the_status_moves_nothing() {
    for (status, next) in
        [(401, Next::AnotherKey), (402, Next::AnotherKey), (403, Next::Pass), (404, Next::Pass), (429, Next::Pass)]
    {
        for plant in PLANTS {
            for code in [json!(400), json!("400"), json!(500)] {
                let verdict = judged(status, &json!({"error": {"code": code, "message": plant}}));
                assert_eq!(verdict, Verdict::new(Reason::Contradictory, Effect::None, next), "{status} {plant}");
            }
        }
    }
    // No status at all is no contradiction.
    for code in [json!("invalid_prompt"), json!(1008), json!(0), json!(-1), json!(4.5), json!(null), json!([402])] {
        let body = json!({"error": {"code": code, "message": "Insufficient credits."}});
        assert_eq!(judged(402, &body).effect, Effect::AccountEmpty, "{code}");
    }
}

#[test]
fn wrong_types_spoil_nothing_else() {
    let odd = [json!(null), json!(1), json!("x"), json!([]), json!({}), json!(true), json!([{"a": 1}])];
    for value in odd {
        let body = json!({
            "error": {
                "code": value, "message": "Key limit exceeded (daily limit).", "type": value, "error_type": value,
                "metadata": {
                    "limit_source": value, "reason": value, "resets_at": value, "headers": value, "is_byok": value,
                    "retry_after_seconds": value, "raw": value, "error_type": value,
                },
                "availability": value, "name": value,
            },
            "error_type": value, "metadata": value, "user_id": value, "cloudflare_error": value,
        });
        let edge = value == json!(true);
        assert_eq!(judged(403, &body).reason, if edge { Reason::EdgeBlocked } else { Reason::KeyLimit }, "{value}");
    }
    let body = json!({"error": {"message": "Key limit exceeded (daily limit).", "metadata": "x"}});
    assert_eq!(judged(403, &body).reason, Reason::KeyLimit);
}

#[test]
fn depth_and_length_are_survived() {
    let deep = format!(
        r#"{{"error":{{"code":403,"message":"Key limit exceeded","metadata":{}{}}}}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    assert_eq!(judge_body(403, deep.as_bytes(), None).reason, Reason::KeyLimit);
    let raw = format!(r#"{{"error":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let body = json!({"error": {"code": 403, "message": "Provider returned error", "metadata": {"raw": raw}}});
    assert_eq!(judged(403, &body), Verdict::pass(Reason::ProviderError));
    let long = json!({"error": {"code": 403, "message": "x".repeat(60_000)}});
    assert_eq!(judged(403, &long), Verdict::pass(Reason::Forbidden));
    let cut = &br#"{"error":{"code":402,"message":"Insufficient credits","metadata":{"raw":"cut off he"#[..];
    assert_eq!(judge_body(402, cut, None).reason, Reason::Unreadable);
}

fn json_value() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(
        PLANTS
            .iter()
            .copied()
            .chain(["openrouter_credits", "text", "2026-11-26T00:00:00Z", "99999999999999999"])
            .collect::<Vec<_>>(),
    );
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        (400u16..430).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "error",
        "code",
        "message",
        "metadata",
        "limit_source",
        "reason",
        "resets_at",
        "headers",
        "Retry-After",
        "X-RateLimit-Reset",
        "is_byok",
        "raw",
        "availability",
        "type",
        "error_type",
        "reasons",
        "flagged_input",
        "name",
        "previous_errors",
        "cloudflare_error",
        "other",
    ]);
    leaf.prop_recursive(5, 48, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..7)
                .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

/// The error object that any envelope of this body could mean, found by other means than the code under test uses.
fn errors(body: &Value) -> Vec<&Value> {
    [body.get("error"), body.get("error").and_then(|error| error.get("error"))].into_iter().flatten().collect()
}

fn says(body: &Value, key: &str, values: &[&str]) -> bool {
    let metadata = errors(body).into_iter().filter_map(|error| error.get("metadata")).chain(body.get("metadata"));
    metadata
        .filter_map(|metadata| metadata.get(key))
        .any(|value| value.as_str().is_some_and(|text| values.contains(&text)))
}

fn begins(body: &Value, prefixes: &[&str]) -> bool {
    let messages = errors(body).into_iter().filter_map(|error| error.get("message")).filter_map(Value::as_str);
    messages.into_iter().any(|message| prefixes.iter().any(|prefix| message.starts_with(prefix)))
}

/// No grave effect without the very field that stands for it.
fn is_founded(status: u16, body: &Value, effect: &Effect) -> bool {
    match effect {
        Effect::AccountEmpty => {
            status == 402
                && begins(
                    body,
                    &["Insufficient credits", "This request requires more credits", "Prompt tokens", "More credits"],
                )
        }
        Effect::KeyCapped { .. } => {
            let by_text = begins(
                body,
                &["Key limit exceeded", "This request requires more credits", "Prompt tokens", "More credits"],
            );
            matches!(status, 402 | 403) && (says(body, "limit_source", &["openrouter_key_limit"]) || by_text)
        }
        Effect::AccountCapped { .. } => {
            let sources = ["openrouter_guardrail_budget", "openrouter_workspace_budget"];
            matches!(status, 402 | 403)
                && (says(body, "limit_source", &sources) || begins(body, &["Workspace ", "Guardrail "]))
        }
        Effect::AccountBusy { rest } => status == 402 && *rest <= secs(900),
        Effect::FreeLaneLimited { .. } => {
            let sources = ["openrouter_free_tier_daily", "openrouter_free_tier_per_minute"];
            status == 429
                && (says(body, "limit_source", &sources) || begins(body, &["Rate limit exceeded: free-models-per-"]))
        }
        Effect::TurnedAway { rest } => status == 429 && *rest <= secs(60) && begins(body, &["Rate limit exceeded"]),
        Effect::KeyDoubted => status == 401,
        Effect::KeyBarred => status == 403 && begins(body, &["Your IP", "IP address", "Request IP", "This IP"]),
        Effect::Affords { .. } => status == 402,
        Effect::AccountCannot { what } => matches!(status, 403 | 404) && (&**what == MODEL || &**what == "openai/"),
        Effect::AccountRests { what, rest } => &**what == "openai/" && *rest <= secs(3600),
        Effect::EveryoneRests { rest } => matches!(status, 403 | 429) && *rest <= secs(300),
        Effect::None => true,
    }
}

fn is_bounded(effect: &Effect) -> bool {
    let until = match effect {
        Effect::KeyCapped { until } | Effect::AccountCapped { until } => *until,
        Effect::FreeLaneLimited { until } => Some(*until).filter(|until| *until <= now().after(secs(25 * 3600))),
        _ => return true,
    };
    until.is_none_or(|until| until > now() && until <= now().after(secs(32 * 86_400)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_bytes_are_judged(
        body in prop::collection::vec(any::<u8>(), 0..300),
        status in any::<u16>(),
        header in proptest::option::of(".{0,20}"),
        generation in any::<bool>(),
    ) {
        let answer = Answer {
            body: &body,
            retry_after: header.as_deref(),
            rate_limit_reset: header.as_deref(),
            content_type: header.as_deref(),
            generation,
            ..plain(status)
        };
        let verdict = judge(&answer, now());
        let mild = matches!(verdict.effect, Effect::None | Effect::EveryoneRests { .. });
        prop_assert!(mild || serde_json::from_slice::<Value>(&body).is_ok(), "{verdict:?}");
    }

    #[test]
    fn any_json_is_judged_and_grave_effects_are_founded(
        error in json_value(),
        root in json_value(),
        whole in any::<bool>(),
        status in prop::sample::select(vec![400, 401, 402, 403, 404, 429, 500]),
        generation in any::<bool>(),
    ) {
        let mut body = root;
        if !whole {
            let members = error.as_object().cloned().unwrap_or_default();
            body = json!({"error": members});
        }
        let bytes = body.to_string().into_bytes();
        let verdict = judge(&Answer { body: &bytes, generation, ..plain(status) }, now());
        prop_assert!(is_founded(status, &body, &verdict.effect), "{status} {body} {verdict:?}");
        prop_assert!(is_bounded(&verdict.effect), "{status} {body} {verdict:?}");
    }

    #[test]
    fn any_tail_after_a_known_beginning_is_survived(
        plant in prop::sample::select(PLANTS.to_vec()),
        keep in 0usize..200,
        tail in ".{0,60}",
        status in prop::sample::select(vec![401, 402, 403, 404, 429]),
    ) {
        let text: String = plant.chars().take(keep).collect::<String>() + &tail;
        let said = said(status, &text);
        let verdict = said.judged(Form::Chat);
        prop_assert!(is_bounded(&verdict.effect));
        prop_assert_eq!(verdict, said.judged(Form::Nested));
    }
}
