//! One attempt on the wire: connect, send, wait for the head; a refusal is read to its end before anything is decided.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::InvalidUri;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType};

use crate::clock::Tick;
use crate::money::{GenerationId, Outcome};
use crate::origin::OriginSession;
use crate::pot::Progress;
use crate::upstream::{Refusal, upstream_request_headers};

use super::Proxy;
use super::hangup::Hangup;

/// How much of a body is written before looking whether the upstream has answered already.
const SLICE: usize = 256 * 1024;
/// Interim (1xx) answers before the real one; more are an upstream gone wrong.
const INTERIM_MAX: usize = 16;
static GENERATION: HeaderName = HeaderName::from_static("x-generation-id");

/// Time limits towards the upstream.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamLimits {
    /// From the end of the request to the answer's head.
    pub first_byte: Duration,
    /// Between two reads of a body, and for one write.
    pub idle: Duration,
    /// From the client's request to the answer's last byte: padding keeps a dead answer alive for ever otherwise.
    pub total: Duration,
    /// How long an answer's head is still waited for after the client left, to learn what is being billed.
    pub hangup_grace: Duration,
    /// The most of a refusal's body that is read, in bytes.
    pub refusal_bytes: usize,
}

/// What is sent up.
pub struct Outgoing<'a> {
    /// The method.
    pub method: Method,
    /// The constant target.
    pub target: &'a str,
    /// `Bearer <key>`, sensitive.
    pub bearer: HeaderValue,
    /// The body as received; `None` for a GET.
    pub body: Option<Bytes>,
    /// When the client's request arrived: the total deadline counts from there.
    pub arrived: Tick,
}

/// A 2xx head has arrived; the body is still to come.
pub struct Accepted(Box<OriginSession>);

impl Accepted {
    /// The head.
    pub fn head(&self) -> &ResponseHeader {
        self.0.http.response_header().expect("made when a head has been read")
    }

    /// The connection, to read the body from.
    pub fn into_session(self) -> OriginSession {
        *self.0
    }
}

/// A whole refusal, held back until it is judged.
#[derive(Debug)]
pub struct HeldAnswer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, cut at the bound.
    pub body: Bytes,
}

impl HeldAnswer {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection; nothing was sent.
    Unreachable,
    /// Sent, but no answer in time.
    TimedOut,
    /// Sent, and the connection broke or spoke nonsense.
    Broken,
}

impl Failure {
    /// For the ledger.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Unreachable => Outcome::Unreachable,
            Self::TimedOut | Self::Broken => Outcome::Broken,
        }
    }

    /// For the client.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Unreachable => Refusal::UpstreamUnreachable,
            Self::TimedOut => Refusal::UpstreamTimeout,
            Self::Broken => Refusal::UpstreamBroken,
        }
    }
}

/// How an attempt went.
pub enum Tried {
    /// An answer to pass on.
    Accepted(Accepted),
    /// An answer to judge.
    Refused(HeldAnswer),
    /// No answer.
    Failed(Failure),
    /// The client left meanwhile; a refusal may have come all the same.
    Gone(Option<HeldAnswer>),
}

/// Make one attempt, ending it at once when the client goes away.
pub async fn attempt(
    proxy: &Proxy,
    session: &mut ServerSession,
    books: &mut impl Progress,
    outgoing: Outgoing<'_>,
    hangup: &mut Hangup<'_>,
) -> Tried {
    let head = match request_head(proxy, &session.req_header().headers, &outgoing) {
        Ok(head) => head,
        Err(error) => {
            tracing::error!(%error, "the upstream request could not be built");
            return Tried::Failed(Failure::Broken);
        }
    };
    let whole = AtomicBool::new(false);
    let mut exchange = std::pin::pin!(exchange(proxy, books, head, outgoing, &whole));
    tokio::select! {
        biased;
        tried = &mut exchange => return tried,
        () = hangup.wait(session) => {}
    }
    hangup.hang_up(session).await;
    if !whole.load(Ordering::Relaxed) {
        // Nobody can act on half a request, and nobody waits for the answer to the other half.
        return Tried::Gone(None);
    }
    // Cut off now, the request may be billed and nobody could ever tell how much. The head names the generation and
    // comes as soon as a provider has accepted, so it is waited for a little; then the connection is closed.
    match tokio::time::timeout(proxy.limits.upstream.hangup_grace, exchange).await {
        Ok(Tried::Refused(answer)) => Tried::Gone(Some(answer)),
        Ok(_) | Err(_) => Tried::Gone(None),
    }
}

async fn exchange(
    proxy: &Proxy,
    books: &mut impl Progress,
    head: Box<RequestHeader>,
    outgoing: Outgoing<'_>,
    whole: &AtomicBool,
) -> Tried {
    let mut upstream = match proxy.pot.origin().connect().await {
        Ok(upstream) => upstream,
        Err(error) => {
            tracing::warn!(error = %error, "no connection to the upstream");
            return Tried::Failed(Failure::Unreachable);
        }
    };
    let limits = proxy.limits.upstream;
    upstream.http.set_write_timeout(Some(limits.idle));
    upstream.http.set_read_timeout(Some(limits.first_byte));
    let last = || {
        whole.store(true, Ordering::Relaxed);
        books.sent();
    };
    // A server that refuses early may close its reading side; its answer is worth more than our write error.
    upstream.request_whole = send(&mut upstream, head, outgoing.body, last).await.unwrap_or(false);
    if let Err(error) = receive_head(&mut upstream).await {
        proxy.pot.origin().distrust(&upstream);
        return Tried::Failed(failure(&error));
    }
    let Some(head) = upstream.http.response_header() else { return Tried::Failed(Failure::Broken) };
    let generation = head.headers.get(&GENERATION).and_then(|id| GenerationId::parse(id.as_bytes()));
    proxy.pot.heard_time(&head.headers);
    books.answered(head.status.as_u16(), generation);
    if head.status.is_success() {
        upstream.http.set_read_timeout(Some(limits.idle));
        return Tried::Accepted(Accepted(Box::new(upstream)));
    }
    let (status, headers) = (head.status.as_u16(), head.headers.clone());
    let body = read_refusal(proxy, upstream, outgoing.arrived).await;
    Tried::Refused(HeldAnswer { status, headers, body })
}

fn failure(error: &Error) -> Failure {
    match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::TimedOut,
        _ => Failure::Broken,
    }
}

/// The head that goes up: our constants, the client's allowed headers, one credential, inserted last. Put together outside
/// Pingora's types, which read each name anew.
fn request_head(proxy: &Proxy, client: &HeaderMap, outgoing: &Outgoing<'_>) -> Result<Box<RequestHeader>, InvalidUri> {
    let origin = proxy.pot.origin();
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = outgoing.method.clone();
    head.uri = Uri::try_from(&*origin.target(outgoing.target))?;
    let headers = &mut head.headers;
    headers.reserve(16);
    headers.insert(header::HOST, origin.host_header());
    for (name, value) in upstream_request_headers(client) {
        headers.append(name.clone(), value.clone());
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(body) = &outgoing.body {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    headers.insert(header::AUTHORIZATION, outgoing.bearer.clone());
    Ok(Box::new(head.into()))
}

/// Send the request; whether it went out whole. A big body goes in slices, so that an early refusal is noticed and the rest
/// is saved. `last` is called before the last byte goes: from then on the request may have been acted on.
async fn send(
    upstream: &mut OriginSession,
    head: Box<RequestHeader>,
    body: Option<Bytes>,
    last: impl FnOnce(),
) -> pingora::Result<bool> {
    let mut rest = body.unwrap_or_default();
    if rest.is_empty() {
        last();
        let http = &mut upstream.http;
        http.write_request_header(head).await?;
        http.write_request_body(rest, true).await?;
        http.finish_request_body().await?;
        return Ok(true);
    }
    upstream.hold();
    upstream.http.write_request_header(head).await?;
    upstream.let_go();
    let http = &mut upstream.http;
    while rest.len() > SLICE {
        let slice = rest.split_to(SLICE);
        http.write_request_body(slice, false).await?;
        if let Some(early) = poll_once(http.read_response_header()) {
            early?;
            // An interim answer refuses nothing.
            if http.response_header().is_some_and(|head| !head.status.is_informational()) {
                return Ok(false);
            }
        }
    }
    last();
    http.write_request_body(rest, true).await?;
    http.finish_request_body().await?;
    Ok(true)
}

/// Poll a future once; reading is cancel-safe in Pingora, so nothing is lost when it is not ready.
pub(super) fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// Read the head of the answer, past interim ones.
async fn receive_head(upstream: &mut OriginSession) -> pingora::Result<()> {
    for _ in 0..INTERIM_MAX {
        if upstream.http.response_header().is_none_or(|head| head.status.is_informational()) {
            upstream.http.read_response_header().await?;
        }
        match upstream.http.response_header() {
            Some(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => break,
            Some(head) if !head.status.is_informational() => return Ok(()),
            _ => {}
        }
    }
    Error::e_explain(ErrorType::InvalidHTTPHeader, "no final answer from the upstream")
}

/// Read a refusal's body to its end or to the bound, within the deadline. What arrived by then is judged.
async fn read_refusal(proxy: &Proxy, mut upstream: OriginSession, arrived: Tick) -> Bytes {
    let limits = proxy.limits.upstream;
    upstream.http.set_read_timeout(Some(limits.idle));
    let mut body = BytesMut::new();
    let mut whole = false;
    while arrived.elapsed() < limits.total && body.len() < limits.refusal_bytes {
        match upstream.http.read_response_body().await {
            Ok(Some(chunk)) => {
                let room = limits.refusal_bytes - body.len();
                body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            }
            Ok(None) => {
                whole = true;
                break;
            }
            Err(_) => break,
        }
    }
    if whole {
        proxy.pot.origin().release(upstream).await;
    }
    body.freeze()
}
