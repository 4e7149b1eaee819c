//! Which keys spend from one account, and what they take off its credit together.

use std::collections::BTreeSet;

use foldhash::HashMap;

use crate::money::Usd;

use super::{AccountId, KeyId};

/// What goes off an account's credit, as far as OpenRouter has not told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outlay {
    /// Paid since it last told, or counted as paid until it is proven otherwise.
    pub paid: Usd,
    /// Held for requests under way.
    pub held: Usd,
}

impl Outlay {
    /// All of it.
    pub fn all(&self) -> Usd {
        self.paid.saturating_add(self.held)
    }
}

#[derive(Debug, Default)]
struct Account {
    members: BTreeSet<KeyId>,
    /// Sums of what its keys take, in pico-dollars, wide enough to be exact.
    paid: i128,
    held: i128,
}

/// Every account that keys of the pool spend from.
#[derive(Debug, Default)]
pub(super) struct Accounts(HashMap<AccountId, Account>);

impl Accounts {
    /// The keys of an account.
    pub fn members(&self, account: AccountId) -> impl Iterator<Item = KeyId> {
        self.0.get(&account).into_iter().flat_map(|account| &account.members).copied()
    }

    /// Whether more than one key spends from it.
    pub fn is_shared(&self, account: AccountId) -> bool {
        self.0.get(&account).is_some_and(|account| account.members.len() > 1)
    }

    /// A key spends from it from now on. What it takes is counted by [`Accounts::count`].
    pub fn join(&mut self, account: AccountId, id: KeyId) {
        self.0.entry(account).or_default().members.insert(id);
    }

    /// A key that was counted with so much has left. Returns whether it was the last.
    pub fn leave(&mut self, account: AccountId, id: KeyId, counted: Outlay) -> bool {
        self.count(account, counted, Outlay::default());
        let Some(left) = self.0.get_mut(&account) else { return false };
        left.members.remove(&id);
        let empty = left.members.is_empty();
        if empty {
            self.0.remove(&account);
        }
        empty
    }

    /// One of its keys takes another amount than before.
    pub fn count(&mut self, account: AccountId, before: Outlay, after: Outlay) {
        if let Some(account) = self.0.get_mut(&account) {
            account.paid += i128::from(after.paid.as_pico()) - i128::from(before.paid.as_pico());
            account.held += i128::from(after.held.as_pico()) - i128::from(before.held.as_pico());
        }
    }

    /// What the account's other keys take, beside one that is counted with so much.
    pub fn others(&self, account: Option<AccountId>, counted: Outlay) -> Outlay {
        let Some(account) = account.and_then(|account| self.0.get(&account)) else { return Outlay::default() };
        let less =
            |sum: i128, own: Usd| Usd::from_pico(i64::try_from(sum - i128::from(own.as_pico())).unwrap_or(i64::MAX));
        Outlay { paid: less(account.paid, counted.paid), held: less(account.held, counted.held) }
    }

    /// Panics when the accounts are not those of these keys: their accounts, numbers, and what they take.
    pub fn invariants(&self, keys: impl Iterator<Item = (AccountId, KeyId, Outlay)>) {
        let mut wanted = Self::default();
        for (account, id, outlay) in keys {
            wanted.join(account, id);
            wanted.count(account, Outlay::default(), outlay);
        }
        assert_eq!(self.0.len(), wanted.0.len(), "accounts have members");
        for (id, account) in &self.0 {
            let wanted = wanted.0.get(id).map(|wanted| (&wanted.members, wanted.paid, wanted.held));
            assert_eq!(Some((&account.members, account.paid, account.held)), wanted, "{id} is what its keys make it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::*;
    use super::super::{Evidence, KeyFacts, KeyState, Left, NoKey, Pool, Want, Worst};
    use super::*;
    use crate::clock::Timestamp;
    use crate::money::{Ended, Limits, PurseFigures};

    fn reserve(pool: &mut Pool, id: u32, dollars: &str) {
        let limits = Limits { reserve: Some(usd(dollars)), ..Limits::default() };
        if pool.set_limits(KeyId(id), Arc::new(limits), START) {
            pool.sync_purse(KeyId(id), PurseFigures::default(), START);
        }
    }

    /// A pool of these keys, all of one account, each with a reserve of $5.
    fn family(ids: std::ops::RangeInclusive<u32>) -> Pool {
        let mut pool = pool_of(0);
        for id in ids {
            add(&mut pool, id, Some(1));
            reserve(&mut pool, id, "5");
        }
        pool
    }

    fn credits(pool: &mut Pool, id: u32, left: &str, now: Timestamp) -> Vec<KeyId> {
        pool.evidence(KeyId(id), &Evidence::Credits { remaining: usd(left) }, now, 0)
    }

    fn limit_left(pool: &mut Pool, id: u32, left: Option<&str>, now: Timestamp) {
        let (limit, limit_remaining) = (left.map(|_| usd("100")), left.map(usd));
        pool.evidence(KeyId(id), &Evidence::Key(KeyFacts { limit, limit_remaining, ..KeyFacts::default() }), now, 0);
    }

    fn costing(amount: &str) -> Want<'static> {
        Want { worst: Worst::Cost(usd(amount)), ..paid() }
    }

    /// A request is served by whoever can.
    fn spend(pool: &mut Pool, amount: &str) -> u32 {
        let chosen = chosen(pool.choose(&costing(amount), START, 0));
        pool.ended(chosen.key, chosen.hold.map(|hold| hold.amount), Ended::Cost(usd(amount)), START);
        pool.invariants();
        chosen.key.0
    }

    fn why(pool: &mut Pool, amount: &str) -> NoKey {
        let why = none(pool.choose(&costing(amount), START, 0)).reason;
        pool.invariants();
        why
    }

    #[test]
    fn an_answer_about_the_key_alone_does_not_set_its_reserve_free() {
        let mut pool = family(1..=1);
        credits(&mut pool, 1, "10", at(1));
        spend(&mut pool, "5");
        assert_eq!(why(&mut pool, "0.01"), NoKey::AllDepleted);
        limit_left(&mut pool, 1, None, at(2));
        assert_eq!(why(&mut pool, "0.01"), NoKey::AllDepleted, "the credit is as old as it was");
        limit_left(&mut pool, 1, Some("50"), at(3));
        assert_eq!(why(&mut pool, "0.01"), NoKey::AllDepleted);
        credits(&mut pool, 1, "6", at(4));
        assert_eq!(why(&mut pool, "1.01"), NoKey::TooDear { leaves: usd("1") });
    }

    #[test]
    fn credit_told_through_one_key_leaves_anothers_limit_as_old_as_it_is() {
        let mut pool = family(1..=2);
        limit_left(&mut pool, 2, Some("8"), at(1));
        pool.ended(KeyId(2), None, Ended::Cost(usd("3")), at(2));
        credits(&mut pool, 1, "100", at(3));
        assert_eq!(pool.keys(at(3)).nth(1).and_then(|key| key.headroom), Some(Usd::ZERO));
        pool.invariants();
    }

    #[test]
    fn what_was_spent_since_a_figure_was_learned_counts_after_a_restart() {
        let mut pool = family(1..=1);
        credits(&mut pool, 1, "10", at(1));
        spend(&mut pool, "4");
        let saved = state(&pool, 1);
        let mut pool = pool_of(0);
        assert!(pool.insert(KeyId(1), credential(1), Some(AccountId(1)), saved.clone(), usd("4"), at(2)));
        reserve(&mut pool, 1, "5");
        assert_eq!(why(&mut pool, "1.01"), NoKey::TooDear { leaves: usd("1") });
        // A line that a crash has lost is not made up for by what comes later.
        let saved = KeyState { credit: saved.credit.map(|left| Left { paid: usd("3"), ..left }), ..saved };
        let mut pool = pool_of(0);
        assert!(pool.insert(KeyId(1), credential(1), Some(AccountId(1)), saved, usd("2"), at(2)));
        reserve(&mut pool, 1, "5");
        spend(&mut pool, "2");
        assert_eq!(why(&mut pool, "3.01"), NoKey::TooDear { leaves: usd("3") });
    }

    #[test]
    fn keys_of_one_account_share_what_its_reserve_leaves() {
        let mut pool = family(1..=2);
        credits(&mut pool, 1, "10", at(1));
        let hold = chosen(pool.choose(&costing("3"), START, 0));
        pool.invariants();
        assert_eq!(why(&mut pool, "3"), NoKey::AllBusy, "the other has room only when that is over");
        pool.ended(hold.key, Some(usd("3")), Ended::Cost(usd("3")), START);
        assert_eq!(why(&mut pool, "2.01"), NoKey::TooDear { leaves: usd("2") });
        assert_eq!(spend(&mut pool, "2"), 2);
        assert_eq!(why(&mut pool, "0.01"), NoKey::AllDepleted);
        assert_eq!(pool.counts(), [0, 2, 0, 0, 0], "both have left rotation");
        assert_eq!(credits(&mut pool, 2, "10", at(2)), k(&[2, 1]));
        assert_eq!(spend(&mut pool, "5"), 1);
        assert_eq!(why(&mut pool, "0.01"), NoKey::AllDepleted);
    }

    #[test]
    fn what_a_key_without_limits_spends_is_seen_by_the_others_of_its_account() {
        let mut pool = family(1..=1);
        add(&mut pool, 2, Some(1));
        credits(&mut pool, 1, "10", at(1));
        pool.ended(KeyId(2), None, Ended::Cost(usd("5")), at(2));
        pool.invariants();
        assert_eq!(pool.counts(), [1, 1, 0, 0, 0]);
        assert_eq!(spend(&mut pool, "1"), 2, "it keeps nothing back itself");
        assert_eq!(pool.keys(at(2)).next().and_then(|key| key.left), Some(usd("4")));
    }

    #[test]
    fn what_a_key_that_left_has_spent_is_gone_all_the_same() {
        let mut pool = family(1..=2);
        credits(&mut pool, 1, "10", at(1));
        pool.ended(KeyId(2), None, Ended::Cost(usd("4")), at(2));
        assert!(pool.remove(KeyId(2)));
        pool.invariants();
        assert_eq!(why(&mut pool, "1.01"), NoKey::TooDear { leaves: usd("1") });
        assert_eq!(pool.tick(at(3)), k(&[1]), "to be saved");
        assert_eq!(state(&pool, 1).credit.map(|credit| credit.paid), Some(usd("-4")));
    }

    #[test]
    fn what_another_process_has_paid_is_gone_as_well() {
        let mut pool = family(1..=1);
        credits(&mut pool, 1, "10", at(1));
        pool.sync_purse(KeyId(1), PurseFigures { total: usd("4"), ..PurseFigures::default() }, at(2));
        assert_eq!(why(&mut pool, "1.01"), NoKey::TooDear { leaves: usd("1") });
    }

    #[test]
    fn a_key_that_moves_takes_no_credit_along() {
        let mut pool = family(1..=2);
        credits(&mut pool, 1, "10", at(1));
        pool.assign_account(KeyId(2), AccountId(2));
        pool.invariants();
        assert_eq!((state(&pool, 2).credit, state(&pool, 2).remaining), (None, None));
        assert_eq!(spend(&mut pool, "5"), 1);
    }
}
