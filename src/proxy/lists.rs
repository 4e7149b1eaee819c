//! Public lists, from the cache or the upstream, without a key: of models those that whoever asks may use.

use std::sync::Arc;

use http::{HeaderValue, header};
use pingora::protocols::http::ServerSession;

use crate::money::ModelGlobs;
use crate::origin::Cached;
use crate::pot::Guest;
use crate::upstream::{Dialect, PublicList, PublicTarget, Refusal};

use super::Proxy;
use super::answer::{Served, Whole, give_refusal};
use super::request::Request;

/// The models that a guest may use: its client may ask for them, and some donor allows them.
pub(super) struct Offer<'a> {
    guest: &'a Guest,
    donors: Arc<ModelGlobs>,
}

impl Offer<'_> {
    fn is_everything(&self) -> bool {
        self.donors.is_empty() && self.guest.may_ask_for_all()
    }

    /// Whether this model is one of them.
    pub(super) fn has(&self, model: &str) -> bool {
        self.donors.allow(model) && self.guest.may_ask_for(Some(model), &[])
    }
}

impl Proxy {
    pub(super) fn offer<'a>(&self, guest: &'a Guest) -> Offer<'a> {
        Offer { guest, donors: self.pot.models() }
    }

    pub(super) async fn public_read(
        &self,
        session: &mut ServerSession,
        guest: &Guest,
        target: &PublicTarget,
        request: Request,
    ) -> Served {
        let offer = self.offer(guest);
        // What counts models says of none which they are.
        let counted = if offer.is_everything() { None } else { target.counted() };
        let cached = match self.cache.get(counted.as_ref().unwrap_or(target), self.pot.clock()).await {
            Ok(cached) => cached,
            Err(error) => {
                tracing::warn!(%error, "a public list could not be fetched");
                return give_refusal(session, &Refusal::UpstreamUnreachable, Dialect::Chat, request).await;
            }
        };
        let answer = match target.list {
            PublicList::Other => as_it_is(cached),
            // Who else asks may be told something else.
            _ if offer.is_everything() || cached.status != 200 => {
                as_it_is(cached).with(header::VARY, HeaderValue::from_static("Authorization, X-Api-Key"))
            }
            list => match of_the_offer(&cached, list, &offer) {
                Some(answer) => answer,
                None => {
                    tracing::warn!(target = %&**target, "the upstream's list of models cannot be read");
                    return give_refusal(session, &Refusal::UpstreamBroken, Dialect::Chat, request).await;
                }
            },
        };
        answer.give(session, request).await
    }
}

fn as_it_is(cached: Cached) -> Whole {
    Whole { status: cached.status, headers: cached.headers, body: cached.body }
}

/// The models of a list that are on offer, or how many they are. `None`: it is no list.
fn of_the_offer(cached: &Cached, list: PublicList, offer: &Offer<'_>) -> Option<Whole> {
    let listing = cached.listing()?;
    let allowed = |model: &str| offer.has(model);
    let body = match list {
        PublicList::Count => serde_json::json!({"data": {"count": listing.count(allowed)}}).to_string().into_bytes(),
        PublicList::Models | PublicList::Other => listing.only(&cached.body, allowed),
    };
    // An operator or a donor may say otherwise at any time.
    Some(Whole::json(200, body).with(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")))
}
