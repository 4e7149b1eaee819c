//! Limits and budgets: of a key, of a workspace, of a guardrail. They come as 403, some as 402.

use crate::pool::Effect;

use super::times::{self, Window};
use super::{Case, Next, Reason, Verdict};

/// The beginning of a key limit's refusal: ` (daily limit). …` may follow, or nothing.
const KEY_LIMIT: &str = "Key limit exceeded";
/// Whose budget it is, at the beginning of a budget's refusal.
const BUDGET_OWNERS: [&str; 2] = ["Workspace ", "Guardrail "];

/// A key's, workspace's or guardrail's limit, if that is what the refusal is about.
pub(super) fn cap(case: &Case<'_>) -> Option<Verdict> {
    match case.limit_source() {
        "openrouter_guardrail_budget" | "openrouter_workspace_budget" => Some(budget(case)),
        "openrouter_key_limit" => Some(key_limit(case, key_window(&case.error.message))),
        _ if is_key_limit(&case.error.message) => Some(key_limit(case, key_window(&case.error.message))),
        _ if budget_words(&case.error.message).is_some() => Some(budget(case)),
        _ => None,
    }
}

/// The key's own limit is used up. The account may be rich, and its other keys may serve.
pub(super) fn key_limit(case: &Case<'_>, window: Option<Window>) -> Verdict {
    let until = times::reset(case, window);
    Verdict::new(Reason::KeyLimit, Effect::KeyCapped { until }, Next::AnotherKey)
}

/// By its beginning, whether a message tells of such a limit.
pub(super) fn is_about_cap(message: &str) -> bool {
    is_key_limit(message) || budget_words(message).is_some()
}

fn budget(case: &Case<'_>) -> Verdict {
    let window = budget_words(&case.error.message).flatten();
    let until = times::reset(case, window);
    Verdict::new(Reason::Budget, Effect::AccountCapped { until }, Next::AnotherAccount)
}

fn is_key_limit(message: &str) -> bool {
    message.strip_prefix(KEY_LIMIT).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// `Key limit exceeded (daily limit). …`
fn key_window(message: &str) -> Option<Window> {
    let (word, _) = message.strip_prefix(KEY_LIMIT)?.strip_prefix(" (")?.split_once(" limit)")?;
    Window::named(word)
}

/// `Workspace monthly budget of $500.00 exceeded. …`: `Some` when it is a budget's text, with its window if it has one.
fn budget_words(message: &str) -> Option<Option<Window>> {
    let words = BUDGET_OWNERS.iter().find_map(|owner| message.strip_prefix(owner))?;
    if words.starts_with("budget of $") {
        return Some(None);
    }
    let (word, rest) = words.split_once(' ')?;
    rest.starts_with("budget of $").then(|| Window::named(word))
}
