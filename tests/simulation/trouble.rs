//! What goes wrong: processes that die, disks that fail, clocks that jump; and what people do meanwhile.

use std::rc::Rc;

use potluck::store::Fault;

use crate::donors;
use crate::event::Event;
use crate::process::Process;
use crate::tasks::first;
use crate::world::World;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How long a process that is to end waits for its requests, at most.
const DRAIN_MAX_MS: u64 = 20_000;
/// A process that has handed its sockets on goes on with everything for so long (Pingora's pause before it tells its
/// services to end).
const HANDED_ON_MS: u64 = 5_000;

/// Something happens.
pub async fn happens(world: &Rc<World>) {
    match world.between(0, 99) {
        0..18 => crash(world).await,
        18..24 => stop(world).await,
        24..36 => upgrade(world).await,
        36..46 => commits_fail(world),
        46..50 => world.machine.be_slow(world.between(500, 4_500)),
        50..60 => jump(world).await,
        60..75 => limits_change(world).await,
        75..79 => pause(world).await,
        79..83 => keys_change(world).await,
        83..91 => donors::spend_elsewhere(world),
        91..95 => panic(world),
        _ => {
            let silent = world.now_ms() + world.between(1_000, 400_000);
            world.upstream.borrow_mut().silent_until = silent;
        }
    }
}

/// The process that serves dies, and another one is started after a while.
async fn crash(world: &Rc<World>) {
    let processes = world.machine.processes();
    if processes.is_empty() {
        return;
    }
    // During an upgrade either can.
    let at = usize::try_from(world.between(0, processes.len() as u64 - 1)).unwrap();
    processes[at].crash();
    crate::judge::look(world);
    world.sleep(world.between(0, 4_000)).await;
    start(world);
}

/// Start a process where none serves. Whoever still has the store is waited for by the claim.
pub fn start(world: &Rc<World>) {
    if world.machine.serving().is_none() {
        world.machine.start(world);
    }
}

/// A process ends in order: what is under way may end, for a while.
async fn stop(world: &Rc<World>) {
    let Some(process) = world.machine.serving() else { return };
    world.tell(Event::Stops { process: process.number });
    world.stats.borrow_mut().stops += 1;
    process.draining.set(true);
    drain(world, &process).await;
    world.sleep(world.between(0, 4_000)).await;
    start(world);
}

/// A successor is started, and its predecessor drains.
async fn upgrade(world: &Rc<World>) {
    // One upgrade at a time: the claim is passed on from one to the next.
    let (Some(process), 1) = (world.machine.serving(), world.machine.processes().len()) else { return };
    world.stats.borrow_mut().upgrades += 1;
    process.draining.set(true);
    first(process.changes.write(), world.sleep(5_000)).await.ok();
    if process.dead.get() {
        return start(world);
    }
    let successor = world.machine.start(world);
    world.tell(Event::Upgrade { from: process.number, to: successor.number });
    drain(world, &process).await;
}

/// Wait until nothing is under way in a process, or for as long as it may take, and close its store.
async fn drain(world: &Rc<World>, process: &Rc<Process>) {
    let patience = world.now_ms() + world.between(100, DRAIN_MAX_MS);
    let services_end = world.now_ms() + world.between(0, HANDED_ON_MS);
    while world.now_ms() < patience && !process.dead.get() && process.under_way.get() > 0 {
        if world.now_ms() >= services_end {
            world.tasks.end(Process::SERVICES(process.number));
        }
        world.sleep(50).await;
    }
    if process.dead.get() {
        return;
    }
    world.tasks.end(Process::SERVICES(process.number));
    // Either the runtime ends first, and with it what is under way; or something is still under way when the store closes.
    if world.permille(700) {
        world.tasks.end(Process::REQUESTS(process.number));
        world.tasks.end(Process::SPAWNED(process.number));
    }
    process.close();
}

fn commits_fail(world: &Rc<World>) {
    let fault = world.dice(|dice| dice.pick(&[None, Some(Fault::Undone), Some(Fault::Durable)]));
    let count = u32::try_from(world.between(1, 5)).unwrap();
    world.machine.fail_commits(count, fault);
}

/// Somebody sets the clock, and most times back again after a while.
async fn jump(world: &Rc<World>) {
    let to_midnight = world.wall().next_midnight().as_millis() - world.wall().as_millis();
    let by = world.dice(|dice| match dice.below(8) {
        0 => HOUR_MS,
        1 => -HOUR_MS,
        2 => DAY_MS,
        3 => -DAY_MS,
        4 => 365 * DAY_MS,
        5 => -365 * DAY_MS,
        // Just before midnight, or just past it.
        6 => to_midnight - 500,
        _ => to_midnight + 500,
    });
    world.jump(by);
    if world.permille(800) {
        world.sleep(world.between(10, 60_000)).await;
        world.jump(-by);
    }
}

async fn limits_change(world: &Rc<World>) {
    let Some(process) = world.machine.serving() else { return };
    let Some(key) = donors::any_key(&process) else { return };
    let limits = world.dice(donors::any_limits);
    in_process(world, &process, donors::change_limits(&process, key, limits)).await;
}

async fn pause(world: &Rc<World>) {
    let Some(process) = world.machine.serving() else { return };
    let Some(key) = donors::any_key(&process) else { return };
    in_process(world, &process, donors::pause(&process, key, true)).await;
    world.sleep(world.between(100, 5_000)).await;
    let Some(process) = world.machine.serving() else { return };
    in_process(world, &process, donors::pause(&process, key, false)).await;
}

async fn keys_change(world: &Rc<World>) {
    let Some(process) = world.machine.serving() else { return };
    let Some(key) = donors::any_key(&process) else { return };
    in_process(world, &process, donors::withdraw(&process, key)).await;
    world.sleep(world.between(100, 10_000)).await;
    let Some(process) = world.machine.serving() else { return };
    let limits = world.dice(donors::any_limits);
    let accounts = world.upstream.borrow().accounts.len() as u64;
    let account = usize::try_from(world.dice(|dice| dice.below(accounts))).unwrap();
    in_process(world, &process, donors::donate(&process, account, limits)).await;
}

/// Work that ends with the process, or when it has taken too long for whoever asked.
pub async fn in_process(world: &Rc<World>, process: &Process, work: impl Future<Output = ()>) {
    let gone = async {
        while !process.dead.get() {
            world.sleep(500).await;
        }
    };
    first(work, first(gone, world.sleep(30_000))).await.ok();
}

/// A request panics: it is dropped wherever it is.
fn panic(world: &Rc<World>) {
    let Some(process) = world.machine.serving() else { return };
    world.tell(Event::Panic);
    world.tasks.cancel_one_of(Process::REQUESTS(process.number), |some| world.dice(|dice| dice.below(some)));
}
