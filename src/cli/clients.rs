//! `potluck clients`: who may use the pool, by hand.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::CliError;
use super::client::{AdminClient, escaped};
use super::screen::{print, print_json, print_line, table};
use super::settings::AdminArgs;
use crate::admin::{ClientAddedAnswer, ClientAnswer, ClientRevokedAnswer, ClientsAnswer, RotatedAnswer};

/// What `potluck clients` takes.
#[derive(Debug, Args)]
pub(super) struct ClientsArgs {
    #[command(subcommand)]
    command: ClientsCommand,
}

#[derive(Debug, Subcommand)]
enum ClientsCommand {
    /// Every client whose key is not revoked; never the keys themselves
    List {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Let a client in: prints its key, which is shown this once
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// Its name
        name: String,
        #[command(flatten)]
        set: TermArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// One client, also one whose key is revoked
    Show {
        /// The client's id, as in `potluck clients list`
        id: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Change what a client may do; what is not named stays as it is
    #[command(after_help = CHANGE_EXAMPLES)]
    Change {
        /// The client's id, as in `potluck clients list`
        id: String,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        set: TermArgs,
        #[command(flatten)]
        lift: LiftArgs,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Revoke a client's key, for good: its tokens die with it, and its open streams end
    Revoke {
        /// The client's id, as in `potluck clients list`
        id: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Sign tokens with a new key; those that are out stay good until they are over
    Rotate {
        /// End the tokens that are out here and now: the old key may have been seen
        #[arg(long)]
        end_tokens: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

const ADD_EXAMPLES: &str = "\
Examples:
  potluck clients add ann                                         may ask for everything
  potluck clients add 'the library' --concurrency 4 --expires 2027-01-01
  potluck clients add ward --weight 10                            is served ten times as much when all are waiting
  potluck clients add guests --models 'openai/gpt-4o-mini,*:free' --note 'in the hall'";

const CHANGE_EXAMPLES: &str = "\
Examples:
  potluck clients change c1 --concurrency 8           more at a time
  potluck clients change c1 --no-models --no-expires  every model, for ever";

/// What a client may do.
#[derive(Debug, Default, Args)]
struct TermArgs {
    /// A note about it
    #[arg(long)]
    note: Option<String>,
    /// Its key is no good from this date or time on, such as 2027-01-01
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
    /// Only these models: patterns such as 'anthropic/*', separated by commas
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// The most requests at a time
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Its share when there are more requests than the pool can serve, from 1 (what it has when nothing is said) to 1000
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
}

/// What is to be lifted.
#[derive(Debug, Default, Args)]
struct LiftArgs {
    /// Take the note away
    #[arg(long, conflicts_with = "note")]
    no_note: bool,
    /// Good for ever
    #[arg(long, conflicts_with = "expires")]
    no_expires: bool,
    /// Every model
    #[arg(long, conflicts_with = "models")]
    no_models: bool,
    /// As many requests at a time as it likes
    #[arg(long, conflicts_with = "concurrency")]
    no_concurrency: bool,
}

/// The body of a call: what is set, and what is lifted.
fn body(name: Option<String>, set: TermArgs, lift: &LiftArgs) -> Map<String, Value> {
    let member = |name: &str, value: Option<Value>, lifted: bool| {
        let value = if lifted { Some(Value::Null) } else { value };
        Some((name.to_owned(), value?))
    };
    [
        member("name", name.map(Value::from), false),
        member("note", set.note.map(Value::from), lift.no_note),
        member("expiresAt", set.expires.map(Value::from), lift.no_expires),
        member("models", set.models.map(Value::from), lift.no_models),
        member("concurrency", set.concurrency.map(Value::from), lift.no_concurrency),
        member("weight", set.weight.map(Value::from), false),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn clients(args: ClientsArgs) -> Result<(), CliError> {
    match args.command {
        ClientsCommand::List { admin } => {
            let answer: ClientsAnswer = client(&admin)?.call(Method::GET, "/clients", None)?;
            if admin.json { print_json(&answer) } else { print(&client_table(&answer.clients)) }
        }
        ClientsCommand::Add { name, set, admin } => add(&admin, &body(Some(name), set, &LiftArgs::default()).into()),
        ClientsCommand::Show { id, admin } => {
            let answer: ClientAnswer = client(&admin)?.call(Method::GET, &path(&id), None)?;
            show(&admin, &answer)
        }
        ClientsCommand::Change { id, name, set, lift, admin } => {
            let body = body(name, set, &lift).into();
            let answer: ClientAnswer = client(&admin)?.call(Method::PATCH, &path(&id), Some(&body))?;
            show(&admin, &answer)
        }
        ClientsCommand::Revoke { id, admin } => {
            let answer: ClientRevokedAnswer = client(&admin)?.call(Method::DELETE, &path(&id), Some(&json!({})))?;
            let text = format!("{} ({}) may not use the pool any more", answer.id, answer.client.name);
            if admin.json { print_json(&answer) } else { print_line(&text) }
        }
        ClientsCommand::Rotate { end_tokens, admin } => {
            let body = json!({ "endTokens": end_tokens });
            let answer: RotatedAnswer = client(&admin)?.call(Method::POST, "/tokens/rotate", Some(&body))?;
            if admin.json { print_json(&answer) } else { print_line(&answer.message) }
        }
    }
}

fn add(admin: &AdminArgs, body: &Value) -> Result<(), CliError> {
    let answer: ClientAddedAnswer = client(admin)?.call(Method::POST, "/clients", Some(body))?;
    if admin.json {
        return print_json(&answer);
    }
    print_line(&format!("{} ({}) may use the pool. Its key, shown this once:", answer.id, answer.client.name))?;
    print_line(answer.key.expose())
}

fn show(admin: &AdminArgs, answer: &ClientAnswer) -> Result<(), CliError> {
    if admin.json { print_json(answer) } else { print(&client_table(std::slice::from_ref(answer))) }
}

/// Clients, one a line.
fn client_table(clients: &[ClientAnswer]) -> String {
    let columns = ["id", "name", "key", "status", "models", "at a time", "now", "weight", "expires", "note"];
    let row = |client: &ClientAnswer| {
        [
            client.id.clone(),
            client.name.clone(),
            client.key.clone(),
            client.status.name().to_owned(),
            if client.models.is_empty() { "all".to_owned() } else { client.models.join(", ") },
            client.concurrency.map_or_else(String::new, |n| n.to_string()),
            client.in_flight.to_string(),
            client.weight.to_string(),
            client.expires_at.clone().unwrap_or_default(),
            client.note.clone().unwrap_or_default(),
        ]
    };
    table(columns, clients.iter().map(row))
}

fn path(id: &str) -> String {
    format!("/clients/{}", escaped(id))
}

fn client(admin: &AdminArgs) -> Result<AdminClient, CliError> {
    Ok(AdminClient::new(&admin.load()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_becomes_a_body() {
        let set = TermArgs {
            models: Some(vec!["a/*".to_owned()]),
            concurrency: Some(3),
            weight: Some(9),
            ..TermArgs::default()
        };
        let lift = LiftArgs { no_note: true, ..LiftArgs::default() };
        let said = Value::from(body(Some("ann".to_owned()), set, &lift));
        assert_eq!(said, json!({"name": "ann", "note": null, "models": ["a/*"], "concurrency": 3, "weight": 9}));
        assert!(body(None, TermArgs::default(), &LiftArgs::default()).is_empty());
    }

    #[test]
    fn clients_are_shown_without_what_a_terminal_would_obey() {
        let client = json!({
            "id": "c1", "key": "ptl-…beef", "name": "ann\u{1b}[0m", "note": null, "status": "active",
            "createdAt": "2026-11-24T12:00:00Z", "expiresAt": null, "revokedAt": null, "models": [],
            "concurrency": 2, "weight": 5, "inFlight": 1
        });
        let text = client_table(&[serde_json::from_value(client).expect("as the contract says")]);
        for part in ["c1", "5", "ann\u{fffd}[0m", "ptl-…beef", "active", "all"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
