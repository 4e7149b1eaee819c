//! The official OpenAI and Anthropic SDKs, unchanged but for their base URL, through the real binary.

mod support;

use std::path::Path;
use std::process::Command;

use support::{Place, output, simulator};

/// Run these cases of `tests/sdk/drop_in.py` against that place.
async fn run(place: &Place, cases: &[&str]) {
    run_with(place, cases, &[]).await;
}

async fn run_with(place: &Place, cases: &[&str], env: &[(&str, &str)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    assert!(
        python.exists(),
        "{} with the OpenAI and Anthropic SDKs is missing: tests/run makes it, so run the tests with tests/run",
        python.display()
    );
    let mut command = Command::new(python);
    command.arg(root.join("tests/sdk/drop_in.py")).args(cases).env_clear();
    command.env("POTLUCK", format!("http://{}", place.proxy)).env("PYTHONDONTWRITEBYTECODE", "1");
    command.envs(env.iter().copied());
    let output = output(command).await;
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    for case in cases {
        assert!(told.contains(&format!("ok   {case}\n")), "{case} has run: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_notice_no_difference() {
    let (simulator, keys) = simulator(3).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let running = place.start().await;
    let cases = [
        "chat_json",
        "chat_short_prefix",
        "chat_async",
        "chat_stream",
        "responses_json",
        "responses_stream",
        "embeddings",
        "models",
        "messages_json",
        "messages_stream",
        "messages_beta",
        "count_tokens",
        "bad_requests_speak_the_sdks_dialect",
        "what_is_the_donors_stays_closed",
        "a_provider_in_trouble_is_told_as_such",
        "a_trouble_in_mid_stream_raises",
    ];
    run(&place, &cases).await;

    let status = place.status().await;
    assert_eq!(status["health"]["healthy"], 3, "nothing of it was a key's fault: {status:#}");
    place.assert_books_balance(&simulator).await;
    for entry in simulator.log() {
        let told = format!("{:?}", entry.headers);
        assert!(!told.contains("client-made-this-up"), "a client's credential went up: {told}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_sdk_makes_of_openrouters_own_ways_it_makes_of_potlucks() {
    let (simulator, keys) = simulator(2).await;
    let place = Place::new(&simulator, "").keys(&keys[..1]);
    let running = place.start().await;
    let direct = format!("http://{}/api", simulator.addr());
    let env = [("DIRECT", direct.as_str()), ("DIRECT_KEY", keys[1].text.as_str())];
    run_with(&place, &["messages_stream_past_its_end"], &env).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_keys_is_an_error_of_the_sdks_own() {
    let (simulator, _) = simulator(0).await;
    let place = Place::new(&simulator, "");
    let running = place.start().await;
    run(&place, &["no_key_is_a_503_of_the_sdks_own"]).await;
    let paid = simulator.log().iter().filter(|entry| entry.method == "POST").count();
    assert_eq!(paid, 0, "nothing went up");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_own_retry_outlasts_a_short_limit() {
    let (simulator, keys) = simulator(1).await;
    let settings = "[pool]\nrate_limited_rest_ms = 1500\n[upstream]\nwait_for_key_ms = 0\n";
    let place = Place::new(&simulator, settings).keys(&keys);
    let running = place.start().await;
    place.status_when("the key is verified", |status| status["keys"][0]["verified"] == true).await;
    let word = r#"{"id":"k1","status":"rate_limited"}"#;
    let said = support::Ask::post("/health/openrouter", word).send(place.admin).await;
    assert_eq!(said.status, 200, "{}", said.text());
    let refused = place.ask(&support::Ask::post(support::CHAT, support::chat(support::MODEL))).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")), "{}", refused.text());
    run(&place, &["a_key_that_is_due_back_is_worth_a_retry"]).await;
    running.stop().await;
}

/// Let a client in through the admin API: its id and its key.
async fn client(place: &Place, terms: &str) -> (String, String) {
    let added = support::Ask::post("/clients", terms).send(place.admin).await;
    assert_eq!(added.status, 200, "{}", added.text());
    let member = |name: &str| added.json()[name].as_str().expect("a text").to_owned();
    (member("id"), member("key"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_key_and_a_token_live_and_die_with_the_sdks() {
    let (simulator, keys) = simulator(2).await;
    let place = Place::new(&simulator, "").keys(&keys).env("POTLUCK_CLIENTS", "required");
    let running = place.start().await;
    let refused = ["a_wrong_key_is_an_authentication_error"];
    // Without a key, with one that nobody has, and with one that has a letter wrong.
    let (id, key) = client(&place, r#"{"name":"ann"}"#).await;
    let stranger = potluck::clients::ClientKey::from_random([7; 32]).text();
    run(&place, &["no_key_is_an_authentication_error"]).await;
    for wrong in [stranger.expose(), &key[..75]] {
        run_with(&place, &refused, &[("CLIENT_KEY", wrong)]).await;
    }
    assert!(!simulator.log().iter().any(|entry| entry.method == "POST"), "nothing of it went up");

    let ask = serde_json::json!({"apiKey": key, "userId": "user-7"}).to_string();
    let issued = place.ask(&support::Ask::post("/auth/token", ask)).await;
    assert_eq!(issued.status, 200, "{}", issued.text());
    let token = issued.json()["token"].as_str().expect("a token").to_owned();
    let cases =
        ["chat_json", "chat_stream", "chat_async", "responses_stream", "messages_json", "messages_stream", "models"];
    for credential in [&key, &token] {
        run_with(&place, &cases, &[("CLIENT_KEY", credential)]).await;
    }

    let (_, limited) = client(&place, r#"{"name":"bob","models":["openai/*"]}"#).await;
    let cases = ["chat_json", "models_are_those_that_may_be_used", "a_model_not_allowed_is_a_permission_error"];
    run_with(&place, &cases, &[("CLIENT_KEY", &limited)]).await;

    let admin = format!("http://{}", place.admin);
    let env = [("CLIENT_KEY", key.as_str()), ("ADMIN", admin.as_str()), ("CLIENT_ID", id.as_str())];
    run_with(&place, &["a_revocation_ends_an_open_stream"], &env).await;
    run_with(&place, &refused, &[("CLIENT_KEY", &token)]).await;
    run_with(&place, &["chat_json"], &[("CLIENT_KEY", &limited)]).await;

    let books = place.admin("/ledger?client=c1").await;
    assert!(books["entries"].as_array().is_some_and(|lines| lines.len() > 10), "the books keep her id: {books:#}");
    for entry in simulator.log() {
        let told = format!("{:?}", entry.headers);
        let secrets = [&key[4..40], &limited[4..40], &token[token.len() - 40..]];
        assert!(!secrets.iter().any(|secret| told.contains(secret)), "a client's credential went up");
    }
    place.assert_books_balance(&simulator).await;
    running.stop().await;
}
