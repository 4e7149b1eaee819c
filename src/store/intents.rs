//! Attempts under way ("intents"): what must be known of them when their process dies.
//!
//! They are kept in memory, under the queue's lock. Only those that are under way for longer than [`SHORT`] are written;
//! an attempt that is over by then costs no write.

use std::collections::BTreeMap;
use std::time::Duration;

use foldhash::HashMap;
use rusqlite::{Connection, Row, params};

use crate::clock::Tick;
use crate::money::{GenerationId, Intent, RequestId, Usd};
use crate::pool::AccountId;

use super::column;

/// What is under way for longer is made durable. Most attempts that fail at once are over by then, and a process that is
/// killed loses no attempt that is older.
pub(super) const SHORT: Duration = Duration::from_millis(50);

/// An attempt under way, and the upstream's id of it once that is known.
#[derive(Clone, Debug)]
pub(super) struct Intended {
    pub intent: Intent,
    pub generation: Option<GenerationId>,
}

/// Which attempts under way are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that have grown old.
    Old,
    /// All of them.
    All,
    /// None, however old they are.
    None,
}

/// Names an attempt under way. Later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(u64);

/// All attempts under way.
#[derive(Debug, Default)]
pub(super) struct Intents {
    last: u64,
    /// Not written as they are, the oldest first.
    fresh: BTreeMap<Ticket, Fresh>,
    /// Written, or being written.
    written: HashMap<Ticket, Intended>,
}

#[derive(Debug)]
struct Fresh {
    open: Intended,
    since: Tick,
    /// An earlier form of it was written.
    written: bool,
}

/// A row that an attempt may have and must not keep.
pub(super) type Written = Option<(RequestId, u16)>;

impl Intents {
    /// An attempt was sent.
    pub(super) fn sent(&mut self, intent: Intent, now: Tick) -> Ticket {
        self.insert(Fresh { open: Intended { intent, generation: None }, since: now, written: false })
    }

    fn insert(&mut self, fresh: Fresh) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.fresh.insert(ticket, fresh);
        ticket
    }

    /// The upstream has named what it makes. The attempt's ticket may be another one from then on.
    pub(super) fn named(&mut self, ticket: Ticket, id: GenerationId, now: Tick) -> Ticket {
        if let Some(fresh) = self.fresh.get_mut(&ticket) {
            fresh.open.generation = Some(id);
            return ticket;
        }
        match self.written.remove(&ticket) {
            Some(open) if open.generation.as_ref() == Some(&id) => {
                self.written.insert(ticket, open);
                ticket
            }
            Some(Intended { intent, .. }) => {
                let open = Intended { intent, generation: Some(id) };
                self.insert(Fresh { open, since: now, written: true })
            }
            None => ticket,
        }
    }

    /// An attempt is over.
    pub(super) fn over(&mut self, ticket: Ticket) -> Written {
        let open = match self.fresh.remove(&ticket) {
            Some(fresh) if !fresh.written => return None,
            Some(fresh) => fresh.open,
            None => self.written.remove(&ticket)?,
        };
        Some((open.intent.request, open.intent.attempt))
    }

    /// Whether nothing is waiting to grow old.
    pub(super) fn is_quiet(&self) -> bool {
        self.fresh.is_empty()
    }

    /// How long until the oldest is to be written.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let (_, oldest) = self.fresh.first_key_value()?;
        Some(SHORT.saturating_sub(oldest.since.elapsed()))
    }

    /// Those of them that are not written; from now on they count as written.
    pub(super) fn take(&mut self, which: Which) -> Vec<Intended> {
        let mut due = Vec::new();
        while let Some(oldest) = self.fresh.first_entry() {
            let wanted = match which {
                Which::Old => oldest.get().since.elapsed() >= SHORT,
                Which::All => true,
                Which::None => false,
            };
            if !wanted {
                break;
            }
            let (ticket, Fresh { open, .. }) = oldest.remove_entry();
            due.push(open.clone());
            self.written.insert(ticket, open);
        }
        due
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.written.len()
    }
}

/// Write an attempt under way, or what is now known of it.
pub(super) fn write(connection: &Connection, epoch: i64, open: &Intended) -> rusqlite::Result<()> {
    let Intended { intent, generation } = open;
    connection
        .prepare_cached(
            "REPLACE INTO intents (request, attempt, epoch, at, key, account, client, endpoint, model, generation, held, \
             user, client_held) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            intent.request.0.as_bytes(),
            intent.attempt,
            epoch,
            intent.at.as_millis(),
            intent.key.0,
            intent.account.map(|account| account.0),
            intent.client.map(|charged| charged.spender.client.0),
            intent.endpoint.name(),
            intent.model.as_deref(),
            generation.as_ref().map(|id| id.as_str()),
            intent.held.map(Usd::as_pico),
            intent.client.and_then(|charged| charged.spender.user).map(|user| user.0),
            intent.client.and_then(|charged| charged.held).map(Usd::as_pico),
        ])
        .map(drop)
}

/// An attempt is over.
pub(super) fn forget(connection: &Connection, request: RequestId, attempt: u16) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM intents WHERE request = ?1 AND attempt = ?2")?
        .execute((request.0.as_bytes(), attempt))
        .map(drop)
}

/// What an epoch has under way, the oldest first.
pub(super) fn of_epoch(connection: &Connection, epoch: i64) -> rusqlite::Result<Vec<Intended>> {
    let mut open = connection.prepare_cached(
        "SELECT request, attempt, at, key, account, client, endpoint, model, generation, held, user, client_held \
         FROM intents WHERE epoch = ?1 ORDER BY at, request, attempt",
    )?;
    open.query_map((epoch,), read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Intended> {
    let intent = Intent {
        request: column::request(row, 0)?,
        attempt: row.get(1)?,
        at: column::time(row, 2)?,
        key: column::key(row, 3)?,
        account: row.get::<_, Option<u32>>(4)?.map(AccountId),
        client: column::maybe_charged(row, [5, 10, 11])?,
        endpoint: column::endpoint(row, 6)?,
        model: row.get::<_, Option<String>>(7)?.map(String::into_boxed_str),
        held: row.get::<_, Option<i64>>(9)?.map(Usd::from_pico),
    };
    Ok(Intended { intent, generation: column::maybe_generation(row, 8)? })
}
