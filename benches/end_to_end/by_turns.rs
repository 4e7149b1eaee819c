//! What a client key with budgets adds, to a per cent: one process is asked by turns without and with it.
//!
//! Two processes differ by more than that (where their memory lies, which core they were given), and a shared host drifts by
//! far more within the minute. So: the same process, short turns, in the order A B B A, so that a drift falls on both alike,
//! and many of them.

use std::time::Duration;

use super::load::{self, Shape};
use super::process::Proxy;
use super::spread;

/// How long the ledger has for what a turn has booked before its CPU is read.
const REST: Duration = Duration::from_millis(40);

/// Ask `guest` by turns as anybody and as its client, and say what the client costs.
pub fn run(runtime: &tokio::runtime::Runtime, guest: &Proxy, quick: bool) {
    let (blocks, turn) = if quick { (1, Duration::from_millis(100)) } else { (60, Duration::from_millis(500)) };
    println!(
        "\nsmall JSON, one process, without and with a client key that has budgets: {blocks} × A B B A, turns of {turn:?}"
    );
    let cost = |credential: &str| {
        let load = runtime.block_on(load::run_as(guest, credential, Shape::Json, turn, REST));
        load.cpu_us()
    };
    let (anybody, client) = (super::process::placeholder(), guest.credential.as_str());
    // Whatever is made the first time.
    cost(&anybody);
    cost(client);
    let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..blocks {
        let [a, b, c, d] = [cost(&anybody), cost(client), cost(client), cost(&anybody)];
        ratios.push((b + c) / (a + d));
        without.extend([a, d]);
        with.extend([b, c]);
    }
    let range = confidence(&mut ratios);
    let (median, ..) = spread(ratios);
    let ((without, ..), (with, ..)) = (spread(without), spread(with));
    println!("  CPU-µs per request {without:.1} and {with:.1} (medians): × {:.3}", with / without);
    print!("  block by block: CPU × {median:.3}");
    match range {
        Some((low, high)) => println!(", with 95 % confidence between {low:.3} and {high:.3}"),
        None => println!(", too few to quote"),
    }
}

/// Between which of the figures their true median lies with 95 % confidence, whatever their distribution (a sign test); `None`
/// where there are too few for that.
fn confidence(figures: &mut [f64]) -> Option<(f64, f64)> {
    figures.sort_by(f64::total_cmp);
    let n = figures.len();
    let reach = (0.98 * (n as f64).sqrt()).ceil() as usize;
    let low = (n.checked_sub(1)? / 2).checked_sub(reach)?;
    Some((figures[low], *figures.get(n / 2 + reach)?))
}
