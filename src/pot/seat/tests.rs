//! Budgets and rates over a pot whose store is real.

use std::time::Duration;

use super::*;
use crate::clients::Terms;
use crate::clock::Clock;
use crate::money::{ClientId, RequestId, Window};
use crate::pool::KeyId;
use crate::pot::guest::tests::{House, NOON, named};
use crate::secret::Secret;
use crate::store::Settlement;
use crate::upstream::Endpoint;

const DAY: Duration = Duration::from_secs(86_400);

fn usd(pico: i64) -> Usd {
    Usd::from_pico(pico)
}

fn budget(window: Window, pico: i64) -> Allowance {
    Allowance { budgets: [(window, usd(pico))].into_iter().collect(), ..Allowance::default() }
}

/// A house with one client.
struct Table {
    house: House,
    key: Secret,
    id: ClientId,
}

impl Table {
    async fn new(allowance: Allowance, per_user: Allowance) -> Self {
        let house = House::new();
        let (key, id) = house.add(Terms { allowance, per_user, ..named("ann") }).await;
        Self { house, key, id }
    }

    fn restart(self) -> Self {
        Self { house: self.house.restart(), ..self }
    }

    fn clock(&self) -> &Clock {
        &self.house.clock
    }

    async fn seat(&self) -> Arc<Seat> {
        self.try_seat(self.key.expose()).await.expect("room")
    }

    async fn try_seat(&self, credential: &str) -> Result<Arc<Seat>, Denied> {
        let guest = self.house.let_in(credential).expect("let in");
        Ok(self.house.pot.take_seat(&guest).await?.expect("it is a client"))
    }

    async fn seat_of(&self, user: &str) -> Result<Arc<Seat>, Denied> {
        let token = self.house.token(&self.key, Some(user)).await.token;
        self.try_seat(token.expose()).await
    }

    /// An attempt of whoever sits there ends so.
    fn ends(&self, seat: &Seat, number: u128, cost: Cost) {
        let known = cost != Cost::Unknown;
        let entry = Entry {
            at: self.house.clock.now(),
            request: RequestId(uuid::Uuid::from_u128(number)),
            attempt: 1,
            key: KeyId(1),
            account: None,
            client: None,
            endpoint: Endpoint::ChatCompletions,
            model: None,
            generation: None,
            tokens: Tokens { prompt: Some(10).filter(|_| known), ..Tokens::default() },
            cost,
            held: None,
            byok: None,
            outcome: if known { Outcome::Answered } else { Outcome::ClientGone },
            status: Some(200),
            duration_ms: 1,
        };
        let pot = &self.house.pot;
        pot.book(entry, None, pot.store().slot().expect("room"), Some(seat));
    }

    async fn spent(&self) -> Usd {
        let view = self.house.pot.client(self.id).await.expect("there");
        view.tab.budgets[0].spent
    }
}

fn short(result: Result<(), Denied>) -> Option<(Shortage, bool)> {
    match result {
        Ok(()) => None,
        Err(Denied::Short { of, user }) => Some((of, user)),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn five_hundred_at_once_at_a_budget_for_twenty() {
    let table = Table::new(budget(Window::Day, 1_000), Allowance::default()).await;
    let mut going = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let seat = table.seat().await;
        going.spawn(async move { (seat.charge(Some(usd(50)), 0).await, seat) });
    }
    let (mut let_in, mut told) = (Vec::new(), 0);
    while let Some(done) = going.join_next().await {
        match done.expect("no panic") {
            (Ok(()), seat) => let_in.push(seat),
            (denied, _) => {
                assert_eq!(short(denied), Some((Shortage::Held, false)));
                told += 1;
            }
        }
    }
    assert_eq!((let_in.len(), told), (20, 480));
    // They cost half of what was held: as many again find room, and then no more.
    for (number, seat) in (1..).zip(let_in) {
        table.ends(&seat, number, Cost::Known(usd(25)));
    }
    assert_eq!(table.spent().await, usd(500));
    let mut seats = Vec::new();
    for _ in 0..10 {
        let seat = table.seat().await;
        assert_eq!(short(seat.charge(Some(usd(50)), 0).await), None);
        seats.push(seat);
    }
    assert_eq!(short(table.seat().await.charge(Some(usd(50)), 0).await), Some((Shortage::Held, false)));
    drop(seats);
    assert_eq!(short(table.seat().await.charge(Some(usd(500)), 0).await), None, "what was not sent is free again");
}

#[tokio::test]
async fn budgets_are_spent_over_restarts_and_turn_at_midnight() {
    let table = Table::new(budget(Window::Day, 1_000), Allowance::default()).await;
    let seat = table.seat().await;
    assert_eq!(short(seat.charge(Some(usd(700)), 0).await), None);
    table.ends(&seat, 1, Cost::Known(usd(650)));
    drop(seat);
    let table = table.restart();
    assert_eq!(table.spent().await, usd(650));
    let dear = table.seat().await.charge(Some(usd(351)), 0).await;
    assert_eq!(short(dear), Some((Shortage::TooDear { leaves: usd(350), until: Some(NOON.next_midnight()) }, false)));
    // The last moment of the day, and the first one of the next.
    let midnight = NOON.next_midnight();
    table.clock().set(Timestamp::from_millis(midnight.as_millis() - 1));
    let seat = table.seat().await;
    assert_eq!(short(seat.charge(Some(usd(350)), 0).await), None);
    table.ends(&seat, 2, Cost::Known(usd(350)));
    drop(seat);
    let spent = table.seat().await.charge(Some(usd(1)), 0).await;
    assert_eq!(short(spent), Some((Shortage::Spent { until: Some(midnight) }, false)));
    table.clock().set(midnight);
    assert_eq!(short(table.seat().await.charge(Some(usd(1_000)), 0).await), None);
    // A clock that is set back over midnight opens nothing.
    table.clock().set(Timestamp::from_millis(midnight.as_millis() - 1));
    assert!(short(table.seat().await.charge(Some(usd(1)), 0).await).is_some());
}

#[tokio::test]
async fn what_is_in_suspense_counts_at_its_worst_until_it_is_found() {
    let table = Table::new(budget(Window::Total, 1_000), Allowance::default()).await;
    let pot = &table.house.pot;
    let seat = table.seat().await;
    assert_eq!(short(seat.charge(Some(usd(900)), 0).await), None);
    table.ends(&seat, 1, Cost::Unknown);
    drop(seat);
    let dear = short(table.seat().await.charge(Some(usd(101)), 0).await);
    assert_eq!(dear, Some((Shortage::TooDear { leaves: usd(100), until: None }, false)));
    pot.store().flush().await.expect("durable");
    let entry =
        pot.store().suspense_of(RequestId(uuid::Uuid::from_u128(1)), 1).await.expect("readable").expect("there");
    let found = Settlement {
        at: NOON,
        cost: usd(40),
        byok: None,
        tokens: Tokens::default(),
        model: None,
        basis: crate::money::Basis::Upstream,
    };
    assert!(pot.settle_suspense(&entry, found).await.expect("written"));
    assert_eq!(table.spent().await, usd(40));
    assert_eq!(short(table.seat().await.charge(Some(usd(960)), 0).await), None);
}

#[tokio::test]
async fn users_have_budgets_of_their_own_within_their_clients() {
    let table = Table::new(budget(Window::Total, 150), budget(Window::Total, 100)).await;
    let (one, two) = (table.seat_of("u1").await.expect("room"), table.seat_of("u2").await.expect("room"));
    assert_eq!(
        short(one.charge(Some(usd(101)), 0).await),
        Some((Shortage::TooDear { leaves: usd(100), until: None }, true))
    );
    assert_eq!(short(one.charge(Some(usd(100)), 0).await), None);
    assert_eq!(short(two.charge(Some(usd(51)), 0).await), Some((Shortage::Held, false)), "the client's is held");
    assert_eq!(short(two.charge(Some(usd(50)), 0).await), None, "and the user's is free again");
    table.ends(&one, 1, Cost::Known(usd(100)));
    drop((one, two));
    let table = table.restart();
    let one = table.seat_of("u1").await.expect("room");
    assert_eq!(short(one.charge(Some(usd(1)), 0).await), Some((Shortage::Spent { until: None }, true)));
    table
        .house
        .pot
        .change_client(table.id, |terms| terms.per_user = budget(Window::Total, 110))
        .await
        .expect("changed");
    assert_eq!(short(one.charge(Some(usd(10)), 0).await), None, "at once");
    assert_eq!(short(table.seat().await.charge(Some(usd(41)), 0).await), Some((Shortage::Held, false)));
}

#[tokio::test]
async fn a_user_who_has_had_enough_takes_nothing_from_the_others() {
    let per_user = Allowance { requests_per_minute: Some(1), tokens_per_minute: Some(100), ..Allowance::default() };
    let allowance = Allowance { requests_per_minute: Some(2), ..Allowance::default() };
    let table = Table::new(allowance, per_user).await;
    let one = table.seat_of("u1").await.expect("room");
    assert_eq!(short(one.charge(None, 60).await), None);
    for _ in 0..5 {
        assert!(matches!(
            table.seat_of("u1").await,
            Err(Denied::Short { of: Shortage::Requests(dry), user: true }) if dry.until == NOON.after(DAY / 1440)
        ));
    }
    let two = table.seat_of("u2").await.expect("the client's second request");
    assert!(matches!(table.seat_of("u3").await, Err(Denied::Short { of: Shortage::Requests(_), user: false })));
    assert!(short(two.charge(None, 101).await).is_none(), "more than the bucket holds, when it is full");
    assert!(short(two.charge(None, 101).await).is_none(), "and again: what was taken is given back first");
    // Ten were used in truth.
    table.ends(&two, 1, Cost::Known(Usd::ZERO));
    table.clock().set(NOON.after(Duration::from_secs(60)));
    let two = table.seat_of("u2").await.expect("room");
    assert_eq!(short(two.charge(None, 100).await), None);
    table.house.pot.store().flush().await.expect("durable");
    assert_eq!(table.house.pot.client(table.id).await.expect("there").sums.refused, 6);
}

#[tokio::test]
async fn a_second_attempt_that_costs_is_booked_in_full() {
    let table = Table::new(budget(Window::Total, 1_000), Allowance::default()).await;
    let seat = table.seat().await;
    assert_eq!(short(seat.charge(Some(usd(100)), 0).await), None);
    assert_eq!(seat.charged().held, Some(usd(100)));
    table.ends(&seat, 1, Cost::Known(usd(90)));
    assert_eq!(seat.charged().held, None, "nothing more is held");
    table.ends(&seat, 2, Cost::Known(usd(80)));
    drop(seat);
    assert_eq!(table.spent().await, usd(170));
    assert_eq!(short(table.seat().await.charge(Some(usd(830)), 0).await), None);
    let table = table.restart();
    assert_eq!(table.spent().await, usd(170));
}

/// What failed was waited for without end: giving up its own hold woke the request that had it.
#[tokio::test]
async fn a_lease_that_cannot_be_had_is_told_at_once_and_is_no_matter_of_the_budget() {
    let table = Table::new(budget(Window::Total, 1_000), Allowance::default()).await;
    let seat = table.seat().await;
    table.house.pot.store().close().expect("closed");
    let denied = seat.charge(Some(usd(10)), 0).await;
    assert!(matches!(denied, Err(Denied::NotLeased)), "{denied:?}");
    assert_eq!(table.house.pot.clients.book().get(table.id).expect("there").live.whole.tab().purse().held(), Usd::ZERO);
}

#[tokio::test]
async fn a_refused_seat_takes_nothing_of_a_users_rate() {
    let allowance = Allowance { concurrency: Some(1), ..Allowance::default() };
    let per_user = Allowance { requests_per_minute: Some(2), ..Allowance::default() };
    let table = Table::new(allowance, per_user).await;
    let first = table.seat_of("u1").await.expect("room");
    for _ in 0..10 {
        assert!(matches!(table.seat_of("u2").await, Err(Denied::Short { of: Shortage::Busy, user: false })));
    }
    drop(first);
    for _ in 0..2 {
        assert!(table.seat_of("u2").await.is_ok());
    }
}

#[tokio::test]
async fn tabs_of_users_who_are_gone_are_let_go_of_and_come_back_as_they_were() {
    let table = Table::new(Allowance::default(), budget(Window::Total, 100)).await;
    let spent = table.seat_of("u1").await.expect("room");
    assert_eq!(short(spent.charge(Some(usd(60)), 0).await), None);
    table.ends(&spent, 1, Cost::Known(usd(60)));
    let member = table.house.pot.member(table.id).expect("there");
    let stays = table.seat_of("u2").await.expect("room");
    drop(spent);
    for user in 100..700 {
        table.house.pot.tab_of_user(&member, crate::money::UserId(user)).await.expect("readable");
    }
    assert!(member.live.users.all().len() < 300, "{}", member.live.users.all().len());
    assert_eq!(short(stays.charge(Some(usd(100)), 0).await), None, "who sits there is still known");
    let again = table.seat_of("u1").await.expect("room");
    let dear = short(again.charge(Some(usd(41)), 0).await);
    assert_eq!(dear, Some((Shortage::TooDear { leaves: usd(40), until: None }, true)));
    assert_eq!(short(again.charge(Some(usd(40)), 0).await), None, "its lease was given back");
}

#[tokio::test]
async fn a_first_budget_waits_for_what_began_without_one() {
    let table = Table::new(Allowance::default(), Allowance::default()).await;
    let before = table.seat().await;
    assert_eq!(short(before.charge(None, 0).await), None);
    let set = |terms: &mut Terms| terms.allowance = budget(Window::Total, 100);
    table.house.pot.change_client(table.id, set).await.expect("changed");
    assert!(table.house.pot.client(table.id).await.expect("there").tab.unbounded);
    assert_eq!(short(table.seat().await.charge(Some(usd(10)), 0).await), Some((Shortage::Held, false)));
    table.ends(&before, 1, Cost::Known(usd(95)));
    drop(before);
    assert_eq!(short(table.seat().await.charge(Some(usd(5)), 0).await), None);
}
