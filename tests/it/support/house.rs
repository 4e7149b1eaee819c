//! A whole potluck in this process: the simulator behind it, real sockets in front.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use potluck::clock::{Clock, Timestamp};
use potluck::config::{Config, Flags};
use potluck::pool::{Health, KeyId};
use potluck::pot::{Donation, Overview, Pot};
use potluck::secret::{Credential, Fingerprint};
use potluck::server::Potluck;
use potluck::simulator::{Entry, Pico, SimKey, Simulator, SimulatorConfig, SimulatorHandle};
use tokio::sync::Notify;

use super::address::free_address;
use super::client::{Answer, Ask};

/// Noon of an ordinary Tuesday: far from every window's edge.
pub const NOON: i64 = 1_795_521_600_000;
/// A cheap model of the simulator's catalogue.
pub const MODEL: &str = "openai/gpt-4o-mini";

/// A potluck under test. Dropping it stops everything.
pub struct House {
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    pub pot: Arc<Pot>,
    pub sim: SimulatorHandle,
    pub clock: Clock,
    data: Arc<tempfile::TempDir>,
    settings: String,
    stop: Arc<Notify>,
    server: Option<std::thread::JoinHandle<()>>,
}

struct Stop(Arc<Notify>);

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        self.0.notified().await;
        ShutdownSignal::FastShutdown
    }
}

impl House {
    /// A house with that many funded keys, and lines for its configuration file.
    pub async fn new(keys: usize, settings: &str) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(NOON));
        let config = SimulatorConfig { clock: clock.clone(), ..SimulatorConfig::default() };
        let sim = Simulator::start(config).await.expect("the simulator starts");
        let data = Arc::new(tempfile::tempdir().expect("a directory"));
        let house = Self::open(sim, clock, data, settings).await;
        for _ in 0..keys {
            house.donate(Pico::usd(10)).await;
        }
        house
    }

    async fn open(sim: SimulatorHandle, clock: Clock, data: Arc<tempfile::TempDir>, settings: &str) -> Self {
        super::watch_panics();
        let (proxy, admin) = (free_address(), free_address());
        let data_dir = data.path().join("data").to_string_lossy().into_owned();
        let env = |name: &str| match name {
            "POTLUCK_UPSTREAM" => Some(sim.base_url()),
            "POTLUCK_DATA_DIR" => Some(data_dir.clone()),
            "POTLUCK_LISTEN" => Some(proxy.to_string()),
            "POTLUCK_ADMIN_LISTEN" => Some(admin.to_string()),
            _ => None,
        };
        // The simulator books at once: a key's usage is proof soon.
        let mut flags = Flags::default();
        flags.set("ledger.usage_settle_after_ms", "--set", "1000");
        // And that of what was broken off.
        for timeout in ["upstream.first_byte_timeout_ms", "upstream.total_timeout_ms"] {
            if !settings.contains(timeout.trim_start_matches("upstream.")) {
                flags.set(timeout, "--set", "2000");
            }
        }
        let config = Config::from_parts(Some(settings), &env, &flags).expect("good settings");
        let potluck = Potluck::open_at(config, clock.clone()).expect("potluck opens");
        let pot = Arc::clone(potluck.pot());
        let stop = Arc::new(Notify::new());
        let signal = Stop(Arc::clone(&stop));
        let server = std::thread::spawn(move || {
            let conf = ServerConf { threads: 1, ..ServerConf::default() };
            let mut server = Server::new_with_opt_and_conf(Some(Opt::default()), conf);
            server.bootstrap();
            potluck.add_to(&mut server);
            server.run(RunArgs { shutdown_signal: Box::new(signal) });
            potluck.close();
        });
        for address in [proxy, admin] {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        // Prices are fetched at the start; what tests count as gone up begins after that. The upstream may be away.
        for _ in 0..1000 {
            if !pot.prices().list().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let settings = settings.to_owned();
        Self { proxy, admin, pot, sim, clock, data, settings, stop, server: Some(server) }
    }

    /// Stop and start again on the same data, with the same upstream.
    pub async fn restart(mut self) -> Self {
        self.halt();
        let (clock, data, settings) = (self.clock.clone(), Arc::clone(&self.data), self.settings.clone());
        let spare = Simulator::start(SimulatorConfig::default()).await.expect("a stand-in");
        let sim = std::mem::replace(&mut self.sim, spare);
        drop(self);
        Self::open(sim, clock, data, &settings).await
    }

    fn halt(&mut self) {
        self.stop.notify_one();
        if let Some(server) = self.server.take() {
            server.join().expect("the server ends without a panic");
        }
    }

    /// A key of an account of its own with that much credit, donated.
    pub async fn donate(&self, credits: Pico) -> (SimKey, KeyId) {
        let key = self.sim.funded_key(credits);
        let id = self.donate_key(&key).await;
        (key, id)
    }

    /// Donate a key of the simulator.
    pub async fn donate_key(&self, key: &SimKey) -> KeyId {
        let credential = Credential::parse(&key.text).expect("the simulator's keys are well formed");
        let donation =
            Donation { credential, label: None, donor_id: None, donor_name: None, limits: Default::default() };
        self.pot.donate(donation).await.expect("donated").id
    }

    /// A second upstream that is like this one was before anything was asked of it: same seed, same time, same keys.
    pub async fn twin(&self, keys: usize) -> (SimulatorHandle, Vec<SimKey>) {
        let config = SimulatorConfig { clock: self.clock.clone(), ..SimulatorConfig::default() };
        let twin = Simulator::start(config).await.expect("the twin starts");
        let keys = (0..keys).map(|_| twin.funded_key(Pico::usd(10))).collect();
        (twin, keys)
    }

    /// Let time pass, for potluck and its upstream alike.
    pub fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now().after(time));
    }

    /// The calls that went up for clients; potluck's own free questions are not among them.
    pub fn went_up(&self) -> Vec<Entry> {
        self.sim.log().into_iter().filter(|entry| entry.method == "POST" || entry.path().contains("/videos")).collect()
    }

    /// Send a request to the proxy.
    pub async fn ask(&self, ask: &Ask) -> Answer {
        ask.send(self.proxy).await
    }

    /// Everything that is known about the pool now.
    pub async fn overview(&self) -> Overview {
        self.pot.overview().await.expect("an overview")
    }

    /// A key's health now.
    pub async fn health(&self, key: KeyId) -> Health {
        self.overview().await.keys.iter().find(|k| k.id == key).map(|k| k.state.health).expect("a key of the pool")
    }

    /// Let time pass, in steps of 50 ms, until something that happens by itself has happened.
    pub async fn until(&self, what: &str, so: impl Fn(&Overview) -> bool) -> Overview {
        for _ in 0..1000 {
            let overview = self.overview().await;
            if so(&overview) {
                return overview;
            }
            // Other tasks and threads get their turn while the hand-moved clock goes on.
            self.pass(Duration::from_millis(50));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let ever = self.clock.now().after(Duration::from_secs(365 * 24 * 60 * 60));
        let suspense = self.pot.store().suspense_due(ever, 8).await;
        panic!("never happened: {what}: in suspense are {suspense:?}: {:?}", self.overview().await);
    }

    /// The ledger of every key against the simulator's bill, exactly.
    pub async fn assert_books_balance(&self) {
        // An attempt that is over is on its way to the disk; what is in suspense is told from there.
        self.until("nothing is under way", |o| o.in_flight == 0).await;
        self.pot.store().flush().await.expect("durable");
        let overview = self
            .until("all is settled that can be", |o| o.in_flight == 0 && o.suspense.open == o.suspense.exhausted)
            .await;
        let bill = self.sim.bill();
        let ledger: i128 = overview.keys.iter().map(|k| i128::from(k.totals.spent_total.as_pico())).sum();
        assert_eq!(ledger, bill.total.0, "the ledger equals the bill");
        for key in &overview.keys {
            let billed: i128 =
                bill.keys.iter().filter(|l| fingerprint(&l.name) == key.fingerprint).map(|l| l.cost.0).sum();
            assert_eq!(i128::from(key.totals.spent_total.as_pico()), billed, "ledger and bill of {}", key.id);
        }
    }

    /// Where the data lies.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.data.path().join("data")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.halt();
    }
}

fn fingerprint(key: &str) -> Fingerprint {
    Credential::parse(key).expect("a key of the simulator").fingerprint()
}

/// A chat request body.
pub fn chat(model: &str) -> String {
    serde_json::json!({"model": model, "messages": [{"role": "user", "content": "hello"}]}).to_string()
}

/// A streamed chat request body.
pub fn chat_stream(model: &str) -> String {
    serde_json::json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "hello"}]}).to_string()
}
