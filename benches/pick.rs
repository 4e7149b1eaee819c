//! What does a choice of key cost, and does it depend on the size or the health of the pool?
//!
//! 3, 1,000 and 100,000 keys, all healthy and with 99 % of them depleted (one healthy key in a hundred; at least
//! one), under each rotation; also a continuing conversation, and the 2xx that follows each choice.
//!
//! `cargo bench --bench pick`

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use potluck::clock::Timestamp;
use potluck::money::Usd;
use potluck::pool::{
    AccountId, Cause, Choice, Conversation, Health, KeyId, KeyState, Lane, Policy, Pool, Rotation, Want, Worst,
};
use potluck::secret::Credential;

const NOW: Timestamp = Timestamp::from_secs(1_795_500_000);
const SIZES: [u32; 3] = [3, 1_000, 100_000];
const WANT: Want<'static> = Want {
    lane: Lane::Paid,
    model: Some("acme/large"),
    conversation: None,
    tried: &[],
    avoid: &[],
    richest: false,
    fallbacks: &[],
    worst: Worst::Cost(Usd::ZERO),
};

fn pool(rotation: Rotation, keys: u32, depleted: bool) -> Pool {
    let mut pool = Pool::new(Policy { rotation, ..Policy::default() });
    // The healthy ones stand at the end of each hundred: the search has to pass over all others.
    let healthy = |id: u32| !depleted || id == keys - 1 || id % 100 == 99;
    for id in 0..keys {
        let text = format!("sk-or-v1-{id:064x}");
        let credential = Arc::new(Credential::parse(&text).expect("a well-formed key"));
        let state = match healthy(id) {
            true => KeyState { verified: true, ..KeyState::fresh(NOW) },
            false => KeyState { health: Health::Depleted, cause: Cause::Credit, ..KeyState::fresh(NOW) },
        };
        pool.insert(KeyId(id), credential, Some(AccountId(id / 2)), state, Usd::ZERO, NOW);
    }
    pool
}

fn pick(pool: &mut Pool, want: &Want<'_>, roll: u64) -> Option<KeyId> {
    match pool.choose(want, NOW, roll) {
        Choice::Key(chosen) => Some(chosen.key),
        Choice::None(_) => None,
    }
}

fn rotations(c: &mut Criterion) {
    let rotations = [
        (Rotation::RoundRobin, "round_robin"),
        (Rotation::Weighted, "weighted"),
        (Rotation::LeastSpent, "least_spent"),
        (Rotation::FillFirst, "fill_first"),
    ];
    for (rotation, name) in rotations {
        let mut group = c.benchmark_group(format!("pick/{name}"));
        for (depleted, health) in [(false, "all_healthy"), (true, "99_percent_depleted")] {
            for keys in SIZES {
                let mut pool = pool(rotation, keys, depleted);
                let mut roll = 0u64;
                group.bench_function(BenchmarkId::new(health, keys), |b| {
                    b.iter(|| {
                        roll = roll.wrapping_add(0x9e37_79b9_7f4a_7c15);
                        black_box(pick(&mut pool, black_box(&WANT), roll))
                    });
                });
            }
        }
        group.finish();
    }
}

fn conversations(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick/continuing_conversation");
    for keys in SIZES {
        let mut pool = pool(Rotation::RoundRobin, keys, true);
        let mut turn = 0u64;
        group.bench_function(BenchmarkId::new("99_percent_depleted", keys), |b| {
            b.iter(|| {
                turn = (turn + 1) % 10_000;
                let conversation = Some(Conversation { hash: turn, continues: true });
                black_box(pick(&mut pool, &Want { conversation, ..WANT }, 0))
            });
        });
    }
    group.finish();
}

fn nobody_left(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick/nobody");
    for keys in SIZES {
        let mut pool = pool(Rotation::RoundRobin, keys, true);
        for id in (0..keys).map(KeyId) {
            pool.set_health(id, Health::Depleted, None, NOW);
        }
        group.bench_function(BenchmarkId::new("all_depleted", keys), |b| {
            b.iter(|| black_box(pool.choose(black_box(&WANT), NOW, 0)));
        });
    }
    group.finish();
}

fn successes(c: &mut Criterion) {
    let mut group = c.benchmark_group("succeeded");
    for keys in SIZES {
        let mut pool = pool(Rotation::RoundRobin, keys, false);
        let mut id = 0;
        group.bench_function(BenchmarkId::new("healthy", keys), |b| {
            b.iter(|| {
                id = (id + 7) % keys;
                black_box(pool.succeeded(KeyId(id), NOW))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rotations, conversations, nobody_left, successes);
criterion_main!(benches);
