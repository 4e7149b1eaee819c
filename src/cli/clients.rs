//! `potluck clients`: who may use the pool, by hand.

mod shown;
mod terms;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::CliError;
use super::client::{AdminClient, escaped};
use super::screen::{print, print_json, print_line};
use super::settings::AdminArgs;
use crate::admin::{ClientAddedAnswer, ClientAnswer, ClientRevokedAnswer, ClientsAnswer, RotatedAnswer, UsersAnswer};

use terms::{LiftArgs, TermArgs, body};

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
    #[command(after_help = ADD_EXAMPLES, allow_negative_numbers = true)]
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
    /// A client's users, and what was spent for each
    Users {
        /// The client's id, as in `potluck clients list`
        id: String,
        /// Behind this user: the `next` of another page
        #[arg(long, value_name = "USER")]
        after: Option<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Change what a client may do; what is not named stays as it is
    #[command(after_help = CHANGE_EXAMPLES, allow_negative_numbers = true)]
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
  potluck clients add guests --models 'openai/gpt-4o-mini,*:free' --note 'in the hall'
  potluck clients add app --month 20 --requests-per-minute 60 --user-day 0.5    20 dollars a month in all, and half a
                                                                              dollar a day for each of its users";

const CHANGE_EXAMPLES: &str = "\
Examples:
  potluck clients change c1 --concurrency 8           more at a time
  potluck clients change c1 --no-models --no-expires  every model, for ever
  potluck clients change c1 --day 5 --no-month        five dollars a day instead of a monthly budget";

pub(super) fn clients(args: ClientsArgs) -> Result<(), CliError> {
    match args.command {
        ClientsCommand::List { admin } => {
            let answer: ClientsAnswer = client(&admin)?.call(Method::GET, "/clients", None)?;
            if admin.json { print_json(&answer) } else { print(&shown::all(&answer.clients)) }
        }
        ClientsCommand::Add { name, set, admin } => add(&admin, &body(Some(name), set, &LiftArgs::default()).into()),
        ClientsCommand::Show { id, admin } => {
            let answer: ClientAnswer = client(&admin)?.call(Method::GET, &path(&id), None)?;
            show(&admin, &answer)
        }
        ClientsCommand::Users { id, after, admin } => {
            let after = after.map_or_else(String::new, |after| format!("&after={}", escaped(&after)));
            let target = format!("{}/users?limit=1000{after}", path(&id));
            let answer: UsersAnswer = client(&admin)?.call(Method::GET, &target, None)?;
            if admin.json { print_json(&answer) } else { print(&shown::users(&answer)) }
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
    if admin.json { print_json(answer) } else { print(&shown::one(answer)) }
}

fn path(id: &str) -> String {
    format!("/clients/{}", escaped(id))
}

fn client(admin: &AdminArgs) -> Result<AdminClient, CliError> {
    Ok(AdminClient::new(&admin.load()?))
}
