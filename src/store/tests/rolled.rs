//! Old entries become sums, and nothing that was ever added up changes.

use super::*;
use crate::money::PurseFigures;

const DAY: Duration = Duration::from_secs(86_400);

fn day(days: u32) -> Timestamp {
    NOON.after(DAY * days)
}

/// Everything that can be asked of the sums.
#[derive(Debug, PartialEq)]
struct Asked {
    totals: Vec<Totals>,
    spend: Vec<PoolSpend>,
    summary: Vec<SummaryLine>,
    receipts: Vec<Receipt>,
    purses: Vec<PurseFigures>,
}

async fn ask(store: &Store, keys: &[KeyId]) -> Asked {
    let mut asked = Asked {
        totals: Vec::new(),
        spend: Vec::new(),
        summary: store.summary(LedgerFilter::default()).await.expect("readable"),
        receipts: Vec::new(),
        purses: Vec::new(),
    };
    for days in 0..12 {
        asked.totals.push(store.totals(day(days).day()).await.expect("readable"));
        asked.spend.push(store.spend(day(days).day()).await.expect("readable"));
    }
    for key in keys {
        asked.receipts.push(store.receipt(*key, day(0).day(), day(4).day()).await.expect("readable"));
        asked.purses.push(store.purse(*key).await.expect("readable"));
    }
    asked
}

/// Three keys on ten days, 600 lines a day, corrections on later days, and one cost of day 4 that stays open on key 2.
async fn ten_days(place: &Path) -> (Store, Vec<KeyId>) {
    let options = StoreOptions { queue_max_entries: 10_000, ..options(place) };
    let (store, _) = Store::open(options, &Clock::manual(NOON)).expect("opens");
    let mut keys = Vec::new();
    for number in 1..=3 {
        keys.push(store.add_key(capped(number, &[(Window::Month, 1_000_000)])).await.expect("added"));
    }
    for days in 0..10u32 {
        for number in 0..600u32 {
            let key = keys[(number % 3) as usize];
            let id = u128::from(days * 1000 + number) + 1;
            let attempt = Entry {
                at: day(days),
                client: Some(crate::money::ClientId(number % 2 + 1).into()),
                ..entry(id, key, 7)
            };
            book(&store, attempt);
        }
        let late = u128::from(days) + 500_000;
        book(&store, Entry { at: day(days), held: Some(usd(9)), ..unknown(late, keys[1]) });
        store.flush().await.expect("durable");
        // Yesterday's is found today, and the fourth day's never.
        let found = store.suspense_due(day(days), 10).await.expect("readable");
        for open in found.iter().filter(|open| open.opened_at != day(4)) {
            store.settle(open.id, Settlement { at: day(days), ..settlement(5) }).await.expect("written");
        }
    }
    (store, keys)
}

/// Spans without a line, and lines without a span.
const SPANS_TOO_MANY_OR_FEW: &str = "SELECT count(*) FROM \
    (SELECT DISTINCT client, at >> 7 AS span FROM entries WHERE client IS NOT NULL) AS e FULL JOIN client_spans AS c \
    ON c.client = e.client AND c.span = e.span WHERE c.client IS NULL OR e.client IS NULL";

#[tokio::test]
async fn lines_of_a_key_whose_books_are_not_sound_stay_until_they_are() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, keys) = ten_days(place.path()).await;
    store.set_unsound(vec![keys[0]]).await.expect("written");
    let of_key = |key: KeyId| number(place.path(), &format!("SELECT count(*) FROM entries WHERE key = {}", key.0));
    let before = keys.iter().map(|key| of_key(*key)).collect::<Vec<_>>();
    store.roll_up(day(4).day()).await.expect("rolled up");
    assert_eq!(of_key(keys[0]), before[0]);
    assert!(of_key(keys[2]) < before[2] && of_key(keys[1]) < before[1]);
    assert_eq!(number(place.path(), SPANS_TOO_MANY_OR_FEW), 0);
    let found = store.unsound().await.expect("readable");
    assert_eq!(store.set_sound(found).await.expect("written"), [keys[0]]);
    store.roll_up(day(4).day()).await.expect("rolled up");
    assert!(of_key(keys[0]) < before[0]);
    balanced(&store).await;
}

#[tokio::test]
async fn no_sum_changes_and_everything_can_still_be_checked() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, keys) = ten_days(place.path()).await;
    let before = ask(&store, &keys).await;
    balanced(&store).await;
    let lines = number(place.path(), "SELECT count(*) FROM entries");
    assert_eq!(number(place.path(), "SELECT count(*) FROM client_spans"), 2 * 10, "one for a client and moment");
    let mut gone = 0;
    for (days, kept_key_2) in [(0, 0), (3, 0), (3, 0), (7, 3 * 200 - 200 + 1), (20, 0)] {
        let rolled = store.roll_up(day(days).day()).await.expect("rolled up");
        gone += rolled.lines as i64;
        assert_eq!(number(place.path(), "SELECT count(*) FROM entries"), lines - gone, "before day {days}");
        assert_eq!(ask(&store, &keys).await, before, "before day {days}");
        balanced(&store).await;
        assert_eq!(number(place.path(), SPANS_TOO_MANY_OR_FEW), 0, "before day {days}");
        for days in 0..10 {
            assert_eq!(store.verify_totals(Some(day(days).day())).await.expect("readable"), [], "day {days}");
        }
        if days == 7 {
            assert!(rolled.kept >= kept_key_2, "the open cost of day 4, and what follows on it: {rolled:?}");
            let left = |key: u32| {
                format!("SELECT count(*) FROM entries WHERE day < {} AND key = {key}", day(7).day().number())
            };
            assert_eq!((number(place.path(), &left(1)), number(place.path(), &left(3))), (0, 0));
            assert!(number(place.path(), &left(2)) > 400);
        }
    }
    let open_cost = store.suspense_of_key(keys[1]).await.expect("readable");
    assert_eq!(open_cost.len(), 1 + 1, "of day 4, and the last day's");
    assert!(store.generation(&GenerationId::parse(b"gen-1").expect("an id")).await.expect("readable").is_none());
    assert!(number(place.path(), "SELECT count(*) FROM audit WHERE action = 'ledger_rolled_up'") >= 3);

    // Once it is settled its day goes too; the last line stays for its number's sake.
    for open in open_cost {
        store.settle(open.id, settlement(3)).await.expect("written");
    }
    let settled = ask(&store, &keys).await;
    store.roll_up(day(20).day()).await.expect("rolled up");
    assert_eq!(number(place.path(), "SELECT count(*) FROM entries"), 1);
    assert_eq!(ask(&store, &keys).await, settled);
    let last = number(place.path(), "SELECT max(id) FROM entries");
    book(&store, Entry { at: day(20), ..entry(900_000, keys[0], 1) });
    store.flush().await.expect("durable");
    assert_eq!(number(place.path(), "SELECT max(id) FROM entries"), last + 1);
    balanced(&store).await;
}

#[tokio::test]
async fn a_change_is_found_also_in_what_is_left() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = ten_days(place.path()).await;
    store.roll_up(day(4).day()).await.expect("rolled up");
    let hand = by_hand(place.path());
    for gone in ["day < 20840", "id = (SELECT max(id) FROM entries)"] {
        let refused = hand.execute(&format!("DELETE FROM entries WHERE {gone}"), []).expect_err("refused");
        assert!(refused.to_string().contains("ledger entries are never deleted"), "{refused}");
    }
    let first = number(place.path(), "SELECT min(id) FROM entries WHERE key = 1");
    hand.execute_batch(&format!("DROP TRIGGER entries_stand; UPDATE entries SET status = 500 WHERE id = {first}"))
        .expect("forced");
    let found = store.verify_totals(None).await.expect("readable");
    let kinds: Vec<_> = found.iter().map(|found| (found.kind, found.key)).collect();
    assert_eq!(kinds, [(ImbalanceKind::Chain { line: Some(first as u64) }, KeyId(1))]);
    hand.execute("UPDATE rolled_up SET pico = pico + 1 WHERE key = 3 AND client = 1", []).expect("changed");
    let found = store.verify_totals(None).await.expect("readable");
    assert!(found.iter().any(|found| (found.kind, found.key) == (ImbalanceKind::Sum, KeyId(3))), "{found:?}");
}

#[tokio::test]
async fn what_is_booked_meanwhile_is_in_the_books() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, keys) = ten_days(place.path()).await;
    let spent = store.totals(NOON.day()).await.expect("readable").spent_total.as_pico();
    let rolling = tokio::spawn({
        let store = store.clone();
        async move { store.roll_up(day(9).day()).await }
    });
    let mut booked = 0;
    while !rolling.is_finished() {
        if let Some(slot) = store.slot() {
            slot.book(Entry { at: day(booked % 12), ..entry(u128::from(booked) + 700_000, keys[0], 1) });
            booked += 1;
        }
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    assert!(rolling.await.expect("no panic").expect("rolled up").lines > 3000);
    store.flush().await.expect("durable");
    let totals = store.totals(NOON.day()).await.expect("readable");
    assert_eq!(totals.spent_total.as_pico(), spent + i64::from(booked));
    balanced(&store).await;
}
