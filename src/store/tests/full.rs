//! No room: in the queue, and on the disk.

use std::sync::atomic::Ordering;

use super::connection::Database;
use super::*;

fn open_with(place: &Path, places: usize) -> Store {
    let options = StoreOptions { queue_max_entries: places, ..options(place) };
    Store::open(options, &Clock::manual(NOON)).expect("opens").0
}

#[tokio::test]
async fn a_full_queue_reserves_nothing_until_a_place_is_given_back_or_written() {
    let place = tempfile::tempdir().expect("a directory");
    let store = open_with(place.path(), 3);
    let key = store.add_key(new_key(1)).await.expect("added");
    assert_eq!(store.free_slots(), 3);
    let mut slots: Vec<_> = (0..3).map(|_| store.slot().expect("room")).collect();
    assert!(store.slot().is_none() && store.free_slots() == 0);
    assert!(store.healthy(), "full is not broken");

    drop(slots.pop());
    assert_eq!(store.free_slots(), 1);
    slots.push(store.slot().expect("room again"));
    assert!(store.slot().is_none());

    for (number, slot) in (1..).zip(slots) {
        slot.book(entry(number, key, 10));
    }
    store.flush().await.expect("durable");
    assert_eq!(store.free_slots(), 3, "what is durable takes no place");
    assert_eq!(store.totals(NOON.day()).await.expect("readable").spent_total.as_pico(), 30);
    balanced(&store).await;
}

#[tokio::test]
async fn many_threads_never_get_more_places_than_there_are() {
    let place = tempfile::tempdir().expect("a directory");
    let store = open_with(place.path(), 64);
    let key = store.add_key(new_key(1)).await.expect("added");
    let booked: i64 = std::thread::scope(|scope| {
        let worker = |thread: u128| {
            let store = store.clone();
            scope.spawn(move || {
                let mut booked = 0;
                for number in 0..200 {
                    assert!(store.free_slots() <= 64);
                    if let Some(slot) = store.slot() {
                        slot.book(entry(thread * 1000 + number, key, 1));
                        booked += 1;
                    }
                }
                booked
            })
        };
        let workers: Vec<_> = (0..4).map(worker).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).sum()
    });
    store.flush().await.expect("durable");
    assert_eq!(store.free_slots(), 64);
    let totals = store.totals(NOON.day()).await.expect("readable");
    assert_eq!(totals.spent_total.as_pico(), booked, "whatever got a place is in the books");
    assert!(booked >= 64);
    balanced(&store).await;
}

#[tokio::test]
async fn a_full_disk_refuses_new_places_and_writes_what_had_one_when_there_is_room_again() {
    let place = tempfile::tempdir().expect("a directory");
    let options = options(place.path());
    let database = Database::at(&options.path);
    let pages_max = Arc::clone(&database.pages_max);
    pages_max.store(64, Ordering::SeqCst);
    let (store, _) = start::open(database, options, &Clock::manual(NOON)).expect("opens");
    let key = store.add_key(new_key(1)).await.expect("added");
    let held = store.slot().expect("room");
    let mut booked = 0;
    while let Some(slot) = store.slot() {
        slot.book(entry(1000 + booked, key, 10));
        booked += 1;
        if booked % 50 == 0 {
            // Fails at last; that is what is waited for.
            store.flush().await.ok();
        }
        assert!(booked < 10_000, "the disk never ran full");
    }
    assert!(!store.healthy(), "what cannot be booked must not be spent");
    held.book(entry(1, key, 1));
    let refused = store.flush().await;
    assert!(matches!(&refused, Err(StoreError::Unwritable(why)) if why.contains("full")), "{refused:?}");
    assert!(matches!(store.add_key(new_key(3)).await, Err(StoreError::Unwritable(_))));

    pages_max.store(0, Ordering::SeqCst);
    store.flush().await.expect("there is room again");
    assert!(store.healthy() && store.slot().is_some());
    let totals = store.totals(NOON.day()).await.expect("readable");
    let expected = i64::try_from(booked).expect("few") * 10 + 1;
    assert_eq!(totals.spent_total.as_pico(), expected, "each entry is in the books, and once");
    assert_eq!(store.free_slots(), 1000);
    balanced(&store).await;
}

#[tokio::test]
async fn closing_waits_for_a_place_that_is_still_to_be_booked() {
    let place = tempfile::tempdir().expect("a directory");
    let store = open_with(place.path(), 8);
    let key = store.add_key(new_key(1)).await.expect("added");
    let slot = store.slot().expect("room");
    let closing = std::thread::spawn({
        let store = store.clone();
        move || store.close()
    });
    while store.slot().is_some() {
        std::thread::yield_now();
    }
    slot.book(entry(1, key, 12));
    closing.join().expect("no panic").expect("everything is written");
    let (store, loaded) = open(place.path());
    assert_eq!(loaded.keys[0].spent, Usd::from_pico(12));
    balanced(&store).await;
}
