//! The router behind a Pingora listener: requests are read whole and within bounds; answers are written piece by piece,
//! and one that cannot be finished looks broken.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Uri, Version, header};
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora::{Error, ErrorType};
use tokio::time::timeout;
use tower::ServiceExt;

use crate::config::Config;
use crate::pot::Pot;
use crate::proxy::chunks::Ambiguous;
use crate::proxy::gate::Gate;
use crate::proxy::head::{self, HeadFault, HeadLimits};
use crate::proxy::wire::{self, Wire};

use super::refused::Refused;
use super::{Caller, Options, router, seal};

/// How long callers may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For a whole head, from the connection on.
    head: Duration,
    /// For the next head on a kept connection.
    idle: Duration,
    /// For a whole body; there is none of more than a few kilobytes.
    body: Duration,
    /// To take one piece of an answer.
    write: Duration,
    /// To finish sending a refused body, which is read and dropped so that the caller sees the answer.
    linger: Duration,
}

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(60),
    body: Duration::from_secs(10),
    write: Duration::from_secs(30),
    linger: Duration::from_secs(2),
};
const HEAD_LIMITS: HeadLimits = HeadLimits { bytes: 16 * 1024, fields: 100 };
const CONNECTIONS_MAX: usize = 256;
const CONNECTIONS_PER_ADDRESS_MAX: usize = 128;

/// The admin API as a Pingora application.
pub struct AdminApp {
    api: Arc<Api>,
    gate: Arc<Gate>,
}

impl AdminApp {
    /// The admin API over `pot`.
    pub fn new(pot: Arc<Pot>, config: &Config) -> Self {
        let options = Options::new(&config.admin);
        Self::over(router(pot, options), config.admin.body_max_bytes, PATIENCE)
    }

    fn over(router: Router, body_max_bytes: usize, patience: Patience) -> Self {
        let api = Api { router, body_max_bytes, patience };
        Self { api: Arc::new(api), gate: Gate::new(CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX) }
    }
}

#[async_trait]
impl ServerApp for AdminApp {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let digest = stream.get_socket_digest();
        let address = digest.and_then(|digest| digest.peer_addr()?.as_inet().map(|peer| peer.ip()));
        let _entered = self.gate.enter(address)?;
        self.api.process_new(Wire::wrap(stream), shutdown).await
    }
}

struct Api {
    router: Router,
    body_max_bytes: usize,
    patience: Patience,
}

/// A kept connection: it has had a request before.
struct Kept;

/// A request body, as far as it was read.
struct Read {
    bytes: Bytes,
    whole: bool,
}

#[async_trait]
impl HttpServerApp for Api {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.await_head(&mut session, shutdown).await?;
        session.set_write_timeout(Some(self.patience.write));
        let stays = self.serve(&mut session).await && !*shutdown.borrow();
        if !stays {
            session.set_keepalive(None);
            session.set_total_drain_timeout(Some(self.patience.linger));
            // Whatever comes of it, the connection is closed next.
            session.drain_request_body().await.ok();
            session.shutdown().await;
            return None;
        }
        let mut settings = HttpPersistentSettings::for_session(&session);
        settings.set_user_context(Box::new(Kept));
        let stream = session.finish().await.ok().flatten()?;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

impl Api {
    /// Wait for a whole head within one deadline; Pingora's own is per read. At shutdown, stop waiting.
    async fn await_head(&self, session: &mut ServerSession, shutdown: &ShutdownWatch) -> Option<()> {
        wire::head_begins(session);
        let kept = session.take_connection_user_context().is_some();
        let deadline = if kept { self.patience.idle } else { self.patience.head };
        let mut shutdown = shutdown.clone();
        let read = tokio::select! {
            biased;
            read = timeout(deadline, session.read_request()) => read.ok()?,
            _ = shutdown.wait_for(|down| *down) => return None,
        };
        match read {
            Ok(came) => came.then_some(()),
            Err(error) => {
                if matches!(error.etype(), ErrorType::InvalidHTTPHeader) {
                    session.set_keepalive(None);
                    let refused = Refused::Head(HeadFault::Syntax.describe());
                    // Whatever comes of it, the connection is closed next.
                    write(session, refuse(refused), false).await.ok();
                }
                session.shutdown().await;
                None
            }
        }
    }

    /// Serve one request; whether the connection is fit for another.
    async fn serve(self: &Arc<Self>, session: &mut ServerSession) -> bool {
        let (answer, fit) = match self.read(session).await {
            Ok((request, whole)) => (self.ask(request).await, whole),
            Err(refused) => (refuse(refused), false),
        };
        // To an HTTP/1.0 client the end of an answer of unknown length is the end of the connection.
        let fit = fit && (speaks_chunks(session) || answer.body().size_hint().exact().is_some());
        session.set_keepalive(fit.then_some(self.patience.idle.as_secs()));
        let bodiless = session.req_header().method == Method::HEAD;
        write(session, answer, bodiless).await.is_ok() && fit
    }

    async fn read(&self, session: &mut ServerSession) -> Result<(Request<Body>, bool), Refused> {
        let Some(h1) = session.as_http1() else { return Err(Refused::Head("only HTTP/1.1 is spoken here")) };
        head::check(&h1.get_headers_raw_bytes(), session.req_header().version, HEAD_LIMITS)
            .map_err(|fault| Refused::Head(fault.describe()))?;
        wire::body_begins(session).map_err(|_| Refused::Head(Ambiguous::DESCRIPTION))?;
        let target = Uri::try_from(session.req_header().raw_path())
            .map_err(|_| Refused::Head("the request target is not well-formed"))?;
        let body = timeout(self.patience.body, self.read_body(session)).await.map_err(|_| Refused::BodyBroken)??;
        let head = session.req_header();
        let mut request = Request::new(Body::from(body.bytes));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = target;
        *request.headers_mut() = head.headers.clone();
        if let Some(address) = caller(session) {
            request.extensions_mut().insert(Caller(address));
        }
        Ok((request, body.whole))
    }

    /// Read a body up to one byte more than is allowed: the router refuses it then, after its guards.
    async fn read_body(&self, session: &mut ServerSession) -> Result<Read, Refused> {
        let mut bytes = BytesMut::new();
        loop {
            let chunk = match session.read_request_body().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if wire::body_is_whole(session) => break,
                Ok(None) | Err(_) if wire::is_ambiguous(session) => return Err(Refused::Head(Ambiguous::DESCRIPTION)),
                Ok(None) | Err(_) => return Err(Refused::BodyBroken),
            };
            let room = self.body_max_bytes + 1 - bytes.len();
            bytes.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
            if bytes.len() > self.body_max_bytes {
                return Ok(Read { bytes: bytes.freeze(), whole: false });
            }
        }
        Ok(Read { bytes: bytes.freeze(), whole: true })
    }

    /// Ask the router, in a task of its own: a caller that hangs up does not stop a write half-way, and a panic stays
    /// in there.
    async fn ask(&self, request: Request<Body>) -> Response {
        let answer = tokio::spawn(self.router.clone().oneshot(request)).await;
        match answer {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_panicked) => refuse(Refused::Internal),
        }
    }
}

fn caller(session: &ServerSession) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip())
}

/// Whether the client understands a body in chunks.
fn speaks_chunks(session: &ServerSession) -> bool {
    session.req_header().version == Version::HTTP_11
}

/// A refusal that does not come from the router.
fn refuse(refused: Refused) -> Response {
    let mut response = refused.into_response();
    seal(&mut response);
    response
}

async fn write(session: &mut ServerSession, answer: Response, bodiless: bool) -> pingora::Result<()> {
    let (parts, mut body) = answer.into_parts();
    let mut head = ResponseHeader::build_no_case(parts.status, Some(parts.headers.len() + 2))?;
    for (name, value) in &parts.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    if !parts.headers.contains_key(header::CONTENT_LENGTH) {
        match body.size_hint().exact() {
            Some(length) => head.insert_header(header::CONTENT_LENGTH, length)?,
            None if speaks_chunks(session) => {
                head.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
            }
            None => {}
        }
    }
    session.write_response_header(Box::new(head)).await?;
    if bodiless {
        return session.write_response_body(Bytes::new(), true).await;
    }
    while let Some(piece) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        // What breaks off in the middle must not look whole: the body's end is not written then.
        let piece = piece.map_err(|why| Error::because(ErrorType::InternalError, "the answer broke off", why))?;
        if let Ok(data) = piece.into_data() {
            session.write_response_body(data, false).await?;
        }
    }
    session.write_response_body(Bytes::new(), true).await
}

#[cfg(test)]
mod tests;
