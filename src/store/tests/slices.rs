//! The books are verified in slices, while others write. In tests a slice has three lines.

use std::sync::atomic::AtomicBool;

use super::verify::verify_resting;
use super::*;

/// Verify all of the books, doing `meanwhile` after each slice; what is found, and how many slices there were before the last.
fn verify_while(place: &Path, mut meanwhile: impl FnMut(u32)) -> (Vec<Imbalance>, u32) {
    let mut slices = 0;
    let mut rest = |_| {
        slices += 1;
        meanwhile(slices);
    };
    let found = verify_resting(&by_hand(place), None, &AtomicBool::new(false), &mut rest).expect("readable");
    (found, slices)
}

fn wait_for<T>(call: impl Future<Output = Result<T, StoreError>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(call).expect("done")
}

/// Two keys with so many lines each, by turns.
fn store_with(place: &Path, lines: u128) -> Store {
    let (store, _) = open(place);
    let keys = [1, 2].map(|number| wait_for(store.add_key(new_key(number))));
    for number in 0..lines {
        for key in keys {
            book(&store, entry(number * 2 + u128::from(key.0), key, 10));
        }
    }
    wait_for(store.flush());
    store
}

#[test]
fn what_is_booked_while_the_books_are_verified_does_not_disturb() {
    let place = tempfile::tempdir().expect("a directory");
    let store = store_with(place.path(), 5);
    let (found, slices) = verify_while(place.path(), |slice| {
        if slice < 4 {
            let new = wait_for(store.add_key(new_key(10 + slice)));
            book(&store, entry(100 + u128::from(slice), KeyId(1), 7));
            book(&store, entry(200 + u128::from(slice), new, 7));
            wait_for(store.flush());
        }
    });
    assert_eq!((found, slices), (vec![], 5), "ten lines, and six that came meanwhile");
}

#[test]
fn lines_that_are_rolled_up_while_the_books_are_verified_do_not_disturb() {
    for when in 1..=3 {
        let place = tempfile::tempdir().expect("a directory");
        let store = store_with(place.path(), 5);
        let tomorrow = NOON.next_midnight().day();
        let (found, slices) = verify_while(place.path(), |slice| {
            if slice == when {
                assert_eq!(wait_for(store.roll_up(tomorrow)).lines, 9, "the last one stays");
            }
        });
        assert_eq!((found, slices), (vec![], when), "then there is one slice left");
    }
}

#[test]
fn a_form_that_begins_while_the_books_are_verified_does_not_disturb() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, _) = open(place.path());
    // As in a file of an older potluck, before it is gone.
    by_hand(place.path()).execute_batch("DELETE FROM meta WHERE name = 'compact_after'").expect("forced");
    let key = wait_for(store.add_key(new_key(1)));
    let write = |numbers: std::ops::RangeInclusive<u128>| {
        numbers.for_each(|number| book(&store, entry(number, key, 10)));
        wait_for(store.flush());
    };
    write(1..=4);
    let (found, slices) = verify_while(place.path(), |slice| {
        if slice == 1 {
            wait_for(store.bury());
            write(5..=8);
        }
    });
    assert_eq!((found, slices), (vec![], 2));
    assert_eq!(verify_while(place.path(), |_| {}).0, []);
}

#[test]
fn a_change_in_any_slice_is_found() {
    for line in 1..=10 {
        let place = tempfile::tempdir().expect("a directory");
        let _store = store_with(place.path(), 5);
        let forced = format!("DROP TRIGGER entries_stand; UPDATE entries SET duration_ms = 1 WHERE id = {line}");
        by_hand(place.path()).execute_batch(&forced).expect("forced");
        let (found, _) = verify_while(place.path(), |_| {});
        let kinds: Vec<_> = found.iter().map(|found| (found.kind, found.unsound_key())).collect();
        let key = KeyId(if line % 2 == 1 { 1 } else { 2 });
        assert_eq!(kinds, [(ImbalanceKind::Chain { line: Some(line) }, Some(key))]);
    }
}
