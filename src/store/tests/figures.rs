//! Sums: what is counted, where windows begin and end, and that a changed figure is noticed.

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

#[tokio::test]
async fn a_request_counts_once_and_each_attempt_for_its_own_key() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let a = store.add_key(new_key(1)).await.expect("added");
    let b = store.add_key(new_key(2)).await.expect("added");
    let refused = Entry { outcome: Outcome::KeyRefused, tokens: Tokens::default(), ..entry(1, a, 0) };
    book(&store, refused.clone());
    store.flush().await.expect("durable");
    book(&store, Entry { attempt: 2, ..entry(1, b, 30) });
    // Nothing was sent at the first attempt of this one, so its second is its first line.
    book(&store, Entry { attempt: 2, ..entry(2, a, 5) });
    book(&store, Entry { attempt: 3, request: request(2), ..refused.clone() });
    // The same line again: its transaction survived after all.
    book(&store, refused);
    store.flush().await.expect("durable");
    let totals = store.totals(NOON.day()).await.expect("readable");
    let [answered, _, key_refused, ..] = totals.attempts;
    assert_eq!((answered, key_refused, totals.successes), (2, 2, 2), "{totals:?}");
    assert_eq!(totals.per_key.len(), 2);
    let of = |key| (totals.per_key[&key].requests, totals.per_key[&key].successes, totals.per_key[&key].spent_total);
    assert_eq!((of(a), of(b)), ((3, 1, Usd::from_pico(5)), (1, 1, Usd::from_pico(30))));
    assert_eq!(totals.requests, 2, "{totals:?}");
    balanced(&store).await;
}

#[tokio::test]
async fn windows_turn_at_utc_midnight_on_mondays_and_on_the_first() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    // One decimal digit for each entry, so that every sum tells what is in it. 2026-11-30 was a Monday.
    let entries = [
        ("2025-12-02T12:00:00Z", 1),
        ("2026-10-31T23:59:59.999Z", 10),
        ("2026-11-01T00:00:00Z", 100),
        ("2026-11-29T23:59:59.999Z", 1_000),
        ("2026-11-30T00:00:00Z", 10_000),
        ("2026-11-30T23:59:59.999Z", 100_000),
        ("2026-12-01T00:00:00Z", 1_000_000),
        ("2026-12-02T00:00:00Z", 10_000_000),
        ("2026-12-02T23:59:59.999Z", 100_000_000),
    ];
    for (number, (time, pico)) in (1..).zip(entries) {
        book(&store, Entry { at: at(time), ..entry(number, key, pico) });
    }
    store.flush().await.expect("durable");
    let table = [
        ("2026-10-31T00:00:00Z", 10, 10, 10),
        ("2026-11-01T23:59:59.999Z", 100, 110, 100),
        ("2026-11-02T00:00:00Z", 0, 0, 100),
        ("2026-11-29T23:59:59.999Z", 1_000, 1_000, 1_100),
        ("2026-11-30T00:00:00Z", 110_000, 110_000, 111_100),
        ("2026-12-01T00:00:00Z", 1_000_000, 1_110_000, 1_000_000),
        ("2026-12-02T23:59:59.999Z", 110_000_000, 111_110_000, 111_000_000),
        ("2026-12-06T23:59:59.999Z", 0, 111_110_000, 111_000_000),
        ("2026-12-07T00:00:00Z", 0, 0, 111_000_000),
        ("2027-01-01T00:00:00Z", 0, 0, 0),
    ];
    for (now, day, week, month) in table {
        let [today, week, month, total] = [day, week, month, 111_111_111].map(Usd::from_pico);
        let expected = PoolSpend { total, today, week, month };
        assert_eq!(store.spend(at(now).day()).await.expect("readable"), expected, "{now}");
        let totals = store.totals(at(now).day()).await.expect("readable");
        assert_eq!((totals.spent_today, totals.per_key[&key].spent_today), (today, today), "{now}");
    }
    balanced(&store).await;
}

#[tokio::test]
async fn every_changed_sum_is_noticed() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    book(&store, entry(1, key, 40));
    store.flush().await.expect("durable");
    balanced(&store).await;
    let (day, pool) = (Some(NOON.day()), KeyId(0));
    // What is done, what undoes it, and whose figure is then found to be what instead of what.
    let table = [
        ("UPDATE day_totals SET pico = 41 WHERE key = 1", "UPDATE day_totals SET pico = 40", (day, key, 41, 40)),
        ("UPDATE day_totals SET pico = 39 WHERE key = 0", "UPDATE day_totals SET pico = 40", (day, pool, 39, 40)),
        ("UPDATE key_totals SET pico = 0 WHERE key = 1", "UPDATE key_totals SET pico = 40", (None, key, 0, 40)),
        ("UPDATE key_totals SET pico = -1 WHERE key = 0", "UPDATE key_totals SET pico = 40", (None, pool, -1, 40)),
        ("UPDATE day_totals SET requests = 7 WHERE key = 1", "UPDATE day_totals SET requests = 1", (day, key, 40, 40)),
        ("UPDATE key_totals SET broken = 1 WHERE key = 1", "UPDATE key_totals SET broken = 0", (None, key, 40, 40)),
        (
            "INSERT INTO day_totals SELECT day, 9, requests, answered, failed_inside, key_refused, refused, unreachable, \
             broken, client_gone, prompt, completion, cached, reasoning, pico, byok FROM day_totals WHERE key = 0",
            "DELETE FROM day_totals WHERE key = 9",
            (day, KeyId(9), 40, 0),
        ),
    ];
    let hand = by_hand(place.path());
    for (done, undone, (on, whose, recorded, recomputed)) in table {
        assert_eq!(hand.execute(done, []).expect("done"), 1, "{done}");
        let found = store.verify_totals(None).await.expect("readable");
        let [recorded, recomputed] = [recorded, recomputed].map(Usd::from_pico);
        let kind = ImbalanceKind::Sum;
        assert_eq!(found, [Imbalance { kind, day: on, key: whose, recorded, recomputed }], "{done}");
        let on_the_day = store.verify_totals(Some(NOON.day())).await.expect("readable");
        assert_eq!(on_the_day.len(), usize::from(on.is_some()), "{done}");
        assert_eq!(store.verify_totals(Some(NOON.next_midnight().day())).await.expect("readable"), [], "{done}");
        hand.execute(undone, []).expect("undone");
        balanced(&store).await;
    }
}

#[tokio::test]
async fn entries_cannot_be_changed_and_a_forced_change_is_noticed() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    book(&store, entry(1, key, 40));
    book(&store, entry(2, key, 2));
    store.flush().await.expect("durable");
    let hand = by_hand(place.path());
    for change in [
        "UPDATE entries SET pico = 0",
        "DELETE FROM entries",
        "REPLACE INTO entries SELECT * FROM entries WHERE id = 1",
    ] {
        hand.execute_batch("PRAGMA recursive_triggers = ON;").expect("set");
        let refused = hand.execute(change, []).expect_err(change);
        assert!(refused.to_string().contains("ledger entries are never"), "{change}: {refused}");
    }
    balanced(&store).await;
    hand.execute_batch("DROP TRIGGER entries_stand; UPDATE entries SET pico = 39 WHERE pico = 40").expect("forced");
    let found = store.verify_totals(None).await.expect("readable");
    let shown = |i: &Imbalance| (i.kind, i.day.is_some(), i.key.0, i.recorded.as_pico(), i.recomputed.as_pico());
    let places: Vec<_> = found.iter().map(shown).collect();
    let (sum, models, chain) = (ImbalanceKind::Sum, ImbalanceKind::Models, ImbalanceKind::Chain { line: Some(1) });
    let sums = [(sum, true, 0, 42, 41), (sum, true, 1, 42, 41), (sum, false, 0, 42, 41), (sum, false, 1, 42, 41)];
    assert_eq!(places, [&sums[..], &[(models, true, 1, 42, 41), (chain, false, 1, 0, 0)]].concat());
}
