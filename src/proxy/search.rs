//! The search for a key: what the request asks of one, and how long one is waited for.

use std::time::Duration;

use pingora::protocols::http::ServerSession;

use crate::clients::line::Full;
use crate::clock::Tick;
use crate::money::Usd;
use crate::pool::{AtLast, Choice, Chosen, NoKey, Unavailable, Want};
use crate::pot::Place;
use crate::upstream::Spending;

use super::exchange::Inference;
use super::hangup::Hangup;
use super::hunt::{Hunt, Wait};
use super::quote::Quote;

/// How often a request that waits for a place on a key on trial looks again, should nobody wake it.
const QUEUE_LOOK: Duration = Duration::from_secs(1);

/// How the search for a key ended without one.
pub(super) enum Empty {
    /// The client left while waiting.
    Gone,
    /// As many wait as may.
    Full(Full),
    /// No key can serve this request.
    Unavailable(Unavailable),
}

impl Inference<'_> {
    /// A key for the next attempt. Where every key is busy its turn is waited for; and a little for a key that is due back
    /// soon, or for the verdict on one that is on trial.
    pub(super) async fn find_key(
        &mut self,
        session: &mut ServerSession,
        hunt: &mut Hunt,
        hangup: &mut Hangup<'_>,
    ) -> Result<Chosen, Empty> {
        let pot = &self.proxy.pot;
        let chosen = match pot.choose_in_turn(self.share.client, &self.want(hunt)) {
            Choice::Key(chosen) => chosen,
            // In a box: the future of a request that need not wait has no room for this in it.
            Choice::None(why) => Box::pin(self.wait_for_key(session, hunt, hangup, why)).await?,
        };
        self.quote.iter_mut().for_each(|quote| quote.found(pot));
        Ok(chosen)
    }

    async fn wait_for_key(
        &mut self,
        session: &mut ServerSession,
        hunt: &mut Hunt,
        hangup: &mut Hangup<'_>,
        mut why: Unavailable,
    ) -> Result<Chosen, Empty> {
        let pot = &self.proxy.pot;
        let mut place: Option<Place<'_>> = None;
        loop {
            if self.ask_prices(why.reason).await {
                // It wants something else now, and comes new with that.
                place = None;
                match pot.choose_in_turn(self.share.client, &self.want(hunt)) {
                    Choice::Key(chosen) => return Ok(chosen),
                    Choice::None(now) => why = now,
                }
            }
            let want = self.want(hunt);
            let due = why.until.map(|until| until.since(pot.clock().now()));
            let prospect = pot.prospect(&want, &why);
            let wait = match hunt.wait(prospect, due) {
                Some(wait) => wait,
                None => match pot.choose_at_last(&want) {
                    AtLast::Key(chosen) => return Ok(chosen),
                    AtLast::Full if hunt.may_queue(self.whole.elapsed()) => Wait::ForKey(QUEUE_LOOK),
                    AtLast::Full => return Err(Empty::Unavailable(why)),
                    AtLast::None(why) => return Err(Empty::Unavailable(why)),
                },
            };
            let place = match &place {
                Some(place) => place,
                None => place.insert(pot.line_up(self.share, &want, prospect).map_err(Empty::Full)?),
            };
            let waiting = Tick::now();
            tokio::select! {
                key = place.key(wait.most(), due) => if let Some(chosen) = key {
                    return Ok(chosen);
                },
                () = hangup.wait(session) => return Err(Empty::Gone),
            }
            hunt.waited(wait, waiting.elapsed());
            why = pot.outlook(&self.want(hunt));
        }
    }

    fn want<'a>(&'a self, hunt: &'a Hunt) -> Want<'a> {
        Want {
            lane: self.facts.lane,
            model: self.facts.model.as_deref(),
            conversation: self.facts.conversation,
            tried: hunt.tried(),
            avoid: hunt.avoid(),
            richest: hunt.wants_richest(),
            fallbacks: &self.facts.fallbacks,
            worst: Quote::worst(self.quote.as_ref()),
        }
    }

    /// The most this request may cost, where any key's limits make that matter.
    pub(super) fn quoted(&mut self, session: &ServerSession) -> Option<Quote> {
        let matters = || self.proxy.pot.has_strict() || self.call.seat.as_ref().is_some_and(|seat| seat.is_metered());
        (self.spending.is_some() || matters()).then(|| self.quote_now(session))
    }

    /// The most this request may cost.
    pub(super) fn quote_now(&mut self, session: &ServerSession) -> Quote {
        let read = || Spending::read(self.endpoint, &session.req_header().headers, &self.body.bytes);
        let spending = self.spending.take().unwrap_or_else(read);
        Quote::of(&self.proxy.pot, spending, self.proxy.limits.default_bound)
    }

    /// No key serves what nobody knows the price of: ask for it, once. `true` when the choice may be another now.
    async fn ask_prices(&mut self, why: NoKey) -> bool {
        let (pot, default) = (&self.proxy.pot, self.proxy.limits.default_bound);
        match &mut self.quote {
            Some(quote) if !matches!(why, NoKey::NoneAdded | NoKey::AllFailed) => {
                Box::pin(quote.ask(pot, default)).await
            }
            _ => false,
        }
    }

    /// Ask for no more than the richest key affords, once, where the operator wants that rather than a refusal.
    pub(super) fn clamp(&mut self, why: Unavailable) -> bool {
        match why.reason {
            NoKey::TooDear { leaves } if !self.clamped => {
                self.clamped = self.clamp_to(leaves);
                self.clamped
            }
            _ => false,
        }
    }

    /// Ask for no more than costs so much, where the operator wants that rather than a refusal, and less can be asked for.
    pub(super) fn clamp_to(&mut self, leaves: Usd) -> bool {
        if !self.proxy.limits.clamp_max_tokens {
            return false;
        }
        let (pot, quote) = (&self.proxy.pot, self.quote.as_ref());
        let Some(body) = quote.and_then(|quote| quote.clamped(pot, self.endpoint, &self.body.bytes, leaves)) else {
            return false;
        };
        self.body.replace(body);
        true
    }
}
