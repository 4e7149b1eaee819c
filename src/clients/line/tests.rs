//! The line against what it promises: in tables, and over any history.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ROOMY: Bounds = Bounds { places: 10_000, per_client: 10_000 };
const CENT: i64 = 10_000_000_000;

fn share(client: u32, weight: u32) -> Share {
    Share { client: Some(ClientId(client)), weight: Weight::new(weight).expect("a weight") }
}

fn join(line: &mut Line, client: u32, kind: u64) -> TicketId {
    line.join(share(client, 1), Kind(kind), None, Prospect::Busy).expect("a place")
}

/// Let everybody look for whom there may be a key, and give away as many as there are of each kind. Who got one, and how
/// many looked.
fn look(line: &mut Line, kinds: &BTreeMap<TicketId, u64>, keys: &mut BTreeMap<u64, u32>) -> (Vec<TicketId>, usize) {
    let (mut served, mut looks) = (Vec::new(), 0);
    while let Some(ticket) = line.next() {
        looks += 1;
        match keys.get_mut(&kinds[&ticket]).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                line.served(ticket);
                served.push(ticket);
            }
            None => drop(line.found_none(ticket, Prospect::Busy)),
        }
    }
    (served, looks)
}

/// As many of those who wait as there are keys, in the order in which they get one.
fn serve(line: &mut Line, keys: usize) -> Vec<TicketId> {
    line.reopen();
    (0..keys)
        .map_while(|_| {
            let ticket = line.next()?;
            line.served(ticket);
            Some(ticket)
        })
        .collect()
}

#[test]
fn clients_take_turns_and_each_is_served_in_its_own_order() {
    let mut line = Line::new(ROOMY);
    let a: Vec<_> = (0..4).map(|_| join(&mut line, 1, 0)).collect();
    let b: Vec<_> = (0..2).map(|_| join(&mut line, 2, 0)).collect();
    let c = join(&mut line, 3, 0);
    assert_eq!(serve(&mut line, 9), [a[0], b[0], c, a[1], b[1], a[2], a[3]]);
    assert!(line.is_empty() && line.clients.is_empty() && line.lots.is_empty() && line.debtors.is_empty());
}

#[test]
fn who_comes_new_is_up_at_once_and_one_that_comes_back_waits_for_what_it_had() {
    let mut line = Line::new(ROOMY);
    let greedy: Vec<_> = (0..500).map(|_| join(&mut line, 1, 0)).collect();
    assert_eq!(serve(&mut line, 100), greedy[..100]);
    let polite = join(&mut line, 2, 0);
    assert_eq!(serve(&mut line, 2), [polite, greedy[100]]);
    let [next, after] = [(); 2].map(|()| join(&mut line, 2, 0));
    assert_eq!(serve(&mut line, 4), [next, greedy[101], after, greedy[102]], "in turn from then on");
}

#[test]
fn anonymous_guests_are_one_client_together() {
    let mut line = Line::new(ROOMY);
    let anybody = Share::default();
    let mut anonymous = || line.join(anybody, Kind(0), None, Prospect::Busy).expect("a place");
    let [first, second] = [anonymous(), anonymous()];
    let ann = join(&mut line, 1, 0);
    assert_eq!(serve(&mut line, 3), [first, ann, second]);
}

#[test]
fn a_share_follows_from_weight_and_from_what_is_asked_for() {
    let mut line = Line::new(ROOMY);
    let mut owners = BTreeMap::new();
    for (client, weight, cents) in [(1, 1, 1), (2, 3, 1), (3, 3, 3), (4, 1, 0)] {
        for _ in 0..1000 {
            let cost = Some(Usd::from_pico(CENT * cents));
            let ticket = line.join(share(client, weight), Kind(0), cost, Prospect::Busy).expect("a place");
            owners.insert(ticket, client);
        }
    }
    let mut counts = [0; 4];
    for ticket in serve(&mut line, 1500) {
        counts[owners[&ticket] as usize - 1] += 1;
    }
    // What costs nothing counts as a tenth of a cent.
    assert_eq!(counts, [100, 300, 100, 1000]);
}

#[test]
fn nobody_waits_beyond_the_bounds() {
    let mut line = Line::new(Bounds { places: 5, per_client: 3 });
    let first = join(&mut line, 1, 0);
    join(&mut line, 1, 1);
    join(&mut line, 1, 2);
    let try_join = |line: &mut Line, client| line.join(share(client, 1), Kind(0), None, Prospect::Busy);
    assert_eq!(try_join(&mut line, 1), Err(Full::Client));
    assert!(try_join(&mut line, 2).is_ok() && try_join(&mut line, 3).is_ok());
    assert_eq!((try_join(&mut line, 4), line.len()), (Err(Full::Line), 5));
    line.leave(first);
    assert!(try_join(&mut line, 1).is_ok());
}

#[test]
fn one_that_cannot_be_served_is_in_nobodys_way_and_does_not_look_again_in_vain() {
    let mut line = Line::new(ROOMY);
    let mut kinds = BTreeMap::new();
    for n in 0..5000 {
        kinds.insert(join(&mut line, n % 50, 7), 7);
    }
    let other = join(&mut line, 1, 8);
    kinds.insert(other, 8);
    let mut keys = BTreeMap::from([(8, 2)]);
    let (served, looks) = look(&mut line, &kinds, &mut keys);
    assert_eq!((served, looks), (vec![other], 2), "the first of five thousand has looked for all");
    assert!(line.has_alike(None, Kind(7)) && !line.has_alike(None, Kind(8)));
    let late = join(&mut line, 9, 8);
    kinds.insert(late, 8);
    assert_eq!(look(&mut line, &kinds, &mut keys), (vec![late], 1), "nobody else looks for its sake");
    kinds.insert(join(&mut line, 9, 7), 7);
    assert_eq!(look(&mut line, &kinds, &mut keys), (vec![], 0), "one like that has looked already");
    line.reopen();
    assert_eq!(look(&mut line, &kinds, &mut keys), (vec![], 1));
    line.reopen();
    keys.insert(7, 1);
    let (served, looks) = look(&mut line, &kinds, &mut keys);
    assert_eq!((served.len(), looks), (1, 2), "a free key costs two looks, however many wait");
}

#[test]
fn one_client_cannot_have_everybody_look_a_thousand_times() {
    let mut line = Line::new(ROOMY);
    let kinds: BTreeMap<_, _> = (0..1000).map(|kind| (join(&mut line, 1, kind), kind)).collect();
    let (_, looks) = look(&mut line, &kinds, &mut BTreeMap::new());
    assert_eq!(looks, LOTS_PER_CLIENT + 1);
    assert!(line.has_alike(Some(ClientId(1)), Kind(4711)), "whatever else it wants waits behind those");
    assert!(!line.has_alike(Some(ClientId(2)), Kind(4711)));
    line.reopen();
    let every: BTreeMap<_, _> = (0..1000).map(|kind| (kind, 1)).collect();
    let (served, _) = look(&mut line, &kinds, &mut every.clone());
    assert!(served.iter().eq(kinds.keys()), "all the same it is served, in its order");
}

#[test]
fn somebody_keeps_watch_in_each_lot() {
    let mut line = Line::new(ROOMY);
    let [a, b, c, other] = [(1, 0), (2, 0), (2, 0), (1, 1)].map(|(client, kind)| join(&mut line, client, kind));
    let watching = |line: &Line| [a, b, c, other].map(|ticket| line.keeps_watch(ticket));
    assert_eq!(watching(&line), [true, false, false, true]);
    assert_eq!(line.served(a), Some(c), "who will be there for the longest");
    assert_eq!(line.leave(b), None);
    assert_eq!(watching(&line), [false, false, true, true]);
    assert_eq!((line.leave(other), line.leave(other)), (None, None), "nobody is left there");
    assert_eq!((line.found_none(c, Prospect::Busy), line.found_none(c, Prospect::Due)), (false, true));
    assert!(line.alike(c).eq([c]) && line.alike(a).next().is_none());
    line.reopen_alike(c);
    assert_eq!((line.next(), line.leave(c), line.len()), (Some(c), None, 0));
}

#[test]
fn who_could_not_be_served_for_long_has_saved_nothing_up() {
    let mut line = Line::new(ROOMY);
    let blocked: Vec<_> = (0..100).map(|_| join(&mut line, 1, 1)).collect();
    let others: Vec<_> = (0..200).map(|_| join(&mut line, 2, 0)).collect();
    line.found_none(blocked[0], Prospect::Busy);
    for ticket in &others[..100] {
        assert_eq!(line.next(), Some(*ticket));
        line.served(*ticket);
    }
    let both = [blocked[0], blocked[1], others[100], blocked[2], others[101], blocked[3]];
    assert_eq!(serve(&mut line, 6), both, "in turn, and not a hundred in a row");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Join { client: u32, kind: u64, cost: i64 },
    Leave { which: usize },
    Free { kind: u64, keys: u32 },
    Ring { which: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0_u32..6, 0_u64..5, 0_i64..5).prop_map(|(client, kind, cost)| Step::Join { client, kind, cost }),
        1 => (0_usize..100).prop_map(|which| Step::Leave { which }),
        3 => (0_u64..5, 0_u32..4).prop_map(|(kind, keys)| Step::Free { kind, keys }),
        1 => (0_usize..100).prop_map(|which| Step::Ring { which }),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Over any history: no key is left over that somebody waits for, nobody passes another one of its client that wants
    /// the like, the bounds hold, looks are bounded by what is wanted, and in the end nothing is left.
    #[test]
    fn it_conserves_work_and_order_and_its_bounds(steps in steps()) {
        let bounds = Bounds { places: 40, per_client: 15 };
        let mut line = Line::new(bounds);
        // In the order in which they came.
        let mut waiting: Vec<(TicketId, u32, u64)> = Vec::new();
        let (mut kinds, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for step in steps {
            let mut changed = false;
            match step {
                Step::Join { client, kind, cost } => {
                    let of_client = waiting.iter().filter(|(_, who, _)| *who == client).count();
                    let full = match () {
                        () if of_client >= bounds.per_client => Some(Full::Client),
                        () if waiting.len() >= bounds.places => Some(Full::Line),
                        () => None,
                    };
                    let cost = (cost > 0).then(|| Usd::from_pico(CENT * cost));
                    let joined = line.join(share(client, client + 1), Kind(kind), cost, Prospect::Busy);
                    prop_assert_eq!(joined.err(), full);
                    if let Ok(ticket) = joined {
                        waiting.push((ticket, client, kind));
                        kinds.insert(ticket, kind);
                    }
                }
                Step::Leave { which } if !waiting.is_empty() => {
                    let (ticket, ..) = waiting.remove(which % waiting.len());
                    line.leave(ticket);
                }
                Step::Free { kind, keys: more } => {
                    *keys.entry(kind).or_default() += more;
                    line.reopen();
                    changed = true;
                }
                Step::Ring { which } if !waiting.is_empty() => line.reopen_alike(waiting[which % waiting.len()].0),
                Step::Leave { .. } | Step::Ring { .. } => {}
            }
            let (served, looks) = look(&mut line, &kinds, &mut keys);
            let in_vain = if changed { 5 } else { 1 };
            prop_assert!(looks <= served.len() + in_vain);
            for ticket in served {
                let at = waiting.iter().position(|(id, ..)| *id == ticket).expect("it waited");
                let (_, client, kind) = waiting.remove(at);
                let passed = waiting[..at].iter().any(|(_, who, what)| (*who, *what) == (client, kind));
                prop_assert!(!passed, "in the order in which they came");
            }
            prop_assert_eq!(line.len(), waiting.len());
            for (ticket, _, kind) in &waiting {
                prop_assert_eq!(keys.get(kind).copied().unwrap_or_default(), 0, "{:?} could be served", ticket);
                let alike = waiting.iter().filter(|(.., what)| what == kind);
                prop_assert_eq!(line.alike(*ticket).count(), alike.clone().count());
                prop_assert_eq!(alike.filter(|(id, ..)| line.keeps_watch(*id)).count(), 1);
            }
        }
        for (ticket, ..) in waiting {
            line.leave(ticket);
        }
        prop_assert!(line.clients.is_empty() && line.lots.is_empty() && line.open.is_empty() && line.debtors.is_empty());
    }

    /// While several wait all the time, each has got its share at every moment, but for two requests.
    #[test]
    fn shares_are_proportional_to_weight_at_every_moment(
        weights in prop::collection::vec(1_u32..=20, 2..6),
        costs in prop::collection::vec(1_i64..=30, 50..200),
    ) {
        let mut line = Line::new(ROOMY);
        let mut owners = BTreeMap::new();
        for cost in &costs {
            for (client, weight) in (0_u32..).zip(&weights) {
                let (share, cost) = (share(client, *weight), Usd::from_pico(CENT * cost));
                let ticket = line.join(share, Kind(0), Some(cost), Prospect::Busy).expect("a place");
                owners.insert(ticket, (client as usize, cost.as_pico()));
            }
        }
        let mut got = vec![0_i64; weights.len()];
        let mut left = vec![costs.len(); weights.len()];
        while left.iter().all(|left| *left > 0) {
            let ticket = line.next().expect("somebody waits");
            line.served(ticket);
            let (client, cost) = owners[&ticket];
            got[client] += cost;
            left[client] -= 1;
            for (a, b) in (0..weights.len()).flat_map(|a| (0..weights.len()).map(move |b| (a, b))) {
                let by_weight = |client: usize, amount: i64| amount / i64::from(weights[client]);
                let apart = by_weight(a, got[a]) - by_weight(b, got[b]);
                let bound = by_weight(a, 30 * CENT) + by_weight(b, 30 * CENT) + 2;
                prop_assert!(apart <= bound, "{} and {} are {} apart", a, b, apart);
            }
        }
    }

    /// Nobody starves: whoever waits is served when as much has been served as the others may have before it.
    #[test]
    fn everybody_is_served(clients in prop::collection::vec((0_u32..8, 1_u32..=1000), 1..300)) {
        let mut line = Line::new(ROOMY);
        let tickets: Vec<_> = clients
            .iter()
            .map(|(client, weight)| line.join(share(*client, *weight), Kind(0), None, Prospect::Busy).expect("a place"))
            .collect();
        let mut served = serve(&mut line, clients.len());
        served.sort_unstable();
        prop_assert_eq!(served, tickets);
    }
}
