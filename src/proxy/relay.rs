//! Passing an answer on: byte for byte, at once, with the usage reader looking on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora_timeout::timeout;

use crate::clock::Tick;
use crate::money::{Outcome, RequestId};
use crate::origin::OriginSession;
use crate::pot::{Attempt, Call};
use crate::telemetry::RequestOutcome;
use crate::upstream::{BodyShape, Reading, UsageReader};

use super::Proxy;
use super::answer::{self, Served};
use super::forward::{Accepted, poll_once};
use super::hangup::Hangup;

/// Stream the answer of `accepted` to the client and book the attempt.
pub async fn run(
    proxy: &Proxy,
    session: &mut ServerSession,
    accepted: Box<Accepted>,
    mut attempt: Box<Attempt>,
    hangup: &mut Hangup,
    call: &Arc<Call>,
    arrived: Tick,
) -> (Served, Option<Reading>) {
    let Accepted { session: mut upstream, head } = *accepted;
    attempt.accepted(UsageReader::new(call.endpoint, shape(&head)));
    let sent = match answer::relayed_head(&head, session.req_header().version, call.request) {
        Ok(down) => write_head(proxy, session, down).await,
        Err(error) => Err(error),
    };
    if sent.is_err() {
        return (Served::GONE, attempt.close(Outcome::ClientGone));
    }
    proxy.pot.metrics().time_to_first_byte(arrived.elapsed());
    let outcome = pump(proxy, session, &mut upstream, hangup, arrived, |chunk| attempt.read(chunk)).await;
    let reading = attempt.close(outcome);
    (end(proxy, upstream, outcome).await, reading)
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
    let sent = match answer::relayed_head(&head, session.req_header().version, request) {
        Ok(down) => write_head(proxy, session, down).await,
        Err(error) => Err(error),
    };
    let outcome = match sent {
        Ok(()) => pump(proxy, session, &mut upstream, hangup, arrived, |_| {}).await,
        Err(_) => Outcome::ClientGone,
    };
    end(proxy, upstream, outcome).await
}

/// Pingora's own deadline for writes holds for bodies only.
async fn write_head(proxy: &Proxy, session: &mut ServerSession, head: ResponseHeader) -> pingora::Result<()> {
    match timeout(proxy.limits.write_timeout, session.write_response_header(Box::new(head))).await {
        Ok(written) => written,
        Err(_) => pingora::Error::e_explain(pingora::ErrorType::WriteTimedout, "the client does not read"),
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
    mut look: impl FnMut(&[u8]),
) -> Outcome {
    while !upstream.http.response_done() {
        let part = tokio::select! {
            biased;
            part = upstream.http.read_response_body() => part,
            () = hangup.wait(session) => return Outcome::ClientGone,
        };
        let first = match part {
            Ok(Some(first)) => first,
            Ok(None) => break,
            Err(_) => return Outcome::Broken,
        };
        look(&first);
        let (more, end) = at_hand(upstream, first.len(), &mut look);
        if pass_on(session, first, more).await.is_err() {
            return Outcome::ClientGone;
        }
        match end {
            Some(outcome) => return outcome,
            None if arrived.elapsed() > proxy.limits.upstream.total => return Outcome::Broken,
            None => {}
        }
    }
    Outcome::Answered
}

/// What else has arrived by now, and how the body ended if it did.
fn at_hand(
    upstream: &mut OriginSession,
    mut bytes: usize,
    look: &mut impl FnMut(&[u8]),
) -> (Vec<HttpTask>, Option<Outcome>) {
    let mut more = Vec::new();
    while bytes < TOGETHER_MAX_BYTES && more.len() < TOGETHER_MAX && !upstream.http.response_done() {
        match poll_once(upstream.http.read_response_body()) {
            Some(Ok(Some(part))) => {
                look(&part);
                bytes += part.len();
                more.push(HttpTask::Body(Some(part), false));
            }
            Some(Ok(None)) => return (more, Some(Outcome::Answered)),
            Some(Err(_)) => return (more, Some(Outcome::Broken)),
            None => break,
        }
    }
    (more, None)
}

async fn pass_on(session: &mut ServerSession, first: Bytes, mut more: Vec<HttpTask>) -> pingora::Result<()> {
    if more.is_empty() {
        return session.write_response_body(first, false).await;
    }
    more.insert(0, HttpTask::Body(Some(first), false));
    session.response_duplex_vec(more).await.map(drop)
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
