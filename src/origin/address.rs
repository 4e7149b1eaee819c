//! The upstream's addresses: looked up, checked, taken in turn.
//!
//! Pingora's load balancer picks among what DNS says. An address it found stays in use until a lookup succeeds that no
//! longer has it: a resolver that is down must not take a working upstream away. Private and loopback answers for an
//! https host are not refused, since an address that cannot show the host's certificate gets no request anyway.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora::{Error, ErrorType};
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::HealthCheck;
use pingora_load_balancing::selection::RoundRobin;
use pingora_load_balancing::{Backend, Backends, Extensions, LoadBalancer};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::peer::{Purpose, Route, Routes};
use super::{ConnectError, ConnectFailure};
use crate::clock::Tick;
use crate::config::Upstream;

/// More addresses than this are ignored.
const ADDRESSES_MAX: usize = 16;
/// Longest wait for a name to resolve.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed lookup, requests are turned away for so long without asking the resolver again.
const LOOKUP_PAUSE: Duration = Duration::from_secs(1);
/// An address that does not accept a connection within this is passed over while others do.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// The upstream's addresses, and the service that keeps them current.
pub(super) struct Addresses {
    balancer: LoadBalancer<RoundRobin>,
    /// Held during a lookup (Pingora's balancer must not be updated twice at a time); remembers the last failure.
    lookup: Mutex<Option<Tick>>,
    /// The last lookup failed: the next failure is no news.
    failing: AtomicBool,
    host: String,
    every: Duration,
}

impl Addresses {
    pub(super) fn new(config: &Upstream) -> Self {
        Self::with_resolver(config, Box::new(|host, port| Box::pin(resolve(host, port))))
    }

    fn with_resolver(config: &Upstream, resolver: Resolver) -> Self {
        let mut backends = Backends::new(Box::new(Lookup { config: config.clone(), resolver }));
        backends.set_health_check(Box::new(Accepts));
        let mut balancer = LoadBalancer::from_backends(backends);
        balancer.parallel_health_check = true;
        Self {
            balancer,
            lookup: Mutex::new(None),
            failing: AtomicBool::new(false),
            host: config.base_url.host.clone(),
            every: config.address_refresh,
        }
    }

    pub(super) fn known(&self) -> bool {
        !self.balancer.backends().get_backend().is_empty()
    }

    /// The next address in turn that is not among `tried`: one that accepts connections, or failing that any.
    pub(super) fn pick(&self, tried: &[SocketAddr], purpose: Purpose) -> Option<Route> {
        let untried = |backend: &Backend| backend.addr.as_inet().is_some_and(|addr| !tried.contains(addr));
        let select = |only_ready: bool| {
            self.balancer.select_with(b"", 2 * ADDRESSES_MAX, |b, ready| (ready || !only_ready) && untried(b))
        };
        let backend = select(true).or_else(|| select(false))?;
        backend.ext.get::<Routes>().map(|routes| routes.of(purpose).clone())
    }

    /// Whether this address is among those that requests may go to.
    pub(super) fn serves(&self, address: &SocketAddr) -> bool {
        let backends = self.balancer.backends();
        let all = backends.get_backend();
        let none_is_ready = || !all.iter().any(|b| backends.ready(b));
        all.iter().any(|b| b.addr.as_inet() == Some(address) && (backends.ready(b) || none_is_ready()))
    }

    /// Look the addresses up if none is known. Requests that arrive together share one lookup.
    pub(super) async fn ensure(&self) -> Result<(), ConnectError> {
        let mut last_failure = self.lookup.lock().await;
        if self.known() {
            return Ok(());
        }
        if last_failure.is_some_and(|at| at.elapsed() < LOOKUP_PAUSE) {
            return Err(ConnectError::new(ConnectFailure::Unresolved, "the last lookup failed"));
        }
        let result = self.look_up().await;
        *last_failure = result.is_err().then(Tick::now);
        result.map_err(|error| ConnectError::new(ConnectFailure::Unresolved, error))
    }

    async fn look_up(&self) -> pingora::Result<()> {
        let result = self.balancer.update().await;
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => {
                tracing::warn!(host = %self.host, error = %error, kept = self.known(), "the upstream's name cannot be looked up");
            }
            Ok(()) if failed_before => tracing::info!(host = %self.host, "the upstream's name can be looked up again"),
            _ => {}
        }
        result
    }

    async fn refresh(&self) {
        let mut last_failure = self.lookup.lock().await;
        *last_failure = self.look_up().await.is_err().then(Tick::now);
        drop(last_failure);
        // A single address is used whether it answers or not, so there is nothing to check.
        if self.balancer.backends().get_backend().len() > 1 {
            self.balancer.backends().run_health_check(true).await;
        }
    }
}

#[async_trait]
impl BackgroundService for Addresses {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let work = async {
            loop {
                self.refresh().await;
                tokio::time::sleep(self.every).await;
            }
        };
        tokio::select! {
            () = work => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}

/// How a name becomes addresses: the system's way, or a test's.
type Resolver = Box<dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = Resolved> + Send>> + Send + Sync>;
type Resolved = io::Result<Vec<SocketAddr>>;

async fn resolve(host: String, port: u16) -> Resolved {
    Ok(timeout(LOOKUP_TIMEOUT, lookup_host((host, port))).await??.collect())
}

/// Name resolution as Pingora's service discovery.
struct Lookup {
    config: Upstream,
    resolver: Resolver,
}

impl Lookup {
    async fn addresses(&self) -> Resolved {
        let base_url = &self.config.base_url;
        let mut addresses = (self.resolver)(base_url.host.clone(), base_url.port).await?;
        // Clear text stays on this machine even if somebody's resolver says that `localhost` is elsewhere.
        addresses.retain(|address| base_url.tls || address.ip().to_canonical().is_loopback());
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        Ok(addresses)
    }
}

#[async_trait]
impl ServiceDiscovery for Lookup {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let addresses = match self.addresses().await {
            Ok(addresses) if addresses.is_empty() => {
                return Error::e_explain(ErrorType::ConnectNoRoute, "the name has no usable address");
            }
            Ok(addresses) => addresses,
            Err(error) => return Error::e_explain(ErrorType::ConnectNoRoute, error.to_string()),
        };
        let backend = |address: &SocketAddr| {
            let mut ext = Extensions::new();
            ext.insert(Routes::new(&self.config, *address, addresses.len()));
            Backend { addr: PingoraAddr::Inet(*address), weight: 1, ext }
        };
        Ok((addresses.iter().map(backend).collect(), HashMap::new()))
    }
}

/// The address accepts TCP connections. Pingora's own TCP check does the same but reads all trusted certificates for it.
struct Accepts;

#[async_trait]
impl HealthCheck for Accepts {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let Some(address) = target.addr.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "not an internet address");
        };
        match timeout(CHECK_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Error::e_because(ErrorType::ConnectError, "checking an upstream address", error),
            Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "checking an upstream address"),
        }
    }

    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{BaseUrl, Config};

    /// A resolver that gives these answers one after the other, and then fails.
    fn addresses(base_url: &str, answers: &[&[SocketAddr]]) -> Addresses {
        let base_url = BaseUrl::parse(base_url).expect("a good address");
        let answers: Vec<Vec<SocketAddr>> = answers.iter().rev().map(|answer| answer.to_vec()).collect();
        let answers = Arc::new(std::sync::Mutex::new(answers));
        let resolver: Resolver = Box::new(move |_, _| {
            let answer = answers.lock().expect("not poisoned").pop();
            Box::pin(async move { answer.ok_or_else(|| io::Error::other("the resolver is down")) })
        });
        Addresses::with_resolver(&Upstream { base_url, ..Config::default().upstream }, resolver)
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// The addresses of the next picks, without those in `tried`.
    fn picks(addresses: &Addresses, tried: &[SocketAddr], count: usize) -> Vec<SocketAddr> {
        use pingora::upstreams::peer::Peer;
        let pick = |_| addresses.pick(tried, Purpose::Traffic).and_then(|route| route.address().as_inet().copied());
        (0..count).filter_map(pick).collect()
    }

    #[tokio::test]
    async fn addresses_are_taken_in_turn_and_outlive_the_resolver() {
        let (one, two, three) = (at("192.0.2.1:443"), at("192.0.2.2:443"), at("192.0.2.3:443"));
        let addresses = addresses("https://example.org", &[&[two, one, two], &[], &[two, three]]);
        assert!(!addresses.known() && picks(&addresses, &[], 1).is_empty());
        addresses.ensure().await.expect("resolved");
        assert_eq!(picks(&addresses, &[], 4), [one, two, one, two]);
        assert_eq!(picks(&addresses, &[one], 2), [two, two]);
        assert_eq!(picks(&addresses, &[one, two], 1), []);
        addresses.look_up().await.expect_err("an empty answer is a failed one");
        assert_eq!(picks(&addresses, &[], 2).len(), 2);
        addresses.look_up().await.expect("resolved");
        let mut now = picks(&addresses, &[], 2);
        now.sort_unstable();
        assert_eq!(now, [two, three]);
        addresses.look_up().await.expect_err("the resolver is down");
        assert!(addresses.known());
    }

    #[tokio::test]
    async fn a_failed_lookup_is_not_repeated_for_every_request() {
        let addresses = addresses("https://example.org", &[]);
        let mut failures = Vec::new();
        for _ in 0..2 {
            failures.push(addresses.ensure().await.expect_err("the resolver is down").detail);
        }
        assert!(
            failures[0].contains("the resolver is down") && failures[1] == "the last lookup failed",
            "{failures:?}"
        );
    }

    #[tokio::test]
    async fn clear_text_stays_here_whatever_the_resolver_says() {
        let (here, elsewhere) = (at("127.0.0.1:80"), at("192.0.2.1:80"));
        let mixed = addresses("http://localhost", &[&[elsewhere, here]]);
        mixed.ensure().await.expect("resolved");
        assert_eq!(picks(&mixed, &[], 2), [here, here]);
        addresses("http://localhost", &[&[elsewhere]]).ensure().await.expect_err("no usable address");
    }

    #[tokio::test]
    async fn addresses_that_do_not_accept_are_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let good = listener.local_addr().expect("bound");
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
        let addresses = addresses("http://localhost", &[&[good, closed], &[good, closed]]);
        addresses.ensure().await.expect("resolved");
        assert!(picks(&addresses, &[], 2).contains(&closed) && addresses.serves(&closed));
        addresses.refresh().await;
        assert_eq!(picks(&addresses, &[], 4), [good; 4]);
        let elsewhere = SocketAddr::from(([127, 0, 0, 9], 1));
        assert_eq!([good, closed, elsewhere].map(|address| addresses.serves(&address)), [true, false, false]);
        // Better a bad address than none.
        assert_eq!(picks(&addresses, &[good], 1), [closed]);
    }
}
