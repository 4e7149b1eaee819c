//! The bill: exact, whatever becomes of the answer.

use super::*;
use crate::simulator::{AccountSettings, KeySettings, Play, Script};

/// The cost printed, as exact dollars.
fn cost(usage: &Value) -> Pico {
    Pico::parse_usd(&usage["cost"].to_string()).expect("a cost")
}

#[tokio::test]
async fn usage_bill_generation_key_and_credits_agree() {
    let (simulator, key) = simulator().await;
    let models = ["openai/gpt-4o-mini", "meta-llama/llama-3.3-70b-instruct", "perplexity/sonar", "sim/echo"];
    let mut total = Pico::ZERO;
    for (model, stream) in models.into_iter().flat_map(|model| [(model, false), (model, true)]) {
        let answer = post(&simulator, "/api/v1/chat/completions", &key.text, &chat(model, stream)).await;
        let last = if stream { answer.events().pop().expect("an event") } else { answer.json() };
        let generation = simulator.bill().generations.pop().expect("a generation");
        assert_eq!(answer.header("x-generation-id"), Some(generation.id.as_str()));
        assert_eq!(cost(&last["usage"]), generation.cost, "{model}");
        assert_eq!(generation.status, Status::Complete);
        total += generation.cost;

        simulator.advance(std::time::Duration::from_millis(400));
        let known = get(&simulator, &format!("/api/v1/generation?id={}", generation.id), &key.text).await.json();
        assert_eq!(known["data"]["total_cost"], last["usage"]["cost"]);
    }
    let bill = simulator.bill();
    assert_eq!((bill.total, bill.keys[0].cost, bill.accounts[0].cost), (total, total, total));
    let shown = get(&simulator, "/api/v1/key", &key.text).await.json();
    assert_eq!(shown["data"]["usage"], total.to_json());
    assert_eq!(shown["data"]["usage_daily"], total.to_json());
    let credits = get(&simulator, "/api/v1/credits", &key.text).await.json();
    assert_eq!(credits["data"], json!({"total_credits": 5, "total_usage": total.to_json()}));
    assert_eq!(simulator.balance(0), Some(Pico::usd(5) - total));
}

#[tokio::test]
async fn the_price_is_tokens_times_price() {
    let (simulator, key) = simulator().await;
    let body = chat("sim/play?output_tokens=7", false);
    post(&simulator, "/api/v1/chat/completions", &key.text, &body).await;
    let prompt = body.to_string().len() as i128 / 4;
    assert_eq!(simulator.bill().total, Pico(prompt * 127_037 + 7 * 390_001));
}

#[tokio::test]
async fn hanging_up_bills_what_was_made_or_the_whole() {
    for (stops, made) in [(true, 3), (false, 40)] {
        let (simulator, key) = simulator().await;
        let mut body = chat(&format!("sim/play?output_tokens=40&stops_on_cancel={stops}"), true);
        body["max_tokens"] = 100.into();
        // Past the third event, and never on.
        let play = Play { fault: Some("stall@950".parse().expect("a fault")), ..Play::default() };
        simulator.script(Script::next(play));
        let mut client = Client::connect(simulator.addr()).await;
        client.send_post("/api/v1/chat/completions", &key.text, &[], &body).await;
        client.head().await.expect("a head");
        while client.buffer.len() < 950 {
            assert!(client.fill().await, "the stream stalls, it does not end");
        }
        drop(client);
        let generation = last_call(&simulator).await;
        assert_eq!((generation.status, generation.output_tokens), (Status::Cancelled, made), "stops: {stops}");
        let prompt = body.to_string().len() as i128 / 4;
        assert_eq!(simulator.bill().total, Pico(prompt * 127_037 + i128::from(made) * 390_001));
    }
}

#[tokio::test]
async fn generation_is_late_and_only_for_its_account() {
    let (simulator, key) = simulator().await;
    let sibling = simulator.make_key(key.account, KeySettings::default());
    let stranger = simulator.funded_key(Pico::usd(1));
    let answer = post(&simulator, "/api/v1/chat/completions", &key.text, &chat("sim/echo", false)).await;
    let id = answer.header("x-generation-id").expect("an id").to_owned();
    let path = format!("/api/v1/generation?id={id}");
    let early = get(&simulator, &path, &key.text).await;
    assert_eq!(early.status, 404);
    assert_eq!(early.text(), format!(r#"{{"error":{{"message":"Generation {id} not found","code":404}}}}"#));
    simulator.advance(std::time::Duration::from_secs(1));
    assert_eq!(get(&simulator, &path, &key.text).await.status, 200);
    assert_eq!(get(&simulator, &path, &sibling.text).await.status, 200);
    assert_eq!(get(&simulator, &path, &stranger.text).await.status, 404);
}

#[tokio::test]
async fn own_keys_move_the_cost_elsewhere() {
    let (simulator, key) = simulator().await;
    let usage = post(&simulator, "/api/v1/chat/completions", &key.text, &chat("sim/fixture-14", false)).await.json();
    let usage = &usage["usage"];
    assert_eq!((&usage["cost"], &usage["is_byok"]), (&json!(0), &json!(true)));
    assert_eq!(usage["cost_details"]["upstream_inference_cost"], 0.00197);
    let bill = simulator.bill();
    assert_eq!((bill.total, bill.keys[0].own_key_cost), (Pico::ZERO, Pico(1_970_000_000)));

    let account = simulator.open_account(AccountSettings {
        own_keys: vec!["OpenAI".to_owned()],
        own_key_fee_permille: 50,
        ..AccountSettings::never_purchased()
    });
    let own = simulator.make_key(account, KeySettings::default());
    let answer = post(&simulator, "/api/v1/chat/completions", &own.text, &chat("openai/o3-pro", false)).await;
    assert_eq!(answer.status, 200);
    let line = &simulator.bill().keys[own.index];
    assert_eq!(line.cost.0, line.own_key_cost.0 * 50 / 1000);
}
