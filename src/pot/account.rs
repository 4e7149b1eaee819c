//! What a guest is told about itself: its budget and what was spent for it.

use crate::clients::Terms;
use crate::clock::Timestamp;
use crate::money::{Usd, Window};
use crate::store::StoreError;

use super::guest::Guest;
use super::limits::caps_of;
use super::{CapView, Pot};

/// A client's or user's account with the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name: the client's, or the user's as the client calls it.
    pub name: String,
    /// Spent for it, in the windows of [`Window::ALL`].
    pub spent: [Usd; Window::ALL.len()],
    /// Its budget that leaves the least. What a client's other users leave of the client's is not for a user to see.
    pub tightest: Option<CapView>,
    /// The most requests in a minute.
    pub requests_per_minute: Option<u32>,
    /// Its key is no good from then on.
    pub expires_at: Option<Timestamp>,
}

impl Account {
    /// Spent for it in the window that holds the present.
    pub fn spent(&self, window: Window) -> Usd {
        let at = Window::ALL.iter().position(|w| *w == window).unwrap_or_default();
        self.spent.get(at).copied().unwrap_or_default()
    }
}

impl Pot {
    /// A guest's account; `None` of those who are not known.
    ///
    /// # Errors
    /// [`StoreError`], when what a user has spent cannot be read.
    pub async fn account(&self, guest: &Guest) -> Result<Option<Account>, StoreError> {
        let Some(member) = guest.member() else { return Ok(None) };
        let now = self.clock.now();
        let whole = &member.live.whole;
        let user = match guest.user() {
            Some(user) => Some(self.tab_of_user(member, user.id).await?),
            None => None,
        };
        let Terms { name, expires_at, allowance, per_user, .. } = &member.client.terms;
        let own = user.as_ref().unwrap_or(whole).tab();
        let tightest = caps_of(own.purse(), now).into_iter().min_by_key(|budget| budget.left);
        let rates = [Some(allowance), user.as_ref().map(|_| per_user)].into_iter().flatten();
        Ok(Some(Account {
            name: guest.user().map_or_else(|| name.clone(), |user| user.name.to_string()),
            spent: Window::ALL.map(|window| own.purse().settled(window, now)),
            tightest,
            requests_per_minute: rates.filter_map(|allowance| allowance.requests_per_minute).min(),
            expires_at: *expires_at,
        }))
    }
}
