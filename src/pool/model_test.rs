//! The pool against a naive model: random events over accounts, with time that runs, jumps and goes back.
//!
//! The model reads each key's own state and works everything else out by looking at every key: who may be chosen,
//! whose turn it is, why there is nobody and until when, and what must have been reported to be saved.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::money::Usd;

use super::testing::*;
use super::{
    AccountId, AtLast, Cause, Choice, Conversation, Effect, Evidence, Health, KeyFacts, KeyId, KeyState, Lane, NoKey,
    Policy, Pool, Rotation, Unavailable, Want, Worst,
};

/// SplitMix64: small, seeded, and the same everywhere.
struct Random(Cell<u64>);

impl Random {
    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let a = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        b ^ (b >> 31)
    }

    fn below(&self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Clone>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }
}

const MODELS: [&str; 3] = ["acme/large", "acme/small", "lab/x:free"];
const ACCOUNTS: u64 = 4;

/// A key as the model knows it, in order of donation.
struct Known {
    id: KeyId,
    account: Option<AccountId>,
    spent: Usd,
    turn: u64,
    running: Option<Timestamp>,
    /// Requests on it that began or joined its trial and of which nothing is known.
    undecided: u32,
    /// It has said, since it last served, that our address is barred.
    barred: bool,
    /// The state as last saved by whoever listens to what the pool reports.
    saved: KeyState,
}

struct Excluded {
    what: String,
    account: Option<AccountId>,
    key: KeyId,
    until: Timestamp,
}

struct Model {
    random: Random,
    policy: Policy,
    pool: Pool,
    keys: Vec<Known>,
    next_id: u32,
    now: Timestamp,
    latest: Timestamp,
    excluded: Vec<Excluded>,
    edge_rest: Option<Timestamp>,
    /// Every answer: when, from which account (or key, where that is not known), and whether it turned the key away.
    answers: Vec<(Timestamp, Result<AccountId, KeyId>, bool)>,
    bonds: HashMap<u64, (KeyId, Timestamp)>,
    /// The key last chosen by rotation, per lane: its turn passes to the next in order.
    turn_passed: [Option<KeyId>; 2],
    turns: u64,
}

impl Model {
    fn new(rotation: Rotation, seed: u64) -> Self {
        let policy = Policy { rotation, ..Policy::default() };
        let mut model = Self {
            random: Random(Cell::new(seed)),
            policy,
            pool: Pool::new(policy),
            keys: Vec::new(),
            next_id: 1,
            now: START,
            latest: START,
            excluded: Vec::new(),
            edge_rest: None,
            answers: Vec::new(),
            bonds: HashMap::new(),
            turn_passed: [None; 2],
            turns: 0,
        };
        for _ in 0..model.random.below(6) {
            model.donate();
        }
        model
    }

    fn state(&self, id: KeyId) -> KeyState {
        self.pool.state(id).expect("known").clone()
    }

    fn known(&mut self, id: KeyId) -> &mut Known {
        self.keys.iter_mut().find(|key| key.id == id).expect("known")
    }

    /// The model's account of the pool noticing the time.
    fn see(&mut self) {
        if self.now.after(Duration::from_secs(5)) >= self.latest {
            self.latest = self.latest.max(self.now);
            return;
        }
        self.latest = self.now;
        // Asks for nothing, but lets the pool notice, so that the model reads the states it will decide on.
        self.pool.due_probes(self.now, 0, 0);
        self.edge_rest = None;
        self.answers.clear();
        self.excluded.clear();
        let trial_end = self.now.after(self.policy.trial_max);
        for key in &mut self.keys {
            key.running = key.running.map(|until| until.min(trial_end));
        }
    }

    // === Who may be chosen, by looking at everybody ===

    /// Well, or due to be.
    fn is_well(&self, state: &KeyState) -> bool {
        state.health == Health::Healthy || state.until.is_some_and(|until| until <= self.now)
    }

    fn lane_open(&self, lane: Lane, state: &KeyState) -> bool {
        lane == Lane::Paid || state.free_until.is_none_or(|until| until <= self.now)
    }

    fn on_running_trial(&self, key: &Known) -> bool {
        key.running.is_some_and(|until| until > self.now)
    }

    fn ready(&self, key: &Known, lane: Lane) -> bool {
        let state = self.state(key.id);
        self.is_well(&state) && self.lane_open(lane, &state) && !self.on_running_trial(key)
    }

    fn ruled_out(&self, key: &Known, want: &Want<'_>) -> bool {
        let concerns = |what: &str| match want.model {
            Some(model) => model == what || (what.ends_with('/') && model.starts_with(what)),
            None => false,
        };
        let excluded = self.excluded.iter().any(|e| {
            let holder = e.account.map_or(e.key == key.id, |account| key.account == Some(account));
            holder && concerns(&e.what) && e.until > self.now
        });
        let avoided = key.account.is_some_and(|account| want.avoid.contains(&account));
        excluded || avoided || want.tried.contains(&key.id)
    }

    fn eligible(&self, want: &Want<'_>) -> Vec<KeyId> {
        let fits = |key: &&Known| self.ready(key, want.lane) && !self.ruled_out(key, want);
        self.keys.iter().filter(fits).map(|key| key.id).collect()
    }

    fn bonded(&self, want: &Want<'_>, eligible: &[KeyId]) -> Option<KeyId> {
        let conversation = want.conversation.filter(|conversation| conversation.continues)?;
        let (id, used) = self.bonds.get(&conversation.hash).copied()?;
        (eligible.contains(&id) && self.now.since(used) <= self.policy.affinity_idle).then_some(id)
    }

    fn next_in_turn(&self, lane: Lane, eligible: &[KeyId]) -> KeyId {
        let passed = *lane.of(&self.turn_passed);
        eligible.iter().copied().find(|id| passed.is_none_or(|passed| *id > passed)).unwrap_or(eligible[0])
    }

    fn least_spent(&self, eligible: &[KeyId]) -> KeyId {
        let known = self.keys.iter().filter(|key| eligible.contains(&key.id));
        known.min_by_key(|key| (key.spent, key.turn, key.id)).expect("somebody").id
    }

    fn why_nobody(&self, want: &Want<'_>) -> Unavailable {
        if let Some(until) = self.edge_rest.filter(|until| *until > self.now && !self.keys.is_empty()) {
            return Unavailable { reason: NoKey::AllLimited, until: Some(until) };
        }
        let (mut depleted, mut failed, mut until) = (0, 0, None);
        for key in &self.keys {
            let state = self.state(key.id);
            let well = self.is_well(&state);
            depleted += usize::from(state.health == Health::Depleted && !well);
            failed += usize::from(state.health == Health::Failed);
            let rest = if well { Some(self.now) } else { state.until };
            let lane = if self.lane_open(want.lane, &state) { Some(self.now) } else { state.free_until };
            let trial = key.running.filter(|until| *until > self.now);
            let trial = trial.map_or(self.now, |until| until.min(self.now.after(Duration::from_secs(1))));
            // A closed lane outlasts whatever its trial brings.
            let back =
                rest.zip(lane).map(|(rest, lane)| if lane > self.now { rest.max(lane) } else { rest.max(trial) });
            if !self.ready(key, want.lane) && !self.ruled_out(key, want) {
                until = [until, back].into_iter().flatten().min();
            }
        }
        let usable = self.keys.len() - failed;
        let reason = match () {
            () if self.keys.is_empty() => NoKey::NoneAdded,
            () if self.keys.iter().any(|key| self.ready(key, want.lane)) => NoKey::NoneLeft,
            () if usable == 0 => NoKey::AllFailed,
            () if depleted == usable => NoKey::AllDepleted,
            () if depleted == 0 => NoKey::AllLimited,
            () => NoKey::Mixed,
        };
        Unavailable { reason, until }
    }

    // === Events ===

    fn choose(&mut self) {
        let some_keys: Vec<KeyId> = self.keys.iter().map(|key| key.id).collect();
        let tried: Vec<KeyId> = some_keys.into_iter().filter(|_| self.random.one_in(5)).collect();
        let avoid: Vec<AccountId> = (0..ACCOUNTS as u32).map(AccountId).filter(|_| self.random.one_in(8)).collect();
        let hash = self.random.below(6);
        let want = Want {
            richest: false,
            fallbacks: &[],
            worst: Worst::Unknown,
            lane: self.random.of(&Lane::ALL),
            model: self.random.of(&[None, Some(MODELS[0]), Some(MODELS[1]), Some(MODELS[2])]),
            conversation: self.random.of(&[
                None,
                Some(Conversation { hash, continues: false }),
                Some(Conversation { hash, continues: true }),
            ]),
            tried: &tried,
            avoid: &avoid,
        };
        self.see();
        let eligible = self.eligible(&want);
        let resting = self.edge_rest.is_some_and(|until| until > self.now) && !self.keys.is_empty();
        let nobody = self.why_nobody(&want);
        let strikes: HashMap<KeyId, u32> = self.keys.iter().map(|key| (key.id, self.state(key.id).strikes)).collect();
        let choice = self.pool.choose(&want, self.now, self.random.next());
        if !resting {
            self.end_trials();
        }
        match choice {
            Choice::None(why) => {
                assert!(resting || eligible.is_empty(), "{eligible:?} may serve, and nobody was chosen");
                assert_eq!(why, nobody);
                for _ in 0..self.random.of(&[0, 0, 1, 12]) {
                    self.choose_at_last(&want);
                }
            }
            Choice::Key(chosen) => {
                assert!(!resting && eligible.contains(&chosen.key), "{} of {eligible:?}", chosen.key);
                self.check_turn(chosen.key, &want, &eligible);
                assert_eq!(chosen.trial, strikes[&chosen.key] > 0, "one that came back is on trial");
                assert_eq!(chosen.credential.fingerprint(), credential(chosen.key.0).fingerprint());
                assert_eq!(chosen.account, self.known(chosen.key).account);
                self.note_choice(chosen.key, chosen.trial, &want);
            }
        }
    }

    /// Nobody is ready: a request that has waited long enough goes up beside a trial, where there are fewest.
    fn choose_at_last(&mut self, want: &Want<'_>) {
        let resting = self.edge_rest.is_some_and(|until| until > self.now);
        let could = |key: &&Known| {
            let state = self.state(key.id);
            let fits = self.is_well(&state) && self.lane_open(want.lane, &state) && !self.ruled_out(key, want);
            fits && self.on_running_trial(key) && !resting
        };
        let least = self.keys.iter().filter(could).map(|key| (key.undecided, key.id)).min();
        assert_eq!(self.pool.on_trial(want, self.now), least.is_some());
        match self.pool.choose_at_last(want, self.now, self.random.next()) {
            AtLast::Key(chosen) => {
                let (undecided, id) = least.expect("one on trial");
                assert!(chosen.key == id && chosen.trial && undecided < 8);
                self.note_choice(id, true, want);
            }
            AtLast::Full => assert!(least.is_some_and(|(undecided, _)| undecided >= 8)),
            AtLast::None(_) => assert_eq!(least, None),
        }
    }

    fn check_turn(&mut self, id: KeyId, want: &Want<'_>, eligible: &[KeyId]) {
        if let Some(bonded) = self.bonded(want, eligible) {
            assert_eq!(id, bonded, "a conversation stays with its key");
            return;
        }
        match self.policy.rotation {
            Rotation::RoundRobin => assert_eq!(id, self.next_in_turn(want.lane, eligible), "strict rotation"),
            Rotation::LeastSpent => assert_eq!(id, self.least_spent(eligible)),
            Rotation::FillFirst => assert_eq!(id, eligible[0]),
            Rotation::Weighted => {}
        }
        *want.lane.of_mut(&mut self.turn_passed) = Some(id);
    }

    fn note_choice(&mut self, id: KeyId, trial: bool, want: &Want<'_>) {
        self.turns += 1;
        let (turns, trial_end) = (self.turns, self.now.after(self.policy.trial_max));
        if let Some(conversation) = want.conversation {
            self.bonds.insert(conversation.hash, (id, self.now));
        }
        let key = self.known(id);
        key.turn = turns;
        if trial {
            key.undecided = if key.running.is_some() { key.undecided + 1 } else { 1 };
            key.running.get_or_insert(trial_end);
        }
    }

    /// A request on a key on trial has left without a verdict, and perhaps it was the last.
    fn leave_trial(&mut self, id: KeyId) {
        let key = self.known(id);
        key.undecided = key.undecided.saturating_sub(1);
        key.running = key.running.filter(|_| key.undecided > 0);
    }

    fn donate(&mut self) {
        let id = KeyId(self.next_id);
        self.next_id += 1;
        let account = self.random.of(&[None, Some(AccountId(self.random.below(ACCOUNTS) as u32))]);
        let state = KeyState::fresh(self.now);
        self.see();
        assert!(self.pool.insert(id, credential(id.0), account, state, Usd::ZERO, self.now));
        assert!(!self.pool.insert(id, credential(77), None, KeyState::fresh(self.now), Usd::ZERO, self.now));
        let saved = self.state(id);
        let (spent, turn, running, undecided, barred) = (Usd::ZERO, 0, None, 0, false);
        self.keys.push(Known { id, account, spent, turn, running, undecided, barred, saved });
    }

    fn withdraw(&mut self, id: KeyId) {
        assert!(self.pool.remove(id) && !self.pool.remove(id));
        self.keys.retain(|key| key.id != id);
        self.excluded.retain(|e| e.account.is_some() || e.key != id);
        self.forget_empty_accounts();
    }

    fn forget_empty_accounts(&mut self) {
        let keys = &self.keys;
        self.excluded.retain(|e| e.account.is_none_or(|account| keys.iter().any(|key| key.account == Some(account))));
    }

    fn assign(&mut self, id: KeyId) {
        let account = AccountId(self.random.below(ACCOUNTS) as u32);
        self.pool.assign_account(id, account);
        self.known(id).account = Some(account);
        self.forget_empty_accounts();
    }

    fn effect(&self) -> Effect {
        let until = self.random.of(&[
            None,
            Some(self.now.after(Duration::from_secs(self.random.below(4_000)))),
            Some(Timestamp::from_millis(self.random.next() as i64)),
        ]);
        let rest = Duration::from_secs(self.random.below(300));
        let what = self.random.of(&["acme/large", "acme/", "lab/x:free", "lab/"]);
        match self.random.below(16) {
            0 => Effect::None,
            14 | 15 => Effect::TurnedAway { rest },
            1 => Effect::KeyCapped { until },
            2 => Effect::AccountCapped { until },
            3 => Effect::AccountEmpty,
            4 => Effect::Affords { tokens: None },
            5..=7 => Effect::AccountBusy { rest },
            8 => Effect::FreeLaneLimited { until: until.unwrap_or(self.now) },
            9 => Effect::KeyDoubted,
            10 if self.random.one_in(4) => Effect::KeyBarred,
            10 | 11 => Effect::AccountCannot { what: what.into() },
            12 => Effect::AccountRests { what: what.into(), rest },
            _ if self.random.one_in(3) => Effect::EveryoneRests { rest },
            _ => Effect::None,
        }
    }

    fn apply(&mut self, id: KeyId) {
        let effect = self.effect();
        self.see();
        let before = self.healths();
        let confirms = self.known(id).running.is_some() && self.known(id).barred;
        let changed = self.pool.apply(id, &effect, self.now, self.random.next());
        self.save(&changed);
        self.leave_trial(id);
        self.lower_flags();
        let account = self.known(id).account;
        let hit = |key: &Known| key.id == id || (account.is_some() && key.account == account);
        for key in &self.keys {
            assert!(hit(key) || before[&key.id] == self.state(key.id).health, "{effect:?} reached a stranger");
        }
        self.answers.push((self.now, account.ok_or(id), matches!(effect, Effect::TurnedAway { .. })));
        match effect {
            Effect::EveryoneRests { rest } => self.rest_everyone(rest),
            Effect::TurnedAway { rest } => {
                if self.is_everybody_turned_away() {
                    self.rest_everyone(rest);
                    self.answers.clear();
                }
            }
            Effect::AccountCannot { what } => self.exclude(&what, account, id, self.policy.exclusion_rest),
            Effect::AccountRests { what, rest } => {
                self.exclude(&what, account, id, rest.max(Duration::from_secs(1)));
            }
            Effect::KeyBarred => {
                let failed = self.state(id).health == Health::Failed;
                assert_eq!(failed, confirms || before[&id] == Health::Failed, "failed by a trial that confirms it");
                self.known(id).barred = true;
            }
            _ => assert!(before[&id] == Health::Failed || self.state(id).health != Health::Failed, "not confirmed"),
        }
    }

    fn rest_everyone(&mut self, rest: Duration) {
        let until = self.now.after(rest.max(Duration::from_secs(1)));
        self.edge_rest = self.edge_rest.filter(|until| *until > self.now).max(Some(until));
    }

    /// Three accounts and most of those that have answered within 10 s were turned away at last.
    fn is_everybody_turned_away(&self) -> bool {
        let mut last = HashMap::new();
        for (at, from, turned_away) in &self.answers {
            if self.now.since(*at) <= Duration::from_secs(10) {
                last.insert(*from, *turned_away);
            }
        }
        let turned_away = last.values().filter(|turned_away| **turned_away).count();
        turned_away >= 3 && turned_away * 2 > last.len()
    }

    fn exclude(&mut self, what: &str, account: Option<AccountId>, key: KeyId, rest: Duration) {
        let until = self.now.after(rest);
        self.excluded.retain(|e| e.what != what || e.account != account || (account.is_none() && e.key != key));
        self.excluded.push(Excluded { what: what.into(), account, key, until });
    }

    fn evidence(&mut self, id: KeyId) {
        let amount = Usd::from_pico(self.random.below(3) as i64 - 1);
        let later = self.random.of(&[None, Some(self.now.after(Duration::from_secs(self.random.below(4_000))))]);
        let limit = self.random.of(&[None, Some(Usd::from_pico(9))]);
        let mut facts =
            KeyFacts { limit, limit_remaining: limit.and(Some(amount)), resets_at: later, ..KeyFacts::default() };
        if self.random.one_in(10) {
            facts.expires_at = later;
        }
        let evidence = match self.random.below(6) {
            0 => Evidence::Silent,
            1 => Evidence::Rejected,
            2 | 3 => Evidence::Key(facts),
            _ => Evidence::Credits { remaining: amount },
        };
        self.see();
        let before: HashMap<KeyId, KeyState> = self.keys.iter().map(|key| (key.id, self.state(key.id))).collect();
        let changed = self.pool.evidence(id, &evidence, self.now, self.random.next());
        self.save(&changed);
        self.lower_flags();
        for key in &self.keys {
            let (was, is) = (&before[&key.id], self.state(key.id));
            assert!(was.health != Health::Failed || is.health == Health::Failed, "failed ends by hand only");
            let by_hand = (was.health, was.cause) == (Health::Depleted, Cause::Operator);
            assert!(!by_hand || matches!(is.health, Health::Depleted | Health::Failed), "an operator's word");
            let empty = matches!(evidence, Evidence::Credits { remaining } if remaining <= Usd::ZERO);
            assert!(!(empty && key.id == id) || matches!(is.health, Health::Depleted | Health::Failed));
        }
    }

    fn operator(&mut self, id: KeyId) {
        let health = self.random.of(&[Health::Healthy, Health::Healthy, self.random.of(&Health::ALL)]);
        self.see();
        let said = self.pool.set_health(id, health, None, self.now).cloned().expect("known");
        assert_eq!((said.health, said.cause), (health, Cause::Operator));
        if health == Health::Healthy {
            self.edge_rest = None;
            let account = self.known(id).account;
            self.excluded.retain(|e| match e.account {
                Some(excluded) => account != Some(excluded),
                None => e.key != id,
            });
        }
        let key = self.known(id);
        (key.running, key.barred) = (None, false);
        self.save(&[id]);
    }

    fn succeed(&mut self, id: KeyId) {
        let state = self.state(id);
        let well = state.health == Health::Healthy;
        if well && (state.strikes > 0 || !state.verified) {
            self.see();
        }
        let account = self.known(id).account;
        self.answers.push((self.now, account.ok_or(id), false));
        if self.pool.succeeded(id, self.now) {
            self.save(&[id]);
        }
        if well {
            let key = self.known(id);
            (key.running, key.barred) = (None, false);
            assert_eq!((self.state(id).strikes, self.state(id).verified), (0, true));
        }
    }

    /// Everything that timers changed must have been reported by now.
    fn tick(&mut self) {
        self.see();
        let changed = self.pool.tick(self.now);
        self.end_trials();
        let now = self.now;
        self.excluded.retain(|e| e.until > now);
        self.edge_rest = self.edge_rest.filter(|until| *until > now);
        self.save(&changed);
        for key in &self.keys {
            let unsaved = KeyState { probe_at: key.saved.probe_at, ..self.state(key.id) };
            assert_eq!(unsaved, key.saved, "{} changed, and nobody was told", key.id);
            let due = unsaved.until.is_some_and(|until| until <= self.now);
            assert!(!due && unsaved.free_until.is_none_or(|until| until > self.now), "timers have run");
        }
        let counts = Health::ALL.map(|h| self.keys.iter().filter(|key| self.state(key.id).health == h).count() as u32);
        assert_eq!(self.pool.counts(), counts);
    }

    /// A new process with what the store holds.
    fn restart(&mut self) {
        self.tick();
        self.now = self.now.max(self.latest);
        let mut pool = Pool::new(self.policy);
        for key in &mut self.keys {
            let state = key.saved.clone();
            assert!(pool.insert(key.id, credential(key.id.0), key.account, state, key.spent, self.now));
            let restored = pool.state(key.id).expect("known");
            assert_eq!(KeyState { probe_at: key.saved.probe_at, ..restored.clone() }, key.saved);
            (key.running, key.turn, key.barred) = (None, 0, key.saved.cause == Cause::Barred);
        }
        self.pool = pool;
        (self.latest, self.edge_rest, self.turn_passed, self.turns) = (self.now, None, [None; 2], 0);
        self.excluded.clear();
        self.answers.clear();
        self.bonds.clear();
    }

    fn pass_time(&mut self) {
        let ahead = match self.random.below(6) {
            0..=2 => self.random.below(3_000),
            3 | 4 => self.random.below(400_000),
            _ => self.random.below(30_000_000),
        };
        self.now = self.now.after(Duration::from_millis(ahead));
        if self.random.one_in(10) {
            let back = self.random.of(&[self.random.below(4_000), self.random.below(100_000_000)]);
            self.now = Timestamp::from_millis(self.now.as_millis() - back as i64);
            // What was forgotten as too old stays forgotten, although it is young again.
            let pool = &self.pool;
            self.bonds.retain(|hash, _| pool.affinity.key(*hash, Timestamp::from_millis(i64::MIN)).is_some());
        }
    }

    fn probes(&mut self) {
        self.see();
        let limit = self.random.below(4) as usize;
        let roll = self.random.next();
        let due = self.pool.due_probes(self.now, limit, roll);
        assert!(due.len() <= limit);
        assert!(due.iter().all(|id| self.state(*id).probe_at > Some(self.now)), "put down for later");
        if due.len() < limit {
            assert!(self.keys.iter().all(|key| self.state(key.id).probe_at.is_none_or(|at| at > self.now)));
        }
    }

    fn healths(&self) -> HashMap<KeyId, Health> {
        self.keys.iter().map(|key| (key.id, self.state(key.id).health)).collect()
    }

    fn save(&mut self, changed: &[KeyId]) {
        for id in changed {
            let state = self.state(*id);
            self.known(*id).saved = state;
        }
    }

    /// Timers have run: a trial that was over by now stays over, even if the clock goes back.
    fn end_trials(&mut self) {
        let now = self.now;
        for key in &mut self.keys {
            key.running = key.running.filter(|until| *until > now);
        }
    }

    /// A key out of rotation has no trial.
    fn lower_flags(&mut self) {
        let healths = self.healths();
        for key in self.keys.iter_mut().filter(|key| healths[&key.id] != Health::Healthy) {
            key.running = None;
        }
    }

    fn step(&mut self) {
        let ids: Vec<KeyId> = self.keys.iter().map(|key| key.id).collect();
        let event = self.random.below(40);
        match (event, ids.is_empty()) {
            (0 | 1, _) if ids.len() < 14 => self.donate(),
            (2, _) => self.restart(),
            (3 | 4, _) => self.tick(),
            (5 | 6, _) => self.probes(),
            (7..=11, _) => self.pass_time(),
            (12..=25, _) | (_, true) => self.choose(),
            _ => self.key_event(event, self.keys[self.random.below(ids.len() as u64) as usize].id),
        }
        self.pool.invariants();
    }

    fn key_event(&mut self, event: u64, id: KeyId) {
        match event {
            26 => self.withdraw(id),
            27 => self.assign(id),
            28 => {
                let amount = Usd::from_pico(self.random.below(5) as i64 * 1_000_000_000);
                self.pool.spent(id, amount);
                let key = self.known(id);
                key.spent = key.spent.saturating_add(amount);
            }
            29 => {
                self.pool.trial_over(id);
                self.leave_trial(id);
            }
            30 | 31 => self.succeed(id),
            32 => self.operator(id),
            33 | 34 => self.evidence(id),
            _ => self.apply(id),
        }
    }
}

fn run(rotation: Rotation) {
    for seed in 0..60 {
        println!("{rotation:?}, seed {seed}");
        let mut model = Model::new(rotation, seed);
        for _ in 0..600 {
            model.step();
        }
    }
}

#[test]
fn round_robin_agrees_with_the_model() {
    run(Rotation::RoundRobin);
}

#[test]
fn weighted_agrees_with_the_model() {
    run(Rotation::Weighted);
}

#[test]
fn least_spent_agrees_with_the_model() {
    run(Rotation::LeastSpent);
}

#[test]
fn fill_first_agrees_with_the_model() {
    run(Rotation::FillFirst);
}

#[test]
fn many_keys_come_and_go() {
    let mut pool = pool_of(0);
    let random = Random(Cell::new(5));
    let mut live: Vec<u32> = Vec::new();
    for id in 1..=3_000 {
        add(&mut pool, id, None);
        live.push(id);
        while live.len() > 40 || random.one_in(3) && !live.is_empty() {
            let at = random.below(live.len() as u64) as usize;
            assert!(pool.remove(KeyId(live.remove(at))));
        }
        if id % 50 == 0 {
            pool.invariants();
        }
        // The turn goes on in order over whatever has come and gone.
        let last = pool.last_key().map_or(0, |key| key.0);
        if !live.is_empty() && live.contains(&last) {
            let next = live.iter().copied().find(|id| *id > last).unwrap_or(live[0]);
            assert_eq!(live[pool.rotation_index()], next);
            assert_eq!(series(&mut pool, &paid(), START, 1), [next]);
        } else if !live.is_empty() {
            series(&mut pool, &paid(), START, 1);
        }
    }
}
