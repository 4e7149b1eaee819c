//! What a request may cost is held of its client's budgets before a key is looked for.

use std::sync::Arc;

use pingora::protocols::http::ServerSession;

use crate::clients::Shortage;
use crate::clock::Tick;
use crate::money::Usd;
use crate::pot::{Denied, HELD_PATIENCE, Seat};
use crate::upstream::Refusal;

use super::answer::Served;
use super::exchange::Inference;
use super::hangup::Hangup;

/// Bytes of a request that make about one token: enough for a rate, which is put right when the answer tells the truth.
const BYTES_PER_TOKEN: u64 = 4;

impl Inference<'_> {
    /// Hold the request's worst cost of its client's budgets, in the place of what was held before, and take the tokens it is
    /// expected to use. What only others' holds leave too little of is waited for.
    ///
    /// # Errors
    /// The client was told why not, or is gone.
    pub(super) async fn charge(&mut self, session: &mut ServerSession, hangup: &mut Hangup<'_>) -> Result<(), Served> {
        let Some(seat) = self.call.seat.clone() else { return Ok(()) };
        let mut waiting: Option<Tick> = None;
        if seat.has_budget() {
            self.know_prices().await;
        }
        loop {
            // Taken before looking, so that what comes meanwhile is not missed.
            let freed = seat.freed().notified();
            let denied = match seat.charge(self.worst(), self.expected_tokens(&seat)).await {
                Ok(()) => return Ok(()),
                Err(denied) => denied,
            };
            let waiting = waiting.get_or_insert_with(Tick::now);
            let patience = HELD_PATIENCE.saturating_sub(waiting.elapsed());
            match denied {
                Denied::Short { of: Shortage::Held, .. } if !patience.is_zero() => {
                    tokio::select! {
                        () = tokio::time::sleep(patience) => {}
                        () = freed => {}
                        () = hangup.wait(session) => return Err(Served::GONE),
                    }
                }
                // It was let in before there was a budget.
                Denied::Short { of: Shortage::Unbounded, .. } if self.quote.is_none() => {
                    self.quote = Some(self.quote_now(session));
                    self.know_prices().await;
                }
                Denied::Short { of: Shortage::TooDear { leaves, .. }, .. } if self.clamp_to(leaves) => {
                    self.quote = self.quoted(session);
                }
                denied => {
                    let refusal = self.told(&seat, denied);
                    return Err(self.refuse(session, &refusal).await);
                }
            }
        }
    }

    /// A budget holds nothing without a price: wait for those that are not known yet.
    async fn know_prices(&mut self) {
        let (pot, default) = (&self.proxy.pot, self.proxy.limits.default_bound);
        if let Some(quote) = self.quote.as_mut().filter(|quote| quote.is_unasked()) {
            Box::pin(quote.ask(pot, default)).await;
        }
    }

    fn worst(&self) -> Option<Usd> {
        self.quote.as_ref().and_then(|quote| quote.cost())
    }

    fn expected_tokens(&self, seat: &Arc<Seat>) -> u64 {
        if !seat.has_token_rate() {
            return 0;
        }
        let asked = self.quote.as_ref().and_then(|quote| quote.asked_tokens());
        (self.body.bytes.len() as u64 / BYTES_PER_TOKEN).saturating_add(asked.unwrap_or_default())
    }

    fn told(&self, seat: &Arc<Seat>, denied: Denied) -> Refusal {
        if let Denied::Short { of, .. } = &denied {
            seat.refused((*of).into());
        }
        match (denied, &self.quote) {
            (Denied::Short { of: Shortage::Unbounded, .. }, Some(quote)) if let Some(why) = quote.unbounded() => {
                Refusal::ClientUnbounded(why)
            }
            (Denied::Short { of: of @ Shortage::TooDear { leaves, .. }, user }, Some(quote)) => {
                let affordable = quote.affordable(&self.proxy.pot, leaves);
                Refusal::ClientShort { of, user, affordable, now: self.proxy.pot.clock().now() }
            }
            (denied, _) => self.proxy.denial(denied),
        }
    }
}
