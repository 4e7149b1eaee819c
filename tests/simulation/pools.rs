//! What the pools believe, looked at after each event.

use std::rc::Rc;

use potluck::clock::Timestamp;
use potluck::money::{Purse, Usd, Window};
use potluck::pool::KeyId;

use crate::process::Process;
use crate::upstream::Pico;
use crate::world::World;

/// How often whole pools are looked at.
const EVERY: u64 = 64;

/// What a purse said the last time.
#[derive(Clone, Debug, Default)]
pub struct Said {
    over: [Pico; 4],
    unbounded: bool,
    rises: Pico,
    slack: [Pico; 4],
    others: Pico,
    set_backs: u64,
}

pub fn look(world: &Rc<World>) {
    let processes = world.machine.processes();
    let whole = world.stats.borrow().events.is_multiple_of(EVERY);
    for process in &processes {
        let mut touched = process.touched.take();
        touched.sort_unstable();
        touched.dedup();
        for key in touched {
            look_at(world, process, key, processes.len() == 1 && process.buried.get());
        }
        if whole {
            process.pool(|pool| pool.invariants());
        }
    }
}

fn look_at(world: &Rc<World>, process: &Process, key: KeyId, alone: bool) {
    let (now, name) = (process.now(), (process.number, key));
    let mut judge = world.judge.borrow_mut();
    let told_anew = judge.told_anew.remove(&name) || !judge.said.contains_key(&name);
    let (just_set_back, set_backs) = (judge.is_set_back(world.now_ms()), judge.set_backs);
    let rises = judge.tallies.get(&key).map_or(0, |tally| tally.rises);
    let said = judge.said.entry(name).or_default();
    let risen = rises - std::mem::replace(&mut said.rises, rises);
    said.slack.iter_mut().for_each(|slack| *slack += risen);
    // Days that were past, and spent on, are in the windows again.
    let set_back = just_set_back | (std::mem::replace(&mut said.set_backs, set_backs) != set_backs);
    let wrong = process.pool(|pool| {
        let purse = pool.keys(now).find(|pooled| pooled.id == key)?.purse?;
        purse.invariants();
        let unbounded = std::mem::replace(&mut said.unbounded, purse.has_unbounded());
        let others = Pico::from(purse.others().as_pico());
        let others_drew = std::mem::replace(&mut said.others, others) < others;
        let unbounded = unbounded || purse.has_unbounded();
        said.hear(purse, now, told_anew || set_back || unbounded || others_drew || !alone)
    });
    if let Some(what) = wrong {
        world.fail(format!("the purse of {key} in process {}: {what}", process.number));
    }
}

impl Said {
    /// No cap is passed by more than before, but for reasons that are known.
    fn hear(&mut self, purse: &Purse, now: Timestamp, forgiving: bool) -> Option<String> {
        let mut wrong = None;
        for (at, window) in Window::ALL.into_iter().enumerate() {
            let out = [purse.settled(window, now), purse.suspense(), purse.others(), purse.lease().max(purse.held())];
            let sum: Pico = out.iter().map(|part| Pico::from(Usd::as_pico(*part))).sum();
            let over = purse.caps().of(window).map_or(0, |cap| (sum - Pico::from(cap.as_pico())).max(0));
            let grown = over - self.over[at];
            if grown > 0 && !forgiving {
                if grown > self.slack[at] {
                    wrong = Some(format!("the {window} cap is passed by {over}, {grown} more than before: {purse:?}"));
                }
                self.slack[at] -= grown;
            }
            self.over[at] = over;
        }
        wrong
    }
}
