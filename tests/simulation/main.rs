//! A simulation: seeded worlds in which thousands of requests, an upstream that bills, people and faults meet the real pool,
//! purse, reckoning and store, and a judge who looks after every event. See `judge.rs` for what he looks at.
//!
//! * `cargo test --test simulation` runs 1,000 worlds.
//! * `POTLUCK_SEEDS=100000 cargo test --release --test simulation` runs as many (`POTLUCK_SEED_FROM` says where to begin).
//! * `POTLUCK_SEED=n cargo test --test simulation -- --nocapture` runs one again and prints everything that happens in it.
//!
//! Nothing in a world depends on anything but its seed: one thread, no waiting, a clock that is set by hand, and a store
//! that writes when it is told to ([`potluck::store::Stepper`]).

#![allow(clippy::unwrap_used)]

mod attempt;
mod audit;
mod broken;
mod dice;
mod donors;
mod event;
mod judge;
mod lending;
mod machine;
mod pools;
mod process;
mod request;
mod rows;
mod runs;
mod script;
mod services;
mod story;
mod tally;
mod tasks;
mod trouble;
mod upstream;
mod verdict;
mod world;

use broken::Broken;
use runs::{many, number, one, report};
use world::{Keep, Size};

/// Most worlds are small; every so often one is big.
fn size(seed: u64) -> Size {
    match seed % 100 {
        0 => Size { phases: 4, requests: 2_500 },
        1..9 => Size { phases: 5, requests: 160 },
        _ => Size { phases: 4, requests: 40 },
    }
}

#[test]
fn books_equal_the_bill_and_caps_hold_in_a_thousand_worlds() {
    if let Some(seed) = number("POTLUCK_SEED") {
        let run = one(seed, size(seed), None, Keep::All);
        run.events.iter().for_each(|event| println!("{event}"));
        println!("{:#?}", run.stats);
        assert_eq!(run.failure, None, "seed {seed}");
        return;
    }
    let from = number("POTLUCK_SEED_FROM").unwrap_or(1);
    let seeds = from..from + number("POTLUCK_SEEDS").unwrap_or(1_000);
    report(many(seeds, |seed| one(seed, size(seed), None, Keep::Last)));
}

#[test]
fn a_seed_is_a_world() {
    let size = Size { phases: 2, requests: 120 };
    for seed in 1..4 {
        let (first, second) = (one(seed, size, None, Keep::All), one(seed, size, None, Keep::All));
        assert_eq!((first.events, first.stats), (second.events, second.stats), "seed {seed}");
    }
}

/// Worlds that it may take to notice a fault.
const WORLDS: u64 = 60;

#[test]
fn the_judge_notices_every_fault() {
    let size = Size { phases: 3, requests: 160 };
    for broken in Broken::ALL {
        let noticed =
            (1..=WORLDS).find_map(|seed| one(seed, size, Some(broken), Keep::Last).failure.map(|w| (seed, w)));
        let (seed, what) = noticed.unwrap_or_else(|| panic!("nobody notices {broken:?}"));
        println!("{broken:?}: noticed in world {seed}: {what}");
    }
}
