//! Who is let in, and what operators do about it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::clients::{Book, Client, ClientId, ClientKey, KeyHasher, Keyring, Rejection, SigningKey, Standing, Terms};
use crate::clock::Timestamp;
use crate::guesses::Guesses;
use crate::money::{PurseFigures, Spender, UserId};
use crate::secret::SecretBytes;
use crate::store::{ClientSums, NewClient, StoreError, StoredClient, UserSums};

use super::Pot;
use super::tab::{Listed, Running, TabView, Users, Why};

/// Clients at a time.
const CLIENTS_MAX: usize = 100_000;

/// Everybody who may use the pool.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) hasher: KeyHasher,
    /// Read on each request without waiting; a change makes another one.
    pub(super) book: ArcSwap<Book<Arc<Member>>>,
    pub(super) keyring: ArcSwap<Keyring>,
    /// Wrong keys and tokens. Admin tokens are counted elsewhere: who guesses here does not lock an operator out.
    pub(super) guesses: Guesses,
    /// Tabs whose leases somebody should look at.
    pub(super) unleased: Listed,
    /// Tabs that may know their money otherwise than the store.
    pub(super) behind: Listed,
    /// Changes, one after the other: each begins with what the one before has left.
    changing: tokio::sync::Mutex<()>,
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
    pub(super) revoked: watch::Sender<bool>,
    /// What runs up for the client as a whole.
    pub(super) whole: Arc<Running>,
    /// What runs up for each of its users.
    pub(super) users: Users,
    /// Wakes everybody who waits for something that is held of its budgets.
    pub(super) freed: Notify,
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
    fn new(client: Client, figures: PurseFigures) -> Arc<Self> {
        let whole = Running::new(Spender::whole(client.id), client.terms.allowance.budgets, figures);
        let live = Live { revoked: watch::Sender::new(false), whole, users: Users::default(), freed: Notify::new() };
        Arc::new(Self { client, live: Arc::new(live) })
    }

    /// Budgets are others from now on.
    fn set_budgets(&self, terms: &Terms) {
        self.live.whole.tab().set_budgets(terms.allowance.budgets);
        for running in self.live.users.all() {
            running.tab().set_budgets(terms.per_user.budgets);
        }
    }

    fn view(&self, now: Timestamp) -> ClientView {
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
            keyring: ArcSwap::from_pointee(keyring),
            guesses: Guesses::default(),
            unleased: Listed::new(Why::Lease),
            behind: Listed::new(Why::Behind),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// Every client's number.
    pub(super) fn ids(&self) -> Vec<ClientId> {
        self.book.load().iter().map(|member| member.client.id).collect()
    }

    /// Every tab there is.
    pub(super) fn running(&self) -> Vec<Arc<Running>> {
        let book = self.book.load();
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
    fn change(&self, change: impl FnOnce(&mut Book<Arc<Member>>)) {
        let mut book = Book::clone(&self.book.load());
        change(&mut book);
        self.book.store(Arc::new(book));
    }
}

/// A client as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientView {
    /// Who it is, and what it may do.
    pub client: Client,
    /// How its key stands.
    pub standing: Standing,
    /// Since when it is revoked.
    pub revoked_at: Option<Timestamp>,
    /// Its budgets, and what is under way.
    pub tab: TabView,
    /// What was done and spent for it.
    pub sums: ClientSums,
}

/// Why an act about clients was not done. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No such client, or its key is revoked.
    #[error("no such client")]
    NotFound,
    /// There are as many as there can be.
    #[error("there are {CLIENTS_MAX} clients already")]
    TooMany,
    /// Too many signing keys have tokens that are not over.
    #[error("there are {} retired signing keys whose tokens are not over", Keyring::RETIRED_MAX)]
    TooManySigningKeys,
    /// The system has no random numbers to give.
    #[error("the system's random number generator failed")]
    NoRandomness,
    /// It could not be written down or read.
    #[error("the store refused: {0}")]
    Store(#[from] StoreError),
}

impl Pot {
    /// Let a client in from now on. Its key is told here and never again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add_client(&self, terms: Terms) -> Result<(ClientKey, ClientView), ClientError> {
        let _changing = self.changes.read().await;
        let _one = self.clients.changing.lock().await;
        if self.clients.book.load().len() >= CLIENTS_MAX {
            return Err(ClientError::TooMany);
        }
        let key = ClientKey::from_random(*SecretBytes::random().ok_or(ClientError::NoRandomness)?.expose());
        let (hash, mask) = (self.clients.hasher.hash(&key), key.mask());
        let created_at = self.clock.now();
        let id =
            self.store.add_client(NewClient { hash, mask: mask.clone(), terms: terms.clone(), created_at }).await?;
        let member = Member::new(Client { id, mask, created_at, terms }, PurseFigures::default());
        let view = member.view(created_at);
        self.metrics.clients().remember(id);
        self.clients.change(|book| book.insert(id, hash, member));
        tracing::info!(client = %id, "client added");
        Ok((key, view))
    }

    /// Change what a client may do, for every request from now on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn change_client(
        &self,
        id: ClientId,
        change: impl FnOnce(&mut Terms),
    ) -> Result<ClientView, ClientError> {
        let _changing = self.changes.read().await;
        let _one = self.clients.changing.lock().await;
        let member = self.clients.book.load().get(id).cloned().ok_or(ClientError::NotFound)?;
        let mut client = member.client.clone();
        change(&mut client.terms);
        self.store.change_client(id, client.terms.clone()).await?;
        let member = Arc::new(Member { client, live: Arc::clone(&member.live) });
        member.set_budgets(&member.client.terms);
        self.clients.change(|book| book.replace(id, Arc::clone(&member)));
        // Who made its tab meanwhile may have read the terms before.
        member.set_budgets(&member.client.terms);
        self.look_at_lease(&member.live.whole);
        member.live.users.all().iter().for_each(|running| self.look_at_lease(running));
        member.live.freed.notify_waiters();
        tracing::info!(client = %id, "client changed");
        self.with_sums(member.view(self.clock.now())).await
    }

    /// Let a client in no more, now and for good: its requests under way end at once, and its lines in the ledger stay.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revoke_client(&self, id: ClientId) -> Result<ClientView, ClientError> {
        let _changing = self.changes.read().await;
        let _one = self.clients.changing.lock().await;
        let member = self.clients.book.load().get(id).cloned().ok_or(ClientError::NotFound)?;
        // The store first: what cannot be written down does not happen.
        match self.store.revoke_client(id).await {
            // Gone there already: a try before this one was told that it failed, and was written after all.
            Ok(()) | Err(StoreError::NoSuchClient(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.clients.change(|book| drop(book.remove(id)));
        member.live.revoked.send_replace(true);
        self.metrics.clients().forget(id);
        tracing::info!(client = %id, "client revoked");
        let now = self.clock.now();
        let view = ClientView { standing: Standing::Revoked, revoked_at: Some(now), ..member.view(now) };
        self.with_sums(view).await
    }

    /// Every client whose key is not revoked, in the order in which they came.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn clients(&self) -> Result<Vec<ClientView>, ClientError> {
        let now = self.clock.now();
        let sums = self.store.client_sums(now.day()).await?;
        let views = self.clients.book.load().iter().map(|member| member.view(now)).collect::<Vec<_>>();
        let with_sums = |view: ClientView| ClientView { sums: sum_of(&sums, view.client.id), ..view };
        Ok(views.into_iter().map(with_sums).collect())
    }

    async fn with_sums(&self, view: ClientView) -> Result<ClientView, ClientError> {
        let sums = self.store.client_sums(self.clock.now().day()).await?;
        Ok(ClientView { sums: sum_of(&sums, view.client.id), ..view })
    }

    /// A client, also one whose key is revoked.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client(&self, id: ClientId) -> Result<ClientView, ClientError> {
        let now = self.clock.now();
        if let Some(member) = self.clients.book.load().get(id) {
            let view = member.view(now);
            return self.with_sums(view).await;
        }
        let StoredClient { client, hash, revoked_at } = self.store.client(id).await?.ok_or(ClientError::NotFound)?;
        // In the store and not in the book: it was revoked, or was added by a write that was told to have failed. Then nobody
        // has its key.
        let standing = if hash.is_none() { Standing::Revoked } else { client.standing(now) };
        let (tab, sums) = (TabView::default(), ClientSums::default());
        self.with_sums(ClientView { client, standing, revoked_at, tab, sums }).await
    }

    /// A client's users, behind `after`, also of one whose key is revoked.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client_users(
        &self,
        id: ClientId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<UserSums>, ClientError> {
        if self.member(id).is_none() {
            self.store.client(id).await?.ok_or(ClientError::NotFound)?;
        }
        Ok(self.store.client_users(id, after, limit, self.clock.now().day()).await?)
    }

    /// Sign tokens with a new key. Those that are out stay good until they are over, or end here and now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rotate_signing_key(&self, ends_tokens: bool) -> Result<(), ClientError> {
        let _changing = self.changes.read().await;
        let _one = self.clients.changing.lock().await;
        let now = self.clock.now();
        let secret = SecretBytes::random().ok_or(ClientError::NoRandomness)?;
        let ring = self.clients.keyring.load_full();
        if !ring.has_room(now, ends_tokens) {
            return Err(ClientError::TooManySigningKeys);
        }
        let id = self.store.rotate_signing_key(secret.clone(), ends_tokens).await?;
        let next = SigningKey::new(id, secret.expose(), None);
        self.clients.keyring.store(Arc::new(ring.rotated(next, now, ends_tokens)));
        tracing::info!(ends_tokens, "tokens are signed with a new key");
        Ok(())
    }

    /// A rejection as it counts: the caller is told no more than that it is one.
    pub(super) fn member_of(&self, key: &ClientKey, now: Timestamp) -> Result<Arc<Member>, Rejection> {
        let hash = self.clients.hasher.hash(key);
        let member = self.clients.book.load().find(&hash).cloned().ok_or(Rejection::Unknown)?;
        member.active(now)
    }
}

fn sum_of(sums: &HashMap<ClientId, ClientSums>, client: ClientId) -> ClientSums {
    sums.get(&client).copied().unwrap_or_default()
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
