//! `/api/ai/…`: completions whose model the router chooses, and what it would choose.
//!
//! A completion is put into the words of `chat/completions` and then served like any other: same keys, same holds, same
//! ledger. On the way down `_routing` is added, and nothing else changes.

mod completion;
mod members;
mod weave;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};

use crate::clients::routing::{DEFAULT_CATEGORY, Decision, Offer};
use crate::money::PriceList;
use crate::pot::Guest;
use crate::telemetry::ClientRefusal;
use crate::upstream::{AiCall, Dialect, Endpoint, Refusal};

use super::Proxy;
use super::answer::{Served, Whole, give_refusal};
use super::hangup::Caller;
use super::request::Request;
use completion::Completion;
pub(super) use weave::Weave;

/// What the client is told of a decision, with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    model: Box<str>,
    category: Box<str>,
    reason: String,
}

impl Proxy {
    /// Serve a call below `/api/ai/`.
    pub(super) async fn ai(
        &self,
        session: &mut ServerSession,
        caller: &mut Caller<'_>,
        call: AiCall,
        request: Request,
    ) -> Served {
        match call {
            AiCall::Complete => self.complete(session, caller, request).await,
            AiCall::Decide => self.decide(session, &caller.guest, request).await,
            AiCall::Categories => own(200, &self.categories(&caller.guest)).give(session, request).await,
        }
    }

    async fn complete(&self, session: &mut ServerSession, caller: &mut Caller<'_>, request: Request) -> Served {
        let Caller { guest, hangup } = caller;
        let mut whole = match self.receive(session, guest, Dialect::Chat, request).await {
            Ok(whole) => whole,
            Err(served) => return served,
        };
        let (body, decision) = match self.routed(guest, &whole.body.bytes) {
            Ok(routed) => routed,
            Err(refusal) => return give_refusal(session, &refusal, Dialect::Chat, request).await,
        };
        whole.body.replace(body);
        describe_as_json(session);
        let Decision { category, model, reason, .. } = decision;
        let routing = Box::new(Routing { model, category, reason });
        let (endpoint, target) = (Endpoint::ChatCompletions, AiCall::COMPLETION_TARGET);
        self.infer_whole(session, hangup, endpoint, target, whole, Some(routing)).await
    }

    async fn decide(&self, session: &mut ServerSession, guest: &Guest, request: Request) -> Served {
        let whole = match self.receive(session, guest, Dialect::Chat, request).await {
            Ok(whole) => whole,
            Err(served) => return served,
        };
        match self.routed(guest, &whole.body.bytes) {
            Ok((_, decision)) => own(200, &told(&decision)).give(session, request).await,
            Err(refusal) => give_refusal(session, &refusal, Dialect::Chat, request).await,
        }
    }

    /// The upstream's body of a completion, and the decision about it.
    fn routed(&self, guest: &Guest, body: &Bytes) -> Result<(Vec<u8>, Decision), Refusal> {
        let known = |name: &str| self.router.category(name).is_some();
        let completion = Completion::read(body, &known).map_err(Refusal::BadRequest)?;
        let decision = self.decision(guest, &completion)?;
        Ok((completion.upstream_body(&decision.model), decision))
    }

    fn decision(&self, guest: &Guest, completion: &Completion<'_>) -> Result<Decision, Refusal> {
        let features = completion.features();
        let Some(model) = completion.model() else {
            let list = self.listed();
            let offer = self.offer(guest);
            let allowed = |model: &str| offer.has(model);
            return self
                .router
                .decide(&features, completion.category(), list.as_deref(), &allowed)
                .map_err(Refusal::NoModel);
        };
        if !guest.may_ask_for(Some(model), &[]) {
            self.pot.refused_to(guest.spender(), ClientRefusal::Model);
            return Err(Refusal::ClientModel);
        }
        let (category, _, signals) = match completion.category() {
            Some(named) => (named, String::new(), Vec::new()),
            None => self.router.classify(&features),
        };
        let reason = "the request names the model".to_owned();
        Ok(Decision { category: category.into(), model: model.into(), reason, signals, passed_over: Vec::new() })
    }

    /// What the upstream lists, where that is known. Not waited for: nothing here depends on the upstream.
    fn listed(&self) -> Option<std::sync::Arc<PriceList>> {
        Some(self.pot.prices().list()).filter(|list| list.is_current(self.pot.clock().now()))
    }

    fn categories(&self, guest: &Guest) -> Value {
        let list = self.listed();
        let may_use = self.offer(guest);
        let allowed = |model: &str| may_use.has(model);
        let offer = |offer: &Offer| {
            let why_not = self.router.stands(offer, list.as_deref(), &allowed);
            json!({
                "model": offer.model,
                "maxPromptUsd": offer.max_prompt.map(|usd| usd.to_decimal()),
                "maxCompletionUsd": offer.max_completion.map(|usd| usd.to_decimal()),
                "usable": why_not.is_none(),
                "reason": why_not.map(|why| why.to_string()),
            })
        };
        let categories = self.router.categories().iter().map(|category| {
            json!({
                "name": category.name,
                "description": category.description,
                "keywords": category.keywords,
                "models": category.models.iter().map(offer).collect::<Vec<_>>(),
            })
        });
        json!({"default": DEFAULT_CATEGORY, "categories": categories.collect::<Vec<_>>()})
    }
}

/// The body that goes up is written here, so its headers are, too.
fn describe_as_json(session: &mut ServerSession) {
    let head = session.req_header_mut();
    head.remove_header(&CONTENT_ENCODING);
    // The name and the value are constants.
    head.insert_header(CONTENT_TYPE, HeaderValue::from_static("application/json")).ok();
}

fn told(decision: &Decision) -> Value {
    let signals = decision
        .signals
        .iter()
        .map(|signal| json!({"category": signal.category, "weight": signal.weight, "explanation": signal.explanation}));
    let passed_over =
        decision.passed_over.iter().map(|(model, why)| json!({"model": model, "reason": why.to_string()}));
    json!({
        "model": decision.model,
        "category": decision.category,
        "reason": decision.reason,
        "signals": signals.collect::<Vec<_>>(),
        "passedOver": passed_over.collect::<Vec<_>>(),
    })
}

fn own(status: u16, body: &Value) -> Whole {
    Whole::json(status, body.to_string()).with(CACHE_CONTROL, HeaderValue::from_static("private, no-store"))
}
