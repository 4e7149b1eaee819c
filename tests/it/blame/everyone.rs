//! A limit that does not say whose it is: of one key's it is nothing, of most accounts' at once it is the proxy's.

use std::time::Duration;

use potluck::pool::Health;
use potluck::simulator::{Play, Script};
use serde_json::json;

use crate::support::{Ask, House, MODEL, chat};

const CHAT: &str = "/api/v1/chat/completions";

impl House {
    /// Every request is told "Rate limit exceeded" and no more.
    fn limit_everybody(&self) {
        self.sim.script(Script::always(Play::refuse("429-bare")));
    }

    /// So many requests, each of which goes up and comes back with that answer.
    async fn turned_away(&self, ask: &Ask, times: usize) {
        let before = self.went_up().len();
        let answers = self.ask_often(ask, times).await;
        assert!(answers.iter().all(|answer| answer.status == 429), "{answers:?}");
        assert_eq!(self.went_up().len(), before + times);
    }

    fn alarms(&self) -> Option<String> {
        let text = self.pot.metrics().encode().unwrap();
        let of_everyone = "potluck_alarms_total{reason=\"everyone_limited\"} ";
        text.lines().find_map(|line| line.strip_prefix(of_everyone)).map(str::to_owned)
    }
}

#[tokio::test]
async fn everyone_rests_when_most_accounts_are_limited_at_once() {
    let house = House::new(4, "").await;
    house.settled_in().await;
    let ask = Ask::post(CHAT, chat(MODEL));
    house.limit_everybody();
    house.turned_away(&ask, 3).await;
    let silenced = house.ask(&ask).await;
    assert_eq!((silenced.status, silenced.header("retry-after")), (503, Some("10")), "{}", silenced.text());
    assert_eq!(silenced.json()["error"]["code"], json!("all_keys_limited"));
    assert_eq!(house.went_up().len(), 3);
    assert_eq!(house.alarms().as_deref(), Some("1"));
    assert!(house.told().await.iter().all(|(health, ..)| *health == Health::Healthy), "no key is blamed");
    house.pass(Duration::from_secs(10));
    house.sim.clear_scripts();
    assert_eq!(house.ask(&ask).await.status, 200);
}

#[tokio::test]
async fn one_key_or_one_conversation_silences_nobody() {
    let house = House::new(4, "").await;
    house.settled_in().await;
    house.limit_everybody();
    house.turned_away(&Ask::post(CHAT, chat(MODEL)).header("x-session-id", "one"), 12).await;
    assert_eq!(house.used(), [house.used()[0]; 12], "it stays with its key");
    house.sim.clear_scripts();
    let others = house.ask_often(&Ask::post(CHAT, chat(MODEL)), 4).await;
    assert!(others.iter().all(|answer| answer.status == 200), "{others:?}");
    let alone = House::new(1, "").await;
    alone.limit_everybody();
    alone.turned_away(&Ask::post(CHAT, chat(MODEL)), 12).await;
    assert_eq!((house.alarms(), alone.alarms()), (None, None));
}
