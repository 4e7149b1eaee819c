//! Model names that order something: `sim/error-…`, `sim/fixture-…`, `sim/fast-…`.
//!
//! The fixtures are those of `openrouter-api.md`, section 12.

use super::play::{Encoding, Play, Then, Usage};
use super::world::World;

/// A fixture's name (after `sim/fixture-`) and what it shows.
pub const FIXTURES: [(&str, &str); 23] = [
    ("1", "SSE: comments before and between, chunks split inside UTF-8 characters, usage in a chunk with choices"),
    ("2", "SSE: usage in a chunk with empty choices"),
    ("2-exponent", "cost 7.669e-7"),
    ("2-zero", "cost 0"),
    ("2-null", "cost null; billed all the same"),
    ("3", "an answer of 2 MB; on /responses one data line holds it all"),
    ("4", "/messages SSE, ends with event: data"),
    ("5", "JSON behind 200 times newline, nine spaces, newline"),
    ("6", "only padding, then the end"),
    ("6-error", "padding, then error 504 with status 200"),
    ("7", "SSE whose only event is a provider's 429"),
    ("8", "SSE that waits before the usage until released or hung up on"),
    ("10", "moderation 403 whose flagged input speaks of key limits"),
    ("11", "in-flight 402 for the first account that asks, 200 for all others"),
    ("12", "with :free, the daily 429"),
    ("13", "402 with user id, key page and budget figures"),
    ("14", "own provider key: cost 0, upstream 0.00197"),
    ("15", "for /audio/speech: raw bytes, cost only at /generation"),
    ("16-gzip", "gzip"),
    ("16-br", "brotli"),
    ("17", "for /videos: absolute polling_url, done at the third poll"),
    ("18", "an ordinary answer; look into the log for what came up"),
    ("19", "an ordinary answer; the paths of the fixture are served, look into the log"),
];

/// What the model's name orders. 9 is `sim/fixture-9-NAME`, the same as `sim/error-NAME`.
pub fn magic(world: &mut World, account: Option<usize>, model: &str) -> Result<Play, String> {
    let Some(name) = model.strip_prefix("sim/") else { return Ok(Play::default()) };
    let name = name.strip_suffix(":free").unwrap_or(name);
    if let Some(error) = name.strip_prefix("error-").or_else(|| name.strip_prefix("fixture-9-")) {
        return Ok(Play::refuse(error));
    }
    if let Some(shape) = name.strip_prefix("fast-") {
        return Ok(Play { fast: Some(shape.to_owned()), ..Play::default() });
    }
    match name.strip_prefix("fixture-") {
        Some("11")
            if account.is_some() && *world.busy_account.get_or_insert(account.unwrap_or(0)) == account.unwrap_or(0) =>
        {
            Ok(Play::refuse("402-in-flight"))
        }
        Some(fixture) => play(fixture).ok_or_else(|| format!("no fixture is called {fixture}")),
        None => Ok(Play::default()),
    }
}

fn play(fixture: &str) -> Option<Play> {
    let on = Some(true);
    let usual = Play::default();
    Some(match fixture {
        "1" => Play { comments: Some(3), comments_between: on, split_utf8: on, ..usual },
        "2" => Play { usage: Some(Usage::EmptyChoices), ..usual },
        "2-exponent" => Play { cost: Some("7.669e-7".to_owned()), ..usual },
        "2-zero" => Play { cost: Some("0".to_owned()), ..usual },
        "2-null" => Play { cost: Some("null".to_owned()), ..usual },
        "3" => Play { text_bytes: Some(2_000_000), ..usual },
        "5" => Play { padding: Some(200), ..usual },
        "6" => Play { padding: Some(200), padding_only: on, then: Some(Then::Close), ..usual },
        "6-error" => Play { padding: Some(2), inside: Some(0), ..Play::refuse("504-aborted") },
        "7" => Play { inside: Some(0), ..Play::refuse("429-provider") },
        "8" => Play { hold_usage: on, ..usual },
        "10" => Play::refuse("403-moderation-planted"),
        "12" => Play::refuse("429-free-day"),
        "13" => Play::refuse("402-leaky"),
        "14" => Play { own_key_cost: Some("0.00197".to_owned()), cost: Some("0".to_owned()), ..usual },
        "16-gzip" => Play { encoding: Some(Encoding::Gzip), ..usual },
        "16-br" => Play { encoding: Some(Encoding::Br), ..usual },
        "17" => Play { absolute_polling: on, polls: Some(2), ..usual },
        "4" | "11" | "15" | "18" | "19" => usual,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fixture_is_there() {
        for (name, what) in FIXTURES {
            assert!(play(name).is_some() && !what.is_empty(), "{name}");
        }
        assert!(play("20").is_none());
    }

    #[test]
    fn the_first_account_of_fixture_11_stays_busy() {
        let mut world = World::new(1);
        let mut error = |account| magic(&mut world, Some(account), "sim/fixture-11").unwrap().error;
        assert_eq!(error(4).as_deref(), Some("402-in-flight"));
        assert_eq!(error(2), None);
        assert_eq!(error(4).as_deref(), Some("402-in-flight"));
    }
}
