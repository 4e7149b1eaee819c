//! `potluck keys`: the pool's keys, by hand.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::CliError;
use super::client::{AdminClient, escaped};
use super::limits::{LiftArgs, LimitArgs, told};
use super::receipt::{self, PeriodArgs};
use super::screen::{print, print_json, print_line, read_secret};
use super::settings::AdminArgs;
use super::status::key_table;
use crate::admin::{DonatedAnswer, HealthSetAnswer, KeyAnswer, KeysAnswer, WithdrawnAnswer};
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
    /// Every key: health, spend, caps and what they leave, and the donor's name; never the key itself
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
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// Set or lift what a key's donor allows; without a flag, show it
    #[command(after_help = LIMITS_EXAMPLES)]
    Limits {
        /// The key's id, as in `potluck keys list`
        id: String,
        #[command(flatten)]
        admin: AdminArgs,
        #[command(flatten)]
        set: LimitArgs,
        #[command(flatten)]
        lift: LiftArgs,
    },
    /// Take a key out of rotation until it is resumed; requests under way finish
    Pause {
        /// The key's id, as in `potluck keys list`
        id: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Put a paused key back into rotation
    Resume {
        /// The key's id, as in `potluck keys list`
        id: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// What a key was used for, for its donor: requests, models, tokens, money, and how to find it at OpenRouter
    #[command(after_help = RECEIPT_EXAMPLES)]
    Receipt {
        /// The key's id, as in `potluck keys list`; keys that have left the pool have receipts too
        id: String,
        #[command(flatten)]
        period: PeriodArgs,
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
  potluck keys add --from-env OPENROUTER_API_KEY      reads it from the environment
  potluck keys add --label bob --day 5 --total 50     and spends at most $5 a day and $50 in all on it";

const LIMITS_EXAMPLES: &str = "\
What is not named stays as it is. Caps count what was spent through this pool; all of them hold at once.

Examples:
  potluck keys limits k1                              what is set
  potluck keys limits k1 --day 5 --month 60           at most $5 a day and $60 a month
  potluck keys limits k1 --no-day --reserve 1.50      no daily cap; $1.50 of its credit stay the owner's
  potluck keys limits k1 --models 'anthropic/*,*:free' --concurrency 4 --expires 2027-01-01";

const RECEIPT_EXAMPLES: &str = "\
Examples:
  potluck keys receipt k1                                       this month, so far
  potluck keys receipt k1 --from 2026-11-01 --to 2026-11-30     these days, both included
  potluck keys receipt k1 --json                                for programs";

pub(super) fn keys(args: KeysArgs) -> Result<(), CliError> {
    match args.command {
        KeysCommand::List { admin } => {
            let answer: KeysAnswer = client(&admin)?.call(Method::GET, "/keys", None)?;
            if admin.json { print_json(&answer) } else { print(&key_table(&answer.keys)) }
        }
        KeysCommand::Add { from_env, label, donor_id, donor_name, limits, admin } => {
            let names = [("label", label), ("donorId", donor_id), ("donorName", donor_name)];
            let names = names.into_iter().filter_map(|(name, value)| Some((name, value?.into())));
            add(&admin, from_env.as_deref(), names.chain(limits.body().map(|limits| ("limits", limits))))
        }
        KeysCommand::Limits { id, set, lift, admin } => match lift.add_to(set.body()) {
            Some(limits) => change(&admin, &id, &limits),
            None => show_limits(&admin, &id),
        },
        KeysCommand::Pause { id, admin } => change(&admin, &id, &json!({ "paused": true })),
        KeysCommand::Resume { id, admin } => change(&admin, &id, &json!({ "paused": false })),
        KeysCommand::Receipt { id, period, admin } => receipt::receipt(&client(&admin)?, &id, &period, admin.json),
        KeysCommand::Remove { id, admin } => {
            let body = json!({ "id": id });
            let answer: WithdrawnAnswer = client(&admin)?.call(Method::DELETE, "/keys/openrouter", Some(&body))?;
            let text = format!("{} ({}) is out of the pool; {} left", answer.id, answer.key, answer.total_keys);
            if admin.json { print_json(&answer) } else { print_line(&text) }
        }
        KeysCommand::Health { id, status, note, admin } => {
            let mut body = json!({ "id": id, "status": status.name() });
            if let Some(note) = note {
                body["error"] = note.into();
            }
            let answer: HealthSetAnswer = client(&admin)?.call(Method::POST, "/health/openrouter", Some(&body))?;
            let back = answer.health.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
            let text = format!("{} ({}) is {}{back}", answer.id, answer.key, answer.health.status.name());
            if admin.json { print_json(&answer) } else { print_line(&text) }
        }
    }
}

/// Change a key's limits, and tell what they are now.
fn change(admin: &AdminArgs, id: &str, limits: &Value) -> Result<(), CliError> {
    let path = format!("/keys/openrouter/{}", escaped(id));
    let key: KeyAnswer = client(admin)?.call(Method::PATCH, &path, Some(&json!({ "limits": limits })))?;
    if admin.json { print_json(&key) } else { print_line(&told(&key)) }
}

fn show_limits(admin: &AdminArgs, id: &str) -> Result<(), CliError> {
    let answer: KeysAnswer = client(admin)?.call(Method::GET, "/keys", None)?;
    let key = answer.keys.into_iter().find(|key| key.id == id).ok_or_else(|| CliError::NoSuchKey(id.to_owned()))?;
    if admin.json { print_json(&key.limits) } else { print_line(&told(&key)) }
}

fn add(
    admin: &AdminArgs,
    from_env: Option<&str>,
    members: impl Iterator<Item = (&'static str, Value)>,
) -> Result<(), CliError> {
    let client = client(admin)?;
    let text = match from_env {
        Some(name) => Zeroizing::new(std::env::var(name).map_err(|_| CliError::NoKey(format!("{name} is not set")))?),
        None => read_secret("OpenRouter key (not shown): ")?,
    };
    // A slip is told here, before the key goes anywhere.
    let key = Credential::parse(&text).map_err(|why| CliError::NoKey(why.to_string()))?;
    let mut body = Map::new();
    body.insert("key".into(), key.expose().into());
    body.extend(members.map(|(name, value)| (name.to_owned(), value)));
    let answer: DonatedAnswer = client.call(Method::POST, "/keys/openrouter", Some(&Value::Object(body)))?;
    let unverified = if answer.verified { "" } else { ", but OpenRouter could not be asked about it yet" };
    let text = format!("{} ({}) is in the pool of {}{unverified}", answer.id, answer.key, answer.total_keys);
    if admin.json { print_json(&answer) } else { print_line(&text) }
}

fn client(admin: &AdminArgs) -> Result<AdminClient, CliError> {
    Ok(AdminClient::new(&admin.load()?))
}

fn health(text: &str) -> Result<Health, String> {
    let names = || Health::ALL.map(Health::name).join(", ");
    Health::from_name(text).ok_or_else(|| format!("must be one of {}", names()))
}
