//! The hunt for a key: what a request has tried, and whether it may try again. Pure.

use std::time::Duration;

use crate::clients::line::Prospect;
use crate::pool::{AccountId, Chosen, KeyId};
use crate::upstream::Next;

/// How long one request may look for a key.
#[derive(Clone, Copy, Debug)]
pub struct HuntLimits {
    /// Attempts in all.
    pub attempts: u16,
    /// Time from the first attempt after which no further one starts.
    pub budget: Duration,
    /// Waiting for keys that are due back, in all.
    pub patience: Duration,
    /// Waiting for its turn while keys are busy, in all.
    pub queue: Duration,
}

/// What a request waits for, and at most how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For its turn at a key that is busy.
    InLine(Duration),
    /// For a key that is due back or on trial.
    ForKey(Duration),
}

impl Wait {
    /// The longest it takes.
    pub fn most(self) -> Duration {
        match self {
            Self::InLine(most) | Self::ForKey(most) => most,
        }
    }
}

/// What a request may do after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onward {
    /// Look for another key.
    Again {
        /// When none is left, this refusal is still the truth about the request and may be given to the client; otherwise
        /// it is a key's trouble and must not be shown.
        presentable: bool,
    },
    /// Give this answer to the client.
    Pass,
    /// The refusal is a key's trouble, and the bounds on attempts are reached.
    OutOfAttempts,
}

/// One request's search.
#[derive(Debug)]
pub struct Hunt {
    limits: HuntLimits,
    tried: Vec<KeyId>,
    avoid: Vec<AccountId>,
    richest: bool,
    attempts: u16,
    hopped: bool,
    waited: Duration,
    queued: Duration,
}

impl Hunt {
    /// A search that has tried nothing yet.
    pub fn new(limits: HuntLimits) -> Self {
        Self {
            limits,
            tried: Vec::new(),
            avoid: Vec::new(),
            richest: false,
            attempts: 0,
            hopped: false,
            waited: Duration::ZERO,
            queued: Duration::ZERO,
        }
    }

    /// Keys never to be tried again by this request.
    pub fn tried(&self) -> &[KeyId] {
        &self.tried
    }

    /// Accounts never to be tried again by this request.
    pub fn avoid(&self) -> &[AccountId] {
        &self.avoid
    }

    /// Attempts begun so far.
    pub fn attempts(&self) -> u16 {
        self.attempts
    }

    /// The number of the next attempt, counted from 1.
    pub fn upcoming(&self) -> u16 {
        self.attempts.saturating_add(1)
    }

    /// It begins.
    pub fn begin(&mut self) {
        self.attempts = self.upcoming();
    }

    /// Whether the richest keys should be tried first.
    pub fn wants_richest(&self) -> bool {
        self.richest
    }

    /// A key was too poor for this request.
    pub fn seek_richest(&mut self) {
        self.richest = true;
    }

    /// This key cannot serve this request after all; nothing was sent.
    pub fn leave_out(&mut self, key: KeyId) {
        self.tried.push(key);
    }

    /// How the request may wait for that, where the first key is due back in so long; `None` when it may not, or not any
    /// more.
    pub fn wait(&self, prospect: Prospect, due: Option<Duration>) -> Option<Wait> {
        let patience = self.limits.patience.saturating_sub(self.waited);
        let wait = match prospect {
            Prospect::Busy => Wait::InLine(self.limits.queue.saturating_sub(self.queued)),
            Prospect::Due if due.is_some_and(|due| due <= patience) => Wait::ForKey(patience),
            Prospect::Trial => Wait::ForKey(patience),
            Prospect::Due | Prospect::Nothing => return None,
        };
        Some(wait).filter(|wait| !wait.most().is_zero())
    }

    /// It has waited so long for that.
    pub fn waited(&mut self, wait: Wait, time: Duration) {
        let so_far = match wait {
            Wait::InLine(_) => &mut self.queued,
            Wait::ForKey(_) => &mut self.waited,
        };
        *so_far = so_far.saturating_add(time.min(wait.most()));
    }

    /// Whether it may wait on for a place on a key that is on trial, so long after the first attempt began. That is no wait for
    /// a key that is due back, but who never waits does not wait for this either.
    pub fn may_queue(&self, elapsed: Duration) -> bool {
        !self.limits.patience.is_zero() && !self.is_late(elapsed)
    }

    /// Whether no further attempt may start. What it was in line for is not its own doing.
    fn is_late(&self, elapsed: Duration) -> bool {
        elapsed.saturating_sub(self.queued) >= self.limits.budget
    }

    /// An attempt with `chosen` was refused, `elapsed` after the first one began.
    pub fn refused(&mut self, next: Next, chosen: &Chosen, elapsed: Duration) -> Onward {
        let presentable = match next {
            Next::Pass => return Onward::Pass,
            Next::AnotherKey | Next::AnotherAccount | Next::AnotherMeanwhile => false,
            Next::AnotherAccountOnce if self.hopped => return Onward::Pass,
            Next::AnotherAccountOnce => {
                self.hopped = true;
                true
            }
        };
        // What rests is kept away by the pool, for as long as its rest lasts.
        if next != Next::AnotherMeanwhile {
            self.tried.push(chosen.key);
        }
        if matches!(next, Next::AnotherAccount | Next::AnotherAccountOnce) {
            self.avoid.extend(chosen.account);
        }
        let spent = self.attempts >= self.limits.attempts || self.is_late(elapsed);
        match (spent, presentable) {
            (true, true) => Onward::Pass,
            (true, false) => Onward::OutOfAttempts,
            (false, presentable) => Onward::Again { presentable },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::secret::Credential;

    fn chosen(key: u32, account: u32) -> Chosen {
        let credential = Credential::parse("sk-or-v1-0123456789abcdef").expect("well formed");
        let (key, account, credential) = (KeyId(key), Some(AccountId(account)), Arc::new(credential));
        Chosen { key, account, credential, trial: false, hold: None }
    }

    fn hunt() -> Hunt {
        let seconds = Duration::from_secs;
        Hunt::new(HuntLimits { attempts: 3, budget: seconds(10), patience: seconds(2), queue: seconds(30) })
    }

    #[test]
    fn a_key_is_not_tried_twice_and_its_siblings_only_when_it_alone_is_at_fault() {
        let mut hunt = hunt();
        hunt.begin();
        let onward = hunt.refused(Next::AnotherKey, &chosen(1, 1), Duration::ZERO);
        assert_eq!(onward, Onward::Again { presentable: false });
        assert_eq!((hunt.tried(), hunt.avoid()), (&[KeyId(1)][..], &[][..]));
        hunt.begin();
        hunt.refused(Next::AnotherAccount, &chosen(2, 1), Duration::ZERO);
        assert_eq!((hunt.tried(), hunt.avoid()), (&[KeyId(1), KeyId(2)][..], &[AccountId(1)][..]));
    }

    #[test]
    fn what_rests_is_ruled_out_by_its_rest_only_and_attempts_still_count() {
        let mut hunt = hunt();
        for _ in 0..2 {
            hunt.begin();
            let onward = hunt.refused(Next::AnotherMeanwhile, &chosen(1, 1), Duration::ZERO);
            assert_eq!(onward, Onward::Again { presentable: false });
        }
        assert_eq!((hunt.tried(), hunt.avoid()), (&[][..], &[][..]));
        hunt.begin();
        assert_eq!(hunt.refused(Next::AnotherMeanwhile, &chosen(1, 1), Duration::ZERO), Onward::OutOfAttempts);
    }

    #[test]
    fn patience_is_one_for_the_whole_request() {
        let mut hunt = hunt();
        let millis = Duration::from_millis;
        hunt.waited(Wait::ForKey(millis(2_000)), millis(1_500));
        hunt.begin();
        hunt.refused(Next::AnotherMeanwhile, &chosen(1, 1), Duration::ZERO);
        let left = Some(Wait::ForKey(millis(500)));
        assert_eq!(hunt.wait(Prospect::Trial, None), left);
        assert_eq!(hunt.wait(Prospect::Due, Some(millis(500))), left);
        assert_eq!(hunt.wait(Prospect::Due, Some(millis(501))), None, "it would not be back in time");
        assert_eq!(hunt.wait(Prospect::Nothing, Some(millis(1))), None);
        hunt.waited(Wait::ForKey(millis(500)), Duration::MAX);
        assert_eq!((hunt.wait(Prospect::Trial, None), hunt.wait(Prospect::Due, Some(Duration::ZERO))), (None, None));
        assert!(hunt.may_queue(millis(9_999)) && !hunt.may_queue(millis(10_000)));
        let turn = Wait::InLine(millis(30_000));
        assert_eq!(hunt.wait(Prospect::Busy, None), Some(turn), "its turn is waited for beside that");
        hunt.waited(turn, millis(29_999));
        assert_eq!(hunt.wait(Prospect::Busy, None), Some(Wait::InLine(millis(1))));
        hunt.waited(turn, Duration::MAX);
        assert_eq!(hunt.wait(Prospect::Busy, None), None);
        let hasty = HuntLimits { patience: Duration::ZERO, ..hunt.limits };
        assert!(!Hunt::new(hasty).may_queue(Duration::ZERO));
    }

    #[test]
    fn one_hop_for_refusals_that_may_be_the_requests_own() {
        let mut hunt = hunt();
        hunt.begin();
        assert_eq!(
            hunt.refused(Next::AnotherAccountOnce, &chosen(1, 1), Duration::ZERO),
            Onward::Again { presentable: true }
        );
        hunt.begin();
        assert_eq!(hunt.refused(Next::AnotherAccountOnce, &chosen(2, 2), Duration::ZERO), Onward::Pass);
    }

    #[test]
    fn attempts_and_time_are_bounded() {
        let mut hunt = hunt();
        for key in 1..=2 {
            hunt.begin();
            let onward = hunt.refused(Next::AnotherKey, &chosen(key, key), Duration::ZERO);
            assert_eq!(onward, Onward::Again { presentable: false });
        }
        hunt.begin();
        assert_eq!(hunt.refused(Next::AnotherKey, &chosen(3, 3), Duration::ZERO), Onward::OutOfAttempts);
        let mut slow = self::hunt();
        slow.begin();
        let late = Duration::from_secs(10);
        assert_eq!(slow.refused(Next::AnotherAccountOnce, &chosen(1, 1), late), Onward::Pass);
        let mut queued = self::hunt();
        queued.waited(Wait::InLine(late), late);
        assert!(queued.may_queue(late));
        queued.begin();
        assert_eq!(queued.refused(Next::AnotherKey, &chosen(1, 1), late), Onward::Again { presentable: false });
    }
}
