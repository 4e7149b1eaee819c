//! The line over a real pot: who gets a key that is freed, and who is woken for it.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::clients::ClientId;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Flags};
use crate::money::{Limits, ModelGlobs};
use crate::pool::Health;
use crate::pot::KeyRef;
use crate::secret::Credential;
use crate::server::Potluck;

const NOON: Timestamp = Timestamp::from_secs(1_795_521_600);
const HOUR: Duration = Duration::from_secs(3600);

/// A pot with its data.
struct House {
    pot: Arc<Pot>,
    clock: Clock,
    _place: tempfile::TempDir,
}

impl House {
    /// With a key for each of these models, which serves so many at a time.
    async fn new(keys: &[(&str, u32)]) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let data_dir = place.path().to_string_lossy().into_owned();
        let env = |name: &str| (name == "POTLUCK_DATA_DIR").then(|| data_dir.clone());
        let settings = "[clients]\nqueue_max = 600\nqueue_per_client_max = 500\n";
        let config = Config::from_parts(Some(settings), &env, &Flags::default()).expect("good settings");
        let clock = Clock::manual(NOON);
        let pot = Arc::clone(Potluck::open_at(config, clock.clone()).expect("potluck opens").pot());
        for (n, (model, most)) in keys.iter().enumerate() {
            let key = Credential::parse(&format!("sk-or-v1-{n:064x}")).expect("a key");
            let id = pot.donate_unseen(key).await.expect("written").expect("new").id;
            let (models, concurrency) = (ModelGlobs::new([*model]), Some(*most));
            let limits = |all: &mut Limits| (all.models, all.concurrency) = (models, concurrency);
            pot.change_limits(KeyRef::Id(id), limits).await.expect("written");
        }
        Self { pot, clock, _place: place }
    }

    fn choose(&self, client: u32, model: &str) -> Option<Chosen> {
        match self.pot.choose_in_turn(Some(ClientId(client)), &want(model)) {
            Choice::Key(chosen) => Some(chosen),
            Choice::None(_) => None,
        }
    }

    fn line_up(&self, client: u32, model: &str) -> Result<Place<'_>, Full> {
        let share = Share { client: Some(ClientId(client)), ..Share::default() };
        self.pot.line_up(share, &want(model), Prospect::Busy)
    }

    fn wait(&self, client: u32, model: &str) -> Place<'_> {
        self.line_up(client, model).expect("a place")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.pot.store().close().expect("closed");
    }
}

fn want(model: &str) -> Want<'_> {
    Want {
        lane: Lane::Paid,
        model: Some(model),
        conversation: None,
        tried: &[],
        avoid: &[],
        richest: false,
        fallbacks: &[],
        worst: Worst::Unknown,
    }
}

/// Whether it was woken, and with which key.
fn rung(place: &Place<'_>) -> Option<Option<Chosen>> {
    match pin!(place.key(HOUR, None)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(key) => Some(key),
        Poll::Pending => None,
    }
}

fn handed(place: &Place<'_>) -> Option<Chosen> {
    rung(place).flatten()
}

#[tokio::test]
async fn a_key_that_is_freed_goes_to_whose_turn_it_is_and_to_nobody_else() {
    let house = House::new(&[("a", 1)]).await;
    let mut key = house.choose(1, "a").expect("free");
    let greedy: Vec<_> = (0..500).map(|_| house.wait(1, "a")).collect();
    assert!(greedy.iter().all(|place| rung(place).is_none()));
    let polite = house.wait(2, "a");
    assert_eq!(house.pot.waiting(), 501);
    for turn in [&greedy[0], &polite, &greedy[1], &greedy[2]] {
        house.pot.unsent(&key);
        assert!(house.choose(3, "a").is_none(), "it was handed over before anybody who comes could take it");
        key = handed(turn).expect("its turn");
    }
    assert_eq!(house.pot.waiting(), 497);
    // The first one of all kept watch, and somebody else does now.
    let woken: Vec<_> = greedy[3..].iter().filter_map(rung).collect();
    assert!(woken.len() == 1 && woken[0].is_none());
}

#[tokio::test]
async fn whoever_leaves_with_a_key_in_the_hand_passes_it_on() {
    let house = House::new(&[("a", 1)]).await;
    let key = house.choose(1, "a").expect("free");
    let [first, second, third] = [1, 2, 3].map(|client| house.wait(client, "a"));
    drop(second);
    house.pot.unsent(&key);
    drop(first);
    assert!(handed(&third).is_some());
    assert_eq!(house.pot.waiting(), 0);
}

#[tokio::test]
async fn what_is_freed_between_a_look_and_joining_the_line_is_not_missed() {
    let house = House::new(&[("a", 1)]).await;
    let key = house.choose(1, "a").expect("free");
    assert!(house.choose(2, "a").is_none());
    house.pot.unsent(&key);
    assert!(handed(&house.wait(2, "a")).is_some());
}

#[tokio::test]
async fn a_key_that_the_clock_brings_back_is_for_those_in_line_too() {
    let house = House::new(&[("a", 1)]).await;
    let [id] = house.pot.pool().keys(NOON).map(|key| key.id).collect::<Vec<_>>()[..] else { panic!("one key") };
    house.pot.set_health(KeyRef::Id(id), Health::Degraded, None, None).await.expect("written");
    let [first, second] = [1, 2].map(|client| house.wait(client, "a"));
    assert!(rung(&first).is_some_and(|key| key.is_none()), "it is told that no key is just busy, as it had said");
    house.clock.set(NOON.after(HOUR));
    assert!(house.choose(3, "a").is_none(), "nobody has looked yet, and others wait for it");
    assert!(second.key(Duration::ZERO, Some(Duration::ZERO)).await.is_none(), "it does not keep watch");
    assert!(first.key(HOUR, Some(Duration::ZERO)).await.is_some(), "whose turn it is, and who looked");
}

#[tokio::test]
async fn who_waits_for_something_else_is_in_nobodys_way() {
    let house = House::new(&[("a", 1), ("b", 1)]).await;
    let a = house.choose(1, "a").expect("free");
    let waiting: Vec<_> = (0..100).map(|_| house.wait(1, "a")).collect();
    let b = house.choose(1, "b").expect("nobody waits for that");
    let other = house.wait(1, "b");
    house.pot.unsent(&b);
    assert!(handed(&other).is_some() && waiting.iter().all(|place| rung(place).is_none()));
    house.pot.unsent(&a);
    assert!(handed(&waiting[0]).is_some() && rung(&waiting[1]).is_none());
}

#[tokio::test]
async fn several_keys_at_once_serve_several_and_a_larger_limit_everybody() {
    let house = House::new(&[("a", 1)]).await;
    let _key = house.choose(1, "a").expect("free");
    let waiting: Vec<_> = (0..50).map(|n| house.wait(n % 7, "a")).collect();
    let [id] = house.pot.pool().keys(NOON).map(|key| key.id).collect::<Vec<_>>()[..] else { panic!("one key") };
    for (most, served) in [(4, 3), (4, 0), (40, 36), (60, 11)] {
        house.pot.change_limits(KeyRef::Id(id), |all| all.concurrency = Some(most)).await.expect("written");
        assert_eq!(waiting.iter().filter_map(handed).count(), served, "at most {most} at a time");
    }
}

#[tokio::test]
async fn a_key_that_comes_new_serves_those_in_line() {
    let house = House::new(&[("a", 1)]).await;
    let _key = house.choose(1, "a").expect("free");
    let waiting = house.wait(1, "a");
    let new = Credential::parse(&format!("sk-or-v1-{:064x}", 77)).expect("a key");
    house.pot.donate_unseen(new).await.expect("written");
    assert!(handed(&waiting).is_some());
}

#[tokio::test]
async fn everybody_is_told_when_there_is_nothing_to_wait_for_any_more() {
    let house = House::new(&[("a", 1), ("b", 1)]).await;
    let key = house.choose(1, "a").expect("free");
    let waiting: Vec<_> = (0..20).map(|n| house.wait(n, "a")).collect();
    let _b = house.choose(1, "b").expect("free");
    let other = house.wait(1, "b");
    house.pot.withdraw(KeyRef::Id(key.key)).await.expect("written");
    assert!(waiting.iter().all(|place| rung(place).is_some_and(|key| key.is_none())));
    assert_eq!(house.pot.outlook(&want("a")).reason, NoKey::ModelNotAllowed);
    assert!(rung(&other).is_none());
}

#[tokio::test]
async fn the_line_is_bounded() {
    let house = House::new(&[("a", 1)]).await;
    let _key = house.choose(1, "a").expect("free");
    let mut places: Vec<_> = (0..500).map(|_| house.wait(1, "a")).collect();
    assert_eq!(house.line_up(1, "a").err(), Some(Full::Client));
    places.extend((0..100).map(|_| house.wait(2, "a")));
    assert_eq!(house.line_up(2, "a").err(), Some(Full::Line));
    places.truncate(100);
    assert!(house.line_up(1, "a").is_ok());
    drop(places);
    assert_eq!(house.pot.waiting(), 0);
}

/// Nobody looks by the clock here: a wakeup that were lost would be waited for in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wakeup_is_lost_and_no_key_whoever_comes_and_goes() {
    const AT_A_TIME: usize = 3;
    let house = Arc::new(House::new(&[("a", AT_A_TIME as u32)]).await);
    let under_way = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..60 {
        let (house, under_way) = (Arc::clone(&house), Arc::clone(&under_way));
        tasks.spawn(async move {
            for round in 0..50 {
                let key = match house.choose(n % 5, "a") {
                    Some(key) => key,
                    None => {
                        let place = house.wait(n % 5, "a");
                        if (n + round) % 4 == 0 {
                            // This one does not wait for its turn, which may have come.
                            tokio::task::yield_now().await;
                            continue;
                        }
                        loop {
                            place.bell.rings.notified().await;
                            if let Some(key) = place.bell.key().take() {
                                break key;
                            }
                        }
                    }
                };
                assert!(under_way.fetch_add(1, Ordering::AcqRel) < AT_A_TIME);
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, Ordering::AcqRel);
                house.pot.unsent(&key);
            }
        });
    }
    tokio::time::timeout(Duration::from_secs(60), tasks.join_all()).await.expect("everybody had a turn");
    assert_eq!(house.pot.waiting(), 0);
    assert!(house.pot.pool().keys(NOON).all(|key| key.in_flight == 0));
}
