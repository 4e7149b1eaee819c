//! The chain through each key's lines.

use super::*;
use crate::money::{Charged, ClientId, Spender, UserId};

/// The keys whose lines do not follow from each other, and where that begins.
async fn broken(store: &Store, day: Option<Day>) -> Vec<(u32, Option<u64>)> {
    let found = store.verify_totals(day).await.expect("readable");
    let chain = |found: &Imbalance| match found.kind {
        ImbalanceKind::Chain { line } => Some((found.key.0, line)),
        _ => None,
    };
    found.iter().filter_map(chain).collect()
}

/// Two keys that take turns, on two days; each of the columns holds something in some line.
async fn kept(place: &Path) -> Store {
    let (store, _) = open(place);
    let (a, b) = (new_key(1), new_key(2));
    let keys = [store.add_key(a).await.expect("added"), store.add_key(b).await.expect("added")];
    for number in 0..12u32 {
        let key = keys[(number % 2) as usize];
        let at = NOON.after(Duration::from_secs(if number < 6 { 0 } else { 86_400 }));
        let full = Entry {
            at,
            account: Some(AccountId(3)),
            client: Some(Charged {
                spender: Spender { client: ClientId(4), user: Some(UserId(5)) },
                held: Some(usd(6)),
            }),
            tokens: Tokens { prompt: Some(1), completion: Some(2), cached: Some(3), reasoning: Some(4) },
            held: Some(usd(8)),
            byok: Some(usd(9)),
            ..entry(u128::from(number) + 1, key, 5)
        };
        book(&store, full);
        store.flush().await.expect("durable");
    }
    book(&store, Entry { at: NOON.after(Duration::from_secs(86_401)), ..unknown(100, keys[0]) });
    store.flush().await.expect("durable");
    let open_cost = store.suspense_of(request(100), 1).await.expect("readable").expect("in suspense");
    store.settle(open_cost.id, Settlement { basis: Basis::Estimate, ..settlement(4) }).await.expect("written");
    store
}

#[tokio::test]
async fn any_column_of_any_line_that_is_changed_is_found() {
    let place = tempfile::tempdir().expect("a directory");
    let store = kept(place.path()).await;
    assert_eq!((broken(&store, None).await, store.tampered()), (vec![], vec![]));
    balanced(&store).await;
    let hand = by_hand(place.path());
    hand.execute_batch("DROP TRIGGER entries_stand; PRAGMA foreign_keys = OFF; DROP INDEX entries_once")
        .expect("forced");
    let columns: Vec<String> = hand
        .prepare("SELECT name FROM pragma_table_info('entries')")
        .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
        .expect("columns");
    assert_eq!(columns.len(), 27);
    let day = NOON.after(Duration::from_secs(86_400)).day();
    // The last line, one in the middle, one of the other key, and the correction.
    for id in [13, 9, 4, 14] {
        let key = number(place.path(), &format!("SELECT key FROM entries WHERE id = {id}")) as u32;
        for column in &columns {
            let value = |id: i64| -> rusqlite::types::Value {
                hand.query_row(&format!("SELECT {column} FROM entries WHERE id = {id}"), [], |row| row.get(0))
                    .expect("there")
            };
            let before = value(id);
            // Another value of the same type; something instead of nothing.
            let change = format!(
                "UPDATE entries SET {column} = CASE typeof({column}) WHEN 'blob' THEN randomblob(length({column})) \
                 WHEN 'text' THEN CASE WHEN '{column}' = 'outcome' THEN 'refused' WHEN '{column}' = 'basis' THEN 'usage' \
                 ELSE {column} || 'x' END WHEN 'integer' THEN CASE WHEN '{column}' IN ('kind', 'opens') THEN 1 - {column} \
                 ELSE {column} + 100 END ELSE CASE WHEN '{column}' IN ('model', 'generation') THEN 'x' \
                 WHEN '{column}' = 'basis' THEN 'usage' WHEN '{column}' = 'chain' THEN zeroblob(32) ELSE 1 END END \
                 WHERE id = {id}"
            );
            assert_eq!(hand.execute(&change, []).expect("changed"), 1, "{change}");
            let found = broken(&store, None).await;
            assert!(found.iter().any(|(of, _)| *of == key), "{column} of {id}: {found:?}");
            if id > 6 {
                let on_the_day = broken(&store, Some(day)).await;
                assert!(on_the_day.iter().any(|(of, _)| *of == key), "{column} of {id}: {on_the_day:?}");
            }
            let now_at = if column == "id" { id + 100 } else { id };
            let back = format!("UPDATE entries SET {column} = ?1 WHERE id = {now_at}");
            assert_eq!(hand.execute(&back, (before,)).expect("undone"), 1, "{column}");
            assert_eq!(broken(&store, None).await, [], "{column} of {id} is as it was");
        }
    }
    let tampered = store.tampered();
    assert!([KeyId(1), KeyId(2)].iter().all(|key| tampered.contains(key)), "what was found once is remembered");
}

#[tokio::test]
async fn lines_that_are_gone_or_come_from_elsewhere_are_found() {
    type Found = &'static [(u32, Option<u64>)];
    let table: [(&str, Found); 6] = [
        // From the middle, from the front, from the end.
        ("DELETE FROM entries WHERE id = 5", &[(1, Some(7))]),
        ("DELETE FROM entries WHERE id = 2", &[(2, Some(4))]),
        ("DELETE FROM entries WHERE id = 12", &[(2, None)]),
        ("DELETE FROM entries WHERE key = 2", &[(2, None)]),
        // As if from before there was a chain.
        (
            "INSERT INTO entries (id, kind, request, attempt, opens, at, day, key, endpoint, pico, outcome, duration_ms) \
             VALUES (99, 1, randomblob(16), 0, 0, 0, 0, 2, 'none', -5, 'broken', 0)",
            &[(2, Some(99))],
        ),
        ("UPDATE chains SET head = zeroblob(32) WHERE key = 1", &[(1, None)]),
    ];
    for (change, expected) in table {
        let place = tempfile::tempdir().expect("a directory");
        let store = kept(place.path()).await;
        let hand = by_hand(place.path());
        hand.execute_batch("PRAGMA foreign_keys = OFF; DROP TRIGGER entries_stay").expect("forced");
        assert!(hand.execute(change, []).expect(change) > 0);
        assert_eq!(broken(&store, None).await, expected, "{change}");
    }
}

#[tokio::test]
async fn what_was_found_since_a_look_began_is_not_forgotten_at_its_end() {
    let place = tempfile::tempdir().expect("a directory");
    let clock = Clock::manual(NOON);
    let (store, _) = Store::open(options(place.path()), &clock).expect("opens");
    let mut keys = Vec::new();
    for number in 1..=3 {
        keys.push(store.add_key(new_key(number)).await.expect("added"));
    }
    store.set_unsound(vec![keys[0], keys[1], KeyId(99)]).await.expect("written");
    let known = store.unsound().await.expect("readable");
    assert_eq!(known, [(keys[0], NOON), (keys[1], NOON)]);
    let later = NOON.after(Duration::from_secs(1));
    clock.set(later);
    store.set_unsound(vec![keys[1], keys[2]]).await.expect("written");
    assert_eq!(store.set_sound(known).await.expect("written"), [keys[0]]);
    assert_eq!(store.unsound().await.expect("readable"), [(keys[1], later), (keys[2], later)]);
    store.close().expect("closed");
    let (_, loaded) = Store::open(options(place.path()), &clock).expect("opens");
    assert_eq!(loaded.keys.iter().map(|key| key.unsound).collect::<Vec<_>>(), [false, true, true]);
    let told = "SELECT group_concat(action || key) = 'books_unsound1,books_unsound2,books_unsound3,books_sound1' \
                FROM (SELECT action, key FROM audit WHERE action LIKE 'books%' ORDER BY id)";
    assert_eq!(number(place.path(), told), 1, "each once");
}

#[tokio::test]
async fn the_check_at_the_start_finds_what_was_changed_on_the_day() {
    let place = tempfile::tempdir().expect("a directory");
    let store = kept(place.path()).await;
    store.close().expect("closed");
    by_hand(place.path())
        .execute_batch("DROP TRIGGER entries_stand; UPDATE entries SET duration_ms = 0 WHERE id = 8")
        .expect("forced");
    let tomorrow = Clock::manual(NOON.after(Duration::from_secs(86_400)));
    let (store, _) = Store::open(options(place.path()), &tomorrow).expect("opens");
    while store.tampered().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(store.tampered(), [KeyId(2)]);
}

#[tokio::test]
async fn every_changed_sum_by_model_is_noticed() {
    let place = tempfile::tempdir().expect("a directory");
    let store = kept(place.path()).await;
    let hand = by_hand(place.path());
    let (day, key) = (Some(NOON.day()), KeyId(1));
    for column in [
        "requests",
        "attempts",
        "prompt",
        "completion",
        "cached",
        "reasoning",
        "pico",
        "byok",
        "by_usage",
        "by_estimate",
    ] {
        let changed = |by| {
            hand.execute(
                &format!("UPDATE day_models SET {column} = {column} {by} WHERE day = ?1 AND key = 1"),
                (NOON.day().number(),),
            )
        };
        assert_eq!(changed("+ 3").expect("changed"), 1);
        let found = store.verify_totals(day).await.expect("readable");
        let [Imbalance { kind: ImbalanceKind::Models, day: on, key: whose, .. }] = found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((on, whose), (day, key), "{column}");
        changed("- 3").expect("undone");
        balanced(&store).await;
    }
}
