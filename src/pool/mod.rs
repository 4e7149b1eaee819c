//! The pool: which key serves a request, and what each answer does to a key. Pure: no clock, no I/O, no lock.
//!
//! | question | file |
//! |---|---|
//! | which key serves this request, and if none, why and until when | `choose` |
//! | in which order keys take turns | `order` (`bitset`, `fenwick`) |
//! | which key a conversation stays with | `affinity` |
//! | what an answer does to a key or its account, and for how long | `health` |
//! | which account cannot reach which model | `exclusions` |
//! | whether OpenRouter turns everybody away | `crowd` |
//! | what happens as time goes by, or jumps | `timers` |
//! | who goes up beside a trial, when nobody else can serve | `trials` |
//! | what a free probe proves | `evidence` |
//! | when to ask about a key | `probes` |
//! | what an operator may say | `operator` |
//! | what donors allow; holds and leases of money | `spend` |
//! | what the keys of one account take off its credit together | `accounts` |
//! | what holds about all of it, always | `invariants` |
//!
//! Every change to a key goes through `Pool::edit`, which brings the indexes up to date: there is no other place
//! where they can part from the keys.

mod accounts;
mod affinity;
mod bitset;
mod choose;
mod crowd;
mod effect;
mod evidence;
mod exclusions;
mod fenwick;
mod gate;
mod health;
mod index;
mod invariants;
mod operator;
mod order;
mod policy;
mod probes;
mod slot;
mod spend;
mod timers;
mod trials;
mod types;

#[cfg(test)]
mod model_test;
#[cfg(test)]
mod testing;

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashMap;

use crate::clock::Timestamp;
use crate::money::{Limits, ModelGlobs, Purse, Usd};
use crate::secret::{Credential, Fingerprint};

use accounts::{Accounts, Outlay};
use affinity::Affinity;
use crowd::Crowd;
use exclusions::{Exclusions, Holder};
use index::{Entry, Index};
use slot::{Slot, Trial};

pub use effect::{Effect, Evidence, KeyFacts};
pub use gate::Gate;
pub use policy::{Policy, Rotation};
pub use spend::{Activity, PoolMoney};
pub use trials::AtLast;
pub use types::{
    AccountId, Cause, Choice, Chosen, Conversation, Health, KeyId, KeyState, Lane, Left, NoKey, Unavailable, Want,
    Worst,
};

/// Donated keys, their health, and whose turn it is.
///
/// Owned by one place and reached under its lock: a choice takes well under a microsecond at any size.
#[derive(Debug)]
pub struct Pool {
    policy: Policy,
    /// In the order of donation; a removed key leaves a gap until [`Pool::close_gaps`].
    slots: Vec<Option<Slot>>,
    places: HashMap<KeyId, usize>,
    fingerprints: HashMap<Fingerprint, KeyId>,
    accounts: Accounts,
    index: Index,
    affinity: Affinity,
    exclusions: Exclusions,
    /// The latest time seen, to notice a clock set back.
    latest: Timestamp,
    /// The clock was set back, and nobody has been told.
    set_back: bool,
    /// The upstream's edge turned the whole proxy away until then.
    edge_rest: Option<Timestamp>,
    crowd: Crowd,
    /// Choices so far.
    turns: u64,
    /// Where the last key chosen stands.
    last_place: Option<usize>,
    /// Keys changed by timers since the last [`Pool::tick`].
    changed: BTreeSet<KeyId>,
    /// Keys with limits on money.
    strict_keys: usize,
    /// The models that some donor allows, until a key comes, goes or is limited anew.
    models: Option<Arc<ModelGlobs>>,
    /// Keys whose lease may be too small or too large.
    wishes: BTreeSet<KeyId>,
}

/// A key as others may see it.
#[derive(Clone, Copy, Debug)]
pub struct PooledKey<'a> {
    /// Its number.
    pub id: KeyId,
    /// The key itself, sealed against printing.
    pub credential: &'a Arc<Credential>,
    /// Its account, where known.
    pub account: Option<AccountId>,
    /// Its state as of the last event.
    pub state: &'a KeyState,
    /// Its health as others see it: depleted, too, when its limits leave nothing.
    pub health: Health,
    /// What it has paid, through the pool or by an operator's word.
    pub spent: Usd,
    /// What OpenRouter says is left for it, less what it and the other keys of its account have paid since.
    pub left: Option<Usd>,
    /// Whether it is back but has yet to serve a request.
    pub on_trial: bool,
    /// What the donor allows.
    pub limits: &'a Limits,
    /// Whether donor and books let it serve.
    pub gate: Gate,
    /// Its money, where that is or was limited.
    pub purse: Option<&'a Purse>,
    /// What the next request on it may cost, where its money is limited; below zero when it is beyond its limits.
    pub headroom: Option<Usd>,
    /// Attempts under way on it.
    pub in_flight: u32,
}

/// Gaps are closed when there are more of them than keys, but not for a handful.
const GAPS_MIN: usize = 64;

impl Pool {
    /// An empty pool.
    pub fn new(policy: Policy) -> Self {
        Self {
            slots: Vec::new(),
            places: HashMap::default(),
            fingerprints: HashMap::default(),
            accounts: Accounts::default(),
            index: Index::new(policy.rotation),
            affinity: Affinity::new(policy.affinity_max, policy.affinity_idle),
            exclusions: Exclusions::new(policy.exclusions_max),
            latest: Timestamp::default(),
            edge_rest: None,
            crowd: Crowd::default(),
            turns: 0,
            last_place: None,
            changed: BTreeSet::new(),
            strict_keys: 0,
            models: None,
            set_back: false,
            wishes: BTreeSet::new(),
            policy,
        }
    }

    /// Add a key: one just donated ([`KeyState::fresh`]), or one from the store with its state and spend of before.
    /// What its timers missed meanwhile takes effect at the next choice or tick.
    ///
    /// Returns `false`, and changes nothing, when this number or this key is in the pool already.
    pub fn insert(
        &mut self,
        id: KeyId,
        credential: Arc<Credential>,
        account: Option<AccountId>,
        mut state: KeyState,
        spent: Usd,
        now: Timestamp,
    ) -> bool {
        let fingerprint = credential.fingerprint();
        if self.places.contains_key(&id) || self.fingerprints.contains_key(&fingerprint) {
            return false;
        }
        self.see(now);
        timers::restore(&mut state, &self.policy, now);
        probes::resume(&mut state, id, &self.policy, now);
        let place = self.slots.len();
        self.slots.push(Some(Slot::new(id, credential, account, state, spent)));
        self.places.insert(id, place);
        self.fingerprints.insert(fingerprint, id);
        if let Some(account) = account {
            self.accounts.join(account, id);
        }
        self.models = None;
        self.refresh(place);
        true
    }

    /// Take a key out. Returns whether it was there.
    pub fn remove(&mut self, id: KeyId) -> bool {
        let Some(place) = self.places.remove(&id) else { return false };
        let Some(slot) = self.slots.get_mut(place).and_then(Option::take) else { return false };
        self.index.update(place, &slot.indexed, &Entry::default());
        self.strict_keys -= usize::from(slot.limits.are_strict());
        self.models = None;
        self.wishes.remove(&id);
        self.fingerprints.remove(&slot.credential.fingerprint());
        self.leave_account(id, slot.account, slot.counted);
        self.exclusions.forget(Holder::Key(id));
        self.changed.remove(&id);
        let live = self.index.live.len();
        if self.slots.len() > 2 * live + GAPS_MIN {
            self.close_gaps();
        }
        true
    }

    /// The number of the key with this fingerprint.
    pub fn find(&self, fingerprint: &Fingerprint) -> Option<KeyId> {
        self.fingerprints.get(fingerprint).copied()
    }

    /// The key belongs to this account from now on.
    pub fn assign_account(&mut self, id: KeyId, account: AccountId) {
        let Some(place) = self.places.get(&id).copied() else { return };
        let Some((old, counted)) = self.slot(place).map(|slot| (slot.account, slot.counted)) else { return };
        if old == Some(account) {
            return;
        }
        self.leave_account(id, old, counted);
        self.accounts.join(account, id);
        self.edit(place, |slot, _| {
            slot.account = Some(account);
            slot.counted = Outlay::default();
            if old.is_some() {
                // That was another account's.
                slot.state.credit = None;
                slot.learned();
            }
        });
        self.changed.insert(id);
    }

    /// The key has paid so much more, elsewhere: that counts where fair shares are weighed.
    pub fn spent(&mut self, id: KeyId, amount: Usd) {
        if let Some(place) = self.places.get(&id).copied() {
            self.edit(place, |slot, _| slot.elsewhere = slot.elsewhere.saturating_add(amount));
        }
    }

    /// A key's state as of the last event; [`Pool::tick`] first brings timers up to date.
    pub fn state(&self, id: KeyId) -> Option<&KeyState> {
        self.places.get(&id).and_then(|place| self.slot(*place)).map(|slot| &slot.state)
    }

    /// How many keys are in each state, in the order of [`Health::ALL`]; [`Pool::tick`] first brings timers up to date.
    pub fn counts(&self) -> [u32; 5] {
        self.index.counts
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.index.live.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every key, in rotation order, as it is at `now`.
    pub fn keys(&self, now: Timestamp) -> impl Iterator<Item = PooledKey<'_>> {
        self.slots.iter().flatten().map(move |slot| PooledKey {
            id: slot.id,
            credential: &slot.credential,
            account: slot.account,
            state: &slot.state,
            health: slot.shown_health(),
            spent: slot.paid_anywhere(),
            left: slot.left(self.others(slot).paid).or(slot.state.remaining),
            on_trial: slot.trial != Trial::None,
            limits: &slot.limits,
            gate: slot.gate,
            purse: slot.purse.as_deref(),
            headroom: slot.headroom(self.others(slot), now),
            in_flight: slot.in_flight,
        })
    }

    /// Where the rotation stands: the number, from 0, of the key behind the last one chosen, in rotation order.
    pub fn rotation_index(&self) -> usize {
        let behind = self.last_place.map_or(0, |place| self.index.live.rank(place + 1));
        if behind < self.len() { behind } else { 0 }
    }

    /// The key chosen last, while it is in the pool.
    pub fn last_key(&self) -> Option<KeyId> {
        self.last_place.and_then(|place| self.slot(place)).map(|slot| slot.id)
    }

    fn slot(&self, place: usize) -> Option<&Slot> {
        self.slots.get(place).and_then(Option::as_ref)
    }

    /// Change a key and bring the indexes up to date.
    fn edit<R>(&mut self, place: usize, change: impl FnOnce(&mut Slot, &Policy) -> R) -> Option<R> {
        let slot = self.slots.get_mut(place).and_then(Option::as_mut)?;
        let result = change(slot, &self.policy);
        self.refresh(place);
        Some(result)
    }

    fn refresh(&mut self, place: usize) {
        let Some(slot) = self.slots.get_mut(place).and_then(Option::as_mut) else { return };
        let entry = slot.entry();
        if entry != slot.indexed {
            self.index.update(place, &slot.indexed, &entry);
            slot.indexed = entry;
        }
        self.count(place);
    }

    /// Let a key's account know what it takes.
    fn count(&mut self, place: usize) {
        let Some(slot) = self.slots.get_mut(place).and_then(Option::as_mut) else { return };
        let outlay = slot.outlay();
        if outlay != slot.counted {
            let before = std::mem::replace(&mut slot.counted, outlay);
            if let Some(account) = slot.account {
                self.accounts.count(account, before, outlay);
            }
        }
    }

    /// What the other keys of its account take.
    fn others(&self, slot: &Slot) -> Outlay {
        self.accounts.others(slot.account, slot.counted)
    }

    fn leave_account(&mut self, id: KeyId, account: Option<AccountId>, counted: Outlay) {
        let Some(account) = account else { return };
        if self.accounts.leave(account, id, counted) {
            self.exclusions.forget(Holder::Account(account));
        } else if counted.all() > Usd::ZERO {
            self.bequeath(account, counted.all());
        }
    }

    /// What a key that left has taken off its account's credit is gone all the same: one of the others goes on counting it.
    fn bequeath(&mut self, account: AccountId, amount: Usd) {
        let places = self.accounts.members(account).filter_map(|id| self.places.get(&id).copied());
        let heir = places.into_iter().find(|place| self.slot(*place).is_some_and(|slot| slot.state.credit.is_some()));
        let Some(place) = heir else { return };
        let heir = self.edit(place, |slot, _| {
            if let Some(credit) = &mut slot.state.credit {
                credit.paid = credit.paid.checked_sub(amount).unwrap_or(Usd::from_pico(i64::MIN));
            }
            slot.id
        });
        self.changed.extend(heir);
    }

    /// Renumber the places so that none is empty. Order and turns stay as they are.
    fn close_gaps(&mut self) {
        let old = std::mem::replace(&mut self.index, Index::new(self.policy.rotation));
        self.index.order.carry_turn(&old.order, |place| old.live.rank(place));
        self.last_place = self.last_place.filter(|place| old.live.contains(*place)).map(|place| old.live.rank(place));
        self.slots.retain(Option::is_some);
        self.slots.shrink_to_fit();
        for place in 0..self.slots.len() {
            if let Some(slot) = self.slots.get_mut(place).and_then(Option::as_mut) {
                slot.indexed = Entry::default();
                self.places.insert(slot.id, place);
            }
            self.refresh(place);
        }
    }
}
