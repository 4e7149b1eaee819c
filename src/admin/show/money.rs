//! Limits, and what they leave.

use crate::money::{Caps, Limits, Usd, Window};
use crate::pool::Gate;
use crate::pot::{CapView, KeyMoney, KeyView};

use super::super::answers::{CapAnswer, KeyCaps, KeyGate, KeyLimits, SpentBy};

pub(super) fn gate(gate: Gate) -> KeyGate {
    match gate {
        Gate::Open => KeyGate::Open,
        Gate::Paused => KeyGate::Paused,
        Gate::Expired => KeyGate::Expired,
        Gate::Unsound => KeyGate::Unsound,
        Gate::Spent { .. } => KeyGate::Spent,
    }
}

/// What it is that leaves nothing.
pub(super) fn spent_by(view: &KeyView) -> SpentBy {
    match &view.money {
        Some(money) if money.unbounded => SpentBy::Unbounded,
        Some(money) if money.caps.iter().any(|cap| cap.left <= Usd::ZERO) => SpentBy::Cap,
        _ => SpentBy::Reserve,
    }
}

pub(super) fn limits(limits: &Limits) -> KeyLimits {
    KeyLimits {
        caps: set_caps(&limits.caps),
        reserve: limits.reserve.map(|reserve| reserve.to_string()),
        models: limits.models.patterns().collect(),
        concurrency: limits.concurrency,
        paused: limits.paused,
        expires_at: limits.expires_at.map(|at| at.to_string()),
    }
}

/// Caps as they were set.
pub(super) fn set_caps(caps: &Caps) -> KeyCaps {
    let cap = |window| caps.of(window).map(|cap| cap.to_string());
    KeyCaps { day: cap(Window::Day), week: cap(Window::Week), month: cap(Window::Month), total: cap(Window::Total) }
}

/// A cap, and how far it is used up.
pub(super) fn cap(cap: &CapView) -> CapAnswer {
    CapAnswer {
        window: cap.window,
        cap: cap.cap.to_string(),
        spent: cap.spent.to_string(),
        left: cap.left.to_string(),
        turns_at: cap.turns_at.map(|at| at.to_string()),
    }
}

pub(super) fn caps(money: Option<&KeyMoney>) -> Vec<CapAnswer> {
    money.map(|money| money.caps.iter().map(cap).collect()).unwrap_or_default()
}
