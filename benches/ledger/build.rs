//! Builds a long ledger: lines straight into the file, sums by SQL.

use std::path::Path;
use std::sync::Arc;

use potluck::clock::{Day, Timestamp};
use potluck::money::Limits;
use potluck::pool::KeyState;
use potluck::secret::Credential;
use potluck::store::NewKey;
use rusqlite::{Connection, params};

/// What is built.
pub struct Plan {
    pub rows: u64,
    pub keys: u32,
    pub days: i32,
    pub last: Day,
}

const MODELS: [&str; 6] =
    ["acme/large-4.5", "acme/small", "other/one:free", "third/reasoner", "acme/large-4.5:online", "fourth/vision"];

pub fn new_key(number: u32, limits: Limits, now: Timestamp) -> NewKey {
    let text = format!("sk-or-v1-{number:064x}");
    NewKey {
        credential: Arc::new(Credential::parse(&text).expect("well formed")),
        label: Some(format!("key {number}")),
        donor_id: None,
        donor_name: None,
        account: None,
        limits,
        state: KeyState::fresh(now),
        added_at: now,
    }
}

/// Like the real ones: they grow with time.
pub fn request(number: u64, millis: u64) -> uuid::Uuid {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// Write the lines and everything that follows from them. Their chains begin after them.
pub fn fill(path: &Path, plan: &Plan) {
    let mut file = Connection::open(path).expect("opens");
    file.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; PRAGMA cache_size = -500000;")
        .expect("set");
    // What every line costs is put up again afterwards, for all lines at once.
    let schema: Vec<(String, String, String)> = file
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE tbl_name = 'entries' AND type <> 'table' AND sql IS NOT NULL")
        .and_then(|mut rows| rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect())
        .expect("a schema");
    for (kind, name, _) in &schema {
        file.execute_batch(&format!("DROP {kind} {name}")).expect("dropped");
    }
    let transaction = file.transaction().expect("begun");
    lines(&transaction, plan);
    for (_, _, sql) in &schema {
        transaction.execute_batch(sql).expect("made again");
    }
    sums(&transaction);
    transaction.commit().expect("committed");
}

fn lines(file: &Connection, plan: &Plan) {
    let mut insert = file
        .prepare(
            "INSERT INTO entries (id, kind, request, attempt, opens, at, day, key, endpoint, model, generation, prompt, \
             completion, cached, pico, outcome, status, duration_ms, client) \
             VALUES (?1, 0, ?2, 1, 1, ?3, ?4, ?5, 'chat_completions', ?6, ?7, 1000, 200, 0, ?8, ?9, 200, 900, ?10)",
        )
        .expect("prepared");
    let mut suspense = file
        .prepare("INSERT INTO suspense (entry, key, opened_at, due_at, settled_at, held) VALUES (?1, ?2, ?3, NULL, ?4, 5000)")
        .expect("prepared");
    let per_day = plan.rows.div_ceil(plan.days as u64);
    let first = plan.last.number() - plan.days + 1;
    for row in 0..plan.rows {
        let day = first + (row / per_day) as i32;
        let at = Day::from_number(day).start().as_millis() + (row % per_day * 40_000_000 / per_day) as i64;
        let mix = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let key = mix % u64::from(plan.keys) + 1;
        let outcome = if mix % 97 == 0 { "broken" } else { "answered" };
        let generation = format!("gen-{}-{:020x}", at / 1000, mix);
        // A client that stopped asking long ago is among them.
        let client = if day < plan.last.number() - 90 { 2 } else { mix % 5 + 3 };
        let unknown = mix % 1000 == 7;
        insert
            .execute(params![
                row as i64 + 1,
                request(row, at as u64).as_bytes(),
                at,
                day,
                key as i64,
                MODELS[(mix / 7 % 6) as usize],
                generation,
                (!unknown).then_some((mix % 5_000_000) as i64),
                outcome,
                client as i64
            ])
            .expect("written");
        if unknown {
            let settled_at = (row + 100_000 < plan.rows).then_some(at);
            suspense.execute(params![row as i64 + 1, key as i64, at, settled_at]).expect("written");
        }
    }
}

fn sums(file: &Connection) {
    let columns = "sum(opens), sum(outcome = 'answered'), 0, 0, 0, 0, sum(outcome = 'broken'), 0, sum(prompt), \
                   sum(completion), sum(cached), 0, coalesce(sum(pico), 0), 0";
    file.execute_batch(&format!(
        "INSERT INTO day_models SELECT day, key, model, client, outcome, sum(opens), count(*), sum(prompt), \
             sum(completion), sum(cached), 0, coalesce(sum(pico), 0), 0, 0, 0 FROM entries GROUP BY 1, 2, 3, 4, 5;
         INSERT INTO day_totals SELECT day, key, {columns} FROM entries GROUP BY 1, 2;
         INSERT INTO day_totals SELECT day, 0, {columns} FROM entries GROUP BY 1;
         INSERT INTO key_totals SELECT key, {columns} FROM entries GROUP BY 1;
         INSERT INTO key_totals SELECT 0, {columns} FROM entries;
         INSERT INTO day_starts SELECT day, min(id) FROM entries GROUP BY 1;
         INSERT INTO client_spans SELECT DISTINCT client, at >> 7 FROM entries WHERE client IS NOT NULL;"
    ))
    .expect("summed up");
    let last: i64 = file.query_row("SELECT max(id) FROM entries", [], |row| row.get(0)).expect("a number");
    file.execute("UPDATE meta SET value = ?1 WHERE name = 'unchained_until'", (last.to_le_bytes(),)).expect("set");
}
