//! The way to the one upstream: addresses, connections, and potluck's own small questions.
//!
//! Keys travel only through here, and only to the configured host: TLS is always verified against the host's name,
//! clear text is possible to a loopback address alone, redirects are never followed and proxy variables of the
//! environment are never read. Knows nothing about keys' health, money or clients.

mod address;
mod ask;
mod cache;
mod error;
mod gather;
mod idle;
mod peer;
mod upkeep;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use pingora::connectors::http::Connector;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::services::background::GenBackgroundService;
use pingora::upstreams::peer::Peer;

use address::Addresses;
pub use ask::{AskError, Asked, Bounds};
pub use cache::{Cached, PublicCache};
pub use error::{ConnectError, ConnectFailure, OriginError};
use gather::Gather;
use idle::Idle;
use peer::{Purpose, Route};
pub use upkeep::Upkeep;

use crate::config::Upstream;

/// How many addresses of the upstream one connection attempt goes through.
const ADDRESS_TRIES_MAX: usize = 3;
/// How long an unused connection is kept. Shorter than the idle limits of common web servers, so that the upstream
/// seldom closes a connection in the very moment it is picked up again.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(55);
/// The path that route targets begin with, and that a base URL normally ends in.
const API_PREFIX: &str = "/api/v1";

/// A connection (HTTP/1.1) or a stream of one (HTTP/2), ready for one exchange.
pub struct OriginSession {
    /// The client side of the exchange.
    pub http: HttpSession,
    /// It was used before: the upstream may have closed it just now, and a failure before the first byte of an answer
    /// may be no more than that.
    pub reused: bool,
    /// The request has been sent to its last byte. Until then what is written next would be taken for the rest of its
    /// body, so the connection must not be used again.
    pub request_whole: bool,
    route: Route,
}

impl OriginSession {
    /// Let what is written wait, to leave in one piece with what is written after [`OriginSession::let_go`].
    pub fn hold(&self) {
        Gather::hold(&self.http, true);
    }

    /// What waits leaves with the next write that ends in a flush.
    pub fn let_go(&self) {
        Gather::hold(&self.http, false);
    }
}

/// The upstream.
pub struct Origin {
    addresses: Arc<Addresses>,
    transport: Transport,
    /// Kept connections; HTTP/2 ones are kept by Pingora.
    idle: Arc<Idle>,
    authority: String,
    host_header: HeaderValue,
    prefix: String,
    connect_timeout: Duration,
}

/// HTTP/1.1 works on Pingora's transport directly: its connections are kept by us, and Pingora's HTTP connector would read
/// the system's certificates twice.
enum Transport {
    H1(Box<TransportConnector>),
    H2(Box<Connector>),
}

impl Origin {
    /// Prepare everything; connects and resolves nothing, so it works without a network.
    ///
    /// # Errors
    /// [`OriginError`] when the settings would let keys travel unprotected, or when there is nothing to verify
    /// certificates with.
    pub fn new(config: &Upstream) -> Result<Arc<Self>, OriginError> {
        if config.base_url.host.is_empty() {
            return Err(OriginError::NoHost);
        }
        if !config.base_url.tls && !config.base_url.is_loopback() {
            return Err(OriginError::ClearText);
        }
        check_trust(config)?;
        let authority = config.base_url.authority();
        let host_header = HeaderValue::from_str(&authority).map_err(|_| OriginError::Authority)?;
        let mut options = ConnectorOptions::new(config.keepalive_connections_max);
        options.ca_file = config.ca_file.as_ref().map(|path| path.to_string_lossy().into_owned());
        let transport = if config.base_url.tls && config.http2 {
            Transport::H2(Box::new(Connector::new(Some(options))))
        } else {
            Transport::H1(Box::new(TransportConnector::new(Some(options))))
        };
        Ok(Arc::new(Self {
            addresses: Arc::new(Addresses::new(config)),
            transport,
            idle: Arc::new(Idle::new(config.keepalive_connections_max, KEEPALIVE_IDLE)),
            authority,
            host_header,
            prefix: config.base_url.prefix.clone(),
            connect_timeout: config.connect_timeout,
        }))
    }

    /// A connection for a client's request, a kept one where there is one. One that the upstream has closed meanwhile is
    /// passed over: nothing is sent on it.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was sent.
    pub async fn connect(&self) -> Result<OriginSession, ConnectError> {
        self.connect_for(Purpose::Traffic, true).await
    }

    /// Keep the connection for the next exchange, if it can be kept: the request was sent and the answer was read, both to
    /// their ends, and neither side asked to close. Otherwise it is closed. Dropping a session instead always closes it.
    pub async fn release(&self, session: OriginSession) {
        if !session.request_whole {
            return;
        }
        let route = session.route;
        match (&self.transport, session.http) {
            (Transport::H1(_), HttpSession::H1(mut http)) => {
                http.respect_keepalive();
                if let Some(stream) = http.reuse().await {
                    self.idle.keep(stream, route);
                }
            }
            (Transport::H2(connector), http) => {
                connector.release_http_session(http, &route, Some(KEEPALIVE_IDLE)).await;
            }
            (Transport::H1(_), HttpSession::H2(_) | HttpSession::Custom(())) => {}
        }
    }

    /// An exchange failed before anything of an answer came. Its address may be dead: kept connections to it are not used
    /// again.
    pub fn distrust(&self, session: &OriginSession) {
        let failed = session.route.address();
        self.idle.sweep(|route| route.address() != failed);
    }

    /// What the `Host` header of a request to the upstream says.
    pub fn host_header(&self) -> HeaderValue {
        self.host_header.clone()
    }

    /// Host and port as in a `Host` header.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path of the base URL, normally `/api/v1`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A route's target (`/api/v1/…`, `/api/alpha/…`) as it is at this upstream: a base URL with another path moves
    /// it there. Borrowed in the normal case.
    pub fn target<'a>(&self, route: &'a str) -> Cow<'a, str> {
        if self.prefix == API_PREFIX {
            return Cow::Borrowed(route);
        }
        match route.strip_prefix(API_PREFIX) {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => {
                Cow::Owned(format!("{}{rest}", self.prefix))
            }
            _ => Cow::Owned(format!("{}{route}", self.prefix.strip_suffix(API_PREFIX).unwrap_or_default())),
        }
    }

    /// The service that keeps the upstream's addresses current and closes connections that are not used. Without it
    /// addresses are looked up once, when the first connection needs them.
    pub fn upkeep_service(&self) -> GenBackgroundService<Upkeep> {
        let upkeep = Upkeep { addresses: Arc::clone(&self.addresses), idle: Arc::clone(&self.idle) };
        GenBackgroundService::new("upstream connections".to_owned(), Arc::new(upkeep))
    }

    /// A kept connection, whatever its address: all of them are the same upstream, and connections to one that does not serve
    /// any more are swept.
    fn kept(&self, purpose: Purpose) -> Option<OriginSession> {
        let (stream, route) = self.idle.take(purpose)?;
        let http = HttpSession::H1(Http1Session::new_with_options(stream, &route));
        Some(OriginSession { http, reused: true, request_whole: false, route })
    }

    async fn connect_for(&self, purpose: Purpose, reuse: bool) -> Result<OriginSession, ConnectError> {
        if let Some(kept) = reuse.then(|| self.kept(purpose)).flatten() {
            return Ok(kept);
        }
        // In a box: an exchange on a kept connection has no room for this in it.
        Box::pin(self.connect_anew(purpose)).await
    }

    async fn connect_anew(&self, purpose: Purpose) -> Result<OriginSession, ConnectError> {
        if self.addresses.known() {
            return self.connect_known(purpose).await;
        }
        // The first one pays for the lookup, within the same deadline.
        let slow = async {
            self.addresses.ensure().await?;
            self.connect_known(purpose).await
        };
        match tokio::time::timeout(self.connect_timeout, slow).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::new(ConnectFailure::TimedOut, "looking up and connecting took too long")),
        }
    }

    async fn connect_known(&self, purpose: Purpose) -> Result<OriginSession, ConnectError> {
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut last = ConnectError::new(ConnectFailure::Unresolved, "no address is known");
        for _ in 0..ADDRESS_TRIES_MAX {
            let Some(route) = self.addresses.pick(&tried, purpose) else { break };
            match self.transport.open(&route).await {
                Ok((http, reused)) => return Ok(OriginSession { http, reused, request_whole: false, route }),
                Err(error) => last = ConnectError::from_pingora(&error),
            }
            tried.extend(route.address().as_inet());
        }
        Err(last)
    }
}

impl Transport {
    async fn open(&self, route: &Route) -> pingora::Result<(HttpSession, bool)> {
        match self {
            Self::H1(transport) => {
                let stream = Gather::wrap(transport.new_stream(route).await?);
                Ok((HttpSession::H1(Http1Session::new_with_options(stream, route)), false))
            }
            Self::H2(connector) => connector.get_http_session(route).await,
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({}{})", self.authority, self.prefix)
    }
}

/// Read the trusted certificates once for nothing but the error: Pingora's connector reads them itself, and panics
/// where it cannot.
fn check_trust(config: &Upstream) -> Result<(), OriginError> {
    let mut store = pingora::tls::RootCertStore::empty();
    let loaded = match &config.ca_file {
        Some(path) => pingora::tls::load_ca_file_into_store(path, &mut store),
        None => pingora::tls::load_platform_certs_incl_env_into_store(&mut store),
    };
    loaded.map_err(|error| OriginError::Trust(error.to_string()))?;
    if config.base_url.tls && store.is_empty() { Err(OriginError::NoTrust) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
