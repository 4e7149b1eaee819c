//! An unknown cost, from its booking to the correction that settles it.

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// A store with one key and one unknown cost.
async fn with_suspense(place: &Path) -> (Store, KeyId, Suspense) {
    let (store, _) = open(place);
    let key = store.add_key(new_key(1)).await.expect("added");
    book(&store, unknown(1, key));
    store.flush().await.expect("durable");
    let entry = store.suspense_of(request(1), 1).await.expect("readable").expect("in suspense");
    (store, key, entry)
}

async fn today(store: &Store, key: KeyId) -> (i64, i64, u64) {
    let totals = store.totals(NOON.day()).await.expect("readable");
    let of_key = totals.per_key[&key];
    assert_eq!((totals.spent_total, totals.spent_today), (of_key.spent_total, of_key.spent_today));
    (of_key.spent_total.as_pico(), of_key.spent_today.as_pico(), of_key.suspense)
}

#[tokio::test]
async fn an_unknown_cost_counts_as_nothing_until_it_is_settled_and_then_once() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, key, entry) = with_suspense(place.path()).await;
    assert_eq!(today(&store, key).await, (0, 0, 1));
    let open_now = SuspenseSummary { open: 1, held: Usd::ZERO, oldest: Some(NOON), exhausted: 0 };
    assert_eq!(store.suspense_summary().await.expect("readable"), open_now);
    assert_eq!((entry.key, entry.tries, entry.opened_at), (key, 0, NOON));
    assert_eq!(entry.due_at, Some(NOON.after(FIRST_LOOKUP)));
    assert_eq!(entry.generation.as_ref().map(GenerationId::as_str), Some("gen-1"));

    let early = NOON.after(FIRST_LOOKUP - Duration::from_millis(1));
    assert_eq!(store.suspense_due(early, 10).await.expect("readable"), []);
    let due = store.suspense_due(NOON.after(FIRST_LOOKUP), 10).await.expect("readable");
    assert_eq!(due, std::slice::from_ref(&entry));

    assert!(store.settle(entry.id, settlement(1234)).await.expect("written"));
    assert_eq!(today(&store, key).await, (1234, 1234, 0));
    for again in [1234, 5, 0] {
        assert!(!store.settle(entry.id, settlement(again)).await.expect("answered"), "settled before");
    }
    assert_eq!(today(&store, key).await, (1234, 1234, 0));
    assert_eq!(store.suspense_summary().await.expect("readable"), SuspenseSummary::default());
    assert_eq!(store.suspense_of(request(1), 1).await.expect("readable"), None);
    let totals = store.totals(NOON.day()).await.expect("readable");
    let tokens = TokenTotals { prompt: 20, completion: 7, cached: 3, reasoning: 0 };
    assert_eq!((totals.tokens, totals.requests, totals.attempts.iter().sum::<u64>()), (tokens, 1, 1));
    balanced(&store).await;
}

#[tokio::test]
async fn of_many_that_settle_at_once_one_wins() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, key, entry) = with_suspense(place.path()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for pico in 1..=16 {
        let store = store.clone();
        tasks.spawn(async move { (pico, store.settle(entry.id, settlement(pico)).await.expect("written")) });
    }
    let winners: Vec<_> = tasks.join_all().await.into_iter().filter(|(_, won)| *won).collect();
    let [(pico, _)] = winners[..] else { panic!("{winners:?}") };
    assert_eq!(today(&store, key).await, (pico, pico, 0));
    balanced(&store).await;
}

#[tokio::test]
async fn what_was_in_suspense_is_settled_after_a_restart_and_stays_settled() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, key, entry) = with_suspense(place.path()).await;
    store.retry_later(entry.id, Some(NOON.after(DAY))).await.expect("written");
    store.close().expect("closed");
    assert!(matches!(store.settle(entry.id, settlement(9)).await, Err(StoreError::Closed)));

    let (store, loaded) = open(place.path());
    assert_eq!(loaded.keys[0].spent, Usd::ZERO);
    let kept = Suspense { tries: 1, due_at: Some(NOON.after(DAY)), ..entry.clone() };
    assert_eq!(store.suspense_due(NOON.after(DAY), 10).await.expect("readable"), [kept]);
    assert!(store.settle(entry.id, settlement(77)).await.expect("written"));
    store.close().expect("closed");

    let (store, loaded) = open(place.path());
    assert_eq!(loaded.keys[0].spent, Usd::from_pico(77));
    assert!(!store.settle(entry.id, settlement(77)).await.expect("answered"));
    assert_eq!(today(&store, key).await, (77, 77, 0));
    balanced(&store).await;
}

#[tokio::test]
async fn a_lookup_in_vain_is_tried_later_or_left_to_a_person() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, key, entry) = with_suspense(place.path()).await;
    let (soon, late) = (NOON.after(Duration::from_secs(10)), NOON.after(DAY * 400));
    store.retry_later(entry.id, Some(soon)).await.expect("written");
    assert_eq!(store.suspense_due(NOON.after(FIRST_LOOKUP), 10).await.expect("readable"), []);
    let due = store.suspense_due(soon, 10).await.expect("readable");
    assert_eq!(due.iter().map(|s| (s.id, s.tries)).collect::<Vec<_>>(), [(entry.id, 1)]);

    store.retry_later(entry.id, None).await.expect("written");
    assert_eq!(store.suspense_due(late, 10).await.expect("readable"), []);
    let given_up = SuspenseSummary { open: 1, held: Usd::ZERO, oldest: Some(NOON), exhausted: 1 };
    assert_eq!(store.suspense_summary().await.expect("readable"), given_up);
    assert_eq!(today(&store, key).await, (0, 0, 1));

    assert!(store.settle(entry.id, settlement(3)).await.expect("written"), "given up is not lost");
    store.retry_later(entry.id, Some(soon)).await.expect("an answer that came too late is no fault");
    assert_eq!(store.suspense_due(late, 10).await.expect("readable"), [], "and opens nothing again");
    assert_eq!(today(&store, key).await, (3, 3, 0));
    balanced(&store).await;
}

#[tokio::test]
async fn only_what_is_in_suspense_can_be_settled() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, key, entry) = with_suspense(place.path()).await;
    book(&store, super::entry(2, key, 40));
    store.flush().await.expect("durable");
    for id in [entry.id + 1, entry.id + 2, 0, u64::MAX] {
        let settled = store.settle(id, settlement(1)).await;
        assert!(matches!(settled, Err(StoreError::NoSuchSuspense(n)) if n == id), "{id}: {settled:?}");
        let later = store.retry_later(id, None).await;
        assert!(matches!(later, Err(StoreError::NoSuchSuspense(n)) if n == id), "{id}: {later:?}");
    }
    assert_eq!(today(&store, key).await, (40, 40, 1));
    balanced(&store).await;
}

#[tokio::test]
async fn a_cost_found_on_a_later_day_belongs_to_the_day_of_the_attempt() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, key, entry) = with_suspense(place.path()).await;
    let next_week = NOON.after(DAY * 7);
    assert!(store.settle(entry.id, Settlement { at: next_week, ..settlement(55) }).await.expect("written"));
    assert_eq!(today(&store, key).await, (55, 55, 0));
    let then = store.totals(next_week.day()).await.expect("readable");
    assert_eq!((then.spent_total.as_pico(), then.spent_today), (55, Usd::ZERO));
    assert_eq!(store.verify_totals(Some(NOON.day())).await.expect("readable"), []);
    assert_eq!(store.verify_totals(Some(next_week.day())).await.expect("readable"), []);
    balanced(&store).await;
}

#[tokio::test]
async fn a_settlement_replaces_figures_it_knows_and_leaves_the_others() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    let tokens = Tokens { prompt: Some(10), completion: Some(5), cached: None, reasoning: Some(2) };
    book(&store, Entry { tokens, byok: Some(Usd::from_pico(100)), ..unknown(1, key) });
    store.flush().await.expect("durable");
    let in_suspense = store.suspense_of(request(1), 1).await.expect("readable").expect("in suspense");
    let tokens = Tokens { prompt: Some(4), completion: None, cached: Some(1), reasoning: None };
    let found =
        Settlement { tokens, byok: Some(Usd::from_pico(130)), model: Some("other/model".into()), ..settlement(8) };
    assert!(store.settle(in_suspense.id, found).await.expect("written"));
    let totals = store.totals(NOON.day()).await.expect("readable");
    assert_eq!(totals.tokens, TokenTotals { prompt: 4, completion: 5, cached: 1, reasoning: 2 });
    assert_eq!(totals.per_key[&key].byok_total.as_pico(), 130);
    assert_eq!(totals.spent_total.as_pico(), 8, "the donor's own bill is outside of it");
    balanced(&store).await;
}

#[tokio::test]
async fn a_key_that_is_gone_is_settled_all_the_same() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, key, entry) = with_suspense(place.path()).await;
    store.remove_key(key).await.expect("removed");
    assert!(store.settle(entry.id, settlement(6)).await.expect("written"));
    assert_eq!(today(&store, key).await, (6, 6, 0));
    balanced(&store).await;
}
