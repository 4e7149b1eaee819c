//! `potluck simulate`: a simulator with some accounts, until it is stopped.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use super::accounts::{AccountSettings, KeySettings};
use super::amount::Pico;
use super::handle::{Simulator, SimulatorConfig, SimulatorHandle};

/// What `potluck simulate` takes.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    /// Where it listens. Anything but loopback is refused: there are no passwords on the control calls.
    pub listen: SocketAddr,
    /// Accounts to open, each with one key.
    pub accounts: u32,
    /// Dollars bought on each, as decimal text such as `5` or `0.25`.
    pub balance_usd: String,
    /// Everything random follows from it; the same seed gives the same keys.
    pub seed: u64,
    /// `/generation` knows a call that many milliseconds after its end.
    pub generation_delay_ms: u64,
    /// Answer every call fast, for load tests.
    pub fast: bool,
}

impl Default for SimulateOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8780)),
            accounts: 3,
            balance_usd: "5".to_owned(),
            seed: 1,
            generation_delay_ms: 300,
            fast: false,
        }
    }
}

/// Start the simulator that the options describe.
///
/// # Errors
/// When the address is not loopback or cannot be listened on, or the balance is no amount.
pub async fn open(options: &SimulateOptions) -> io::Result<SimulatorHandle> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
    if !options.listen.ip().is_loopback() {
        return Err(wrong("the simulator only listens on loopback addresses"));
    }
    let balance = Pico::parse_usd(&options.balance_usd).ok_or_else(|| wrong("balance is not an amount in dollars"))?;
    let simulator = Simulator::start(SimulatorConfig {
        listen: options.listen,
        seed: options.seed,
        generation_delay: Duration::from_millis(options.generation_delay_ms),
        fast: options.fast,
        ..SimulatorConfig::default()
    })
    .await?;
    for _ in 0..options.accounts {
        let account = simulator.open_account(AccountSettings::with_balance(balance));
        simulator.make_key(account, KeySettings::default());
    }
    Ok(simulator)
}

/// What is printed at the start: where it is, its keys, and a call to try.
pub fn greeting(simulator: &SimulatorHandle) -> String {
    let bill = simulator.bill();
    let base = simulator.base_url();
    let mut text = format!("simulated OpenRouter on {base}\n\n");
    for line in &bill.keys {
        // Writing to a String cannot fail.
        writeln!(text, "key {}  {}", line.index, line.name).ok();
    }
    if let Some(first) = bill.keys.first() {
        let body = r#"{"model":"openai/gpt-4o-mini","max_tokens":100,"messages":[{"role":"user","content":"hello"}]}"#;
        writeln!(
            text,
            "\ntry:  curl {base}/chat/completions -H 'Authorization: Bearer {}' -H 'Content-Type: application/json' \\\n           \
             -d '{body}'\nbill: curl http://{}/_sim/bill",
            first.name,
            simulator.addr()
        )
        .ok();
    }
    text
}

/// Serve until Ctrl-C.
///
/// # Errors
/// As [`open`], or when Ctrl-C cannot be listened for.
pub async fn serve(options: SimulateOptions) -> io::Result<()> {
    let simulator = open(&options).await?;
    // Whoever started it may have closed the pipe after reading the keys; it serves on.
    writeln!(io::stdout(), "{}", greeting(&simulator)).ok();
    tokio::signal::ctrl_c().await?;
    simulator.shutdown().await;
    Ok(())
}
