//! Every row of `openrouter-api.md` 5.2, by the name that the simulator has for it (fixture 9).

use potluck::clock::Timestamp;
use potluck::pool::{Cause, Health};
use potluck::pot::Overview;
use potluck::simulator::{Play, Script, error_names};

use crate::support::{Answer, MODEL, Told, at};

use super::{Dialect, Table};

const MIDNIGHT: Due = Due::At("2026-11-25T00:00:00Z");
const MONDAY: Due = Due::At("2026-11-30T00:00:00Z");
const FIRST: Due = Due::At("2026-12-01T00:00:00Z");
/// A model of an author that no row is about.
const OTHER_AUTHOR: &str = "mistralai/mistral-small-3.2-24b-instruct";
const FREE: &str = "meta-llama/llama-3.3-70b-instruct:free";

/// Where the request goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    /// To the client.
    Back,
    /// To another key, perhaps of the same account.
    Key,
    /// To another account, and on.
    Account,
    /// To another account, once.
    Once,
}

/// When a key is back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Never,
    In(u64),
    At(&'static str),
}

impl Due {
    fn from(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::In(secs) => Some(now.after(std::time::Duration::from_secs(secs))),
            Self::At(text) => Some(at(text)),
        }
    }
}

/// What happens to the key that was used, 0, and to its sibling, 1; nothing ever happens to 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Nothing,
    Key(Health, Cause, Due),
    Account(Health, Cause, Due),
    /// The free lane of the account is closed until then.
    FreeLane(Due),
    /// The account is not asked for this model.
    Away,
    /// Nobody is asked for anything.
    Everyone(u64),
}

const CREDIT: Does = Does::Account(Health::Depleted, Cause::Credit, Due::Never);
const BUDGET: Does = Does::Account(Health::Depleted, Cause::Budget, FIRST);

const fn key_limit(due: Due) -> Does {
    Does::Key(Health::Depleted, Cause::KeyLimit, due)
}

/// The table, with every discriminator in the body.
fn row(name: &str) -> (Goes, Does) {
    use Does::{Away, Nothing};
    match name {
        "400-model" | "400-input" | "400-zod" | "400-context" => (Goes::Back, Nothing),
        "401-cookie" | "401-none" | "401-missing" => (Goes::Key, Nothing),
        "401-user" => (Goes::Key, Does::Key(Health::Degraded, Cause::Doubted, Due::In(300))),
        "402-credits" | "402-never-purchased" | "402-nested" | "402-previous" => (Goes::Account, CREDIT),
        "402-afford" | "402-afford-add" | "402-prompt" | "402-capacity" | "402-weight" => (Goes::Account, Nothing),
        "402-afford-key-daily"
        | "402-afford-key-weekly"
        | "402-afford-key-monthly"
        | "402-afford-key-total"
        | "402-prompt-key"
        | "402-leaky" => (Goes::Key, Nothing),
        "402-in-flight" => (Goes::Account, Does::Account(Health::RateLimited, Cause::InFlight, Due::In(120))),
        "402-key-limit" | "403-key-total" | "403-key-bare" => (Goes::Key, key_limit(Due::Never)),
        "403-key-daily" | "403-key-source" => (Goes::Key, key_limit(MIDNIGHT)),
        "403-key-weekly" => (Goes::Key, key_limit(MONDAY)),
        "403-key-monthly" => (Goes::Key, key_limit(FIRST)),
        "403-guardrail-budget" | "403-workspace-budget" | "403-workspace-text" => (Goes::Account, BUDGET),
        "403-management" | "403-moderation" | "403-moderation-planted" | "403-policy" | "403-refusal" => {
            (Goes::Back, Nothing)
        }
        "403-injection" => (Goes::Once, Nothing),
        "403-region" | "403-author" | "403-country" | "403-own-key" | "404-privacy" | "404-providers" => {
            (Goes::Once, Away)
        }
        "403-ip" => (Goes::Key, Does::Key(Health::Degraded, Cause::Barred, Due::In(300))),
        "403-cloudflare" | "429-cloudflare" => (Goes::Back, Does::Everyone(30)),
        "404-path" | "404-endpoints" | "404-tools" | "404-price" | "404-html" => (Goes::Back, Nothing),
        "408" | "504" | "504-aborted" | "524" | "413-image" | "413-payload" | "422" => (Goes::Back, Nothing),
        "429-free-day" | "429-free-day-high" => (Goes::Account, Does::FreeLane(MIDNIGHT)),
        "429-free-minute" => (Goes::Account, Does::FreeLane(Due::In(60))),
        "429-provider" | "429-bare" => (Goes::Back, Nothing),
        "429-own-key" => (Goes::Once, Away),
        "500" | "502" | "502-html" | "503" | "503-retry" | "503-availability" | "529" => (Goes::Back, Nothing),
        _ => panic!("{name} is in no row of the table"),
    }
}

/// What is left of a row where the body has lost its metadata, as `/responses` and `/messages` bodies often have.
fn bare_row(name: &str) -> (Goes, Does) {
    match name {
        // Texts that tell nothing by themselves: an unknown 403 blames nobody and is not spread.
        "403-key-source" | "403-guardrail-budget" | "403-workspace-budget" | "403-country" => {
            (Goes::Back, Does::Nothing)
        }
        // Whose key was limited is not told, so it was the provider's shared pool.
        "429-own-key" => (Goes::Back, Does::Nothing),
        name => row(name),
    }
}

fn status(name: &str) -> u16 {
    name.split('-').next().unwrap().parse().unwrap()
}

impl Table {
    /// Key 0 refuses, the others serve: the client sees nothing of it where another one is tried.
    async fn one_refuses(&self, dialect: Dialect, name: &str, full: bool, (goes, does): (Goes, Does)) {
        let what = format!("{dialect:?} {name}, full: {full}");
        self.cleared().await;
        let play = Play { full_metadata: Some(full), ..Play::refuse(name) };
        self.house.sim.script(Script::always(play).on_key(0));
        let now = self.house.clock.now();
        let (used, answer) = self.goes(&dialect.ask(MODEL, false), &what).await;
        let expected: (&[usize], u16) = match goes {
            Goes::Back => (&[0], status(name)),
            Goes::Key => (&[0, 1], 200),
            Goes::Account | Goes::Once => (&[0, 2], 200),
        };
        // After a refusal for the request's size the richest of the others comes next, which may be the other account's.
        let richer = goes == Goes::Key && used == [0, 2];
        assert!(richer || *used == *expected.0, "{what}: {used:?}: {}", answer.text());
        assert_eq!(answer.status, expected.1, "{what}: {}", answer.text());
        if answer.status != 200 {
            check_refusal(dialect, &answer, &what);
        }
        self.check_keys(does, now, &what).await;
        self.check_next(does, &what).await;
    }

    /// The state of all three keys.
    async fn check_keys(&self, does: Does, now: Timestamp, what: &str) {
        let nobody: Told = (Health::Healthy, Cause::Operator, None);
        let told = |health, cause, due: Due| (health, cause, due.from(now));
        let (used, sibling) = match does {
            Does::Key(health, cause, due) => (told(health, cause, due), nobody),
            Does::Account(health, cause, due) => (told(health, cause, due), told(health, cause, due)),
            _ => (nobody, nobody),
        };
        assert_eq!(self.house.told().await, [used, sibling, nobody], "{what}");
        let free_until = if let Does::FreeLane(due) = does { due.from(now) } else { None };
        for (place, expected) in [(0, free_until), (1, free_until), (2, None)] {
            let free = self.house.state(place).await.free_until;
            // The minute's allowance turns at the full minute, which is not further off than that.
            let within_the_minute = does == Does::FreeLane(Due::In(60)) && free > Some(now) && free <= expected;
            assert!(free == expected || within_the_minute, "{what}: {free:?}");
        }
    }

    /// What the next request meets, when nobody refuses any more.
    async fn check_next(&self, does: Does, what: &str) {
        self.house.sim.clear_scripts();
        self.house.silence_probes();
        let next = async |model: &str| {
            let (used, answer) = self.goes(&Dialect::Chat.ask(model, false), what).await;
            (used, answer.status)
        };
        let served_by = |key| (vec![key], 200);
        let model = match does {
            Does::Nothing | Does::FreeLane(_) => served_by(0),
            Does::Key(..) => served_by(1),
            Does::Account(..) | Does::Away => served_by(2),
            Does::Everyone(_) => (vec![], 503),
        };
        assert_eq!(next(MODEL).await, model, "{what}: the same model next");
        let another = if does == Does::Away { served_by(0) } else { model };
        assert_eq!(next(OTHER_AUTHOR).await, another, "{what}: another author's model next");
        if let Does::FreeLane(_) = does {
            assert_eq!(next(FREE).await, served_by(2), "{what}: a free model next");
        }
        if let Does::Everyone(secs) = does {
            let answer = self.ask(&Dialect::Chat.ask(MODEL, false), what).await;
            assert_eq!(retry_after(&answer), Some(secs), "{what}");
        }
    }

    /// All keys refuse, by the model's name: what the client gets then, and how many were tried.
    async fn all_refuse(&self, dialect: Dialect, name: &str, (goes, does): (Goes, Does)) {
        let what = format!("{dialect:?} {name} by all");
        self.cleared().await;
        let now = self.house.clock.now();
        let (mut used, answer) = self.goes(&dialect.ask(&format!("sim/fixture-9-{name}"), false), &what).await;
        // The richest comes next after a refusal for the request's size.
        used.sort_unstable();
        let expected: (&[usize], u16) = match goes {
            Goes::Back => (&[0], status(name)),
            Goes::Key => (&[0, 1, 2], 503),
            Goes::Account => (&[0, 2], 503),
            Goes::Once => (&[0, 2], status(name)),
        };
        assert_eq!((&*used, answer.status), expected, "{what}: {}", answer.text());
        check_refusal(dialect, &answer, &what);
        if answer.status == 503 && goes != Goes::Back {
            let due = match does {
                Does::Key(_, _, due) | Does::Account(_, _, due) => due.from(now),
                _ => None,
            };
            let expected = due.map(|due| due.since(now).as_millis().div_ceil(1000) as u64);
            assert_eq!(retry_after(&answer), expected, "{what}: {}", answer.text());
        }
    }
}

impl Table {
    /// Refusals cost nothing, and what was paid is in the books. A time-out at the edge names no generation that could
    /// be asked about: its cost is unknown until the key's own usage tells.
    async fn check_books(&self) {
        self.house.sim.clear_scripts();
        let settled = |o: &Overview| o.in_flight == 0 && o.suspense.open == 0;
        let overview = self.house.until("all is settled", settled).await;
        assert_eq!(i128::from(overview.spent_total.as_pico()), self.house.sim.bill().total.0);
    }
}

/// A refusal is in the dialect of its endpoint, and is not about some donor's money.
fn check_refusal(dialect: Dialect, answer: &Answer, what: &str) {
    dialect.error(answer);
    assert!(!matches!(answer.status, 401 | 402), "{what}");
    for page in ["openrouter.ai/settings/credits", "openrouter.ai/settings/keys"] {
        assert!(!answer.text().contains(page), "{what}: {}", answer.text());
    }
}

fn retry_after(answer: &Answer) -> Option<u64> {
    answer.header("retry-after").map(|text| text.parse().unwrap())
}

async fn check_all(dialect: Dialect) {
    let table = Table::laid().await;
    for name in error_names() {
        table.one_refuses(dialect, name, true, row(name)).await;
        let bare = if dialect == Dialect::Chat { row(name) } else { bare_row(name) };
        table.all_refuse(dialect, name, bare).await;
        if dialect != Dialect::Chat {
            table.one_refuses(dialect, name, false, bare).await;
        }
    }
    table.cleared().await;
    table.check_books().await;
}

#[tokio::test]
async fn every_refusal_of_chat_does_what_the_table_says() {
    check_all(Dialect::Chat).await;
}

#[tokio::test]
async fn every_refusal_of_responses_does_what_the_table_says() {
    check_all(Dialect::Responses).await;
}

#[tokio::test]
async fn every_refusal_of_messages_does_what_the_table_says() {
    check_all(Dialect::Messages).await;
}
