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
mod connection;
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

use bytes::Bytes;
use pingora::apps::HttpServerOptions;
use pingora::protocols::http::ServerSession;

use crate::clients::routing::Router;
use crate::clock::Tick;
use crate::config::{Clients, Config};
use crate::money::{RequestId, Usd};
use crate::origin::PublicCache;
use crate::pot::{LastGuest, Pot};
use crate::upstream::{AiCall, Dialect, Endpoint, PREFLIGHT, Refusal, Route, route};

use answer::{Served, Whole, give_refusal};
use body::{BodyBudget, BodyLimits};
pub use connection::Door;
use forward::UpstreamLimits;
use hangup::{Caller, Hangup};
use head::{HeadFault, HeadLimits};
use hunt::HuntLimits;
use request::{Request, Shown};

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

    fn request(&self) -> Request {
        let millis = u64::try_from(self.pot.clock().now().as_millis()).unwrap_or(0);
        let id = RequestId(uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid());
        Request::new(id, self.shown)
    }

    /// `last` is who came before on the same connection.
    async fn serve(&self, session: &mut ServerSession, last: &mut LastGuest) -> Served {
        let request = self.request();
        let started = Tick::now();
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
        let served = match self.guest(session, last, &route) {
            Ok(guest) => {
                let hangup = Hangup::new(last.revocation_of(&guest));
                self.dispatch(session, route, &mut Caller { guest, hangup }, request).await
            }
            // In a box, as below.
            Err(refusal) => Box::pin(self.turn_away(session, &refusal, route.dialect(), request)).await,
        };
        let status = session.response_written().map(|head| head.status.as_u16());
        self.pot.metrics().request_done(endpoint, served.outcome, status, started.elapsed());
        served
    }

    async fn dispatch(
        &self,
        session: &mut ServerSession,
        route: Route,
        caller: &mut Caller<'_>,
        request: Request,
    ) -> Served {
        match route {
            Route::Inference { endpoint, target } => self.infer(session, caller, endpoint, target, request).await,
            // In boxes, so that the future of an inference call, which is moved, has no room for these in it.
            Route::Poll { job, part } => Box::pin(self.poll_job(session, caller, &job, part, request)).await,
            Route::PublicRead { target } => Box::pin(self.public_read(session, &caller.guest, &target, request)).await,
            Route::Own(own) => Box::pin(self.answer_itself(session, &caller.guest, own, request)).await,
            Route::Token => Box::pin(self.issue_token(session, request)).await,
            Route::Ai(call) => Box::pin(self.ai(session, caller, call, request)).await,
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
