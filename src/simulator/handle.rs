//! A running simulator, and everything that can be done to it from within the same process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::accounts::{AccountSettings, KeySettings};
use super::amount::Pico;
use super::bill::Bill;
use super::journal::Entry;
use super::script::Script;
use super::server;
use super::shared::{Port, Shared};
use crate::clock::{Clock, Timestamp};

/// How a simulator is started.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Everything random follows from it: keys, ids, texts.
    pub seed: u64,
    /// Its source of time, which the control calls can set ahead.
    pub clock: Clock,
    /// `/generation` knows a call that long after its end.
    pub generation_delay: Duration,
    /// Answer every inference call fast (see `sim/fast-…`), without log and scripts.
    pub fast: bool,
}

impl Default for SimulatorConfig {
    /// A free port of the loopback interface, seed 1, the system's clock, 300 ms.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            clock: Clock::system(),
            generation_delay: Duration::from_millis(300),
            fast: false,
        }
    }
}

/// A key that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimKey {
    /// Its index, as in bill, log and scripts.
    pub index: usize,
    /// Its account's index.
    pub account: usize,
    /// `sk-or-v1-…`
    pub text: String,
}

/// Starts simulators.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Start one on the current tokio runtime. Several can live in one process.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(config: SimulatorConfig) -> io::Result<SimulatorHandle> {
        let listener = TcpListener::bind(config.listen).await?;
        let addr = listener.local_addr()?;
        let generation_ms = i64::try_from(config.generation_delay.as_millis()).unwrap_or(i64::MAX);
        let shared = Arc::new(Shared::new(config.seed, config.clock, generation_ms, config.fast));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(server::run(Arc::clone(&shared), listener, addr, stopped));
        Ok(SimulatorHandle { addr, shared, stop, task })
    }
}

/// A running simulator. It stops when this is dropped.
#[derive(Debug)]
pub struct SimulatorHandle {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl SimulatorHandle {
    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What takes the place of `https://openrouter.ai/api/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/api/v1", self.addr)
    }

    /// Open an account; its index.
    pub fn open_account(&self, settings: AccountSettings) -> usize {
        self.shared.world().open_account(settings)
    }

    /// Make a key under an account.
    ///
    /// # Panics
    /// If there is no such account: a mistake of the test that calls it.
    pub fn make_key(&self, account: usize, settings: KeySettings) -> SimKey {
        let mut world = self.shared.world();
        let Some(index) = world.make_key(account, settings) else { panic!("no account {account}") };
        let text = world.keys.get(index).map(|key| key.text.clone()).unwrap_or_default();
        SimKey { index, account, text }
    }

    /// A key under an account of its own with that much bought.
    pub fn funded_key(&self, credits: Pico) -> SimKey {
        let account = self.open_account(AccountSettings::with_balance(credits));
        self.make_key(account, KeySettings::default())
    }

    /// Change an account's settings, for instance to top it up. `false`: there is no such account.
    pub fn edit_account(&self, account: usize, edit: impl FnOnce(&mut AccountSettings)) -> bool {
        self.shared.world().accounts.get_mut(account).map(|account| edit(&mut account.settings)).is_some()
    }

    /// Change a key's settings. `false`: there is no such key.
    pub fn edit_key(&self, key: usize, edit: impl FnOnce(&mut KeySettings)) -> bool {
        self.shared.world().keys.get_mut(key).map(|key| edit(&mut key.settings)).is_some()
    }

    /// What an account has left.
    pub fn balance(&self, account: usize) -> Option<Pico> {
        self.shared.world().accounts.get(account).map(super::accounts::Account::balance)
    }

    /// The `user_…` of an account, which must not leak.
    pub fn user_id(&self, account: usize) -> Option<String> {
        self.shared.world().accounts.get(account).map(|account| account.user_id.clone())
    }

    /// Order answers.
    pub fn script(&self, script: Script) {
        self.shared.world().scripts.push(script);
    }

    /// Orders not used up yet.
    pub fn scripts_left(&self) -> usize {
        self.shared.world().scripts.len()
    }

    /// Withdraw all orders.
    pub fn clear_scripts(&self) {
        self.shared.world().scripts.clear();
    }

    /// The bill as it stands.
    pub fn bill(&self) -> Bill {
        self.shared.world().bill()
    }

    /// The requests received since the log was cleared, oldest first. Control calls are not among them.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.world().journal.entries().cloned().collect()
    }

    /// Clear the log.
    pub fn clear_log(&self) {
        self.shared.world().journal.clear();
    }

    /// Requests received in all.
    pub fn received(&self) -> u64 {
        self.shared.world().journal.received()
    }

    /// The simulator's time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.shared.now_ms())
    }

    /// Set the simulator's clock ahead.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.shared.set_offset_ms(self.shared.offset_ms().saturating_add(by));
    }

    /// Set the simulator's clock.
    pub fn set_time(&self, to: Timestamp) {
        self.shared.set_time(to);
    }

    /// Let every stalled answer go on.
    pub fn release(&self) {
        self.shared.release();
    }

    /// Close the port, and the open connections if `drop_open`. Resolves when connections are refused.
    pub async fn close_port(&self, drop_open: bool) {
        self.shared.port.send_replace(if drop_open { Port::ClosedAndDropped } else { Port::Closed });
        while tokio::net::TcpStream::connect(self.addr).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Open the port again. Resolves when connections are accepted.
    pub async fn open_port(&self) {
        self.shared.port.send_replace(Port::Open);
        while tokio::net::TcpStream::connect(self.addr).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Begin again: no accounts, no keys, no bill, no log, no scripts, the clock as at the start.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Stop: the port and all connections are closed when this resolves.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        // The task only ends by itself or with the runtime.
        (&mut self.task).await.ok();
    }
}

impl Drop for SimulatorHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
