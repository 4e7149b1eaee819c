//! Settings on the command line.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use crate::config::{Config, Flags};

/// Settings for this start. They win over the environment, which wins over the file.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings (these win over the environment, which wins over the file)")]
pub(super) struct SettingArgs {
    /// Configuration file; `potluck config` prints one to start from
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where clients connect [default: 127.0.0.1:8767] [env: POTLUCK_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where the admin API listens [default: 127.0.0.1:8769] [env: POTLUCK_ADMIN_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// OpenRouter, or something that speaks like it [default: https://openrouter.ai/api/v1] [env: POTLUCK_UPSTREAM]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Where the database and the master key live [default: ./data] [env: POTLUCK_DATA_DIR]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// The database, relative to the data folder [default: sqlite://potluck.db] [env: POTLUCK_STORE]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// round_robin, weighted, least_spent or fill_first [default: round_robin] [env: POTLUCK_ROTATION]
    #[arg(long, value_name = "ORDER")]
    rotation: Option<String>,
    /// Any other setting by its name in the file, as in --set proxy.threads=2
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    set: Vec<(String, String)>,
}

impl SettingArgs {
    /// The checked settings of file, environment and these flags.
    pub(super) fn load(&self) -> Result<Config, CliError> {
        let mut flags = Flags::default();
        for (path, name, value) in [
            ("proxy.listen", "--listen", &self.listen),
            ("admin.listen", "--admin-listen", &self.admin_listen),
            ("upstream.base_url", "--upstream", &self.upstream),
            ("data_dir", "--data-dir", &self.data_dir),
            ("store.url", "--store", &self.store),
            ("pool.rotation", "--rotation", &self.rotation),
        ] {
            if let Some(value) = value {
                flags.set(path, name, value);
            }
        }
        for (path, value) in &self.set {
            flags.set_any(path, "--set", value);
        }
        Config::load(self.file.as_deref(), &flags).map_err(CliError::Config)
    }
}

/// Where the admin API is, and how its answer is shown.
#[derive(Debug, Default, Args)]
pub(super) struct AdminArgs {
    /// Configuration file of the running potluck, for its admin address and token file
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where its admin API listens [default: 127.0.0.1:8769] [env: POTLUCK_ADMIN_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// The answer as JSON, for programs
    #[arg(long)]
    pub(super) json: bool,
}

impl AdminArgs {
    /// The settings that the running potluck has, as far as they tell where its admin API is.
    pub(super) fn load(&self) -> Result<Config, CliError> {
        let mut flags = Flags::default();
        if let Some(listen) = &self.admin_listen {
            flags.set("admin.listen", "--admin-listen", listen);
        }
        Config::load(self.file.as_deref(), &flags).map_err(CliError::Config)
    }
}

fn name_and_value(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
