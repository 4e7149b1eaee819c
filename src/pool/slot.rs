//! One key in the pool, and what the indexes must say about it.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::money::{Limits, Purse, Usd};
use crate::secret::Credential;

use super::accounts::Outlay;
use super::gate::Gate;
use super::index::Entry;
use super::order::Rank;
use super::{AccountId, Cause, Health, KeyId, KeyState, Left};

/// A key with everything known about it.
#[derive(Debug)]
pub(super) struct Slot {
    pub id: KeyId,
    pub credential: Arc<Credential>,
    pub account: Option<AccountId>,
    pub state: KeyState,
    pub trial: Trial,
    /// What it has paid through us, as it is booked.
    pub spent: Usd,
    /// What `spent` was when it came into the pool.
    pub spent_before: Usd,
    /// What it has paid elsewhere, by an operator's word.
    pub elsewhere: Usd,
    /// What it takes off its account's credit, as the account has counted it.
    pub counted: Outlay,
    /// What a refusal said the key can pay, and what it had spent by then; until OpenRouter is next asked.
    pub affords: Option<(Usd, Usd)>,
    /// Statements in a row that OpenRouter does not know the key.
    pub rejections: u8,
    /// It has said, since it last served, that it takes no calls from our address.
    pub barred: bool,
    /// When it was last handed out to be asked about.
    pub asked_at: Option<Timestamp>,
    /// When it was last chosen, as a count of choices.
    pub turn: u64,
    /// What the donor allows.
    pub limits: Arc<Limits>,
    /// Its money, where that is limited, or was since the start.
    pub purse: Option<Box<Purse>>,
    /// How often its purse has changed.
    pub purse_events: u64,
    /// Its books do not follow from its entries.
    pub unsound: bool,
    /// The date the donor has set is over.
    pub expired: bool,
    /// Whether donor and books let it serve.
    pub gate: Gate,
    /// Attempts under way.
    pub in_flight: u32,
    /// Attempts begun since the start.
    pub begun: u64,
    /// What the indexes hold about it now.
    pub indexed: Entry,
}

/// Whether a healthy key still has to prove itself: it came back by a timer or on evidence, and one request decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// Nothing to prove.
    None,
    /// The next request is the trial.
    Waiting,
    /// So many requests are out that nothing is known of yet; at the latest then the next may try.
    Running { until: Timestamp, undecided: u32 },
}

/// Weights count thousandths of a dollar: 100,000 keys of any balance still sum up in 64 bits.
const WEIGHT_UNIT_PICO: i64 = 1_000_000_000;
/// What a key of unknown credit weighs: as much as one with $5.
const WEIGHT_UNKNOWN: u64 = 5_000;

impl Slot {
    pub fn new(
        id: KeyId,
        credential: Arc<Credential>,
        account: Option<AccountId>,
        mut state: KeyState,
        spent: Usd,
    ) -> Self {
        // A crash can lose lines that were booked before a figure was learned: what comes after it counts all the same.
        for figure in [&mut state.limit, &mut state.credit].into_iter().flatten() {
            figure.paid = figure.paid.min(spent);
        }
        // A healthy key with strikes against it came back but has not served since: a restart does not acquit it.
        let unproven = state.health == Health::Healthy && state.strikes > 0;
        Self {
            id,
            credential,
            account,
            trial: if unproven { Trial::Waiting } else { Trial::None },
            spent,
            spent_before: spent,
            elsewhere: Usd::ZERO,
            counted: Outlay::default(),
            affords: None,
            rejections: u8::from(state.cause == Cause::Doubted),
            barred: state.cause == Cause::Barred,
            asked_at: None,
            turn: 0,
            limits: Arc::default(),
            purse: None,
            purse_events: 0,
            unsound: false,
            expired: false,
            gate: Gate::Open,
            in_flight: 0,
            begun: 0,
            indexed: Entry::default(),
            state,
        }
    }

    pub fn is_well(&self) -> bool {
        self.state.health == Health::Healthy
    }

    /// A figure that is learned now.
    pub fn left_now(&self, amount: Usd) -> Left {
        Left { amount, paid: self.spent }
    }

    /// A figure has changed: of both kinds the smaller one is shown. Each goes on counting what was paid since it was learned.
    pub fn learned(&mut self) {
        self.state.remaining =
            [self.state.limit, self.state.credit].into_iter().flatten().map(|left| left.amount).min();
        self.affords = None;
    }

    /// What it has paid through us beyond `paid`.
    pub fn paid_since(&self, paid: Usd) -> Usd {
        self.spent.checked_sub(paid).unwrap_or_default().max(Usd::ZERO)
    }

    /// What it takes off its account's credit. Of open costs only what is bounded is known.
    pub fn outlay(&self) -> Outlay {
        let since = self.paid_since(self.state.credit.map_or(self.spent_before, |credit| credit.paid));
        let Some(purse) = &self.purse else { return Outlay { paid: since, held: Usd::ZERO } };
        let open = purse.suspense().saturating_add(purse.others());
        Outlay { paid: since.saturating_add(open), held: purse.held() }
    }

    /// Its health as others see it: a key whose limits leave nothing is as good as depleted.
    pub fn shown_health(&self) -> Health {
        match self.gate {
            Gate::Spent { .. } if self.is_well() => Health::Depleted,
            _ => self.state.health,
        }
    }

    /// What the indexes must hold about this key.
    pub fn entry(&self) -> Entry {
        let (well, open) = (self.is_well(), self.gate == Gate::Open);
        let (running, trial_until) = match self.trial {
            Trial::Running { until, .. } => (true, Some(until)),
            Trial::None | Trial::Waiting => (false, None),
        };
        let rest_until = self.state.until.filter(|_| !well);
        let gate_until = self.gate_turns_at();
        let free_until = self.state.free_until;
        // A shut gate that no time opens is waited for by nobody, however soon the key's rest is over.
        let opens = match self.gate {
            Gate::Open => Some(None),
            Gate::Spent { until: Some(until) } => Some(Some(until)),
            _ => None,
        };
        let back = |rest: Option<Timestamp>| opens.and_then(|opens| opens.max(rest));
        let (paid_back, free_back) = match (well, rest_until) {
            (true, _) => (back(None), back(free_until)),
            (false, Some(rest)) => (back(Some(rest)), back(Some(free_until.map_or(rest, |free| free.max(rest))))),
            (false, None) => (None, None),
        };
        Entry {
            health: Some(self.shown_health()),
            // A depleted key serves neither lane. A negative balance is refused on free models, too (`openrouter-api.md`
            // 5.3). What a used-up key limit means for them is not documented, and finding out by trying would burn the
            // account's daily free requests: refused attempts count.
            ready: [well && open && !running, well && open && !running && free_until.is_none()],
            running: running && open,
            back: [paid_back, free_back],
            wake: [rest_until, free_until, trial_until, gate_until].into_iter().flatten().min(),
            probe: self.state.probe_at,
            rank: Rank { weight: self.weight(), spent: self.paid_anywhere(), turn: self.turn },
        }
    }

    /// What it has paid through us or, by an operator's word, elsewhere.
    pub fn paid_anywhere(&self) -> Usd {
        self.spent.saturating_add(self.elsewhere)
    }

    fn weight(&self) -> u64 {
        let Some(left) = self.left(Usd::ZERO).or(self.state.remaining) else { return WEIGHT_UNKNOWN };
        // Evidence is hours old at times: a key that looks empty keeps a small chance until it says so itself.
        u64::try_from(left.as_pico() / WEIGHT_UNIT_PICO).unwrap_or(0).max(1)
    }
}
