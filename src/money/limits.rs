//! What a donor allows: how much of a key's money the pool may spend, when, and on what.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::{Day, Timestamp};

use super::Usd;

/// A span of UTC time after which a cap starts anew. They turn when OpenRouter's own limits do
/// (`openrouter-api.md` 6.1): days at midnight, weeks on Monday, months on the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// A calendar day.
    Day,
    /// Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// For ever: never starts anew.
    Total,
}

impl Window {
    /// Every window, the shortest first.
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Total];

    /// The name used in the admin API and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// The window of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.name() == name)
    }

    /// The first day of the window that holds `today`.
    pub fn first_day(self, today: Day) -> Day {
        match self {
            Self::Day => today,
            Self::Week => today.monday(),
            Self::Month => today.first_of_month(),
            Self::Total => Day::from_number(i32::MIN),
        }
    }

    /// When the window that holds `now` is over; `None` is never.
    pub fn turns_at(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Day => Some(now.next_midnight()),
            Self::Week => Some(now.next_monday()),
            Self::Month => Some(now.next_month()),
            Self::Total => None,
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The most that may be spent on a key in each window; all of them hold at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps([Option<Usd>; Window::ALL.len()]);

impl Caps {
    /// The cap of this window, where there is one.
    pub const fn of(&self, window: Window) -> Option<Usd> {
        let [day, week, month, total] = self.0;
        match window {
            Window::Day => day,
            Window::Week => week,
            Window::Month => month,
            Window::Total => total,
        }
    }

    /// Set or lift the cap of this window.
    pub const fn set(&mut self, window: Window, cap: Option<Usd>) {
        let [day, week, month, total] = &mut self.0;
        *match window {
            Window::Day => day,
            Window::Week => week,
            Window::Month => month,
            Window::Total => total,
        } = cap;
    }

    /// The windows that are capped, the shortest first, each with its cap.
    pub fn iter(&self) -> impl Iterator<Item = (Window, Usd)> + '_ {
        Window::ALL.into_iter().filter_map(|window| Some((window, self.of(window)?)))
    }

    /// The cap of every window, in the order of [`Window::ALL`].
    pub(super) const fn each(&self) -> &[Option<Usd>; Window::ALL.len()] {
        &self.0
    }

    /// Whether nothing is capped.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The smallest cap of any window.
    pub fn smallest(&self) -> Option<Usd> {
        self.iter().map(|(_, cap)| cap).min()
    }
}

impl FromIterator<(Window, Usd)> for Caps {
    fn from_iter<T: IntoIterator<Item = (Window, Usd)>>(caps: T) -> Self {
        let mut all = Self::default();
        caps.into_iter().for_each(|(window, cap)| all.set(window, Some(cap)));
        all
    }
}

/// Everything a donor or operator has set on one key. The default allows everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// The most that may be spent through the pool.
    pub caps: Caps,
    /// What stays the owner's of whatever OpenRouter says is left of the key's limit and its account's credit.
    pub reserve: Option<Usd>,
    /// Which models may be asked for; empty allows all.
    pub models: ModelGlobs,
    /// The most requests at a time.
    pub concurrency: Option<u32>,
    /// Out of rotation until somebody resumes it.
    pub paused: bool,
    /// Out of rotation from then on.
    pub expires_at: Option<Timestamp>,
}

impl Limits {
    /// Whether money is limited: then each request's worst cost is held before it goes out, and one whose worst cost
    /// nobody knows does not.
    pub fn are_strict(&self) -> bool {
        !self.caps.is_empty() || self.reserve.is_some()
    }
}

/// Patterns of model names: `*` stands for anything, `?` for one character. Case does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelGlobs(Vec<wildmatch::WildMatch>);

impl ModelGlobs {
    /// From patterns, in their order.
    pub fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Self {
        Self(patterns.into_iter().map(|p| wildmatch::WildMatch::new_case_insensitive(p.as_ref())).collect())
    }

    /// Whether there is no pattern, which allows every model.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of the patterns fits, or there is none.
    pub fn allow(&self, model: &str) -> bool {
        self.is_empty() || self.0.iter().any(|glob| glob.matches(model))
    }

    /// Whether a request may be made that asks for this model and may end up with one of those instead: every one of them must
    /// be allowed, and at least one be named, as nobody here knows an account's default model.
    pub fn allow_request(&self, model: Option<&str>, fallbacks: &[Box<str>]) -> bool {
        let named = model.is_some() || !fallbacks.is_empty();
        let mut all = model.into_iter().chain(fallbacks.iter().map(|model| &**model));
        self.is_empty() || named && all.all(|model| self.allow(model))
    }

    /// What any of these lists allows; everything where one of them, or none at all, says nothing.
    pub fn any_of<'a>(lists: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = BTreeMap::new();
        for list in lists {
            if list.is_empty() {
                return Self::default();
            }
            all.extend(list.0.iter().map(|glob| (glob.pattern().to_lowercase(), glob.clone())));
        }
        Self(all.into_values().collect())
    }

    /// The patterns as they were given.
    pub fn patterns(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(wildmatch::WildMatch::pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    #[test]
    fn windows_begin_and_turn_where_openrouters_do() {
        let check = |now: &str, window: Window, first: &str, turns: Option<&str>| {
            let now = at(now);
            assert_eq!(window.first_day(now.day()), at(&format!("{first}T00:00:00Z")).day(), "{now} {window}");
            assert_eq!(window.turns_at(now), turns.map(|day| at(&format!("{day}T00:00:00Z"))), "{now} {window}");
        };
        check("2026-11-29T23:59:59Z", Window::Day, "2026-11-29", Some("2026-11-30"));
        check("2026-11-29T23:59:59Z", Window::Week, "2026-11-23", Some("2026-11-30"));
        check("2026-11-30T00:00:00Z", Window::Week, "2026-11-30", Some("2026-12-07"));
        check("2026-12-31T12:00:00Z", Window::Month, "2026-12-01", Some("2027-01-01"));
        assert_eq!(Window::Total.turns_at(at("2026-12-31T12:00:00Z")), None);
        for window in Window::ALL {
            assert_eq!(Window::from_name(window.name()), Some(window));
        }
    }

    #[test]
    fn caps_are_kept_by_window() {
        let caps: Caps = [(Window::Week, Usd::from_pico(7)), (Window::Day, Usd::from_pico(9))].into_iter().collect();
        assert_eq!(
            caps.iter().collect::<Vec<_>>(),
            [(Window::Day, Usd::from_pico(9)), (Window::Week, Usd::from_pico(7))]
        );
        assert_eq!((caps.smallest(), caps.of(Window::Month)), (Some(Usd::from_pico(7)), None));
        assert!(Caps::default().is_empty() && !caps.is_empty());
    }

    #[test]
    fn globs_name_models() {
        let globs = ModelGlobs::new(["anthropic/*", "*:free", "openai/gpt-4o-mini"]);
        for (model, allowed) in [
            ("anthropic/claude-sonnet-4.5", true),
            ("Anthropic/Claude-Opus", true),
            ("meta-llama/llama-3.3-70b-instruct:free", true),
            ("openai/gpt-4o-mini", true),
            ("openai/gpt-4o", false),
            ("x/anthropic/y", false),
        ] {
            assert_eq!(globs.allow(model), allowed, "{model}");
        }
        assert!(ModelGlobs::default().allow("whatever"));
    }

    #[test]
    fn lists_together_allow_what_one_of_them_does() {
        let globs = |patterns: &[&str]| ModelGlobs::new(patterns.iter());
        let check = |lists: &[ModelGlobs], patterns: &[&str]| {
            let any: Vec<String> = ModelGlobs::any_of(lists).patterns().collect();
            assert_eq!(any, patterns, "{lists:?}");
        };
        check(&[], &[]);
        check(&[globs(&["b/*", "a/*"]), globs(&["A/*", "c"])], &["A/*", "b/*", "c"]);
        check(&[globs(&["b/*"]), globs(&[])], &[]);
    }

    #[test]
    fn a_request_is_allowed_when_everything_it_may_end_up_with_is() {
        let check = |model: Option<&str>, fallbacks: &[&str], allowed: bool| {
            let fallbacks: Vec<Box<str>> = fallbacks.iter().map(|model| (*model).into()).collect();
            let globs = ModelGlobs::new(["anthropic/*"]);
            assert_eq!(globs.allow_request(model, &fallbacks), allowed, "{model:?} {fallbacks:?}");
            assert!(ModelGlobs::default().allow_request(model, &fallbacks));
        };
        check(Some("anthropic/a"), &[], true);
        check(Some("anthropic/a"), &["anthropic/b"], true);
        check(None, &["anthropic/b"], true);
        check(Some("openai/a"), &[], false);
        check(Some("anthropic/a"), &["anthropic/b", "openai/a"], false);
        check(Some("anthropic/a"), &[""], false);
        check(None, &[], false);
    }
}
