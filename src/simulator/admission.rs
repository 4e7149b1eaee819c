//! Whether an account and its key may make a call: caps, credit, free tier and the owner's settings, in OpenRouter's order.

use super::accounts::{Account, Key};
use super::amount::Pico;
use super::ask::Ask;
use super::bill::Quote;
use super::catalogue::Model;
use super::errors::{self, Daily, Payer, Refusal, Shortfall};
use super::world::World;

/// The most output tokens one request is held to use, whatever it asks for.
const HELD_TOKENS: u64 = 32_768;

/// Admit a call with that key at that price. What it holds of the in-flight budget, or the refusal.
pub fn admit(
    world: &mut World,
    key: usize,
    ask: &Ask,
    model: &Model,
    quote: &Quote,
    now_ms: i64,
) -> Result<Pico, Refusal> {
    let Some(key) = world.keys.get(key) else { return Err(errors::unknown_key()) };
    let Some(account) = world.accounts.get_mut(key.account) else { return Err(errors::unknown_key()) };
    owner_settings(key, account, ask, model)?;
    caps(key, account, now_ms)?;
    if account.balance() < Pico::ZERO {
        return Err(Refusal::insufficient_credits(account.purchased()));
    }
    if model.is_free() {
        free_tier(account, now_ms)?;
        return Ok(Pico::ZERO);
    }
    if quote.own_key.is_some() {
        return Ok(Pico::ZERO);
    }
    if account.balance() == Pico::ZERO {
        return Err(Refusal::insufficient_credits(account.purchased()));
    }
    affordable(key, account, ask, model, quote, now_ms)?;
    in_flight(account, ask, model, quote)
}

fn owner_settings(key: &Key, account: &Account, ask: &Ask, model: &Model) -> Result<(), Refusal> {
    let settings = &account.settings;
    if settings.ip_blocked {
        return Err(errors::ip_blocked());
    }
    if key.settings.management {
        return Err(Refusal::new(403, "permission_denied", "Management keys cannot be used for inference"));
    }
    if settings.blocks_injection && ask.injection {
        return Err(errors::injection("ignore_previous_instructions"));
    }
    if settings.banned_authors.iter().any(|author| author == model.author()) {
        return Err(errors::author_banned(model.author()));
    }
    if settings.region_blocked.contains(&model.id) {
        return Err(errors::region());
    }
    if settings.refuses_training && model.trains {
        return Err(errors::data_policy());
    }
    if model.needs_own_key && !settings.own_keys.iter().any(|provider| provider == model.provider) {
        return Err(errors::own_key_needed(model.provider));
    }
    Ok(())
}

fn caps(key: &Key, account: &Account, now_ms: i64) -> Result<(), Refusal> {
    if key.remaining(now_ms).is_some_and(|left| left <= Pico::ZERO) {
        return Err(errors::key_limit(key.settings.limit_reset));
    }
    let budgets = [
        (key.settings.guardrail_budget, &key.spend, "openrouter_guardrail_budget", "api_key"),
        (account.settings.workspace_budget, &account.spend, "openrouter_workspace_budget", "workspace"),
    ];
    for (budget, spend, source, scope) in budgets {
        let Some(budget) = budget else { continue };
        let spent = spend.within(budget.reset, now_ms);
        if spent >= budget.limit_usd {
            let resets_at = budget.reset.map(|reset| reset.next(now_ms));
            return Err(errors::budget(source, scope, budget.limit_usd, spent, resets_at));
        }
    }
    Ok(())
}

/// Begin the counts of free requests anew where a minute or a day is over.
fn turn_free_counts(account: &mut Account, now_ms: i64) {
    let (minute, day) = (now_ms.div_euclid(60_000), now_ms.div_euclid(86_400_000));
    for (counter, window) in [(&mut account.free_minute, minute), (&mut account.free_day, day)] {
        if counter.0 != window {
            *counter = (window, 0);
        }
    }
}

/// One free request more. Every attempt counts, also those that fail at the provider.
pub fn count_free(account: &mut Account, now_ms: i64) {
    turn_free_counts(account, now_ms);
    account.free_minute.1 += 1;
    account.free_day.1 += 1;
}

fn free_tier(account: &mut Account, now_ms: i64) -> Result<(), Refusal> {
    turn_free_counts(account, now_ms);
    let per_day = account.free_per_day();
    if account.free_day.1 >= per_day {
        let tier = if per_day > 50 { Daily::HighBalance } else { Daily::Basic };
        return Err(errors::free_per_day(tier, per_day, now_ms));
    }
    if account.free_minute.1 >= account.settings.free_per_minute {
        return Err(errors::free_per_minute(account.settings.free_per_minute, now_ms));
    }
    count_free(account, now_ms);
    Ok(())
}

/// Prompt and the output asked for (or the model's most) must be within the account's balance and the key's cap.
fn affordable(
    key: &Key,
    account: &Account,
    ask: &Ask,
    model: &Model,
    quote: &Quote,
    now_ms: i64,
) -> Result<(), Refusal> {
    let cap = key.remaining(now_ms).map(|left| (left, Payer::Key(key.settings.limit_reset)));
    let purses = [Some((account.balance(), Payer::Account { purchased: account.purchased() })), cap];
    for (left, payer) in purses.into_iter().flatten() {
        if quote.base > left {
            let besides = quote.base - model.prompt * ask.prompt_tokens;
            let affordable = tokens_for(left - besides, model.prompt);
            return Err(Shortfall::Prompt { tokens: ask.prompt_tokens, affordable }.refusal(payer));
        }
        let requested = if ask.api.writes() { ask.max_tokens.unwrap_or(model.default_max) } else { 0 };
        if quote.list(requested) > left {
            let affordable = tokens_for(left - quote.base, quote.per_token);
            return Err(Shortfall::Output { requested, affordable }.refusal(payer));
        }
    }
    Ok(())
}

fn tokens_for(money: Pico, price: Pico) -> u64 {
    if price <= Pico::ZERO { 0 } else { u64::try_from(money.at_least_zero().0 / price.0).unwrap_or(u64::MAX) }
}

fn in_flight(account: &Account, ask: &Ask, model: &Model, quote: &Quote) -> Result<Pico, Refusal> {
    let most = if ask.api.writes() { ask.max_tokens.unwrap_or(model.default_max).min(HELD_TOKENS) } else { 0 };
    let estimate = quote.list(most);
    let Some(budget) = account.settings.in_flight_budget_usd else { return Ok(estimate) };
    if estimate > budget {
        return Err(Refusal::too_heavy());
    }
    if account.held + estimate > budget {
        return Err(Refusal::in_flight(account.settings.in_flight_retry_after_s));
    }
    Ok(estimate)
}
