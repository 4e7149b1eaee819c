//! What survives what.

use super::*;
use crate::pool::{Cause, Health, Left};

#[tokio::test]
async fn a_restart_keeps_keys_states_accounts_and_books() {
    let place = tempfile::tempdir().expect("a directory");
    let (store, loaded) = open(place.path());
    assert!(loaded.keys.is_empty() && loaded.accounts.is_empty());
    let a = store.add_key(new_key(1)).await.expect("added");
    let b = store.add_key(new_key(2)).await.expect("added");
    assert!(matches!(store.add_key(new_key(1)).await, Err(StoreError::KeyPresent(id)) if id == a));
    let account = store.account("someone").await.expect("made");
    assert_eq!(store.account("someone").await.expect("found"), account);
    store.set_account(b, account).await.expect("set");
    let state = KeyState {
        health: Health::Depleted,
        since: NOON,
        until: Some(NOON.after(FIRST_LOOKUP)),
        cause: Cause::KeyLimit,
        note: Some("a note".to_owned()),
        free_until: Some(NOON),
        strikes: 3,
        verified: true,
        probe_at: Some(NOON),
        remaining: Some(Usd::from_pico(-5)),
        limit: Some(Left { amount: Usd::from_pico(-5), paid: Usd::from_pico(40) }),
        credit: Some(Left { amount: Usd::from_pico(7), paid: Usd::from_pico(-1) }),
    };
    store.save_state(b, KeyState::fresh(NOON));
    store.save_state(b, state.clone());
    book(&store, entry(1, b, 42));
    store.close().expect("everything is written");
    store.close().expect("and nothing is left to do");
    assert!(store.slot().is_none() && matches!(store.flush().await, Err(StoreError::Closed)));

    let (store, loaded) = open(place.path());
    assert_eq!(loaded.accounts, [(account, "someone".to_owned())]);
    let [first, second] = &loaded.keys[..] else { panic!("{loaded:?}") };
    assert_eq!((first.id, first.spent, first.key.account), (a, Usd::ZERO, None));
    assert_eq!(first.key.credential.expose(), credential(1).expose());
    assert_eq!(first.key.state, KeyState::fresh(NOON));
    assert_eq!((second.id, second.spent, second.key.account), (b, Usd::from_pico(42), Some(account)));
    assert_eq!(second.key.state, state);
    assert_eq!(second.key.donor_name.as_deref(), Some("donor 2"));
    balanced(&store).await;
}
