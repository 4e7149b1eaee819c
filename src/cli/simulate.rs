//! `potluck simulate`: an OpenRouter to develop and measure against.

use std::net::SocketAddr;

use clap::Args;

use super::CliError;
use crate::simulator::{self, SimulateOptions};

/// What `potluck simulate` takes.
#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// Where it listens; loopback only, as its control calls have no password
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8780")]
    listen: SocketAddr,
    /// Accounts to open, each with one key
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=100_000))]
    accounts: u32,
    /// Dollars bought on each account
    #[arg(long, value_name = "DOLLARS", default_value = "5")]
    balance: String,
    /// Everything random follows from it: the same seed gives the same keys
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How long after its end a call turns up in GET /generation
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 300)]
    generation_delay_ms: u64,
    /// Answer as fast as possible, without log and scripts, for load tests
    #[arg(long)]
    fast: bool,
}

pub(super) fn simulate(args: SimulateArgs) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Simulator)?;
    let options = SimulateOptions {
        listen: args.listen,
        accounts: args.accounts,
        balance_usd: args.balance,
        seed: args.seed,
        generation_delay_ms: args.generation_delay_ms,
        fast: args.fast,
    };
    runtime.block_on(simulator::serve(options)).map_err(CliError::Simulator)
}
