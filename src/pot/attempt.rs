//! One attempt at a request with one key, as a value: whatever happens to it, it is booked once.
//!
//! A panic or a cancelled task skips every later line but not [`Drop`], so what must happen at the end of an attempt
//! happens there: the ledger entry (in suspense when the cost is unknown), the in-flight count, the end of a trial.

use std::fmt;
use std::sync::Arc;

use crate::clock::{Tick, Timestamp};
use crate::money::{Cost, Entry, GenerationId, Intent, Outcome, RequestId, Tokens, Usd};
use crate::pool::Chosen;
use crate::store::Slot;
use crate::upstream::{Endpoint, InsideError, Reading, Reason, UsageReader, judge_inside};

use super::{Pot, Seat};

/// Who keeps the books of an exchange while it goes on.
pub trait Progress: Send {
    /// From here on bytes may have left: the outcome is the upstream's to tell.
    fn sent(&mut self);
    /// A response head arrived.
    fn answered(&mut self, status: u16, generation: Option<GenerationId>);
}

/// Exchanges that cost nothing are not booked.
impl Progress for () {
    fn sent(&mut self) {}
    fn answered(&mut self, _status: u16, _generation: Option<GenerationId>) {}
}

/// What all attempts of one request have in common.
#[derive(Debug)]
pub struct Call {
    /// potluck's id of the request.
    pub request: RequestId,
    /// The place of the client that asks, where clients are known.
    pub seat: Option<Arc<Seat>>,
    /// The endpoint called.
    pub endpoint: Endpoint,
    /// The model asked for, where it could be read.
    pub model: Option<Box<str>>,
}

/// How far an attempt has come: decides what may have been billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A key is chosen, nothing has left.
    Chosen,
    /// Bytes may have left; no answer yet.
    Sent,
    /// A response head has arrived.
    Answered {
        /// Its status.
        status: u16,
    },
    /// Booked.
    Booked,
}

/// What came of the wish to begin an attempt.
#[derive(Debug)]
pub enum Begun {
    /// It may be made.
    Attempt(Box<Attempt>),
    /// The key has left the pool since it was chosen.
    KeyLeft,
    /// The ledger has no room for another entry just now.
    LedgerFull,
}

/// One use of one key. Dropping it books what is known by then.
pub struct Attempt {
    pot: Arc<Pot>,
    call: Arc<Call>,
    chosen: Chosen,
    number: u16,
    slot: Option<Slot>,
    started: Tick,
    /// Not before what is held for it was taken.
    begun_at: Timestamp,
    stage: Stage,
    generation: Option<GenerationId>,
    reader: Option<UsageReader>,
    judged: bool,
    /// Why OpenRouter refused it, or what it reported inside the answer.
    reason: Option<Reason>,
    /// A refusal that is not in OpenRouter's own words: it may come from an edge that lost sight of the request.
    wordless: bool,
}

impl Attempt {
    pub(super) fn new(pot: Arc<Pot>, call: Arc<Call>, chosen: Chosen, number: u16, slot: Slot) -> Self {
        let (started, begun_at) = (Tick::now(), pot.clock.now());
        let slot = Some(slot);
        Self {
            pot,
            call,
            chosen,
            number,
            slot,
            started,
            begun_at,
            stage: Stage::Chosen,
            generation: None,
            reader: None,
            judged: false,
            reason: None,
            wordless: false,
        }
    }

    /// The key in use.
    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// The head was a success: the key is well, and the body will be read for its usage.
    pub fn accepted(&mut self, reader: UsageReader) {
        self.reader = Some(reader);
        self.judged = true;
        self.pot.key_succeeded(self.chosen.key);
    }

    /// See to it that what is held for the request is durable, which takes a commit when the key's lease does not cover it;
    /// or, where nothing is held, that the key is used at all. `false`: it could not be, and the attempt must not be made.
    pub async fn cover(&self) -> bool {
        match self.chosen.hold {
            Some(hold) if hold.missing > Usd::ZERO => self.pot.draw(self.chosen.key).await,
            Some(_) => true,
            None => self.pot.use_unbounded(self.chosen.key).await,
        }
    }

    /// A verdict for this reason has been applied to the key; a trial is over.
    pub fn judged(&mut self, reason: Reason) {
        self.judged = true;
        self.reason = Some(reason);
    }

    /// The refusal was not in OpenRouter's own words, so it does not prove that nothing was done.
    pub fn refused_without_words(&mut self) {
        self.wordless = true;
    }

    /// Let the usage reader see a part of the body.
    pub fn read(&mut self, chunk: &[u8]) {
        if let Some(reader) = &mut self.reader {
            reader.push(chunk);
        }
    }

    /// The generation's id stood in the body.
    pub fn names(&mut self, generation: GenerationId) {
        if self.generation.is_none() {
            if let Some(slot) = &mut self.slot {
                slot.named(generation.clone());
            }
            self.generation = Some(generation);
        }
    }

    /// Which attempt of its request this is, from 1.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// What the answer cost, once its body is whole; `None` is unknown, or that it was not read to its end.
    pub fn cost_at_end(&self) -> Option<Usd> {
        match self.reader.as_ref()?.cost_at_end() {
            Cost::Known(cost) => Some(cost),
            Cost::Unknown => None,
        }
    }

    /// Book the attempt. An error that the reader saw inside the body is held against the key. Returns what was charged.
    pub fn close(mut self, outcome: Outcome) -> Cost {
        self.book(outcome)
    }

    fn book(&mut self, outcome: Outcome) -> Cost {
        let stage = std::mem::replace(&mut self.stage, Stage::Booked);
        let Some(slot) = self.slot.take() else { return Cost::Unknown };
        let reading = self.reader.take().map(UsageReader::finish);
        let outcome = match &reading {
            Some(reading) if reading.error.is_some() && outcome == Outcome::Answered => Outcome::FailedInside,
            // Framed to its end, but the document or the stream was not: padding and nothing behind it, for instance.
            Some(reading) if !reading.complete && outcome == Outcome::Answered => Outcome::Broken,
            _ => outcome,
        };
        let reached = self.generation.is_some() || self.wordless;
        let cost = charged(stage, outcome, reached, reading.as_ref());
        if let Some(error) = reading.as_ref().and_then(|reading| reading.error.as_ref()) {
            self.blame_inside(error);
        }
        let entry = self.entry(stage, outcome, cost, reading.as_ref());
        self.pot.book(entry, self.reason, slot, self.call.seat.as_deref());
        cost
    }

    fn blame_inside(&mut self, error: &InsideError) {
        let verdict = judge_inside(error, self.call.model.as_deref(), self.pot.clock.now());
        self.reason = Some(verdict.reason);
        self.pot.blame(self.chosen.key, &verdict);
    }

    /// The time it is booked with. When the clock was set back over midnight meanwhile, that is its beginning: only that
    /// day's caps were looked at, and the day before may be full.
    fn at(&self) -> Timestamp {
        self.pot.clock.now().max(self.begun_at)
    }

    /// What must be known of the attempt when this process dies.
    fn intent(&self) -> Intent {
        Intent {
            at: self.at(),
            request: self.call.request,
            attempt: self.number,
            key: self.chosen.key,
            account: self.chosen.account,
            client: self.call.seat.as_ref().map(|seat| seat.charged()),
            endpoint: self.call.endpoint,
            model: self.call.model.clone(),
            held: self.chosen.hold.map(|hold| hold.amount),
        }
    }

    fn entry(&mut self, stage: Stage, outcome: Outcome, cost: Cost, reading: Option<&Reading>) -> Entry {
        let status = match stage {
            Stage::Answered { status } => Some(status),
            _ => None,
        };
        let answered_model = reading.and_then(|r| r.model.clone());
        let answered_id = reading.and_then(|r| r.generation.clone());
        Entry {
            at: self.at(),
            request: self.call.request,
            attempt: self.number,
            key: self.chosen.key,
            account: self.chosen.account,
            // Whoever books it says what of that is paid.
            client: None,
            endpoint: self.call.endpoint,
            model: answered_model.or_else(|| self.call.model.clone()),
            generation: self.generation.take().or(answered_id),
            tokens: reading.map_or_else(Tokens::default, |r| r.tokens),
            cost,
            held: self.chosen.hold.map(|hold| hold.amount),
            byok: reading.and_then(|r| r.byok),
            outcome,
            status,
            duration_ms: u32::try_from(self.started.elapsed().as_millis()).unwrap_or(u32::MAX),
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attempt({} #{} with {}, {:?})", self.call.request, self.number, self.chosen.key, self.stage)
    }
}

impl Progress for Attempt {
    fn sent(&mut self) {
        self.stage = Stage::Sent;
        let intent = self.intent();
        if let Some(slot) = &mut self.slot {
            slot.sent(intent);
        }
    }

    fn answered(&mut self, status: u16, generation: Option<GenerationId>) {
        self.stage = Stage::Answered { status };
        if let (Some(slot), Some(generation)) = (&mut self.slot, &generation) {
            slot.named(generation.clone());
        }
        self.generation = generation;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.judged && self.chosen.trial {
            self.pot.trial_over(self.chosen.key);
        }
        match self.stage {
            Stage::Booked => {}
            // Nothing left the house: there is nothing to book, and the slot and the hold go back.
            Stage::Chosen => self.pot.unsent(&self.chosen),
            Stage::Sent | Stage::Answered { .. } => {
                self.book(Outcome::Broken);
            }
        }
    }
}

/// What an attempt was charged, as far as it is certain.
///
/// Refusals are made before a provider runs and are free (`openrouter-api.md` 5.4). A timeout or a failure behind the
/// router may have been billed; an answer without a readable cost certainly may.
fn charged(stage: Stage, outcome: Outcome, reached: bool, reading: Option<&Reading>) -> Cost {
    const FREE: Cost = Cost::Known(Usd::ZERO);
    if let Some(reading) = reading {
        return reading.cost;
    }
    match (stage, outcome) {
        (Stage::Chosen, _) | (_, Outcome::Unreachable) => FREE,
        (Stage::Answered { status: 408 | 504 | 524 }, _) => Cost::Unknown,
        (Stage::Answered { status }, _) if (400..500).contains(&status) => FREE,
        // A 5xx that names a generation came from behind the router; OpenRouter's own without one was made before; an
        // edge's page proves nothing.
        (Stage::Answered { status }, _) if status >= 500 && !reached => FREE,
        _ => Cost::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certainly_free_is_booked_as_free() {
        const FREE: Cost = Cost::Known(Usd::ZERO);
        let answered = |status| Stage::Answered { status };
        let table = [
            (Stage::Chosen, Outcome::Unreachable, false, FREE),
            (Stage::Sent, Outcome::Broken, false, Cost::Unknown),
            (Stage::Sent, Outcome::ClientGone, false, Cost::Unknown),
            (Stage::Sent, Outcome::Unreachable, false, FREE),
            (answered(402), Outcome::KeyRefused, false, FREE),
            (answered(429), Outcome::Refused, true, FREE),
            (answered(408), Outcome::Refused, false, Cost::Unknown),
            (answered(504), Outcome::Refused, false, Cost::Unknown),
            (answered(524), Outcome::Refused, false, Cost::Unknown),
            (answered(503), Outcome::Refused, false, FREE),
            (answered(502), Outcome::Refused, true, Cost::Unknown),
            (answered(200), Outcome::ClientGone, true, Cost::Unknown),
        ];
        for (stage, outcome, generation, cost) in table {
            assert_eq!(charged(stage, outcome, generation, None), cost, "{stage:?} {outcome:?} {generation}");
        }
    }
}
