//! The `potluck` command: what can be typed, and what each word does.

mod check;
mod client;
mod clients;
mod demo;
mod harden;
mod keys;
mod ledger;
mod limits;
mod receipt;
mod run;
mod screen;
mod settings;
mod simulate;
mod status;

use std::io;

use clap::{Parser, Subcommand};

use crate::config::{Fault, documented_file};
use crate::server::StartError;

pub use client::ClientError;
pub use demo::DemoError;
use screen::print;
use settings::SettingArgs;

/// Community-funded AI access: donated OpenRouter keys pooled behind one base URL.
#[derive(Debug, Parser)]
#[command(name = "potluck", version, max_term_width = 110, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command, potluck serves.
    #[command(flatten)]
    run: run::RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  potluck demo                                  see it all at work, with no account and no network
  OPENROUTER_KEYS=sk-or-v1-… potluck            serve, with that key in the pool
  potluck keys add --label alice                donate another key to the running pool
  potluck keys limits k1 --day 5                spend at most $5 a day on it
  potluck clients add ann                       give somebody a key for this pool
  potluck status                                which keys are well, and what is left
  potluck ledger                                where the money went, line by line
  potluck keys receipt k1                       the same for the donor of one key
  potluck config > potluck.toml                 start a configuration file: every setting, explained
  potluck check -c potluck.toml                 say everything that is wrong with it

Every command explains itself: potluck help COMMAND";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: the drop-in API for clients, the admin API for operators and donors (what potluck does without a command)
    Run(run::RunArgs),
    /// Watch a pool of three keys rotate, run dry, recover and balance its books: no account, no network
    Demo(demo::DemoArgs),
    /// Only the OpenRouter simulator, for tests, load tests and client developers
    Simulate(simulate::SimulateArgs),
    /// Read and judge the configuration: every fault, not only the first; exits with 0 or 64
    Check(SettingArgs),
    /// Print the documented configuration file: every setting with its meaning, unit, range and default
    Config,
    /// The running pool at a glance: keys, health, spend
    Status(status::StatusArgs),
    /// List, add, limit, pause, remove keys of the running pool; receipts for their donors
    Keys(keys::KeysArgs),
    /// Let clients in, change what they may do, revoke their keys; rotate the key that tokens are signed with
    Clients(clients::ClientsArgs),
    /// The books: every attempt and what it cost, sums by day, costs that are still open
    Ledger(ledger::LedgerArgs),
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The settings are at fault: all their faults.
    #[error("{}", listed(.0))]
    Config(Vec<Fault>),
    /// The answer could not be written.
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
    /// Nothing could be read from standard input.
    #[error("cannot read from standard input")]
    Input(#[source] io::Error),
    /// What was given is no key that can be donated.
    #[error("no key to add: {0}")]
    NoKey(String),
    /// There is no key of that id.
    #[error("no key {0} in the pool: `potluck keys list` has them all")]
    NoSuchKey(String),
    /// The running potluck said no, or is none.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Core dumps could not be turned off, so keys would not be safe in memory.
    #[error("cannot turn core dumps off")]
    Harden(#[source] io::Error),
    /// Logging could not begin.
    #[error("cannot start logging: {0}")]
    Log(String),
    /// Serving could not begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The simulator could not start.
    #[error("the simulator cannot start")]
    Simulator(#[source] io::Error),
    /// The demo stumbled.
    #[error(transparent)]
    Demo(#[from] DemoError),
}

impl CliError {
    /// What the process ends with: 64 for settings or words that are wrong, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::NoKey(_) => USAGE,
            _ => 1,
        }
    }
}

/// Exit code for wrong words or settings (`EX_USAGE`).
pub const USAGE: u8 = 64;

impl Cli {
    /// Do what was typed.
    ///
    /// # Errors
    /// [`CliError`] says what is in the way, and how to get on where that is known.
    pub fn run(self) -> Result<(), CliError> {
        match self.command {
            None => run::run(&self.run),
            Some(Command::Run(args)) => run::run(&args),
            Some(Command::Demo(args)) => Ok(demo::demo(&args)?),
            Some(Command::Simulate(args)) => simulate::simulate(args),
            Some(Command::Check(settings)) => check::check(&settings),
            Some(Command::Config) => print(&documented_file()),
            Some(Command::Status(args)) => status::status(&args),
            Some(Command::Keys(args)) => keys::keys(args),
            Some(Command::Clients(args)) => clients::clients(args),
            Some(Command::Ledger(args)) => ledger::ledger(args),
        }
    }
}

fn listed(faults: &[Fault]) -> String {
    let head = match faults.len() {
        1 => "the configuration has a fault:".to_owned(),
        n => format!("the configuration has {n} faults:"),
    };
    faults.iter().fold(head, |text, fault| format!("{text}\n  {fault}"))
}
