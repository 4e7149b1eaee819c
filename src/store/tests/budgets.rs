//! The money of clients and their users, on real files.

use super::*;
use crate::clients::{Allowance, KeyHash, Terms};
use crate::money::{Charged, ClientId, PurseFigures, Spender, UserId};

const DAY: Duration = Duration::from_secs(86_400);

/// A client that may spend so much in all, and each of its users so much.
async fn client(store: &Store, number: u8, total: i64, of_user: i64) -> ClientId {
    let allowance =
        |total| Allowance { budgets: [(Window::Total, usd(total))].into_iter().collect(), ..Default::default() };
    let terms = Terms {
        name: format!("client {number}"),
        allowance: allowance(total),
        per_user: allowance(of_user),
        ..Terms::default()
    };
    let new = NewClient { hash: KeyHash([number; 32]), mask: "ptl-…".to_owned(), created_at: NOON, terms };
    store.add_client(new).await.expect("added")
}

async fn figures(store: &Store, spender: Spender) -> PurseFigures {
    store.purse(spender).await.expect("readable")
}

fn charged(spender: Spender, held: i64) -> Option<Charged> {
    Some(Charged { spender, held: Some(usd(held)) })
}

async fn leased(store: &Store, spender: Spender, amount: i64) -> Usd {
    store.draw(spender, usd(amount), usd(amount), NOON.day()).await.expect("answered").amount
}

#[tokio::test]
async fn what_is_spent_for_a_user_counts_for_its_client_too() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    let id = client(&store, 1, 1_000, 100).await;
    let user = store.user(id, "u1", 2).await.expect("numbered");
    let (whole, one) = (Spender::whole(id), Spender { client: id, user: Some(user) });
    book(&store, Entry { client: charged(whole, 50), ..entry(1, key, 7) });
    book(&store, Entry { client: charged(one, 50), ..entry(2, key, 5) });
    book(&store, Entry { client: charged(one, 40), at: NOON.after(DAY), ..unknown(3, key) });
    book(&store, Entry { client: None, ..entry(4, key, 1_000) });
    let of = |figures: &PurseFigures| (figures.total, figures.suspense, figures.days.len());
    assert_eq!(of(&figures(&store, whole).await), (usd(12), usd(40), 2));
    assert_eq!(of(&figures(&store, one).await), (usd(5), usd(40), 2));
    let sums = store.client_sums(NOON.day()).await.expect("readable")[&id];
    assert_eq!((sums.requests, sums.spent_total, sums.spent_today), (3, usd(12), usd(12)));
    assert_eq!((sums.tokens.prompt, sums.tokens.completion, sums.refused), (20, 10, 0));

    let open_entry = store.suspense_of(request(3), 1).await.expect("readable").expect("in suspense");
    assert_eq!(open_entry.client, charged(one, 40));
    assert!(store.settle(open_entry.id, settlement(9)).await.expect("written"));
    assert_eq!(of(&figures(&store, one).await), (usd(14), Usd::ZERO, 2));
    assert_eq!(figures(&store, whole).await.days.get(&NOON.after(DAY).day()), Some(&usd(9)), "the attempt's day");
    balanced(&store).await;

    store.close().expect("closed");
    let (store, loaded) = open(place.path());
    assert_eq!(loaded.client_money[&id], figures(&store, whole).await);
    assert_eq!(of(&figures(&store, one).await), (usd(14), Usd::ZERO, 2));
}

#[tokio::test]
async fn no_more_is_leased_than_the_budget_leaves() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    let id = client(&store, 1, 100, 30).await;
    let user = store.user(id, "u1", 2).await.expect("numbered");
    let (whole, one) = (Spender::whole(id), Spender { client: id, user: Some(user) });
    assert_eq!((leased(&store, whole, 60).await, leased(&store, one, 31).await), (usd(60), Usd::ZERO));
    assert_eq!(leased(&store, one, 30).await, usd(30));
    assert_eq!(leased(&store, whole, 41).await, Usd::ZERO);
    // An entry takes what it held off both leases, and its cost stands in their place.
    book(&store, Entry { client: charged(one, 20), ..entry(1, key, 5) });
    let left = |figures: PurseFigures| (figures.lease, figures.total);
    assert_eq!(left(figures(&store, whole).await), (usd(40), usd(5)));
    assert_eq!(left(figures(&store, one).await), (usd(10), usd(5)));
    assert_eq!(leased(&store, whole, 56).await, Usd::ZERO);
    assert_eq!(leased(&store, whole, 55).await, usd(55));
    store.give_back(whole, usd(95));
    assert_eq!(figures(&store, whole).await.lease, Usd::ZERO);
    store.revoke_client(id).await.expect("revoked");
    assert!(matches!(store.user(id, "u9", 9).await, Err(StoreError::NoSuchClient(_))));
    let stranger = store.draw(Spender::whole(ClientId(99)), usd(1), usd(1), NOON.day()).await;
    assert!(matches!(stranger, Err(StoreError::NoSuchClient(ClientId(99)))), "{stranger:?}");
}

#[tokio::test]
async fn what_a_dead_process_had_leased_counts_until_its_keys_are_accounted_for() {
    for (found, lost) in [(None, 0), (Some(25), 25), (Some(500), 70)] {
        let place = tempfile::tempdir().expect("a directory");
        let (store, _) = open(place.path());
        let key = store.add_key(capped(1, &[(Window::Total, 10_000)])).await.expect("added");
        let free = store.add_key(new_key(2)).await.expect("added");
        let id = client(&store, 1, 100, 100).await;
        let whole = Spender::whole(id);
        assert_eq!(leased(&store, whole, 90).await, usd(90));
        store.draw(key, usd(100), usd(1_000), NOON.day()).await.expect("granted");
        store.use_unbounded(free).await.expect("durable");
        let mut slot = store.slot().expect("room");
        slot.sent(Intent { client: charged(whole, 20), ..intent(1, key, Some(20)) });
        tokio::time::sleep(Duration::from_millis(120)).await;
        store.flush().await.expect("durable");
        let place = crash(place.path());
        let (store, loaded) = open(place.path());
        assert_eq!(loaded.client_money[&id].others, usd(90));
        store.bury().await.expect("written");
        let after = figures(&store, whole).await;
        assert_eq!((after.suspense, after.others), (usd(20), usd(70)), "what was under way is in suspense");
        assert_eq!(leased(&store, whole, 11).await, Usd::ZERO);
        store.absolve(key, found.map(recovered)).await.expect("written");
        assert_eq!(figures(&store, whole).await.others, usd(70), "another key was used, too");
        store.absolve(free, None).await.expect("written");
        let after = figures(&store, whole).await;
        assert_eq!((after.others, after.total), (Usd::ZERO, usd(lost)), "found {found:?}");
        assert_eq!(leased(&store, whole, 81 - lost).await, Usd::ZERO);
        assert_eq!(leased(&store, whole, 80 - lost).await, usd(80 - lost));
        balanced(&store).await;
    }
}

#[tokio::test]
async fn where_nobody_can_tell_any_more_what_a_key_has_paid_the_whole_lease_stays_spent() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let free = store.add_key(new_key(2)).await.expect("added");
    let id = client(&store, 1, 100, 100).await;
    assert_eq!(leased(&store, Spender::whole(id), 80).await, usd(80));
    store.use_unbounded(free).await.expect("durable");
    let place = crash(place.path());
    let (store, _) = open(place.path());
    store.bury().await.expect("written");
    // The key has left the pool, so its usage cannot be asked for.
    store.absolve(free, Some(Recovered { basis: Basis::Estimate, ..recovered(0) })).await.expect("written");
    let after = figures(&store, Spender::whole(id)).await;
    assert_eq!((after.others, after.total), (Usd::ZERO, usd(80)));
}

fn recovered(pico: i64) -> Recovered {
    Recovered { at: NOON.after(Duration::from_secs(9)), amount: usd(pico), day: NOON.day(), basis: Basis::Usage }
}

#[tokio::test]
async fn a_dead_process_that_used_no_key_has_spent_nothing() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let id = client(&store, 1, 100, 100).await;
    assert_eq!(leased(&store, Spender::whole(id), 90).await, usd(90));
    let place = crash(place.path());
    let (store, _) = open(place.path());
    store.bury().await.expect("written");
    assert_eq!(figures(&store, Spender::whole(id)).await, PurseFigures::default());
}

#[tokio::test]
async fn a_process_that_ends_in_order_gives_its_leases_back() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let id = client(&store, 1, 100, 100).await;
    assert_eq!(leased(&store, Spender::whole(id), 90).await, usd(90));
    store.close().expect("closed");
    let (store, loaded) = open(place.path());
    assert!(loaded.client_money.is_empty(), "{:?}", loaded.client_money);
    assert_eq!(leased(&store, Spender::whole(id), 100).await, usd(100));
}

#[tokio::test]
async fn refusals_are_counted_by_day_for_the_user_and_its_client() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let id = client(&store, 1, 100, 100).await;
    let spender = Spender { client: id, user: Some(UserId(1)) };
    for _ in 0..3 {
        store.refused(Refused { spender, day: NOON.day(), reason: "busy" });
    }
    store.refused(Refused { spender: Spender::whole(id), day: NOON.day(), reason: "budget_spent" });
    store.flush().await.expect("durable");
    assert_eq!(store.client_sums(NOON.day()).await.expect("readable")[&id].refused, 4);
    assert_eq!(number(place.path(), "SELECT sum(count) FROM client_refusals WHERE user = 1"), 3);
}

#[tokio::test]
async fn sums_of_clients_that_somebody_has_changed_are_found() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    let id = client(&store, 1, 100, 100).await;
    book(&store, Entry { client: Some(id.into()), ..entry(1, key, 7) });
    store.flush().await.expect("durable");
    balanced(&store).await;
    let file = Connection::open(options(place.path()).path).expect("opens");
    file.execute("UPDATE client_days SET pico = 1", []).expect("changed");
    let found = store.verify_totals(None).await.expect("readable");
    let expected = Imbalance {
        kind: ImbalanceKind::Clients,
        day: Some(NOON.day()),
        key: KeyId(0),
        recorded: usd(1),
        recomputed: usd(7),
    };
    assert_eq!(found, [expected]);
}
