//! Errors inside a 200: the answer has begun, so it goes to the client; the key is judged all the same. Only an error that
//! stands where the answer should begin is cleaned of what is the donor's.

use std::time::Duration;

use potluck::clock::Timestamp;
use potluck::money::Usd;
use potluck::pool::{Cause, Health};
use potluck::simulator::{Play, Script};

use crate::support::{MODEL, Told, at};

use super::{Dialect, Table};

/// Where in the answer the error stands.
#[derive(Clone, Copy, Debug)]
enum Where {
    FirstEvent,
    MidStream,
    PaddedJson,
    /// With a length that is told beforehand.
    Json,
}

impl Where {
    const ALL: [Self; 4] = [Self::FirstEvent, Self::MidStream, Self::PaddedJson, Self::Json];

    fn play(self, name: &str) -> Play {
        let refused = Play::refuse(name);
        match self {
            Self::FirstEvent => Play { inside: Some(0), ..refused },
            Self::MidStream => Play { inside: Some(3), ..refused },
            Self::PaddedJson => Play { inside: Some(0), padding: Some(3), ..refused },
            Self::Json => Play { inside: Some(0), ..refused },
        }
    }

    /// What the client reads: before any content, a text about a donor's money is not for it.
    fn reads<'a>(self, name: &str, message: &'a str) -> &'a str {
        let of_money = name.starts_with("402") || name.starts_with("403-key");
        if of_money && !matches!(self, Self::MidStream) { "OpenRouter would not serve this request" } else { message }
    }
}

/// What the error does to the keys of the account that answered.
type Does = fn(Timestamp) -> [Told; 2];

const WELL: Told = (Health::Healthy, Cause::Operator, None);

fn nothing(_: Timestamp) -> [Told; 2] {
    [WELL, WELL]
}

fn doubted(now: Timestamp) -> [Told; 2] {
    [(Health::Degraded, Cause::Doubted, Some(now.after(Duration::from_secs(300)))), WELL]
}

fn empty(_: Timestamp) -> [Told; 2] {
    [(Health::Depleted, Cause::Credit, None); 2]
}

fn capped(_: Timestamp) -> [Told; 2] {
    [(Health::Depleted, Cause::KeyLimit, Some(at("2026-11-25T00:00:00Z"))), WELL]
}

fn busy(now: Timestamp) -> [Told; 2] {
    [(Health::RateLimited, Cause::InFlight, Some(now.after(Duration::from_secs(120)))); 2]
}

const ROWS: [(&str, &str, Does); 9] = [
    ("401-user", "User not found.", doubted),
    ("402-credits", "Insufficient credits", empty),
    ("402-in-flight", "This request would exceed", busy),
    ("403-key-daily", "Key limit exceeded (daily limit)", capped),
    ("403-ip", "Your IP address", nothing),
    ("403-moderation", "requires moderation", nothing),
    ("429-provider", "Provider returned error", nothing),
    ("502", "Provider returned error", nothing),
    ("504-aborted", "The operation was aborted", nothing),
];

impl Table {
    async fn error_inside(&self, dialect: Dialect, place: Where, name: &str, message: &str, does: Does) {
        let what = format!("{dialect:?} {place:?} {name}");
        self.cleared().await;
        let before = self.house.booked().await;
        self.house.sim.script(Script::always(place.play(name)));
        let stream = matches!(place, Where::FirstEvent | Where::MidStream);
        let (used, answer) = self.goes(&dialect.ask(MODEL, stream), &what).await;
        assert_eq!((&*used, answer.status), (&[0][..], 200), "{what}: an answer that began is not asked for again");
        assert!(answer.text().contains(place.reads(name, message)) && answer.whole, "{what}: {}", answer.text());
        let told = answer.header("content-length").map(|length| length.parse().unwrap());
        assert!(told.is_none_or(|told: usize| told == answer.body.len()), "{what}: {}", answer.everything());
        // It is judged when the answer is booked, and the clock may go on until then.
        let (answered, after) = (self.house.clock.now(), self.house.booked().await);
        let told = self.house.told().await;
        let waited = after.now.since(answered).as_millis() as u64 / 50;
        let judged = (0..=waited).map(|steps| answered.after(Duration::from_millis(50 * steps)));
        let expected = judged.map(does).any(|[used, sibling]| told == [used, sibling, WELL]);
        assert!(expected, "{what}: {told:?}");
        assert_eq!(after.requests, before.requests + 1, "{what}");
        assert_eq!(after.successes, before.successes, "{what}: an error is no success");
    }
}

#[tokio::test]
async fn errors_inside_an_answer_are_held_against_the_key_that_gave_it() {
    let table = Table::laid().await;
    for dialect in Dialect::ALL {
        for place in Where::ALL {
            for (name, message, does) in ROWS {
                table.error_inside(dialect, place, name, message, does).await;
            }
        }
    }
    table.cleared().await;
    table.house.assert_books_balance().await;
}

#[tokio::test]
async fn nothing_of_the_donors_is_in_an_error_that_comes_before_any_content() {
    let table = Table::laid().await;
    for dialect in Dialect::ALL {
        for place in [Where::FirstEvent, Where::PaddedJson, Where::Json] {
            for comments in [0, 3] {
                table.cleared().await;
                let play = Play { comments: Some(comments), ..place.play("402-leaky") };
                table.house.sim.script(Script::always(play));
                let what = format!("{dialect:?} {place:?} {comments}");
                // That nothing of the donor's is in it is looked at here.
                let answer = table.ask(&dialect.ask(MODEL, matches!(place, Where::FirstEvent)), &what).await;
                let seen = answer.text();
                for trace in ["previous_errors", "24.875", "keys/", "is_byok", "user_"] {
                    assert!(!seen.contains(trace), "{what}: {trace} in {seen}");
                }
                assert!(seen.contains("OpenRouter would not serve this request") && answer.whole, "{what}: {seen}");
                let streamed = matches!(place, Where::FirstEvent);
                let keep_alives =
                    [": OPENROUTER PROCESSING", ": \n", "event: ping"].map(|text| seen.matches(text).count());
                assert_eq!(keep_alives.iter().sum::<usize>(), if streamed { comments } else { 0 }, "{what}: {seen}");
                assert_eq!(seen.starts_with("\n         \n"), matches!(place, Where::PaddedJson), "{what}: {seen}");
            }
        }
    }
}

#[tokio::test]
async fn padding_and_comments_are_not_held_back_for_an_error_that_may_come() {
    let table = Table::laid().await;
    table.house.sim.script(Script::always(Play {
        padding: Some(2),
        gap_ms: Some(400),
        ..Where::Json.play("402-leaky")
    }));
    let mut open = Dialect::Chat.ask(MODEL, false).open(table.house.proxy).await;
    assert_eq!(open.chunk().await.unwrap().unwrap(), b"\n         \n", "as it comes");
    let begun = tokio::time::Instant::now();
    let rest = open.rest().await;
    assert!(begun.elapsed() > Duration::from_millis(300), "the error was still to come");
    assert!(rest.whole && rest.text().contains("OpenRouter would not serve"), "{}", rest.text());
}

#[tokio::test]
async fn usage_beside_an_error_is_booked() {
    let table = Table::laid().await;
    for dialect in Dialect::ALL {
        let before = table.house.booked().await.spent_total;
        let play = Play { inside: Some(3), error_usage: Some(true), ..Play::refuse("502") };
        table.house.sim.script(Script::next(play));
        assert_eq!(table.ask(&dialect.ask(MODEL, true), "usage beside an error").await.status, 200);
        let after = table.house.booked().await;
        assert_eq!(after.suspense.open, 0, "{dialect:?}: known at once");
        assert!(after.spent_total > before && after.spent_total > Usd::ZERO, "{dialect:?}");
        assert_eq!(i128::from(after.spent_total.as_pico()), table.house.sim.bill().total.0, "{dialect:?}");
    }
    let metrics = table.house.pot.metrics().encode().unwrap();
    let counted = "potluck_attempts_total{outcome=\"failed_inside\",reason=\"provider_error\"} 3\n";
    assert!(metrics.contains(counted), "{metrics}");
}
