//! What a greedy client does to a polite one, by a clock of numbers: a pool of so many places, a client that always has 500
//! requests under way, and one that sends one at a time and thinks in between.
//!
//! What is compared: the 99th percentile of what the polite client sees of a request, waiting and service together, with the
//! greedy one there and without. Nobody who is being served is thrown out, so that even who is first in the line waits for
//! the next place that is free: about a service divided by the number of places. That a request takes at most 1.5 times as
//! long is therefore a promise for pools of some places: eight where services differ in length, sixteen where they do not, for
//! then their ends do not spread. What holds for every pool is said in places: the polite client gets the next one, or the
//! next but one. First come, first served, as the control, keeps neither.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const GREEDY: Who = Some(ClientId(1));
const POLITE: Who = Some(ClientId(2));
/// Requests that the greedy client has under way.
const FLOOD: usize = 500;
/// Requests of the polite client.
const ASKED: usize = 400;
/// What a request takes, in the mean. The unit does not matter.
const SERVICE: u64 = 1_000_000;

/// Who is next.
enum Order {
    Fair(Box<Line>),
    FirstCome(VecDeque<Who>),
}

impl Order {
    fn fair() -> Self {
        Self::Fair(Box::new(Line::new(Bounds { places: 1000, per_client: 1000 })))
    }

    fn first_come() -> Self {
        Self::FirstCome(VecDeque::new())
    }

    fn join(&mut self, who: Who) {
        match self {
            Self::Fair(line) => {
                let share = Share { client: who, weight: Weight::default() };
                line.join(share, Kind(0), None, Prospect::Busy).expect("a place");
            }
            Self::FirstCome(queue) => queue.push_back(who),
        }
    }

    fn next(&mut self) -> Option<Who> {
        match self {
            Self::Fair(line) => {
                let ticket = line.next()?;
                let who = line.tickets[&ticket].who;
                line.served(ticket);
                Some(who)
            }
            Self::FirstCome(queue) => queue.pop_front(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A request is over, and its place is free.
    Over(Who),
    /// The polite client has thought long enough.
    Asks,
}

/// What the polite client saw.
struct Seen {
    /// From asking to the answer.
    took: Vec<u64>,
    /// The most places that others got while it waited.
    passed: u32,
}

impl Seen {
    fn p99(&self) -> u64 {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        sorted[sorted.len() * 99 / 100]
    }
}

/// How long services take.
#[derive(Clone, Copy, Debug)]
enum Services {
    /// All the same.
    Even,
    /// From half to one and a half of the mean.
    Varied,
}

fn run(mut order: Order, places: usize, flood: usize, services: Services, seed: u64) -> Seen {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut events = BinaryHeap::new();
    let mut seen = Seen { took: Vec::new(), passed: 0 };
    let (mut free, mut asked_at, mut passed) = (places, 0, 0);
    for _ in 0..flood {
        order.join(GREEDY);
    }
    events.push(Reverse((dice.random_range(0..SERVICE), Event::Asks)));
    let mut now = 0;
    while seen.took.len() < ASKED {
        while free > 0
            && let Some(who) = order.next()
        {
            free -= 1;
            let took = match services {
                // The first ones began at some time before.
                Services::Even if now == 0 => dice.random_range(1..=SERVICE),
                Services::Even => SERVICE,
                Services::Varied => dice.random_range(SERVICE / 2..=SERVICE * 3 / 2),
            };
            events.push(Reverse((now + took, Event::Over(who))));
            if who == POLITE {
                seen.took.push(now + took - asked_at);
                seen.passed = seen.passed.max(passed);
            }
            passed += 1;
        }
        let Some(Reverse((at, event))) = events.pop() else { unreachable!("something is always to come") };
        now = at;
        match event {
            Event::Over(who) => {
                free += 1;
                if who == POLITE {
                    events.push(Reverse((now + dice.random_range(1..2 * SERVICE), Event::Asks)));
                } else {
                    order.join(GREEDY);
                }
            }
            Event::Asks => {
                (asked_at, passed) = (now, 0);
                order.join(POLITE);
            }
        }
    }
    seen
}

/// What the polite client sees beside a greedy one, by what it sees alone.
fn slower(order: fn() -> Order, places: usize, services: Services, seed: u64) -> f64 {
    let alone = run(order(), places, 0, services, seed).p99();
    let beside = run(order(), places, FLOOD, services, seed).p99();
    beside as f64 / alone as f64
}

#[test]
fn a_greedy_client_slows_a_polite_one_by_half_at_most_at_the_99th_percentile() {
    use Services::{Even, Varied};
    for (services, places) in [(Varied, 8), (Varied, 16), (Varied, 64), (Even, 16), (Even, 64)] {
        for seed in 0..2 {
            let (fair, control) =
                (slower(Order::fair, places, services, seed), slower(Order::first_come, places, services, seed));
            let told = format!("{services:?}, {places} places, seed {seed}: {fair}, first come first served {control}");
            assert!(fair <= 1.5, "{told}");
            assert!(control > 5.0, "the control is no worse: {told}");
        }
    }
}

#[test]
fn whatever_the_pool_a_polite_client_gets_the_next_place_or_the_next_but_one() {
    for places in [1, 2, 3, 4, 16, 64] {
        let passed = |order| run(order, places, FLOOD, Services::Varied, 7).passed;
        let (fair, control) = (passed(Order::fair()), passed(Order::first_come()));
        assert!(fair <= 1, "{places} places: {fair} were served before it");
        assert!(control > 400, "{places} places: {control}");
    }
}
