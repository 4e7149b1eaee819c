//! Processes that end without closing the store.

use super::*;
use crate::money::PurseFigures;

/// A moment longer than an attempt is kept in memory only.
const LONG: Duration = Duration::from_millis(120);

async fn others(store: &Store, key: KeyId) -> (i64, bool) {
    let PurseFigures { others, others_unbounded, .. } = store.purse(key).await.expect("readable");
    (others.as_pico(), others_unbounded)
}

fn recovered(pico: i64) -> Recovered {
    Recovered { at: NOON.after(Duration::from_secs(9)), amount: usd(pico), day: NOON.day(), basis: Basis::Usage }
}

/// A store that was at work when its machine lost its power: a lease of 100, of which one attempt holds 30 and is named,
/// one holds 20, and one was booked; and a key that is used without holds.
async fn crashed() -> (tempfile::TempDir, KeyId, KeyId) {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let tight = store.add_key(capped(1, &[(Window::Day, 150)])).await.expect("added");
    let free = store.add_key(new_key(2)).await.expect("added");
    store.draw(tight, usd(100), usd(100), NOON.day()).await.expect("granted");
    store.use_unbounded(free).await.expect("durable");
    let mut slots: Vec<_> = (0..3).map(|_| store.slot().expect("room")).collect();
    slots[0].sent(Intent { client: Some(crate::money::ClientId(7).into()), ..intent(1, tight, Some(30)) });
    slots[1].sent(intent(2, tight, Some(20)));
    slots[2].sent(intent(3, free, None));
    tokio::time::sleep(LONG).await;
    slots[0].named(GenerationId::parse(b"gen-named").expect("an id"));
    tokio::time::sleep(LONG).await;
    book(&store, Entry { held: Some(usd(10)), ..entry(4, tight, 9) });
    store.flush().await.expect("durable");
    (crash(place.path()), tight, free)
}

#[tokio::test]
async fn what_was_under_way_is_booked_and_what_was_leased_counts_until_it_is_accounted_for() {
    let (place, tight, free) = crashed().await;
    let (store, loaded) = open(place.path());
    assert_eq!(loaded.keys[0].purse.others, usd(90));
    assert!(loaded.keys[1].purse.others_unbounded && !loaded.keys[0].purse.others_unbounded);
    let buried = store.bury().await.expect("written");
    assert_eq!(buried, [Buried { epoch: 1, opened_at: NOON, attempts: 3, keys: vec![tight, free] }]);
    let stale = |key, amount, unbounded| StaleLease { key, epoch: 1, amount: usd(amount), unbounded, since: NOON };
    assert_eq!(store.stale_leases().await.expect("readable"), [stale(tight, 40, false), stale(free, 0, true)]);

    let named = store.suspense_of(request(1), 1).await.expect("readable").expect("in suspense");
    assert_eq!(named.generation.as_ref().map(GenerationId::as_str), Some("gen-named"));
    assert_eq!((named.key, named.held, named.opened_at), (tight, Some(usd(30)), NOON));
    assert_eq!(store.suspense_of_key(tight).await.expect("readable").len(), 2);
    assert_eq!(store.suspense_of_key(free).await.expect("readable")[0].held, None);
    let line = store.ledger(LedgerFilter::default(), None, 10).await.expect("readable").lines;
    assert!(line.iter().any(|line| line.client == Some(crate::money::ClientId(7)) && line.outcome == Outcome::Broken));

    // 9 settled, 50 in suspense, 40 stale.
    let grant = store.draw(tight, usd(51), usd(60), NOON.day()).await.expect("granted");
    assert_eq!((grant.amount, others(&store, tight).await), (usd(51), (40, false)));
    assert!(store.absolve(tight, Some(recovered(15))).await.expect("written"));
    assert!(!store.absolve(tight, Some(recovered(15))).await.expect("nothing is left to do"));
    store.absolve(free, None).await.expect("written");
    assert_eq!((others(&store, tight).await, others(&store, free).await), ((0, false), (0, false)));
    assert_eq!(store.stale_leases().await.expect("readable"), []);
    let totals = store.totals(NOON.day()).await.expect("readable");
    assert_eq!((totals.spent_today, totals.per_key[&tight].spent_total), (usd(24), usd(24)));
    assert_eq!(store.draw(tight, usd(25), usd(99), NOON.day()).await.expect("granted").amount, usd(25));
    balanced(&store).await;
}

#[tokio::test]
async fn a_recovery_is_a_line_of_its_own() {
    let (place, tight, _) = crashed().await;
    let (store, _) = open(place.path());
    store.bury().await.expect("written");
    store.absolve(tight, Some(recovered(15))).await.expect("written");
    let page =
        store.ledger(LedgerFilter { key: Some(tight), ..LedgerFilter::default() }, None, 1).await.expect("readable");
    let line = &page.lines[0];
    assert_eq!((line.kind, line.basis, line.attempt), (LineKind::Correction, Some(Basis::Usage), 0));
    assert_eq!((line.endpoint, line.outcome, line.cost), (None, Outcome::Broken, Some(usd(15))));
    let receipt = store.receipt(tight, NOON.day(), NOON.day()).await.expect("readable");
    assert_eq!((receipt.sums.amount, receipt.sums.by_usage, receipt.sums.estimated), (usd(24), usd(15), Usd::ZERO));
    assert_eq!((receipt.suspense, receipt.suspense_held), (2, usd(50)));
}

/// Each amount is what the others leave: with one of them gone, all are wrong.
#[tokio::test]
async fn what_a_comparison_has_found_is_booked_whole_or_not_at_all() {
    let (place, tight, _) = crashed().await;
    let (store, _) = open(place.path());
    store.bury().await.expect("written");
    let open = store.suspense_of_key(tight).await.expect("readable");
    let none = Usd::ZERO;
    let check = UsageCheck { at: NOON, usage: usd(31), settled: usd(31), before: none, elsewhere: none, drift: none };
    let settle = open.iter().map(|entry| (entry.id, Settlement { basis: Basis::Usage, ..settlement(7) })).collect();
    let finding = Finding { settle, recovered: Some(recovered(8)), check };
    store.settle(open[1].id, settlement(3)).await.expect("written");
    let late = store.reckon(tight, finding.clone()).await;
    assert!(matches!(late, Err(StoreError::NoSuchSuspense(id)) if id == open[1].id), "{late:?}");
    assert_eq!(store.suspense_of_key(tight).await.expect("readable"), open[..1]);
    assert_eq!(others(&store, tight).await, (40, false));
    assert_eq!(store.usage_check(tight).await.expect("readable"), None);
    let in_time = Finding { settle: finding.settle[..1].to_vec(), ..finding };
    assert!(store.reckon(tight, in_time).await.expect("written"));
    assert_eq!(
        (store.suspense_of_key(tight).await.expect("readable"), others(&store, tight).await),
        (vec![], (0, false))
    );
    assert_eq!(store.usage_check(tight).await.expect("readable"), Some(check));
    balanced(&store).await;
}

#[tokio::test]
async fn burying_can_itself_be_killed_and_happens_once() {
    let (place, ..) = crashed().await;
    for _ in 0..3 {
        let (store, _) = open(place.path());
        // The writer has not got as far as the end of its transaction.
        let before = crash(place.path());
        store.bury().await.expect("written");
        assert_eq!(store.bury().await.expect("answered"), []);
        assert_eq!(number(place.path(), "SELECT count(*) FROM entries WHERE outcome = 'broken'"), 3);
        assert_eq!(number(place.path(), "SELECT count(*) FROM intents"), 0);
        balanced(&store).await;
        let (again, _) = open(before.path());
        let buried = again.bury().await.expect("written");
        assert!(buried.iter().map(|buried| buried.attempts).sum::<u64>() <= 3);
        assert_eq!(number(before.path(), "SELECT count(*) FROM entries WHERE outcome = 'broken'"), 3);
        assert_eq!(number(before.path(), "SELECT sum(amount) FROM leases"), 40);
        balanced(&again).await;
    }
}

#[tokio::test]
async fn a_process_that_was_buried_leases_nothing_and_its_lease_stays_spent() {
    let place = tempfile::tempdir().expect("a directory");
    let (late, _) = open(place.path());
    let key = late.add_key(capped(1, &[(Window::Total, 100)])).await.expect("added");
    late.draw(key, usd(60), usd(60), NOON.day()).await.expect("granted");
    let (next, _) = open(place.path());
    assert_eq!(next.bury().await.expect("written").len(), 1);
    let refused = late.draw(key, usd(1), usd(10), NOON.day()).await.expect("answered");
    assert_eq!((refused.amount, refused.figures.lease), (Usd::ZERO, usd(60)));
    late.give_back(key, usd(60));
    book(&late, Entry { held: Some(usd(5)), ..entry(1, key, 5) });
    late.flush().await.expect("what it has spent is booked all the same");
    late.close().expect("closed");
    assert_eq!(others(&next, key).await, (60, false));
    assert_eq!(next.draw(key, usd(1), usd(99), NOON.day()).await.expect("granted").amount, usd(35));
    next.absolve(key, None).await.expect("written");
    assert_eq!(next.draw(key, usd(1), usd(99), NOON.day()).await.expect("granted").amount, usd(60));
    balanced(&next).await;
}

#[tokio::test]
async fn two_processes_share_a_cap() {
    let place = tempfile::tempdir().expect("a directory");
    let (first, _) = open(place.path());
    let key = first.add_key(capped(1, &[(Window::Day, 100)])).await.expect("added");
    let (second, _) = open(place.path());
    let draw = |store: &Store, want| {
        let store = store.clone();
        async move { store.draw(key, usd(1), usd(want), NOON.day()).await.expect("answered").amount.as_pico() }
    };
    assert_eq!((draw(&first, 70).await, draw(&second, 70).await, draw(&first, 1).await), (70, 30, 0));
    book(&first, Entry { held: Some(usd(70)), ..entry(1, key, 10) });
    first.close().expect("closed");
    assert_eq!(draw(&second, 99).await, 60);
    assert_eq!(second.bury().await.expect("answered"), [], "nobody has died");
}

#[tokio::test]
async fn a_place_that_is_still_reserved_at_the_end_keeps_what_it_holds() {
    for told in [true, false] {
        let place = tempfile::tempdir().expect("a directory");
        let patience = Duration::from_millis(30);
        let options = StoreOptions { close_patience: patience, ..options(place.path()) };
        let (store, _) = Store::open(options, &Clock::manual(NOON)).expect("opens");
        let key = store.add_key(capped(1, &[(Window::Day, 100)])).await.expect("added");
        store.draw(key, usd(80), usd(80), NOON.day()).await.expect("granted");
        let mut slot = store.slot().expect("room");
        let untold = (!told).then(|| store.slot().expect("room"));
        slot.sent(intent(1, key, Some(30)));
        store.close().expect("everything there was is written");
        drop((slot, untold));

        let (store, loaded) = open(place.path());
        let held = if told { 30 } else { 80 };
        assert_eq!(loaded.keys[0].purse.others, usd(held), "who has told nothing may hold anything");
        let buried = store.bury().await.expect("written");
        assert_eq!(buried.iter().map(|buried| buried.attempts).collect::<Vec<_>>(), [1]);
        let stale: Vec<_> = store.stale_leases().await.expect("readable").iter().map(|lease| lease.amount).collect();
        assert_eq!(stale, if told { vec![] } else { vec![usd(50)] });
        assert_eq!(store.suspense_of_key(key).await.expect("readable").len(), 1);
        balanced(&store).await;
    }
}
