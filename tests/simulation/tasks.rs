//! Tasks on one thread, in an order that the dice decide, and a time that passes only when nobody can go on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::dice::Dice;

/// Whose task it is; they end together.
pub type Owner = u32;
/// Tasks of the world itself.
pub const WORLD: Owner = 0;

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// All tasks of a world.
#[derive(Default)]
pub struct Tasks {
    all: RefCell<BTreeMap<u64, Task>>,
    last: Cell<u64>,
    woken: Arc<Mutex<Vec<u64>>>,
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    now: Cell<u64>,
}

struct Task {
    owner: Owner,
    /// `None` while it is being polled.
    work: Option<Work>,
    bell: Arc<Bell>,
}

/// Puts a task on the list of those that can go on, once.
struct Bell {
    task: u64,
    rung: AtomicBool,
    woken: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            self.woken.lock().unwrap().push(self.task);
        }
    }
}

impl Tasks {
    /// Milliseconds since the world began, whatever its clocks show.
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    pub fn spawn(&self, owner: Owner, work: impl Future<Output = ()> + 'static) -> u64 {
        let task = self.last.get() + 1;
        self.last.set(task);
        let bell = Arc::new(Bell { task, rung: AtomicBool::new(false), woken: Arc::clone(&self.woken) });
        Arc::clone(&bell).wake();
        self.all.borrow_mut().insert(task, Task { owner, work: Some(Box::pin(work)), bell });
        task
    }

    /// Drop one of an owner's tasks wherever it is, as a panic does. `pick` says which of so many.
    pub fn cancel_one_of(&self, owner: Owner, pick: impl FnOnce(u64) -> u64) {
        let tasks: Vec<u64> = self.all.borrow().iter().filter(|(_, t)| t.owner == owner).map(|(id, _)| *id).collect();
        if tasks.is_empty() {
            return;
        }
        let task = tasks[usize::try_from(pick(tasks.len() as u64)).unwrap()];
        // Its destructors may start tasks.
        let cancelled = self.all.borrow_mut().remove(&task);
        drop(cancelled);
    }

    /// Drop all tasks of an owner.
    pub fn end(&self, owner: Owner) {
        let (ended, rest) =
            std::mem::take(&mut *self.all.borrow_mut()).into_iter().partition(|(_, t)| t.owner == owner);
        *self.all.borrow_mut() = rest;
        // Their destructors may start tasks.
        drop::<BTreeMap<u64, Task>>(ended);
    }

    /// Let one task go on, or time pass until one can. `false` when nothing will ever happen any more.
    pub fn turn(&self, dice: &mut Dice) -> Option<Ready> {
        loop {
            let task = {
                let mut woken = self.woken.lock().unwrap();
                match woken.len() {
                    0 => None,
                    some => {
                        let at = usize::try_from(dice.below(some as u64)).unwrap();
                        Some(woken.swap_remove(at))
                    }
                }
            };
            if let Some(task) = task {
                return Some(Ready(task));
            }
            let ((at, _), waker) = self.timers.borrow_mut().pop_first()?;
            self.now.set(at.max(self.now.get()));
            waker.wake();
        }
    }

    pub fn poll(&self, Ready(task): Ready) {
        let taken = self.all.borrow_mut().get_mut(&task).and_then(|t| Some((t.work.take()?, Arc::clone(&t.bell))));
        let Some((mut work, bell)) = taken else { return };
        bell.rung.store(false, Ordering::Relaxed);
        let waker = Waker::from(bell);
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => {
                self.all.borrow_mut().remove(&task);
            }
            Poll::Pending => {
                let ended = match self.all.borrow_mut().get_mut(&task) {
                    Some(task) => {
                        task.work = Some(work);
                        None
                    }
                    None => Some(work),
                };
                drop(ended);
            }
        }
    }

    fn ring_at(&self, at: u64, waker: Waker) {
        let id = self.last.get() + 1;
        self.last.set(id);
        self.timers.borrow_mut().insert((at, id), waker);
    }
}

/// A task that can go on.
pub struct Ready(u64);

/// Ends at a time.
pub struct Sleep<'t> {
    tasks: &'t Tasks,
    until: u64,
    set: bool,
}

impl Tasks {
    pub fn sleep(&self, ms: u64) -> Sleep<'_> {
        Sleep { tasks: self, until: self.now().saturating_add(ms), set: false }
    }
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.tasks.now() >= self.until {
            return Poll::Ready(());
        }
        if !self.set {
            self.set = true;
            self.tasks.ring_at(self.until, context.waker().clone());
        }
        Poll::Pending
    }
}

/// What ends first; the first of the two when both do.
pub async fn first<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> Result<A, B> {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    std::future::poll_fn(|context| {
        if let Poll::Ready(value) = a.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        b.as_mut().poll(context).map(Err)
    })
    .await
}

/// All of them, at the same time.
pub async fn all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut open: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in open.iter_mut().filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        if open.iter().all(|(_, done)| done.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    open.into_iter().filter_map(|(_, done)| done).collect()
}
