//! Which key a request goes up with.

use potluck::pool::{Cause, Health};
use potluck::simulator::{AccountSettings, KeySettings, Pico, Play, Script};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Ask, House, MODEL, chat, chat_stream};

const CHAT: &str = "/api/v1/chat/completions";
const FREE: &str = "google/gemma-3-27b-it:free";

fn turns(model: &str, roles: &[&str]) -> Value {
    let said = |(n, role): (usize, &&str)| json!({"role": role, "content": format!("turn {n}")});
    json!({"model": model, "max_tokens": 64, "messages": roles.iter().enumerate().map(said).collect::<Vec<_>>()})
}

fn rotating(rotation: &str) -> String {
    format!("[pool]\nrotation = \"{rotation}\"\n")
}

#[tokio::test]
async fn keys_take_turns_strictly_whatever_is_asked() {
    let house = House::new(3, "").await;
    let responses = json!({"model": MODEL, "input": "hello"}).to_string();
    let asks = [
        Ask::post(CHAT, chat(MODEL)),
        Ask::post(CHAT, chat_stream(MODEL)),
        Ask::post("/v1/messages", turns(MODEL, &["user"]).to_string()),
        Ask::post("/api/v1/responses", responses),
        Ask::post("/api/v1/embeddings", r#"{"model":"openai/text-embedding-3-small","input":"hello"}"#),
    ];
    for ask in asks.iter().cycle().take(12) {
        assert_eq!(house.ask(ask).await.status, 200);
    }
    assert_eq!(house.used(), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    let overview = house.booked().await;
    assert_eq!((overview.rotation_index, overview.last_key), (0, Some(overview.keys[2].id)));
    assert!(overview.keys.iter().all(|key| key.totals.requests == 4));
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_key_that_is_out_is_left_out_and_comes_back_to_its_place() {
    let house = House::new(3, "").await;
    let keys: Vec<_> = house.overview().await.keys.iter().map(|key| key.id).collect();
    let ask = Ask::post(CHAT, chat(MODEL));
    house.say(keys[1], Health::Depleted).await;
    house.ask_often(&ask, 4).await;
    house.say(keys[1], Health::Healthy).await;
    house.ask_often(&ask, 3).await;
    assert_eq!(house.used(), [0, 2, 0, 2, 0, 1, 2]);
}

/// The requests of one conversation: its opening and a later turn.
fn conversations() -> Vec<(&'static str, Ask, Ask)> {
    let with = |field: &str| {
        let mut body = turns(MODEL, &["user"]);
        body[field] = "in the body".into();
        Ask::post(CHAT, body.to_string())
    };
    let header =
        |name: &str, path: &str| Ask::post(path, turns(MODEL, &["user"]).to_string()).header(name, "in a header");
    let input = |turns: Value| Ask::post("/api/v1/responses", json!({"model": MODEL, "input": turns}).to_string());
    let both = |ask: Ask| (ask.clone(), ask);
    let mut all = Vec::new();
    for path in [CHAT, "/api/v1/messages"] {
        let (opening, later) = (turns(MODEL, &["user"]), turns(MODEL, &["user", "assistant", "user"]));
        all.push(("history", (Ask::post(path, opening.to_string()), Ask::post(path, later.to_string()))));
    }
    let (user, assistant) = (json!({"role": "user", "content": "hi"}), json!({"role": "assistant", "content": "yes"}));
    all.push(("input", (input(json!([user.clone()])), input(json!([user.clone(), assistant, user])))));
    all.push(("session_id", both(with("session_id"))));
    all.push(("prompt_cache_key", both(with("prompt_cache_key"))));
    all.push(("x-session-id", both(header("x-session-id", CHAT))));
    all.push(("claude code", both(header("X-Claude-Code-Session-Id", "/v1/messages?beta=true"))));
    all.into_iter().map(|(what, (opening, later))| (what, opening, later)).collect()
}

#[tokio::test]
async fn a_conversation_stays_with_its_key_and_moves_when_it_is_unwell() {
    let house = House::new(3, "").await;
    let keys: Vec<_> = house.overview().await.keys.iter().map(|key| key.id).collect();
    let stranger = Ask::post(CHAT, chat(MODEL));
    for (what, opening, later) in conversations() {
        house.forget_log();
        for ask in [&opening, &stranger, &later, &stranger, &later, &later] {
            assert_eq!(house.ask(ask).await.status, 200, "{what}");
        }
        let used = house.used();
        let own = used[0];
        assert_eq!([used[2], used[4], used[5]], [own; 3], "{what}: {used:?}");
        assert!(used[1] != own && used[3] != used[1], "{what}: others go on taking turns: {used:?}");
        house.say(keys[own], Health::Depleted).await;
        house.ask_often(&later, 3).await;
        house.say(keys[own], Health::Healthy).await;
        house.ask_often(&later, 2).await;
        let moved = house.used().split_off(6);
        assert!(moved[0] != own && moved.iter().all(|key| *key == moved[0]), "{what}: {moved:?} from {own}");
    }
}

#[tokio::test]
async fn other_conversations_are_not_drawn_along() {
    let house = House::new(3, "").await;
    for id in ["a", "b", "c", "a", "b", "c", "b"] {
        let mut body = turns(MODEL, &["user", "assistant", "user"]);
        body["session_id"] = id.into();
        house.ask(&Ask::post(CHAT, body.to_string()).header("x-session-id", "ignored beside the body's")).await;
    }
    assert_eq!(house.used(), [0, 1, 2, 0, 1, 2, 1]);
}

#[tokio::test]
async fn a_conversations_key_that_refuses_is_left_for_good() {
    let house = House::new(3, "").await;
    let ask = Ask::post(CHAT, chat(MODEL)).header("x-session-id", "one");
    house.silence_probes();
    house.ask(&ask).await;
    house.sim.script(Script::always(Play::refuse("402-credits")).on_key(0));
    let answers = house.ask_often(&ask, 3).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(house.used(), [0, 0, 1, 1, 1]);
}

#[tokio::test]
async fn keys_of_one_account_are_empty_together() {
    let house = House::new(0, "").await;
    let account = house.sim.open_account(AccountSettings::with_balance(Pico::usd(10)));
    for _ in 0..2 {
        house.donate_key(&house.sim.make_key(account, KeySettings::default())).await;
    }
    house.donate(Pico::usd(10)).await;
    house.sim.edit_account(account, |settings| settings.credits_usd = Pico::ZERO);
    let answers = house.ask_often(&Ask::post(CHAT, chat(MODEL)), 3).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(house.used(), [0, 2, 2, 2], "the sibling is not asked in vain");
    let told = house.told().await;
    assert_eq!(told[0], (Health::Depleted, Cause::Credit, None));
    assert_eq!((told[1], told[2].0), (told[0], Health::Healthy));
    house.assert_books_balance().await;
}

#[tokio::test]
async fn free_models_have_a_lane_of_their_own() {
    let house = House::new(2, "").await;
    house.sim.edit_account(0, |account| account.free_per_minute = 1);
    house.sim.edit_account(1, |account| account.free_per_minute = 2);
    let (free, paid) = (Ask::post(CHAT, chat(FREE)), Ask::post(CHAT, chat(MODEL)));
    let statuses: Vec<u16> = house.ask_often(&free, 5).await.iter().map(|answer| answer.status).collect();
    // 0 and 1 once; then 0 refuses, 1 serves; then 1 refuses, and nobody is left; then nobody is asked.
    assert_eq!(statuses, [200, 200, 200, 503, 503]);
    assert_eq!(house.used(), [0, 1, 0, 1, 1]);
    assert!(house.told().await.iter().all(|told| told.0 == Health::Healthy), "no key is unwell for that");
    house.forget_log();
    house.ask_often(&paid, 4).await;
    assert_eq!(house.used(), [0, 1, 0, 1], "the paid lane is untouched");
    house.pass(std::time::Duration::from_secs(60));
    house.forget_log();
    assert_eq!(house.ask(&free).await.status, 200, "a minute later");
    assert_eq!(house.used().len(), 1);
}

#[tokio::test]
async fn least_spent_shares_by_what_was_paid() {
    let house = House::new(3, &rotating("least_spent")).await;
    let ask = Ask::post(CHAT, chat(MODEL));
    for (key, cost) in [(0, "0.5"), (1, "0.000001"), (2, "0.000002")] {
        house.sim.script(Script::next(Play { cost: Some(cost.to_owned()), ..Play::default() }).on_key(key));
    }
    for _ in 0..3 {
        house.ask(&ask).await;
        house.booked().await;
    }
    house.sim.script(Script::always(Play { cost: Some("0.0001".to_owned()), ..Play::default() }));
    for _ in 0..4 {
        house.ask(&ask).await;
        house.booked().await;
    }
    assert_eq!(house.used(), [0, 1, 2, 1, 2, 1, 2]);
}

#[tokio::test]
async fn fill_first_uses_one_key_up_before_the_next() {
    let house = House::new(3, &rotating("fill_first")).await;
    let ask = Ask::post(CHAT, chat(MODEL));
    house.ask_often(&ask, 3).await;
    house.sim.edit_account(0, |account| account.credits_usd = Pico::ZERO);
    let answers = house.ask_often(&ask, 3).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(house.used(), [0, 0, 0, 0, 1, 1, 1]);
}

#[tokio::test]
async fn weighted_prefers_who_has_more() {
    let house = House::new(0, &rotating("weighted")).await;
    house.donate(Pico::usd(1)).await;
    house.donate(Pico::usd(999)).await;
    house.settled_in().await;
    house.ask_often(&Ask::post(CHAT, chat(MODEL)), 40).await;
    let used = house.used();
    let poor = used.iter().filter(|key| **key == 0).count();
    // One in a thousand each: five of forty would be a chance of one in a thousand million.
    assert!(used.len() == 40 && poor < 5, "{used:?}");
}

/// Invariant 5: while any key can serve, a client never sees another key's trouble.
#[tokio::test]
async fn one_key_of_twenty_is_enough_for_everybody() {
    let house = House::new(20, "").await;
    for account in 0..20 {
        // All but one are out, each in its own way.
        match account % 4 {
            _ if account == 13 => continue,
            0 | 1 => house.sim.edit_account(account, |a| a.credits_usd = Pico::ZERO),
            2 => house.sim.edit_key(account, |key| key.disabled = true),
            _ => house.sim.edit_key(account, |key| key.limit_usd = Some(Pico::ZERO)),
        };
    }
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let body = if client % 2 == 0 { chat(MODEL) } else { chat_stream(MODEL) };
        let (ask, proxy) = (Ask::post(CHAT, body), house.proxy);
        clients.spawn(async move { [ask.send(proxy).await, ask.send(proxy).await] });
    }
    for answer in clients.join_all().await.into_iter().flatten() {
        assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
    }
    let counts = house.booked().await.counts;
    assert_eq!(counts.iter().sum::<u32>(), 20);
    assert_eq!(counts[0], 1, "one is well: {counts:?}");
    house.forget_log();
    house.ask_often(&Ask::post(CHAT, chat(MODEL)), 5).await;
    assert_eq!(house.used(), [13; 5], "and nobody else is asked any more");
    house.assert_books_balance().await;
}

#[tokio::test]
async fn when_the_last_key_goes_the_client_is_told_so_and_not_whose_trouble_it_is() {
    let house = House::new(20, "").await;
    for account in 0..20 {
        house.sim.edit_account(account, |a| a.credits_usd = Pico::ZERO);
    }
    let answer = house.ask(&Ask::post(CHAT, chat(MODEL))).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (503, json!("all_keys_depleted")));
    assert_eq!(house.went_up().len(), 20);
    house.ask(&Ask::post(CHAT, chat(MODEL))).await;
    assert_eq!(house.went_up().len(), 20, "nobody is asked in vain again");
}

#[tokio::test]
async fn an_upload_is_known_by_the_model_that_its_form_names() {
    let house = House::new(2, "").await;
    let model = "openai/whisper-1";
    house.sim.edit_account(0, |account| account.region_blocked = vec![model.to_owned()]);
    // The file comes first, as from openai-node.
    let form = format!(
        "--b0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
         RIFF{}\r\n--b0undary\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b0undary--\r\n",
        "\0\"{".repeat(50_000)
    );
    let upload = Ask::new("POST", "/api/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=b0undary")
        .body(form.clone());
    for used in [&[0, 1][..], &[1], &[1]] {
        house.forget_log();
        let answer = house.ask(&upload).await;
        assert_eq!((answer.status, &*house.used()), (200, used), "{}", answer.text());
        assert!(house.went_up().iter().all(|entry| entry.body_len == form.len() as u64), "as it came");
    }
    house.booked().await;
    house.pot.store().flush().await.unwrap();
    let ledger = rusqlite::Connection::open(house.data_dir().join("potluck.db")).unwrap();
    let count = "SELECT count(*), count(*) FILTER (WHERE model = 'openai/whisper-1') FROM entries";
    let counts = ledger.query_row(count, [], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?))).unwrap();
    assert_eq!(counts, (4, 4));
}
