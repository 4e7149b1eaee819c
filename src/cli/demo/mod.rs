//! `potluck demo`: the whole thing on one machine, with no account and no network.
//!
//! Everything is real but the upstream: the same services as `potluck run`, in front of the simulator, on the usual
//! ports where they are free. The data lives in a directory that goes when the demo ends.

mod picture;
mod story;
mod table;
mod traffic;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::config::{Config, Flags};
use crate::server::{Potluck, Sockets, StartError};
use crate::simulator::{Simulator, SimulatorConfig};

use picture::Picture;
use story::Story;
use traffic::Traffic;

/// A cheap model of the simulator's catalogue.
const MODEL: &str = "openai/gpt-4o-mini";
/// The same, holding the usage back until the client is gone.
const SLOW_MODEL: &str = "sim/fixture-8";

/// How often the picture follows the pool when the story is over.
const REDRAW: Duration = Duration::from_millis(300);

/// What `potluck demo` takes.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// A plain log instead of the live picture, also on a terminal
    #[arg(long)]
    plain: bool,
    /// End after the story instead of serving on
    #[arg(long)]
    once: bool,
    /// Pause between the requests of the story
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 250)]
    pace_ms: u64,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The demo's own settings are at fault.
    #[error("the demo's settings are refused: {0}")]
    Config(String),
    /// potluck did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A socket or a directory could not be had.
    #[error("the demo could not start: {0}")]
    Io(#[from] std::io::Error),
    /// The story went wrong.
    #[error(transparent)]
    Story(#[from] story::Stumble),
}

/// Run the demo until Ctrl-C (or to the end of the story with `once`).
///
/// # Errors
/// [`DemoError`] when something is in the way, or when the pool does not do what the story says.
pub(super) fn demo(options: &DemoArgs) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let simulator = runtime.block_on(Simulator::start(SimulatorConfig::default()))?;
    let data = tempfile::tempdir()?;
    // Kept from here on: another demo that starts in the same moment has others, and neither serves the other's traffic.
    let sockets = Sockets { proxy: socket(8767)?, admin: socket(8769)? };
    let (proxy, admin) = (sockets.proxy.local_addr()?, sockets.admin.local_addr()?);
    let data_dir = data.path().join("data").to_string_lossy().into_owned();
    let config = config(&simulator.base_url(), &data_dir, proxy, admin)?;
    let potluck = Potluck::open(config)?;
    let mut story = Story {
        pot: Arc::clone(potluck.pot()),
        simulator,
        traffic: Traffic { proxy, model: MODEL, slow_model: SLOW_MODEL },
        picture: Picture::new(options.plain),
        pace: Duration::from_millis(options.pace_ms),
    };
    // Signals are the server's business: it returns when one has ended it.
    let served = std::thread::spawn(move || potluck.serve_on(sockets));
    let told = runtime.block_on(async {
        tokio::select! {
            told = tell(&mut story, proxy, admin, options.once) => told,
            () = ended(&served) => Ok(()),
        }
    });
    story.picture.leave();
    told
}

/// The story, and the picture of the pool for as long as it serves.
async fn tell(story: &mut Story, proxy: SocketAddr, admin: SocketAddr, once: bool) -> Result<(), DemoError> {
    await_port(proxy).await;
    story.play().await?;
    if once {
        return Ok(());
    }
    invite(&mut story.picture, proxy, admin);
    loop {
        let overview = story.pot.overview().await.map_err(story::Stumble::from)?;
        story.picture.draw(&overview);
        tokio::time::sleep(REDRAW).await;
    }
}

async fn ended(server: &std::thread::JoinHandle<()>) {
    while !server.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The settings of `potluck run`, but for the upstream, the data, and timers a person can wait for.
fn config(upstream: &str, data_dir: &str, proxy: SocketAddr, admin: SocketAddr) -> Result<Config, DemoError> {
    const FILE: &str = "
        [pool]
        credit_recheck_first_ms = 1000
        [ledger]
        reconcile_schedule_ms = [1500, 3000, 6000, 12000]
    ";
    let env = |name: &str| match name {
        "POTLUCK_UPSTREAM" => Some(upstream.to_owned()),
        "POTLUCK_DATA_DIR" => Some(data_dir.to_owned()),
        "POTLUCK_LISTEN" => Some(proxy.to_string()),
        "POTLUCK_ADMIN_LISTEN" => Some(admin.to_string()),
        _ => None,
    };
    Config::from_parts(Some(FILE), &env, &Flags::default()).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        DemoError::Config(faults.join("; "))
    })
}

/// A socket on the usual port where it is free, else on any.
fn socket(usual: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", usual)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
}

async fn await_port(address: SocketAddr) {
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn invite(picture: &mut Picture, proxy: SocketAddr, admin: SocketAddr) {
    picture.act("Now you. The pool keeps serving until Ctrl-C; try it from another terminal:");
    for line in [
        format!("  curl -s http://{proxy}/api/v1/chat/completions -H 'content-type: application/json' \\"),
        format!("    -d '{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'"),
        format!("  curl -s http://{admin}/status"),
        format!("  curl -s http://{admin}/keys"),
        format!("  curl -s http://{admin}/metrics"),
        format!("  curl -s http://{proxy}/api/ai/completion -H 'content-type: application/json' \\"),
        "    -d '{\"prompt\":\"Translate to French: good night\"}'".to_owned(),
        String::new(),
    ] {
        picture.say(&line);
    }
}
