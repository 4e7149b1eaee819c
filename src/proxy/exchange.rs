//! One inference request: its body in, a key hunted for, the answer out.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::http::ServerSession;

use crate::clock::Tick;
use crate::money::{Outcome, RequestId};
use crate::pool::{AtLast, Choice, Chosen, Effect, NoKey, Unavailable, Want};
use crate::pot::{Attempt, Begun, Call, Guest};
use crate::telemetry::ClientRefusal;
use crate::upstream::{Answer, Dialect, Endpoint, Refusal, RequestFacts, is_openrouters, judge, read_request};

use super::Proxy;
use super::answer::{Served, give_refusal};
use super::body::{self, BodyFault, BodyLimits, HeldBody};
use super::forward::{self, HeldAnswer, Outgoing, Tried};
use super::hangup::Hangup;
use super::hunt::{Hunt, Onward};
use super::quote::Quote;
use super::relay;

/// How often a request that waits for a place on a key on trial looks again, should nobody wake it.
const QUEUE_LOOK: Duration = Duration::from_secs(1);

/// What stays the same over all attempts of a request.
pub(super) struct Inference<'a> {
    pub(super) proxy: &'a Proxy,
    endpoint: Endpoint,
    target: &'a str,
    pub(super) call: Arc<Call>,
    facts: RequestFacts,
    body: HeldBody,
    arrived: Tick,
    /// What it may cost at most, where that matters.
    quote: Option<Quote>,
    /// Its limit on output tokens was lowered.
    clamped: bool,
    /// When the request was whole: what passes from here to the first attempt is potluck's own doing.
    whole: Tick,
}

/// How the search for a key ended without one.
enum Empty {
    /// The client left while waiting.
    Gone,
    /// No key can serve this request.
    Unavailable(Unavailable),
}

impl Proxy {
    /// Serve one call of a billable endpoint.
    pub(super) async fn infer(
        &self,
        session: &mut ServerSession,
        guest: &Guest,
        endpoint: Endpoint,
        target: &str,
        request: RequestId,
    ) -> Served {
        let arrived = self.pot.clock().tick();
        let dialect = endpoint.dialect();
        let Ok(_seat) = guest.seat() else {
            self.pot.metrics().client_refused(ClientRefusal::Busy);
            return give_refusal(session, &Refusal::ClientBusy, dialect, request).await;
        };
        let body = match self.read_body_within(session, self.limits.body).await {
            Ok(body) => body,
            Err(fault) => return self.give_body_fault(session, &fault, self.limits.body, dialect, request).await,
        };
        let whole = self.pot.clock().tick();
        let facts = match self.facts(session, guest, endpoint, &body) {
            Ok(facts) => facts,
            Err(refusal) => return give_refusal(session, &refusal, dialect, request).await,
        };
        let call = Arc::new(Call { request, client: guest.client(), endpoint, model: facts.model.clone() });
        let inference =
            Inference { proxy: self, endpoint, target, call, facts, body, arrived, whole, quote: None, clamped: false };
        inference.serve(session, Hangup::new(guest.revocation())).await
    }

    /// What the request asks for, where it can be read and this guest may ask for it.
    fn facts(
        &self,
        session: &ServerSession,
        guest: &Guest,
        endpoint: Endpoint,
        body: &HeldBody,
    ) -> Result<RequestFacts, Refusal> {
        let headers = &session.req_header().headers;
        let salt = self.pot.salt() ^ guest.salt();
        let facts = read_request(endpoint, &body.bytes, headers, salt).map_err(Refusal::BadRequest)?;
        if !guest.may_ask_for(facts.model.as_deref(), &facts.fallbacks) {
            self.pot.metrics().client_refused(ClientRefusal::Model);
            return Err(Refusal::ClientModel);
        }
        Ok(facts)
    }

    pub(super) async fn give_body_fault(
        &self,
        session: &mut ServerSession,
        fault: &BodyFault,
        limits: BodyLimits,
        dialect: Dialect,
        request: RequestId,
    ) -> Served {
        let refusal = match fault {
            BodyFault::TooLarge => Refusal::BodyTooLarge { max: limits.bytes as u64 },
            BodyFault::NoRoom => Refusal::BodyBudget,
            BodyFault::Slow => Refusal::BodyTooSlow,
            BodyFault::Broken => Refusal::BodyBroken,
        };
        session.set_keepalive(None);
        give_refusal(session, &refusal, dialect, request).await
    }

    /// Read the request's body, answering `Expect: 100-continue` first.
    pub(super) async fn read_body_within(
        &self,
        session: &mut ServerSession,
        limits: BodyLimits,
    ) -> Result<HeldBody, BodyFault> {
        let headers = &session.req_header().headers;
        let announced = headers.get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        let expects =
            headers.get(http::header::EXPECT).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if expects && announced.is_none_or(|length: usize| length <= limits.bytes) {
            session.write_continue_response().await.map_err(|_| BodyFault::Broken)?;
        }
        body::read(session, announced, limits, &self.budget, self.pot.clock()).await
    }
}

impl Inference<'_> {
    async fn serve(mut self, session: &mut ServerSession, mut hangup: Hangup) -> Served {
        let mut hunt = Hunt::new(self.proxy.limits.hunt);
        let mut held: Option<HeldAnswer> = None;
        let mut ledger_full = false;
        self.quote = self.quoted(session).await;
        loop {
            if hangup.is_due() {
                // Revoked while its body came in, or while keys refused: nothing more is spent for it.
                return Served::GONE;
            }
            let chosen = match self.find_key(session, &mut hunt, &mut hangup).await {
                Ok(chosen) => chosen,
                Err(Empty::Gone) => return Served::GONE,
                Err(Empty::Unavailable(_)) if ledger_full && held.is_none() => {
                    return self.refuse(session, &Refusal::LedgerFull).await;
                }
                Err(Empty::Unavailable(why)) if self.clamp(why) => {
                    self.quote = self.quoted(session).await;
                    continue;
                }
                Err(Empty::Unavailable(why)) => return self.give_up(session, held, &hunt, why).await,
            };
            let is_strict = chosen.hold.is_some();
            let mut attempt = match self.proxy.pot.attempt(&self.call, chosen, hunt.upcoming()) {
                Begun::Attempt(attempt) => attempt,
                // Withdrawn since it was chosen: the pool will not choose it again.
                Begun::KeyLeft => continue,
                Begun::LedgerFull if is_strict => {
                    // There may be room for keys without limits.
                    self.proxy.pot.strict_keys().into_iter().for_each(|key| hunt.leave_out(key));
                    ledger_full = true;
                    continue;
                }
                Begun::LedgerFull => return self.refuse(session, &Refusal::LedgerFull).await,
            };
            hunt.begin();
            if !attempt.cover().await {
                // Somebody else has leased what is left, or the disk is slow: another key may do.
                hunt.leave_out(attempt.chosen().key);
                continue;
            }
            if hunt.attempts() == 1 {
                self.proxy.pot.metrics().added_latency(self.whole.elapsed());
            }
            let outgoing = self.outgoing(&attempt);
            match forward::attempt(self.proxy, session, &mut *attempt, outgoing, &mut hangup).await {
                Tried::Accepted(upstream) => {
                    // It will not be sent again, and the answer may take half an hour.
                    self.body = HeldBody::default();
                    return self.relay(session, upstream, attempt, &mut hangup).await;
                }
                Tried::Refused(answer) => match self.refused(session, answer, attempt, &mut hunt).await {
                    ControlFlow::Continue(presentable) => held = presentable.or(held),
                    ControlFlow::Break(served) => return served,
                },
                Tried::Failed(failure) => {
                    attempt.close(failure.outcome());
                    return self.refuse(session, &failure.refusal()).await;
                }
                Tried::Gone(answer) => {
                    // Booked like any other refusal: an edge's page does not prove that nothing was done.
                    if answer.is_some_and(|a| !is_openrouters(&a.body, a.header("content-type"))) {
                        attempt.refused_without_words();
                    }
                    attempt.close(Outcome::ClientGone);
                    return Served::GONE;
                }
            }
        }
    }

    /// A refusal leads to another key, with an answer to give should none be left, or it is the end.
    async fn refused(
        &self,
        session: &mut ServerSession,
        answer: HeldAnswer,
        mut attempt: Box<Attempt>,
        hunt: &mut Hunt,
    ) -> ControlFlow<Served, Option<HeldAnswer>> {
        match self.judge(&answer, &mut attempt, hunt) {
            Onward::Again { presentable } => {
                attempt.close(Outcome::KeyRefused);
                ControlFlow::Continue(presentable.then_some(answer))
            }
            Onward::Pass => {
                if !is_openrouters(&answer.body, answer.header("content-type")) {
                    attempt.refused_without_words();
                }
                attempt.close(Outcome::Refused);
                ControlFlow::Break(self.pass_on(session, &answer).await)
            }
            Onward::OutOfAttempts => {
                attempt.close(Outcome::KeyRefused);
                ControlFlow::Break(self.refuse(session, &Refusal::OutOfAttempts).await)
            }
        }
    }

    /// A key for the next attempt; waits a little for one that is due back soon, or for the verdict on one that is on trial.
    async fn find_key(
        &self,
        session: &mut ServerSession,
        hunt: &mut Hunt,
        hangup: &mut Hangup,
    ) -> Result<Chosen, Empty> {
        let pot = &self.proxy.pot;
        let worst = Quote::worst(self.quote.as_ref());
        loop {
            // Taken before looking, so that what comes meanwhile is not missed.
            let (verdict, freed) = (pot.verdict().notified(), pot.freed().notified());
            let want = Want {
                lane: self.facts.lane,
                model: self.facts.model.as_deref(),
                conversation: self.facts.conversation,
                tried: hunt.tried(),
                avoid: hunt.avoid(),
                richest: hunt.wants_richest(),
                fallbacks: &self.facts.fallbacks,
                worst,
            };
            let why = match pot.choose(&want) {
                Choice::Key(chosen) => return Ok(chosen),
                Choice::None(why) => why,
            };
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

    /// The most this request may cost, where any key's limits make that matter.
    async fn quoted(&self, session: &ServerSession) -> Option<Quote> {
        let pot = &self.proxy.pot;
        if !pot.has_strict() {
            return None;
        }
        let quote = Quote::of(pot, session, self.endpoint, &self.body, self.proxy.limits.default_bound);
        Some(Box::pin(quote).await)
    }

    /// Ask for no more than the richest key affords, once, where the operator wants that rather than a refusal.
    fn clamp(&mut self, why: Unavailable) -> bool {
        if !self.proxy.limits.clamp_max_tokens || self.clamped {
            return false;
        }
        let quote = self.quote.as_ref();
        let Some(body) = quote.and_then(|quote| quote.clamped(self.endpoint, &self.body.bytes, why.reason)) else {
            return false;
        };
        self.body.replace(body);
        self.clamped = true;
        true
    }

    fn outgoing(&self, attempt: &Attempt) -> Outgoing<'_> {
        Outgoing {
            method: http::Method::POST,
            target: self.target,
            bearer: attempt.chosen().credential.bearer(),
            body: Some(self.body.bytes.clone()),
            arrived: self.arrived,
        }
    }

    fn judge(&self, answer: &HeldAnswer, attempt: &mut Attempt, hunt: &mut Hunt) -> Onward {
        let pot = &self.proxy.pot;
        let verdict = judge(
            &Answer {
                status: answer.status,
                retry_after: answer.header("retry-after"),
                rate_limit_reset: answer.header("x-ratelimit-reset"),
                content_type: answer.header("content-type"),
                generation: answer.header("x-generation-id").is_some(),
                body: &answer.body,
                dialect: self.endpoint.dialect(),
                restricted: self.facts.provider_restricted,
                lane: self.facts.lane,
                model: self.facts.model.as_deref(),
            },
            pot.clock().now(),
        );
        attempt.judged(verdict.reason);
        let chosen = attempt.chosen();
        if verdict.reason.is_about_size() {
            hunt.seek_richest();
        }
        pot.blame(chosen.key, &verdict);
        if let (Effect::Affords { tokens: Some(tokens) }, Some(model)) = (&verdict.effect, self.facts.model.as_deref())
        {
            pot.affords(chosen.key, model, *tokens);
        }
        let onward = hunt.refused(verdict.next, chosen, self.whole.elapsed());
        if matches!(onward, Onward::Again { .. }) {
            pot.metrics().failover(verdict.reason.name());
        }
        onward
    }

    async fn relay(
        &self,
        session: &mut ServerSession,
        upstream: Box<forward::Accepted>,
        attempt: Box<Attempt>,
        hangup: &mut Hangup,
    ) -> Served {
        if self.endpoint == Endpoint::Videos {
            return Box::pin(self.submitted(session, upstream, attempt)).await;
        }
        relay::run(self.proxy, session, upstream, attempt, hangup, &self.call, self.arrived).await
    }

    /// No (further) key: a held refusal that is about the request itself is the better answer, else say why.
    async fn give_up(
        &self,
        session: &mut ServerSession,
        held: Option<HeldAnswer>,
        hunt: &Hunt,
        why: Unavailable,
    ) -> Served {
        if held.is_none()
            && let Some(refusal) = self.quote.as_ref().and_then(|quote| quote.refusal(why.reason))
        {
            return self.refuse(session, &refusal).await;
        }
        match held {
            Some(answer) => self.pass_on(session, &answer).await,
            None => {
                let pot = &self.proxy.pot;
                let until = match hunt.attempts() {
                    0 => why.until,
                    // The keys tried are out of the question for this request, not for the client's next one.
                    _ => pot.due_back(self.facts.lane, self.facts.model.as_deref()),
                };
                let refusal =
                    Refusal::NoKey { reason: why.reason, until, now: pot.clock().now(), tried: hunt.attempts() };
                self.refuse(session, &refusal).await
            }
        }
    }

    async fn pass_on(&self, session: &mut ServerSession, answer: &HeldAnswer) -> Served {
        // Whatever its words: the client sent no key and owes nothing, so this is a key's trouble.
        if matches!(answer.status, 401 | 402) {
            return self.refuse(session, &Refusal::OutOfAttempts).await;
        }
        answer.give(session, self.endpoint.dialect(), self.call.request).await
    }

    pub(super) async fn refuse(&self, session: &mut ServerSession, refusal: &Refusal) -> Served {
        give_refusal(session, refusal, self.endpoint.dialect(), self.call.request).await
    }
}
