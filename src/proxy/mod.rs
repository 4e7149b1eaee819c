//! The proxy listener: a Pingora application that serves the drop-in API.
//!
//! Not built on Pingora's `ProxyHttp`: its retry buffer ends at 64 KiB, it cannot hold a refusal back until its body
//! is judged, and its header deadline is per read. Pingora's listeners, sessions, codecs and connectors are used as
//! they are; the exchange between them is potluck's own (`exchange`), and is a plain loop.

mod ai;
mod answer;
mod body;
mod budget;
pub(crate) mod chunks;
mod door;
mod exchange;
mod forward;
pub(crate) mod gate;
mod hangup;
pub(crate) mod head;
mod hunt;
mod intake;
mod jobs;
mod lists;
mod own;
mod passage;
mod quote;
mod relay;
mod request;
mod search;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::ErrorType;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::ShutdownWatch;
// tokio's own timer wakes its thread by a system call for every timer that is the next one.
use pingora_timeout::timeout;

use crate::clients::routing::Router;
use crate::config::{Clients, Config};
use crate::money::{RequestId, Usd};
use crate::origin::PublicCache;
use crate::pot::{Guest, Pot};
use crate::telemetry::RequestOutcome;
use crate::upstream::{AiCall, Dialect, Endpoint, PREFLIGHT, Refusal, Route, route};

use answer::{Served, Whole, give_refusal, give_unreadable};
use body::{BodyBudget, BodyLimits};
use forward::UpstreamLimits;
use gate::Gate;
use head::{HeadFault, HeadLimits};
use hunt::HuntLimits;
use request::{Request, Shown};
use wire::Wire;

/// HTTP/2 multiplies what a client can make us hold, so its limits are tighter than HTTP/1's
/// (`reliability.md` section 0, finding 6).
const H2_HEAD_MAX_BYTES: u32 = 16 * 1024;
/// Streams of one connection at a time.
const H2_STREAMS_MAX: u32 = 32;
/// Streams that were reset and are still remembered, before the connection is closed.
const H2_RESETS_MAX: usize = 20;

/// Shutting down: a connection that was accepted just before gets this long to show its first request. Less than the
/// drain waits before it counts what is under way.
const LAST_HEAD: Duration = Duration::from_millis(200);

/// Every bound of the proxy listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    head: HeadLimits,
    /// The whole head of a connection's first request.
    head_timeout: Duration,
    /// From one answer to the next request's whole head.
    idle_timeout: Duration,
    body: BodyLimits,
    write_timeout: Duration,
    hunt: HuntLimits,
    upstream: UpstreamLimits,
    /// What a request counts as whose cost cannot be bounded; `None` refuses it on keys with limits on money.
    default_bound: Option<Usd>,
    /// Whether a request that is too dear is made smaller rather than refused.
    clamp_max_tokens: bool,
}

impl Limits {
    fn new(config: &Config) -> Self {
        let (proxy, upstream) = (&config.proxy, &config.upstream);
        Self {
            head: HeadLimits { bytes: proxy.head_max_bytes, fields: proxy.head_max_fields },
            head_timeout: proxy.head_timeout,
            idle_timeout: proxy.idle_timeout,
            body: BodyLimits {
                bytes: proxy.body_max_bytes,
                silence: proxy.body_timeout,
                bytes_per_second: proxy.body_min_rate_bytes_per_s,
            },
            write_timeout: proxy.write_timeout,
            hunt: HuntLimits {
                attempts: u16::try_from(upstream.attempts_max).unwrap_or(u16::MAX),
                budget: upstream.attempts_budget,
                patience: upstream.wait_for_key,
                queue: config.clients.queue_wait,
            },
            default_bound: config.ledger.default_bound,
            clamp_max_tokens: config.ledger.clamp_max_tokens,
            upstream: UpstreamLimits {
                first_byte: upstream.first_byte_timeout,
                idle: upstream.idle_timeout,
                total: upstream.total_timeout,
                hangup_grace: upstream.hangup_grace,
                refusal_bytes: upstream.refusal_body_max_bytes,
            },
        }
    }
}

/// The drop-in API as a Pingora application.
pub struct Proxy {
    pot: Arc<Pot>,
    cache: PublicCache,
    router: Router,
    limits: Limits,
    shown: Shown,
    clients: Clients,
    budget: BodyBudget,
    options: HttpServerOptions,
}

/// The outer door of the proxy listener: counts connections, then hands them to the [`Proxy`].
pub struct Door {
    proxy: Arc<Proxy>,
    gate: Arc<Gate>,
}

impl Door {
    /// A proxy listener's application over `pot`.
    pub fn new(pot: Arc<Pot>, config: &Config) -> Self {
        let gate = Gate::new(config.proxy.connections_max, config.proxy.connections_per_address_max);
        Self { proxy: Arc::new(Proxy::new(pot, config)), gate }
    }
}

#[async_trait]
impl ServerApp for Door {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let address = stream.get_socket_digest().and_then(|d| d.peer_addr()?.as_inet().map(|a| a.ip()));
        let Some(_entered) = self.gate.enter(address) else {
            // Closing at once is the cheapest thing to do for the many; the counter tells the operator.
            self.proxy.pot.metrics().connection_refused();
            return None;
        };
        self.proxy.process_new(Wire::wrap(stream), shutdown).await
    }
}

/// Marks a connection that has had a request before.
#[derive(Debug)]
struct Seasoned;

#[async_trait]
impl HttpServerApp for Proxy {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.await_head(&mut session, shutdown).await?;
        let _underway = self.pot.request();
        session.set_write_timeout(Some(self.limits.write_timeout));
        if *shutdown.borrow() {
            session.set_keepalive(None);
        }
        let served = self.serve(&mut session).await;
        if !served.reusable {
            self.hang_up(&mut session, served).await;
            return None;
        }
        if !session.is_body_done() {
            // Pingora would read the rest of it, for as long as the client likes to send.
            self.hang_up(&mut session, served).await;
            return None;
        }
        let mut settings = HttpPersistentSettings::for_session(&session);
        settings.set_user_context(Box::new(Seasoned));
        let stream = timeout(self.limits.write_timeout, session.finish()).await.ok()?.ok().flatten()?;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_header_list_size(u32::try_from(self.limits.head.bytes).unwrap_or(u32::MAX).min(H2_HEAD_MAX_BYTES));
        options.max_concurrent_streams(H2_STREAMS_MAX);
        options.max_pending_accept_reset_streams(H2_RESETS_MAX);
        options.max_concurrent_reset_streams(H2_RESETS_MAX);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

impl Proxy {
    fn new(pot: Arc<Pot>, config: &Config) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = config.proxy.http2;
        options.h2_idle_timeout = Some(config.proxy.idle_timeout);
        Self {
            cache: PublicCache::new(Arc::clone(pot.origin()), config.upstream.cache_max_bytes),
            router: Router::new(config.routing.categories.clone(), config.routing.long_context_tokens as u64),
            limits: Limits::new(config),
            shown: Shown::new(&config.proxy.response_headers),
            clients: config.clients.clone(),
            budget: BodyBudget::new(config.proxy.body_budget_bytes),
            options,
            pot,
        }
    }

    /// Wait for a whole request head, within one deadline: Pingora's own is per read, and there is none between the
    /// requests of a kept connection.
    async fn await_head(&self, session: &mut ServerSession, shutdown: &ShutdownWatch) -> Option<()> {
        if session.is_http2() {
            return Some(());
        }
        wire::head_begins(session);
        let seasoned = session.take_connection_user_context().is_some();
        let deadline = if seasoned { self.limits.idle_timeout } else { self.limits.head_timeout };
        let mut shutdown = shutdown.clone();
        let closing = async {
            drop(shutdown.wait_for(|down| *down).await);
            if !seasoned {
                tokio::time::sleep(LAST_HEAD).await;
            }
        };
        let read = tokio::select! {
            biased;
            read = timeout(deadline, session.read_request()) => read.ok()?,
            () = closing => return None,
        };
        match read {
            Ok(true) => Some(()),
            Ok(false) => None,
            Err(error) => {
                if matches!(error.etype(), ErrorType::InvalidHTTPHeader) {
                    let fault = Refusal::MalformedHead(HeadFault::Syntax.describe());
                    give_unreadable(session, &fault, self.request()).await;
                    self.hang_up(session, Served { outcome: RequestOutcome::Answered, reusable: false }).await;
                }
                None
            }
        }
    }

    /// End a connection in order, unless its client has left or does not read: what is still to be written to that one
    /// would keep us here for as long as it likes.
    async fn hang_up(&self, session: &mut ServerSession, served: Served) {
        if served.outcome != RequestOutcome::ClientGone {
            // Too late is as good as done: dropping the session closes it.
            drop(timeout(self.limits.write_timeout, session.shutdown()).await);
        }
    }

    fn request(&self) -> Request {
        let millis = u64::try_from(self.pot.clock().now().as_millis()).unwrap_or(0);
        let id = RequestId(uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid());
        Request::new(id, self.shown)
    }

    async fn serve(&self, session: &mut ServerSession) -> Served {
        let request = self.request();
        let started = self.pot.clock().tick();
        if let Err(fault) = check_head(session, self.limits.head) {
            session.set_keepalive(None);
            let refusal = match fault {
                HeadFault::TooLarge => Refusal::HeadTooLarge,
                fault => Refusal::MalformedHead(fault.describe()),
            };
            return give_refusal(session, &refusal, Dialect::Chat, request).await;
        }
        if wire::body_begins(session).is_err() {
            session.set_keepalive(None);
            return give_refusal(session, &Refusal::BodyBroken, Dialect::Chat, request).await;
        }
        let head = session.req_header();
        let (path, query) = split_target(head.raw_path());
        let route = route(&head.method, path, query);
        let endpoint = match &route {
            Route::Inference { endpoint, .. } => Some(*endpoint),
            Route::Ai(AiCall::Complete) => Some(Endpoint::ChatCompletions),
            _ => None,
        };
        let served = match self.guest(session, &route) {
            Ok(guest) => self.dispatch(session, route, &guest, request).await,
            // In a box, as below.
            Err(refusal) => Box::pin(self.turn_away(session, &refusal, route.dialect(), request)).await,
        };
        let status = session.response_written().map(|head| head.status.as_u16());
        self.pot.metrics().request_done(endpoint, served.outcome, status, started.elapsed());
        served
    }

    async fn dispatch(&self, session: &mut ServerSession, route: Route, guest: &Guest, request: Request) -> Served {
        match route {
            Route::Inference { endpoint, target } => self.infer(session, guest, endpoint, target, request).await,
            // In boxes, so that the future of an inference call, which is moved, has no room for these in it.
            Route::Poll { job, part } => Box::pin(self.poll_job(session, guest, &job, part, request)).await,
            Route::PublicRead { target } => Box::pin(self.public_read(session, guest, &target, request)).await,
            Route::Own(own) => Box::pin(self.answer_itself(session, guest, own, request)).await,
            Route::Token => Box::pin(self.issue_token(session, request)).await,
            Route::Ai(call) => Box::pin(self.ai(session, guest, call, request)).await,
            Route::Preflight => {
                Whole { status: 204, headers: PREFLIGHT.into_iter().collect(), body: Bytes::new() }
                    .give(session, request)
                    .await
            }
            Route::Refused { why, dialect } => give_refusal(session, &Refusal::Route(why), dialect, request).await,
        }
    }
}

/// Path and query of a request target.
fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        Some(at) => (target.get(..at).unwrap_or_default(), target.get(at + 1..)),
        None => (target, None),
    }
}

/// Refuse heads that could be read in two ways, and make sure that nothing of an upgrade is acted on.
fn check_head(session: &mut ServerSession, limits: HeadLimits) -> Result<(), HeadFault> {
    if let Some(h1) = session.as_http1() {
        head::check(&h1.get_headers_raw_bytes(), session.req_header().version, limits)?;
    } else if session.req_header().headers.len() > limits.fields {
        return Err(HeadFault::TooLarge);
    }
    session.req_header_mut().remove_header(&http::header::UPGRADE);
    Ok(())
}
