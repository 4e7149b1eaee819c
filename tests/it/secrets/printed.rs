//! `Debug` of everything that holds a secret.

use std::sync::Arc;

use potluck::clock::{Clock, Timestamp};
use potluck::config::{Config, Flags};
use potluck::pool::{KeyState, Lane, Want, Worst};
use potluck::pot::{Call, Donation, KeyRef};
use potluck::secret::{Credential, Secret};
use potluck::store::{NewKey, Store, StoredKey};

use super::needles::Needles;
use crate::support::House;

const KEY: &str = "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";
const TOKEN: &str = "printed-canary-6b2d41fa90ce";
const MASTER: &str = "9e107d9d372bb6826bd81d3542a419d69e107d9d372bb6826bd81d3542a419d6";

fn needles() -> Needles {
    let mut needles = Needles::new();
    for (name, text) in [("the key", KEY), ("the token", TOKEN), ("the master key", MASTER)] {
        needles.secret(name, text);
    }
    needles
}

fn config(data: &str, keys: &str, token: &str, master: &str) -> Result<Config, Vec<potluck::config::Fault>> {
    let env = |name: &str| match name {
        "OPENROUTER_KEYS" => Some(keys.to_owned()),
        "POTLUCK_ADMIN_TOKEN" => Some(token.to_owned()),
        "POTLUCK_MASTER_KEY" => Some(master.to_owned()),
        "POTLUCK_DATA_DIR" => Some(data.to_owned()),
        _ => None,
    };
    Config::from_parts(None, &env, &Flags::default())
}

#[tokio::test]
async fn no_debug_form_holds_a_secret() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data").display().to_string();
    let config = config(&data, KEY, TOKEN, MASTER).unwrap();
    let credential = Credential::parse(KEY).unwrap();
    let now = Timestamp::from_millis(0);
    let new_key = NewKey {
        credential: Arc::new(credential.clone()),
        label: None,
        donor_id: None,
        donor_name: None,
        account: None,
        limits: potluck::money::Limits::default(),
        state: KeyState::fresh(now),
        added_at: now,
    };
    let stored = StoredKey {
        id: potluck::pool::KeyId(1),
        key: new_key.clone(),
        spent: potluck::money::Usd::ZERO,
        purse: potluck::money::PurseFigures::default(),
        usage: None,
        unsound: false,
    };
    let donation = Donation {
        credential: credential.clone(),
        label: None,
        donor_id: None,
        donor_name: None,
        limits: Default::default(),
    };
    let mut forms = vec![
        format!("{:?} {:#?}", Secret::new(KEY), Secret::new(TOKEN)),
        format!("{credential:?} {credential:#?} {} {:?}", credential.masked(), credential.bearer()),
        format!("{new_key:?} {new_key:#?} {stored:?} {stored:#?} {donation:?} {donation:#?}"),
        format!("{config:?} {config:#?}"),
        format!("{:?} {:#?}", config.store_options(), config.store_options()),
        format!("{:?}", KeyRef::Key(credential.fingerprint())),
    ];
    let (store, loaded) = Store::open(config.store_options(), &Clock::manual(now)).unwrap();
    store.add_key(new_key.clone()).await.unwrap();
    let twice = store.add_key(new_key).await.unwrap_err();
    forms.push(format!("{store:?} {loaded:?} {twice:?} {twice}"));
    let needles = needles();
    for form in forms {
        needles.assert_not_in("a debug form", form.as_bytes());
    }
}

#[tokio::test]
async fn nothing_of_a_running_pool_prints_a_key() {
    let house = House::new(1, "").await;
    let mut needles = Needles::new();
    needles.secret("the key", &house.sim.bill().keys[0].name);
    let want = Want {
        lane: Lane::Paid,
        model: None,
        conversation: None,
        tried: &[],
        avoid: &[],
        richest: false,
        fallbacks: &[],
        worst: Worst::Unknown,
    };
    let choice = house.pot.choose(&want);
    let overview = house.overview().await;
    let potluck::pool::Choice::Key(chosen) = choice else { panic!("{choice:?}") };
    let call = Arc::new(Call {
        request: potluck::money::RequestId(uuid::Uuid::nil()),
        seat: None,
        endpoint: potluck::upstream::Endpoint::ChatCompletions,
        model: None,
    });
    let chosen_form = format!("{chosen:?} {chosen:#?}");
    let begun = house.pot.attempt(&call, chosen, 1);
    let forms =
        [chosen_form, format!("{begun:?}"), format!("{:?} {:#?}", house.pot, house.pot), format!("{overview:?}")];
    for form in forms {
        needles.assert_not_in("a debug form", form.as_bytes());
    }
}

#[test]
fn what_is_wrong_with_a_secret_is_said_without_it() {
    let bad_key = KEY.replace("c0ffee", "c0ffee ");
    let tables = [
        (bad_key.as_str(), TOKEN, MASTER),
        (&KEY[3..], TOKEN, MASTER),
        (KEY, &TOKEN[..10], MASTER),
        (KEY, "printed-canary-6b2d41fa90ce\n", MASTER),
        (KEY, TOKEN, &MASTER[..20]),
    ];
    for (keys, token, master) in tables {
        let said = match config("/nowhere", keys, token, master) {
            Ok(config) => format!("{config:?}"),
            Err(faults) => faults.iter().map(|fault| format!("{fault} {fault:?}")).collect(),
        };
        needles().assert_not_in("a fault", said.as_bytes());
        assert!(!said.contains(&TOKEN[..10]) && !said.contains(&MASTER[..12]), "{said}");
    }
}
