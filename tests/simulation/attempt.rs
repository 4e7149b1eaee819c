//! One attempt at a request with one key, as `src/pot/attempt.rs` has it: whatever happens to it, it is booked once.

use std::rc::Rc;

use potluck::clock::Timestamp;
use potluck::money::{Cost, Entry, GenerationId, Intent, Outcome, RequestId, Tokens, Usd};
use potluck::pool::Chosen;
use potluck::store::Slot;
use potluck::upstream::Endpoint;

use crate::broken::Broken;
use crate::event::{Event, R};
use crate::judge;
use crate::process::Process;
use crate::upstream::A;

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Chosen,
    Sent,
    Answered { status: u16 },
    Booked,
}

pub struct Attempt {
    process: Rc<Process>,
    request: R,
    pub chosen: Chosen,
    number: u16,
    slot: Option<Slot>,
    begun_at: Timestamp,
    stage: Stage,
    generation: Option<GenerationId>,
    /// What the answer's body has told so far; `None` while there is no 2xx.
    reading: Option<Cost>,
    judged: bool,
    wordless: bool,
    /// Its number in the judge's book.
    pub id: A,
}

/// The id under which a request is booked.
pub fn request_id(request: R) -> RequestId {
    RequestId(uuid::Uuid::from_u128(u128::from(request) + 1))
}

const ENDPOINT: Endpoint = Endpoint::ChatCompletions;
const MODEL: &str = "lab/model";

impl Attempt {
    /// Begin an attempt; `None` without room in the ledger.
    pub fn begin(process: &Rc<Process>, request: R, chosen: Chosen, number: u16) -> Option<Self> {
        let slot = match chosen.hold {
            Some(_) => process.store.slot_of_strict(),
            None => process.store.slot(),
        };
        let Some(slot) = slot else {
            process.unsent(&chosen);
            return None;
        };
        let held = chosen.hold.map(|hold| hold.amount.as_pico().into());
        let id = process.world.judge.borrow_mut().begins(request, number, chosen.key, process.epoch, held);
        Some(Self {
            process: Rc::clone(process),
            request,
            chosen,
            number,
            slot: Some(slot),
            begun_at: process.now(),
            stage: Stage::Chosen,
            generation: None,
            reading: None,
            judged: false,
            wordless: false,
            id,
        })
    }

    /// See to it that what is held for the request is durable.
    pub async fn cover(&self) -> bool {
        match self.chosen.hold {
            Some(_) if self.process.world.broken == Some(Broken::SendsBeforeTheDraw) => {
                self.process.draw_unwatched(self.chosen.key, self.chosen.hold);
                true
            }
            Some(hold) if hold.missing > Usd::ZERO => self.process.draw(self.chosen.key).await,
            Some(_) => true,
            None => self.process.use_unbounded(self.chosen.key).await,
        }
    }

    /// The time it is booked with: never before what is held for it was taken.
    fn at(&self) -> Timestamp {
        self.process.now().max(self.begun_at)
    }

    /// From here on bytes may have left.
    pub fn sent(&mut self) {
        self.stage = Stage::Sent;
        let (key, held) = (self.chosen.key, self.chosen.hold.map(|hold| hold.amount));
        let intent = Intent {
            at: self.at(),
            request: request_id(self.request),
            attempt: self.number,
            key,
            account: self.chosen.account,
            client: None,
            endpoint: ENDPOINT,
            model: Some(MODEL.into()),
            held,
        };
        if let Some(slot) = &mut self.slot {
            slot.sent(intent);
        }
        let now = self.process.world.now_ms();
        self.process.unwritten_since.set(Some(self.process.unwritten_since.get().unwrap_or(now)));
        let (process, held) = (self.process.number, held.map(|held| held.as_pico().into()));
        self.process.world.tell(Event::Sent { request: self.request, process, key, held });
        judge::sent(&self.process.world, self.id);
    }

    /// A response head arrived.
    pub fn answered(&mut self, status: u16, named: bool) {
        self.stage = Stage::Answered { status };
        self.process.world.tell(Event::Head { request: self.request, status });
        if named {
            self.names();
        }
    }

    /// The upstream has told how it calls what it makes.
    pub fn names(&mut self) {
        if self.generation.is_none() {
            let id = generation_id(self.id);
            if let Some(slot) = &mut self.slot {
                slot.named(id.clone());
            }
            self.generation = Some(id);
        }
    }

    /// The head was a success.
    pub fn accepted(&mut self) {
        self.reading = Some(Cost::Unknown);
        self.judged = true;
        let (key, now) = (self.chosen.key, self.process.now());
        if self.process.pool(|pool| pool.succeeded(key, now)) {
            self.process.saved(&[key]);
        }
    }

    /// The answer tells its cost.
    pub fn costs(&mut self, cost: Usd) {
        self.reading = Some(Cost::Known(cost));
    }

    pub fn judged(&mut self) {
        self.judged = true;
    }

    pub fn refused_without_words(&mut self) {
        self.wordless = true;
    }

    pub fn close(mut self, outcome: Outcome) {
        self.book(outcome);
    }

    fn book(&mut self, outcome: Outcome) {
        let stage = std::mem::replace(&mut self.stage, Stage::Booked);
        let Some(slot) = self.slot.take() else { return };
        if outcome == Outcome::ClientGone && self.process.world.broken == Some(Broken::ForgetsAborts) {
            return self.process.unsent(&self.chosen);
        }
        let reached = self.generation.is_some() || self.wordless;
        let cost = match charged(stage, outcome, reached, self.reading) {
            Cost::Unknown if self.process.world.broken == Some(Broken::UnknownIsZero) => Cost::Known(Usd::ZERO),
            cost => cost,
        };
        let status = match stage {
            Stage::Answered { status } => Some(status),
            _ => None,
        };
        let entry = Entry {
            at: self.at(),
            request: request_id(self.request),
            attempt: self.number,
            key: self.chosen.key,
            account: self.chosen.account,
            client: None,
            endpoint: ENDPOINT,
            model: Some(MODEL.into()),
            generation: self.generation.take(),
            tokens: Tokens::default(),
            cost,
            held: self.chosen.hold.map(|hold| hold.amount),
            byok: None,
            outcome,
            status,
            duration_ms: 1,
        };
        let told = match cost {
            Cost::Known(amount) => Some(amount.as_pico().into()),
            Cost::Unknown => None,
        };
        let (request, process, key) = (self.request, self.process.number, self.chosen.key);
        self.process.world.tell(Event::Booked { request, process, key, outcome, cost: told });
        self.process.book(entry, slot);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.process.dead.get() {
            return;
        }
        if !self.judged && self.chosen.trial {
            self.process.pool(|pool| pool.trial_over(self.chosen.key));
        }
        match self.stage {
            Stage::Booked => {}
            Stage::Chosen => {
                let (request, process, key) = (self.request, self.process.number, self.chosen.key);
                self.process.world.tell(Event::Unsent { request, process, key });
                self.process.unsent(&self.chosen);
            }
            Stage::Sent | Stage::Answered { .. } => self.book(Outcome::Broken),
        }
    }
}

/// How the upstream calls what an attempt makes.
fn generation_id(attempt: A) -> GenerationId {
    GenerationId::parse(format!("gen-{attempt}").as_bytes()).expect("an id's shape")
}

/// The attempt of that name.
pub fn named(id: &GenerationId) -> Option<A> {
    id.as_str().strip_prefix("gen-")?.parse().ok()
}

/// What an attempt was charged, as far as it is certain: the table of `src/pot/attempt.rs`.
fn charged(stage: Stage, outcome: Outcome, reached: bool, reading: Option<Cost>) -> Cost {
    const FREE: Cost = Cost::Known(Usd::ZERO);
    if let Some(cost) = reading {
        return cost;
    }
    match (stage, outcome) {
        (Stage::Chosen, _) | (_, Outcome::Unreachable) => FREE,
        (Stage::Answered { status: 408 | 504 | 524 }, _) => Cost::Unknown,
        (Stage::Answered { status }, _) if (400..500).contains(&status) => FREE,
        (Stage::Answered { status }, _) if status >= 500 && !reached => FREE,
        _ => Cost::Unknown,
    }
}
