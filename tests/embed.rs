//! `examples/embed.rs`: the pool inside somebody else's Pingora server, beside their own service.

mod support;

use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use support::{Ask, CHAT, MODEL, Place, Running, chat, chat_stream, free_address, simulator, with_patience};

/// Where tests/run has cargo build the example; this test is `target/debug/deps/embed-…`.
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let built = test.parent().and_then(|deps| deps.parent()).expect("a target folder").join("examples/embed");
    assert!(built.exists(), "{} is not built: tests/run does that, as does cargo build --examples", built.display());
    built
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_serves_its_own_and_the_pool() {
    let (simulator, keys) = simulator(2).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let hello = free_address();
    let mut command = Command::new(example());
    let settings = place.command(&[]);
    command.env_clear().envs(settings.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("HELLO_LISTEN", hello.to_string()).current_dir(place.folder());
    let mut running = Running::spawn(&place, command);
    running.serving().await;
    with_patience("the host's own service listens", async || tokio::net::TcpStream::connect(hello).await.ok()).await;

    let host = Ask::get("/").send(hello).await;
    assert_eq!((host.status, host.text().as_str()), (200, "hello from the host\n"));
    for body in [chat(MODEL), chat_stream(MODEL)] {
        let answer = place.ask(&Ask::post(CHAT, body)).await;
        assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
    }
    place.status_when("both are booked", |status| status["stats"]["totalRequests"] == 2).await;
    place.assert_books_balance(&simulator).await;
    assert_eq!(Ask::get("/metrics").send(place.admin).await.status, 200);

    running.signal(Signal::INT);
    assert_eq!(running.end().await, 0, "{}", running.log());
    // What the host's process has booked, the binary finds on the same data.
    let alone = place.start().await;
    assert_eq!(place.status().await["stats"]["totalRequests"], 2);
    place.assert_books_balance(&simulator).await;
    alone.stop().await;
}
