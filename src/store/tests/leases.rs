//! Limits as they are kept, and what is leased within them.

use std::sync::atomic::Ordering;

use super::connection::Database;
use super::*;
use crate::money::{ModelGlobs, PurseFigures, UsageCheck};

async fn draw(store: &Store, key: KeyId, least: i64, want: i64) -> Grant {
    store.draw(key, usd(least), usd(want), NOON.day()).await.expect("answered")
}

/// What is granted, or zero.
async fn drawn(store: &Store, key: KeyId, least: i64, want: i64) -> i64 {
    draw(store, key, least, want).await.amount.as_pico()
}

/// Settled in all, in suspense, leased by this process and by others.
async fn purse(store: &Store, key: KeyId) -> [i64; 4] {
    let PurseFigures { total, suspense, lease, others, .. } = store.purse(key).await.expect("readable");
    [total, suspense, lease, others].map(Usd::as_pico)
}

#[tokio::test]
async fn limits_and_usage_checks_are_kept_and_every_change_is_on_record() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let at_first = capped(1, &[(Window::Day, 100), (Window::Total, 900)]);
    let key = store.add_key(at_first.clone()).await.expect("added");
    let plain = store.add_key(new_key(2)).await.expect("added");
    let limits = Limits {
        caps: [(Window::Week, usd(5_000_000_000_000)), (Window::Month, usd(7))].into_iter().collect(),
        reserve: Some(usd(250_000_000_000)),
        models: ModelGlobs::new(["anthropic/*", "*:free"]),
        concurrency: Some(3),
        paused: true,
        expires_at: Some(NOON),
    };
    let loaded = |key: usize| {
        let (_store, loaded) = open(crash(place.path()).path());
        loaded.keys[key].clone()
    };
    assert_eq!((loaded(0).key.limits, loaded(1).key.limits), (at_first.limits, Limits::default()));
    store.set_limits(key, limits.clone()).await.expect("written");
    assert_eq!((loaded(0).key.limits, loaded(1).key.limits), (limits, Limits::default()));
    let told: String = by_hand(place.path())
        .query_row("SELECT detail FROM audit WHERE action = 'limits_set' AND key = 1", [], |row| row.get(0))
        .expect("on record");
    assert_eq!(
        told,
        r#"{"week":"5","month":"0.000000000007","reserve":"0.25","models":["anthropic/*","*:free"],"concurrency":3,"paused":true,"expires_at":"2027-01-15T08:00:00Z"}"#
    );
    let nobody = store.set_limits(KeyId(99), Limits::default()).await;
    assert!(matches!(nobody, Err(StoreError::NoSuchKey(KeyId(99)))));
    assert!(matches!(store.purse(KeyId(99)).await, Err(StoreError::NoSuchKey(KeyId(99)))));

    let check =
        UsageCheck { at: NOON, usage: usd(9), settled: usd(4), before: usd(3), elsewhere: usd(3), drift: usd(-1) };
    assert_eq!((loaded(1).usage, store.usage_check(plain).await.expect("readable")), (None, None));
    store.save_usage_check(plain, check).await.expect("written");
    assert_eq!((loaded(0).usage, loaded(1).usage), (None, Some(check)));
    assert_eq!(store.usage_check(plain).await.expect("readable"), Some(check));
    assert!(matches!(store.save_usage_check(KeyId(99), check).await, Err(StoreError::NoSuchKey(_))));
}

#[tokio::test]
async fn limits_that_cannot_be_read_do_not_become_none() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    store.add_key(new_key(1)).await.expect("added");
    store.close().expect("closed");
    by_hand(place.path()).execute("UPDATE keys SET models = 'anthropic/*'", []).expect("changed");
    let opened = Store::open(options(place.path()), &Clock::manual(NOON)).map(drop);
    assert!(matches!(&opened, Err(StoreError::Damaged(why)) if why.contains("limits of key k1")), "{opened:?}");
}

#[tokio::test]
async fn no_more_is_leased_than_the_tightest_cap_leaves() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(capped(1, &[(Window::Day, 100), (Window::Month, 130)])).await.expect("added");
    assert_eq!(drawn(&store, key, 101, 101).await, 0);
    assert_eq!(drawn(&store, key, 30, 40).await, 40);
    assert_eq!(drawn(&store, key, 61, 80).await, 0, "less than the least is of no use");
    assert_eq!(drawn(&store, key, 10, 80).await, 60);
    assert_eq!(drawn(&store, key, 0, 80).await, 0);
    assert_eq!(purse(&store, key).await, [0, 0, 100, 0]);

    // What was spent takes the place of what was held for it; the rest of a hold is free again.
    book(&store, Entry { held: Some(usd(40)), ..entry(1, key, 25) });
    assert_eq!(drawn(&store, key, 16, 16).await, 0);
    assert_eq!(drawn(&store, key, 1, 99).await, 15);
    assert_eq!(purse(&store, key).await, [25, 0, 75, 0]);
    book(&store, Entry { held: Some(usd(50)), ..unknown(2, key) });
    assert_eq!(purse(&store, key).await, [25, 50, 25, 0]);
    assert_eq!(drawn(&store, key, 1, 99).await, 0, "an unknown cost counts in full");
    let open_cost = store.suspense_of(request(2), 1).await.expect("readable").expect("in suspense");
    assert_eq!(open_cost.held, Some(usd(50)));
    assert_eq!(store.suspense_of_key(key).await.expect("readable"), std::slice::from_ref(&open_cost));
    assert_eq!(store.suspense_summary().await.expect("readable").held, usd(50));
    assert!(store.settle(open_cost.id, settlement(45)).await.expect("written"));
    assert_eq!(purse(&store, key).await, [70, 0, 25, 0]);

    // On the next day the month's cap is the tighter one; what is leased counts on every day.
    let tomorrow = NOON.next_midnight().day();
    let grant = store.draw(key, usd(1), usd(99), tomorrow).await.expect("answered");
    assert_eq!((grant.amount, grant.figures.lease), (usd(35), usd(60)));
    assert_eq!(grant.figures.days.into_iter().collect::<Vec<_>>(), [(NOON.day(), usd(70))]);
    balanced(&store).await;
}

#[tokio::test]
async fn a_clock_set_back_gives_nothing_back() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(capped(1, &[(Window::Day, 100)])).await.expect("added");
    let ahead = NOON.after(Duration::from_secs(400 * 86_400));
    book(&store, Entry { at: ahead, ..entry(1, key, 90) });
    assert_eq!(drawn(&store, key, 1, 99).await, 10);
    let before = Day::from_number(NOON.day().number() - 40);
    assert_eq!(store.draw(key, usd(1), usd(99), before).await.expect("answered").amount, Usd::ZERO);
    assert_eq!(store.draw(key, usd(1), usd(99), ahead.day()).await.expect("answered").amount, Usd::ZERO);
    let after = Day::from_number(ahead.day().number() + 1);
    assert_eq!(store.draw(key, usd(1), usd(99), after).await.expect("answered").amount, usd(90));
}

#[tokio::test]
async fn keys_without_caps_are_granted_everything_and_unbounded_costs_stop_keys_with_caps() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let (free, tight) = (new_key(1), capped(2, &[(Window::Total, 1000)]));
    let (free, tight) = (store.add_key(free).await.expect("added"), store.add_key(tight).await.expect("added"));
    for key in [free, tight] {
        book(&store, unknown(u128::from(key.0), key));
    }
    assert_eq!(drawn(&store, free, 5, 1_000_000).await, 1_000_000);
    let refused = draw(&store, tight, 0, 10).await;
    assert_eq!((refused.amount, refused.figures.suspense_unbounded), (Usd::ZERO, 1));
    let open_cost = store.suspense_of_key(tight).await.expect("readable")[0].id;
    assert!(store.settle(open_cost, settlement(999)).await.expect("written"));
    assert_eq!(drawn(&store, tight, 0, 10).await, 1);
    store.remove_key(tight).await.expect("removed");
    let gone = store.draw(tight, Usd::ZERO, usd(1), NOON.day()).await;
    assert!(matches!(gone, Err(StoreError::NoSuchKey(key)) if key == tight));
}

#[tokio::test]
async fn what_is_given_back_can_be_leased_again_and_no_lease_falls_below_nothing() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(capped(1, &[(Window::Week, 100)])).await.expect("added");
    assert_eq!(drawn(&store, key, 100, 100).await, 100);
    store.give_back(key, usd(10));
    store.give_back(key, usd(20));
    store.give_back(key, usd(-500));
    assert_eq!(drawn(&store, key, 30, 99).await, 30, "both are back before the draw");
    book(&store, Entry { held: Some(usd(70)), ..entry(1, key, 70) });
    store.give_back(key, usd(31));
    assert_eq!(purse(&store, key).await, [70, 0, 0, 0]);
    // More than was leased, as after a cap was lowered: the truth is booked all the same.
    book(&store, Entry { held: Some(usd(5)), ..entry(2, key, 60) });
    assert_eq!(purse(&store, key).await, [130, 0, 0, 0]);
    assert_eq!(drawn(&store, key, 0, 1).await, 0);
    balanced(&store).await;
}

#[tokio::test]
async fn a_start_knows_what_caps_are_measured_against() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let tight = store.add_key(capped(1, &[(Window::Month, 1000)])).await.expect("added");
    let free = store.add_key(new_key(2)).await.expect("added");
    let day = |days: i64| Timestamp::from_millis(NOON.as_millis() + days * 86_400_000);
    for (number, key) in [(1, tight), (101, free)] {
        for (number, days) in (number..).zip([0, -1, -40, 1, 500]) {
            book(&store, Entry { at: day(days), ..entry(number, key, 10) });
        }
        book(&store, Entry { held: Some(usd(7)), ..unknown(number + 10, key) });
        book(&store, unknown(number + 11, key));
        store.draw(key, Usd::ZERO, usd(5), NOON.day()).await.expect("answered");
    }
    let mut now = store.purse(tight).await.expect("readable");
    assert_eq!(now.days.keys().copied().collect::<Vec<_>>(), [-1, 0, 1, 500].map(|days| day(days).day()));
    let (_store, loaded) = open(crash(place.path()).path());
    // Another process's lease is others' now.
    now.others = std::mem::take(&mut now.lease);
    assert_eq!(loaded.keys[0].purse, now);
    let mut now = store.purse(free).await.expect("readable");
    now.others = std::mem::take(&mut now.lease);
    assert_eq!(loaded.keys[1].purse, PurseFigures { days: Default::default(), ..now });
    assert_eq!(loaded.keys[1].purse.others, usd(5));
    assert_eq!((loaded.keys[0].purse.suspense, loaded.keys[0].purse.suspense_unbounded), (usd(7), 1));
}

#[tokio::test]
async fn an_orderly_end_gives_everything_back() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(capped(1, &[(Window::Day, 100)])).await.expect("added");
    assert_eq!(drawn(&store, key, 60, 60).await, 60);
    store.use_unbounded(key).await.expect("durable");
    let slot = store.slot().expect("room");
    store.flush().await.expect("durable");
    assert_eq!(number(place.path(), "SELECT count(*) FROM leases WHERE amount = 60 AND unbounded = 1"), 1);
    slot.book(Entry { held: Some(usd(20)), ..entry(1, key, 15) });
    store.close().expect("closed");
    assert_eq!(number(place.path(), "SELECT count(*) FROM leases"), 0);
    assert_eq!(number(place.path(), "SELECT count(*) FROM epochs WHERE closed_at IS NULL"), 0);
    let (store, loaded) = open(place.path());
    assert_eq!((loaded.keys[0].purse.others, loaded.keys[0].purse.total), (Usd::ZERO, usd(15)));
    assert_eq!(store.bury().await.expect("written"), []);
    assert_eq!(drawn(&store, key, 85, 85).await, 85);
}

#[tokio::test]
async fn what_cannot_be_written_is_not_granted_and_nothing_is_counted_twice() {
    let place = tempfile::tempdir().expect("a directory");
    let options = options(place.path());
    let database = Database::at(&options.path);
    let pages_max = Arc::clone(&database.pages_max);
    let (store, _) = start::open(database, options, &Clock::manual(NOON)).expect("opens");
    let key = store.add_key(capped(1, &[(Window::Day, 1_000)])).await.expect("added");
    assert_eq!(drawn(&store, key, 200, 200).await, 200);
    let mut slots: Vec<_> = (0..300).map(|_| store.slot().expect("room")).collect();
    let (mut last, mut intended) = (slots.pop().expect("one"), slots.pop().expect("one"));
    let spare = slots.split_off(260);
    last.sent(intent(1, key, Some(50)));
    intended.sent(intent(2, key, Some(60)));
    // The limit counts for the next connection: the one that is opened after a failure.
    let full = number(place.path(), "PRAGMA page_count");
    pages_max.store(u32::try_from(full).expect("small"), Ordering::SeqCst);
    by_hand(place.path())
        .execute_batch("CREATE TRIGGER fails BEFORE INSERT ON day_totals BEGIN SELECT RAISE(ABORT, 'no'); END")
        .expect("made");
    last.book(Entry { held: Some(usd(50)), ..entry(1, key, 50) });
    store.flush().await.expect_err("nothing can be booked");
    by_hand(place.path()).execute_batch("DROP TRIGGER fails").expect("dropped");
    for (number, slot) in (1000..).zip(slots) {
        slot.book(Entry { held: Some(usd(0)), generation: GenerationId::parse(&[b'g'; 128]), ..entry(number, key, 0) });
    }
    store.give_back(key, usd(30));
    let refused = store.draw(key, usd(1), usd(100), NOON.day()).await;
    assert!(matches!(&refused, Err(StoreError::Unwritable(why)) if why.contains("full")), "{refused:?}");
    assert!(!store.healthy() && store.slot().is_none(), "what cannot be booked must not be spent");
    assert_eq!(number(place.path(), "SELECT amount FROM leases"), 200);

    pages_max.store(0, Ordering::SeqCst);
    store.flush().await.expect("there is room again");
    assert_eq!(purse(&store, key).await, [50, 0, 120, 0], "200, less a hold of 50 and the 30 given back");
    assert_eq!(number(place.path(), "SELECT amount FROM leases"), 120);
    // Of the two one is still under way, and is written down when it has been for a moment.
    let written = async {
        while number(place.path(), "SELECT count(*) FROM intents") != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.expect("one of the two is written down");
    assert_eq!(drawn(&store, key, 830, 830).await, 830);
    assert_eq!(drawn(&store, key, 1, 1).await, 0);
    drop((intended, spare));
    balanced(&store).await;
}
