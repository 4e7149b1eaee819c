//! What a thief of the files gets, and what somebody who changes them does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::Connection;

use super::*;
use crate::secret::Secret;

/// 64 hex digits that stand nowhere else.
const CANARY: &str = "c0ffee5a1adb0w1c0ffee5a1adb0w1c0ffee5a1adb0w1c0ffee5a1adb0w1beef";

fn canary() -> NewKey {
    let credential = Credential::parse(&format!("sk-or-v1-{CANARY}")).expect("well formed");
    NewKey { credential: Arc::new(credential), ..new_key(1) }
}

/// Everything in the directory of the database, by name.
fn files(place: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |file: fs::DirEntry| {
        (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).expect("a readable file"))
    };
    fs::read_dir(place.join("data")).expect("the directory").map(|file| read(file.expect("a file"))).collect()
}

/// Nothing of `secret` stands in any file, in any form that can be read back: as it is, a part of it, in hex or base64.
fn nowhere(place: &Path, secret: &str) {
    let parts = secret.as_bytes().windows(12).map(<[u8]>::to_vec);
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
    // What comes before a text shifts its base64 by up to two characters.
    let base64 = (0..3).map(|shift| STANDARD.encode(&secret[shift..]).as_bytes()[4..40].to_vec());
    let forms: Vec<Vec<u8>> = parts.chain([hex]).chain(base64).collect();
    for (name, content) in files(place) {
        for form in &forms {
            let found = memchr::memmem::find(&content, form);
            assert_eq!(found, None, "{} in {name}", String::from_utf8_lossy(form));
        }
    }
}

#[tokio::test]
async fn no_file_holds_a_key_in_clear() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(canary()).await.expect("added");
    book(&store, entry(1, key, 42));
    store.flush().await.expect("durable");
    let names: Vec<String> = files(place.path()).into_iter().map(|(name, _)| name).collect();
    for name in ["potluck.db", "potluck.db-wal", "potluck.db-shm", "master.key"] {
        assert!(names.iter().any(|n| n == name), "{name} is not among {names:?}");
        let mode = fs::metadata(place.path().join("data").join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    nowhere(place.path(), CANARY);
    store.close().expect("closed");
    nowhere(place.path(), CANARY);
    let (_store, loaded) = open(place.path());
    assert!(loaded.keys[0].key.credential.expose().ends_with(CANARY), "and yet it is there");
}

#[tokio::test]
async fn a_removed_key_leaves_not_even_its_sealed_text_behind() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let donor = NewKey { donor_name: Some("Donor Canary-Name".to_owned()), ..canary() };
    let key = store.add_key(donor).await.expect("added");
    let sealed: Vec<u8> = Connection::open(options(place.path()).path)
        .and_then(|hand| hand.query_row("SELECT sealed FROM keys", [], |row| row.get(0)))
        .expect("a row");
    let found = |what: &[u8]| files(place.path()).iter().any(|(_, file)| memchr::memmem::find(file, what).is_some());
    assert!(found(&sealed) && found(b"Canary-Name"));
    store.remove_key(key).await.expect("removed");
    // Readers that were in the way just then let the log be emptied at the next commit.
    store.flush().await.expect("durable");
    assert!(!found(&sealed), "the sealed text is still in a file");
    assert!(!found(b"Canary-Name"), "the donor's name is still in a file");
}

#[tokio::test]
async fn a_row_that_was_changed_by_hand_is_not_served_and_not_touched() {
    const SWAP_TEXTS: &str = "CREATE TEMP TABLE old AS SELECT id, sealed FROM keys; \
         UPDATE keys SET sealed = (SELECT old.sealed FROM old WHERE old.id = 3 - keys.id) WHERE id < 3";
    const SWAP_ROWS: &str = "UPDATE keys SET id = id + 100 WHERE id < 3; UPDATE keys SET id = 2 WHERE id = 101; \
         UPDATE keys SET id = 1 WHERE id = 102";
    const COPY_TEXT: &str = "UPDATE keys SET sealed = (SELECT o.sealed FROM keys AS o WHERE o.id = 3) WHERE id = 1";
    const CUT_TEXT: &str = "UPDATE keys SET sealed = x'' WHERE id = 2";
    let table = [(SWAP_TEXTS, vec![1, 2]), (SWAP_ROWS, vec![1, 2]), (COPY_TEXT, vec![1]), (CUT_TEXT, vec![2])];
    for (change, damaged) in table {
        let place = tempfile::tempdir().expect("a directory");
        let (store, _) = open(place.path());
        for number in 1..=3 {
            store.add_key(new_key(number)).await.expect("added");
        }
        store.close().expect("closed");
        let hand = Connection::open(options(place.path()).path).expect("opens");
        hand.execute_batch(change).expect(change);
        let rows = |hand: &Connection| -> Vec<(u32, Vec<u8>)> {
            let mut rows = hand.prepare("SELECT id, sealed FROM keys ORDER BY id").expect("a query");
            let read = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
            read.map(|row| row.expect("a row")).collect()
        };
        let before = rows(&hand);
        let (store, loaded) = open(place.path());
        assert_eq!(loaded.damaged.iter().map(|id| id.0).collect::<Vec<_>>(), damaged, "{change}");
        assert_eq!(loaded.keys.len() + loaded.damaged.len(), 3);
        for good in &loaded.keys {
            assert_eq!(good.key.credential.expose(), credential(good.id.0).expose(), "{change}");
        }
        store.close().expect("closed");
        assert_eq!(rows(&hand), before, "{change}");
    }
}

#[tokio::test]
async fn without_the_right_master_key_nothing_opens_and_the_reason_is_said() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    store.add_key(canary()).await.expect("added");
    store.close().expect("closed");
    let file = options(place.path()).master_key_file;
    let right = fs::read_to_string(&file).expect("the master key");
    let before = files(place.path());
    let wrong = "ab".repeat(32);
    let given = |text: &str| StoreOptions { master_key: Some(Secret::new(text)), ..options(place.path()) };
    let refusal = |options: StoreOptions| {
        Store::open(options, &Clock::manual(NOON)).map(drop).expect_err("it must not open").to_string()
    };
    let check = |said: String, expected: &[&str]| {
        for part in expected {
            assert!(said.contains(part), "{part:?} is not in {said:?}");
        }
        assert!(!said.contains(&wrong[..16]) && !said.contains(&right[..16]), "{said}");
    };
    check(refusal(given(&wrong)), &["POTLUCK_MASTER_KEY", "not the one", "Nothing was changed"]);
    check(refusal(given(&wrong[..63])), &["POTLUCK_MASTER_KEY", "64 hex digits"]);
    fs::write(&file, &wrong).expect("written");
    check(refusal(options(place.path())), &["master.key", "not the one"]);
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("set");
    check(refusal(options(place.path())), &["can be read by others", "chmod 600"]);
    fs::remove_file(&file).expect("removed");
    check(refusal(options(place.path())), &["restore", "master.key"]);
    assert!(!file.exists(), "no new key is made over sealed rows");
    let content = |files: &[(String, Vec<u8>)]| files.iter().find(|(n, _)| n == "potluck.db").map(|(_, c)| c.clone());
    assert!(content(&files(place.path())) == content(&before), "nothing was changed meanwhile");

    let (_, loaded) = Store::open(given(right.trim()), &Clock::manual(NOON)).expect("the right one opens");
    assert!(loaded.keys[0].key.credential.expose().ends_with(CANARY));
}

#[tokio::test]
async fn nothing_printable_holds_a_secret() {
    let place = tempfile::tempdir().expect("a directory");
    let master = "9e".repeat(32);
    let options = StoreOptions { master_key: Some(Secret::new(master.clone())), ..options(place.path()) };
    let mut seen = format!("{options:?} {options:#?}");
    let (store, _) = Store::open(options.clone(), &Clock::manual(NOON)).expect("opens");
    store.add_key(canary()).await.expect("added");
    let twice = store.add_key(canary()).await.expect_err("present");
    seen += &format!("{store:?} {:?} {:#?} {twice} {twice:?}", canary(), canary());
    store.close().expect("closed");
    let (_, loaded) = Store::open(options, &Clock::manual(NOON)).expect("opens");
    seen += &format!("{loaded:?} {loaded:#?}");
    for secret in [&CANARY[..12], &CANARY[40..52], &master[..12]] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
}
