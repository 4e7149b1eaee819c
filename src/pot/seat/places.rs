//! Where a request of a client counts.

use std::sync::Arc;

use crate::clients::{Allowance, Shortage, Tab};
use crate::clock::Timestamp;
use crate::money::Spender;

use super::super::members::Member;
use super::super::tab::Running;

/// At its client's tab, and at its user's where the client has named one.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) member: Arc<Member>,
    pub(super) user: Option<Arc<Running>>,
}

/// What there is too little of, and whether it is the user's share.
pub(super) type Short = (Shortage, bool);

impl Places {
    pub(super) fn each(&self) -> impl Iterator<Item = (&Arc<Running>, &Allowance)> {
        let terms = &self.member.client.terms;
        let user = self.user.as_ref().map(|user| (user, &terms.per_user));
        std::iter::once((&self.member.live.whole, &terms.allowance)).chain(user)
    }

    pub(super) fn spender(&self) -> Spender {
        self.user.as_ref().map_or(self.member.live.whole.spender, |user| user.spender)
    }

    /// Do something at each place, the user's first: one user who has used up his share uses up nothing of the others'. Where
    /// it fails, what was done before is undone, and nobody has seen it: who had would wait for what is free again already.
    pub(super) fn at_each<T>(
        &self,
        act: impl Fn(&mut Tab, &Allowance) -> Result<T, Shortage>,
        undo: impl Fn(&mut Tab, &Allowance),
    ) -> Result<(T, Option<T>), Short> {
        let terms = &self.member.client.terms;
        // In this order, as where an entry is booked.
        let mut whole = self.member.live.whole.tab();
        let mut user = self.user.as_ref().map(|user| user.tab());
        let at_user = user.as_mut().map(|tab| act(tab, &terms.per_user)).transpose().map_err(|of| (of, true))?;
        match act(&mut whole, &terms.allowance) {
            Ok(at_whole) => Ok((at_whole, at_user)),
            Err(of) => {
                user.iter_mut().for_each(|tab| undo(tab, &terms.per_user));
                Err((of, false))
            }
        }
    }

    pub(super) fn sit(&self, now: Timestamp) -> Result<(), Short> {
        self.at_each(|tab, allowance| tab.sit(allowance, now), Tab::unsit).map(drop)
    }
}
