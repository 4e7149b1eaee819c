//! 402: an empty account, a request too big for what is left, or too much at once (`openrouter-api.md` 5.3).
//!
//! `limit_source: openrouter_credits` stands on all three, so it decides nothing by itself: `reason` comes first, then
//! what the message says about size, then the plain texts.

use crate::pool::Effect;

use super::times::{self, Window};
use super::{Case, Next, Reason, Verdict, caps, elsewhere, provider_error};

const OUTPUT: &str = "This request requires more credits";
const INPUT: &str = "Prompt tokens limit exceeded";
/// The wording of 2025 for the input side.
const CAPACITY: &str = "More credits are required to run this request";
const IN_FLIGHT: &str = "This request would exceed your available credits given your current in-flight requests";
const TOO_HEAVY: &str = "This request would exceed your available credits";
const EMPTY: &str = "Insufficient credits";

/// What there is too little of, and whose it is.
struct Shortfall {
    /// How many tokens it would buy; 0 also for less than nothing.
    affordable: Option<u64>,
    payer: Payer,
}

/// Whose money it is, by the settings page that the message names.
enum Payer {
    Account,
    Key(Option<Window>),
    Unknown,
}

/// Judge a 402.
pub(super) fn payment(case: &Case<'_>) -> Verdict {
    let message = &*case.error.message;
    match case.reason() {
        "in_flight_budget_exhausted" => return in_flight(case),
        "weight_exceeds_budget" => return too_heavy(),
        _ => {}
    }
    if case.limit_source() == "openrouter_in_flight_budget" || message.starts_with(IN_FLIGHT) {
        return in_flight(case);
    }
    if message.starts_with(OUTPUT) {
        return too_dear(case, Reason::OutputTooDear, &output_shortfall(message).unwrap_or(Shortfall::UNKNOWN));
    }
    if message.starts_with(INPUT) || message.starts_with(CAPACITY) {
        return too_dear(case, Reason::InputTooDear, &input_shortfall(message).unwrap_or(Shortfall::UNKNOWN));
    }
    // `/messages` may leave out `reason`; of the two only the passing trouble says when to come back.
    if message.starts_with(TOO_HEAVY) {
        return if times::says_when(case) { in_flight(case) } else { too_heavy() };
    }
    if let Some(verdict) = caps::cap(case) {
        return verdict;
    }
    if message.starts_with(EMPTY) {
        return Verdict::new(Reason::AccountEmpty, Effect::AccountEmpty, Next::AnotherAccount);
    }
    unknown(case)
}

/// A 402 in words we do not know. It says that money was short, not that there is none: the key is asked about soon and
/// stays in rotation.
fn unknown(case: &Case<'_>) -> Verdict {
    let affords = Effect::Affords { tokens: None };
    if case.limit_source() == "openrouter_credits" {
        return Verdict::new(Reason::PaymentRequired, affords, Next::AnotherAccount);
    }
    if case.is_provider_error() {
        return provider_error(case);
    }
    if case.reached {
        return Verdict::pass(Reason::PaymentRequired);
    }
    if times::says_when(case) {
        return in_flight(case);
    }
    Verdict::new(Reason::PaymentRequired, affords, elsewhere(case.reached))
}

fn in_flight(case: &Case<'_>) -> Verdict {
    let effect = Effect::AccountBusy { rest: times::in_flight_rest(case) };
    Verdict::new(Reason::InFlightBudget, effect, Next::AnotherMeanwhile)
}

fn too_heavy() -> Verdict {
    Verdict::new(Reason::RequestTooHeavy, Effect::None, Next::AnotherAccount)
}

fn too_dear(case: &Case<'_>, reason: Reason, short: &Shortfall) -> Verdict {
    match (&short.payer, short.affordable) {
        // Not one token: that is not about this request's size any more.
        (Payer::Account, Some(0)) => Verdict::new(Reason::AccountEmpty, Effect::AccountEmpty, Next::AnotherAccount),
        (Payer::Key(window), Some(0)) => caps::key_limit(case, *window),
        (Payer::Account, tokens) => Verdict::new(reason, Effect::Affords { tokens }, Next::AnotherAccount),
        // The account may be rich, and its other keys may serve; an unknown payer is given the same benefit.
        (Payer::Key(_) | Payer::Unknown, tokens) => Verdict::new(reason, Effect::Affords { tokens }, Next::AnotherKey),
    }
}

/// By its beginning, whether a message tells of money.
pub(super) fn is_about_money(message: &str) -> bool {
    [OUTPUT, INPUT, CAPACITY, TOO_HEAVY, EMPTY].iter().any(|text| message.starts_with(text))
}

impl Shortfall {
    const UNKNOWN: Self = Self { affordable: None, payer: Payer::Unknown };

    /// After the number that can be paid for: `. To increase, visit <page> …`
    fn at(text: &str, behind: &str) -> Option<Self> {
        let (affordable, rest) = count(text)?;
        Some(Self { affordable: Some(affordable), payer: payer(rest.strip_prefix(behind)?) })
    }
}

/// `…, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 30104. To increase, visit …`
fn output_shortfall(message: &str) -> Option<Shortfall> {
    let rest = message.strip_prefix(OUTPUT)?.strip_prefix(", or fewer max_tokens. You requested up to ")?;
    let (_, rest) = count(rest)?;
    Shortfall::at(rest.strip_prefix(" tokens, but can only afford ")?, "")
}

/// `Prompt tokens limit exceeded: 230799 > 91442. To increase, visit …`, or
/// `More credits are required to run this request. 128000 token capacity required, 19484 available. …`
fn input_shortfall(message: &str) -> Option<Shortfall> {
    if let Some(rest) = message.strip_prefix(INPUT) {
        let (_, rest) = count(rest.strip_prefix(": ")?)?;
        return Shortfall::at(rest.strip_prefix(" > ")?, "");
    }
    let (_, rest) = count(message.strip_prefix(CAPACITY)?.strip_prefix(". ")?)?;
    Shortfall::at(rest.strip_prefix(" token capacity required, ")?, " available")
}

/// The number a text begins with, and what follows; a fraction is dropped, and below zero is zero.
fn count(text: &str) -> Option<(u64, &str)> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at_checked(end).filter(|(whole, _)| !whole.is_empty())?;
    let number = if text.starts_with('-') { 0 } else { whole.parse().unwrap_or(u64::MAX) };
    let fraction = rest.strip_prefix('.').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    // A full stop alone ends the sentence.
    let behind = fraction.filter(|behind| behind.len() + 1 < rest.len()).unwrap_or(rest);
    Some((number, behind))
}

/// `. To increase, visit https://openrouter.ai/settings/keys and create a key with a higher monthly limit`
fn payer(text: &str) -> Payer {
    let Some(page) = text.strip_prefix(". To increase, visit https://openrouter.ai/") else { return Payer::Unknown };
    let (path, words) = page.split_once(' ').unwrap_or((page, ""));
    let mut steps = path.split(['/', '?', '#']);
    match (steps.next(), steps.next(), steps.next()) {
        (Some("settings"), Some("credits"), _) => Payer::Account,
        (Some("settings"), Some("keys"), _) | (Some("workspaces"), Some(_), Some("keys")) => Payer::Key(window(words)),
        _ => Payer::Unknown,
    }
}

fn window(words: &str) -> Option<Window> {
    let (word, _) = words.strip_prefix("and create a key with a higher ")?.split_once(" limit")?;
    Window::named(word)
}
