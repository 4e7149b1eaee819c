//! `potluck ledger`: the books from a terminal.

use std::io::stdout;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::CliError;
use super::client::{AdminClient, ClientError, target};
use super::screen::{name_of, print, print_json, print_line, table};
use super::settings::AdminArgs;
use crate::admin::{EntryKind, LedgerAnswer, LedgerEntry, LedgerSums, OpenAnswer, SettledAnswer, SummaryAnswer};
use crate::money::Usd;

/// What `potluck ledger` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct LedgerArgs {
    #[command(subcommand)]
    command: Option<LedgerCommand>,
    #[command(flatten)]
    list: ListArgs,
}

const EXAMPLES: &str = "\
Examples:
  potluck ledger                                       the newest 100 lines
  potluck ledger --key k1 --from 2026-11-01            of one key, since that day
  potluck ledger --model 'openai/*' --outcome broken   what broke off
  potluck ledger --all --csv > ledger.csv              everything, for a spreadsheet
  potluck ledger summary --from 2026-11-01             by day, key and model
  potluck ledger suspense                              costs that are still being looked up
  potluck ledger settle 1234 0.0123                    say what one of them was";

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// What each model has cost on each key on each day
    Summary {
        #[command(flatten)]
        filter: FilterArgs,
        /// As CSV, for spreadsheets
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Costs that are not known yet: since when, the worst case, and when they are asked about next
    Suspense {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Say what an attempt cost that nobody can be asked about any more; it cannot be taken back
    Settle {
        /// The entry's number, as in `potluck ledger suspense`
        entry: u64,
        /// Dollars, such as 0.0123; 0 when nothing was charged
        cost: Usd,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// Which lines, how many, and how they are shown.
#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// How many lines, 1 to 1000 [default: 100]
    #[arg(long, value_name = "N", conflicts_with = "all")]
    limit: Option<u64>,
    /// All lines, however many
    #[arg(long)]
    all: bool,
    /// As CSV, for spreadsheets
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Which lines are meant.
#[derive(Debug, Default, Args)]
struct FilterArgs {
    /// Since this date or time (UTC)
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Up to the end of this date, or before this time
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// Of this key, such as k1
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Of this client, such as c1
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Of this model; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    model: Option<String>,
    /// answered, failed_inside, key_refused, refused, unreachable, broken or client_gone
    #[arg(long)]
    outcome: Option<String>,
}

impl FilterArgs {
    /// The call with these and other parameters.
    fn target(&self, path: &str, others: &[(&str, Option<&str>)]) -> String {
        let own = [
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
            ("key", self.key.as_deref()),
            ("client", self.client.as_deref()),
            ("model", self.model.as_deref()),
            ("outcome", self.outcome.as_deref()),
        ];
        target(path, &[&own, others].concat())
    }
}

pub(super) fn ledger(args: LedgerArgs) -> Result<(), CliError> {
    match args.command {
        None => list(&args.list),
        Some(LedgerCommand::Summary { filter, csv, admin }) => summary(&admin, &filter, csv),
        Some(LedgerCommand::Suspense { admin }) => {
            let answer: OpenAnswer = client(&admin)?.call(Method::GET, "/ledger/suspense", None)?;
            if admin.json { print_json(&answer) } else { print(&open_costs(&answer)) }
        }
        Some(LedgerCommand::Settle { entry, cost, admin }) => {
            let body = json!({ "entry": entry, "cost": cost.to_json() });
            let answer: SettledAnswer = client(&admin)?.call(Method::POST, "/ledger/settle", Some(&body))?;
            if admin.json { print_json(&answer) } else { print_line(&answer.message) }
        }
    }
}

fn list(args: &ListArgs) -> Result<(), CliError> {
    let ListArgs { filter, limit, all, csv, admin } = args;
    let client = client(admin)?;
    let limit = limit.map(|limit| limit.to_string());
    if *csv || (admin.json && *all) {
        let format = if *csv { "csv" } else { "ndjson" };
        let limit = if *all { None } else { Some(limit.as_deref().unwrap_or("100")) };
        return copy(&client, &filter.target("/ledger", &[("format", Some(format)), ("limit", limit)]));
    }
    let limit = if *all { Some("1000") } else { limit.as_deref() };
    let mut cursor: Option<String> = None;
    loop {
        let target = filter.target("/ledger", &[("limit", limit), ("cursor", cursor.as_deref())]);
        let page: LedgerAnswer = client.call(Method::GET, &target, None)?;
        if admin.json {
            return print_json(&page);
        }
        if !page.entries.is_empty() || (page.next.is_none() && cursor.is_none()) {
            print(&lines(&page.entries))?;
        }
        cursor = match page.next {
            // A page without a line: what is meant is rare, and the search goes on.
            Some(next) if *all || page.entries.is_empty() => Some(next),
            Some(_) => return print("there are older ones: --all, or a larger --limit\n"),
            None => return Ok(()),
        };
    }
}

fn lines(entries: &[LedgerEntry]) -> String {
    if entries.is_empty() {
        return "no such lines\n".to_owned();
    }
    let columns = ["entry", "at", "key", "model", "outcome", "tokens in", "tokens out", "cost", "remark"];
    let count = |tokens: Option<i64>| tokens.map(|n| n.to_string()).unwrap_or_default();
    let row = |entry: &LedgerEntry| {
        let outcome = match entry.kind {
            EntryKind::Attempt => name_of(&entry.outcome),
            EntryKind::Correction => "correction".to_owned(),
        };
        [
            entry.id.to_string(),
            entry.at.clone(),
            entry.key.clone(),
            entry.model.clone().or_else(|| entry.endpoint.clone()).unwrap_or_default(),
            outcome,
            count(entry.tokens.prompt),
            count(entry.tokens.completion),
            entry.cost.clone().unwrap_or_default(),
            remark(entry),
        ]
    };
    table(columns, entries.iter().map(row))
}

/// What is to be said of a line beside its figures.
fn remark(entry: &LedgerEntry) -> String {
    match (entry.kind, &entry.basis) {
        (EntryKind::Correction, Some(basis)) => format!("for {} ({})", entry.day, name_of(basis)),
        (EntryKind::Correction, None) => format!("for {}", entry.day),
        _ if entry.in_suspense => match &entry.held {
            Some(held) => format!("cost being looked up, at most {held}"),
            None => "cost being looked up".to_owned(),
        },
        _ if entry.cost.is_none() => "cost found later".to_owned(),
        _ => String::new(),
    }
}

fn summary(admin: &AdminArgs, filter: &FilterArgs, csv: bool) -> Result<(), CliError> {
    let client = client(admin)?;
    if csv {
        return copy(&client, &filter.target("/ledger/summary", &[("format", Some("csv"))]));
    }
    let answer: SummaryAnswer = client.call(Method::GET, &filter.target("/ledger/summary", &[]), None)?;
    if admin.json { print_json(&answer) } else { print(&sums(&answer)) }
}

fn sums(answer: &SummaryAnswer) -> String {
    let columns =
        ["day", "key", "model", "requests", "answered", "tokens in", "cached", "tokens out", "charged", "estimated"];
    let row = |day: &str, key: &str, model: &str, sums: &LedgerSums| {
        [
            day.to_owned(),
            key.to_owned(),
            model.to_owned(),
            sums.requests.to_string(),
            format!("{} of {}", sums.answered, sums.attempts),
            sums.tokens.prompt.to_string(),
            sums.cached_share.clone().unwrap_or_default(),
            sums.tokens.completion.to_string(),
            sums.amount.clone(),
            sums.estimated.clone(),
        ]
    };
    let lines = answer.lines.iter();
    let lines = lines.map(|line| row(&line.day, &line.key, line.model.as_deref().unwrap_or_default(), &line.sums));
    table(columns, lines.chain([row("all", "", "", &answer.total)]))
}

fn open_costs(answer: &OpenAnswer) -> String {
    if answer.entries.is_empty() {
        return "every cost is known\n".to_owned();
    }
    let columns = ["entry", "since", "key", "model", "generation", "at most", "asked", "next question"];
    let rows = answer.entries.iter().map(|entry| {
        [
            entry.entry.to_string(),
            entry.since.clone(),
            entry.key.clone(),
            entry.model.clone().unwrap_or_else(|| entry.endpoint.clone()),
            entry.generation.clone().unwrap_or_default(),
            entry.held.clone().unwrap_or_else(|| "not known".to_owned()),
            entry.tries.to_string(),
            entry.next_look.clone().unwrap_or_else(|| "none: `potluck ledger settle`".to_owned()),
        ]
    });
    let mut text = table(columns, rows);
    if answer.not_listed > 0 {
        text.push_str(&format!("and {} younger ones\n", answer.not_listed));
    }
    text
}

fn client(admin: &AdminArgs) -> Result<AdminClient, CliError> {
    Ok(AdminClient::new(&admin.load()?))
}

/// An answer of any length to standard output.
fn copy(client: &AdminClient, target: &str) -> Result<(), CliError> {
    client.copy(target, &mut stdout().lock()).map_err(|error| match error {
        ClientError::Output(why) => CliError::Output(why),
        error => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn entry(change: &[(&str, Value)]) -> LedgerEntry {
        let mut entry = json!({
            "id": 7, "kind": "attempt", "at": "2026-11-24T12:00:00Z", "day": "2026-11-24", "request": "0192",
            "attempt": 1, "key": "k1", "account": null, "client": null, "endpoint": "chat_completions", "model": "x\u{1b}[2J",
            "generation": null, "tokens": {"prompt": 19, "completion": 15, "cached": null, "reasoning": null},
            "cost": "$0.00001185", "byok": null, "held": null, "inSuspense": false, "basis": null, "outcome": "answered",
            "status": 200, "durationMs": 12,
        });
        for (name, value) in change {
            entry[*name] = value.clone();
        }
        serde_json::from_value(entry).expect("as the server answers")
    }

    #[test]
    fn lines_tell_what_they_are() {
        let text = lines(&[entry(&[])]);
        for part in ["2026-11-24T12:00:00Z", "x\u{fffd}[2J", "answered", "$0.00001185"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(lines(&[]), "no such lines\n");
        let check = |change: &[(&str, Value)], expected: &str| assert_eq!(remark(&entry(change)), expected);
        check(&[], "");
        check(&[("cost", Value::Null), ("inSuspense", true.into())], "cost being looked up");
        let held = [("cost", Value::Null), ("inSuspense", true.into()), ("held", "$0.02".into())];
        check(&held, "cost being looked up, at most $0.02");
        check(&[("cost", Value::Null)], "cost found later");
        check(&[("kind", "correction".into()), ("basis", "operator".into())], "for 2026-11-24 (operator)");
    }

    #[test]
    fn filters_become_the_calls_query() {
        let filter = FilterArgs { key: Some("k1".into()), model: Some("openai/*".into()), ..FilterArgs::default() };
        assert_eq!(filter.target("/ledger", &[("limit", Some("5"))]), "/ledger?key=k1&model=openai%2F*&limit=5");
    }

    #[test]
    fn open_costs_say_when_somebody_looks_again() {
        let none = OpenAnswer { entries: Vec::new(), not_listed: 0 };
        assert_eq!(open_costs(&none), "every cost is known\n");
        let answer = json!({"notListed": 3, "entries": [{
            "entry": 7, "request": "0192", "attempt": 1, "key": "k1", "generation": "gen-1", "endpoint": "videos",
            "model": null, "since": "2026-11-24T12:00:00Z", "held": null, "tries": 5, "nextLook": null,
        }]});
        let text = open_costs(&serde_json::from_value(answer).expect("as the server answers"));
        for part in ["gen-1", "videos", "not known", "potluck ledger settle", "and 3 younger ones"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
