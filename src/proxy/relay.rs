//! Passing an answer on: byte for byte, at once, with the usage reader looking on. Only an error that stands where the answer
//! should begin is held back until it is whole, and cleaned.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use pingora::http::ResponseHeader;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora_timeout::timeout;

use crate::clock::Tick;
use crate::money::{Outcome, RequestId};
use crate::origin::OriginSession;
use crate::pot::{Attempt, Call};
use crate::telemetry::RequestOutcome;
use crate::upstream::{BodyShape, Opening, UsageReader};

use super::Proxy;
use super::ai::{Routing, Weave};
use super::answer::{self, Served};
use super::forward::{Accepted, poll_once};
use super::hangup::Hangup;

/// What an answer's reader is told of the request, and what its ledger line.
pub struct Told<'a> {
    /// For the ledger.
    pub call: &'a Arc<Call>,
    /// When the request came.
    pub arrived: Tick,
    /// For the client.
    pub routing: Option<Box<Routing>>,
}

/// Stream the answer of `accepted` to the client and book the attempt.
pub async fn run(
    proxy: &Proxy,
    session: &mut ServerSession,
    accepted: Box<Accepted>,
    mut attempt: Box<Attempt>,
    hangup: &mut Hangup,
    told: Told<'_>,
) -> Served {
    let Told { call, arrived, routing } = told;
    let Accepted { session: mut upstream, mut head } = *accepted;
    let shape = shape(&head);
    attempt.accepted(UsageReader::new(call.endpoint, shape));
    let weave = routing.and_then(|routing| Weave::new(*routing, shape, provider(&head)));
    if weave.is_some() {
        // What is added is not known yet, nor is how long it will be.
        head.remove_header(&CONTENT_LENGTH);
    }
    let begun = match answer::relayed_head(&head, session.req_header().version, call.request) {
        Ok(down) => Passage::begin(proxy, session, down, Opening::new(shape), Some(arrived))
            .await
            .map(|passage| Passage { weave, ..passage }),
        Err(error) => Err(error),
    };
    let Ok(mut passage) = begun else {
        attempt.close(Outcome::ClientGone);
        return Served::GONE;
    };
    let outcome = pump(proxy, session, &mut upstream, hangup, arrived, &mut passage, |part| attempt.read(part)).await;
    attempt.close(outcome);
    end(proxy, upstream, outcome).await
}

/// Pass an answer on that is not booked (a job's result).
pub async fn unbooked(
    proxy: &Proxy,
    session: &mut ServerSession,
    accepted: Box<Accepted>,
    hangup: &mut Hangup,
    request: RequestId,
    arrived: Tick,
) -> Served {
    let Accepted { session: mut upstream, head } = *accepted;
    let begun = match answer::relayed_head(&head, session.req_header().version, request) {
        Ok(down) => Passage::begin(proxy, session, down, Opening::new(shape(&head)), None).await,
        Err(error) => Err(error),
    };
    let outcome = match begun {
        Ok(mut passage) => pump(proxy, session, &mut upstream, hangup, arrived, &mut passage, |_| {}).await,
        Err(_) => Outcome::ClientGone,
    };
    end(proxy, upstream, outcome).await
}

/// What goes to the client.
struct Passage<'a> {
    proxy: &'a Proxy,
    opening: Opening,
    /// A head that waits for the opening: it promises a length, and that must be right.
    waiting: Option<Waiting>,
    /// When the request arrived, where the first byte's time is measured.
    arrived: Option<Tick>,
    /// Adds what the router decided.
    weave: Option<Weave>,
}

/// A head that is not written yet, and what follows it.
struct Waiting {
    head: ResponseHeader,
    length: usize,
    received: usize,
    behind: BytesMut,
}

impl<'a> Passage<'a> {
    /// Write the head. One that promises a length waits for the opening to be looked at, which costs nothing: where the length
    /// is known beforehand, the body is there as well.
    async fn begin(
        proxy: &'a Proxy,
        session: &mut ServerSession,
        head: ResponseHeader,
        opening: Opening,
        arrived: Option<Tick>,
    ) -> pingora::Result<Self> {
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let mut passage = Self { proxy, opening, waiting: None, arrived, weave: None };
        match length {
            Some(length) if !passage.opening.is_over() => {
                passage.waiting = Some(Waiting { head, length, received: 0, behind: BytesMut::new() });
            }
            _ => passage.write_head(session, head).await?,
        }
        Ok(passage)
    }

    /// Pingora's own deadline for writes holds for bodies only.
    async fn write_head(&self, session: &mut ServerSession, head: ResponseHeader) -> pingora::Result<()> {
        match timeout(self.proxy.limits.write_timeout, session.write_response_header(Box::new(head))).await {
            Ok(written) => written?,
            Err(_) => {
                return pingora::Error::e_explain(pingora::ErrorType::WriteTimedout, "the client does not read");
            }
        }
        if let Some(arrived) = self.arrived {
            self.proxy.pot.metrics().time_to_first_byte(arrived.elapsed());
        }
        Ok(())
    }

    /// Pass on parts of the body that have come together.
    async fn pass_on(&mut self, session: &mut ServerSession, mut parts: Vec<Bytes>) -> pingora::Result<()> {
        if self.opening.is_over() && self.waiting.is_none() {
            return write(session, self.woven(parts)).await;
        }
        let received = parts.iter().map(Bytes::len).sum::<usize>();
        parts = parts.into_iter().map(|part| self.opening.push(part)).filter(|part| !part.is_empty()).collect();
        if let Some(waiting) = &mut self.waiting {
            waiting.received += received;
            parts.iter().for_each(|part| waiting.behind.extend_from_slice(part));
            return if self.opening.is_over() { self.stop_waiting(session).await } else { Ok(()) };
        }
        write(session, self.woven(parts)).await
    }

    /// The same parts with what the router decided in its place.
    fn woven(&mut self, parts: Vec<Bytes>) -> Vec<Bytes> {
        let Some(weave) = &mut self.weave else { return parts };
        let elapsed = self.arrived.map(Tick::elapsed).unwrap_or_default();
        let mut woven = Vec::with_capacity(parts.len() + 2);
        parts.into_iter().for_each(|part| weave.push(part, elapsed, &mut woven));
        woven
    }

    /// The body is over, in order or not. What is still held back of one that broke off is nothing anybody could use.
    async fn end(&mut self, session: &mut ServerSession, outcome: Outcome) -> pingora::Result<()> {
        let rest = if outcome == Outcome::Answered { self.opening.finish() } else { Bytes::new() };
        if let Some(waiting) = &mut self.waiting {
            waiting.behind.extend_from_slice(&rest);
            return self.stop_waiting(session).await;
        }
        let mut parts = if rest.is_empty() { Vec::new() } else { self.woven(vec![rest]) };
        if let Some(weave) = &mut self.weave {
            let elapsed = self.arrived.map(Tick::elapsed).unwrap_or_default();
            weave.finish(outcome == Outcome::Answered, elapsed, &mut parts);
        }
        write(session, parts).await
    }

    /// Write the head that has waited, with the length that the body will have, and what has come of the body.
    async fn stop_waiting(&mut self, session: &mut ServerSession) -> pingora::Result<()> {
        let Some(Waiting { mut head, length, received, behind }) = self.waiting.take() else { return Ok(()) };
        // A body that broke off keeps the length that was promised, so that it is missed.
        if self.opening.is_over() {
            let length = length.saturating_sub(received).saturating_add(behind.len());
            head.insert_header(CONTENT_LENGTH, HeaderValue::from(length))?;
        }
        self.write_head(session, head).await?;
        if behind.is_empty() { Ok(()) } else { write(session, vec![behind.freeze()]).await }
    }
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
    hangup: &mut Hangup,
    arrived: Tick,
    passage: &mut Passage<'_>,
    mut look: impl FnMut(&[u8]),
) -> Outcome {
    let outcome = loop {
        if hangup.is_due() {
            return Outcome::ClientGone;
        }
        if upstream.http.response_done() {
            break Outcome::Answered;
        }
        let part = tokio::select! {
            biased;
            part = upstream.http.read_response_body() => part,
            () = hangup.wait(session) => return Outcome::ClientGone,
        };
        let first = match part {
            Ok(Some(first)) => first,
            Ok(None) => break Outcome::Answered,
            Err(_) => break Outcome::Broken,
        };
        look(&first);
        let (parts, end) = at_hand(upstream, first, &mut look);
        let passed_on = tokio::select! {
            biased;
            passed_on = passage.pass_on(session, parts) => passed_on,
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
    match passage.end(session, outcome).await {
        Ok(()) => outcome,
        Err(_) => Outcome::ClientGone,
    }
}

/// A part of the body and what else has arrived by now, and how the body ended if it did.
fn at_hand(upstream: &mut OriginSession, first: Bytes, look: &mut impl FnMut(&[u8])) -> (Vec<Bytes>, Option<Outcome>) {
    let mut bytes = first.len();
    let mut parts = vec![first];
    while bytes < TOGETHER_MAX_BYTES && parts.len() <= TOGETHER_MAX && !upstream.http.response_done() {
        match poll_once(upstream.http.read_response_body()) {
            Some(Ok(Some(part))) => {
                look(&part);
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

async fn write(session: &mut ServerSession, mut parts: Vec<Bytes>) -> pingora::Result<()> {
    match parts.len() {
        0 => Ok(()),
        1 => session.write_response_body(parts.swap_remove(0), false).await,
        _ => {
            let tasks = parts.into_iter().map(|part| HttpTask::Body(Some(part), false)).collect();
            session.response_duplex_vec(tasks).await.map(drop)
        }
    }
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
    let header = |name| head.headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok()).unwrap_or_default();
    let encoding = header("content-encoding");
    let content = header("content-type").trim_start().to_ascii_lowercase();
    if !(encoding.is_empty() || encoding.eq_ignore_ascii_case("identity")) {
        // We asked for identity; an encoded answer hides its cost, so it counts as unknown.
        BodyShape::Opaque
    } else if content.starts_with("text/event-stream") {
        BodyShape::EventStream
    } else if content.starts_with("application/json") || content.is_empty() {
        BodyShape::Json
    } else {
        BodyShape::Opaque
    }
}
