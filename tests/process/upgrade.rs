//! `potluck run --upgrade`: a successor takes the listening sockets over, with a stream open and requests coming in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Ask, CHAT, MODEL, Place, chat, chat_stream, simulator, with_patience};

/// Clients that go on asking, each time on a new connection, until they are stopped; how often they were answered.
struct Crowd {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Crowd {
    fn gather(place: &Place, clients: usize) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let client = |number: usize| {
            let (stop, answered, to) = (Arc::clone(&stop), Arc::clone(&answered), place.proxy);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let body = if number.is_multiple_of(2) { chat(MODEL) } else { chat_stream(MODEL) };
                    let answer = Ask::post(CHAT, body).send(to).await;
                    assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, answered, clients }
    }

    /// Wait until each could have asked some times more.
    async fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        with_patience("requests are answered", async || {
            (self.answered.load(Ordering::Relaxed) > before + 20).then_some(())
        })
        .await;
    }

    async fn leaves(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("no request failed");
        }
        self.answered.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_successor_takes_over_and_no_client_notices() {
    let (simulator, keys) = simulator(3).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let mut old = place.start().await;
    let mut stream = Ask::post(CHAT, chat_stream("sim/fixture-8")).open(place.proxy).await;
    stream.chunk().await.expect("not at its end").expect("a chunk");
    let crowd = Crowd::gather(&place, 4);
    crowd.goes_on().await;

    let mut new = place.spawn(&["--upgrade"]);
    new.says("ready to take over").await;
    // What changes before the sockets do must not be lost: the successor has read the store once already.
    let late = simulator.funded_key(potluck::simulator::Pico::usd(10));
    let offer = Ask::post("/keys/openrouter", format!(r#"{{"key":"{}"}}"#, late.text)).send(place.admin).await;
    assert_eq!(offer.status, 200, "{}", offer.text());
    old.signal(Signal::QUIT);
    new.says("potluck serves").await;
    crowd.goes_on().await;
    // Both listen for a while; keys can only be changed where the change is not forgotten.
    let changes = with_patience("the old one was asked, too", async || {
        let body = r#"{"id":"k1","status":"healthy"}"#;
        let answer = Ask::post("/health/openrouter", body).send(place.admin).await;
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(changes.json()["error"]["code"], "draining");
    assert_eq!(changes.header("retry-after"), Some("1"));

    old.says("draining: no new connections").await;
    assert!(old.ended().is_none(), "a stream is open: {}", old.log());
    crowd.goes_on().await;
    simulator.release();
    let rest = stream.rest().await;
    assert!(rest.whole && rest.text().contains("data: [DONE]"), "{}", rest.text());
    assert_eq!(old.end().await, 0, "{}", old.log());
    crowd.goes_on().await;
    let answered = crowd.leaves().await;

    let status = place.status().await;
    assert_eq!(status["totalKeys"], 4, "{status:#}");
    assert_eq!(status["stats"]["totalRequests"], answered + 1, "the ledger has the requests of both: {status:#}");
    assert_eq!(status["stats"]["successRate"], "100.00%");
    place.assert_books_balance(&simulator).await;

    // The claim on the data went over with the sockets.
    let mut third = place.moved().spawn(&[]);
    assert_eq!(third.end().await, 1);
    assert!(new.ended().is_none());
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_predecessor_there_is_nothing_to_take_over() {
    let (simulator, _) = simulator(0).await;
    let place = Place::new(&simulator, "");
    let mut successor = place.spawn(&["--upgrade"]);
    assert_eq!(successor.end().await, 1);
    assert!(successor.log().contains("start without --upgrade"), "{}", successor.log());
}
