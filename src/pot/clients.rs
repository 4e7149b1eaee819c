//! What operators do about who is let in.

use std::sync::Arc;

use crate::clients::{Client, ClientId, ClientKey, KeyHash, Keyring, Rejection, SigningKey, Standing, Terms};
use crate::clock::Timestamp;
use crate::money::{PurseFigures, Spender, UserId};
use crate::secret::SecretBytes;
use crate::store::{ClientSums, NewClient, StoreError, StoredClient, UserSums};

use super::Pot;
use super::members::Member;
use super::tab::TabView;

/// Clients at a time.
const CLIENTS_MAX: usize = 100_000;

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
        if self.clients.book().len() >= CLIENTS_MAX {
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
        let member = self.clients.book().get(id).cloned().ok_or(ClientError::NotFound)?;
        let mut client = member.client.clone();
        change(&mut client.terms);
        // Before anything changes: what cannot be shown afterwards would look like a change that was not made.
        let sums = self.sums_of(id).await?;
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
        Ok(ClientView { sums, ..member.view(self.clock.now()) })
    }

    /// Let a client in no more, now and for good: its requests under way end at once, and its lines in the ledger stay.
    ///
    /// # Errors
    /// [`ClientError`]. It is revoked all the same where only its figures cannot be read: a key that may have been stolen does not
    /// wait for that.
    pub async fn revoke_client(&self, id: ClientId) -> Result<ClientView, ClientError> {
        let _changing = self.changes.read().await;
        let _one = self.clients.changing.lock().await;
        let member = self.clients.book().get(id).cloned().ok_or(ClientError::NotFound)?;
        // The store first: what cannot be written down does not happen.
        match self.store.revoke_client(id).await {
            // Gone there already: a try before this one was told that it failed, and was written after all.
            Ok(()) | Err(StoreError::NoSuchClient(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.clients.change(|book| drop(book.remove(id)));
        member.live.revoked.revoke();
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
        let views = self.clients.book().iter().map(|member| member.view(now)).collect::<Vec<_>>();
        let with_sums = |view: ClientView| {
            let sums = sums.get(&view.client.id).copied().unwrap_or_default();
            ClientView { sums, ..view }
        };
        Ok(views.into_iter().map(with_sums).collect())
    }

    async fn sums_of(&self, client: ClientId) -> Result<ClientSums, StoreError> {
        self.store.sums_of(Spender::whole(client), self.clock.now().day()).await
    }

    async fn with_sums(&self, view: ClientView) -> Result<ClientView, ClientError> {
        let sums = self.sums_of(view.client.id).await?;
        Ok(ClientView { sums, ..view })
    }

    /// A client, also one whose key is revoked.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client(&self, id: ClientId) -> Result<ClientView, ClientError> {
        let now = self.clock.now();
        if let Some(member) = self.clients.book().get(id) {
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
    pub(super) fn member_of(&self, hash: &KeyHash, now: Timestamp) -> Result<Arc<Member>, Rejection> {
        let member = self.clients.book().find(hash).cloned().ok_or(Rejection::Unknown)?;
        member.active(now)
    }
}
