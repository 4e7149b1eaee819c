//! The processes under test, and what the kernel says about them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A port nobody listens on just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// The upstream of every proxy here.
pub struct Simulator {
    child: Child,
    pub address: SocketAddr,
    /// The one key it knows.
    pub key: String,
}

impl Simulator {
    pub fn start() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut child = Command::new(env!("CARGO_BIN_EXE_potluck"))
            .args(["simulate", "--fast", "--accounts", "1", "--balance", "1000000", "--listen", &address.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulator starts");
        let greeting = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let key =
            greeting.filter_map(|line| line.split_whitespace().find(|w| w.starts_with("sk-or-v1-")).map(str::to_owned));
        let key = { key }.next().expect("a key in the greeting");
        await_port(address);
        Self { child, address, key }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// As long as a client key of potluck's, so that a head with it is as long.
pub fn placeholder() -> String {
    "no-key-needed-".repeat(6).get(..76).unwrap_or_default().to_owned()
}

/// A proxy under test: its process and where it listens.
pub struct Proxy {
    pub name: &'static str,
    pub address: SocketAddr,
    /// Money is limited there, so it serves only what has a price.
    pub priced: bool,
    /// What its clients present: where clients are not told apart, what SDKs send that were given no key of anybody's.
    pub credential: String,
    child: Child,
    _files: Option<tempfile::TempDir>,
}

impl Proxy {
    pub fn plain(simulator: &Simulator) -> Self {
        let port = free_port();
        let child = Command::new(std::env::current_exe().expect("this bench"))
            .args(["--plain-pingora", &format!("127.0.0.1:{port}"), &simulator.address.to_string(), &simulator.key])
            .spawn()
            .expect("plain Pingora starts");
        Self::started("plain", child, port, None)
    }

    pub fn potluck(simulator: &Simulator) -> Self {
        Self::pool("potluck", simulator, free_port())
    }

    /// potluck with caps on its key that are far away: each request is bounded, held and settled.
    pub fn capped(simulator: &Simulator) -> Self {
        let admin = free_port();
        let mut proxy = Self::pool("capped", simulator, admin);
        proxy.priced = true;
        operate(admin, "PATCH /keys/openrouter/k1", r#"{"limits":{"caps":{"day":1000000,"month":1000000}}}"#);
        proxy
    }

    /// potluck with a client key that has budgets and rates which are far away, and no caps.
    pub fn guest(simulator: &Simulator) -> Self {
        let admin = free_port();
        let mut proxy = Self::pool("guest", simulator, admin);
        proxy.priced = true;
        let terms = r#"{"name":"guest","budgets":{"day":1000000,"month":1000000},"requestsPerMinute":4000000000}"#;
        let answer = operate(admin, "POST /clients", terms);
        let key = answer.split('"').find(|text| text.starts_with("ptl-") && !text.contains('…'));
        key.expect("a key").clone_into(&mut proxy.credential);
        proxy
    }

    fn pool(name: &'static str, simulator: &Simulator, admin: u16) -> Self {
        let (port, dir) = (free_port(), tempfile::tempdir().expect("a directory"));
        let config = dir.path().join("potluck.toml");
        std::fs::write(&config, "[proxy]\nthreads = 1\nconnections_per_address_max = 10000\n").expect("written");
        let child = Command::new(env!("CARGO_BIN_EXE_potluck"))
            .args(["run", "-c"])
            .arg(&config)
            .env("OPENROUTER_KEYS", &simulator.key)
            .env("POTLUCK_LISTEN", format!("127.0.0.1:{port}"))
            .env("POTLUCK_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .env("POTLUCK_UPSTREAM", format!("http://{}/api/v1", simulator.address))
            .env("POTLUCK_DATA_DIR", dir.path().join("data"))
            .env("POTLUCK_LOG", "error")
            .spawn()
            .expect("potluck starts");
        await_port(SocketAddr::from(([127, 0, 0, 1], admin)));
        Self::started(name, child, port, Some(dir))
    }

    pub fn started(name: &'static str, child: Child, port: u16, files: Option<tempfile::TempDir>) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        await_port(address);
        Self { name, address, priced: false, credential: placeholder(), child, _files: files }
    }

    /// CPU seconds used so far by the process and its children (nginx works in one).
    pub fn cpu_seconds(&self) -> f64 {
        let ns: u64 = self.family().iter().map(|pid| cpu_ns(*pid)).sum();
        assert!(ns > 0, "this kernel does not say what CPU a thread has used (/proc/PID/task/*/schedstat)");
        ns as f64 / 1e9
    }

    /// Resident memory in KiB, children included.
    pub fn resident_kib(&self) -> f64 {
        let resident = |pid: &u32| -> Option<f64> {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        self.family().iter().filter_map(resident).sum()
    }

    fn family(&self) -> Vec<u32> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        std::iter::once(id).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }
}

/// A call of the admin API.
fn operate(admin: u16, call: &str, body: &str) -> String {
    let mut admin = TcpStream::connect(("127.0.0.1", admin)).expect("the admin listener");
    let ask = format!(
        "{call} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    admin.write_all(ask.as_bytes()).expect("asked");
    let mut answer = String::new();
    admin.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// User and system time of all threads in nanoseconds. `/proc/PID/stat` has it to 10 ms, which is too coarse for a short turn.
/// Threads that have ended are not in it; no proxy here ends one under load.
fn cpu_ns(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: std::fs::DirEntry| -> Option<u64> {
        std::fs::read_to_string(thread.path().join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
    };
    threads.filter_map(of_thread).sum()
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx ends its worker on a TERM; killing the master would leave the worker.
        Command::new("kill").arg(self.child.id().to_string()).status().ok();
        std::thread::sleep(Duration::from_millis(300));
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn await_port(address: SocketAddr) {
    for _ in 0..200 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("nothing listens on {address}");
}
