//! `potluck clients`: who may use the pool, by hand.

mod terms;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::CliError;
use super::client::{AdminClient, escaped};
use super::screen::{print, print_json, print_line, table};
use super::settings::AdminArgs;
use crate::admin::{
    CapAnswer, ClientAddedAnswer, ClientAnswer, ClientRevokedAnswer, ClientsAnswer, RotatedAnswer, UserAnswer,
    UsersAnswer,
};
use crate::money::Window;

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
            if admin.json { print_json(&answer) } else { print(&client_table(&answer.clients)) }
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
            if admin.json { print_json(&answer) } else { print(&user_table(&answer)) }
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
    let columns = [
        "id", "name", "key", "status", "models", "budgets", "spent", "requests", "refused", "now", "weight", "expires",
        "note",
    ];
    let row = |client: &ClientAnswer| {
        [
            client.id.clone(),
            client.name.clone(),
            client.key.clone(),
            client.status.name().to_owned(),
            if client.models.is_empty() { "all".to_owned() } else { client.models.join(", ") },
            budgets(client),
            client.spent_total.clone(),
            client.requests.to_string(),
            client.refused.to_string(),
            client.in_flight.to_string(),
            client.weight.to_string(),
            client.expires_at.clone().unwrap_or_default(),
            client.note.clone().unwrap_or_default(),
        ]
    };
    table(columns, clients.iter().map(row))
}

/// Users, one a line, and where there are more.
fn user_table(answer: &UsersAnswer) -> String {
    let columns = ["id", "name", "since", "spent today", "spent", "requests", "refused"];
    let row = |user: &UserAnswer| {
        [
            user.id.clone(),
            user.name.clone(),
            user.since.clone(),
            user.spent_today.clone(),
            user.spent_total.clone(),
            user.requests.to_string(),
            user.refused.to_string(),
        ]
    };
    let more = answer.next.as_ref().map_or_else(String::new, |next| format!("more: --after {next}\n"));
    table(columns, answer.users.iter().map(row)) + &more
}

/// Each budget with what it leaves: `$1.20 of $5.00 a day`.
fn budgets(client: &ClientAnswer) -> String {
    let budget = |budget: &CapAnswer| format!("{} of {} {}", budget.left, budget.cap, per(budget.window));
    client.budgets.iter().map(budget).collect::<Vec<_>>().join(", ")
}

const fn per(window: Window) -> &'static str {
    match window {
        Window::Day => "a day",
        Window::Week => "a week",
        Window::Month => "a month",
        Window::Total => "in all",
    }
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
    fn clients_are_shown_without_what_a_terminal_would_obey() {
        let client = json!({
            "id": "c1", "key": "ptl-…beef", "name": "ann\u{1b}[0m", "note": null, "status": "active",
            "createdAt": "2026-11-24T12:00:00Z", "expiresAt": null, "revokedAt": null, "models": [],
            "budgets": [{"window": "day", "cap": "$5.0000", "spent": "$3.8000", "left": "$1.2000",
                "turnsAt": "2026-11-25T00:00:00Z"}],
            "held": "$0.0000", "suspenseMost": "$0.0000", "stranded": "$0.0000", "unbounded": false, "requestsPerMinute": 60,
            "tokensPerMinute": null, "concurrency": 2, "weight": 5, "inFlight": 1, "requests": 17, "refused": 3,
            "perUser": {"budgets": {"day": null, "week": null, "month": null, "total": null},
                "requestsPerMinute": null, "tokensPerMinute": null, "concurrency": null},
            "tokens": {"prompt": 1, "completion": 2, "cached": 0, "reasoning": 0},
            "spentToday": "$3.8000", "spentTotal": "$4.5000"
        });
        let text = client_table(&[serde_json::from_value(client).expect("as the contract says")]);
        for part in ["c1", "ann\u{fffd}[0m", "ptl-…beef", "active", "all", "$1.2000 of $5.0000 a day", "$4.5000", "17"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
