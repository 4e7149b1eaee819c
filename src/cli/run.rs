//! `potluck run`: serve.

use clap::Args;

use super::CliError;
use super::harden::harden;
use super::settings::SettingArgs;
use crate::server::{self, RunOptions};
use crate::telemetry;

/// What `potluck run` takes.
#[derive(Debug, Default, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    settings: SettingArgs,
    /// Take the listening sockets over from a running potluck on the same data folder, then send that one SIGQUIT
    #[arg(long)]
    upgrade: bool,
}

pub(super) fn run(args: &RunArgs) -> Result<(), CliError> {
    let config = args.settings.load()?;
    harden().map_err(CliError::Harden)?;
    telemetry::log::init(config.log.format, config.log.level).map_err(|why| CliError::Log(why.to_string()))?;
    server::run(config, RunOptions { upgrade: args.upgrade })?;
    Ok(())
}
