//! `potluck keys`: the pool's keys, by hand.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::CliError;
use super::client::AdminClient;
use super::screen::{plain, print, print_json, read_secret};
use super::settings::AdminArgs;
use super::status::key_table;
use crate::admin::{DonatedAnswer, HealthSetAnswer, KeysAnswer, WithdrawnAnswer};
use crate::pool::Health;
use crate::secret::Credential;

/// What `potluck keys` takes.
#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Every key: health, spend, and the donor's name; never the key itself
    List {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Put a key into the pool; it is read from standard input, because everybody can read command lines
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// Read the key from this environment variable instead of standard input
        #[arg(long, value_name = "NAME")]
        from_env: Option<String>,
        /// A name for the key
        #[arg(long)]
        label: Option<String>,
        /// Who gives it, by your own numbering
        #[arg(long)]
        donor_id: Option<String>,
        /// Who gives it, by name
        #[arg(long)]
        donor_name: Option<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Take a key out of the pool and wipe it from the store
    Remove {
        /// The key's id, as in `potluck keys list`
        id: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Say how a key is: healthy after its donor topped it up, failed to take it out of rotation
    Health {
        /// The key's id, as in `potluck keys list`
        id: String,
        /// healthy, degraded, rate_limited, depleted or failed
        #[arg(value_parser = health)]
        status: Health,
        /// Why, for whoever looks at it next
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

const ADD_EXAMPLES: &str = "\
Examples:
  potluck keys add --label alice                      asks for the key, and does not show it
  potluck keys add --label alice < alice.key          reads it from a file
  potluck keys add --from-env OPENROUTER_API_KEY      reads it from the environment";

pub(super) fn keys(args: KeysArgs) -> Result<(), CliError> {
    match args.command {
        KeysCommand::List { admin } => {
            let answer: KeysAnswer = client(&admin)?.call(Method::GET, "/keys", None)?;
            if admin.json { print_json(&answer) } else { print(&key_table(&answer.keys)) }
        }
        KeysCommand::Add { from_env, label, donor_id, donor_name, admin } => {
            let names = [("label", label), ("donorId", donor_id), ("donorName", donor_name)];
            add(&admin, from_env.as_deref(), &names)
        }
        KeysCommand::Remove { id, admin } => {
            let body = json!({ "id": id });
            let answer: WithdrawnAnswer = client(&admin)?.call(Method::DELETE, "/keys/openrouter", Some(&body))?;
            let text = format!("{} ({}) is out of the pool; {} left\n", answer.id, answer.key, answer.total_keys);
            if admin.json { print_json(&answer) } else { print(&plain_line(&text)) }
        }
        KeysCommand::Health { id, status, note, admin } => {
            let mut body = json!({ "id": id, "status": status.name() });
            if let Some(note) = note {
                body["error"] = note.into();
            }
            let answer: HealthSetAnswer = client(&admin)?.call(Method::POST, "/health/openrouter", Some(&body))?;
            let back = answer.health.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
            let text = format!("{} ({}) is {}{back}\n", answer.id, answer.key, answer.status.name());
            if admin.json { print_json(&answer) } else { print(&plain_line(&text)) }
        }
    }
}

fn add(admin: &AdminArgs, from_env: Option<&str>, names: &[(&str, Option<String>); 3]) -> Result<(), CliError> {
    let client = client(admin)?;
    let text = match from_env {
        Some(name) => Zeroizing::new(std::env::var(name).map_err(|_| CliError::NoKey(format!("{name} is not set")))?),
        None => read_secret("OpenRouter key (not shown): ")?,
    };
    // A slip is told here, before the key goes anywhere.
    let key = Credential::parse(&text).map_err(|why| CliError::NoKey(why.to_string()))?;
    let mut body = Map::new();
    body.insert("key".into(), key.expose().into());
    for (name, value) in names {
        if let Some(value) = value {
            body.insert((*name).into(), value.as_str().into());
        }
    }
    let answer: DonatedAnswer = client.call(Method::POST, "/keys/openrouter", Some(&Value::Object(body)))?;
    let unverified = if answer.verified { "" } else { ", but OpenRouter could not be asked about it yet" };
    let text = format!("{} ({}) is in the pool of {}{unverified}\n", answer.id, answer.key, answer.total_keys);
    if admin.json { print_json(&answer) } else { print(&plain_line(&text)) }
}

fn client(admin: &AdminArgs) -> Result<AdminClient, CliError> {
    Ok(AdminClient::new(&admin.load()?))
}

fn plain_line(text: &str) -> String {
    plain(text.trim_end()) + "\n"
}

fn health(text: &str) -> Result<Health, String> {
    let names = || Health::ALL.map(Health::name).join(", ");
    Health::from_name(text).ok_or_else(|| format!("must be one of {}", names()))
}
