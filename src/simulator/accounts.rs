//! Accounts and the keys under them: what donors have set, and what has been spent.

use serde::{Deserialize, Serialize};

use super::amount::Pico;
use super::calendar::Reset;

/// A cap on spending that starts anew with each window; `None` never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The cap, in dollars.
    pub limit_usd: Pico,
    /// When it starts anew.
    #[serde(default)]
    pub reset: Option<Reset>,
}

/// What an account's owner has bought and set. Everything can be changed while the simulator runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountSettings {
    /// Credits ever granted or bought, in dollars; what is left is this less what was used.
    pub credits_usd: Pico,
    /// How much of them was bought. Nothing: the account never purchased. Nine or more: 1000 free requests a day.
    pub purchased_usd: Pico,
    /// Cap on what all running requests together may come to; off when absent.
    pub in_flight_budget_usd: Option<Pico>,
    /// `Retry-After` of the in-flight refusal, in seconds.
    pub in_flight_retry_after_s: u64,
    /// The budget of the account's workspace.
    pub workspace_budget: Option<Budget>,
    /// No providers that train on prompts (refused with the 404 of data policies).
    pub refuses_training: bool,
    /// Authors the account may not use.
    pub banned_authors: Vec<String>,
    /// Models not available where the account is.
    pub region_blocked: Vec<String>,
    /// Providers called with the account's own keys.
    pub own_keys: Vec<String>,
    /// OpenRouter's fee on own-key calls, in thousandths of the list price.
    pub own_key_fee_permille: u64,
    /// A guardrail refuses prompts that hold `ignore all previous instructions`.
    pub blocks_injection: bool,
    /// The caller's address is not on the account's list.
    pub ip_blocked: bool,
    /// Ordinary keys may not read `/credits`.
    pub credits_forbidden: bool,
    /// Free requests per minute.
    pub free_per_minute: u32,
    /// Free requests per day; absent: 50, or 1000 with nine credits bought.
    pub free_per_day: Option<u32>,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self {
            credits_usd: Pico::usd(10),
            purchased_usd: Pico::usd(10),
            in_flight_budget_usd: None,
            in_flight_retry_after_s: 120,
            workspace_budget: None,
            refuses_training: false,
            banned_authors: Vec::new(),
            region_blocked: Vec::new(),
            own_keys: Vec::new(),
            own_key_fee_permille: 0,
            blocks_injection: false,
            ip_blocked: false,
            credits_forbidden: false,
            free_per_minute: 20,
            free_per_day: None,
        }
    }
}

impl AccountSettings {
    /// An account with that much bought and nothing spent.
    pub fn with_balance(credits_usd: Pico) -> Self {
        Self { credits_usd, purchased_usd: credits_usd, ..Self::default() }
    }

    /// An account that never bought anything: free models only.
    pub fn never_purchased() -> Self {
        Self::with_balance(Pico::ZERO)
    }
}

/// What the owner has set on one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeySettings {
    /// The name on the settings page.
    pub name: Option<String>,
    /// The key's cap in dollars; absent is uncapped.
    pub limit_usd: Option<Pico>,
    /// When the cap starts anew; absent is a total cap.
    pub limit_reset: Option<Reset>,
    /// Whether own-key spending counts towards the cap.
    pub include_byok_in_limit: bool,
    /// Switched off by the owner: 401.
    pub disabled: bool,
    /// Not accepted from then on, in milliseconds since the epoch.
    pub expires_at_ms: Option<i64>,
    /// A management key: no inference.
    pub management: bool,
    /// A guardrail's budget for this key.
    pub guardrail_budget: Option<Budget>,
}

/// Money spent: in all, and within the current day, week and month.
#[derive(Clone, Debug, Default)]
pub struct Spend {
    /// Since the beginning.
    pub total: Pico,
    windows: [(i64, Pico); 3],
}

impl Spend {
    /// Add to it, at that time.
    pub fn add(&mut self, amount: Pico, now_ms: i64) {
        self.total += amount;
        for (reset, (start, spent)) in Reset::ALL.into_iter().zip(&mut self.windows) {
            let current = reset.window_start(now_ms);
            if *start != current {
                (*start, *spent) = (current, Pico::ZERO);
            }
            *spent += amount;
        }
    }

    /// What was spent in the window that holds `now`; in all when there is no window.
    pub fn within(&self, reset: Option<Reset>, now_ms: i64) -> Pico {
        let Some(reset) = reset else { return self.total };
        let found = Reset::ALL.into_iter().zip(&self.windows).find(|(r, _)| *r == reset);
        found
            .filter(|(_, (start, _))| *start == reset.window_start(now_ms))
            .map_or(Pico::ZERO, |(_, (_, spent))| *spent)
    }
}

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// `user_…`, shown in error bodies and by `/key`.
    pub user_id: String,
    /// The workspace's UUID.
    pub workspace_id: String,
    /// What its owner has set.
    pub settings: AccountSettings,
    /// What it was charged.
    pub spend: Spend,
    /// Estimated cost of what is running.
    pub held: Pico,
    /// Requests running.
    pub running: u32,
    /// Free requests: minute and day they count for, and how many.
    pub free_minute: (i64, u32),
    /// See `free_minute`.
    pub free_day: (i64, u32),
}

impl Account {
    /// What is left to spend; negative when overdrawn.
    pub fn balance(&self) -> Pico {
        self.settings.credits_usd - self.spend.total
    }

    /// Whether anything was ever bought.
    pub fn purchased(&self) -> bool {
        self.settings.purchased_usd > Pico::ZERO
    }

    /// Free requests a day it may make.
    pub fn free_per_day(&self) -> u32 {
        // Announced for ten credits, granted from nine.
        let bought = if self.settings.purchased_usd >= Pico::usd(9) { 1000 } else { 50 };
        self.settings.free_per_day.unwrap_or(bought)
    }
}

/// A key.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key itself: `sk-or-v1-` and 64 hexadecimal digits.
    pub text: String,
    /// SHA-256 of it, as management calls name it.
    pub hash: String,
    /// Which account it belongs to.
    pub account: usize,
    /// What its owner has set.
    pub settings: KeySettings,
    /// What was charged to the account through it.
    pub spend: Spend,
    /// What providers charged the account's own keys through it.
    pub own_key_spend: Spend,
    /// Answers begun by a provider.
    pub generations: u64,
}

impl Key {
    /// Whether it opens anything at that time.
    pub fn works(&self, now_ms: i64) -> bool {
        !self.settings.disabled && self.settings.expires_at_ms.is_none_or(|at| now_ms < at)
    }

    /// What counts towards its cap in the current window.
    pub fn counted(&self, now_ms: i64) -> Pico {
        let reset = self.settings.limit_reset;
        let own =
            if self.settings.include_byok_in_limit { self.own_key_spend.within(reset, now_ms) } else { Pico::ZERO };
        self.spend.within(reset, now_ms) + own
    }

    /// What its cap leaves; `None` is uncapped.
    pub fn remaining(&self, now_ms: i64) -> Option<Pico> {
        self.settings.limit_usd.map(|limit| limit - self.counted(now_ms))
    }

    /// As `/key` shows it.
    pub fn label(&self) -> String {
        let secret = self.text.strip_prefix("sk-or-v1-").unwrap_or(&self.text);
        let (head, tail) = (secret.get(..3).unwrap_or_default(), secret.get(secret.len().saturating_sub(3)..));
        format!("sk-or-v1-{head}...{}", tail.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spending_is_counted_per_window() {
        const DAY: i64 = 86_400_000;
        let mut spend = Spend::default();
        // Sunday the 4th, Monday the 5th of January 1970, and the 1st of February.
        spend.add(Pico(1), 3 * DAY);
        spend.add(Pico(10), 4 * DAY);
        let at = |day: i64, reset| spend.within(reset, day * DAY).0;
        assert_eq!(at(3, None), 11);
        assert_eq!((at(4, Some(Reset::Daily)), at(5, Some(Reset::Daily))), (10, 0));
        assert_eq!((at(6, Some(Reset::Weekly)), at(11, Some(Reset::Weekly))), (10, 0));
        assert_eq!((at(30, Some(Reset::Monthly)), at(31, Some(Reset::Monthly))), (11, 0));
    }
}
