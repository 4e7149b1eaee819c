//! Attempts under way: written only when they take long, and never for longer than they take.

use super::*;

const LONG: Duration = Duration::from_millis(150);

/// Every write of an attempt under way is counted.
fn counted(place: &Path) -> Connection {
    let hand = by_hand(place);
    hand.execute_batch(
        "CREATE TABLE writes (what TEXT);
         CREATE TRIGGER w AFTER INSERT ON intents BEGIN INSERT INTO writes VALUES ('written'); END;
         CREATE TRIGGER d AFTER DELETE ON intents BEGIN INSERT INTO writes VALUES ('deleted'); END;",
    )
    .expect("made");
    hand
}

fn writes(hand: &Connection) -> Vec<String> {
    let mut writes = hand.prepare("SELECT what FROM writes ORDER BY rowid").expect("there");
    writes.query_map([], |row| row.get(0)).and_then(Iterator::collect).expect("readable")
}

#[tokio::test]
async fn an_attempt_that_is_soon_over_is_never_written() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    let hand = counted(place.path());
    for number in 1..200 {
        let mut slot = store.slot().expect("room");
        slot.sent(intent(number, key, None));
        slot.named(GenerationId::parse(b"gen-1").expect("an id"));
        match number % 3 {
            0 => drop(slot),
            _ => slot.book(entry(number, key, 1)),
        }
        if number % 40 == 0 {
            store.flush().await.expect("durable");
        }
    }
    store.flush().await.expect("durable");
    tokio::time::sleep(LONG).await;
    assert_eq!(writes(&hand), [""; 0]);
}

#[tokio::test]
async fn one_that_takes_long_is_written_by_itself_and_its_name_too() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    let hand = counted(place.path());
    let (mut booked, mut dropped) = (store.slot().expect("room"), store.slot().expect("room"));
    booked.sent(intent(1, key, Some(12)));
    dropped.sent(intent(2, key, None));
    tokio::time::sleep(LONG).await;
    assert_eq!(writes(&hand), ["written"; 2]);
    booked.named(GenerationId::parse(b"gen-x").expect("an id"));
    tokio::time::sleep(LONG).await;
    let name =
        |number| hand.query_row("SELECT generation FROM intents WHERE request = ?1", (number,), |row| row.get(0));
    let named: Option<String> = name(request(1).0.into_bytes()).expect("a row");
    let unnamed: Option<String> = name(request(2).0.into_bytes()).expect("a row");
    assert_eq!((named.as_deref(), unnamed), (Some("gen-x"), None));
    booked.named(GenerationId::parse(b"gen-x").expect("an id"));
    tokio::time::sleep(LONG).await;
    // A row that is replaced is deleted without its trigger, unless triggers are recursive, as they are here.
    assert_eq!(writes(&hand), ["written", "written", "deleted", "written"], "told again is not written again");

    booked.book(Entry { held: Some(usd(12)), ..entry(1, key, 9) });
    drop(dropped);
    store.flush().await.expect("durable");
    assert_eq!(number(place.path(), "SELECT count(*) FROM intents"), 0);
    assert_eq!(number(place.path(), "SELECT count(*) FROM entries"), 1);
    store.close().expect("closed");
    assert_eq!(number(place.path(), "SELECT count(*) FROM epochs WHERE closed_at IS NULL"), 0);
}

#[tokio::test]
async fn a_place_that_is_used_again_stands_for_its_last_attempt() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    let mut slot = store.slot().expect("room");
    slot.sent(intent(1, key, None));
    tokio::time::sleep(LONG).await;
    slot.sent(intent(2, key, None));
    tokio::time::sleep(LONG).await;
    assert_eq!(number(place.path(), "SELECT count(*) FROM intents"), 1);
    let found = crash(place.path());
    let (next, _) = open(found.path());
    next.bury().await.expect("written");
    assert!(next.suspense_of(request(1), 1).await.expect("readable").is_none());
    assert!(next.suspense_of(request(2), 1).await.expect("readable").is_some());
    drop(slot);
    store.flush().await.expect("durable");
    assert_eq!(number(place.path(), "SELECT count(*) FROM intents"), 0);
}
