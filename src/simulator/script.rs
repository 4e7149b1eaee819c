//! Answers ordered in advance.

use serde::{Deserialize, Serialize};

use super::play::Play;

/// One order: the next `times` requests that fit are answered like `play`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Only with this key, by index.
    pub key: Option<usize>,
    /// Only with keys of this account, by index.
    pub account: Option<usize>,
    /// Only for this model.
    pub model: Option<String>,
    /// Only for this path, e.g. `/api/v1/messages`; applies to `/key`, `/credits` and `/generation`, too.
    pub path: Option<String>,
    /// Let so many fitting requests pass first.
    pub skip: u32,
    /// How often; 0 is always. Left out: once.
    #[serde(default = "once")]
    pub times: u32,
    /// What the answer is like.
    pub play: Play,
    #[serde(skip)]
    spent: u32,
}

const fn once() -> u32 {
    1
}

/// What a request shows of itself to scripts.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The key, if it is known.
    pub key: Option<usize>,
    /// Its account.
    pub account: Option<usize>,
    /// The model, if it has been read.
    pub model: Option<&'a str>,
    /// The path.
    pub path: &'a str,
}

impl Script {
    /// The next inference request is answered like that.
    pub fn next(play: Play) -> Self {
        Self { times: 1, play, ..Self::default() }
    }

    /// Every inference request is answered like that.
    pub fn always(play: Play) -> Self {
        Self { times: 0, play, ..Self::default() }
    }

    /// Only with that key.
    #[must_use]
    pub fn on_key(self, key: usize) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Only on that path.
    #[must_use]
    pub fn on_path(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    /// So often.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    fn fits(&self, occasion: &Occasion<'_>, inference: bool) -> bool {
        let path = match &self.path {
            Some(path) => path == occasion.path,
            None => inference,
        };
        path && self.key.is_none_or(|key| occasion.key == Some(key))
            && self.account.is_none_or(|account| occasion.account == Some(account))
            && self.model.as_deref().is_none_or(|model| occasion.model == Some(model))
    }
}

/// The play ordered for this occasion, which is then used up.
pub fn take(scripts: &mut Vec<Script>, occasion: &Occasion<'_>, inference: bool) -> Option<Play> {
    first(scripts, |script| script.fits(occasion, inference))
}

/// The same among those that answer before the body is read.
pub fn take_early(scripts: &mut Vec<Script>, occasion: &Occasion<'_>, inference: bool) -> Option<Play> {
    first(scripts, |script| Play::on(script.play.early) && script.fits(occasion, inference))
}

fn first(scripts: &mut Vec<Script>, fits: impl Fn(&Script) -> bool) -> Option<Play> {
    let mut found = None;
    for script in scripts.iter_mut().filter(|script| fits(script)) {
        if script.skip > 0 {
            script.skip -= 1;
            continue;
        }
        script.spent += 1;
        found = Some(script.play.clone());
        break;
    }
    scripts.retain(|script| script.times == 0 || script.spent < script.times);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_used_up_in_order() {
        let mut scripts = vec![
            Script::next(Play::refuse("402-credits")).on_key(1).times(2),
            Script { skip: 1, ..Script::next(Play::refuse("500")) },
        ];
        let mut ask = |key, path| {
            let occasion = Occasion { key: Some(key), account: None, model: Some("m"), path };
            take(&mut scripts, &occasion, path == "/chat").and_then(|play| play.error)
        };
        let credits = Some("402-credits".to_owned());
        assert_eq!(ask(0, "/chat"), None);
        assert_eq!(ask(1, "/key"), None);
        assert_eq!(ask(1, "/chat"), credits);
        assert_eq!(ask(1, "/chat"), credits);
        assert_eq!(ask(1, "/chat"), Some("500".to_owned()));
        assert_eq!(ask(1, "/chat"), None);
        assert!(scripts.is_empty());
    }
}
