//! What a key's own `usage` proves about costs nobody has told us. Pure.
//!
//! `GET /key` says what a key was charged since it was made, by anybody (`openrouter-api.md` 6.1). While nothing is under
//! way on the key, what that is beyond everything that is known must be the unknown costs, and beyond those the owner's own
//! spending elsewhere. The sum is exact; which of several unknown costs is how high is a guess, and marked as one.

use crate::clock::Timestamp;

use super::Usd;

/// A key's own usage against the ledger, at one moment with nothing under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageCheck {
    /// When.
    pub at: Timestamp,
    /// What the key was charged in all, by its own account.
    pub usage: Usd,
    /// What the ledger had booked on the key in all.
    pub settled: Usd,
    /// What had been spent on the key before it came into the pool.
    pub before: Usd,
    /// What its owner has spent on it elsewhere since.
    pub elsewhere: Usd,
    /// What neither explains: below zero, the ledger says more than the key's account. Should be zero.
    pub drift: Usd,
}

/// A cost in suspense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenCost {
    /// Names it in the store.
    pub id: u64,
    /// It is that or less, where a worst cost was held.
    pub held: Option<Usd>,
    /// Nothing better than the key's usage will tell.
    pub ripe: bool,
}

/// What processes that are gone may have spent without writing it down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unaccounted {
    /// What they had leased of a key with limits.
    pub leased: Usd,
    /// They used the key when it had none.
    pub unbounded: bool,
}

/// Everything a reckoning looks at, read while nothing was under way on the key.
#[derive(Clone, Copy, Debug)]
pub struct Books<'a> {
    /// The time.
    pub now: Timestamp,
    /// What the key was charged in all, by its own account.
    pub usage: Usd,
    /// What the ledger has booked on it in all.
    pub settled: Usd,
    /// The last check.
    pub last: Option<UsageCheck>,
    /// Costs in suspense, the oldest first.
    pub open: &'a [OpenCost],
    /// What was lost with a process, where one was.
    pub lost: Option<Unaccounted>,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reckoned {
    /// Costs in suspense that are settled, and what each is.
    pub settle: Vec<(u64, Usd)>,
    /// What processes that are gone had spent; `None` when that stays open, or nothing was lost.
    pub recovered: Option<Usd>,
    /// The check as it is from now on, everything above being booked.
    pub check: UsageCheck,
}

/// Compare a key's usage with its books. `None`: it proves nothing yet.
pub fn reckon(books: &Books<'_>) -> Option<Reckoned> {
    let Books { now, usage, settled, last, open, lost } = *books;
    let all_known = open.is_empty() && lost.is_none();
    let Some(last) = last else {
        // What was spent before is only told from our own spending while all of that is known.
        let before = usage.checked_sub(settled).filter(|_| all_known)?;
        let check = UsageCheck { at: now, usage, settled, before, elsewhere: Usd::ZERO, drift: Usd::ZERO };
        return Some(Reckoned { settle: Vec::new(), recovered: None, check });
    };
    if !open.iter().all(|cost| cost.ripe) {
        return None;
    }
    let explained = last.before.checked_add(last.elsewhere)?.checked_add(settled)?;
    let beyond = usage.checked_sub(explained)?;
    let mut left = beyond.max(Usd::ZERO);
    let mut share = |most: Option<Usd>| {
        let amount = most.map_or(left, |most| left.min(most));
        left = left.checked_sub(amount).unwrap_or_default();
        amount
    };
    let settle: Vec<(u64, Usd)> = open.iter().map(|cost| (cost.id, share(cost.held))).collect();
    let recovered = lost.map(|lost| share(if lost.unbounded { None } else { Some(lost.leased) }));
    let check = UsageCheck {
        at: now,
        usage,
        settled: settled.checked_add(beyond.max(Usd::ZERO).checked_sub(left)?)?,
        before: last.before,
        elsewhere: last.elsewhere.checked_add(left)?,
        drift: beyond.min(Usd::ZERO),
    };
    Some(Reckoned { settle, recovered, check })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_500_000);

    fn usd(pico: i64) -> Usd {
        Usd::from_pico(pico)
    }

    fn last(before: i64, elsewhere: i64) -> UsageCheck {
        let (before, elsewhere) = (usd(before), usd(elsewhere));
        UsageCheck { at: NOW, usage: Usd::ZERO, settled: Usd::ZERO, before, elsewhere, drift: Usd::ZERO }
    }

    fn open(id: u64, held: Option<i64>) -> OpenCost {
        OpenCost { id, held: held.map(usd), ripe: true }
    }

    fn books(usage: i64, settled: i64) -> Books<'static> {
        let (usage, settled) = (usd(usage), usd(settled));
        Books { now: NOW, usage, settled, last: Some(last(100, 20)), open: &[], lost: None }
    }

    /// What is settled, recovered, spent elsewhere and adrift.
    fn check(books: &Books<'_>, settle: &[(u64, i64)], recovered: Option<i64>, elsewhere: i64, drift: i64) {
        let reckoned = reckon(books).expect("proof enough");
        let settled: Vec<(u64, i64)> = reckoned.settle.iter().map(|(id, amount)| (*id, amount.as_pico())).collect();
        assert_eq!((settled.as_slice(), reckoned.recovered), (settle, recovered.map(usd)), "{books:?}");
        let check = reckoned.check;
        assert_eq!((check.elsewhere, check.drift), (usd(elsewhere), usd(drift)), "{books:?}");
        let sum = [check.settled, check.before, check.elsewhere, check.drift];
        assert_eq!(
            sum.iter().map(|part| part.as_pico()).sum::<i64>(),
            check.usage.as_pico(),
            "everything is explained"
        );
    }

    #[test]
    fn the_first_look_tells_what_was_spent_before() {
        let first = Books { last: None, ..books(700, 200) };
        assert_eq!(reckon(&first).map(|r| (r.check.before, r.check.elsewhere)), Some((usd(500), Usd::ZERO)));
        assert_eq!(reckon(&Books { open: &[open(1, None)], ..first }), None, "not while something is unknown");
    }

    #[test]
    fn what_nobody_here_spent_was_spent_elsewhere() {
        check(&books(320, 200), &[], None, 20, 0);
        check(&books(350, 200), &[], None, 50, 0);
        check(&books(310, 200), &[], None, 20, -10);
    }

    #[test]
    fn unknown_costs_are_what_is_beyond() {
        check(&Books { open: &[open(1, None)], ..books(370, 200) }, &[(1, 50)], None, 20, 0);
        check(&Books { open: &[open(1, Some(30))], ..books(370, 200) }, &[(1, 30)], None, 40, 0);
        check(
            &Books { open: &[open(1, Some(30)), open(2, Some(90))], ..books(370, 200) },
            &[(1, 30), (2, 20)],
            None,
            20,
            0,
        );
        check(&Books { open: &[open(1, Some(30))], ..books(320, 200) }, &[(1, 0)], None, 20, 0);
        let young = OpenCost { ripe: false, ..open(2, None) };
        assert_eq!(reckon(&Books { open: &[open(1, None), young], ..books(370, 200) }), None);
    }

    #[test]
    fn what_was_lost_with_a_process_is_recovered() {
        let lost = |leased, unbounded| Some(Unaccounted { leased: usd(leased), unbounded });
        check(&Books { lost: lost(40, false), ..books(370, 200) }, &[], Some(40), 30, 0);
        check(&Books { lost: lost(0, true), ..books(370, 200) }, &[], Some(50), 20, 0);
        check(&Books { lost: lost(40, false), ..books(320, 200) }, &[], Some(0), 20, 0);
        check(
            &Books { lost: lost(40, false), open: &[open(7, Some(45))], ..books(370, 200) },
            &[(7, 45)],
            Some(5),
            20,
            0,
        );
    }
}
