//! Question: what does potluck cost over a plain Pingora pass-through?
//!
//! `cargo bench --bench end_to_end` starts the simulator in its fast mode and, in front of it, potluck, a plain
//! Pingora `ProxyHttp` pass-through built from the same lockfile, potluck with caps on its key, potluck with a
//! client that has budgets, and nginx where it is installed. Each proxy gets the same load in alternating rounds. Printed:
//! requests per second, CPU-µs of the proxy process per request (or per SSE chunk), p50 and p99 latency, resident memory per
//! idle open stream, all also as ratios to plain Pingora. What budgets add is a difference of a few per cent, and measured
//! apart ([`by_turns`]); `-- --by-turns` measures nothing else.
//!
//! `-- --quick` runs one short round of each: enough to see that it works, too short to quote.

#![allow(clippy::indexing_slicing, clippy::large_futures)]

mod by_turns;
mod load;
mod nginx;
mod plain;
mod process;

use std::time::Duration;

use load::{Load, Shape};
use process::{Proxy, Simulator};

/// What is measured, and in which unit CPU time is told.
const SCENARIOS: [(&str, Shape, &str); 3] = [
    ("small JSON", Shape::Json, "request"),
    ("SSE, 50 chunks", Shape::Stream { chunks: 50 }, "chunk"),
    ("1 MiB body", Shape::Big { bytes: 1 << 20 }, "request"),
];
const IDLE_STREAMS: usize = 500;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--plain-pingora") {
        return plain::serve(&args[at + 1], &args[at + 2], &args[at + 3]);
    }
    // `cargo test --all-targets` runs benches too, to see that they work.
    let quick = args.iter().any(|a| a == "--quick" || a == "--test") || !args.iter().any(|a| a == "--bench");
    let simulator = Simulator::start();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    if !args.iter().any(|a| a == "--by-turns") {
        side_by_side(&runtime, &simulator, quick);
    }
    by_turns::run(&runtime, &Proxy::guest(&simulator), quick);
}

/// All proxies under the same load.
fn side_by_side(runtime: &tokio::runtime::Runtime, simulator: &Simulator, quick: bool) {
    let (rounds, length) = if quick { (1, Duration::from_millis(300)) } else { (7, Duration::from_secs(4)) };
    let mut proxies =
        vec![Proxy::plain(simulator), Proxy::potluck(simulator), Proxy::capped(simulator), Proxy::guest(simulator)];
    proxies.extend(nginx::start(simulator));
    // First, while no process has memory left over from a load that streams could move into.
    memory(runtime, &proxies);
    for (name, shape, unit) in SCENARIOS {
        println!("\n{name}, 64 connections, {rounds} rounds of {length:?} (median, min–max)");
        let proxies: Vec<&Proxy> = proxies.iter().filter(|proxy| shape.is_priced() || !proxy.priced).collect();
        let mut results: Vec<Vec<Load>> = proxies.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (proxy, results) in proxies.iter().zip(&mut results) {
                results.push(runtime.block_on(load::run(proxy, shape, length)));
            }
        }
        report(&proxies, &results, unit);
        of_caps(&proxies, &results);
    }
}

fn report(proxies: &[&Proxy], results: &[Vec<Load>], unit: &str) {
    let figure = |loads: &[Load], of: fn(&Load) -> f64| spread(loads.iter().map(of).collect());
    // Neighbours in time, so that a machine that drifts does not matter.
    let against_plain = |loads: &[Load], of: fn(&Load) -> f64| {
        spread(results[0].iter().zip(loads).map(|(plain, load)| of(load) / of(plain)).collect())
    };
    println!(
        "  {:<8} {:>22} {:>26} {:>12} {:>12} {:>22}",
        "",
        "per second",
        format!("CPU-µs per {unit}"),
        "p50 µs",
        "p99 µs",
        "CPU ×"
    );
    for (proxy, loads) in proxies.iter().zip(results) {
        let (rate, rate_min, rate_max) = figure(loads, Load::rate);
        let (cpu, cpu_min, cpu_max) = figure(loads, Load::cpu_us);
        let ratio = against_plain(loads, Load::cpu_us);
        println!(
            "  {:<8} {:>22} {:>26} {:>12.0} {:>12.0} {:>22}   rate × {:.2}",
            proxy.name,
            format!("{rate:.0} ({rate_min:.0}–{rate_max:.0})"),
            format!("{cpu:.1} ({cpu_min:.1}–{cpu_max:.1})"),
            figure(loads, |l| l.p50_us).0,
            figure(loads, |l| l.p99_us).0,
            format!("{:.2} ({:.2}–{:.2})", ratio.0, ratio.1, ratio.2),
            against_plain(loads, Load::rate).0,
        );
    }
}

/// What caps add, round by round: neighbours in time, so that a machine that drifts does not matter.
fn of_caps(proxies: &[&Proxy], results: &[Vec<Load>]) {
    let of = |name| proxies.iter().position(|proxy| proxy.name == name).map(|at| &results[at]);
    if let (Some(free), Some(capped)) = (of("potluck"), of("capped")) {
        let pairs = free.iter().zip(capped).map(|(free, capped)| capped.cpu_us() / free.cpu_us()).collect();
        let (median, min, max) = spread(pairs);
        println!("  capped against potluck, CPU × {median:.3} ({min:.3}–{max:.3})");
    }
}

/// Median, minimum and maximum.
fn spread(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
}

fn memory(runtime: &tokio::runtime::Runtime, proxies: &[Proxy]) {
    println!("\nresident memory per idle open stream, {IDLE_STREAMS} streams");
    let mut base = None;
    for proxy in proxies.iter().filter(|proxy| !proxy.priced) {
        let before = proxy.resident_kib();
        let held = runtime.block_on(load::hold_streams(proxy, IDLE_STREAMS));
        let each = (proxy.resident_kib() - before) / held.len() as f64;
        drop(held);
        let base = *base.get_or_insert(each);
        println!("  {:<8} {each:>8.1} KiB   × {:.2}", proxy.name, each / base);
    }
}
