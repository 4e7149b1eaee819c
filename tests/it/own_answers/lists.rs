//! Public lists: without a key, and as often as the upstream's own `Cache-Control` says.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::{Ask, House};

use super::{PREFIXES, assert_open_to_browsers};

const LISTS: [&str; 10] = [
    "models",
    "models/count",
    "model/openai/gpt-4o-mini",
    "models/openai/gpt-4o-mini/endpoints",
    "endpoints/zdr",
    "providers",
    "embeddings/models",
    "images/models",
    "images/models/google/gemini-2.5-flash-image/endpoints",
    "videos/models",
];

/// How often the upstream was asked for that.
fn fetched(house: &House, target: &str) -> usize {
    house.sim.log().iter().filter(|entry| entry.target == target).count()
}

#[tokio::test]
async fn every_public_list_is_there_without_a_key() {
    // Not even one in the pool: nobody's key is needed.
    let house = House::new(0, "").await;
    for list in LISTS {
        let target = format!("/api/v1/{list}");
        let direct = Ask::get(&target).send(house.sim.addr()).await;
        house.forget_log();
        for prefix in PREFIXES {
            let ask = Ask::get(&format!("{prefix}/{list}")).header("authorization", "Bearer sk-or-v1-not-one");
            let answer = house.ask(&ask).await;
            assert_eq!((answer.status, &answer.body), (200, &direct.body), "{list}");
            assert_eq!(answer.header("cache-control"), direct.header("cache-control"), "{list}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_open_to_browsers(&answer, list);
        }
        let log = house.sim.log();
        assert_eq!(log.len(), 1, "{list}: fetched once");
        assert!(log[0].header("authorization").is_empty() && log[0].header("x-api-key").is_empty(), "{list}");
    }
}

#[tokio::test]
async fn many_clients_share_one_fetch() {
    let house = House::new(1, "").await;
    let mut clients = JoinSet::new();
    for _ in 0..30 {
        let proxy = house.proxy;
        clients.spawn(async move { Ask::get("/api/v1/models").send(proxy).await });
    }
    let answers = clients.join_all().await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
    assert_eq!(fetched(&house, "/api/v1/models"), 1);
}

#[tokio::test]
async fn a_list_is_fetched_again_when_its_time_is_over_and_no_sooner() {
    let house = House::new(1, "").await;
    let ask = async || assert_eq!(house.ask(&Ask::get("/v1/models")).await.status, 200);
    ask().await;
    house.pass(Duration::from_secs(119));
    ask().await;
    assert_eq!(fetched(&house, "/api/v1/models"), 1, "max-age=120");
    house.pass(Duration::from_secs(2));
    ask().await;
    house.until("it is fetched behind the client's back", |_| fetched(&house, "/api/v1/models") == 2).await;
    ask().await;
    assert_eq!(fetched(&house, "/api/v1/models"), 2);
}

#[tokio::test]
async fn a_list_is_there_while_the_upstream_is_away() {
    let house = House::new(1, "").await;
    let fresh = house.ask(&Ask::get("/v1/models")).await;
    house.sim.close_port(true).await;
    house.pass(Duration::from_secs(3000));
    let stale = house.ask(&Ask::get("/v1/models")).await;
    assert_eq!((stale.status, &stale.body), (200, &fresh.body), "stale-if-error=3600");
    house.pass(Duration::from_secs(2000));
    let gone = house.ask(&Ask::get("/v1/models")).await;
    assert_eq!(gone.status, 502, "{}", gone.text());
    assert_open_to_browsers(&gone, "an upstream that is away");
    house.sim.open_port().await;
    house.pass(Duration::from_secs(60));
    assert_eq!(house.ask(&Ask::get("/v1/models")).await.status, 200);
}

#[tokio::test]
async fn only_what_the_list_depends_on_goes_up() {
    let house = House::new(1, "").await;
    let targets = [
        ("/v1/models?output_modalities=all", "/api/v1/models?output_modalities=all"),
        ("/v1/models?limit=2&offset=1&_=17", "/api/v1/models?limit=2&offset=1"),
        ("/api/v1/models?offset=1&limit=2", "/api/v1/models?limit=2&offset=1"),
    ];
    for (asked, up) in targets {
        let direct = Ask::get(up).send(house.sim.addr()).await;
        house.forget_log();
        assert_eq!(house.ask(&Ask::get(asked)).await.body, direct.body, "{asked}");
        assert!(house.sim.log().iter().all(|entry| entry.target == up), "{asked}");
    }
    assert_eq!(house.sim.log().len(), 0, "the last spelling was the same list");
}
