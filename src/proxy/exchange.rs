//! One inference request: its body in, a key hunted for, the answer out.

use std::ops::ControlFlow;
use std::sync::Arc;

use pingora::protocols::http::ServerSession;

use crate::clients::line::Share;
use crate::clock::Tick;
use crate::money::Outcome;
use crate::pool::{Chosen, Effect, Unavailable};
use crate::pot::{Attempt, Begun, Call};
use crate::telemetry::ClientRefusal;
use crate::upstream::{Answer, Endpoint, Refusal, RequestFacts, Spending, is_openrouters, judge};

use super::Proxy;
use super::ai::Routing;
use super::answer::{Served, give_refusal};
use super::body::HeldBody;
use super::forward::{self, HeldAnswer, Outgoing, Tried};
use super::hangup::{Caller, Hangup};
use super::hunt::{Hunt, Onward};
use super::intake::Whole;
use super::quote::Quote;
use super::relay;
use super::request::Request;
use super::search::Empty;

/// What stays the same over all attempts of a request.
pub(super) struct Inference<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) endpoint: Endpoint,
    target: &'a str,
    pub(super) call: Arc<Call>,
    /// For the heads of its answers.
    pub(super) request: Request,
    pub(super) share: Share,
    pub(super) facts: RequestFacts,
    pub(super) body: HeldBody,
    arrived: Tick,
    /// What it may make the upstream charge for, where that was read already.
    pub(super) spending: Option<Spending>,
    /// What it may cost at most, where that matters.
    pub(super) quote: Option<Quote>,
    /// Its limit on output tokens was lowered.
    pub(super) clamped: bool,
    /// When the request was whole: what passes from here to the first attempt is potluck's own doing.
    pub(super) whole: Tick,
    /// Told with the answer, where the router had a say.
    routing: Option<Box<Routing>>,
}

impl Proxy {
    /// Serve one call of a billable endpoint.
    pub(super) async fn infer(
        &self,
        session: &mut ServerSession,
        Caller { guest, hangup }: &mut Caller<'_>,
        endpoint: Endpoint,
        target: &str,
        request: Request,
    ) -> Served {
        match self.receive(session, guest, endpoint.dialect(), request).await {
            Ok(whole) => self.infer_whole(session, hangup, endpoint, target, whole, None).await,
            Err(served) => served,
        }
    }

    /// Serve a call of a billable endpoint whose body is here.
    pub(super) async fn infer_whole(
        &self,
        session: &mut ServerSession,
        hangup: &mut Hangup<'_>,
        endpoint: Endpoint,
        target: &str,
        whole: Whole<'_>,
        routing: Option<Box<Routing>>,
    ) -> Served {
        let (facts, spending) = match self.read(session, endpoint, &whole) {
            Ok(read) => read,
            Err(refusal) => return give_refusal(session, &refusal, endpoint.dialect(), whole.request).await,
        };
        let Whole { guest, seat, request, body, arrived, whole } = whole;
        let call = Arc::new(Call { request: request.id, seat, endpoint, model: facts.model.clone() });
        let inference = Inference {
            proxy: self,
            endpoint,
            target,
            call,
            request,
            share: guest.share(),
            facts,
            body,
            arrived,
            whole,
            spending,
            quote: None,
            clamped: false,
            routing,
        };
        inference.serve(session, hangup).await
    }
}

impl Inference<'_> {
    async fn serve(mut self, session: &mut ServerSession, hangup: &mut Hangup<'_>) -> Served {
        let mut hunt = Hunt::new(self.proxy.limits.hunt);
        let mut held: Option<HeldAnswer> = None;
        let mut ledger_full = false;
        if let Err(served) = self.bound(session, hangup).await {
            return served;
        }
        loop {
            if hangup.is_due() {
                // Revoked while its body came in, or while keys refused: nothing more is spent for it.
                return Served::GONE;
            }
            let chosen = match self.find_key(session, &mut hunt, hangup).await {
                Ok(chosen) => chosen,
                Err(Empty::Gone) => return Served::GONE,
                Err(Empty::Full(full)) => {
                    self.proxy
                        .pot
                        .refused_to(self.call.seat.as_ref().map(|seat| seat.spender()), ClientRefusal::QueueFull);
                    return self.refuse(session, &Refusal::QueueFull(full)).await;
                }
                Err(Empty::Unavailable(_)) if ledger_full && held.is_none() => {
                    return self.refuse(session, &Refusal::LedgerFull).await;
                }
                Err(Empty::Unavailable(why)) if self.clamp(why) => match self.bound(session, hangup).await {
                    Ok(()) => continue,
                    Err(served) => return served,
                },
                Err(Empty::Unavailable(why)) => return self.give_up(session, held, &hunt, why).await,
            };
            let mut attempt = match self.begin(chosen, &mut hunt, &mut ledger_full) {
                Begun::Attempt(attempt) => attempt,
                Begun::KeyLeft => continue,
                Begun::LedgerFull => return self.refuse(session, &Refusal::LedgerFull).await,
            };
            hunt.begin();
            if !attempt.cover().await {
                // Somebody else has leased what is left, or the disk is slow: another key may do.
                hunt.leave_out(attempt.chosen().key);
                continue;
            }
            self.request.attempted(hunt.attempts());
            if hunt.attempts() == 1 {
                self.proxy.pot.metrics().added_latency(self.whole.elapsed());
            }
            let outgoing = self.outgoing(&attempt);
            match forward::attempt(self.proxy, session, &mut *attempt, outgoing, hangup).await {
                Tried::Accepted(upstream) => {
                    // It will not be sent again, and the answer may take half an hour.
                    self.body = HeldBody::default();
                    return self.relay(session, upstream, attempt, hangup).await;
                }
                Tried::Refused(answer) => match self.refused(session, answer, attempt, &mut hunt).await {
                    ControlFlow::Continue(presentable) => held = presentable.or(held),
                    ControlFlow::Break(served) => return served,
                },
                Tried::Failed(failure) => {
                    self.request.cost(attempt.close(failure.outcome()));
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

    /// Find out what the request may cost, and hold that of its client's budgets.
    async fn bound(&mut self, session: &mut ServerSession, hangup: &mut Hangup<'_>) -> Result<(), Served> {
        self.quote = self.quoted(session);
        self.charge(session, hangup).await
    }

    /// Begin an attempt with this key, or leave it out of what is looked for from here on.
    fn begin(&self, chosen: Chosen, hunt: &mut Hunt, ledger_full: &mut bool) -> Begun {
        let is_strict = chosen.hold.is_some();
        match self.proxy.pot.attempt(&self.call, chosen, hunt.upcoming()) {
            Begun::LedgerFull if is_strict => {
                // There may be room for keys without limits.
                self.proxy.pot.strict_keys().into_iter().for_each(|key| hunt.leave_out(key));
                *ledger_full = true;
                Begun::KeyLeft
            }
            // Where it was withdrawn since it was chosen, the pool will not choose it again.
            begun => begun,
        }
    }

    /// A refusal leads to another key, with an answer to give should none be left, or it is the end.
    async fn refused(
        &mut self,
        session: &mut ServerSession,
        answer: HeldAnswer,
        mut attempt: Box<Attempt>,
        hunt: &mut Hunt,
    ) -> ControlFlow<Served, Option<HeldAnswer>> {
        match self.judge(&answer, &mut attempt, hunt) {
            Onward::Again { presentable } => {
                self.request.cost(attempt.close(Outcome::KeyRefused));
                ControlFlow::Continue(presentable.then_some(answer))
            }
            Onward::Pass => {
                if !is_openrouters(&answer.body, answer.header("content-type")) {
                    attempt.refused_without_words();
                }
                self.request.cost(attempt.close(Outcome::Refused));
                ControlFlow::Break(self.pass_on(session, &answer).await)
            }
            Onward::OutOfAttempts => {
                self.request.cost(attempt.close(Outcome::KeyRefused));
                ControlFlow::Break(self.refuse(session, &Refusal::OutOfAttempts).await)
            }
        }
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
        &mut self,
        session: &mut ServerSession,
        upstream: forward::Accepted,
        attempt: Box<Attempt>,
        hangup: &mut Hangup<'_>,
    ) -> Served {
        if self.endpoint == Endpoint::Videos {
            return Box::pin(self.submitted(session, upstream, attempt)).await;
        }
        let told = relay::Told {
            call: &self.call,
            request: self.request,
            arrived: self.arrived,
            routing: self.routing.take(),
        };
        relay::run(self.proxy, session, upstream, attempt, hangup, told).await
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
            && let Some(refusal) = self.quote.as_ref().and_then(|quote| quote.refusal(&self.proxy.pot, why.reason))
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
        answer.give(session, self.endpoint.dialect(), self.request).await
    }

    pub(super) async fn refuse(&self, session: &mut ServerSession, refusal: &Refusal) -> Served {
        give_refusal(session, refusal, self.endpoint.dialect(), self.request).await
    }
}
