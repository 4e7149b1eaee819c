//! Everybody who is let in, with what goes on for each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::clients::{Book, Client, ClientId, KeyHasher, Keyring, Rejection, SigningKey, Standing, Terms};
use crate::clock::Timestamp;
use crate::guesses::Guesses;
use crate::money::{PurseFigures, Spender};
use crate::store::{ClientSums, StoredClient};
use crate::telemetry::{ClientSeries, Metrics};

use super::ClientView;
use super::revocation::Revoked;
use super::tab::{Listed, Running, Users};

/// Everybody who may use the pool.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) hasher: KeyHasher,
    /// Read on each request without waiting; a change makes another one.
    book: ArcSwap<Book<Arc<Member>>>,
    /// Counts changes of the book, each after it was made.
    edition: AtomicU64,
    pub(super) keyring: ArcSwap<Keyring>,
    /// Wrong keys and tokens. Admin tokens are counted elsewhere: who guesses here does not lock an operator out.
    pub(super) guesses: Guesses,
    /// Tabs whose leases somebody should look at.
    pub(super) unleased: Listed,
    /// Tabs that may know their money otherwise than the store.
    pub(super) behind: Listed,
    /// Changes, one after the other: each begins with what the one before has left.
    pub(super) changing: tokio::sync::Mutex<()>,
}

/// A client, with what goes on for it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) client: Client,
    /// Stays the same when the client's terms change.
    pub(super) live: Arc<Live>,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) revoked: Revoked,
    /// What runs up for the client as a whole.
    pub(super) whole: Arc<Running>,
    /// What runs up for each of its users.
    pub(super) users: Users,
    /// Wakes everybody who waits for something that is held of its budgets.
    pub(super) freed: Notify,
    series: OnceLock<ClientSeries>,
}

impl Live {
    /// The tab of this spender, while there is one.
    pub(super) fn running_of(&self, spender: Spender) -> Option<Arc<Running>> {
        match spender.user {
            None => Some(Arc::clone(&self.whole)),
            Some(user) => self.users.get(user),
        }
    }
}

impl Member {
    pub(super) fn new(client: Client, figures: PurseFigures) -> Arc<Self> {
        let whole = Running::new(Spender::whole(client.id), client.terms.allowance.budgets, figures);
        let live = Live {
            revoked: Revoked::default(),
            whole,
            users: Users::default(),
            freed: Notify::new(),
            series: OnceLock::new(),
        };
        Arc::new(Self { client, live: Arc::new(live) })
    }

    /// Where is counted what it does; `None` of one that is revoked and has never done anything.
    pub(super) fn series(&self, metrics: &Metrics) -> Option<&ClientSeries> {
        let series = &self.live.series;
        if series.get().is_none() {
            series.set(metrics.clients().of(self.client.id)?).ok();
        }
        series.get()
    }

    /// Budgets are others from now on.
    pub(super) fn set_budgets(&self, terms: &Terms) {
        self.live.whole.tab().set_budgets(terms.allowance.budgets);
        for running in self.live.users.all() {
            running.tab().set_budgets(terms.per_user.budgets);
        }
    }

    pub(super) fn view(&self, now: Timestamp) -> ClientView {
        ClientView {
            standing: self.client.standing(now),
            client: self.client.clone(),
            revoked_at: None,
            tab: self.live.whole.view(now),
            sums: ClientSums::default(),
        }
    }
}

impl Clients {
    /// Everybody in the store.
    pub(super) fn new(
        hasher: KeyHasher,
        stored: Vec<StoredClient>,
        mut money: HashMap<ClientId, PurseFigures>,
        signing_keys: Vec<SigningKey>,
    ) -> Self {
        let mut book = Book::default();
        for StoredClient { client, hash, .. } in stored {
            if let Some(hash) = hash {
                let figures = money.remove(&client.id).unwrap_or_default();
                book.insert(client.id, hash, Member::new(client, figures));
            }
        }
        let keyring = Keyring::new(signing_keys).expect("the store has a key that signs");
        Self {
            hasher,
            book: ArcSwap::from_pointee(book),
            edition: AtomicU64::new(0),
            keyring: ArcSwap::from_pointee(keyring),
            guesses: Guesses::default(),
            unleased: Listed::default(),
            behind: Listed::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// Every client's number.
    pub(super) fn ids(&self) -> Vec<ClientId> {
        self.book().iter().map(|member| member.client.id).collect()
    }

    /// Every tab there is.
    pub(super) fn running(&self) -> Vec<Arc<Running>> {
        let book = self.book();
        let of_member = |member: &Arc<Member>| {
            std::iter::once(Arc::clone(&member.live.whole)).chain(member.live.users.all()).collect::<Vec<_>>()
        };
        book.iter().flat_map(of_member).collect()
    }

    /// Every tab may know its money otherwise than the store.
    pub(super) fn all_are_behind(&self) {
        self.running().iter().for_each(|running| {
            self.behind.add(running);
        });
    }

    /// Nobody else changes the book meanwhile.
    pub(super) fn change(&self, change: impl FnOnce(&mut Book<Arc<Member>>)) {
        let mut book = Book::clone(&self.book());
        change(&mut book);
        self.book.store(Arc::new(book));
        self.edition.fetch_add(1, Ordering::Release);
    }

    /// Everybody, as of now.
    pub(super) fn book(&self) -> arc_swap::Guard<Arc<Book<Arc<Member>>>> {
        self.book.load()
    }

    /// How often the book was changed. What was found in the book after asking this holds until the answer is another one.
    pub(super) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }
}

impl Member {
    pub(super) fn active(self: Arc<Self>, now: Timestamp) -> Result<Arc<Self>, Rejection> {
        match self.client.standing(now) {
            Standing::Active => Ok(self),
            Standing::Expired => Err(Rejection::Expired),
            Standing::Revoked => Err(Rejection::Revoked),
        }
    }
}
