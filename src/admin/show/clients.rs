//! Clients, put into answers.

use crate::clients::{Allowance, Terms};
use crate::pot::{ClientView, TabView};
use crate::store::ClientSums;

use super::super::answers::{ClientAnswer, TokenSums, UserAllowance};
use super::money;

pub(in super::super) fn client(view: ClientView) -> ClientAnswer {
    let ClientView { client, standing, revoked_at, tab, sums } = view;
    let Terms { name, note, expires_at, models, allowance, per_user, weight } = client.terms;
    let TabView { budgets, held, suspense, stranded, in_flight, .. } = tab;
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
        requests_per_minute: allowance.requests_per_minute,
        tokens_per_minute: allowance.tokens_per_minute,
        concurrency: allowance.concurrency,
        per_user: user(&per_user),
        weight: weight.get(),
        in_flight,
        requests,
        refused,
        tokens: TokenSums {
            prompt: tokens.prompt,
            completion: tokens.completion,
            cached: tokens.cached,
            reasoning: tokens.reasoning,
        },
        spent_today: spent_today.to_string(),
        spent_total: spent_total.to_string(),
    }
}

fn user(allowance: &Allowance) -> UserAllowance {
    let Allowance { budgets, requests_per_minute, tokens_per_minute, concurrency } = *allowance;
    UserAllowance { budgets: money::set_caps(&budgets), requests_per_minute, tokens_per_minute, concurrency }
}
