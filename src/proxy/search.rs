//! The search for a key: what the request asks of one, and how long one is waited for.

use std::time::Duration;

use pingora::protocols::http::ServerSession;

use crate::money::Usd;
use crate::pool::{AtLast, Choice, Chosen, NoKey, Unavailable, Want};
use crate::upstream::Spending;

use super::exchange::Inference;
use super::hangup::Hangup;
use super::hunt::Hunt;
use super::quote::Quote;

/// How often a request that waits for a place on a key on trial looks again, should nobody wake it.
const QUEUE_LOOK: Duration = Duration::from_secs(1);

/// How the search for a key ended without one.
pub(super) enum Empty {
    /// The client left while waiting.
    Gone,
    /// No key can serve this request.
    Unavailable(Unavailable),
}

impl Inference<'_> {
    /// A key for the next attempt; waits a little for one that is due back soon, or for the verdict on one that is on trial.
    pub(super) async fn find_key(
        &mut self,
        session: &mut ServerSession,
        hunt: &mut Hunt,
        hangup: &mut Hangup,
    ) -> Result<Chosen, Empty> {
        let proxy = self.proxy;
        let pot = &proxy.pot;
        loop {
            // Taken before looking, so that what comes meanwhile is not missed.
            let (verdict, freed) = (pot.verdict().notified(), pot.freed().notified());
            let why = match pot.choose(&self.want(hunt)) {
                Choice::Key(chosen) => {
                    self.quote.iter_mut().for_each(|quote| quote.found(pot));
                    return Ok(chosen);
                }
                Choice::None(why) if self.ask_prices(why.reason).await => continue,
                Choice::None(why) => why,
            };
            let want = self.want(hunt);
            let due = why.until.map(|until| until.since(pot.clock().now()).max(Duration::from_millis(1)));
            let wait = match due {
                _ if why.reason == NoKey::AllBusy && !hunt.patience().is_zero() => hunt.patience(),
                Some(due) if due <= hunt.patience() => due,
                Some(_) if !hunt.patience().is_zero() && pot.on_trial(&want) => hunt.patience(),
                _ => match pot.choose_at_last(&want) {
                    AtLast::Key(chosen) => return Ok(chosen),
                    AtLast::Full if hunt.may_queue(self.whole.elapsed()) => QUEUE_LOOK,
                    AtLast::Full => return Err(Empty::Unavailable(why)),
                    AtLast::None(why) => return Err(Empty::Unavailable(why)),
                },
            };
            let waiting = pot.clock().tick();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = verdict => {}
                () = freed => {}
                () = hangup.wait(session) => return Err(Empty::Gone),
            }
            hunt.waited(waiting.elapsed().min(wait));
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
        let (pot, default) = (&self.proxy.pot, self.proxy.limits.default_bound);
        let spending = match self.spending.take() {
            Some(spending) => spending,
            None if !pot.has_strict() && !self.call.seat.as_ref().is_some_and(|seat| seat.is_metered()) => return None,
            None => Spending::read(self.endpoint, &session.req_header().headers, &self.body.bytes),
        };
        Some(Quote::of(pot, spending, default))
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
        let quote = self.quote.as_ref();
        let Some(body) = quote.and_then(|quote| quote.clamped(self.endpoint, &self.body.bytes, leaves)) else {
            return false;
        };
        self.body.replace(body);
        true
    }
}
