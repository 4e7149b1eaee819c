//! Files of earlier potlucks, also while one still writes.

use super::connection::Database;
use super::*;

const STEPS: [&str; 3] =
    [include_str!("../migrations/1.sql"), include_str!("../migrations/2.sql"), include_str!("../migrations/3.sql")];

/// A file that has been through these steps, in the hands of the potluck that knows no others.
fn old_file(place: &Path, steps: &[&str]) -> Connection {
    let path = options(place).path;
    Database::at(&path).prepare().expect("prepared");
    let old = Connection::open(&path).expect("opens");
    old.execute_batch("PRAGMA journal_mode = WAL").expect("set");
    steps.iter().for_each(|step| old.execute_batch(step).expect("made"));
    old.execute_batch(&format!("PRAGMA user_version = {}", steps.len())).expect("set");
    old
}

/// A line as the first potluck wrote it.
fn old_line(number: u8, kind: u8, pico: Option<i64>, model: Option<&str>) -> String {
    let (pico, model) = (
        pico.map_or("NULL".to_owned(), |pico| pico.to_string()),
        model.map_or("NULL".to_owned(), |m| format!("'{m}'")),
    );
    format!(
        "INSERT INTO entries (kind, request, attempt, opens, at, day, key, endpoint, model, prompt, pico, outcome, duration_ms) \
         VALUES ({kind}, x'{number:032x}', 1, {}, {}, {}, 1, 'chat_completions', {model}, 3, {pico}, 'answered', 5);",
        1 - kind,
        NOON.as_millis(),
        NOON.day().number()
    )
}

/// The sums that it wrote with them.
fn old_sums(requests: i64, prompt: i64, pico: i64) -> String {
    let day = NOON.day().number();
    let row = |table: &str, place: &str| {
        format!(
            "REPLACE INTO {table} VALUES ({place}, {requests}, {requests}, 0, 0, 0, 0, 0, 0, {prompt}, 0, 0, 0, {pico}, 0);"
        )
    };
    ["0", "1"].map(|key| row("day_totals", &format!("{day}, {key}")) + &row("key_totals", key)).concat()
}

#[tokio::test]
async fn a_first_file_is_taken_over_while_its_potluck_still_writes() {
    let place = tempfile::tempdir().expect("a directory");
    let old = old_file(place.path(), &STEPS[..1]);
    old.execute_batch(
        &[old_line(1, 0, Some(40), Some("a/b")), old_line(2, 0, None, None), old_sums(2, 6, 40)].concat(),
    )
    .expect("written");
    old.execute_batch(&format!(
        "INSERT INTO suspense (entry, key, opened_at, due_at) VALUES (2, 1, {0}, {0});
        INSERT INTO day_starts VALUES ({1}, 1)",
        NOON.as_millis(),
        NOON.day().number()
    ))
    .expect("written");

    let (store, _) = open(place.path());
    balanced(&store).await;
    let key = store.add_key(new_key(1)).await.expect("added");
    assert_eq!(key, KeyId(1), "its lines are those of the old file");
    let open_cost = store.suspense_of(request(2), 1).await.expect("readable").expect("in suspense");
    assert_eq!(open_cost.held, None);
    assert_eq!(store.purse(key).await.expect("readable").suspense_unbounded, 1);
    store.settle(open_cost.id, settlement(2)).await.expect("written");
    // One of the new potluck, one of the old.
    book(&store, entry(3, key, 100));
    store.flush().await.expect("durable");
    old.execute_batch(&[old_line(4, 0, Some(7), Some("a/b")), old_sums(4, 6 + 17 + 10 + 3, 149)].concat())
        .expect("written");
    old.execute_batch(
        "UPDATE day_totals SET completion = 12, cached = 3; UPDATE key_totals SET completion = 12, cached = 3",
    )
    .expect("written");
    book(&store, entry(5, key, 1000));
    store.flush().await.expect("durable");
    balanced(&store).await;
    assert_eq!(store.verify_totals(Some(NOON.day())).await.expect("readable"), []);
    // From now on nobody else writes; a line without a link is somebody's forgery.
    store.bury().await.expect("written");
    balanced(&store).await;
    let lines = store.summary(LedgerFilter::default()).await.expect("readable");
    let shown: Vec<_> =
        lines.iter().map(|line| (line.model.as_deref(), line.sums.attempts, line.sums.amount.as_pico())).collect();
    assert_eq!(shown, [(None, 1, 2), (Some("a/b"), 2, 47), (Some("some/model"), 2, 1100)]);
    old.execute_batch(&old_line(6, 1, Some(-900), None)).expect("written");
    let found = store.verify_totals(None).await.expect("readable");
    assert!(found.iter().any(|found| matches!(found.kind, ImbalanceKind::Chain { line: Some(7) })), "{found:?}");
}

/// The keys' chains, as they were found broken at a line.
async fn broken(store: &Store) -> Vec<Option<u64>> {
    let found = store.verify_totals(None).await.expect("readable").into_iter();
    found.filter_map(|found| if let ImbalanceKind::Chain { line } = found.kind { Some(line) } else { None }).collect()
}

#[tokio::test]
async fn a_chain_goes_on_in_another_form_once_nobody_writes_who_does_not_know_it() {
    let place = tempfile::tempdir().expect("a directory");
    let old = old_file(place.path(), &STEPS);
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    let form = || number(place.path(), "SELECT count(*) FROM meta WHERE name = 'compact_after'");
    let write = async |line: u128| {
        book(&store, entry(line, key, 7));
        store.flush().await.expect("durable");
    };
    write(1).await;
    write(2).await;
    assert_eq!(form(), 0, "the old potluck checks these");
    store.bury().await.expect("written");
    assert_eq!((form(), broken(&store).await), (1, vec![]));
    write(3).await;
    write(4).await;
    store.bury().await.expect("written");
    write(5).await;
    balanced(&store).await;
    old.execute_batch("DROP TRIGGER entries_stand").expect("forced");
    for line in 1..=5 {
        let change = |by: i64| format!("UPDATE entries SET duration_ms = duration_ms + {by} WHERE id = {line}");
        old.execute_batch(&change(1)).expect("changed");
        assert_eq!(broken(&store).await, [Some(line)]);
        old.execute_batch(&change(-1)).expect("undone");
        assert_eq!(broken(&store).await, []);
    }
    // Each line is in one form only.
    for (after, odd) in [(1, 2), (3, 3)] {
        old.execute_batch(&format!(
            "UPDATE meta SET value = x'{after:02x}00000000000000' WHERE name = 'compact_after'"
        ))
        .expect("changed");
        assert_eq!(broken(&store).await, [Some(odd)], "{after}");
    }
}

/// Lines of a client as a potluck wrote them that had an index by client.
fn indexed_line(number: u8, client: u32, seconds: u64) -> String {
    format!(
        "INSERT INTO entries (kind, request, attempt, opens, at, day, key, endpoint, model, pico, outcome, duration_ms, client) \
         VALUES (0, x'{number:032x}', 1, 1, {}, {}, 1, 'chat_completions', 'a/b', 3, 'answered', 5, {client});",
        NOON.after(Duration::from_secs(seconds)).as_millis(),
        NOON.day().number()
    )
}

#[tokio::test]
async fn lines_are_found_by_client_while_spans_of_them_are_yet_to_be_made_and_after() {
    let place = tempfile::tempdir().expect("a directory");
    let old = old_file(place.path(), &STEPS);
    old.execute_batch(&[indexed_line(1, 1, 0), indexed_line(2, 2, 0), indexed_line(3, 1, 7)].concat())
        .expect("written");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    let client = |client: u32| Some(crate::money::ClientId(client));
    book(&store, Entry { client: client(1).map(Into::into), ..entry(4, key, 1) });
    store.flush().await.expect("durable");
    old.execute_batch(&indexed_line(5, 1, 9)).expect("the old potluck still writes");
    let lines = |store: &Store, whose: u32| {
        let (store, filter) = (store.clone(), LedgerFilter { client: client(whose), ..LedgerFilter::default() });
        async move {
            let page = store.ledger(filter, None, 100).await.expect("readable");
            page.lines.iter().map(|line| line.id).collect::<Vec<_>>()
        }
    };
    let spans = || number(place.path(), "SELECT count(*) FROM client_spans");
    let is_indexed = || number(place.path(), "SELECT count(*) FROM sqlite_schema WHERE name = 'entries_of_client'");
    assert_eq!((lines(&store, 1).await, lines(&store, 2).await), (vec![5, 3, 4, 1], vec![2]));
    assert_eq!((spans(), is_indexed()), (1, 1));
    for _ in 0..2 {
        store.bury().await.expect("written");
        store.make_spans().await.expect("written");
        assert_eq!((lines(&store, 1).await, lines(&store, 2).await), (vec![5, 3, 4, 1], vec![2]));
        assert_eq!((spans(), is_indexed()), (4, 0));
    }
}
