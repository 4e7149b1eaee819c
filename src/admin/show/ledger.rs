//! Lines, sums and receipts.

use crate::clock::Timestamp;
use crate::money::{UsageCheck, Usd};
use crate::pot::KeyView;
use crate::store::{LedgerLine, LedgerPage, LineKind, OpenEntry, Receipt, SummaryLine, Sums};

use super::super::answers::{
    self, EntryKind, EntryTokens, LedgerAnswer, LedgerEntry, LedgerSums, OpenAnswer, ReceiptAnswer, ReceiptCheck,
    ReceiptKey, ReceiptModel, ReceiptSuspense, SummaryAnswer, SummaryEntry, TokenSums,
};

pub(in super::super) fn page(page: LedgerPage) -> LedgerAnswer {
    LedgerAnswer {
        entries: page.lines.into_iter().map(entry).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
    }
}

pub(in super::super) fn entry(line: LedgerLine) -> LedgerEntry {
    LedgerEntry {
        id: line.id,
        kind: match line.kind {
            LineKind::Attempt => EntryKind::Attempt,
            LineKind::Correction => EntryKind::Correction,
        },
        at: line.at.to_string(),
        day: line.day.to_string(),
        request: line.request.to_string(),
        attempt: line.attempt,
        key: line.key.to_string(),
        account: line.account.map(|account| account.to_string()),
        client: line.client.map(|client| client.to_string()),
        user: line.user.map(String::from),
        endpoint: line.endpoint.map(|endpoint| endpoint.name().to_owned()),
        model: line.model.map(String::from),
        generation: line.generation.map(|id| id.as_str().to_owned()),
        tokens: EntryTokens {
            prompt: line.tokens.prompt,
            completion: line.tokens.completion,
            cached: line.tokens.cached,
            reasoning: line.tokens.reasoning,
        },
        cost: text(line.cost),
        byok: text(line.byok),
        held: text(line.held),
        in_suspense: line.in_suspense,
        basis: line.basis,
        outcome: line.outcome,
        status: line.status,
        duration_ms: line.duration_ms,
    }
}

fn text(amount: Option<Usd>) -> Option<String> {
    amount.map(|amount| amount.to_string())
}

pub(in super::super) fn summary(lines: Vec<SummaryLine>) -> SummaryAnswer {
    let mut total = Sums::default();
    let lines = lines.into_iter().map(|line| {
        add(&mut total, &line.sums);
        SummaryEntry {
            day: line.day.to_string(),
            key: line.key.to_string(),
            model: line.model.map(String::from),
            sums: sums(&line.sums),
        }
    });
    SummaryAnswer { lines: lines.collect(), total: sums(&total) }
}

fn add(total: &mut Sums, more: &Sums) {
    let (all, tokens) = (&mut total.tokens, &more.tokens);
    for (sum, more) in [
        (&mut total.requests, more.requests),
        (&mut total.attempts, more.attempts),
        (&mut total.answered, more.answered),
        (&mut all.prompt, tokens.prompt),
        (&mut all.completion, tokens.completion),
        (&mut all.cached, tokens.cached),
        (&mut all.reasoning, tokens.reasoning),
    ] {
        *sum = sum.saturating_add(more);
    }
    for (sum, more) in [
        (&mut total.amount, more.amount),
        (&mut total.byok, more.byok),
        (&mut total.by_usage, more.by_usage),
        (&mut total.estimated, more.estimated),
    ] {
        *sum = sum.saturating_add(more);
    }
}

pub(in super::super) fn sums(sums: &Sums) -> LedgerSums {
    LedgerSums {
        requests: sums.requests,
        attempts: sums.attempts,
        answered: sums.answered,
        tokens: TokenSums {
            prompt: sums.tokens.prompt,
            completion: sums.tokens.completion,
            cached: sums.tokens.cached,
            reasoning: sums.tokens.reasoning,
        },
        cached_share: sums.cached_permille().map(|permille| format!("{}.{}%", permille / 10, permille % 10)),
        amount: sums.amount.to_string(),
        byok: sums.byok.to_string(),
        by_usage: sums.by_usage.to_string(),
        estimated: sums.estimated.to_string(),
    }
}

/// A receipt of a key of the pool, or of one that has left it.
pub(in super::super) fn receipt(receipt: Receipt, view: Option<KeyView>, now: Timestamp) -> ReceiptAnswer {
    ReceiptAnswer {
        from: receipt.from.to_string(),
        to: receipt.to.to_string(),
        time: now.to_string(),
        sums: sums(&receipt.sums),
        models: receipt
            .models
            .into_iter()
            .map(|(model, figures)| ReceiptModel { model: model.map(String::from), sums: sums(&figures) })
            .collect(),
        suspense: ReceiptSuspense { entries: receipt.suspense, most: receipt.suspense_held.to_string() },
        check: view.as_ref().and_then(|view| view.check).map(check),
        key: ReceiptKey {
            id: receipt.key.to_string(),
            in_pool: view.is_some(),
            key: view.as_ref().map(|view| view.masked.clone()),
            hash: view.as_ref().map(|view| view.fingerprint.to_string()),
            added_at: view.as_ref().map(|view| view.added_at.to_string()),
            label: view.as_ref().and_then(|view| view.label.clone()),
            donor_id: view.as_ref().and_then(|view| view.donor_id.clone()),
            donor_name: view.and_then(|view| view.donor_name),
        },
    }
}

fn check(check: UsageCheck) -> ReceiptCheck {
    ReceiptCheck {
        at: check.at.to_string(),
        usage: check.usage.to_string(),
        booked: check.settled.to_string(),
        before: check.before.to_string(),
        elsewhere: check.elsewhere.to_string(),
        drift: check.drift.to_string(),
    }
}

pub(in super::super) fn open(entries: Vec<OpenEntry>, all: u64) -> OpenAnswer {
    let not_listed = all.saturating_sub(entries.len() as u64);
    let entries = entries.into_iter().map(|OpenEntry { suspense, model }| answers::OpenEntry {
        entry: suspense.id,
        request: suspense.request.to_string(),
        attempt: suspense.attempt,
        key: suspense.key.to_string(),
        generation: suspense.generation.map(|id| id.as_str().to_owned()),
        endpoint: suspense.endpoint.name().to_owned(),
        model: model.map(String::from),
        since: suspense.opened_at.to_string(),
        held: text(suspense.held),
        tries: suspense.tries,
        next_look: suspense.due_at.map(|at| at.to_string()),
    });
    OpenAnswer { entries: entries.collect(), not_listed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Day;
    use crate::pool::KeyId;
    use crate::store::TokenTotals;

    #[test]
    fn a_summary_adds_up() {
        let line = |amount: i64, cached: u64| SummaryLine {
            day: Day::from_number(20_000),
            key: KeyId(1),
            model: None,
            sums: Sums {
                requests: 1,
                attempts: 2,
                answered: 1,
                tokens: TokenTotals { prompt: 3, cached, ..TokenTotals::default() },
                amount: Usd::from_pico(amount),
                ..Sums::default()
            },
        };
        let answer = summary(vec![line(1_000_000_000_000, 0), line(-1, 2)]);
        assert_eq!((answer.lines.len(), answer.total.requests, answer.total.attempts), (2, 2, 4));
        assert_eq!(answer.total.amount, "$0.999999999999");
        assert_eq!(answer.total.cached_share.as_deref(), Some("33.3%"));
        assert_eq!(answer.lines.first().map(|line| line.day.as_str()), Some("2024-10-04"));
        assert_eq!(summary(Vec::new()).total.cached_share, None);
    }
}
