//! Clients, put into answers.

use crate::clients::{Allowance, Terms};
use crate::pot::{ClientView, TabView};
use crate::store::{ClientSums, TokenTotals, UserSums};

use super::super::answers::{ClientAnswer, TokenSums, UserAllowance, UserAnswer, UsersAnswer};
use super::money;

pub(in super::super) fn client(view: ClientView) -> ClientAnswer {
    let ClientView { client, standing, revoked_at, tab, sums } = view;
    let Terms { name, note, expires_at, models, allowance, per_user, weight } = client.terms;
    let TabView { budgets, held, suspense, stranded, unbounded, in_flight } = tab;
    let ClientSums { requests, tokens, spent_total, spent_today, refused } = sums;
    ClientAnswer {
        id: client.id.to_string(),
        key: client.mask,
        name,
        note,
        status: standing,
        created_at: client.created_at.to_string(),
        expires_at: expires_at.map(|at| at.to_string()),
        revoked_at: revoked_at.map(|at| at.to_string()),
        models: models.patterns().collect(),
        budgets: budgets.iter().map(money::cap).collect(),
        held: held.to_string(),
        suspense_most: suspense.to_string(),
        stranded: stranded.to_string(),
        unbounded,
        requests_per_minute: allowance.requests_per_minute,
        tokens_per_minute: allowance.tokens_per_minute,
        concurrency: allowance.concurrency,
        per_user: user(&per_user),
        weight: weight.get(),
        in_flight,
        requests,
        refused,
        tokens: token_sums(tokens),
        spent_today: spent_today.to_string(),
        spent_total: spent_total.to_string(),
    }
}

/// A page of users; a full one may have another behind it.
pub(in super::super) fn users(users: Vec<UserSums>, limit: usize) -> UsersAnswer {
    let next = users.last().filter(|_| users.len() == limit).map(|last| last.id.to_string());
    let user = |UserSums { id, name, since, sums }: UserSums| UserAnswer {
        id: id.to_string(),
        name: name.into(),
        since: since.to_string(),
        requests: sums.requests,
        refused: sums.refused,
        tokens: token_sums(sums.tokens),
        spent_today: sums.spent_today.to_string(),
        spent_total: sums.spent_total.to_string(),
    };
    UsersAnswer { users: users.into_iter().map(user).collect(), next }
}

fn token_sums(tokens: TokenTotals) -> TokenSums {
    let TokenTotals { prompt, completion, cached, reasoning } = tokens;
    TokenSums { prompt, completion, cached, reasoning }
}

fn user(allowance: &Allowance) -> UserAllowance {
    let Allowance { budgets, requests_per_minute, tokens_per_minute, concurrency } = *allowance;
    UserAllowance { budgets: money::set_caps(&budgets), requests_per_minute, tokens_per_minute, concurrency }
}
