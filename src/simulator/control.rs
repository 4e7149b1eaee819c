//! The control calls under `/_sim/`: JSON in, JSON out, for tests and people outside the process.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::accounts::{AccountSettings, KeySettings};
use super::errors;
use super::fixtures::FIXTURES;
use super::reply::Reply;
use super::script::Script;
use super::shared::{Port, Shared};
use super::wire::Head;

/// The times that every date here can show.
const YEARS_MS: Range<i64> = 0..253_402_300_800_000;

/// Why a control call was refused.
struct Fault(u16, String);

type Answer = Result<Value, Fault>;

fn bad(why: impl ToString) -> Fault {
    Fault(400, why.to_string())
}

fn missing(what: &str) -> Fault {
    Fault(404, format!("no such {what}"))
}

/// Answer a control call.
pub fn serve(shared: &Arc<Shared>, head: &Head, body: &[u8]) -> Reply {
    match call(shared, head, body) {
        Ok(value) => Reply::json(200, &value),
        Err(Fault(status, why)) => Reply::json(status, &json!({"error": {"message": why}})),
    }
}

fn call(shared: &Arc<Shared>, head: &Head, body: &[u8]) -> Answer {
    let path = head.path().strip_prefix("/_sim/").unwrap_or_default();
    let path: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let fields = || -> Result<Map<String, Value>, Fault> {
        if body.is_empty() { Ok(Map::new()) } else { serde_json::from_slice(body).map_err(bad) }
    };
    let index = |text: &str| text.parse::<usize>().map_err(|_| bad("not an index"));
    match (head.method.as_str(), path.as_slice()) {
        ("GET", ["accounts"]) => Ok(accounts(shared)),
        ("POST", ["accounts"]) => open_account(shared, fields()?),
        ("POST" | "PATCH", ["accounts", i]) => {
            let mut world = shared.world();
            let account = world.accounts.get_mut(index(i)?).ok_or_else(|| missing("account"))?;
            account.settings = merged(&account.settings, fields()?)?;
            value(&account.settings)
        }
        ("GET", ["keys"]) => Ok(keys(shared)),
        ("POST", ["keys"]) => make_key(shared, fields()?),
        ("POST" | "PATCH", ["keys", i]) => {
            let mut world = shared.world();
            let key = world.keys.get_mut(index(i)?).ok_or_else(|| missing("key"))?;
            key.settings = merged(&key.settings, fields()?)?;
            value(&key.settings)
        }
        ("GET", ["scripts"]) => value(&shared.world().scripts),
        ("POST", ["scripts"]) => {
            let script: Script = serde_json::from_slice(body).map_err(bad)?;
            if let Some(name) = script.play.error.as_deref().filter(|name| !errors::names().any(|n| n == *name)) {
                return Err(bad(format!("no error is called {name}")));
            }
            shared.world().scripts.push(script);
            Ok(json!({"scripts": shared.world().scripts.len()}))
        }
        ("DELETE", ["scripts"]) => {
            shared.world().scripts.clear();
            Ok(json!({"scripts": 0}))
        }
        ("GET", ["bill"]) => value(&shared.world().bill()),
        ("GET", ["log"]) => value(&shared.world().journal.entries().collect::<Vec<_>>()),
        ("DELETE", ["log"]) => {
            shared.world().journal.clear();
            Ok(json!({"received": shared.world().journal.received()}))
        }
        ("GET", ["clock"]) => Ok(clock(shared)),
        ("POST", ["clock"]) => set_clock(shared, fields()?),
        ("POST", ["release"]) => {
            shared.release();
            Ok(json!({"released": true}))
        }
        ("POST", ["listener"]) => listener(shared, fields()?),
        ("POST", ["reset"]) => {
            shared.reset();
            Ok(json!({"reset": true}))
        }
        ("GET", ["errors"]) => Ok(json!(errors::names().collect::<Vec<_>>())),
        ("GET", ["fixtures"]) => {
            Ok(FIXTURES.iter().map(|(name, what)| (format!("sim/fixture-{name}"), Value::from(*what))).collect())
        }
        _ => Err(missing("control call")),
    }
}

fn value<T: Serialize>(of: &T) -> Answer {
    serde_json::to_value(of).map_err(bad)
}

/// Settings with some fields replaced.
fn merged<T: Serialize + DeserializeOwned>(current: &T, changes: Map<String, Value>) -> Result<T, Fault> {
    let mut all = serde_json::to_value(current).map_err(bad)?;
    if let Some(fields) = all.as_object_mut() {
        fields.extend(changes);
    }
    serde_json::from_value(all).map_err(bad)
}

/// Balance given, bought unless said otherwise.
fn open_account(shared: &Shared, mut fields: Map<String, Value>) -> Answer {
    if let Some(credits) = fields.get("credits_usd").cloned() {
        fields.entry("purchased_usd").or_insert(credits);
    }
    let settings: AccountSettings = serde_json::from_value(Value::Object(fields)).map_err(bad)?;
    let mut world = shared.world();
    let index = world.open_account(settings);
    let user_id = world.accounts.get(index).map(|account| account.user_id.clone());
    Ok(json!({"account": index, "user_id": user_id}))
}

fn make_key(shared: &Shared, mut fields: Map<String, Value>) -> Answer {
    let account = fields.remove("account").and_then(|index| index.as_u64()).ok_or_else(|| bad("account is missing"))?;
    let settings: KeySettings = serde_json::from_value(Value::Object(fields)).map_err(bad)?;
    let mut world = shared.world();
    let index = usize::try_from(account).ok().and_then(|account| world.make_key(account, settings));
    let index = index.ok_or_else(|| missing("account"))?;
    let text = world.keys.get(index).map(|key| key.text.clone());
    Ok(json!({"index": index, "account": account, "key": text}))
}

fn accounts(shared: &Shared) -> Value {
    let world = shared.world();
    let shown = world.accounts.iter().enumerate().map(|(index, account)| {
        json!({"account": index, "user_id": account.user_id, "settings": account.settings, "held_usd": account.held,
            "balance_usd": account.balance(), "used_usd": account.spend.total, "running": account.running})
    });
    shown.collect()
}

fn keys(shared: &Shared) -> Value {
    let now_ms = shared.now_ms();
    let world = shared.world();
    let shown = world.keys.iter().enumerate().map(|(index, key)| {
        json!({"index": index, "account": key.account, "key": key.text, "settings": key.settings,
            "used_usd": key.spend.total, "remaining_usd": key.remaining(now_ms), "generations": key.generations})
    });
    shown.collect()
}

fn clock(shared: &Shared) -> Value {
    json!({"now_ms": shared.now_ms(), "offset_ms": shared.offset_ms()})
}

/// One of the three ways to say what time it is.
#[derive(Deserialize)]
enum Set {
    #[serde(rename = "offset_ms")]
    Offset(i64),
    #[serde(rename = "advance_ms")]
    Advance(i64),
    #[serde(rename = "now_ms")]
    Now(i64),
}

fn set_clock(shared: &Shared, fields: Map<String, Value>) -> Answer {
    let set: Set = serde_json::from_value(Value::Object(fields)).map_err(bad)?;
    let (now, offset) = (shared.now_ms(), shared.offset_ms());
    let wanted = match set {
        Set::Offset(to) => (now - offset).checked_add(to),
        Set::Advance(by) => now.checked_add(by),
        Set::Now(to) => Some(to),
    };
    let wanted = wanted.filter(|ms| YEARS_MS.contains(ms)).ok_or_else(|| bad("not a time from 1970 to 9999"))?;
    shared.set_offset_ms(offset + wanted - now);
    Ok(clock(shared))
}

/// What a port is told; `for_ms` opens it again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listener {
    up: bool,
    #[serde(default)]
    drop: bool,
    for_ms: Option<u64>,
}

/// `{"up":false,"drop":true,"for_ms":500}`; a port that is down answers no control calls, so outsiders say for how long.
fn listener(shared: &Arc<Shared>, fields: Map<String, Value>) -> Answer {
    let Listener { up, drop, for_ms } = serde_json::from_value(Value::Object(fields)).map_err(bad)?;
    let wanted = match (up, drop) {
        (true, _) => Port::Open,
        (false, true) => Port::ClosedAndDropped,
        (false, false) => Port::Closed,
    };
    let back = for_ms.map(Duration::from_millis);
    if !up && back.is_none() {
        return Err(bad("for_ms is missing: nobody could open the port again"));
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // Let the answer to this call leave first.
        tokio::time::sleep(Duration::from_millis(2)).await;
        shared.port.send_replace(wanted);
        if let Some(back) = back.filter(|_| wanted != Port::Open) {
            tokio::time::sleep(back).await;
            shared.port.send_replace(Port::Open);
        }
    });
    Ok(json!({"up": up}))
}
