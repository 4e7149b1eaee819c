//! The other commands, against a running potluck.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use potluck::simulator::SimKey;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Ask, CHAT, MODEL, Place, Running, chat, free_address, output, simulator, with_patience};

/// What a command prints, when it succeeds.
async fn prints(command: Command) -> String {
    let output = output(command).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said, "", "nothing goes wrong");
    String::from_utf8(output.stdout).expect("text")
}

async fn json(place: &Place, words: &[&str]) -> Value {
    let text = prints(place.command(words)).await;
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{words:?}: {why}: {text}"))
}

/// `potluck keys add` with the key on standard input.
fn add(place: &Place, key: &SimKey, words: &[&str]) -> (Option<i32>, String) {
    let mut command = place.command(&[&["keys", "add"], words].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    writeln!(child.stdin.take().expect("piped"), "{}", key.text).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_are_managed_from_a_terminal() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys).env("POTLUCK_CLIENTS", "required");
    let running = place.start().await;
    let text = prints(place.command(&["clients", "add", "ann", "--models", "openai/*", "--note", "x"])).await;
    let (said, key) = text.trim_end().split_once('\n').expect("two lines");
    assert_eq!(said, "c1 (ann) may use the pool. Its key, shown this once:");
    let added = json(&place, &["clients", "add", "bob", "--concurrency", "3", "--json"]).await;
    assert_eq!((&added["id"], &added["client"]["concurrency"]), (&"c2".into(), &3.into()));
    let ask = |key: &str| Ask::post(CHAT, chat(MODEL)).header("authorization", &format!("Bearer {key}"));
    assert_eq!(place.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 401);
    for key in [key, added["key"].as_str().expect("a key")] {
        assert_eq!(place.ask(&ask(key)).await.status, 200);
    }
    let text = prints(place.command(&["clients", "list"])).await;
    for part in ["ann", "bob", "active"] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "it fits a terminal: {text}");
    let text = prints(place.command(&["clients", "show", "c1"])).await;
    for part in ["c1 (ann)", "openai/*", "active", &key[72..]] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    assert!(!text.contains(&key[..70]));
    let changed = json(&place, &["clients", "change", "c1", "--no-models", "--expires", "2100-01-01", "--json"]).await;
    assert_eq!((changed["models"].as_array().map(Vec::len), &changed["note"]), (Some(0), &"x".into()));
    assert_eq!(changed["expiresAt"], "2100-01-01T00:00:00Z");
    let text = prints(place.command(&["clients", "rotate", "--end-tokens"])).await;
    assert!(text.contains("a new key") && text.contains("have ended"), "{text}");
    assert_eq!(prints(place.command(&["clients", "revoke", "c1"])).await, "c1 (ann) may not use the pool any more\n");
    assert_eq!(place.ask(&ask(key)).await.status, 401);
    assert!(prints(place.command(&["clients", "show", "c1"])).await.contains("revoked"));
    let output = output(place.command(&["clients", "revoke", "c1"])).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(
        said,
        "potluck: no such client, or its key is revoked: `potluck clients list` and GET /clients have those there are\n"
    );
    assert!(!running.log().contains(&key[4..20]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_are_managed_from_a_terminal() {
    let (simulator, keys) = simulator(3).await;
    let place = Place::new(&simulator, "");
    let running = place.start().await;
    assert!(prints(place.command(&["status"])).await.contains("the pool is empty: add a key with `potluck keys add`"));

    let (code, text) = add(&place, &keys[0], &["--label", "alice", "--donor-name", "Alice A."]);
    assert_eq!((code, text.as_str()), (Some(0), mask_line(&keys[0], "k1", "is in the pool of 1").as_str()));
    let (code, text) = add(&place, &keys[1], &["--label", "bob", "--json"]);
    let donated: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (code, &donated["success"], &donated["id"], &donated["totalKeys"]),
        (Some(0), &true.into(), &"k2".into(), &2.into())
    );
    let from_env = place.clone().env("CHARLIES_KEY", &keys[2].text);
    let text = prints(from_env.command(&["keys", "add", "--from-env", "CHARLIES_KEY"])).await;
    assert_eq!(text, mask_line(&keys[2], "k3", "is in the pool of 3"));
    let (code, text) = add(&place, &keys[0], &[]);
    assert_eq!((code, text.as_str()), (Some(1), "potluck: the key is in the pool already, as k1\n"));

    assert_eq!(place.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    let text = prints(place.command(&["status"])).await;
    for part in ["keys      3: 3 healthy\n", "requests  1, 100.00% succeeded; 0 under way\n", "alice", "bob"] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    assert_eq!(json(&place, &["status", "--json"]).await["openrouter"]["totalKeys"], 3);

    let note = ["keys", "health", "k1", "depleted", "--note", "ran dry"];
    let text = prints(place.command(&note)).await;
    assert_eq!(text, mask_line(&keys[0], "k1", "is depleted"));
    let text = prints(place.command(&["keys", "list"])).await;
    for part in ["alice", "depleted", "ran dry", &keys[0].text[69..]] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    let set = json(&place, &["keys", "health", "k1", "rate_limited", "--json"]).await;
    assert_eq!((&set["status"], &set["success"]), (&"rate_limited".into(), &true.into()));
    assert!(set["health"]["until"].is_string(), "{set}");

    let text = prints(place.command(&["keys", "remove", "k2"])).await;
    assert_eq!(text, format!("k2 (sk-or-v1-…{}) is out of the pool; 2 left\n", &keys[1].text[69..]));
    let removed = json(&place, &["keys", "remove", "k3", "--json"]).await;
    assert_eq!((&removed["id"], &removed["totalKeys"]), (&"k3".into(), &1.into()));
    let listed = json(&place, &["keys", "list", "--json"]).await;
    assert_eq!((&listed["model"], &listed["totalKeys"]), (&"openrouter".into(), &1.into()));
    assert_eq!(listed["keys"][0]["label"], "alice");
    let gone = output(place.command(&["keys", "remove", "k2"])).await;
    assert_eq!(gone.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&gone.stderr), "potluck: no such key in the pool\n");
    running.stop().await;
}

fn mask_line(key: &SimKey, id: &str, what: &str) -> String {
    format!("{id} (sk-or-v1-…{}) {what}\n", &key.text[69..])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_admin_api_and_nothing_else_does() {
    const TOKEN: &str = "a-token-of-thirty-two-characters";
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys).env("POTLUCK_ADMIN_TOKEN", TOKEN);
    let running = place.start().await;
    assert_eq!(json(&place, &["status", "--json"]).await["openrouter"]["totalKeys"], 1);
    for wrong in ["", "a-token-of-31-characters-is-not!"] {
        let stranger = if wrong.is_empty() {
            let mut command = place.command(&["keys", "list"]);
            command.env_remove("POTLUCK_ADMIN_TOKEN");
            command
        } else {
            place.clone().env("POTLUCK_ADMIN_TOKEN", wrong).command(&["keys", "list"])
        };
        let output = output(stranger).await;
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &[][..]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("wants its admin token") && !said.contains(TOKEN), "{said}");
    }
    assert!(!running.log().contains(TOKEN));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_judges_without_serving_or_touching_anything() {
    let (simulator, keys) = simulator(2).await;
    let place = Place::new(&simulator, "[proxy]\nthreads = 2\n").keys(&keys);
    let text = prints(place.command(&["check", "-c", "potluck.toml"])).await;
    for part in [
        "the configuration is good",
        "(2 threads; whoever reaches it)",
        &place.proxy.to_string(),
        "2 from the environment",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    assert!(!text.contains(&keys[0].text[9..20]));
    assert!(!place.data().exists(), "nothing was made");
    let bad = output(place.command(&["check", "-c", "potluck.toml", "--set", "proxy.threads=0"])).await;
    assert_eq!(bad.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("proxy.threads (--set)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn simulate_is_an_openrouter_that_a_pool_can_be_put_before() {
    let (unused, _) = simulator(0).await;
    let place = Place::new(&unused, "");
    let listen = free_address();
    let mut command = place.command(&["simulate", "--accounts", "2", "--listen", &listen.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), format!("simulated OpenRouter on http://{listen}/api/v1"));
    let keys: Vec<String> = std::iter::repeat_with(&mut next)
        .filter_map(|line| Some(line.split_once("  ")?.1.to_owned()))
        .filter(|key| key.starts_with("sk-or-v1-"))
        .take(2)
        .collect();
    let place = place.env("POTLUCK_UPSTREAM", &format!("http://{listen}/api/v1"));
    let place = place.env("OPENROUTER_KEYS", &keys.join(","));
    let running = place.start().await;
    assert_eq!(place.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    let bill = Ask::get("/_sim/bill").send(listen).await.json();
    assert_eq!(bill["generations"].as_array().expect("generations").len(), 1, "{bill:#}");
    let healthy = place.status_when("both are verified", |status| {
        status["keys"].as_array().expect("keys").iter().all(|key| key["verified"] == true)
    });
    assert_eq!(healthy.await["health"]["healthy"], 2);
    running.stop().await;
    end(&mut child, Signal::INT).await;
}

/// End a process in order.
async fn end(child: &mut Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a signal");
    let status = with_patience("it ends", async || child.try_wait().expect("a child")).await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_its_whole_story_and_its_books_are_equal() {
    let (unused, _) = simulator(0).await;
    let place = Place::new(&unused, "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_potluck"));
    command.args(["demo", "--once", "--plain", "--pace-ms", "0"]).env_clear().current_dir(place.folder());
    let output = output(command).await;
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}\n{said}");
    let mut rest = told.as_ref();
    for part in [
        "alice", "Act 1", "Act 2", "depleted", "Act 3", "Act 4", "healthy", "Act 5", "suspense", "Act 6", "dana",
        "erin", "_routing", "books",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} should come next in: {rest}"));
        rest = &rest[at + part.len()..];
    }
    for name in ["alice", "bob", "charlie"] {
        let amounts = |line: &str| -> Vec<String> {
            line.split_whitespace().filter(|word| word.starts_with('$')).map(str::to_owned).collect()
        };
        let of_name = rest.lines().filter(|line| line.trim_start().starts_with(name)).map(amounts);
        let sides = of_name.filter(|amounts| amounts.len() == 2).collect::<Vec<_>>();
        assert!(matches!(&sides[..], [s] if s[0] == s[1] && s[0] != "$0"), "{name}: {sides:?} in {rest}");
    }
    assert!(!told.contains('\u{1b}'), "plain is plain");
    assert_eq!(std::fs::read_dir(place.folder()).expect("a folder").count(), 1, "nothing is left behind");
    the_demo_ends_serving_the_calls_it_prints().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn demos_that_start_in_the_same_moment_keep_apart() {
    let demos: Vec<_> = (0..4)
        .map(|_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_potluck"));
            command.args(["demo", "--once", "--plain", "--pace-ms", "0"]).env_clear();
            tokio::spawn(output(command))
        })
        .collect();
    for demo in demos {
        let output = demo.await.expect("no panic");
        let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{told}\n{said}");
        assert!(told.contains("Act 6"), "{told}");
    }
}

/// Part of the test above, as it takes a while.
async fn the_demo_ends_serving_the_calls_it_prints() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_potluck"));
    command.args(["demo", "--plain", "--pace-ms", "0"]).env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let told = BufReader::new(child.stdout.take().expect("piped"));
    let (found, mut addresses) = tokio::sync::mpsc::unbounded_channel::<SocketAddr>();
    // Reads to the end, as a terminal does.
    std::thread::spawn(move || {
        let called = |line: &str| line.split_once("curl -s http://")?.1.split('/').next()?.parse().ok();
        told.lines().map_while(Result::ok).filter_map(|line| called(&line)).try_for_each(|to| found.send(to)).ok()
    });
    let mut next = async || {
        let next = tokio::time::timeout(Duration::from_secs(30), addresses.recv());
        next.await.expect("in time").expect("calls of both listeners are printed")
    };
    let (proxy, admin) = (next().await, next().await);
    assert_eq!(Ask::post(CHAT, chat(MODEL)).send(proxy).await.status, 200);
    assert_eq!(Ask::get("/status").send(admin).await.json()["openrouter"]["health"]["healthy"], 3);
    end(&mut child, Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_error() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let running: Running = place.start().await;
    let mut command = place.command(&["status"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output =
        tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("no panic").expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[][..]));
    running.stop().await;
}
