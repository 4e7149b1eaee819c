//! Ways to look at a house that several stories need.

use potluck::clock::Timestamp;
use potluck::pool::{Cause, Health, KeyId, KeyState};
use potluck::pot::{KeyRef, Overview};
use potluck::simulator::{Play, Script};

use super::{Answer, Ask, House};

/// A key's state, as far as a story tells it.
pub type Told = (Health, Cause, Option<Timestamp>);

impl House {
    /// The pool once every request is booked: a client has its last byte a moment before.
    pub async fn booked(&self) -> Overview {
        self.until("every request is booked", |o| o.in_flight == 0).await
    }

    /// The pool once free questions have told what each key has left: nothing more is asked by itself for hours.
    pub async fn settled_in(&self) -> Overview {
        self.until("every key has been asked about", |o| o.keys.iter().all(|k| k.state.remaining.is_some())).await
    }

    /// Let every free question about keys go without an answer, so that no evidence moves what requests have done.
    pub fn silence_probes(&self) {
        for path in ["/api/v1/key", "/api/v1/credits"] {
            self.sim.script(Script::always(Play::refuse("500")).on_path(path));
        }
    }

    /// The keys that requests went up with, in order, by their index at the upstream.
    pub fn used(&self) -> Vec<usize> {
        self.went_up().iter().filter_map(|entry| entry.key).collect()
    }

    /// Forget what went up so far.
    pub fn forget_log(&self) {
        self.sim.clear_log();
    }

    /// A key's whole state now, by its place in the rotation: keys are donated in the order of their upstream index.
    pub async fn state(&self, place: usize) -> KeyState {
        self.overview().await.keys[place].state.clone()
    }

    /// What is told of every key.
    pub async fn told(&self) -> Vec<Told> {
        let keys = self.overview().await.keys;
        keys.iter().map(|k| (k.state.health, k.state.cause, k.state.until)).collect()
    }

    /// An operator's word.
    pub async fn say(&self, key: KeyId, health: Health) {
        self.pot.set_health(KeyRef::Id(key), health, None, None).await.expect("the key is in the pool");
    }

    /// Send the same request so many times, one after the other.
    pub async fn ask_often(&self, ask: &Ask, times: usize) -> Vec<Answer> {
        let mut answers = Vec::new();
        for _ in 0..times {
            answers.push(self.ask(ask).await);
        }
        answers
    }
}

/// A time written out.
pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}
