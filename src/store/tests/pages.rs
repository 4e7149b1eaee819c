//! What the ledger answers when it is asked.

use super::*;
use crate::money::ClientId;

fn by(change: impl FnOnce(&mut LedgerFilter)) -> LedgerFilter {
    let mut filter = LedgerFilter::default();
    change(&mut filter);
    filter
}

/// All lines that are meant, page by page of so many, by their numbers.
async fn all(store: &Store, filter: &LedgerFilter, limit: usize) -> Vec<u64> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = store.ledger(filter.clone(), after, limit).await.expect("readable");
        assert!(page.lines.len() <= limit);
        ids.extend(page.lines.iter().map(|line| line.id));
        let Some(next) = page.next else { return ids };
        after = Some(next.to_string().parse().expect("a cursor survives being text"));
    }
}

/// 60 lines: three to a second, two keys, three models, a client in every second line and a failure in every tenth.
async fn sixty(place: &Path) -> (Store, KeyId, KeyId) {
    let (store, _) = open(place);
    let (a, b) = (new_key(1), new_key(2));
    let (a, b) = (store.add_key(a).await.expect("added"), store.add_key(b).await.expect("added"));
    for number in 0..60u32 {
        let models = ["acme/large", "acme/small", "other/one:free"];
        let attempt = Entry {
            at: NOON.after(Duration::from_secs((number / 3).into())),
            client: (number % 2 == 0).then_some(ClientId(number % 4 + 1).into()),
            model: Some(models[(number % 3) as usize].into()),
            outcome: if number % 10 == 9 { Outcome::Broken } else { Outcome::Answered },
            ..entry(u128::from(number) + 1, if number % 5 == 0 { b } else { a }, 1)
        };
        book(&store, attempt);
    }
    store.flush().await.expect("durable");
    (store, a, b)
}

#[tokio::test]
async fn every_filter_gives_its_lines_the_newest_first_whatever_the_size_of_pages() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, a, b) = sixty(place.path()).await;
    let second = |seconds| Some(NOON.after(Duration::from_secs(seconds)));
    let meant = |filter: &LedgerFilter| -> Vec<u64> {
        let fits = |id: &u64| {
            let number = id - 1;
            let at = NOON.after(Duration::from_secs(number / 3));
            let key = if number.is_multiple_of(5) { b } else { a };
            let client = number.is_multiple_of(2).then_some(ClientId((number % 4) as u32 + 1));
            let outcome = if number % 10 == 9 { Outcome::Broken } else { Outcome::Answered };
            let model = match filter.model.as_deref() {
                None => true,
                Some("ACME/*") => number % 3 != 2,
                Some("acme/large") => number.is_multiple_of(3),
                Some(_) => false,
            };
            filter.from.is_none_or(|from| at >= from)
                && filter.to.is_none_or(|to| at < to)
                && filter.key.is_none_or(|wanted| key == wanted)
                && filter.client.is_none_or(|wanted| client == Some(wanted))
                && filter.outcome.is_none_or(|wanted| outcome == wanted)
                && model
        };
        (1..=60).rev().filter(fits).collect()
    };
    let filters = [
        by(|_| {}),
        by(|f| f.key = Some(b)),
        by(|f| f.client = Some(ClientId(3))),
        by(|f| f.outcome = Some(Outcome::Broken)),
        by(|f| f.outcome = Some(Outcome::Answered)),
        by(|f| f.model = Some("ACME/*".into())),
        by(|f| f.model = Some("acme/large".into())),
        by(|f| f.model = Some("acme".into())),
        by(|f| (f.from, f.to) = (second(3), second(11))),
        by(|f| (f.from, f.to, f.key) = (second(3), second(11), Some(a))),
        by(|f| (f.key, f.client, f.outcome) = (Some(a), Some(ClientId(1)), Some(Outcome::Answered))),
        by(|f| (f.client, f.from, f.model) = (Some(ClientId(1)), second(5), Some("acme/large".into()))),
        by(|f| (f.outcome, f.to, f.key) = (Some(Outcome::Broken), second(12), Some(a))),
        by(|f| f.key = Some(KeyId(77))),
        by(|f| (f.from, f.to) = (second(11), second(3))),
    ];
    for filter in filters {
        let meant = meant(&filter);
        for limit in [1, 2, 7, 60, 1000] {
            assert_eq!(all(&store, &filter, limit).await, meant, "{filter:?} by {limit}");
        }
    }
}

#[tokio::test]
async fn pages_stay_as_they_are_while_lines_are_added() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, key, _) = sixty(place.path()).await;
    let filter = LedgerFilter::default();
    let (mut seen, mut after) = (Vec::new(), None);
    for number in 100.. {
        let page = store.ledger(filter.clone(), after, 7).await.expect("readable");
        seen.extend(page.lines.iter().map(|line| line.id));
        let Some(next) = page.next else { break };
        after = Some(next);
        book(&store, Entry { at: NOON.after(Duration::from_secs(100)), ..entry(number, key, 1) });
        // One that comes late, to its own time.
        book(&store, Entry { at: NOON, attempt: 2, ..entry(number, key, 1) });
        store.flush().await.expect("durable");
    }
    let first: Vec<u64> = seen.iter().copied().filter(|id| *id <= 60).collect();
    assert_eq!(first, (1..=60).rev().collect::<Vec<_>>(), "each line that was there once and in order");
    let mut once = seen.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), seen.len());
    assert!(seen.len() > 60, "late ones are where they belong");
}

#[tokio::test]
async fn a_page_that_would_take_long_is_handed_out_as_it_is() {
    let place = tempfile::tempdir().expect("a directory");
    let (_store, ..) = sixty(place.path()).await;
    let hand = by_hand(place.path());
    let none = by(|f| f.model = Some("nobody/nothing".into()));
    let (mut pages, mut after) = (0, None);
    loop {
        let page = listing::tests::short_page(&hand, &none, after, 7);
        assert_eq!(page.lines, []);
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, 60_usize.div_ceil(7));
}

#[tokio::test]
async fn a_clients_lines_are_found_among_others_and_lines_of_others_are_not_read_for_ever() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    // Lines 37 ms apart, in no order, so that spans have several and begin and end everywhere; every ninth is client 1's.
    let at = |number: u64| NOON.after(Duration::from_millis(number * 53 % 300 * 37));
    let client = |number: u64| ClientId(if number.is_multiple_of(9) { 1 } else { 2 });
    for number in 0..300 {
        book(&store, Entry { at: at(number), client: Some(client(number).into()), ..entry(number.into(), key, 1) });
    }
    // And one that lies far from them, before there was time.
    let first = Timestamp::from_millis(-1);
    book(&store, Entry { at: first, client: Some(ClientId(1).into()), ..entry(300, key, 1) });
    store.flush().await.expect("durable");
    let time = |number: u64| if number == 300 { first } else { at(number) };
    let second = |seconds| Some(NOON.after(Duration::from_secs(seconds)));
    for (from, to) in [(None, None), (second(2), second(8)), (Some(first), second(4))] {
        let is_in = |number: &u64| {
            let at = time(*number);
            from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to)
        };
        let mut meant: Vec<u64> = (0..300).step_by(9).chain([300]).filter(is_in).collect();
        meant.sort_by_key(|number| std::cmp::Reverse((time(*number), *number)));
        let meant: Vec<u64> = meant.iter().map(|number| number + 1).collect();
        assert!(meant.len() > 1, "{from:?}");
        let filter = by(|f| (f.client, f.from, f.to) = (Some(ClientId(1)), from, to));
        for limit in [1, 4, 100] {
            assert_eq!(all(&store, &filter, limit).await, meant, "{from:?} by {limit}");
        }
    }
    let page = listing::tests::short_page(&by_hand(place.path()), &by(|f| f.client = Some(ClientId(1))), None, 2);
    assert!(page.lines.len() <= 1 && page.next.is_some(), "two lines were read, whoever's");
}

#[tokio::test]
async fn a_line_tells_everything_and_so_does_its_correction() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    let key = store.add_key(new_key(1)).await.expect("added");
    book(
        &store,
        Entry { client: Some(ClientId(2).into()), held: Some(usd(70)), byok: Some(usd(9)), ..unknown(1, key) },
    );
    store.flush().await.expect("durable");
    let page = store.ledger(LedgerFilter::default(), None, 5).await.expect("readable");
    let [attempt] = &page.lines[..] else { panic!("{page:?}") };
    assert_eq!((attempt.kind, attempt.basis, attempt.cost), (LineKind::Attempt, None, None));
    assert_eq!((attempt.held, attempt.byok, attempt.in_suspense), (Some(usd(70)), Some(usd(9)), true));
    assert_eq!((attempt.request, attempt.attempt, attempt.client), (request(1), 1, Some(ClientId(2))));
    assert_eq!((attempt.endpoint, attempt.status), (Some(Endpoint::ChatCompletions), Some(200)));
    assert_eq!(attempt.generation.as_ref().map(GenerationId::as_str), Some("gen-1"));

    let found = Settlement { basis: Basis::Estimate, byok: Some(usd(4)), ..settlement(70) };
    assert!(store.settle(1, found).await.expect("written"));
    let page = store.ledger(LedgerFilter::default(), None, 5).await.expect("readable");
    let [correction, attempt] = &page.lines[..] else { panic!("{page:?}") };
    assert!(!attempt.in_suspense && !correction.in_suspense);
    assert_eq!((correction.kind, correction.basis), (LineKind::Correction, Some(Basis::Estimate)));
    assert_eq!((correction.cost, correction.byok, correction.held), (Some(usd(70)), Some(usd(-5)), None));
    assert_eq!((correction.day, correction.client), (NOON.day(), Some(ClientId(2))));
    assert_eq!(correction.at, NOON.after(Duration::from_secs(60)));
}

#[tokio::test]
async fn summaries_and_receipts_add_up() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, a, b) = sixty(place.path()).await;
    let tomorrow = NOON.after(Duration::from_secs(86_400));
    book(
        &store,
        Entry { at: tomorrow, tokens: Tokens { cached: Some(5), ..entry(1, a, 0).tokens }, ..entry(500, a, 900) },
    );
    book(&store, Entry { at: tomorrow, held: Some(usd(44)), ..unknown(501, a) });
    book(&store, Entry { at: tomorrow, model: None, byok: Some(usd(6)), ..entry(502, a, 30) });
    store.flush().await.expect("durable");
    let lines = store.summary(LedgerFilter::default()).await.expect("readable");
    let total = store.totals(NOON.day()).await.expect("readable");
    let sum = |of: fn(&Sums) -> i64| lines.iter().map(|line| of(&line.sums)).sum::<i64>();
    assert_eq!(sum(|sums| sums.amount.as_pico()), total.spent_total.as_pico());
    assert_eq!(sum(|sums| sums.attempts as i64), total.attempts.iter().sum::<u64>() as i64);
    assert_eq!(sum(|sums| sums.answered as i64), total.successes as i64);
    assert_eq!(sum(|sums| sums.requests as i64), total.requests as i64);
    let places: Vec<_> = lines.iter().map(|line| (line.day, line.key, line.model.clone())).collect();
    assert!(places.is_sorted() && places.len() == 6 + 2, "{places:?}");

    let count = |filter: LedgerFilter| {
        let store = store.clone();
        async move { store.summary(filter).await.expect("readable").iter().map(|line| line.sums.attempts).sum::<u64>() }
    };
    assert_eq!(count(by(|f| f.key = Some(b))).await, 12);
    assert_eq!(count(by(|f| f.client = Some(ClientId(1)))).await, 15);
    assert_eq!(count(by(|f| f.outcome = Some(Outcome::Broken))).await, 6);
    assert_eq!(count(by(|f| f.model = Some("*:FREE".into()))).await, 20);
    assert_eq!(count(by(|f| (f.key, f.model) = (Some(b), Some("acme/*".into())))).await, 8);
    assert_eq!(count(by(|f| f.from = Some(tomorrow))).await, 3, "whole days");
    assert_eq!(count(by(|f| f.to = Some(tomorrow.day().start()))).await, 60, "up to midnight, without it");
    assert_eq!(count(by(|f| (f.from, f.to, f.key) = (Some(NOON), Some(NOON), Some(a)))).await, 48);

    let receipt = store.receipt(a, tomorrow.day(), tomorrow.day()).await.expect("readable");
    assert_eq!((receipt.sums.attempts, receipt.sums.requests, receipt.sums.amount), (3, 3, usd(930)));
    assert_eq!((receipt.suspense, receipt.suspense_held, receipt.sums.byok), (1, usd(44), usd(6)));
    assert_eq!(receipt.sums.cached_permille(), Some(250));
    let models: Vec<_> = receipt.models.iter().map(|(model, sums)| (model.as_deref(), sums.amount.as_pico())).collect();
    assert_eq!(models, [(Some("some/model"), 900), (None, 30)]);
    let both = store.receipt(a, NOON.day(), tomorrow.day()).await.expect("readable");
    assert_eq!((both.sums.attempts, both.models.len()), (51, 5));
    let none = store.receipt(a, tomorrow.next_midnight().day(), Day::from_number(i32::MAX)).await.expect("readable");
    assert_eq!((none.sums, none.models.len(), none.suspense), (Sums::default(), 0, 0));
}
