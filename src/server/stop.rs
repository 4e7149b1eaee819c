//! How a serving process ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

use super::close;
use crate::pot::Pot;

/// How often a draining process looks whether the last request is done.
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// Connections that were accepted just before the listeners closed get this long to show their request.
const DRAIN_SETTLE: Duration = Duration::from_millis(250);

/// The signals that end a process: SIGTERM, SIGQUIT, SIGINT.
pub(super) type Heard = [Signal; 3];

/// Listen for signals from now on. One that comes before the server runs is acted upon when it does: whoever sees the sockets
/// may send one.
pub(super) fn listen() -> std::io::Result<Heard> {
    // Who listens is known to the whole process; which runtime reads what has come makes no difference.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    Ok([signal(SignalKind::terminate())?, signal(SignalKind::quit())?, signal(SignalKind::interrupt())?])
}

/// What ends a process: signals, and a ledger without a writer.
pub(super) struct Signals {
    pot: Arc<Pot>,
    heard: Mutex<Option<Heard>>,
}

impl Signals {
    /// To be listened for since `heard`, or from now on.
    pub(super) fn new(pot: Arc<Pot>, heard: Option<Heard>) -> Self {
        Self { pot, heard: Mutex::new(heard.or_else(|| listen().ok())) }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let heard = self.heard.lock().await.take();
        let Some([mut terminate, mut quit, mut interrupt]) = heard else {
            tracing::error!("signals cannot be listened for: stop potluck with SIGKILL");
            return std::future::pending().await;
        };
        let received = tokio::select! {
            _ = terminate.recv() => ShutdownSignal::GracefulTerminate,
            _ = quit.recv() => ShutdownSignal::GracefulUpgrade,
            _ = interrupt.recv() => ShutdownSignal::FastShutdown,
            () = self.pot.store().writer_broke() => {
                tracing::error!("nothing can be booked any more: potluck stops, to be started anew");
                ShutdownSignal::GracefulTerminate
            }
        };
        self.pot.drain();
        if matches!(received, ShutdownSignal::GracefulUpgrade) {
            // The successor reads the keys as soon as it has the sockets.
            self.pot.changes_end().await;
        }
        received
    }
}

/// Ends the process as soon as it is drained: Pingora itself always waits for the whole grace period.
pub(super) struct Drain {
    pub(super) pot: Arc<Pot>,
}

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        if shutdown.wait_for(|down| *down).await.is_err() {
            return;
        }
        self.pot.drain();
        tracing::info!(
            requests = self.pot.requests_underway(),
            "draining: no new connections, what is under way may end"
        );
        tokio::time::sleep(DRAIN_SETTLE).await;
        while self.pot.requests_underway() > 0 {
            tokio::time::sleep(DRAIN_POLL).await;
        }
        tracing::info!("drained; the ledger is closed last");
        std::process::exit(close(&self.pot).map_or(1, |()| 0));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::{Potluck, RunOptions, Sockets, background, server};
    use super::*;
    use crate::clock::Tick;
    use crate::config::Config;

    /// Where the process that this test starts has its data.
    const PLACE: &str = "POTLUCK_TEST_PLACE";
    /// How long that one has a request under way.
    const UNDERWAY: Duration = Duration::from_millis(700);

    #[test]
    fn a_panic_of_the_ledgers_writer_ends_the_process_with_a_failure_once_what_is_under_way_has_ended() {
        if let Ok(place) = std::env::var(PLACE) {
            return serve_without_writer(place);
        }
        let place = tempfile::tempdir().expect("a directory");
        let began = Tick::now();
        let name = std::thread::current().name().expect("a test's").to_owned();
        let child = Command::new(std::env::current_exe().expect("this"))
            .args(["--exact", &name, "--nocapture"])
            .env(PLACE, place.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("runs");
        assert_eq!(child.code(), Some(1));
        let took = began.elapsed();
        assert!(took >= UNDERWAY && took < Duration::from_secs(20), "{took:?}");
    }

    fn serve_without_writer(place: String) {
        let mut config = Config { data_dir: place.into(), ..Config::default() };
        config.store.url = crate::config::StoreUrl::Sqlite(config.data_dir.join("potluck.db"));
        // Two ports that nobody has: Pingora tells sockets apart by the address they were asked for.
        let ports = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [proxy, admin] = ports.map(|socket| socket.local_addr().expect("bound").port());
        config.proxy.listen.set_port(proxy);
        config.admin.listen.set_port(admin);
        let sockets = Sockets::take(&config).expect("free");
        let potluck = Potluck::open(config).expect("opens");
        let request = potluck.pot.request();
        std::thread::spawn(move || {
            std::thread::sleep(UNDERWAY);
            drop(request);
        });
        potluck.pot.store().break_writer();
        let server = server(&potluck.config, RunOptions::default());
        let drain = background("potluck drain", Drain { pot: Arc::clone(&potluck.pot) });
        potluck.serve_in(server, Some(sockets), Some(drain), None).ok();
    }
}
