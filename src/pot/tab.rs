//! What runs up for clients and their users: the pure [`Tab`]s behind their locks, kept in step with the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clients::{ClientId, Tab};
use crate::clock::{Day, Timestamp};
use crate::money::{Caps, Charged, PurseFigures, Spender, Usd, UserId};
use crate::store::StoreError;

use super::clients::Member;
use super::limits::{DRAW_PATIENCE, SYNC_PAUSE, SYNC_TRIES, caps_of};
use super::{CapView, Pot};

/// The tab of a client as a whole, or of one of its users.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) spender: Spender,
    tab: Mutex<Tab>,
    /// Draws on the budgets, one after the other, as of a key's.
    drawing: tokio::sync::Mutex<()>,
    /// It waits for somebody to look at its lease.
    listed: AtomicBool,
}

impl Running {
    pub(super) fn new(spender: Spender, budgets: Caps, figures: PurseFigures) -> Arc<Self> {
        Arc::new(Self {
            spender,
            tab: Mutex::new(Tab::new(budgets, figures)),
            drawing: tokio::sync::Mutex::default(),
            listed: AtomicBool::new(false),
        })
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

    fn insert(&self, user: UserId, running: Arc<Running>) {
        self.tabs.lock().unwrap_or_else(PoisonError::into_inner).insert(user, running);
    }
}

/// Tabs whose leases somebody should look at.
#[derive(Debug, Default)]
pub(super) struct Unleased(Mutex<Vec<Arc<Running>>>);

impl Unleased {
    /// `true` when it was not listed yet.
    fn add(&self, running: &Arc<Running>) -> bool {
        let is_new = !running.listed.swap(true, Ordering::AcqRel);
        if is_new {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(running));
        }
        is_new
    }

    fn take(&self) -> Vec<Arc<Running>> {
        let listed = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        listed.iter().for_each(|running| running.listed.store(false, Ordering::Release));
        listed
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
                pot.sync_tab(&running).await;
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

    /// Lease more of budgets in advance, or give some back, so that so many thousandths of the smallest one are leased.
    pub(crate) async fn lease_budgets(&self, permille: u32) {
        for running in self.clients.unleased.take() {
            let _one_by_one = running.drawing.lock().await;
            let wish = running.tab().lease_wish(permille, self.clock.now());
            if wish.is_negative() {
                self.store.give_back(running.spender, Usd::ZERO.checked_sub(wish).unwrap_or_default());
            } else if wish > Usd::ZERO {
                self.lease_budget(&running, Usd::ZERO, wish).await;
            }
        }
    }

    /// Let a tab know what the store knows. Tries until nothing is booked on it meanwhile.
    pub(super) async fn sync_tab(&self, running: &Running) {
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
                Err(error) => tracing::error!(spender = ?running.spender, %error, "a client's money cannot be read"),
            }
            drop(settling);
            tokio::time::sleep(SYNC_PAUSE).await;
        }
        tracing::warn!(spender = ?running.spender, "a client's budget may be counted too high until potluck is restarted");
    }

    /// Let every tab know what the store knows, or those only that count something as spent which others had leased.
    pub(super) async fn sync_tabs(&self, of_others: bool) {
        for running in self.clients.running() {
            if !of_others || running.tab().purse().others() > Usd::ZERO {
                self.sync_tab(&running).await;
            }
        }
    }

    /// The cost of an attempt in suspense was found: it counts against the budgets in the place of what was held.
    pub(super) fn found_for(&self, charged: Charged, cost: Usd, day: Day) {
        self.metrics.clients().spent(charged.spender.client, cost);
        let Some(member) = self.member(charged.spender.client) else { return };
        for spender in charged.spenders() {
            if let Some(running) = member.live.running_of(spender) {
                running.tab().found(charged.held, cost, day);
                self.look_at_lease(&running);
            }
        }
        member.live.freed.notify_waiters();
    }

    pub(super) fn member(&self, id: ClientId) -> Option<Arc<Member>> {
        self.clients.book.load().get(id).cloned()
    }
}

/// How long a request whose budget is held by others waits until one of them is over.
pub(crate) const HELD_PATIENCE: Duration = Duration::from_secs(2);
