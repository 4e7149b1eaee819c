//! Writing answers: those passed on from the upstream and those potluck gives itself.

use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

use crate::telemetry::RequestOutcome;
use crate::upstream::{CORS, Dialect, RateLimit, Refusal, client_response_header, render, scrub};

use super::forward::HeldAnswer;
use super::request::Request;

/// How long the rest of an unread request is read and dropped, so that the client gets to see the refusal instead of
/// a reset connection.
const LINGER: Duration = Duration::from_secs(2);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// As its client saw it.
    pub outcome: RequestOutcome,
    /// The answer is complete and the next request may follow on the connection; otherwise it must be closed.
    pub reusable: bool,
}

impl Served {
    /// The client went away.
    pub const GONE: Self = Self { outcome: RequestOutcome::ClientGone, reusable: false };

    fn written(outcome: RequestOutcome, written: pingora::Result<()>) -> Self {
        match written {
            Ok(()) => Self { outcome, reusable: true },
            Err(_) => Self::GONE,
        }
    }
}

/// A whole answer in memory.
#[derive(Clone, Debug)]
pub struct Whole {
    /// Status code.
    pub status: u16,
    /// Headers besides framing, CORS and what is told of the request.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Whole {
    /// A JSON answer.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self { status, headers, body: body.into() }
    }

    /// The same with another header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Write it.
    pub async fn give(self, session: &mut ServerSession, request: Request) -> Served {
        Served::written(RequestOutcome::Answered, self.write(session, request).await)
    }

    async fn write(self, session: &mut ServerSession, request: Request) -> pingora::Result<()> {
        let head = self.head(request);
        let is_head = session.req_header().method == http::Method::HEAD;
        session.write_response_header(Box::new(head)).await?;
        let body = if is_head || self.bodiless() { Bytes::new() } else { self.body };
        session.write_response_body(body, true).await
    }

    fn bodiless(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    fn head(&self, request: Request) -> ResponseHeader {
        let mut head = blank_head(StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY));
        head.headers.reserve(self.headers.len() + 10);
        for (name, value) in &self.headers {
            head.headers.append(name.clone(), value.clone());
        }
        finish_head(&mut head.headers, request);
        if !self.bodiless() {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        head.into()
    }
}

/// Heads are put together outside Pingora's types, which read each name anew.
fn blank_head(status: StatusCode) -> Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    head
}

fn finish_head(head: &mut HeaderMap, request: Request) {
    for (name, value) in CORS {
        head.insert(name, value);
    }
    request.tell(head);
}

/// The head of an answer that is passed on: what the allow-list lets through, framed for this client. `keeps_length`: the
/// body will be as long as it is up there.
pub fn relayed_head(head: &ResponseHeader, client: Version, request: Request, keeps_length: bool) -> Parts {
    let mut down = blank_head(head.status);
    down.headers.reserve(head.headers.len() + 8);
    for (name, value) in head.headers.iter().filter(|(name, _)| client_response_header(name)) {
        down.headers.append(name.clone(), value.clone());
    }
    match head.headers.get(header::CONTENT_LENGTH).filter(|_| keeps_length) {
        Some(length) => {
            down.headers.insert(header::CONTENT_LENGTH, length.clone());
        }
        None if client == Version::HTTP_11 => {
            down.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        None => {}
    }
    finish_head(&mut down.headers, request);
    down
}

/// Give an answer potluck invented, in the dialect of the endpoint.
pub async fn give_refusal(
    session: &mut ServerSession,
    refusal: &Refusal,
    dialect: Dialect,
    request: Request,
) -> Served {
    let rendered = render(refusal, dialect);
    let mut answer = Whole::json(rendered.status, rendered.body);
    if let Some(seconds) = rendered.retry_after_s {
        answer = answer.with(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if rendered.status == 401 {
        answer = answer.with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"potluck\""));
    }
    if let Some(RateLimit { limit, remaining, reset }) = rendered.rate {
        answer = answer
            .with(HeaderName::from_static("x-ratelimit-limit"), HeaderValue::from(limit))
            .with(HeaderName::from_static("x-ratelimit-remaining"), HeaderValue::from(remaining))
            .with(HeaderName::from_static("x-ratelimit-reset"), HeaderValue::from(reset.as_millis()));
    }
    if let Some(allow) = rendered.allow {
        answer = answer.with(header::ALLOW, HeaderValue::from_static(allow));
    }
    let unread = !session.is_body_done();
    if unread {
        session.set_keepalive(None);
    }
    let mut served = Served::written(outcome_of(refusal), answer.write(session, request).await);
    if unread && served.reusable {
        served.reusable = false;
        session.set_total_drain_timeout(Some(LINGER));
        // Whatever comes of it, the connection is closed next.
        session.drain_request_body().await.ok();
    }
    served
}

/// Refuse what is not even a request: without a head nothing can be asked of the session, so its body's end is not known
/// and nothing of it is drained. The connection must be closed.
pub async fn give_unreadable(session: &mut ServerSession, refusal: &Refusal, request: Request) {
    let rendered = render(refusal, Dialect::Chat);
    let answer = Whole::json(rendered.status, rendered.body);
    // Whatever comes of it, the connection is closed next.
    session.write_error_response(answer.head(request), answer.body).await.ok();
}

/// How a refusal counts.
const fn outcome_of(refusal: &Refusal) -> RequestOutcome {
    match refusal {
        Refusal::NoKey { .. } | Refusal::OutOfAttempts => RequestOutcome::NoKey,
        Refusal::UpstreamUnreachable | Refusal::UpstreamTimeout => RequestOutcome::Unreachable,
        Refusal::UpstreamBroken => RequestOutcome::Broken,
        _ => RequestOutcome::Refused,
    }
}

impl HeldAnswer {
    /// Give the refusal to the client, rebuilt without anything of the donor's.
    pub async fn give(&self, session: &mut ServerSession, dialect: Dialect, request: Request) -> Served {
        // A redirect or an interim answer is nothing a client of an API can use.
        let status = if self.status >= 400 { self.status } else { StatusCode::BAD_GATEWAY.as_u16() };
        let mut answer = Whole::json(status, scrub(&self.body, dialect, status));
        for (name, value) in &self.headers {
            if client_response_header(name) && !matches!(*name, header::CONTENT_TYPE | header::CONTENT_ENCODING) {
                answer = answer.with(name.clone(), value.clone());
            }
        }
        Served::written(RequestOutcome::UpstreamError, answer.write(session, request).await)
    }
}
