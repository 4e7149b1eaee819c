//! A client's request: a key hunted for, the attempt, the answer, as `src/proxy` has it.

use std::rc::Rc;

use potluck::clock::Timestamp;
use potluck::money::{Outcome, Usd};
use potluck::pool::{AtLast, Choice, Chosen, Effect, KeyId, Lane, NoKey, Want, Worst};

use crate::attempt::Attempt;
use crate::broken::Broken;
use crate::event::{Event, R};
use crate::process::{Process, usd};
use crate::script::{End, Reply};
use crate::tasks::first;
use crate::upstream::{self, Connection, Pico};
use crate::world::World;

const ATTEMPTS: u16 = 3;
const FIRST_BYTE_MS: u64 = 30_000;
const HANGUP_GRACE_MS: u64 = 2_000;
const WAIT_FOR_KEY_MS: u64 = 1_000;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub request: R,
    /// The most it may cost; `None` when nobody can say.
    pub worst: Option<Pico>,
    /// When the client has had enough.
    pub leaves_ms: Option<u64>,
}

/// The search for a key.
#[derive(Default)]
struct Hunt {
    tried: Vec<KeyId>,
    richest: bool,
    attempts: u16,
}

struct Request {
    process: Rc<Process>,
    ask: Ask,
    hunt: Hunt,
    leaves_at: Option<u64>,
}

pub async fn serve(process: Rc<Process>, ask: Ask) {
    process.world.tell(Event::Arrives { request: ask.request, process: process.number, worst: ask.worst });
    let leaves_at = ask.leaves_ms.map(|ms| process.world.now_ms() + ms);
    Request { process, ask, hunt: Hunt::default(), leaves_at }.serve().await;
}

impl Request {
    fn world(&self) -> &Rc<World> {
        &self.process.world
    }

    /// Ends when the client hangs up.
    async fn hangup(&self) {
        match self.leaves_at {
            Some(at) => self.world().sleep(at.saturating_sub(self.world().now_ms())).await,
            None => std::future::pending().await,
        }
    }

    async fn serve(mut self) {
        let (request, process) = (self.ask.request, self.process.number);
        loop {
            let Some(chosen) = self.find_key().await else {
                return self.world().tell(Event::NoKey { request, process });
            };
            let key = chosen.key;
            self.hunt.attempts += 1;
            let Some(account) = self.process.account(key) else {
                self.hunt.tried.push(key);
                continue;
            };
            let Some(mut attempt) = Attempt::begin(&self.process, request, chosen, self.hunt.attempts) else {
                return self.world().tell(Event::LedgerFull { request, process });
            };
            if !attempt.cover().await {
                self.world().tell(Event::NotCovered { request, process, key });
                self.hunt.tried.push(key);
                continue;
            }
            if self.world().permille(5) {
                return attempt.close(Outcome::Unreachable);
            }
            // Connecting takes a moment, in which everything can end.
            let connecting = self.world().between(0, 40);
            if first(self.world().sleep(connecting), self.hangup()).await.is_err() {
                return;
            }
            attempt.sent();
            let worst = self.ask.worst;
            let (connection, reply) = upstream::receive(self.world(), account, attempt.id, request, worst);
            if !self.answer(attempt, connection, reply).await {
                return;
            }
        }
    }

    /// A key for the next attempt; waits a little while the keys are only busy.
    async fn find_key(&self) -> Option<Chosen> {
        let worst = match self.ask.worst {
            _ if self.world().broken == Some(Broken::HoldsNothing) => Worst::Cost(Usd::ZERO),
            Some(worst) => Worst::Cost(usd(worst)),
            None => Worst::Unknown,
        };
        let want = Want {
            lane: Lane::Paid,
            model: Some("lab/model"),
            conversation: None,
            tried: &self.hunt.tried,
            avoid: &[],
            richest: self.hunt.richest,
            fallbacks: &[],
            worst,
        };
        let until = self.world().now_ms() + WAIT_FOR_KEY_MS;
        loop {
            let freed = self.process.freed.notified();
            let (now, roll) = (self.process.now(), self.process.roll());
            let why = match self.process.pool(|pool| pool.choose(&want, now, roll)) {
                Choice::Key(chosen) => {
                    self.tell_chosen(&chosen);
                    return Some(chosen);
                }
                Choice::None(why) => why,
            };
            let left = until.saturating_sub(self.world().now_ms());
            if why.reason != NoKey::AllBusy || left == 0 {
                let AtLast::Key(chosen) = self.process.pool(|pool| pool.choose_at_last(&want, now, roll)) else {
                    return None;
                };
                self.tell_chosen(&chosen);
                return Some(chosen);
            }
            let waited = first(first(freed, self.world().sleep(left)), self.hangup()).await;
            if waited.is_err() {
                return None;
            }
        }
    }

    fn tell_chosen(&self, chosen: &Chosen) {
        self.process.touched.borrow_mut().push(chosen.key);
        let held = chosen.hold.map(|hold| hold.amount.as_pico().into());
        let missing = chosen.hold.map_or(0, |hold| hold.missing.as_pico().into());
        let (request, process, key) = (self.ask.request, self.process.number, chosen.key);
        self.world().tell(Event::Chosen { request, process, key, held, missing });
    }

    /// Whether another key is tried.
    async fn answer(&mut self, mut attempt: Attempt, connection: Connection, reply: Reply) -> bool {
        let head_after = match &reply {
            Reply::Silence => FIRST_BYTE_MS,
            Reply::Answer { head_after, .. } => *head_after,
            Reply::Broken { after }
            | Reply::Refused { after, .. }
            | Reply::Busy { after, .. }
            | Reply::KeyLimit { after }
            | Reply::NoCredit { after }
            | Reply::Affords { after, .. }
            | Reply::Failed { after, .. } => *after,
        };
        let arrives_at = self.world().now_ms() + head_after;
        if first(self.world().sleep(head_after), self.hangup()).await.is_err() {
            // The head is waited for a little: it names what is being billed.
            let left = arrives_at - self.world().now_ms();
            self.world().sleep(left.min(HANGUP_GRACE_MS)).await;
            if left <= HANGUP_GRACE_MS {
                head(&mut attempt, &reply);
                if matches!(reply, Reply::Failed { words: false, .. }) {
                    attempt.refused_without_words();
                }
            }
            attempt.close(Outcome::ClientGone);
            return false;
        }
        head(&mut attempt, &reply);
        if let Reply::Answer { chunks, end, .. } = reply {
            attempt.accepted();
            self.relay(attempt, connection, &chunks, end).await;
            return false;
        }
        self.refused(attempt, &reply)
    }

    /// Pass the answer on.
    async fn relay(&self, mut attempt: Attempt, connection: Connection, chunks: &[u64], end: End) {
        for pause in chunks {
            if first(self.world().sleep(*pause), self.hangup()).await.is_err() {
                drop(connection);
                return attempt.close(Outcome::ClientGone);
            }
            if self.world().permille(100) {
                attempt.names();
            }
        }
        // The end is read after it was sent.
        self.world().sleep(1).await;
        let (billed, _) = self.world().upstream.borrow().bill(attempt.id);
        if matches!(end, End::Told | End::Error { told: true }) {
            attempt.costs(usd(billed));
        }
        attempt.close(match end {
            End::Told | End::Untold => Outcome::Answered,
            End::Error { .. } => Outcome::FailedInside,
            End::Cut => Outcome::Broken,
        });
    }

    /// A refusal, or nothing at all. Whether another key is tried.
    fn refused(&mut self, mut attempt: Attempt, reply: &Reply) -> bool {
        let key = attempt.chosen.key;
        let now = self.process.now();
        let (effect, again) = match reply {
            Reply::Silence | Reply::Broken { .. } => {
                attempt.close(Outcome::Broken);
                return false;
            }
            Reply::Failed { words, .. } => {
                if !words {
                    attempt.refused_without_words();
                }
                attempt.close(Outcome::Refused);
                return false;
            }
            Reply::Refused { status: 401, .. } => (Effect::KeyDoubted, true),
            Reply::Busy { rest, .. } => (Effect::AccountBusy { rest: std::time::Duration::from_millis(*rest) }, true),
            Reply::KeyLimit { .. } => (Effect::KeyCapped { until: None }, true),
            Reply::NoCredit { .. } => (Effect::AccountEmpty, true),
            Reply::Affords { amount, .. } => {
                self.affords(key, *amount, now);
                (Effect::Affords { tokens: None }, true)
            }
            Reply::Refused { .. } | Reply::Answer { .. } => (Effect::None, false),
        };
        let roll = self.process.roll();
        let changed = self.process.pool_on(key, |pool| pool.apply(key, &effect, now, roll));
        self.process.saved(&changed);
        self.process.probe_wanted.notify_one();
        let again = again && self.hunt.attempts < ATTEMPTS;
        attempt.judged();
        attempt.close(if again { Outcome::KeyRefused } else { Outcome::Refused });
        self.hunt.tried.push(key);
        again
    }

    fn affords(&mut self, key: KeyId, amount: Pico, now: Timestamp) {
        self.hunt.richest = true;
        self.process.pool_on(key, |pool| pool.affords(key, usd(amount), now));
    }
}

/// What a head tells.
fn head(attempt: &mut Attempt, reply: &Reply) {
    match reply {
        Reply::Silence | Reply::Broken { .. } => {}
        Reply::Refused { status, .. } => attempt.answered(*status, false),
        Reply::Busy { .. } => attempt.answered(429, false),
        Reply::KeyLimit { .. } => attempt.answered(403, false),
        Reply::NoCredit { .. } | Reply::Affords { .. } => attempt.answered(402, false),
        Reply::Failed { status, generation, .. } => attempt.answered(*status, *generation),
        Reply::Answer { generation, .. } => attempt.answered(200, *generation),
    }
}
