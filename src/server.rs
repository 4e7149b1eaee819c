//! Putting it together: a [`Potluck`] from a configuration, its services, and the process around them.

mod sockets;
mod start;
mod stop;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{RunArgs, Server};
use pingora::services::ServiceWithDependents;
use pingora::services::background::{BackgroundService, GenBackgroundService};
use pingora::services::listening::Service;

use crate::admin::AdminApp;
use crate::background::{Auditor, Leases, Patience, PriceRefresher, Prober, Reconciler, Verifier};
use crate::clients::line::Bounds;
use crate::clock::Clock;
use crate::config::{Config, StoreUrl};
use crate::origin::{Origin, OriginError};
use crate::pool::Policy;
use crate::pot::{DonateError, Parts, Pot};
use crate::proxy::Door;
use crate::secret::Credential;
use crate::store::{Claim, Store, StoreError};
use crate::telemetry::Metrics;

use sockets::Seated;
pub(crate) use sockets::Sockets;
use stop::{Drain, Heard, Signals};

/// One potluck: the shared state, and the services that make it work.
///
/// Add it to a Pingora server of your own with [`Potluck::add_to`], or take the services one by one.
pub struct Potluck {
    pot: Arc<Pot>,
    config: Config,
    /// Nobody else works with the store meanwhile.
    claim: Claim,
}

/// Why potluck cannot start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The upstream cannot be used.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// A key given at start-up cannot be stored.
    #[error("a key from OPENROUTER_KEYS could not be added: {0}")]
    Key(#[from] DonateError),
    /// Somebody else listens where potluck should.
    #[error(
        "{setting} is {address}, where something listens already: stop that, or set {setting} ({variable}) to \
         another port"
    )]
    ListenerTaken {
        /// The setting.
        setting: &'static str,
        /// Its environment variable.
        variable: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// A listener's address cannot be used.
    #[error("{setting} is {address}, which cannot be listened on")]
    Listener {
        /// The setting.
        setting: &'static str,
        /// Its value.
        address: SocketAddr,
        /// The system's words.
        #[source]
        error: std::io::Error,
    },
    /// There is nobody to take over from.
    #[error("no potluck works with {0}, so there is none to take over from: start without --upgrade")]
    NobodyToSucceed(String),
    /// The socket that an upgrade goes through has a path with a limit.
    #[error("data_dir is {0}, which is too long a path for the socket of hot upgrades: use one below 95 bytes")]
    DataDirTooLong(PathBuf),
    /// It served, and something was not written down in the end.
    #[error("the ledger was not closed in order")]
    Unclosed(#[source] StoreError),
    /// No runtime for the start.
    #[error("could not start: {0}")]
    Io(#[from] std::io::Error),
}

impl Potluck {
    /// Open the store and put everything together. Nothing listens or connects yet.
    ///
    /// # Errors
    /// [`StartError`] names what is in the way.
    pub fn open(config: Config) -> Result<Self, StartError> {
        Self::open_at(config, Clock::system())
    }

    /// [`Potluck::open`] with another clock, for tests.
    ///
    /// # Errors
    /// As [`Potluck::open`].
    pub fn open_at(config: Config, clock: Clock) -> Result<Self, StartError> {
        let claim = Claim::take(store_path(&config))?;
        Self::open_claimed(config, clock, claim)
    }

    fn open_claimed(config: Config, clock: Clock, claim: Claim) -> Result<Self, StartError> {
        let (store, loaded) = Store::open(config.store_options(), &clock)?;
        let origin = Origin::new(&config.upstream)?;
        let policy = policy(&config.pool);
        let metrics = Metrics::new();
        let line = Bounds { places: config.clients.queue_max, per_client: config.clients.queue_per_client_max };
        let wait_for_key = config.upstream.wait_for_key;
        let pot = Pot::new(Parts { clock, policy, store, loaded, origin, metrics, line, wait_for_key });
        add_keys(&pot, &config.keys)?;
        Ok(Self { pot, config, claim })
    }

    /// Book everything that is still to be booked and stop the ledger's writer; nothing can be served afterwards.
    pub fn close(&self) {
        close(&self.pot).ok();
    }

    /// The shared state.
    pub fn pot(&self) -> &Arc<Pot> {
        &self.pot
    }

    /// The proxy listener, on `proxy.listen`.
    pub fn proxy_service(&self) -> Service<Door> {
        let mut service = Service::new("potluck proxy".to_owned(), Door::new(Arc::clone(&self.pot), &self.config));
        service.add_tcp(&self.config.proxy.listen.to_string());
        service.threads = Some(self.config.proxy.threads);
        service
    }

    /// The admin listener, on `admin.listen`.
    pub fn admin_service(&self) -> Service<AdminApp> {
        let app = AdminApp::new(Arc::clone(&self.pot), &self.config);
        let mut service = Service::new("potluck admin".to_owned(), app);
        service.add_tcp(&self.config.admin.listen.to_string());
        service.threads = Some(1);
        service
    }

    /// Everything, ready to be added to a server: both listeners, probes, the reconciler, prices, the upstream's addresses.
    pub fn services(&self) -> Vec<Box<dyn ServiceWithDependents>> {
        let mut services: Vec<Box<dyn ServiceWithDependents>> =
            vec![Box::new(self.proxy_service()), Box::new(self.admin_service())];
        services.extend(self.tasks());
        services
    }

    /// The same on sockets that are taken already.
    fn seated_services(&self, sockets: Sockets) -> Vec<Box<dyn ServiceWithDependents>> {
        let (proxy, admin) = (self.config.proxy.listen, self.config.admin.listen);
        let mut services: Vec<Box<dyn ServiceWithDependents>> = vec![
            Box::new(Seated::new(self.proxy_service(), proxy, sockets.proxy)),
            Box::new(Seated::new(self.admin_service(), admin, sockets.admin)),
        ];
        services.extend(self.tasks());
        services
    }

    /// What goes on behind the listeners.
    fn tasks(&self) -> Vec<Box<dyn ServiceWithDependents>> {
        let ledger = &self.config.ledger;
        let patience = Patience {
            schedule: ledger.reconcile_schedule.as_slice().into(),
            usage: ledger.usage_settle_after,
            work: self.config.upstream.total_timeout,
            estimate: ledger.estimate_after,
        };
        let prober = Prober::new(Arc::clone(&self.pot), patience.clone());
        let reconciler = Reconciler::new(Arc::clone(&self.pot), patience.clone());
        let retention = u32::try_from(ledger.retention_days).ok().filter(|days| *days > 0);
        let auditor = Auditor::new(Arc::clone(&self.pot), self.claim.clone(), patience, retention);
        let permille = u32::try_from(ledger.lease_permille).unwrap_or_default();
        let leases = Leases::new(Arc::clone(&self.pot), permille);
        vec![
            Box::new(background("potluck probes", prober)),
            Box::new(background("potluck reconciler", reconciler)),
            Box::new(background("potluck auditor", auditor)),
            Box::new(background("potluck verifier", Verifier::new(Arc::clone(&self.pot), ledger.verify_all_every))),
            Box::new(background("potluck leases", leases)),
            Box::new(background("potluck prices", PriceRefresher::new(Arc::clone(&self.pot), &self.config.prices))),
            Box::new(self.pot.origin().upkeep_service()),
        ]
    }

    /// Add all of [`Potluck::services`] to `server`.
    pub fn add_to(&self, server: &mut Server) {
        for service in self.services() {
            server.add_boxed_service(service);
        }
    }
}

/// Add the keys given at start-up that the store does not have. On a thread of its own, so that the caller may be inside
/// a runtime or not.
fn add_keys(pot: &Arc<Pot>, keys: &[Credential]) -> Result<(), StartError> {
    if keys.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let add = || {
        runtime.block_on(async {
            for credential in keys {
                pot.donate_unseen(credential.clone()).await?;
            }
            Ok(())
        })
    };
    std::thread::scope(|scope| scope.spawn(add).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn close(pot: &Pot) -> Result<(), StoreError> {
    pot.store().close().inspect_err(|error| tracing::error!(%error, "the ledger was not closed in order"))
}

fn background<A: BackgroundService + Send + Sync + 'static>(name: &str, task: A) -> GenBackgroundService<A> {
    GenBackgroundService::new(name.to_owned(), Arc::new(task))
}

/// The pool's policy, from the settings of the same names.
fn policy(pool: &crate::config::Pool) -> Policy {
    Policy {
        rotation: pool.rotation,
        degraded_rest: pool.degraded_rest,
        rate_limited_rest: pool.rate_limited_rest,
        key_cap_recheck: pool.key_cap_recheck,
        credit_recheck_first: pool.credit_recheck_first,
        credit_recheck_max: pool.credit_recheck_max,
        credit_recheck: pool.credit_recheck,
        probe_interval: pool.probe_interval,
        affinity_max: pool.affinity_max_conversations,
        affinity_idle: pool.affinity_idle,
        exclusions_max: pool.exclusions_max,
        exclusion_rest: pool.exclusion_rest,
        trial_max: pool.trial_max,
    }
}

/// How the process is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Take the listening sockets over from a running potluck (which is then sent SIGQUIT).
    pub upgrade: bool,
}

/// Open a potluck and serve until a signal ends it: SIGTERM drains, SIGQUIT hands the sockets to a successor and drains,
/// SIGINT stops. A panic of the ledger's writer drains, too: nothing can be booked any more. Whatever ends it, the writer
/// stops last. A drained process exits at once, with 1 when the ledger was not closed in order.
///
/// # Errors
/// [`StartError`] when it cannot start, or the ledger was not closed in order.
pub fn run(config: Config, options: RunOptions) -> Result<(), StartError> {
    let (server, potluck, sockets, heard) =
        if options.upgrade { start::successor(config)? } else { start::first(config)? };
    let drain = background("potluck drain", Drain { pot: Arc::clone(&potluck.pot) });
    potluck.serve_in(server, sockets, Some(drain), heard).map_err(StartError::Unclosed)
}

impl Potluck {
    /// Serve in a Pingora server of its own until a signal (or a panic of the ledger's writer) ends it, then return. Unlike
    /// [`run`] this waits for the whole drain timeout on SIGTERM: ending the process sooner is the caller's to decide.
    pub fn serve(self, options: RunOptions) {
        let server = server(&self.config, options);
        self.serve_in(server, None, None, None).ok();
    }

    /// [`Potluck::serve`] on sockets that are taken already; they are those that the configuration names.
    pub(crate) fn serve_on(self, sockets: Sockets) {
        let server = server(&self.config, RunOptions::default());
        self.serve_in(server, Some(sockets), None, None).ok();
    }

    fn serve_in(
        self,
        mut server: Server,
        sockets: Option<Sockets>,
        drain: Option<GenBackgroundService<Drain>>,
        heard: Option<Heard>,
    ) -> Result<(), StoreError> {
        let services = match sockets {
            Some(sockets) => self.seated_services(sockets),
            None => self.services(),
        };
        for service in services {
            server.add_boxed_service(service);
        }
        if let Some(drain) = drain {
            server.add_service(drain);
        }
        let (proxy, admin) = (self.config.proxy.listen, self.config.admin.listen);
        let clients = self.config.clients.mode.name();
        tracing::info!(%proxy, %admin, clients, keys = self.pot.total_keys(), "potluck serves");
        server.run(RunArgs { shutdown_signal: Box::new(Signals::new(Arc::clone(&self.pot), heard)) });
        close(&self.pot)
    }
}

/// A Pingora server that has its sockets, where it takes them over: then this waits for them.
fn server(config: &Config, options: RunOptions) -> Server {
    let opt = Opt { upgrade: options.upgrade, ..Opt::default() };
    let mut server = Server::new_with_opt_and_conf(Some(opt), server_conf(config));
    server.bootstrap();
    server
}

fn store_path(config: &Config) -> &Path {
    let StoreUrl::Sqlite(path) = &config.store.url;
    path
}

/// Where a successor is handed the listening sockets.
fn upgrade_socket(config: &Config) -> PathBuf {
    config.data_dir.join("upgrade.sock")
}

/// Pingora's own settings, built in code: the copy made by its constructor is the one that counts.
fn server_conf(config: &Config) -> ServerConf {
    // Pingora counts whole seconds; a stream is never cut before its time.
    let drain = config.proxy.drain_timeout.as_millis().div_ceil(1000);
    let drain = u64::try_from(drain).unwrap_or(u64::MAX);
    ServerConf {
        threads: config.proxy.threads,
        grace_period_seconds: Some(drain),
        graceful_shutdown_timeout_seconds: Some(1),
        upgrade_sock: upgrade_socket(config).to_string_lossy().into_owned(),
        pid_file: config.data_dir.join("potluck.pid").to_string_lossy().into_owned(),
        upstream_debug_ssl_keylog: false,
        ..ServerConf::default()
    }
}
