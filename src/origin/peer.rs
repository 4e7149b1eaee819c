//! One address of the upstream with everything a connection to it needs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::TcpKeepalive;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::upstreams::peer::{HttpPeer, Peer, PeerOptions};

use super::{ADDRESS_TRIES_MAX, KEEPALIVE_IDLE};
use crate::config::Upstream;

/// A dead peer is noticed on a silent stream after idle + 4 × interval, about two minutes.
const TCP_KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(15),
    count: 4,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::ZERO,
};
/// Streams that share one HTTP/2 connection.
const H2_STREAMS_MAX: usize = 100;
/// How much of one HTTP/2 answer may be in memory unread; a slow client must not make potluck hold more.
const H2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same for a whole HTTP/2 connection.
const H2_CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// How often an HTTP/2 connection is asked whether it is alive.
const H2_PING_EVERY: Duration = Duration::from_secs(30);

/// Who connects. Kept connections are not shared between the two: a connection lives in the runtime that opened it,
/// and the background services' runtimes end before the last client's stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A client's request.
    Traffic = 0,
    /// potluck's own questions.
    Question = 1,
}

/// A way to the upstream: cheap to clone, its place in the pool of kept connections computed once.
#[derive(Clone)]
pub(super) struct Route {
    peer: Arc<HttpPeer>,
    purpose: Purpose,
    reuse_hash: u64,
}

/// Both ways to one address, carried along with it by the balancer.
#[derive(Clone)]
pub(super) struct Routes([Route; 2]);

impl Routes {
    pub(super) fn new(config: &Upstream, address: SocketAddr, addresses: usize) -> Self {
        let [traffic, question] = [Purpose::Traffic, Purpose::Question];
        Self([traffic, question].map(|purpose| Route::new(config, address, addresses, purpose)))
    }

    pub(super) fn of(&self, purpose: Purpose) -> &Route {
        let [traffic, question] = &self.0;
        match purpose {
            Purpose::Traffic => traffic,
            Purpose::Question => question,
        }
    }
}

impl Route {
    fn new(config: &Upstream, address: SocketAddr, addresses: usize, purpose: Purpose) -> Self {
        let mut peer = HttpPeer::new(address, config.base_url.tls, config.base_url.host.clone());
        peer.group_key = purpose as u64;
        peer.options = options(config, addresses);
        assert!(!config.base_url.tls || (peer.verify_cert() && peer.verify_hostname() && !peer.sni.is_empty()));
        let reuse_hash = peer.reuse_hash();
        Self { peer: Arc::new(peer), purpose, reuse_hash }
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }
}

/// Read and write limits are set by each exchange. An address gets its share of the connect deadline, so that trying
/// the next one still fits into it.
fn options(config: &Upstream, addresses: usize) -> PeerOptions {
    let share = u32::try_from(addresses.clamp(1, ADDRESS_TRIES_MAX)).unwrap_or(1);
    let mut options = PeerOptions::new();
    options.verify_cert = true;
    options.verify_hostname = true;
    options.total_connection_timeout = Some(config.connect_timeout / share);
    options.idle_timeout = Some(KEEPALIVE_IDLE);
    options.tcp_keepalive = Some(TCP_KEEPALIVE);
    if config.base_url.tls && config.http2 {
        options.set_http_version(2, 1);
        options.max_h2_streams = H2_STREAMS_MAX;
        options.h2_stream_window_size = Some(H2_STREAM_WINDOW_BYTES);
        options.h2_connection_window_size = Some(H2_CONNECTION_WINDOW_BYTES);
        options.h2_ping_interval = Some(H2_PING_EVERY);
    } else {
        options.set_http_version(1, 1);
    }
    options
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.fmt(f)
    }
}

impl Peer for Route {
    fn address(&self) -> &PingoraAddr {
        self.peer.address()
    }

    fn tls(&self) -> bool {
        self.peer.tls()
    }

    fn sni(&self) -> &str {
        self.peer.sni()
    }

    fn reuse_hash(&self) -> u64 {
        self.reuse_hash
    }

    fn get_peer_options(&self) -> Option<&PeerOptions> {
        self.peer.get_peer_options()
    }
}
