//! Tables of what is let through, and a property: no spelling of a path reaches anything else.

use http::Method;
use proptest::prelude::*;

use super::*;

fn at(method: &str, target: &str) -> Route {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    match target.split_once('?') {
        Some((path, query)) => route(&method, path.as_bytes(), Some(query.as_bytes())),
        None => route(&method, target.as_bytes(), None),
    }
}

fn why(method: &str, target: &str) -> RouteRefusal {
    match at(method, target) {
        Route::Refused { why, .. } => why,
        other => panic!("{method} {target} is let through: {other:?}"),
    }
}

#[test]
fn billable_calls_go_to_their_constant() {
    let table = [
        ("chat/completions", Endpoint::ChatCompletions),
        ("completions", Endpoint::Completions),
        ("responses", Endpoint::Responses),
        ("messages", Endpoint::Messages),
        ("embeddings", Endpoint::Embeddings),
        ("rerank", Endpoint::Rerank),
        ("images", Endpoint::Images),
        ("audio/transcriptions", Endpoint::Transcriptions),
        ("audio/speech", Endpoint::Speech),
        ("videos", Endpoint::Videos),
        ("systemone", Endpoint::SystemOne),
        ("cursor/chat/completions", Endpoint::CursorChat),
    ];
    for (path, endpoint) in table {
        for prefix in ["/api/v1", "/v1"] {
            let Route::Inference { endpoint: got, target } = at("POST", &format!("{prefix}/{path}?id=gen-1&key=x"))
            else {
                panic!("{prefix}/{path}");
            };
            assert_eq!((got, target), (endpoint, &*format!("/api/v1/{path}")));
            assert!(TARGETS.contains(&target));
            let allow = "POST, OPTIONS";
            for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW"] {
                assert_eq!(why(method, &format!("{prefix}/{path}")), RouteRefusal::Method { allow });
            }
        }
    }
    let inference = |target, endpoint| Route::Inference { endpoint, target };
    let check = |target, expected| assert_eq!(at("POST", target), expected, "{target}");
    check("/api/v1/messages?beta=true", inference("/api/v1/messages?beta=true", Endpoint::Messages));
    check("/v1/messages?x=1&beta=true", inference("/api/v1/messages?beta=true", Endpoint::Messages));
    check("/v1/messages?beta=false", inference("/api/v1/messages", Endpoint::Messages));
    check("/v1/messages?beta=true2", inference("/api/v1/messages", Endpoint::Messages));
    check("/v1/chat/completions?beta=true", inference("/api/v1/chat/completions", Endpoint::ChatCompletions));
    check("/responses", inference("/api/v1/responses", Endpoint::Responses));
    check("/api/alpha/decisions", inference("/api/alpha/decisions", Endpoint::Decisions));
}

#[test]
fn potlucks_own_api_has_three_calls() {
    for (path, call, methods) in [
        ("completion", AiCall::Complete, "POST"),
        ("route", AiCall::Decide, "POST"),
        ("categories", AiCall::Categories, "GET HEAD"),
    ] {
        let target = format!("/api/ai/{path}");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"] {
            if methods.split(' ').any(|allowed| allowed == method) {
                assert_eq!(at(method, &format!("{target}?x=1")), Route::Ai(call), "{method} {target}");
            } else {
                assert!(matches!(why(method, &target), RouteRefusal::Method { .. }), "{method} {target}");
            }
        }
        assert_eq!(at("OPTIONS", &target), Route::Preflight);
    }
    for target in [
        "/api/ai",
        "/api/ai/",
        "/api/ai/chat",
        "/ai/completion",
        "/v1/ai/route",
        "/api/ai/completion/x",
        "/api/v1/ai/route",
    ] {
        assert_eq!(why("POST", target), RouteRefusal::NotFound, "{target}");
    }
    assert!(TARGETS.contains(&AiCall::COMPLETION_TARGET));
}

#[test]
fn calls_about_the_account_are_answered_here() {
    let check = |method: &str, target: &str, own| assert_eq!(at(method, target), Route::Own(own), "{method} {target}");
    for prefix in ["/api/v1", "/v1"] {
        for path in ["key", "auth/key"] {
            check("GET", &format!("{prefix}/{path}?x=1"), OwnAnswer::Key);
            check("HEAD", &format!("{prefix}/{path}"), OwnAnswer::Key);
        }
        check("GET", &format!("{prefix}/credits"), OwnAnswer::Credits);
        check("POST", &format!("{prefix}/messages/count_tokens?beta=true"), OwnAnswer::CountTokens);
        let id = GenerationId::parse(b"gen-1").expect("an id");
        check("GET", &format!("{prefix}/generation?id=gen-1&x=y"), OwnAnswer::Generation(id));
    }
    for query in ["", "?id", "?id=", "?id=a%2Fb", "?id=a&id=b", "?ID=gen-1", "?id=a/b"] {
        assert_eq!(why("GET", &format!("/api/v1/generation{query}")), RouteRefusal::Query("id"), "{query}");
    }
    for (method, path) in [("DELETE", "key"), ("POST", "credits"), ("PATCH", "auth/key"), ("HEAD", "generation")] {
        assert!(matches!(why(method, &format!("/api/v1/{path}")), RouteRefusal::Method { .. }), "{method} {path}");
    }
}

#[test]
fn what_reaches_into_an_account_is_refused_whatever_the_method() {
    let table = [
        (Blocked::StoredContent, "generation/content?id=gen-1 generation/x"),
        (Blocked::AccountModels, "models/user"),
        (Blocked::Presets, "presets presets/a presets/a/versions presets/a/versions/1 presets/a/chat/completions"),
        (Blocked::Presets, "presets/a/responses presets/a/messages"),
        (Blocked::Keys, "auth/keys/code auth/keys keys keys/0a1b auth auth/x"),
        (Blocked::Files, "files files/f-1 files/f-1/content containers/c/files containers/c/files/f/content"),
        (Blocked::Management, "activity analytics/meta analytics/query byok byok/x guardrails guardrails/x/keys"),
        (Blocked::Management, "observability/destinations observability/destinations/x organization/members"),
        (Blocked::Management, "organization scim/v2/Users workspaces workspaces/x/members generation/feedback"),
        (Blocked::Management, "credits/coinbase"),
        (Blocked::DataApi, "benchmarks classifications/task datasets/app-rankings datasets/rankings-daily"),
        (Blocked::DataApi, "datasets/session-cost"),
    ];
    for (family, paths) in table {
        for path in paths.split_whitespace() {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"] {
                for prefix in ["/api/v1", "/v1"] {
                    let target = format!("{prefix}/{path}");
                    assert_eq!(why(method, &target), RouteRefusal::Blocked(family), "{method} {target}");
                }
            }
        }
    }
    for target in ["/api/beta/batches", "/api/beta/batches/b-1", "/api/v1/batches", "/v1/batches/b-1/cancel"] {
        assert_eq!(why("POST", target), RouteRefusal::Batches, "{target}");
    }
}

#[test]
fn public_lists_have_one_spelling() {
    let check = |target: &str, expected: &str| match at("GET", target) {
        Route::PublicRead { target: got } => {
            assert_eq!(&*got, expected, "{target}");
            let Route::PublicRead { target: again } = at("HEAD", expected) else { panic!("{expected}") };
            assert_eq!(again, got, "a canonical target stands for itself");
        }
        other => panic!("{target}: {other:?}"),
    };
    check("/v1/models", "/api/v1/models");
    check("/api/v1/models?", "/api/v1/models");
    check("/api/v1/models?_=17&utm=x", "/api/v1/models");
    check("/api/v1/models?output_modalities=text%2Cimage", "/api/v1/models?output_modalities=text,image");
    check("/api/v1/models?offset=5&limit=10", "/api/v1/models?limit=10&offset=5");
    check("/api/v1/models?q=a+b%20c", "/api/v1/models?q=a%20b%20c");
    check("/api/v1/models?category=&sort=newest", "/api/v1/models?sort=newest");
    check("/v1/models/count", "/api/v1/models/count");
    check("/v1/model/openai/gpt-5.2", "/api/v1/model/openai/gpt-5.2");
    check("/v1/models/meta-llama/llama-4:free/endpoints", "/api/v1/models/meta-llama/llama-4:free/endpoints");
    check("/v1/endpoints/zdr", "/api/v1/endpoints/zdr");
    check("/v1/providers?x=y", "/api/v1/providers");
    check("/v1/embeddings/models", "/api/v1/embeddings/models");
    check("/v1/images/models", "/api/v1/images/models");
    check("/v1/images/models/a/b/endpoints?limit=1", "/api/v1/images/models/a/b/endpoints");
    check("/v1/videos/models", "/api/v1/videos/models");

    for query in
        ["limit=1&limit=2", "limit=%0a", "limit=%", "limit=%4", "limit=%+4", "limit=a%26b", "limit=#", "limit=é"]
    {
        assert_eq!(why("GET", &format!("/v1/models?{query}")), RouteRefusal::Query("limit"), "{query}");
    }
    assert_eq!(why("GET", &format!("/v1/models?q={}", "a".repeat(129))), RouteRefusal::Query("q"));
    assert!(matches!(why("POST", "/v1/models"), RouteRefusal::Method { allow: "GET, HEAD, OPTIONS" }));
    for path in ["models/a/b", "model/a", "model/a/b/c", "models/a/endpoints", "endpoints", "models/a/b/endpoints/x"] {
        assert_eq!(why("GET", &format!("/v1/{path}")), RouteRefusal::NotFound, "{path}");
    }
}

#[test]
fn jobs_are_asked_about_by_their_id() {
    let poll = |target: &str| match at("GET", target) {
        Route::Poll { job, part } => part.target(&job),
        other => panic!("{target}: {other:?}"),
    };
    assert_eq!(poll("/v1/videos/job-1?x=y"), "/api/v1/videos/job-1");
    assert_eq!(poll("/api/v1/videos/job-1/content"), "/api/v1/videos/job-1/content");
    assert_eq!(poll("/api/v1/videos/job-1/content?index=02&x"), "/api/v1/videos/job-1/content?index=2");
    for query in ["index=", "index=-1", "index=+1", "index=1&index=2", "index=99999", "index=a"] {
        assert_eq!(why("GET", &format!("/v1/videos/j/content?{query}")), RouteRefusal::Query("index"), "{query}");
    }
    assert_eq!(why("DELETE", "/v1/videos/job-1"), RouteRefusal::Method { allow: "GET, OPTIONS" });
    assert_eq!(why("GET", "/v1/videos/job-1/other"), RouteRefusal::NotFound);
    assert_eq!(JobId::parse("a".repeat(129).as_bytes()), None);
    for id in ["", ".", "..", "a/b", "a b", "a%2fb", "a\0", "é", "models"] {
        assert_eq!(JobId::parse(id.as_bytes()), None, "{id:?}");
    }
}

#[test]
fn tokens_are_asked_for_at_one_place() {
    assert_eq!(at("POST", "/auth/token"), Route::Token);
    assert_eq!(at("OPTIONS", "/auth/token"), Route::Preflight);
    assert_eq!(why("GET", "/auth/token"), RouteRefusal::Method { allow: "POST, OPTIONS" });
    for target in ["/auth/token/", "/auth", "/Auth/token", "/auth//token", "/api/auth/token"] {
        assert_eq!(why("POST", target), RouteRefusal::NotFound, "{target}");
    }
}

#[test]
fn browsers_are_told_they_may_call() {
    for target in ["/api/v1/chat/completions", "/v1/messages", "/responses", "/api/alpha/decisions", "/v1/key", "/v1/x"]
    {
        assert_eq!(at("OPTIONS", target), Route::Preflight, "{target}");
    }
    for target in ["*", "/", "/status", "/v1/a//b", "/api/beta/x"] {
        assert_eq!(why("OPTIONS", target), RouteRefusal::NotFound, "{target}");
    }
}

#[test]
fn errors_come_in_the_dialect_of_the_path() {
    let dialect = |target: &str| match at("GET", target) {
        Route::Refused { dialect, .. } => dialect,
        other => panic!("{target}: {other:?}"),
    };
    assert_eq!(dialect("/v1/messages"), Dialect::Messages);
    assert_eq!(dialect("/v1/messages/batches"), Dialect::Messages);
    assert_eq!(dialect("/responses"), Dialect::Responses);
    assert_eq!(dialect("/v1/responses/gen-1"), Dialect::Responses);
    assert_eq!(dialect("/v1/chat/completions"), Dialect::Chat);
    assert_eq!(dialect("/nowhere"), Dialect::Chat);
}

#[test]
fn odd_spellings_are_not_understood() {
    let table = [
        "",
        "/",
        "*",
        "api/v1/chat/completions",
        "//api/v1/chat/completions",
        "/api//v1/chat/completions",
        "/api/v1/chat/completions/",
        "/api/v1/chat/completions;x=1",
        "/api/v1/chat/completions.",
        "/api/v1/chat/completions%20",
        "/api/v1/chat%2fcompletions",
        "/api/v1/%63hat/completions",
        "/api/v1/./chat/completions",
        "/api/v1/key/../chat/completions",
        "/api/v1/chat/completions#x",
        "/api/v1/chat\\completions",
        "/API/v1/chat/completions",
        "/api/V1/chat/completions",
        "/api/v1/Chat/completions",
        "/v1/v1/chat/completions",
        "/api/api/v1/chat/completions",
        "/api/v1/chat/completions\0",
        "/api/v1/chat/completions ",
        "/api/v1/chat/completion\u{2019}s",
        "/chat/completions",
        "/messages",
        "/api/v2/chat/completions",
        "/api/alpha/responses",
        "/api/beta/responses",
        "http://openrouter.ai/api/v1/chat/completions",
        "https://127.0.0.1:8767/v1/chat/completions",
        "openrouter.ai:443",
    ];
    for target in table {
        assert_eq!(why("POST", target), RouteRefusal::NotFound, "{target:?}");
    }
}

/// Paths to start from: everything that is known, on either side of the line.
const SEEDS: [&str; 37] = [
    "/api/v1/chat/completions",
    "/v1/completions",
    "/api/v1/responses",
    "/responses",
    "/v1/messages",
    "/api/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/images",
    "/v1/audio/transcriptions",
    "/v1/audio/speech",
    "/v1/videos",
    "/v1/videos/job-1/content",
    "/api/alpha/decisions",
    "/api/beta/batches",
    "/v1/systemone",
    "/v1/cursor/chat/completions",
    "/v1/models",
    "/v1/model/a/b",
    "/v1/models/a/b/endpoints",
    "/v1/endpoints/zdr",
    "/v1/key",
    "/v1/auth/key",
    "/v1/auth/keys",
    "/v1/auth/keys/code",
    "/v1/credits",
    "/v1/generation",
    "/v1/generation/content",
    "/v1/keys",
    "/v1/presets/x/chat/completions",
    "/v1/files/f/content",
    "/v1/workspaces/w",
    "/v1/activity",
    "/v1/models/user",
    "/api/ai/completion",
    "/api/ai/route",
    "/api/ai/categories",
];

/// Things that make a path mean something else to somebody.
const SPICES: [&str; 41] = [
    "/",
    "//",
    "/.",
    "/..",
    "/../",
    "/./",
    "..",
    ".",
    ";",
    ";x=1",
    "\\",
    "%2f",
    "%2F",
    "%2e",
    "%2e%2e",
    "%252f",
    "%5c",
    "%00",
    "\0",
    " ",
    "%20",
    "\t",
    "\r\n",
    "#",
    "?",
    "&",
    "@",
    "*",
    "+",
    "\u{ff0f}",
    "\u{2215}",
    "\u{c0}\u{af}",
    "é",
    "http://evil.example",
    "//evil.example",
    "/key",
    "/keys",
    "/api",
    "/ai",
    "/v1",
    "/generation/content?id=gen-1",
];

fn spelling() -> impl Strategy<Value = Vec<u8>> {
    let edit = (0..6u8, any::<prop::sample::Index>(), 0..SPICES.len(), any::<u8>());
    (0..SEEDS.len(), prop::collection::vec(edit, 0..4)).prop_map(|(seed, edits)| {
        let mut path = SEEDS[seed].as_bytes().to_vec();
        for (kind, place, spice, byte) in edits {
            let at = place.index(path.len() + 1);
            match kind {
                0 | 1 => drop(path.splice(at..at, SPICES[spice].bytes())),
                2 => path.insert(at, byte),
                3 if at < path.len() => path[at] = byte,
                4 if at < path.len() => path[at] ^= 0x20,
                5 => path.truncate(at),
                _ => {}
            }
        }
        path
    })
}

fn methods() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![Method::POST, Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS])
}

/// Whether a target is one that may be asked without a key, by other means than the code under test uses.
fn is_public(target: &str) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let fixed =
        ["models", "models/count", "endpoints/zdr", "providers", "embeddings/models", "images/models", "videos/models"];
    let Some(path) = path.strip_prefix("/api/v1/") else { return false };
    let pieces: Vec<&str> = path.split('/').collect();
    let named = matches!(
        pieces.as_slice(),
        ["model", _, _] | ["models", _, _, "endpoints"] | ["images", "models", _, _, "endpoints"]
    );
    let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    (fixed.contains(&path) || named)
        && pieces.iter().all(|piece| plain(piece, "-._~:") && !piece.is_empty() && !piece.starts_with('.'))
        && plain(query, "-._~,=&%")
        && target.len() < 4096
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25_000))]

    #[test]
    fn no_spelling_leaves_the_allow_list(method in methods(), path in spelling(), query in proptest::option::of("[ -~]{0,30}")) {
        let decision = route(&method, &path, query.as_ref().map(String::as_bytes));
        match decision {
            Route::Inference { endpoint, target } => {
                prop_assert!(TARGETS.contains(&target));
                prop_assert_eq!(&method, Method::POST);
                // The decided path is the very path that was asked for, with a prefix exchanged.
                let asked = String::from_utf8(path).expect("plain");
                let constant = target.strip_suffix("?beta=true").unwrap_or(target);
                let spelled = [constant, constant.strip_prefix("/api").unwrap_or_default()].contains(&&*asked)
                    || (asked == "/responses" && endpoint == Endpoint::Responses);
                prop_assert!(spelled && (endpoint == Endpoint::Decisions || constant.starts_with("/api/v1/")));
            }
            Route::PublicRead { target } => prop_assert!(is_public(&target), "{}", &*target),
            Route::Poll { job, part } => {
                let target = part.target(&job);
                let rest = target.strip_prefix("/api/v1/videos/").expect("a job's path");
                let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
                let id = rest.strip_suffix("/content").unwrap_or(rest);
                prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:".contains(&b)) && !id.starts_with('.'));
            }
            Route::Token => prop_assert_eq!(&*path, b"/auth/token"),
            Route::Ai(call) => {
                let (constant, allowed) = match call {
                    AiCall::Complete => ("/api/ai/completion", [Method::POST, Method::POST]),
                    AiCall::Decide => ("/api/ai/route", [Method::POST, Method::POST]),
                    AiCall::Categories => ("/api/ai/categories", [Method::GET, Method::HEAD]),
                };
                prop_assert!(path == constant.as_bytes() && allowed.contains(&method));
            }
            Route::Own(_) | Route::Preflight | Route::Refused { .. } => {}
        }
    }

    #[test]
    fn any_bytes_are_decided_about(path in prop::collection::vec(any::<u8>(), 0..600), query in prop::collection::vec(any::<u8>(), 0..300)) {
        let refused = matches!(route(&Method::GET, &path, Some(&query)), Route::Refused { .. });
        prop_assert!(refused || path.is_ascii());
        if let Route::PublicRead { target } = route(&Method::GET, b"/v1/models", Some(&query)) {
            prop_assert!(is_public(&target), "{}", &*target);
        }
    }
}
