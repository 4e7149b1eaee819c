//! `potluck check`: judge the settings without serving.

use super::CliError;
use super::screen::print;
use super::settings::SettingArgs;
use crate::config::{ClientsMode, Config};

pub(super) fn check(settings: &SettingArgs) -> Result<(), CliError> {
    print(&summary(&settings.load()?))
}

fn summary(config: &Config) -> String {
    let token = if config.admin.token.is_some() { "with a token" } else { "without a token" };
    let sealed = if config.store.master_key.is_some() { "POTLUCK_MASTER_KEY" } else { "master.key in the data folder" };
    let who = match config.clients.mode {
        ClientsMode::Open => "whoever reaches it",
        ClientsMode::Required => "clients need keys",
    };
    format!(
        "the configuration is good\n\
         \x20 clients   {} ({} threads; {who})\n\
         \x20 admin     {} ({token})\n\
         \x20 upstream  {}\n\
         \x20 store     {} (keys sealed with {sealed})\n\
         \x20 keys      {} from the environment\n\
         \x20 routing   {} categories\n",
        config.proxy.listen,
        config.proxy.threads,
        config.admin.listen,
        config.upstream.base_url,
        config.store.url,
        config.keys.len(),
        config.routing.categories.len(),
    )
}
