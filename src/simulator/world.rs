//! The simulated OpenRouter: accounts, keys, calls and what was scripted. Plain data; the time is an argument.

use std::collections::HashMap;

use super::accounts::{Account, AccountSettings, Key, KeySettings, Spend};
use super::amount::Pico;
use super::bill::{Bill, Generation, Generations, Line, Status};
use super::errors::{self, Refusal};
use super::journal::Journal;
use super::script::Script;
use super::seed::{Seed, sha256_hex};
use super::videos::Jobs;

/// Everything the simulator knows.
#[derive(Debug)]
pub struct World {
    /// Where ids come from.
    pub seed: Seed,
    /// Accounts, by index.
    pub accounts: Vec<Account>,
    /// Keys, by index.
    pub keys: Vec<Key>,
    by_text: HashMap<String, usize>,
    /// The calls there were.
    pub generations: Generations,
    /// What was scripted, oldest first.
    pub scripts: Vec<Script>,
    /// The requests received.
    pub journal: Journal,
    /// Video jobs.
    pub jobs: Jobs,
    /// Fast answers given.
    pub fast_answers: u64,
    /// The account that fixture 11 refuses: the first that asked.
    pub busy_account: Option<usize>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered whole.
    Complete,
    /// It was cut off after so many output tokens.
    Cut {
        /// Output tokens made by then.
        tokens: u64,
    },
    /// The provider failed; nothing is charged.
    Failed,
}

impl World {
    /// An empty world whose ids follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed: Seed::new(seed),
            accounts: Vec::new(),
            keys: Vec::new(),
            by_text: HashMap::new(),
            generations: Generations::default(),
            scripts: Vec::new(),
            journal: Journal::default(),
            jobs: Jobs::default(),
            fast_answers: 0,
            busy_account: None,
        }
    }

    /// Open an account; its index.
    pub fn open_account(&mut self, settings: AccountSettings) -> usize {
        self.accounts.push(Account {
            user_id: format!("user_{}", self.seed.letters(27)),
            workspace_id: self.seed.uuid(),
            settings,
            spend: Spend::default(),
            held: Pico::ZERO,
            running: 0,
            free_minute: (0, 0),
            free_day: (0, 0),
        });
        self.accounts.len() - 1
    }

    /// Make a key under an account; its index. `None` if there is no such account.
    pub fn make_key(&mut self, account: usize, settings: KeySettings) -> Option<usize> {
        self.accounts.get(account)?;
        let text = self.seed.key();
        let index = self.keys.len();
        self.by_text.insert(text.clone(), index);
        self.keys.push(Key {
            hash: sha256_hex(text.as_bytes()),
            text,
            account,
            settings,
            spend: Spend::default(),
            own_key_spend: Spend::default(),
            generations: 0,
        });
        Some(index)
    }

    /// Which key a credential is, whether or not it works.
    pub fn recognise(&self, credential: Option<&str>) -> Option<usize> {
        self.by_text.get(credential?).copied()
    }

    /// The key a credential opens.
    pub fn authenticate(&self, credential: Option<&str>, now_ms: i64) -> Result<usize, Refusal> {
        let credential = credential.filter(|text| text.starts_with("sk-or-v1-")).ok_or_else(errors::no_credential)?;
        let index = self.by_text.get(credential).copied().ok_or_else(errors::unknown_key)?;
        let works = self.keys.get(index).is_some_and(|key| key.works(now_ms));
        works.then_some(index).ok_or_else(errors::unknown_key)
    }

    /// A key and its account.
    pub fn pair(&self, key: usize) -> Option<(&Key, &Account)> {
        let key = self.keys.get(key)?;
        Some((key, self.accounts.get(key.account)?))
    }

    /// A provider took on a call.
    pub fn begin(&mut self, generation: Generation) {
        if let Some(account) = self.accounts.get_mut(generation.account) {
            account.held += generation.held;
            account.running += 1;
        }
        if let Some(key) = self.keys.get_mut(generation.key) {
            key.generations += 1;
        }
        self.generations.insert(generation);
    }

    /// A call is over: charge it. Only the first end counts.
    pub fn end(&mut self, id: &str, end: End, now_ms: i64) {
        let Some(generation) = self.generations.get_mut(id) else { return };
        if generation.status != Status::Running {
            return;
        }
        generation.ended_ms = Some(now_ms);
        generation.status = match end {
            End::Complete => Status::Complete,
            End::Cut { .. } => Status::Cancelled,
            End::Failed => Status::Failed,
        };
        if let End::Cut { tokens } = end {
            generation.output_tokens = generation.output_tokens.min(tokens);
        }
        if end != End::Failed {
            generation.cost = generation.quote.charge(generation.output_tokens);
            generation.own_key_cost = generation.quote.upstream(generation.output_tokens);
        }
        let (cost, own, held) = (generation.cost, generation.own_key_cost.unwrap_or_default(), generation.held);
        let (account, key) = (generation.account, generation.key);
        if let Some(account) = self.accounts.get_mut(account) {
            account.held -= held;
            account.running = account.running.saturating_sub(1);
            account.spend.add(cost, now_ms);
        }
        if let Some(key) = self.keys.get_mut(key) {
            key.spend.add(cost, now_ms);
            key.own_key_spend.add(own, now_ms);
        }
    }

    /// Charge a fast answer; its number. It is on the bill's lines, but not among its calls.
    pub fn fast_answer(&mut self, key: usize, cost: Pico, now_ms: i64) -> u64 {
        if let Some(key) = self.keys.get_mut(key) {
            key.generations += 1;
            key.spend.add(cost, now_ms);
            if let Some(account) = self.accounts.get_mut(key.account) {
                account.spend.add(cost, now_ms);
            }
        }
        self.fast_answers += 1;
        self.fast_answers - 1
    }

    /// The bill as it stands.
    pub fn bill(&self) -> Bill {
        let keys = self.keys.iter().enumerate().map(|(index, key)| Line {
            index,
            name: key.text.clone(),
            generations: key.generations,
            cost: key.spend.total,
            own_key_cost: key.own_key_spend.total,
        });
        let keys: Vec<Line> = keys.collect();
        let accounts = self.accounts.iter().enumerate().map(|(index, account)| {
            let lines = || keys.iter().filter(|line| self.keys.get(line.index).is_some_and(|key| key.account == index));
            Line {
                index,
                name: account.user_id.clone(),
                generations: lines().map(|line| line.generations).sum(),
                cost: account.spend.total,
                own_key_cost: lines().map(|line| line.own_key_cost).sum(),
            }
        });
        let accounts: Vec<Line> = accounts.collect();
        Bill {
            total: accounts.iter().map(|line| line.cost).sum(),
            running: self.generations.iter().filter(|g| g.status == Status::Running).count(),
            generations: self.generations.iter().cloned().collect(),
            keys,
            accounts,
        }
    }
}
