//! Errors inside a 200: the answer has begun, so it goes to the client as it is; the key is judged all the same.

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
}

impl Where {
    const ALL: [Self; 3] = [Self::FirstEvent, Self::MidStream, Self::PaddedJson];

    fn play(self, name: &str) -> Play {
        let refused = Play::refuse(name);
        match self {
            Self::FirstEvent => Play { inside: Some(0), ..refused },
            Self::MidStream => Play { inside: Some(3), ..refused },
            Self::PaddedJson => Play { inside: Some(0), padding: Some(3), ..refused },
        }
    }
}

/// What the error does to the keys of the account that answered.
type Does = fn(Timestamp) -> [Told; 2];

const WELL: Told = (Health::Healthy, Cause::Operator, None);

fn nothing(_: Timestamp) -> [Told; 2] {
    [WELL, WELL]
}

fn doubted(now: Timestamp) -> [Told; 2] {
    [(Health::Degraded, Cause::Doubted, Some(now.after(std::time::Duration::from_secs(300)))), WELL]
}

fn empty(_: Timestamp) -> [Told; 2] {
    [(Health::Depleted, Cause::Credit, None); 2]
}

fn capped(_: Timestamp) -> [Told; 2] {
    [(Health::Depleted, Cause::KeyLimit, Some(at("2026-11-25T00:00:00Z"))), WELL]
}

fn busy(now: Timestamp) -> [Told; 2] {
    [(Health::RateLimited, Cause::InFlight, Some(now.after(std::time::Duration::from_secs(120)))); 2]
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
        let stream = !matches!(place, Where::PaddedJson);
        let (used, answer) = self.goes(&dialect.ask(MODEL, stream), &what).await;
        assert_eq!((&*used, answer.status), (&[0][..], 200), "{what}: an answer that began is not asked for again");
        assert!(answer.text().contains(message) && answer.whole, "{what}: {}", answer.text());
        let now = self.house.clock.now();
        let after = self.house.booked().await;
        let [used, sibling] = does(now);
        assert_eq!(self.house.told().await, [used, sibling, WELL], "{what}");
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
}
