//! What a key may ask about itself: `/key`, `/credits`, `/generation`.

use serde_json::{Value, json};

use super::accounts::{Account, Key, Spend};
use super::amount::Pico;
use super::api::Api;
use super::bill::{Generation, Status};
use super::calendar::{Reset, iso};
use super::errors::{self, Refusal};
use super::fast;
use super::inference::{refused, sim_error};
use super::play::Play;
use super::reply::Reply;
use super::script::{self, Occasion};
use super::shared::Shared;
use super::wire::Head;
use super::world::World;

/// Answer a read that needs a working key. `None`: the path is none of them.
pub fn read(shared: &Shared, head: &Head) -> Option<Reply> {
    let answer: fn(&World, usize, &Head, i64) -> Result<Reply, Refusal> = match head.path() {
        "/api/v1/key" | "/api/v1/auth/key" => key,
        "/api/v1/credits" => credits,
        "/api/v1/generation" => generation,
        _ => return None,
    };
    let now_ms = shared.now_ms();
    let mut world = shared.world();
    let known = world.recognise(head.credential());
    let account = known.and_then(|key| world.pair(key)).map(|(key, _)| key.account);
    let occasion = Occasion { key: known, account, model: None, path: head.path() };
    let play = script::take(&mut world.scripts, &occasion, false).unwrap_or_default();
    let facts = errors::Facts { now_ms, model: "", provider: "", key_hash: "" };
    let answer = match play.error.as_deref() {
        Some(name) => match errors::named(name, &facts) {
            Some(refusal) => Err(refusal),
            None => return Some(Reply::json(400, &sim_error(&format!("no error is called {name}")))),
        },
        None => world.authenticate(head.credential(), now_ms).and_then(|key| answer(&world, key, head, now_ms)),
    };
    let user_id = known.and_then(|key| world.pair(key)).map(|(_, account)| account.user_id.as_str());
    let reply = answer.unwrap_or_else(|refusal| refused(&refusal, Api::Chat, user_id, &Play::default()));
    Some(Reply { play: Play { error: None, ..play }, ..reply }.header("cache-control", "private, no-store"))
}

fn usage_fields(into: &mut Value, prefix: &str, spend: &Spend, now_ms: i64) {
    into[prefix] = spend.total.to_json();
    for reset in Reset::ALL {
        into[format!("{prefix}_{}", reset.word())] = spend.within(Some(reset), now_ms).to_json();
    }
}

fn key(world: &World, index: usize, _: &Head, now_ms: i64) -> Result<Reply, Refusal> {
    let (key, account) = world.pair(index).ok_or_else(errors::unknown_key)?;
    let mut data = json!({
        "label": key.label(),
        "limit": key.settings.limit_usd.map(Pico::to_json),
        "limit_remaining": key.remaining(now_ms).map(|left| left.at_least_zero().to_json()),
        "limit_reset": key.settings.limit_reset.map(Reset::word),
        "include_byok_in_limit": key.settings.include_byok_in_limit,
        "is_free_tier": !account.purchased(),
        "is_management_key": key.settings.management,
        "is_provisioning_key": key.settings.management,
        "creator_user_id": account.user_id,
        "workspace_id": account.workspace_id,
        "organization_id": null,
        "expires_at": key.settings.expires_at_ms.map(iso),
        "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
        "allowed_data_regions": ["global"],
        "budgets": budgets(key, account, now_ms),
    });
    usage_fields(&mut data, "usage", &key.spend, now_ms);
    usage_fields(&mut data, "byok_usage", &key.own_key_spend, now_ms);
    let today = if account.free_day.0 == now_ms.div_euclid(86_400_000) { account.free_day.1 } else { 0 };
    let limit = account.free_per_day();
    data["free_model_daily_requests"] =
        json!({"used": today, "limit": limit, "remaining": limit.saturating_sub(today)});
    Ok(Reply::json(200, &json!({"data": data})))
}

fn budgets(key: &Key, account: &Account, now_ms: i64) -> Vec<Value> {
    let all = [
        ("api_key", key.settings.guardrail_budget, &key.spend),
        ("workspace", account.settings.workspace_budget, &account.spend),
    ];
    let shown = all.into_iter().filter_map(|(scope, budget, spend)| {
        let budget = budget?;
        let spent = spend.within(budget.reset, now_ms);
        Some(json!({
            "scope": scope, "limit_usd": budget.limit_usd.to_json(), "spend_usd": spent.to_json(),
            "remaining_usd": (budget.limit_usd - spent).at_least_zero().to_json(),
            "reset_interval": budget.reset.map(Reset::word), "resets_at": budget.reset.map(|reset| iso(reset.next(now_ms))),
            "include_byok": false, "guardrail_id": null, "budget_id": null,
        }))
    });
    shown.collect()
}

fn credits(world: &World, index: usize, _: &Head, _: i64) -> Result<Reply, Refusal> {
    let (_, account) = world.pair(index).ok_or_else(errors::unknown_key)?;
    if account.settings.credits_forbidden {
        return Err(errors::management_only());
    }
    let data =
        json!({"total_credits": account.settings.credits_usd.to_json(), "total_usage": account.spend.total.to_json()});
    Ok(Reply::json(200, &json!({"data": data})))
}

fn generation(world: &World, index: usize, head: &Head, now_ms: i64) -> Result<Reply, Refusal> {
    let id = head.parameter("id").unwrap_or_default();
    let missing =
        || Refusal { names_user: false, ..Refusal::new(404, "not_found", format!("Generation {id} not found")) };
    let (_, account) = world.pair(index).ok_or_else(errors::unknown_key)?;
    let owner = world.keys.get(index).map(|key| key.account);
    if let Some(key) = fast::key_of(id, world.fast_answers) {
        let same = world.keys.get(key).map(|key| key.account) == owner;
        let data =
            json!({"id": id, "total_cost": fast::COST.to_json(), "usage": fast::COST.to_json(), "is_byok": false});
        return if same { Ok(Reply::json(200, &json!({"data": data}))) } else { Err(missing()) };
    }
    let found = world.generations.get(id).filter(|generation| Some(generation.account) == owner);
    let known = found.filter(|generation| {
        let at = generation.ended_ms.zip(generation.known_after_ms).map(|(ended, after)| ended + after);
        at.is_some_and(|at| at <= now_ms)
    });
    let generation = known.ok_or_else(missing)?;
    Ok(Reply::json(200, &json!({"data": details(generation, account)})))
}

/// Fields that this simulator has nothing to say about.
const NULLS: [&str; 19] = [
    "upstream_id",
    "request_id",
    "cache_discount",
    "moderation_latency",
    "native_tokens_completion_images",
    "num_media_prompt",
    "num_media_completion",
    "num_input_audio_prompt",
    "num_search_results",
    "num_fetches",
    "app_id",
    "external_user",
    "session_id",
    "preset_id",
    "router",
    "service_tier",
    "web_search_engine",
    "response_cache_source_id",
    "upstream_inference_cost",
];

fn details(generation: &Generation, account: &Account) -> Value {
    let took = generation.ended_ms.unwrap_or(generation.created_ms) - generation.created_ms;
    let finish = if generation.status == Status::Failed { "error" } else { &generation.finish };
    let mut data = json!({
        "id": generation.id,
        "total_cost": generation.cost.to_json(),
        "usage": generation.cost.to_json(),
        "is_byok": generation.own_key_cost.is_some(),
        "created_at": iso(generation.created_ms),
        "model": generation.model,
        "provider_name": generation.provider,
        "api_type": generation.api.word(),
        "streamed": generation.streamed,
        "cancelled": generation.status == Status::Cancelled,
        "latency": took,
        "generation_time": took,
        "finish_reason": finish,
        "native_finish_reason": finish,
        "origin": "",
        "http_referer": generation.referer,
        "user_agent": generation.user_agent,
        "provider_responses": [],
        "data_region": "global",
        "workspace_id": account.workspace_id,
    });
    for field in NULLS {
        data[field] = Value::Null;
    }
    if let Some(own) = generation.own_key_cost {
        data["upstream_inference_cost"] = own.to_json();
    }
    for (field, tokens) in [
        ("tokens_prompt", generation.prompt_tokens),
        ("tokens_completion", generation.output_tokens),
        ("native_tokens_prompt", generation.prompt_tokens),
        ("native_tokens_completion", generation.output_tokens),
        ("native_tokens_reasoning", 0),
        ("native_tokens_cached", 0),
    ] {
        data[field] = tokens.into();
    }
    data
}
