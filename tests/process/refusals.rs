//! Starts that must not succeed: the exit code, what is said, and that nothing else suffers.

use crate::support::{Ask, CHAT, MODEL, Place, chat, free_address, output, simulator};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_data_is_refused_and_told_why() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let running = place.start().await;
    for second in [place.moved(), place.clone()] {
        let mut second = second.spawn(&[]);
        assert_eq!(second.end().await, 1);
        let said = second.log();
        for part in ["potluck: another potluck works with", "potluck.db", "--data-dir", "--upgrade"] {
            assert!(said.contains(part), "should say {part:?}: {said}");
        }
    }
    assert_eq!(place.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200, "the first one is not disturbed");
    place.assert_books_balance(&simulator).await;
    running.stop().await;
    // Nothing is left behind that would keep the next one out.
    place.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named_at_once() {
    let (simulator, _) = simulator(0).await;
    for (taken, setting) in [("POTLUCK_LISTEN", "proxy.listen"), ("POTLUCK_ADMIN_LISTEN", "admin.listen")] {
        let address = free_address();
        let _taker = std::net::TcpListener::bind(address).expect("free");
        let place = Place::new(&simulator, "").env(taken, &address.to_string());
        let mut running = place.spawn(&[]);
        assert_eq!(running.end().await, 1);
        let said = running.log();
        for part in [setting, taken, &address.to_string(), "something listens already"] {
            assert!(said.contains(part), "should say {part:?}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_wrong_settings_from_everything_else() {
    let (simulator, _) = simulator(0).await;
    let place = Place::new(&simulator, "");
    let check = async |place: &Place, words: &[&str], code: i32, says: &str| {
        let output = output(place.command(words)).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?} should say {says:?}: {said}");
    };
    let open = place.clone().env("POTLUCK_CLIENTS", "open");
    check(&open, &["run", "--listen", "0.0.0.0:1"], 64, "everybody who can reach 0.0.0.0:1 spend the donors' credit")
        .await;
    check(&place, &["--listen", "nowhere"], 64, "proxy.listen").await;
    check(&place, &["run", "-c", "/nowhere.toml"], 64, "/nowhere.toml").await;
    check(&place.clone().env("POTLUCK_CLIENTS", "open?"), &[], 64, "clients.mode (POTLUCK_CLIENTS)").await;
    check(&place.clone().env("POTLUCK_UPSTREAM", "http://openrouter.ai/api/v1"), &[], 64, "upstream.base_url").await;
    check(&place.clone().env("OPENROUTER_KEYS", "sk-ant-1"), &[], 64, "OPENROUTER_KEYS").await;
    check(&place.clone().env("POTLUCK_ADMIN_LISTEN", "0.0.0.0:1"), &[], 64, "POTLUCK_ADMIN_TOKEN").await;
    check(&place, &["run", "--no-such-flag"], 64, "--no-such-flag").await;
    check(&place.clone().env("POTLUCK_DATA_DIR", "/dev/null/data"), &[], 1, "/dev/null/data").await;
    check(&place, &["status"], 1, "no potluck answers").await;
    check(&place, &["keys", "remove", "k1"], 1, "no potluck answers").await;
    check(&place, &["keys", "add"], 64, "no key to add").await;
    check(&place, &["simulate", "--listen", "0.0.0.0:1"], 1, "loopback").await;
}
