//! Donors and operators: keys come and go, caps rise and fall, owners spend on their own.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use potluck::money::{Caps, Limits, PurseFigures, UsageCheck, Usd, Window};
use potluck::pool::{KeyId, KeyState};
use potluck::secret::Credential;
use potluck::store::{NewKey, StoreError, StoredKey};

use crate::dice::Dice;
use crate::event::Event;
use crate::process::{Process, usd};
use crate::upstream::Pico;
use crate::world::World;

/// What was true of a key when it came.
#[derive(Clone, Debug)]
pub struct Gift {
    pub account: usize,
    /// `None`: it was taken although whoever gave it was told that it could not be.
    pub usage_before: Option<Pico>,
}

/// Keys that were ever donated.
pub type Gifts = BTreeMap<KeyId, Gift>;

/// Donate the key of an account, unless it is there.
pub async fn donate(process: &Rc<Process>, account: usize, limits: Limits) {
    let _changing = process.changes.read().await;
    if process.draining.get() || process.cards.borrow().values().any(|card| *card == account) {
        return;
    }
    let world = &process.world;
    let now = process.now();
    let credential = Credential::parse(&format!("sk-or-v1-{account:064x}")).expect("a key's shape");
    let key = NewKey {
        credential: Arc::new(credential),
        label: Some(account.to_string()),
        donor_id: None,
        donor_name: None,
        account: None,
        limits,
        state: KeyState { verified: true, probe_at: Some(now), ..KeyState::fresh(now) },
        added_at: now,
    };
    // It is asked about first: all it was charged so far was spent before it came.
    let usage_before = world.upstream.borrow().accounts[account].shown(world.now_ms());
    let (before, none) = (usd(usage_before), Usd::ZERO);
    let check = UsageCheck { at: now, usage: before, settled: none, before, elsewhere: none, drift: none };
    let Ok(id) = process.store.add_key_with_usage(key.clone(), Some(check)).await else { return };
    world.machine.gifts.borrow_mut().insert(id, Gift { account, usage_before: Some(usage_before) });
    tell_limits(world, id, &key.limits);
    process.seat(StoredKey {
        id,
        key,
        spent: none,
        purse: PurseFigures::default(),
        usage: Some(check),
        unsound: false,
    });
    process.probe_wanted.notify_one();
    world.tell(Event::Donated { key: id, account });
}

/// Take a key out of the pool.
pub async fn withdraw(process: &Rc<Process>, key: KeyId) {
    let _changing = process.changes.read().await;
    match process.store.remove_key(key).await {
        Ok(()) | Err(StoreError::NoSuchKey(_)) => process.left(key),
        Err(_) => process.fell_out_of_step(key),
    }
}

/// Change what the donor of a key allows.
pub async fn change_limits(process: &Rc<Process>, key: KeyId, limits: Limits) {
    let world = &process.world;
    world.stats.borrow_mut().limit_changes += 1;
    tell_limits(world, key, &limits);
    // What could not be written down has not happened.
    process.change_limits(key, |all| *all = limits).await.ok();
}

pub async fn pause(process: &Rc<Process>, key: KeyId, paused: bool) {
    process.world.tell(Event::Paused { key, paused });
    process.change_limits(key, |all| all.paused = paused).await.ok();
}

/// The owner of a key spends on it, not through the pool.
pub fn spend_elsewhere(world: &World) {
    let amount = world.dice(|dice| Pico::from(dice.amount(1_000_000, 400_000_000_000)));
    let account = {
        let accounts = world.upstream.borrow().accounts.len() as u64;
        usize::try_from(world.dice(|dice| dice.below(accounts))).unwrap()
    };
    let now = world.now_ms();
    let mut upstream = world.upstream.borrow_mut();
    let spender = &mut upstream.accounts[account];
    spender.charge(amount, now);
    spender.elsewhere += amount;
    spender.elsewhere_at = Some(now);
    drop(upstream);
    world.tell(Event::Elsewhere { account, amount });
}

/// Limits as donors set them. Caps are near what a phase's traffic costs, so that they bind.
pub fn any_limits(dice: &mut Dice) -> Limits {
    let mut limits = Limits::default();
    if dice.permille(120) {
        return limits;
    }
    let mut caps = Caps::default();
    for (window, high) in [
        (Window::Day, 4_000_000_000_000),
        (Window::Week, 9_000_000_000_000),
        (Window::Month, 16_000_000_000_000),
        (Window::Total, 32_000_000_000_000),
    ] {
        if dice.permille(450) {
            caps.set(window, Some(Usd::from_pico(dice.amount(high / 64, high))));
        }
    }
    limits.caps = caps;
    if dice.permille(150) {
        limits.reserve = Some(Usd::from_pico(dice.amount(1, 4_000_000_000_000)));
    }
    if dice.permille(100) {
        limits.concurrency = Some(u32::try_from(dice.between(1, 20)).unwrap());
    }
    limits
}

fn tell_limits(world: &World, key: KeyId, limits: &Limits) {
    let cap = |window| limits.caps.of(window).map(|cap| Pico::from(cap.as_pico()));
    let reserve = limits.reserve.map(|reserve| reserve.as_pico().into());
    world.tell(Event::Limits { key, caps: Window::ALL.map(cap), reserve });
}

/// One of the keys there are.
pub fn any_key(process: &Process) -> Option<KeyId> {
    let keys: Vec<KeyId> = process.cards.borrow().keys().copied().collect();
    (!keys.is_empty()).then(|| process.world.dice(|dice| dice.pick(&keys)))
}
