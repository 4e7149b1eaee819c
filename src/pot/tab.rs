//! What runs up for clients and their users: the pure [`Tab`]s behind their locks, kept in step with the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clients::{ClientId, Tab};
use crate::clock::{Day, Timestamp};
use crate::money::{Caps, Charged, PurseFigures, Spender, Usd, UserId};
use crate::store::StoreError;

use super::limits::{DRAW_PATIENCE, SYNC_PAUSE, SYNC_TRIES, caps_of};
use super::members::Member;
use super::{CapView, Pot};

/// The tab of a client as a whole, or of one of its users.
#[derive(Debug)]
pub(crate) struct Running {
    pub(super) spender: Spender,
    tab: Mutex<Tab>,
    /// Draws on the budgets, one after the other, as of a key's.
    drawing: tokio::sync::Mutex<()>,
}

impl Running {
    pub(super) fn new(spender: Spender, budgets: Caps, figures: PurseFigures) -> Arc<Self> {
        Arc::new(Self { spender, tab: Mutex::new(Tab::new(budgets, figures)), drawing: tokio::sync::Mutex::default() })
    }

    pub(super) fn tab(&self) -> MutexGuard<'_, Tab> {
        self.tab.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its money, as it is shown.
    pub(super) fn view(&self, now: Timestamp) -> TabView {
        let tab = self.tab();
        let purse = tab.purse();
        TabView {
            budgets: caps_of(purse, now),
            held: purse.held(),
            suspense: purse.suspense(),
            stranded: purse.stranded(),
            unbounded: purse.has_unbounded(),
            in_flight: tab.under_way(),
        }
    }
}

/// The money and the requests under way of a client or user, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TabView {
    /// Each budget, the shortest window first.
    pub budgets: Vec<CapView>,
    /// Worst costs of requests under way.
    pub held: Usd,
    /// Worst costs of requests whose cost is being looked up.
    pub suspense: Usd,
    /// Leased in advance and not held, or lost with a process and not accounted for yet.
    pub stranded: Usd,
    /// Requests are out of which nobody knows what they cost at most: until they are settled nothing is spent of a budget.
    pub unbounded: bool,
    /// Requests under way.
    pub in_flight: u32,
}

/// The tabs of a client's users, made when they first come.
#[derive(Debug, Default)]
pub(super) struct Users {
    tabs: Mutex<HashMap<UserId, Arc<Running>>>,
    /// Tabs are made one after the other.
    making: tokio::sync::Mutex<()>,
}

impl Users {
    pub(super) fn get(&self, user: UserId) -> Option<Arc<Running>> {
        self.tabs.lock().unwrap_or_else(PoisonError::into_inner).get(&user).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Running>> {
        self.tabs.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Where there are many, let go of those that nobody would miss: they are made anew when they are wanted.
    fn sweep(&self, pot: &Pot, member: &Member) {
        let mut tabs = self.tabs.lock().unwrap_or_else(PoisonError::into_inner);
        if tabs.len() < TABS_BEFORE_A_SWEEP || !tabs.len().is_power_of_two() {
            return;
        }
        let now = pot.clock.now();
        tabs.retain(|_, running| {
            let mut tab = running.tab();
            let stays = Arc::strong_count(running) > 1 || !tab.is_idle(&member.client.terms.per_user, now);
            if !stays {
                pot.store.give_back(running.spender, tab.purse().lease());
            }
            stays
        });
    }

    fn insert(&self, user: UserId, running: Arc<Running>) {
        self.tabs.lock().unwrap_or_else(PoisonError::into_inner).insert(user, running);
    }
}

/// Tabs that somebody should look at.
#[derive(Debug, Default)]
pub(super) struct Listed(Mutex<HashMap<Spender, Arc<Running>>>);

impl Listed {
    /// `true` when it was not listed yet.
    pub(super) fn add(&self, running: &Arc<Running>) -> bool {
        self.lock().insert(running.spender, Arc::clone(running)).is_none()
    }

    fn take(&self) -> Vec<Arc<Running>> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Spender, Arc<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pot {
    /// The tab of a client's user. The first time, what the store knows of it is read.
    pub(super) async fn tab_of_user(&self, member: &Member, user: UserId) -> Result<Arc<Running>, StoreError> {
        let users = &member.live.users;
        if let Some(running) = users.get(user) {
            return Ok(running);
        }
        let _making = users.making.lock().await;
        if let Some(running) = users.get(user) {
            return Ok(running);
        }
        users.sweep(self, member);
        // Nothing that was in suspense is settled between the look and the tab's being there.
        let _settling = self.books.lock().await;
        let spender = Spender { client: member.client.id, user: Some(user) };
        let figures = self.store.purse(spender).await?;
        let running = Running::new(spender, member.client.terms.per_user.budgets, figures);
        users.insert(user, Arc::clone(&running));
        // The terms may have changed since the guest was let in; who changes them from here on sees this tab.
        if let Some(member) = self.member(spender.client) {
            running.tab().set_budgets(member.client.terms.per_user.budgets);
        }
        Ok(running)
    }

    /// See to it that everything held of a budget is leased. `false`: it is not to be had, or not in time.
    pub(super) async fn draw_budget(self: &Arc<Self>, running: &Arc<Running>) -> bool {
        let (pot, running) = (Arc::clone(self), Arc::clone(running));
        // On a task of its own: what is granted is counted on also when the request has gone.
        let drawing = tokio::spawn(async move {
            let one_by_one = running.drawing.lock().await;
            let missing = running.tab().missing();
            if missing <= Usd::ZERO {
                return true;
            }
            let granted = pot.lease_budget(&running, missing, missing).await;
            drop(one_by_one);
            if !granted {
                // Another process has spent or leased what was thought to be there.
                pot.clients.behind.add(&running);
            }
            granted
        });
        matches!(tokio::time::timeout(DRAW_PATIENCE, drawing).await, Ok(Ok(true)))
    }

    async fn lease_budget(&self, running: &Running, least: Usd, want: Usd) -> bool {
        match self.store.draw(running.spender, least, want, self.clock.now().day()).await {
            Ok(grant) => {
                running.tab().leased(grant.amount, grant.figures.others);
                grant.amount >= least
            }
            Err(StoreError::NoSuchClient(_)) => false,
            Err(error) => {
                tracing::error!(spender = ?running.spender, %error, "nothing could be leased of a client's budget");
                false
            }
        }
    }

    /// A tab's lease may be too small or too large.
    pub(super) fn look_at_lease(&self, running: &Arc<Running>) {
        if self.clients.unleased.add(running) {
            self.lease_wanted.notify_one();
        }
    }

    /// Tabs whose leases may be too small or too large.
    pub(crate) fn unleased(&self) -> Vec<Arc<Running>> {
        self.clients.unleased.take()
    }

    /// Lease more of a budget in advance, or give some back, so that so many thousandths of the smallest one are leased.
    pub(crate) async fn lease_in_advance(&self, running: &Running, permille: u32) {
        let _one_by_one = running.drawing.lock().await;
        let wish = running.tab().lease_wish(permille, self.clock.now());
        if wish.is_negative() {
            self.store.give_back(running.spender, Usd::ZERO.checked_sub(wish).unwrap_or_default());
        } else if wish > Usd::ZERO {
            self.lease_budget(running, Usd::ZERO, wish).await;
        }
    }

    /// Let a tab know what the store knows. Tries until nothing is booked on it meanwhile; where that takes too long, or the store
    /// cannot be asked, it is left to the next look.
    async fn sync_tab(&self, running: &Arc<Running>) {
        for _ in 0..SYNC_TRIES {
            let settling = self.books.lock().await;
            let events = running.tab().events();
            match self.store.purse(running.spender).await {
                Ok(figures) => {
                    let mut tab = running.tab();
                    if tab.events() == events {
                        return tab.sync(figures);
                    }
                }
                Err(StoreError::Closed | StoreError::NoSuchClient(_)) => return,
                Err(error) => {
                    tracing::error!(spender = ?running.spender, %error, "a client's money cannot be read");
                    break;
                }
            }
            drop(settling);
            tokio::time::sleep(SYNC_PAUSE).await;
        }
        self.clients.behind.add(running);
    }

    /// Let those tabs know what the store knows that may not.
    pub(super) async fn catch_up_tabs(&self) {
        for running in self.clients.behind.take() {
            self.sync_tab(&running).await;
        }
    }

    /// Tabs of this client and user may know their money otherwise than the store.
    pub(super) fn tabs_are_behind(&self, charged: Charged) {
        let Some(member) = self.member(charged.spender.client) else { return };
        let tabs = charged.spenders().filter_map(|spender| member.live.running_of(spender));
        tabs.for_each(|running| {
            self.clients.behind.add(&running);
        });
    }

    /// What others had leased of budgets may be accounted for.
    pub(super) fn others_may_be_done(&self) {
        let of_others = |running: &Arc<Running>| running.tab().purse().others() > Usd::ZERO;
        self.clients.running().iter().filter(|running| of_others(running)).for_each(|running| {
            self.clients.behind.add(running);
        });
    }

    /// The cost of an attempt in suspense was found: it counts against the budgets in the place of what was held.
    pub(super) fn found_for(&self, charged: Charged, cost: Usd, day: Day) {
        let Some(member) = self.member(charged.spender.client) else { return };
        if let Some(series) = member.series(&self.metrics) {
            series.spent(cost);
        }
        for spender in charged.spenders() {
            if let Some(running) = member.live.running_of(spender) {
                running.tab().found(charged.held, cost, day);
                self.look_at_lease(&running);
            }
        }
        member.live.freed.notify_waiters();
    }

    pub(super) fn member(&self, id: ClientId) -> Option<Arc<Member>> {
        self.clients.book().get(id).cloned()
    }
}

/// Tabs that a client's users may have before it is worth looking for some that are not in use.
const TABS_BEFORE_A_SWEEP: usize = 256;

/// How long a request whose budget is held by others waits until one of them is over.
pub(crate) const HELD_PATIENCE: Duration = Duration::from_secs(2);
