//! How a process ends when it is told to, with a stream open.

use std::time::Duration;

use potluck::clock::Tick;
use potluck::simulator::SimulatorHandle;
use rustix::process::Signal;

use crate::support::{
    Ask, CHAT, Cut, MODEL, Place, Reading, Running, Wire, chat, chat_stream, nothing_happens, simulator, with_patience,
};

/// A stream that waits before its last events until the simulator lets it go on.
const HELD: &str = "sim/fixture-8";

/// A potluck with one key and an open stream whose first chunk has come.
async fn streaming(settings: &str) -> (SimulatorHandle, Place, Running, Reading) {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, settings).keys(&keys);
    let running = place.start().await;
    let mut stream = Ask::post(CHAT, chat_stream(HELD)).open(place.proxy).await;
    assert_eq!(stream.status, 200);
    stream.chunk().await.expect("not at its end").expect("a chunk");
    (simulator, place, running, stream)
}

async fn refuses_connections(place: &Place) {
    with_patience("new connections are refused", async || {
        tokio::net::TcpStream::connect(place.proxy).await.is_err().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_stream_come_to_its_end_and_ends_at_once_then() {
    let (simulator, place, mut running, stream) = streaming("").await;
    running.signal(Signal::TERM);
    refuses_connections(&place).await;
    nothing_happens(Duration::from_millis(500), || running.ended().map(|how| format!("ended too early: {how}"))).await;
    simulator.release();
    let rest = stream.rest().await;
    assert!(rest.whole && rest.text().contains("data: [DONE]"), "{}", rest.text());
    let drained = Tick::now();
    assert_eq!(running.end().await, 0, "{}", running.log());
    assert!(drained.elapsed() < Duration::from_secs(2), "30 s of drain timeout were left: {:?}", drained.elapsed());
    assert!(running.log().contains("drained"), "{}", running.log());

    let again = place.start().await;
    assert_eq!(place.status().await["suspense"]["entries"], 0, "the cost was seen and booked");
    place.assert_books_balance(&simulator).await;
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_with_nothing_to_drain_ends_at_once() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let mut running = place.start().await;
    // A kept connection without a request is nothing to wait for.
    let (answer, _idle) = Ask::post(CHAT, chat(MODEL)).open(place.proxy).await.rest_and_wire().await;
    assert_eq!(answer.status, 200);
    let told = Tick::now();
    running.signal(Signal::TERM);
    assert_eq!(running.end().await, 0);
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_had_just_connected_when_sigterm_came_is_still_served() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let mut running = place.start().await;
    let early = Wire::connect(place.proxy).await;
    // Connections are accepted in order: when this one is served, the one before it has been let in.
    assert_eq!(place.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    running.signal(Signal::TERM);
    running.says("draining").await;
    let answer = early.ask(&Ask::post(CHAT, chat(MODEL))).await.rest().await;
    assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
    assert_eq!(running.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_cuts_what_outlasts_the_drain_timeout_and_forgets_no_cost() {
    let (simulator, place, mut running, mut stream) = streaming("[proxy]\ndrain_timeout_ms = 300\n").await;
    let told = Tick::now();
    running.signal(Signal::TERM);
    let end = loop {
        match stream.chunk().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(Cut))), "a cut stream must not look whole");
    let cut = told.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(4)).contains(&cut), "{cut:?}");
    assert_eq!(running.end().await, 0, "{}", running.log());

    let again = place.start().await;
    place.assert_books_balance(&simulator).await;
    assert!(simulator.bill().total.0 > 0, "the cut stream was billed");
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_ends_at_once_and_forgets_no_cost() {
    let (simulator, place, mut running, stream) = streaming("").await;
    let told = Tick::now();
    running.signal(Signal::INT);
    assert_eq!(running.end().await, 0, "{}", running.log());
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    assert!(!stream.rest().await.whole);

    let again = place.start().await;
    place.assert_books_balance(&simulator).await;
    assert!(simulator.bill().total.0 > 0, "the cut stream was billed");
    again.stop().await;
}
