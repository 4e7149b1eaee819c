//! Running worlds: one, or many on all cores.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::broken::Broken;
use crate::world::{Keep, Size, Stats, World};

/// What became of a world.
pub struct Run {
    pub seed: u64,
    pub failure: Option<String>,
    /// The last things that happened, or all.
    pub events: Vec<String>,
    pub stats: Stats,
}

/// Run one world.
pub fn one(seed: u64, size: Size, broken: Option<Broken>, keep: Keep) -> Run {
    let place = place();
    let world = World::new(seed, size, broken, keep, place.path().to_owned());
    // Invariants of the pool are assertions.
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| world.run())).err();
    let panicked = panicked.map(|why| match why.downcast_ref::<String>() {
        Some(why) => why.clone(),
        None => why.downcast_ref::<&str>().map_or("a panic".to_owned(), |why| (*why).to_owned()),
    });
    let run = Run { seed, failure: world.failure().or(panicked), events: world.events(), stats: *world.stats.borrow() };
    if std::panic::catch_unwind(AssertUnwindSafe(|| world.end())).is_err() {
        println!("seed {seed}: a world did not end well");
    }
    run
}

/// In memory where that is possible: every commit syncs.
fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let mut named = tempfile::Builder::new();
    named.prefix("potluck-world-");
    named.tempdir_in(memory).or_else(|_| named.tempdir()).expect("a directory")
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Run many worlds, until one fails. What happened in them, and the one that failed.
pub fn many(seeds: Range<u64>, run: impl Fn(u64) -> Run + Sync) -> (u64, Stats, Option<Run>) {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let results = Mutex::new((0, Stats::default(), None::<Run>));
    let goes_on = number("POTLUCK_GO_ON").is_some();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let run = run(seed);
                    let mut results = results.lock().unwrap();
                    let (worlds, stats, failed) = &mut *results;
                    *worlds += 1;
                    stats.add(&run.stats);
                    if let Some(what) = run.failure.as_ref().filter(|_| goes_on) {
                        println!("seed {}: {what}", run.seed);
                    }
                    if run.failure.is_some() && failed.as_ref().is_none_or(|failed| run.seed < failed.seed) {
                        stop.store(!goes_on, Ordering::Relaxed);
                        *failed = Some(run);
                    }
                }
            });
        }
    });
    results.into_inner().unwrap()
}

/// Say what happened, and fail when something did.
pub fn report((worlds, stats, failed): (u64, Stats, Option<Run>)) {
    println!("{worlds} worlds: {stats:#?}");
    if let Some(run) = failed {
        run.events.iter().for_each(|event| println!("{event}"));
        panic!("POTLUCK_SEED={}: {}", run.seed, run.failure.unwrap_or_default());
    }
}
