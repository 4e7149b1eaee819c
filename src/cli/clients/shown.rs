//! Clients and their users as a terminal shows them.

use crate::admin::{CapAnswer, ClientAnswer, KeyCaps, UserAllowance, UserAnswer, UsersAnswer};
use crate::cli::screen::{plain, table};
use crate::money::Window;

/// Clients, one a line: what an operator looks for among many.
pub(super) fn all(clients: &[ClientAnswer]) -> String {
    let columns = ["id", "name", "status", "left of budgets", "spent", "requests", "refused", "now"];
    let row = |client: &ClientAnswer| {
        [
            client.id.clone(),
            client.name.clone(),
            client.status.name().to_owned(),
            client.budgets.iter().map(left).collect::<Vec<_>>().join(", "),
            client.spent_total.clone(),
            client.requests.to_string(),
            client.refused.to_string(),
            client.in_flight.to_string(),
        ]
    };
    if clients.is_empty() {
        return "there are no clients: let one in with `potluck clients add NAME`\n".to_owned();
    }
    table(columns, clients.iter().map(row)) + "all there is of one: potluck clients show ID\n"
}

/// Everything about one client: what is set, then what was done.
pub(super) fn one(client: &ClientAnswer) -> String {
    let number = |limit: Option<u32>| limit.map(|limit| limit.to_string());
    let budgets: Vec<String> = client.budgets.iter().map(left_until).collect();
    let users = allowance(&client.per_user);
    let lines = [
        ("key", Some(client.key.clone())),
        ("status", Some(client.status.name().to_owned())),
        ("note", client.note.clone()),
        ("since", Some(client.created_at.clone())),
        ("expires", client.expires_at.clone()),
        ("revoked", client.revoked_at.clone()),
        ("models", Some(if client.models.is_empty() { "all".to_owned() } else { client.models.join(", ") })),
        ("budgets", Some(budgets.join("\n")).filter(|all| !all.is_empty())),
        ("requests a minute", number(client.requests_per_minute)),
        ("tokens a minute", number(client.tokens_per_minute)),
        ("requests at a time", number(client.concurrency)),
        ("each of its users", Some(users.join(", ")).filter(|all| !all.is_empty())),
        ("weight", Some(client.weight.to_string())),
        ("spent", Some(format!("{} in all, {} today", client.spent_total, client.spent_today))),
        ("set aside", Some(set_aside(client))),
        ("requests", Some(format!("{}, {} under way, {} refused", client.requests, client.in_flight, client.refused))),
        ("tokens", Some(format!("{} in, {} out", client.tokens.prompt, client.tokens.completion))),
    ];
    let mut text = format!("{} ({})\n", client.id, plain(&client.name));
    for (name, value) in lines {
        for (n, part) in value.iter().flat_map(|value| value.split('\n')).enumerate() {
            text += &format!("  {:<20}{}\n", if n == 0 { name } else { "" }, plain(part));
        }
    }
    text
}

/// Users, one a line, and where there are more.
pub(super) fn users(answer: &UsersAnswer) -> String {
    let columns = ["id", "name", "since", "spent today", "spent in all", "requests", "refused"];
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
    if answer.users.is_empty() {
        return "it has named no users: an application does with POST /auth/token\n".to_owned();
    }
    let more = answer.next.as_ref().map_or_else(String::new, |next| format!("more: --after {next}\n"));
    table(columns, answer.users.iter().map(row)) + &more
}

/// `$1.20 of $5.00 a day`.
fn left(budget: &CapAnswer) -> String {
    format!("{} of {} {}", budget.left, budget.cap, per(budget.window))
}

fn left_until(budget: &CapAnswer) -> String {
    let CapAnswer { left, cap, spent, .. } = budget;
    let anew = budget.turns_at.as_ref().map_or_else(String::new, |at| format!("; anew at {at}"));
    format!("{left} left of {cap} {}, {spent} spent{anew}", per(budget.window))
}

const fn per(window: Window) -> &'static str {
    match window {
        Window::Day => "a day",
        Window::Week => "a week",
        Window::Month => "a month",
        Window::Total => "for ever",
    }
}

fn set_aside(client: &ClientAnswer) -> String {
    let ClientAnswer { held, suspense_most, stranded, .. } = client;
    let unbounded = if client.unbounded { "; and something whose cost nobody knows yet" } else { "" };
    format!(
        "{held} for requests under way, {suspense_most} for those whose cost is looked up, {stranded} in advance{unbounded}"
    )
}

/// What each user may use, limit by limit.
fn allowance(each: &UserAllowance) -> Vec<String> {
    let KeyCaps { day, week, month, total } = &each.budgets;
    let budgets = [(day, Window::Day), (week, Window::Week), (month, Window::Month), (total, Window::Total)];
    let budgets = budgets.into_iter().filter_map(|(cap, window)| Some(format!("{} {}", cap.as_ref()?, per(window))));
    let rates = [
        (each.requests_per_minute, "requests a minute"),
        (each.tokens_per_minute, "tokens a minute"),
        (each.concurrency, "requests at a time"),
    ];
    budgets.chain(rates.into_iter().filter_map(|(limit, of)| Some(format!("{} {of}", limit?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ann() -> ClientAnswer {
        let answer = json!({
            "id": "c1", "key": "ptl-…beef", "name": "ann\u{1b}[0m", "note": null, "status": "active",
            "createdAt": "2026-11-24T12:00:00Z", "expiresAt": null, "revokedAt": null, "models": [],
            "budgets": [
                {"window": "day", "cap": "$5.0000", "spent": "$3.8000", "left": "$1.2000",
                    "turnsAt": "2026-11-25T00:00:00Z"},
                {"window": "total", "cap": "$9.0000", "spent": "$4.5000", "left": "$4.5000", "turnsAt": null},
            ],
            "held": "$0.1000", "suspenseMost": "$0.0000", "stranded": "$0.0000", "unbounded": false, "requestsPerMinute": 60,
            "tokensPerMinute": null, "concurrency": 2, "weight": 5, "inFlight": 1, "requests": 17, "refused": 3,
            "perUser": {"budgets": {"day": "$0.5000", "week": null, "month": null, "total": null},
                "requestsPerMinute": null, "tokensPerMinute": null, "concurrency": 1},
            "tokens": {"prompt": 10, "completion": 20, "cached": 0, "reasoning": 0},
            "spentToday": "$3.8000", "spentTotal": "$4.5000"
        });
        serde_json::from_value(answer).expect("as the contract says")
    }

    #[test]
    fn clients_are_shown_without_what_a_terminal_would_obey() {
        let text = all(&[ann()]);
        for part in ["c1", "ann\u{fffd}[0m", "active", "left of budgets", "$1.2000 of $5.0000 a day", "$4.5000", "17"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(all(&[]).contains("potluck clients add"));
    }

    #[test]
    fn one_client_is_shown_with_every_limit_that_it_has() {
        let text = one(&ann());
        assert_eq!(
            text,
            "c1 (ann\u{fffd}[0m)\n\
             \x20 key                 ptl-…beef\n\
             \x20 status              active\n\
             \x20 since               2026-11-24T12:00:00Z\n\
             \x20 models              all\n\
             \x20 budgets             $1.2000 left of $5.0000 a day, $3.8000 spent; anew at 2026-11-25T00:00:00Z\n\
             \x20                     $4.5000 left of $9.0000 for ever, $4.5000 spent\n\
             \x20 requests a minute   60\n\
             \x20 requests at a time  2\n\
             \x20 each of its users   $0.5000 a day, 1 requests at a time\n\
             \x20 weight              5\n\
             \x20 spent               $4.5000 in all, $3.8000 today\n\
             \x20 set aside           $0.1000 for requests under way, $0.0000 for those whose cost is looked up, $0.0000 in \
             advance\n\
             \x20 requests            17, 1 under way, 3 refused\n\
             \x20 tokens              10 in, 20 out\n"
        );
    }
}
