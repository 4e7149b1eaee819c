//! Whoever is let in, for the length of one request; and tokens for users of clients.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::clients::line::Share;
use crate::clients::{Claims, ClientId, ClientKey, ClientUser, KeyHash, LastKey, Presented, Rejection, presented};
use crate::clock::Timestamp;
use crate::config::ClientsMode;
use crate::guesses::Guessed;
use crate::money::Spender;
use crate::secret::Secret;
use crate::store::StoreError;
use crate::telemetry::ClientRefusal;

use super::members::Member;
use super::{Pot, Revocation};

/// Somebody who may use the pool.
#[derive(Debug)]
pub struct Guest {
    /// `None`: anybody, where everybody is let in.
    member: Option<Arc<Member>>,
    /// The client's user that it brought a token of.
    user: Option<ClientUser>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// What was presented does not open.
    Away(Rejection),
    /// Neither did a lot of others from there.
    Guessing {
        /// When another try will be listened to, in seconds.
        retry_after_s: u64,
    },
}

/// Why no token is issued.
#[derive(Debug)]
pub enum NotIssued {
    /// The key does not open.
    Turned(Turned),
    /// The client has named as many users as it may.
    TooManyUsers {
        /// So many.
        most: usize,
    },
    /// The store could not be read or written.
    Store(StoreError),
    /// A fault of ours.
    Unsigned,
}

impl From<Turned> for NotIssued {
    fn from(turned: Turned) -> Self {
        Self::Turned(turned)
    }
}

/// A token, and for how long it is good.
#[derive(Debug)]
pub struct Issued {
    /// Its text.
    pub token: Secret,
    /// Seconds.
    pub expires_in_s: u64,
}

/// How tokens are issued.
#[derive(Clone, Copy, Debug)]
pub struct TokenTerms {
    /// How long one is good.
    pub life: Duration,
    /// Users that one client may name.
    pub users_max: usize,
}

/// What a connection remembers of those who came on it: who keeps one comes again and again, and recognising him anew is most of
/// what letting somebody in takes.
#[derive(Debug, Default)]
pub struct LastGuest {
    /// The client key that was presented last. A token, or nothing, may have come since.
    key: LastKey,
    /// Whose key it is, by this edition of the book.
    member: Option<(Arc<Member>, u64)>,
    /// Of whoever's request was served last.
    revocation: Revocation,
}

impl LastGuest {
    /// Tells when this guest, who has come now, is shown the door.
    pub fn revocation_of(&mut self, guest: &Guest) -> &mut Revocation {
        self.revocation.turn_to(guest.member().map(|member| &member.live));
        &mut self.revocation
    }
}

impl Guest {
    /// Somebody of whom nothing is known.
    pub const ANONYMOUS: Self = Self { member: None, user: None };

    /// Which client it is.
    pub fn client(&self) -> Option<ClientId> {
        self.member.as_ref().map(|member| member.client.id)
    }

    /// What share of the pool it has when there are more requests than that can serve.
    pub fn share(&self) -> Share {
        let weight = self.member.as_ref().map(|member| member.client.terms.weight);
        Share { client: self.client(), weight: weight.unwrap_or_default() }
    }

    /// Whether it may ask for this model, and for those that it may end up with instead.
    pub fn may_ask_for(&self, model: Option<&str>, fallbacks: &[Box<str>]) -> bool {
        self.member.as_ref().is_none_or(|member| member.client.terms.models.allow_request(model, fallbacks))
    }

    /// Whether it may ask for whatever model there is.
    pub fn may_ask_for_all(&self) -> bool {
        self.member.as_ref().is_none_or(|member| member.client.terms.models.is_empty())
    }

    /// Whether what that client has begun is this guest's to ask about. What nobody in particular has begun is everybody's.
    pub fn owns(&self, owner: Option<ClientId>) -> bool {
        owner.is_none() || owner == self.client()
    }

    pub(super) fn member(&self) -> Option<&Arc<Member>> {
        self.member.as_ref()
    }

    /// The client's user, where it brought a token of one.
    pub fn user(&self) -> Option<&ClientUser> {
        self.user.as_ref()
    }

    /// Whose budgets count for what it does.
    pub fn spender(&self) -> Option<Spender> {
        let client = self.client()?;
        Some(Spender { client, user: self.user.as_ref().map(|user| user.id) })
    }

    /// Tells conversations of different guests apart that look the same.
    pub fn salt(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.client(), &self.user).hash(&mut hasher);
        hasher.finish()
    }
}

impl Pot {
    /// Find out who sends a request with this head from that address.
    ///
    /// A right credential opens at once, whatever else came from its address: many clients may share one. A wrong one counts
    /// there, and an address with too many of them is told to wait.
    ///
    /// `last` is who came before on the same connection.
    ///
    /// # Errors
    /// [`Turned`].
    pub fn let_in(
        &self,
        headers: &HeaderMap,
        last: &mut LastGuest,
        mode: ClientsMode,
        from: Option<IpAddr>,
    ) -> Result<Guest, Turned> {
        let now = self.clock.now();
        let found = match presented(headers, &last.key) {
            Presented::Nothing if mode == ClientsMode::Open => Ok(Guest::ANONYMOUS),
            Presented::Nothing => Err(Rejection::Missing),
            Presented::Malformed => Err(Rejection::Malformed),
            Presented::Again(hash) => self.again(&hash, last, now),
            Presented::Key(key) => {
                let hash = self.clients.hasher.hash(&key);
                (last.key, last.member) = (LastKey::new(&key, hash), None);
                self.again(&hash, last, now)
            }
            Presented::Token(token) => {
                self.clients.keyring.load().verify(token, now).and_then(|claims| self.guest_of(claims, now))
            }
        };
        let guest = found.map_err(|why| self.turned(why, from, now))?;
        if let Some(series) = guest.member().and_then(|member| member.series(&self.metrics)) {
            series.request();
        }
        Ok(guest)
    }

    /// Whoever's key has this hash, which is that of the last one; looked up only where something has changed since.
    fn again(&self, hash: &KeyHash, last: &mut LastGuest, now: Timestamp) -> Result<Guest, Rejection> {
        let edition = self.clients.edition();
        let member = match last.member.take() {
            Some((member, known_in)) if known_in == edition => member,
            _ => self.clients.book().find(hash).cloned().ok_or(Rejection::Unknown)?,
        };
        last.member = Some((Arc::clone(&member), edition));
        Ok(Guest { member: Some(member.active(now)?), user: None })
    }

    fn guest_of(&self, claims: Claims, now: Timestamp) -> Result<Guest, Rejection> {
        let member = self.clients.book().get(claims.client).cloned().ok_or(Rejection::Revoked)?;
        Ok(Guest { member: Some(member.active(now)?), user: claims.user })
    }

    fn turned(&self, why: Rejection, from: Option<IpAddr>, now: Timestamp) -> Turned {
        if !why.is_guess() {
            self.refused_to(None, why.into());
            return Turned::Away(why);
        }
        match self.clients.guesses.wrong(from, now) {
            Guessed::Early { retry_after_s } => {
                self.refused_to(None, ClientRefusal::Guessing);
                return Turned::Guessing { retry_after_s };
            }
            Guessed::TooMany => {
                self.metrics.alarm("client_key_guessing");
                tracing::warn!(address = ?from, "many wrong client keys or tokens from one address");
            }
            Guessed::Few => {}
        }
        self.refused_to(None, why.into());
        Turned::Away(why)
    }

    /// A token for a user of whoever holds `key`, of whom it may name so many; good for `life`, and no longer than the key.
    ///
    /// # Errors
    /// [`NotIssued`].
    pub async fn issue_token(
        &self,
        key: &[u8],
        user: Option<Box<str>>,
        terms: TokenTerms,
        from: Option<IpAddr>,
    ) -> Result<Issued, NotIssued> {
        let TokenTerms { life, users_max } = terms;
        let now = self.clock.now();
        let hash = ClientKey::parse(key).map(|key| self.clients.hasher.hash(&key));
        let found = hash.ok_or(Rejection::Malformed).and_then(|hash| self.member_of(&hash, now));
        let member = found.map_err(|why| self.turned(why, from, now))?;
        let user = match user {
            Some(name) => Some(self.number(member.client.id, name, users_max).await?),
            None => None,
        };
        let end = now.after(life);
        let expires_at = member.client.terms.expires_at.map_or(end, |at| at.min(end));
        let claims = Claims { client: member.client.id, user, issued_at: now, expires_at };
        let expires_in_s = expires_at.since(now).as_secs();
        let token = self.clients.keyring.load().sign(&claims).ok_or(NotIssued::Unsigned)?;
        Ok(Issued { token, expires_in_s })
    }

    async fn number(&self, client: ClientId, name: Box<str>, users_max: usize) -> Result<ClientUser, NotIssued> {
        match self.store.user(client, &name, users_max).await {
            Ok(id) => Ok(ClientUser { id, name }),
            // Revoked a moment ago.
            Err(StoreError::NoSuchClient(_)) => Err(Turned::Away(Rejection::Unknown).into()),
            Err(StoreError::TooMuch(most)) => Err(NotIssued::TooManyUsers { most }),
            Err(error) => Err(NotIssued::Store(error)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
