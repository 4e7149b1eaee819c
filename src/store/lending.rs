//! A key's money: what donors allow, what is leased of it, and what processes that are gone have left behind.

use crate::clock::Day;
use crate::money::{Limits, PurseFigures, UsageCheck, Usd};
use crate::pool::KeyId;

use super::command::Command;
use super::error::StoreError;
use super::purse::Ask;
use super::record::{Buried, Finding, Grant, Holder, Recovered, StaleLease};
use super::{Store, epochs, keys};

impl Store {
    /// Write down what a donor allows, and that it was said. Durable when it returns. The key's money, as its caps are
    /// measured against it, with everything that was booked before.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`], or [`StoreError::Unwritable`].
    pub async fn set_limits(&self, id: KeyId, limits: Limits) -> Result<PurseFigures, StoreError> {
        self.write(|reply| Command::SetLimits { id, limits: Box::new(limits), reply }).await
    }

    /// The money of a key or of a client's budget, with everything that was booked before.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`], or [`StoreError::Unwritable`].
    pub async fn purse(&self, holder: impl Into<Holder>) -> Result<PurseFigures, StoreError> {
        let holder = holder.into();
        self.write(|reply| Command::Purse { holder, reply }).await
    }

    /// Lease some of a holder's headroom on `day`: `want`, or what is left of it, but not less than `least`. What is granted is
    /// durable. In each window, what is settled (days to come included), in suspense and leased by anybody stays within the
    /// cap. Without caps everything is granted; with caps nothing while something is out that nobody can
    /// bound. A process that was buried is granted nothing.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`], [`StoreError::NoSuchClient`], or [`StoreError::Unwritable`]: nothing is granted then.
    pub async fn draw(&self, holder: impl Into<Holder>, least: Usd, want: Usd, day: Day) -> Result<Grant, StoreError> {
        let ask = Ask { holder: holder.into(), least, want, day };
        self.write(|reply| Command::Draw { ask, reply }).await
    }

    /// Give back what was leased and is not held. Never waits.
    pub fn give_back(&self, holder: impl Into<Holder>, amount: Usd) {
        self.shared.queue.give_back(holder.into(), amount);
    }

    /// Note that a key is used without holds, so that its usage is compared should this process end without closing the
    /// store. Durable when it returns; once is enough.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub async fn use_unbounded(&self, key: KeyId) -> Result<(), StoreError> {
        self.write(|reply| Command::UseUnbounded { key, reply }).await
    }

    /// Take over from processes that ended without closing the store: their attempts under way are booked, with unknown
    /// costs, and what they had leased becomes stale and counts as spent ([`Store::absolve`]). None of them can lease any
    /// more. Only for the process that alone has the [`Claim`](super::Claim); the second time there is nothing to do.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`]; nothing has changed then.
    pub async fn bury(&self) -> Result<Vec<Buried>, StoreError> {
        self.write(|reply| Command::Bury { reply }).await
    }

    /// What buried processes had leased and nobody has accounted for, by key.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn stale_leases(&self) -> Result<Vec<StaleLease>, StoreError> {
        self.read(|connection| Ok(epochs::stale(connection)?)).await
    }

    /// Account for everything that buried processes had leased of a key: what was `found` was spent and is booked, the rest
    /// was not. Both or neither, and once: when nothing is stale any more, nothing is booked, and the answer is `false`.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`]: to be tried again.
    pub async fn absolve(&self, key: KeyId, found: Option<Recovered>) -> Result<bool, StoreError> {
        self.write(|reply| Command::Absolve { key, found, reply }).await
    }

    /// Book what a comparison of a key's usage with its books has found: all of it or nothing, since each amount is what the
    /// others leave. Whether something that processes which are gone had leased was accounted for.
    ///
    /// # Errors
    /// [`StoreError::NoSuchSuspense`] when a cost has been settled meanwhile, [`StoreError::NoSuchKey`], or
    /// [`StoreError::Unwritable`].
    pub async fn reckon(&self, key: KeyId, finding: Finding) -> Result<bool, StoreError> {
        self.write(|reply| Command::Reckon { key, finding: Box::new(finding), reply }).await
    }

    /// Note how a key's own usage compares with the ledger. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`], or [`StoreError::Unwritable`].
    pub async fn save_usage_check(&self, key: KeyId, check: UsageCheck) -> Result<(), StoreError> {
        self.write(|reply| Command::SaveUsageCheck { id: key, check, reply }).await
    }

    /// How a key's own usage compared with the ledger when that was last noted.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn usage_check(&self, key: KeyId) -> Result<Option<UsageCheck>, StoreError> {
        self.read(move |connection| keys::usage_check(connection, key)).await
    }
}
