//! Starting, watching and ending processes of the real binary.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use potluck::clock::Tick;
use potluck::money::Usd;
use potluck::simulator::{SimKey, SimulatorHandle};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Answer, Ask, free_address};

/// No wait in a test is longer; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);

/// Wait until it is so, or fail saying what never happened.
pub async fn with_patience<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Tick::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "never happened: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Watch for some time that something does not happen.
pub async fn nothing_happens(time: Duration, mut happened: impl FnMut() -> Option<String>) {
    let started = Tick::now();
    while started.elapsed() < time {
        if let Some(what) = happened() {
            panic!("{what}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Where a potluck lives: its addresses and its folder, which outlive its processes.
#[derive(Clone)]
pub struct Place {
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    upstream: String,
    folder: Arc<tempfile::TempDir>,
    env: Vec<(String, String)>,
}

impl Place {
    /// A place before that upstream, with lines for its configuration file.
    pub fn new(simulator: &SimulatorHandle, settings: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        fs::write(folder.path().join("potluck.toml"), settings).expect("written");
        let upstream = simulator.base_url();
        Self { proxy: free_address(), admin: free_address(), upstream, folder, env: Vec::new() }
    }

    /// With these keys in `OPENROUTER_KEYS`.
    pub fn keys(self, keys: &[SimKey]) -> Self {
        let keys: Vec<&str> = keys.iter().map(|key| key.text.as_str()).collect();
        self.env("OPENROUTER_KEYS", &keys.join(","))
    }

    /// With another environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(present, _)| present != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same data under other addresses.
    pub fn moved(&self) -> Self {
        Self { proxy: free_address(), admin: free_address(), ..self.clone() }
    }

    /// Where this place's files are.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The binary with these words, in an environment that holds nothing but this place.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_potluck"));
        command.args(words).env_clear().current_dir(self.folder());
        command.env("POTLUCK_UPSTREAM", &self.upstream).env("POTLUCK_DATA_DIR", self.data());
        command.env("POTLUCK_LISTEN", self.proxy.to_string()).env("POTLUCK_ADMIN_LISTEN", self.admin.to_string());
        command.env("POTLUCK_LOG_FORMAT", "json").envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// `potluck run` with further words, without waiting for anything.
    pub fn spawn(&self, words: &[&str]) -> Running {
        Running::spawn(self, self.command(&[&["run", "-c", "potluck.toml"], words].concat()))
    }

    /// `potluck run`, until it serves on both addresses.
    pub async fn start(&self) -> Running {
        let mut running = self.spawn(&[]);
        running.serving().await;
        running
    }

    /// Ask the proxy listener.
    pub async fn ask(&self, ask: &Ask) -> Answer {
        ask.send(self.proxy).await
    }

    /// `GET` on the admin listener.
    pub async fn admin(&self, path: &str) -> Value {
        let answer = Ask::get(path).send(self.admin).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// `GET /status`, its one member.
    pub async fn status(&self) -> Value {
        self.admin("/status").await["openrouter"].take()
    }

    /// The status once it is so.
    pub async fn status_when(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let started = Tick::now();
        while started.elapsed() < PATIENCE {
            last = self.status().await;
            if so(&last) {
                return last;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("never happened: {what}: {last:#}");
    }

    /// Wait until what was lost with a process is found: nothing is in suspense, and ledger and bill are equal.
    pub async fn books_come_out(&self, simulator: &SimulatorHandle, what: &str) {
        let equal = |status: &Value| {
            let open = status["suspense"]["entries"] != 0 || status["inFlight"] != 0;
            !open && pico(&status["stats"]["totalCost"]) == simulator.bill().total.0
        };
        self.status_when(what, equal).await;
    }

    /// What potluck has booked, once nothing is in suspense, is what the simulator has billed; for each key, too.
    pub async fn assert_books_balance(&self, simulator: &SimulatorHandle) {
        let settled = |status: &Value| status["suspense"]["entries"] == 0 && status["inFlight"] == 0;
        let status = self.status_when("all costs are known", settled).await;
        let bill = simulator.bill();
        assert_eq!(pico(&status["stats"]["totalCost"]), bill.total.0, "{status:#}");
        let keys = status["keys"].as_array().expect("keys");
        for line in &bill.keys {
            let mask = format!("sk-or-v1-…{}", &line.name[line.name.len() - 4..]);
            let booked = keys.iter().find(|key| key["key"] == mask.as_str()).map(|key| pico(&key["spentTotal"]));
            assert_eq!(booked.unwrap_or(0), line.cost.0, "{mask}: {status:#}");
        }
    }
}

/// An amount of the admin API, in pico-dollars.
fn pico(amount: &Value) -> i128 {
    let digits = amount.as_str().and_then(|text| text.strip_prefix('$')).expect("an amount");
    i128::from(Usd::parse(digits.as_bytes()).expect("an exact amount").as_pico())
}

/// A process of the real binary. Dropping it kills it.
pub struct Running {
    child: Child,
    log: PathBuf,
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl Running {
    /// Start that command, whose listeners are those of `place`.
    pub fn spawn(place: &Place, mut command: Command) -> Self {
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let log = place.folder().join(format!("{}.log", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let stderr = File::create(&log).expect("a log file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().expect("the binary starts");
        Self { child, log, proxy: place.proxy, admin: place.admin }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log")
    }

    /// Wait until both listeners answer.
    pub async fn serving(&mut self) {
        for address in [self.proxy, self.admin] {
            with_patience("it serves", async || {
                let ended = self.child.try_wait().expect("a child");
                assert!(ended.is_none(), "ended with {ended:?}: {}", self.log());
                tokio::net::TcpStream::connect(address).await.ok()
            })
            .await;
        }
        // The sockets are there before their server is: an answer shows that signals are listened to.
        assert_eq!(Ask::get("/health").send(self.admin).await.status, 200);
    }

    /// Wait until it has logged that.
    pub async fn says(&self, what: &str) {
        with_patience(what, async || self.log().contains(what).then_some(())).await;
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Wait for its end: its exit code, or the signal that killed it as a negative number.
    pub async fn end(&mut self) -> i32 {
        let status = with_patience("it ends", async || self.ended()).await;
        status.code().unwrap_or_else(|| -status.signal().expect("a code or a signal"))
    }

    /// Stop it in order.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.end().await, 0, "{}", self.log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Run a command to its end, without stopping the simulator meanwhile.
pub async fn output(mut command: Command) -> Output {
    let run = move || command.stdin(Stdio::null()).output().expect("it runs");
    tokio::time::timeout(PATIENCE * 3, tokio::task::spawn_blocking(run)).await.expect("it ends").expect("no panic")
}
