//! Nothing that is secret comes out anywhere: planted keys, tokens and credentials are looked for in every answer, in
//! the log, in the metrics and in the files.

mod binary;
mod needles;
mod printed;
mod scene;

use potluck::simulator::error_names;

use crate::support::Ask;
use needles::Needles;
use scene::Scene;

const TOKEN: &str = "admin-canary-5e7f90c3a1b24d68";
const WRONG_TOKEN: &str = "admin-wrong-77c0ffee77c0ffee";
/// A key that is offered, and taken by nobody.
const STRAY: &str = "sk-or-v1-57a7c4a7e57a7c4a7e57a7c4a7e57a7c4a7e57a7c4a7e57a7c4a7e57a7c4a7e5";
const CLIENT: &str = "sk-client-canary-91b0aa17c3d2e4f5";
const COOKIE: &str = "session-canary-0a1b2c3d4e5f6071";

/// An error behind an answer's first content is passed on byte for byte like the content, with the page of the key that this
/// one names: the one thing of a donor's that comes down.
const PASSED_ON: &str = "chat 402-leaky inside=2 true";

impl Scene {
    /// What belongs to the secrets of keys, tokens and credentials.
    fn secrets(&self) -> Needles {
        let mut needles = Needles::new();
        for line in self.sim.bill().keys {
            needles.secret(&format!("key {}", line.index), &line.name);
        }
        needles.secret("a client key", &self.client[0]);
        needles.secret("a token", &self.client[1]);
        for (name, text) in [
            ("the admin token", TOKEN),
            ("a wrong admin token", WRONG_TOKEN),
            ("a stray key", STRAY),
            ("a client's credential", CLIENT),
            ("a client's cookie", COOKIE),
        ] {
            needles.secret(name, text);
        }
        needles
    }

    /// What belongs to donors: their accounts at OpenRouter, and what would lead there.
    async fn donors(&self) -> Needles {
        let mut needles = Needles::new();
        for key in &self.keys {
            let bearer = format!("Bearer {}", key.text);
            let facts = Ask::get("/api/v1/key").header("authorization", &bearer).send(self.sim.addr()).await.json();
            for field in ["label", "creator_user_id", "workspace_id"] {
                needles.exactly(field, facts["data"][field].as_str().unwrap().as_bytes());
            }
        }
        needles.exactly("a user id", b"user_");
        needles
    }
}

#[tokio::test]
async fn no_secret_comes_out_anywhere() {
    let mut scene = Scene::set().await;
    scene.reports().await;
    scene.every_error().await;
    scene.upstream_garbage().await;
    scene.bad_requests().await;
    scene.admin_calls().await;
    scene.clients().await;
    scene.reports().await;
    let (secrets, donors) = (scene.secrets(), scene.donors().await);
    let command_line = scene.potluck.command_line();
    let running = scene.potluck.files();
    scene.potluck.stop().await;

    let by_clients = scene.seen.by_clients.lock().unwrap();
    assert!(by_clients.len() > error_names().count() * 12, "{}", by_clients.len());
    let mut of_keys = Needles::new();
    for key in &scene.keys {
        let hash = potluck::secret::Fingerprint::of(&key.text);
        of_keys.exactly("a key's hash", hash.to_string().as_bytes());
        of_keys.exactly("a key's mask", &key.text.as_bytes()[key.text.len() - 8..]);
    }
    for (what, bytes) in by_clients.iter() {
        let place = format!("the answer to {what}");
        secrets.assert_not_in(&place, bytes);
        donors.assert_not_in(&place, bytes);
        if what != PASSED_ON {
            of_keys.assert_not_in(&place, bytes);
        }
    }
    let by_operators = scene.seen.by_operators.lock().unwrap();
    for (what, bytes) in by_operators.iter() {
        secrets.assert_not_in(&format!("the admin answer to {what}"), bytes);
        donors.assert_not_in(&format!("the admin answer to {what}"), bytes);
    }
    let log = scene.potluck.log();
    assert!(log.contains("key state changed") && log.contains("attempt broke off"), "the log is the log: {log}");
    assert!(!log.contains("panic"), "{log}");
    for needles in [&secrets, &donors] {
        for line in log.lines() {
            needles.assert_not_in("the log", line.as_bytes());
        }
    }
    secrets.assert_not_in("the command line", &command_line);
    files_hold_nothing(&secrets, [running, scene.potluck.files()].concat(), &log);
}

/// No file holds a secret, and the master key is in its own file alone.
fn files_hold_nothing(secrets: &Needles, files: Vec<(String, Vec<u8>)>, log: &str) {
    assert!(files.iter().any(|(name, content)| name.ends_with("potluck.db") && content.len() > 4096));
    let (_, master) = files.iter().find(|(name, _)| name.ends_with("master.key")).unwrap();
    let master = std::str::from_utf8(master).unwrap().trim();
    let mut of_master = Needles::new();
    of_master.secret("the master key", master);
    for (name, content) in &files {
        secrets.assert_not_in(name, content);
        if !name.ends_with("master.key") {
            of_master.assert_not_in(name, content);
        }
    }
    of_master.assert_not_in("the log", log.as_bytes());
}
