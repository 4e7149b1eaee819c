//! Video jobs: theirs is the key that started them, from the first answer to the last byte. And batches, which are not.

use std::time::Duration;

use potluck::pool::Health;
use potluck::pot::KeyRef;
use potluck::simulator::{Play, Script};
use serde_json::{Value, json};

use crate::support::{Ask, House, MODEL, chat};

const VIDEOS: &str = "/api/v1/videos";
/// Absolute addresses, done at the third poll.
const FIXTURE: &str = "sim/fixture-17";
/// Unknown costs are looked up at once, as often as it takes.
const EAGER: &str = "[ledger]\nreconcile_schedule_ms = [1, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000]\n";
/// Unknown costs are not looked up within the time of a test.
const PATIENT: &str = "[ledger]\nreconcile_schedule_ms = [2000000000]\n";

fn submit(model: &str) -> Ask {
    Ask::post(VIDEOS, json!({"model": model, "prompt": "a dish", "duration": 4}).to_string())
}

/// What the upstream's absolute addresses become: the client's own `Host`, so that it asks here.
const HERE: &str = "http://127.0.0.1";

/// A job that was started, as its client knows it.
struct Job {
    id: String,
    poll: String,
    polling_url: String,
}

impl House {
    async fn started(&self, model: &str) -> Job {
        let answer = self.ask(&submit(model)).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let body = answer.json();
        let id = body["id"].as_str().unwrap().to_owned();
        assert_eq!((&body["status"], &body["generation_id"].is_string()), (&json!("pending"), &true));
        let poll = format!("{VIDEOS}/{id}");
        // A relative address leads here by itself, and is left as it is.
        let polling_url = if model == FIXTURE { format!("{HERE}{poll}") } else { poll.clone() };
        assert_eq!(body["polling_url"], json!(polling_url));
        Job { id, poll, polling_url }
    }

    async fn polled(&self, job: &Job) -> Value {
        let answer = self.ask(&Ask::get(&job.poll)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["polling_url"], json!(job.polling_url));
        assert!(!answer.everything().contains("openrouter.ai"), "{}", answer.text());
        body
    }

    /// The keys that asked about this job, in order.
    fn asked_about(&self, job: &Job) -> Vec<usize> {
        self.went_up().iter().filter(|entry| entry.path().contains(&job.id)).filter_map(|entry| entry.key).collect()
    }
}

#[tokio::test]
async fn f17_a_job_is_polled_with_the_key_that_started_it_and_booked_when_it_is_done() {
    let house = House::new(3, PATIENT).await;
    house.ask(&Ask::post("/v1/chat/completions", chat(MODEL))).await;
    let spent = house.booked().await.spent_total;
    let job = house.started(FIXTURE).await;
    let overview = house.booked().await;
    assert_eq!((overview.suspense.open, overview.keys[1].totals.suspense), (1, 1), "its cost is not known yet");
    for _ in 0..2 {
        assert_eq!(house.polled(&job).await["status"], "in_progress");
        // Others take their turns meanwhile.
        house.ask(&Ask::post("/v1/chat/completions", chat(MODEL))).await;
    }
    assert_eq!(house.booked().await.suspense.open, 1);
    let done = house.polled(&job).await;
    assert_eq!(done["status"], "completed");
    let overview = house.booked().await;
    assert_eq!(overview.suspense.open, 0, "booked when it is done");
    assert!(overview.spent_total > spent && done["usage"]["cost"].as_f64().unwrap() > 0.0);
    house.assert_books_balance().await;
    // Asking again changes nothing.
    house.polled(&job).await;
    house.assert_books_balance().await;
    assert_eq!(house.asked_about(&job), [1; 4]);
}

#[tokio::test]
async fn a_jobs_result_is_passed_on_byte_for_byte() {
    let house = House::new(2, EAGER).await;
    let job = house.started(FIXTURE).await;
    let content = Ask::get(&format!("{}/content?index=0", job.poll));
    assert_eq!(house.ask(&content).await.status, 404, "not there yet");
    for _ in 0..3 {
        house.polled(&job).await;
    }
    let answer = house.ask(&content).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("video/mp4")));
    assert_eq!(answer.body, b"\0\0\0\x18ftypmp42 not really a video");
    assert_eq!(house.went_up().last().unwrap().target, format!("{}/content?index=0", job.poll));
    assert_eq!(house.asked_about(&job), [0; 5]);
    house.assert_books_balance().await;
}

#[tokio::test]
async fn the_addresses_of_a_jobs_result_lead_here() {
    let house = House::new(1, EAGER).await;
    let job = house.started(FIXTURE).await;
    let mut done = Value::Null;
    for _ in 0..3 {
        done = house.polled(&job).await;
    }
    assert_eq!(done["unsigned_urls"], json!([format!("{HERE}{}/content?index=0", job.poll)]));
    let relative = house.started("google/veo-3.1").await;
    while done["id"] != json!(relative.id) || done["status"] != "completed" {
        done = house.polled(&relative).await;
    }
    assert_eq!(done["unsigned_urls"], json!([format!("{}/content?index=0", relative.poll)]));
    let behind_tls = Ask::get(&job.poll).header("x-forwarded-proto", "https");
    let polling_url = house.ask(&behind_tls).await.json()["polling_url"].clone();
    assert_eq!(polling_url, json!(format!("https://127.0.0.1{}", job.poll)));
}

#[tokio::test]
async fn jobs_of_several_keys_do_not_get_mixed_up() {
    let house = House::new(3, EAGER).await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(house.started("google/veo-3.1").await);
    }
    for job in jobs.iter().rev().chain(&jobs) {
        house.polled(job).await;
    }
    for (key, job) in jobs.iter().enumerate() {
        assert_eq!(house.asked_about(job), [key; 2]);
    }
    house.assert_books_balance().await;
    assert!(house.overview().await.keys.iter().all(|key| key.totals.spent_total > potluck::money::Usd::ZERO));
}

#[tokio::test]
async fn a_job_nobody_polls_to_its_end_is_settled_all_the_same() {
    let house = House::new(1, EAGER).await;
    let job = house.started(FIXTURE).await;
    // Somebody else's polls finish it, so only the upstream's record tells.
    let key = house.went_up()[0].header("authorization")[0].to_owned();
    for _ in 0..3 {
        Ask::get(&job.poll).header("authorization", &key).send(house.sim.addr()).await;
    }
    house.assert_books_balance().await;
    assert!(house.overview().await.spent_total > potluck::money::Usd::ZERO);
}

#[tokio::test]
async fn a_job_that_failed_costs_nothing() {
    let house = House::new(1, EAGER).await;
    house.sim.script(Script::next(Play { inside: Some(0), ..Play::refuse("502") }));
    let job = house.started("google/veo-3.1").await;
    let mut status = json!("in_progress");
    while status == "in_progress" {
        status = house.polled(&job).await["status"].clone();
    }
    assert_eq!(status, "failed");
    house.assert_books_balance().await;
    assert_eq!(house.overview().await.spent_total, potluck::money::Usd::ZERO);
}

#[tokio::test]
async fn a_submission_goes_to_another_key_when_one_refuses() {
    let house = House::new(2, EAGER).await;
    house.silence_probes();
    house.sim.script(Script::always(Play::refuse("402-credits")).on_key(0));
    let job = house.started("google/veo-3.1").await;
    while house.polled(&job).await["status"] != "completed" {}
    assert!(house.asked_about(&job).iter().all(|key| *key == 1));
    assert_eq!(house.used()[..2], [0, 1]);
    house.assert_books_balance().await;
}

#[tokio::test]
async fn jobs_that_are_not_ours_are_not_asked_about() {
    let house = House::new(1, "").await;
    // Started on the very account of the pooled key, but not through the pool.
    let sibling = house.sim.make_key(0, potluck::simulator::KeySettings::default());
    let bearer = format!("Bearer {}", sibling.text);
    let theirs = submit("google/veo-3.1").header("authorization", &bearer).send(house.sim.addr()).await.json();
    let before = house.sim.received();
    for id in [theirs["id"].as_str().unwrap(), "never-started"] {
        for path in [format!("/v1/videos/{id}"), format!("{VIDEOS}/{id}/content?index=0")] {
            let answer = house.ask(&Ask::get(&path)).await;
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("job_not_found")), "{path}");
        }
    }
    assert_eq!(house.sim.received(), before);
}

#[tokio::test]
async fn a_job_outlives_a_restart_and_ends_with_its_key() {
    let house = House::new(2, PATIENT).await;
    let job = house.started(FIXTURE).await;
    let house = house.restart().await;
    assert_eq!(house.polled(&job).await["status"], "in_progress");
    assert_eq!(house.asked_about(&job), [0]);
    // The job's owner can still be asked when it has no credit left.
    let first = house.overview().await.keys[0].id;
    house.say(first, Health::Depleted).await;
    house.polled(&job).await;
    assert_eq!(house.asked_about(&job), [0, 0]);
    house.pot.withdraw(KeyRef::Id(first)).await.unwrap();
    let answer = house.ask(&Ask::get(&job.poll)).await;
    assert_eq!((answer.status, house.asked_about(&job).len()), (404, 2), "no other key is asked");
}

#[tokio::test]
async fn the_trouble_of_a_jobs_key_is_not_its_clients_to_see() {
    let house = House::new(2, PATIENT).await;
    let job = house.started(FIXTURE).await;
    house.sim.edit_key(0, |key| key.disabled = true);
    let answer = house.ask(&Ask::get(&job.poll)).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("job_key_unavailable")));
    assert_eq!(house.asked_about(&job), [0]);
    house.sim.edit_key(0, |key| key.disabled = false);
    house.pass(Duration::from_secs(1));
    house.polled(&job).await;
}

#[tokio::test]
async fn batches_are_refused_with_the_reason() {
    let house = House::new(1, "").await;
    let before = house.sim.received();
    for target in ["/api/beta/batches", "/api/v1/batches", "/v1/batches", "/api/beta/batches/b-1"] {
        for ask in [Ask::post(target, r#"{"requests":[]}"#), Ask::get(target)] {
            let answer = house.ask(&ask).await;
            let error = &answer.json()["error"];
            assert_eq!((answer.status, &error["code"]), (501, &json!("batches_not_supported")), "{target}");
            assert!(error["message"].as_str().unwrap().contains("send single requests"), "{error}");
        }
    }
    // Anthropic's client has its own path for them, and its own shape of errors.
    let answer = house.ask(&Ask::post("/v1/messages/batches", r#"{"requests":[]}"#)).await;
    assert_eq!((answer.status, &answer.json()["type"]), (404, &json!("error")));
    assert_eq!(house.sim.received(), before);
}
