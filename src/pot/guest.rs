//! Whoever is let in, for the length of one request; and tokens for users of clients.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::watch;

use crate::clients::line::Share;
use crate::clients::{Claims, ClientId, ClientKey, Presented, Rejection, presented};
use crate::clock::Timestamp;
use crate::config::ClientsMode;
use crate::guesses::Guessed;
use crate::secret::Secret;
use crate::telemetry::ClientRefusal;

use super::Pot;
use super::clients::{Live, Member};

/// Somebody who may use the pool.
#[derive(Debug)]
pub struct Guest {
    /// `None`: anybody, where everybody is let in.
    member: Option<Arc<Member>>,
    /// The client's user that it brought a token of.
    user: Option<Box<str>>,
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

/// A token, and for how long it is good.
#[derive(Debug)]
pub struct Issued {
    /// Its text.
    pub token: Secret,
    /// Seconds.
    pub expires_in_s: u64,
}

/// A place among the requests that a client may have under way. Dropping it makes room.
#[derive(Debug)]
pub struct Seat(Arc<Live>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tells when a guest is shown the door.
#[derive(Debug)]
pub struct Revocation(Option<watch::Receiver<bool>>);

impl Revocation {
    /// Of nobody.
    pub const NEVER: Self = Self(None);

    /// Whether it has happened.
    pub fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|revoked| *revoked.borrow())
    }

    /// Return when it has. May be dropped and called again at any time.
    pub async fn over(&mut self) {
        if let Some(revoked) = &mut self.0
            && revoked.wait_for(|revoked| *revoked).await.is_ok()
        {
            return;
        }
        // Nobody can revoke any more.
        std::future::pending().await
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

    /// Whether what that client has begun is this guest's to ask about. What nobody in particular has begun is everybody's.
    pub fn owns(&self, owner: Option<ClientId>) -> bool {
        owner.is_none() || owner == self.client()
    }

    /// Begin a request, unless as many are under way as it may have. `Ok(None)` of those who are not counted.
    ///
    /// # Errors
    /// There are as many already.
    pub fn seat(&self) -> Result<Option<Seat>, Full> {
        let Some(member) = &self.member else { return Ok(None) };
        let most = member.client.terms.concurrency.unwrap_or(u32::MAX);
        let taken = |under_way: u32| (under_way < most).then(|| under_way.saturating_add(1));
        match member.live.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken) {
            Ok(_) => Ok(Some(Seat(Arc::clone(&member.live)))),
            Err(_) => Err(Full),
        }
    }

    /// Tells when its key is revoked.
    pub fn revocation(&self) -> Revocation {
        Revocation(self.member.as_ref().map(|member| member.live.revoked.subscribe()))
    }

    /// Tells conversations of different guests apart that look the same.
    pub fn salt(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.client(), &self.user).hash(&mut hasher);
        hasher.finish()
    }
}

/// A client has as many requests under way as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Pot {
    /// Find out who sends a request with this head from that address.
    ///
    /// A right credential opens at once, whatever else came from its address: many clients may share one. A wrong one counts
    /// there, and an address with too many of them is told to wait.
    ///
    /// # Errors
    /// [`Turned`].
    pub fn let_in(&self, headers: &HeaderMap, mode: ClientsMode, from: Option<IpAddr>) -> Result<Guest, Turned> {
        let now = self.clock.now();
        let found = match presented(headers) {
            Presented::Nothing if mode == ClientsMode::Open => return Ok(Guest::ANONYMOUS),
            Presented::Nothing => Err(Rejection::Missing),
            Presented::Malformed => Err(Rejection::Malformed),
            Presented::Key(key) => self.member_of(&key, now).map(|member| Guest { member: Some(member), user: None }),
            Presented::Token(token) => {
                self.clients.keyring.load().verify(token, now).and_then(|claims| self.guest_of(claims, now))
            }
        };
        let guest = found.map_err(|why| self.turned(why, from, now))?;
        if let Some(client) = guest.client() {
            self.metrics.client_request(client);
        }
        Ok(guest)
    }

    fn guest_of(&self, claims: Claims, now: Timestamp) -> Result<Guest, Rejection> {
        let member = self.clients.book.load().get(claims.client).cloned().ok_or(Rejection::Revoked)?;
        Ok(Guest { member: Some(member.active(now)?), user: claims.user })
    }

    fn turned(&self, why: Rejection, from: Option<IpAddr>, now: Timestamp) -> Turned {
        if !why.is_guess() {
            self.metrics.client_refused(why.into());
            return Turned::Away(why);
        }
        if let Some(retry_after_s) = self.clients.guesses.wait(from, now) {
            self.metrics.client_refused(ClientRefusal::Guessing);
            return Turned::Guessing { retry_after_s };
        }
        if self.clients.guesses.wrong(from, now) == Guessed::TooMany {
            self.metrics.alarm("client_key_guessing");
            tracing::warn!(address = ?from, "many wrong client keys or tokens from one address");
        }
        self.metrics.client_refused(why.into());
        Turned::Away(why)
    }

    /// A token for a user of whoever holds `key`, good for `life`, and no longer than the key.
    ///
    /// # Errors
    /// [`Turned`]; `Ok(None)` is a fault of ours.
    pub fn issue_token(
        &self,
        key: &[u8],
        user: Option<Box<str>>,
        life: Duration,
        from: Option<IpAddr>,
    ) -> Result<Option<Issued>, Turned> {
        let now = self.clock.now();
        let found = ClientKey::parse(key).ok_or(Rejection::Malformed).and_then(|key| self.member_of(&key, now));
        let member = found.map_err(|why| self.turned(why, from, now))?;
        let end = now.after(life);
        let expires_at = member.client.terms.expires_at.map_or(end, |at| at.min(end));
        let claims = Claims { client: member.client.id, user, issued_at: now, expires_at };
        let expires_in_s = expires_at.since(now).as_secs();
        Ok(self.clients.keyring.load().sign(&claims).map(|token| Issued { token, expires_in_s }))
    }
}

#[cfg(test)]
mod tests;
