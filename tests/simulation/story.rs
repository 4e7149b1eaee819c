//! What happens in a world, from its beginning to its end.

use std::rc::Rc;

use crate::dice::Dice;
use crate::donors;
use crate::event::{Event, R};
use crate::request::{Ask, serve};
use crate::tasks::WORLD;
use crate::trouble;
use crate::upstream::Pico;
use crate::verdict;
use crate::world::World;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

pub async fn story(world: Rc<World>) {
    let process = world.machine.start(&world);
    let accounts = world.upstream.borrow().accounts.len();
    for account in 0..accounts {
        let limits = world.dice(donors::any_limits);
        donors::donate(&process, account, limits).await;
    }
    drop(process);
    let mut last: R = 0;
    for number in 0..world.size.phases {
        last = phase(&world, number, last).await;
        gap(&world).await;
    }
    world.tell(Event::Drains);
    verdict::give(&world).await;
    world.done.set(true);
}

/// A crowd comes, and things go wrong.
async fn phase(world: &Rc<World>, number: u64, last: R) -> R {
    let requests = world.between(world.size.requests / 8, world.size.requests);
    let within = world.dice(|dice| dice.pick(&[1, 200, 2_000, 10_000]));
    world.tell(Event::Phase { number, requests });
    world.stats.borrow_mut().requests += requests;
    for at in 1..=requests {
        let ask = world.dice(|dice| any_ask(dice, last + R::try_from(at).unwrap()));
        let (after, this) = (world.dice(|dice| dice.below(within)), Rc::clone(world));
        world.tasks.spawn(WORLD, async move {
            this.sleep(after).await;
            arrive(&this, ask);
        });
    }
    let troubles = world.between(0, 4);
    for _ in 0..troubles {
        let (after, this) = (world.dice(|dice| dice.below(within + 3_000)), Rc::clone(world));
        world.tasks.spawn(WORLD, async move {
            this.sleep(after).await;
            trouble::happens(&this).await;
        });
    }
    let end = world.now_ms() + within + world.between(1_000, 30_000);
    while world.now_ms() < end || under_way(world) > 0 {
        let pause = world.between(1_000, 8_000);
        world.sleep(pause).await;
        look(world);
        if world.now_ms() > end + 60_000 {
            break;
        }
    }
    last + R::try_from(requests).unwrap()
}

/// Client requests under way, in all processes.
pub fn under_way(world: &World) -> u64 {
    world.machine.processes().iter().map(|process| process.under_way.get()).sum()
}

/// A client comes. Where nobody serves it is turned away.
fn arrive(world: &Rc<World>, ask: Ask) {
    if let Some(process) = world.machine.serving() {
        process.receives(serve(Rc::clone(&process), ask));
        let stats = &mut *world.stats.borrow_mut();
        stats.most_under_way = stats.most_under_way.max(process.under_way.get());
    }
}

fn any_ask(dice: &mut Dice, request: R) -> Ask {
    let worst = (!dice.permille(30)).then(|| Pico::from(dice.amount(50_000_000, 400_000_000_000)));
    let leaves_ms = dice.permille(120).then(|| dice.amount(1, 8_000)).map(|ms| u64::try_from(ms).unwrap());
    Ask { request, worst, leaves_ms }
}

/// Nobody comes for a while: seconds, or days.
async fn gap(world: &Rc<World>) {
    let length = world.dice(|dice| match dice.below(10) {
        0..5 => dice.between(100, 10_000),
        5..7 => dice.between(10_000, 20 * MINUTE_MS),
        7..9 => dice.between(20 * MINUTE_MS, DAY_MS),
        _ => dice.between(DAY_MS, 4 * DAY_MS),
    });
    let end = world.now_ms() + length;
    let mut pause = 2_000;
    while world.now_ms() < end {
        world.sleep(pause.min(end - world.now_ms())).await;
        look(world);
        pause *= 4;
    }
}

/// The services of every process look at what there is.
pub fn look(world: &World) {
    for process in world.machine.processes() {
        process.look.notify_waiters();
    }
}
