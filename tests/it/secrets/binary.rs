//! The real program, with its log and its files.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use crate::support::{Ask, free_address};

/// A running `potluck`. Dropping it kills it.
pub struct Binary {
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    place: tempfile::TempDir,
    child: Child,
}

impl Binary {
    /// Start it with these keys and that admin token, and wait until it serves.
    pub async fn start(upstream: &str, keys: &[String], token: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (proxy, admin) = (free_address(), free_address());
        let file = place.path().join("potluck.toml");
        let settings = "[proxy]\nhead_timeout_ms = 1000\n[upstream]\nwait_for_key_ms = 0\nfirst_byte_timeout_ms = 1000\n\
                        [ledger]\nreconcile_schedule_ms = [1, 100, 400, 1000]\n";
        fs::write(&file, settings).unwrap();
        let log = |name: &str| File::create(place.path().join(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_potluck"))
            .args(["run", "-c"])
            .arg(&file)
            .env_clear()
            .env("OPENROUTER_KEYS", keys.join(","))
            .env("POTLUCK_ADMIN_TOKEN", token)
            .env("POTLUCK_UPSTREAM", upstream)
            .env("POTLUCK_LISTEN", proxy.to_string())
            .env("POTLUCK_ADMIN_LISTEN", admin.to_string())
            .env("POTLUCK_DATA_DIR", place.path().join("data"))
            .env("POTLUCK_LOG", "info")
            .stdout(log("stdout"))
            .stderr(log("stderr"))
            .spawn()
            .unwrap();
        let mut started = Self { proxy, admin, place, child };
        for address in [proxy, admin] {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                assert!(started.child.try_wait().unwrap().is_none(), "{}", started.log());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        started
    }

    /// Everything it has written to its standard streams.
    pub fn log(&self) -> String {
        ["stdout", "stderr"].map(|name| fs::read_to_string(self.place.path().join(name)).unwrap()).concat()
    }

    /// What is in its data folder, by name.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut folders: Vec<PathBuf> = vec![self.place.path().join("data")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.is_file() {
                    files.push((path.display().to_string(), fs::read(path).unwrap()));
                }
            }
        }
        files
    }

    /// How the process looks to others on the machine.
    pub fn command_line(&self) -> Vec<u8> {
        fs::read(format!("/proc/{}/cmdline", self.child.id())).unwrap()
    }

    /// Let it end in order.
    pub async fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        while self.child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A call of the admin API with this token.
    pub async fn operate(&self, ask: Ask, token: &str) -> crate::support::Answer {
        ask.header("authorization", &format!("Bearer {token}")).send(self.admin).await
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
