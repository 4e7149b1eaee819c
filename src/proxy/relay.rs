//! Passing an answer on: byte for byte, at once, with the usage reader looking on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora_timeout::timeout;

use crate::clock::Tick;
use crate::money::{Outcome, Usd};
use crate::origin::OriginSession;
use crate::pot::{Attempt, Call};
use crate::telemetry::RequestOutcome;
use crate::upstream::{BodyShape, Opening, UsageReader};

use super::Proxy;
use super::ai::{Routing, Weave};
use super::answer::{self, Served};
use super::forward::{Accepted, poll_once};
use super::hangup::Hangup;
use super::passage::Passage;
use super::request::Request;

/// What an answer's reader is told of the request, and what its ledger line.
pub struct Told<'a> {
    /// For the ledger.
    pub call: &'a Arc<Call>,
    /// For the head.
    pub request: Request,
    /// When the request came.
    pub arrived: Tick,
    /// For the client.
    pub routing: Option<Box<Routing>>,
}

/// Whoever reads along.
trait Reader {
    /// Look at the next part of the body.
    fn see(&mut self, part: &[u8]);

    /// What the answer has cost, now that its body is whole.
    fn cost_at_end(&self) -> Option<Usd>;
}

impl Reader for Attempt {
    fn see(&mut self, part: &[u8]) {
        self.read(part);
    }

    fn cost_at_end(&self) -> Option<Usd> {
        self.cost_at_end()
    }
}

/// What is not booked is not read.
impl Reader for () {
    fn see(&mut self, _part: &[u8]) {}

    fn cost_at_end(&self) -> Option<Usd> {
        None
    }
}

/// Stream the answer of `accepted` to the client and book the attempt.
pub async fn run(
    proxy: &Proxy,
    session: &mut ServerSession,
    accepted: Accepted,
    mut attempt: Box<Attempt>,
    hangup: &mut Hangup<'_>,
    told: Told<'_>,
) -> Served {
    let Told { call, request, arrived, routing } = told;
    let head = accepted.head();
    let shape = shape(head);
    attempt.accepted(UsageReader::new(call.endpoint, shape));
    let weave = routing.and_then(|routing| Weave::new(*routing, shape, provider(head)));
    // What is added is not known yet, nor is how long it will be.
    let keeps_length = weave.is_none();
    let down = answer::relayed_head(head, session.req_header().version, request.answering(), keeps_length);
    let tells = (shape == BodyShape::Json && request.tells_cost()).then_some(request);
    let begun = Passage::new(proxy, Opening::new(shape)).of(arrived, weave, tells).begin(session, down).await;
    let Ok(mut passage) = begun else {
        attempt.close(Outcome::ClientGone);
        return Served::GONE;
    };
    let mut upstream = accepted.into_session();
    let outcome = pump(proxy, session, &mut upstream, hangup, arrived, &mut passage, &mut *attempt).await;
    attempt.close(outcome);
    end(proxy, upstream, outcome).await
}

/// Pass an answer on that is not booked (a job's result).
pub async fn unbooked(
    proxy: &Proxy,
    session: &mut ServerSession,
    accepted: Accepted,
    hangup: &mut Hangup<'_>,
    request: Request,
    arrived: Tick,
) -> Served {
    let head = accepted.head();
    let down = answer::relayed_head(head, session.req_header().version, request, true);
    let begun = Passage::new(proxy, Opening::new(shape(head))).begin(session, down).await;
    let mut upstream = accepted.into_session();
    let outcome = match begun {
        Ok(mut passage) => pump(proxy, session, &mut upstream, hangup, arrived, &mut passage, &mut ()).await,
        Err(_) => Outcome::ClientGone,
    };
    end(proxy, upstream, outcome).await
}

/// How long the end of an exchange may take that is broken off.
const FAREWELL: Duration = Duration::from_secs(1);

/// Parts of a body that have arrived together go out together, up to so many (as in Pingora's own proxy, which takes 4)...
const TOGETHER_MAX: usize = 16;
/// ...or so many bytes: beyond, one write more costs less than the copy.
const TOGETHER_MAX_BYTES: usize = 16 * 1024;

/// Move the body as it comes, without waiting for more, until one side ends.
async fn pump(
    proxy: &Proxy,
    session: &mut ServerSession,
    upstream: &mut OriginSession,
    hangup: &mut Hangup<'_>,
    arrived: Tick,
    passage: &mut Passage<'_>,
    reader: &mut impl Reader,
) -> Outcome {
    let outcome = loop {
        if hangup.is_due() {
            return Outcome::ClientGone;
        }
        if upstream.http.response_done() {
            break Outcome::Answered;
        }
        let part = if passage.only_looks() {
            poll_once(upstream.http.read_response_body())
        } else {
            tokio::select! {
                biased;
                part = upstream.http.read_response_body() => Some(part),
                () = hangup.wait(session) => return Outcome::ClientGone,
            }
        };
        let Some(part) = part else {
            match passage.stop_waiting(session, None).await {
                Ok(()) => continue,
                Err(_) => return Outcome::ClientGone,
            }
        };
        let first = match part {
            Ok(Some(first)) => first,
            Ok(None) => break Outcome::Answered,
            Err(_) => break Outcome::Broken,
        };
        reader.see(&first);
        let (parts, end) = at_hand(upstream, first, reader);
        let is_whole = end.map_or_else(|| upstream.http.response_done(), |end| end == Outcome::Answered);
        let cost = if is_whole && passage.wants_cost() { reader.cost_at_end() } else { None };
        let passed_on = tokio::select! {
            biased;
            passed_on = passage.pass_on(session, parts, cost) => passed_on,
            () = hangup.due() => return Outcome::ClientGone,
        };
        if passed_on.is_err() {
            return Outcome::ClientGone;
        }
        match end {
            Some(outcome) => break outcome,
            None if arrived.elapsed() > proxy.limits.upstream.total => break Outcome::Broken,
            None => {}
        }
    };
    let cost = if outcome == Outcome::Answered && passage.wants_cost() { reader.cost_at_end() } else { None };
    match passage.end(session, outcome, cost).await {
        Ok(()) => outcome,
        Err(_) => Outcome::ClientGone,
    }
}

/// A part of the body and what else has arrived by now, and how the body ended if it did.
fn at_hand(upstream: &mut OriginSession, first: Bytes, reader: &mut impl Reader) -> (Vec<Bytes>, Option<Outcome>) {
    let mut bytes = first.len();
    let mut parts = vec![first];
    while bytes < TOGETHER_MAX_BYTES && parts.len() <= TOGETHER_MAX && !upstream.http.response_done() {
        match poll_once(upstream.http.read_response_body()) {
            Some(Ok(Some(part))) => {
                reader.see(&part);
                bytes += part.len();
                parts.push(part);
            }
            Some(Ok(None)) => return (parts, Some(Outcome::Answered)),
            Some(Err(_)) => return (parts, Some(Outcome::Broken)),
            None => break,
        }
    }
    (parts, None)
}

async fn end(proxy: &Proxy, mut upstream: OriginSession, outcome: Outcome) -> Served {
    if outcome == Outcome::Answered {
        proxy.pot.origin().release(upstream).await;
        return Served { outcome: RequestOutcome::Answered, reusable: true };
    }
    // Nothing is owed to the upstream: what cannot be said to it in a moment is said by closing.
    drop(timeout(FAREWELL, upstream.http.shutdown()).await);
    // A body that was cut upstream must look cut to the client, so its connection ends here.
    let outcome = if outcome == Outcome::ClientGone { RequestOutcome::ClientGone } else { RequestOutcome::Broken };
    Served { outcome, reusable: false }
}

/// The provider, where the head names it.
fn provider(head: &ResponseHeader) -> Option<String> {
    head.headers.get("x-provider-name").and_then(|name| name.to_str().ok()).map(str::to_owned)
}

fn shape(head: &ResponseHeader) -> BodyShape {
    let header = |name| head.headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok()).unwrap_or_default();
    let (encoding, content) = (header(CONTENT_ENCODING), header(CONTENT_TYPE).trim_start());
    let is = |kind: &str| content.get(..kind.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(kind));
    if !(encoding.is_empty() || encoding.eq_ignore_ascii_case("identity")) {
        // We asked for identity; an encoded answer hides its cost, so it counts as unknown.
        BodyShape::Opaque
    } else if is("text/event-stream") {
        BodyShape::EventStream
    } else if is("application/json") || content.is_empty() {
        BodyShape::Json
    } else {
        BodyShape::Opaque
    }
}
