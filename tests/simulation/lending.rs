//! Leases, limits and what is found out later, between pool and store: `src/pot/limits.rs`.

use std::rc::Rc;
use std::sync::Arc;

use potluck::clock::Timestamp;
use potluck::money::{Basis, Hold, Limits, Usd};
use potluck::pool::KeyId;
use potluck::store::{Grant, Settlement, StoreError, Suspense};
use tokio::sync::oneshot;

use crate::event::Event;
use crate::judge;
use crate::process::Process;
use crate::tasks::first;

/// How long a request waits for its hold to be durable.
const DRAW_PATIENCE_MS: u64 = 2_000;
/// The pause between reads of a key's money while something happens to it.
const SYNC_PAUSE_MS: u64 = 10;
/// Reads of a key's money in one go.
const SYNC_TRIES: u32 = 100;
/// Keys whose leases are looked at in one go.
const WISHES: usize = 256;

impl Process {
    /// Change what a key's donor allows.
    pub async fn change_limits(self: &Rc<Self>, id: KeyId, change: impl FnOnce(&mut Limits)) -> Result<(), StoreError> {
        let _changing = self.changes.read().await;
        let changing = self.changing_limits.lock().await;
        let limits = self.pool(|pool| pool.limits(id)).ok_or(StoreError::NoSuchKey(id))?;
        let mut limits = Limits::clone(&limits);
        change(&mut limits);
        self.store.set_limits(id, limits.clone()).await?;
        let now = self.now();
        judge::limits_change(&self.world, self.number, id);
        self.limits_changed.set(self.limits_changed.get() + 1);
        let strict = self.pool_on(id, |pool| pool.set_limits(id, Arc::new(limits), now));
        drop(changing);
        if strict {
            let this = Rc::clone(self);
            self.spawn(async move { this.sync_purse(id).await });
        }
        self.lease_wanted.notify_one();
        self.freed.notify_waiters();
        Ok(())
    }

    /// Let the pool know what the store knows about a key's money. Tries until nothing has happened to it meanwhile.
    pub async fn sync_purse(&self, id: KeyId) {
        for _ in 0..SYNC_TRIES {
            let books = self.books.lock().await;
            let events = self.pool(|pool| pool.purse_events(id));
            match self.store.purse(id).await {
                Ok(figures) => {
                    let now = self.now();
                    if self.pool(|pool| pool.purse_events(id)) == events {
                        judge::syncs(&self.world, self.number, id);
                        self.world.tell(Event::Synced { process: self.number, key: id });
                        return self.pool_on(id, |pool| pool.sync_purse(id, figures, now));
                    }
                }
                Err(StoreError::Closed) => return,
                Err(StoreError::NoSuchKey(_)) => return self.left(id),
                Err(_) => {}
            }
            drop(books);
            self.world.sleep(SYNC_PAUSE_MS).await;
        }
        self.fell_out_of_step(id);
    }

    /// See to it that everything held on a key is leased. `false`: it is not to be had, or not in time.
    pub async fn draw(self: &Rc<Self>, key: KeyId) -> bool {
        let this = Rc::clone(self);
        let (told, drawing) = oneshot::channel();
        self.spawn(async move {
            let granted = this.draw_missing(key).await;
            if !granted {
                this.sync_purse(key).await;
            }
            // The request may have gone.
            let _gone = told.send(granted);
        });
        matches!(first(drawing, self.world.sleep(DRAW_PATIENCE_MS)).await, Ok(Ok(true)))
    }

    async fn draw_missing(&self, key: KeyId) -> bool {
        let Some(drawing) = self.drawing(key) else { return false };
        let _one_by_one = drawing.lock().await;
        let Some(missing) = self.pool(|pool| pool.missing(key)) else { return false };
        if missing <= Usd::ZERO {
            return true;
        }
        let grant = self.ask_for_lease(key, missing, missing).await;
        let granted = grant.is_some_and(|grant| grant.amount >= missing);
        self.pool_on(key, |pool| pool.drawn(key, missing, granted));
        granted
    }

    /// What [`Broken::SendsBeforeTheDraw`](crate::broken::Broken) does.
    pub fn draw_unwatched(self: &Rc<Self>, key: KeyId, hold: Option<Hold>) {
        if hold.is_some_and(|hold| hold.missing > Usd::ZERO) {
            let this = Rc::clone(self);
            self.spawn(async move {
                this.draw(key).await;
            });
        }
    }

    /// Lease more of a key's headroom in advance, as much as is to be had.
    pub async fn lease(&self, key: KeyId, wish: Usd) {
        let Some(drawing) = self.drawing(key) else { return };
        let _one_by_one = drawing.lock().await;
        if let Some(grant) = self.ask_for_lease(key, Usd::ZERO, wish).await {
            self.pool_on(key, |pool| pool.leased(key, grant.amount));
        }
    }

    async fn ask_for_lease(&self, key: KeyId, least: Usd, want: Usd) -> Option<Grant> {
        let (now, process) = (self.now(), self.number);
        self.world.tell(Event::Draw { process, key, least: least.as_pico().into(), want: want.as_pico().into() });
        let limits_changed = self.limits_changed.get();
        let asked = self.store.draw(key, least, want, now.day()).await;
        if self.limits_changed.get() != limits_changed {
            // It was granted within the caps of before.
            judge::limits_change(&self.world, process, key);
        }
        match asked {
            Ok(grant) => {
                let figures = &grant.figures;
                self.pool_on(key, |pool| pool.others_are(key, figures.others, figures.others_unbounded, now));
                self.world.tell(Event::Granted { process, key, amount: grant.amount.as_pico().into() });
                Some(grant)
            }
            Err(_) => {
                self.world.tell(Event::DrawFailed { process, key });
                None
            }
        }
    }

    /// Keys of which more should be leased in advance, and how much. What is too much is given back here.
    pub fn lease_wishes(&self) -> Vec<(KeyId, Usd)> {
        let (permille, now) = (self.settings().permille, self.now());
        let wishes = self.pool(|pool| pool.lease_wishes(permille, WISHES, now));
        let (back, more): (Vec<_>, Vec<_>) = wishes.into_iter().partition(|(_, wish)| wish.is_negative());
        for (key, wish) in back {
            let amount = Usd::ZERO.checked_sub(wish).unwrap_or_default();
            self.touched.borrow_mut().push(key);
            self.world.tell(Event::GivenBack { process: self.number, key, amount: amount.as_pico().into() });
            self.store.give_back(key, amount);
        }
        more
    }

    /// Book what was found out about an entry in suspense, and let the pool know. Whoever calls this holds the books.
    pub async fn settle_suspense(&self, entry: &Suspense, found: Settlement) -> Result<bool, StoreError> {
        let (cost, basis) = (found.cost, found.basis);
        let settled = self.store.settle(entry.id, found).await.inspect_err(|_| self.fell_out_of_step(entry.key))?;
        if settled {
            self.settled(entry, cost, basis);
            if basis == Basis::Upstream {
                self.told(entry.key);
            }
        }
        Ok(settled)
    }

    /// The cost of an entry in suspense is booked.
    pub fn settled(&self, entry: &Suspense, cost: Usd, basis: Basis) {
        let (day, now) = (entry.opened_at.day(), self.now());
        self.pool_on(entry.key, |pool| pool.found(entry.key, entry.held, cost, day, now));
        self.freed.notify_waiters();
        self.lease_wanted.notify_one();
        let (key, process) = (entry.key, self.number);
        let request = judge::number_of(entry.request.0.as_u128()).unwrap_or_default();
        self.world.tell(Event::Settled { process, key, request, cost: cost.as_pico().into(), basis });
    }

    /// Take over from processes that ended without closing the store.
    pub async fn bury(&self) -> Result<(), StoreError> {
        for buried in self.store.bury().await? {
            let (epoch, attempts) = (buried.epoch, buried.attempts);
            self.world.tell(Event::Buried { process: self.number, epoch, attempts });
        }
        let strict = self.pool(|pool| pool.keys_with_purse());
        strict.into_iter().for_each(|key| self.fell_out_of_step(key));
        self.catch_up().await;
        self.alone_since.set(self.alone_since.get().or(Some(self.world.now_ms())));
        self.settle_wanted.notify_one();
        Ok(())
    }

    /// The pool may know the money of a key otherwise than the store.
    pub fn fell_out_of_step(&self, key: KeyId) {
        self.out_of_step.borrow_mut().insert(key);
    }

    /// Let the pool know what the store knows of keys for which it may not.
    pub async fn catch_up(&self) {
        for key in self.out_of_step.take() {
            self.sync_purse(key).await;
        }
    }

    /// See to it that the use of a key without holds is durable before it is used so.
    pub async fn use_unbounded(&self, key: KeyId) -> bool {
        if self.used_unbounded.borrow().contains(&key) {
            return true;
        }
        let used = first(self.store.use_unbounded(key), self.world.sleep(DRAW_PATIENCE_MS)).await;
        let used = matches!(used, Ok(Ok(())));
        if used {
            self.used_unbounded.borrow_mut().insert(key);
        }
        used
    }

    /// Find out whether what others had leased of keys is still out.
    pub async fn look_at_others(&self) -> Result<(), StoreError> {
        let _settling = self.books.lock().await;
        for key in self.pool(|pool| pool.keys_of_others()) {
            match self.store.purse(key).await {
                Ok(figures) => {
                    let now = self.now();
                    self.pool_on(key, |pool| pool.others_are(key, figures.others, figures.others_unbounded, now));
                }
                Err(StoreError::NoSuchKey(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What processes that are gone had spent on a key is booked.
    pub fn absolved(&self, key: KeyId, amount: Usd, at: Timestamp) {
        self.world.tell(Event::Absolved { process: self.number, key, amount: amount.as_pico().into() });
        self.pool_on(key, |pool| {
            pool.recovered(key, amount, at.day(), at);
            pool.others_are(key, Usd::ZERO, false, at);
        });
        self.lease_wanted.notify_one();
    }

    /// Something that goes on when whoever wanted it has gone.
    pub fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.world.tasks.spawn(Self::SPAWNED(self.number), work);
    }
}
