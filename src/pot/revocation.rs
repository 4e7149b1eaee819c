//! Word of a client's end, for everybody who works for one of its requests.
//!
//! Each request listens while it waits, and next to none of them hears anything. tokio's channels make every wait enter and
//! leave a list under its lock; here a connection enters once, with the first request that it brings of a client, and every
//! later wait reads one flag. It stays in the list between requests, so that word of the end wakes it there as well, in vain.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::members::Live;

/// Whether a client is shown the door, and who is to hear of it.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    over: AtomicBool,
    /// No more than there are connections, or, where these bring several requests at a time, requests under way.
    listening: Mutex<Slab<Waker>>,
}

impl Revoked {
    /// From now on, and for good.
    pub(super) fn revoke(&self) {
        self.over.store(true, Ordering::Release);
        // Whoever enters after this lock was held sees the flag.
        let listening = std::mem::take(&mut *self.listening());
        listening.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Listen, in the place of what was in this one before. Wakers are let go after the lock: what that drops is not ours.
    fn enter(&self, waker: Waker, before: Option<usize>) -> usize {
        let mut listening = self.listening();
        let (at, gone) = match before.and_then(|at| Some((at, listening.get_mut(at)?))) {
            Some((at, place)) => (at, Some(std::mem::replace(place, waker))),
            None => (listening.insert(waker), None),
        };
        drop(listening);
        drop(gone);
        at
    }

    fn leave(&self, at: usize) {
        // Gone already where the word was spread.
        let gone = self.listening().try_remove(at);
        drop(gone);
    }

    fn listening(&self) -> MutexGuard<'_, Slab<Waker>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells when a guest is shown the door.
#[derive(Default)]
pub struct Revocation {
    /// `None`: nobody can.
    of: Option<Arc<Live>>,
    entered: Option<Entered>,
}

/// A place among those who listen.
struct Entered {
    at: usize,
    /// Whoever waits; the same as in that place.
    waker: Waker,
}

impl Revocation {
    /// Tell of this client from now on, or of nobody. Who is told of already keeps the place.
    pub(super) fn turn_to(&mut self, live: Option<&Arc<Live>>) {
        let is_same = match (&self.of, live) {
            (Some(known), Some(live)) => Arc::ptr_eq(known, live),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            *self = Self { of: live.cloned(), entered: None };
        }
    }

    /// Whether it has happened.
    pub fn is_over(&self) -> bool {
        self.of.as_ref().is_some_and(|live| live.revoked.is_over())
    }

    /// Return when it has. May be dropped and called again at any time.
    pub async fn over(&mut self) {
        poll_fn(|cx| self.poll_over(cx)).await
    }

    fn poll_over(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Some(live) = &self.of else { return Poll::Pending };
        let heard = self.entered.as_ref().is_some_and(|entered| entered.waker.will_wake(cx.waker()));
        if !heard && !live.revoked.is_over() {
            let waker = cx.waker().clone();
            let at = live.revoked.enter(waker.clone(), self.entered.as_ref().map(|entered| entered.at));
            self.entered = Some(Entered { at, waker });
        }
        // Looked at last: it may have happened while this one entered.
        if live.revoked.is_over() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Revocation {
    fn drop(&mut self) {
        if let (Some(live), Some(entered)) = (&self.of, &self.entered) {
            live.revoked.leave(entered.at);
        }
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocation({})", if self.is_over() { "over" } else { "not yet" })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Weak;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;
    use crate::clients::{Client, Terms};
    use crate::clock::Timestamp;
    use crate::money::{ClientId, PurseFigures};
    use crate::pot::members::Member;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn live() -> Arc<Live> {
        let (id, created_at) = (ClientId(1), Timestamp::from_millis(0));
        let terms = Terms::default();
        let member = Member::new(Client { id, mask: "ptl-…".to_owned(), created_at, terms }, PurseFigures::default());
        Arc::clone(&member.live)
    }

    fn told_of(live: &Arc<Live>) -> Revocation {
        let mut revocation = Revocation::default();
        revocation.turn_to(Some(live));
        revocation
    }

    /// Wait a moment on a task of its own: whether it was over, and the task.
    fn look(revocation: &mut Revocation, task: &Arc<Woken>) -> bool {
        let waker = Waker::from(Arc::clone(task));
        pin!(revocation.over()).poll(&mut Context::from_waker(&waker)).is_ready()
    }

    fn woken(task: &Woken) -> usize {
        task.0.load(Ordering::Relaxed)
    }

    #[test]
    fn everybody_who_waits_is_woken_and_nobody_else() {
        let live = live();
        let mut all: Vec<_> = (0..3).map(|_| (told_of(&live), Arc::<Woken>::default())).collect();
        let (first, last) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        for (revocation, task) in &mut all {
            assert!(!look(revocation, &first) && !look(revocation, task) && !look(revocation, task));
        }
        assert_eq!(live.revoked.listening().len(), 3, "each has entered once");
        let (gone, task) = all.remove(0);
        drop(gone);
        assert_eq!(live.revoked.listening().len(), 2);
        live.revoked.revoke();
        assert_eq!((woken(&first), woken(&task)), (0, 0), "on another task by then, or gone");
        let mut late = told_of(&live);
        assert!(look(&mut late, &last));
        for (revocation, task) in &mut all {
            assert_eq!(woken(task), 1);
            assert!(revocation.is_over() && look(revocation, task));
        }
        drop((all, late));
        assert_eq!((live.revoked.listening().len(), woken(&last)), (0, 0));
    }

    #[test]
    fn who_comes_again_keeps_its_place_and_who_does_not_leaves_it() {
        let (ann, bob, task) = (live(), live(), Arc::<Woken>::default());
        let mut revocation = told_of(&ann);
        let listening = || (ann.revoked.listening().len(), bob.revoked.listening().len());
        for _ in 0..2 {
            revocation.turn_to(Some(&ann));
            assert!(!look(&mut revocation, &task));
            assert_eq!(listening(), (1, 0));
        }
        let (eve, heard) = (live(), Arc::<Woken>::default());
        let mut again = told_of(&eve);
        assert!(!look(&mut again, &heard));
        again.turn_to(Some(&eve));
        eve.revoked.revoke();
        assert_eq!(woken(&heard), 1, "by the place of the request before");
        revocation.turn_to(Some(&bob));
        assert_eq!(listening(), (0, 0));
        assert!(!look(&mut revocation, &task));
        ann.revoked.revoke();
        assert_eq!((woken(&task), listening()), (0, (0, 1)), "that is nothing to bob");
        revocation.turn_to(None);
        bob.revoked.revoke();
        assert!(!look(&mut revocation, &task) && !revocation.is_over());
        revocation.turn_to(Some(&ann));
        assert!(look(&mut revocation, &task) && revocation.is_over());
        assert_eq!((woken(&task), listening()), (0, (0, 0)));
    }

    #[test]
    fn a_guest_whom_nobody_can_revoke_waits_for_ever_and_listens_nowhere() {
        let mut never = Revocation::default();
        let task = Arc::<Woken>::default();
        assert!(!look(&mut never, &task) && !never.is_over());
        assert_eq!(Weak::strong_count(&Arc::downgrade(&task)), 1, "nobody has its waker");
    }

    /// Whoever enters while the word is spread hears it all the same.
    #[test]
    fn no_word_is_lost_between_threads() {
        const ROUNDS: usize = 2_000;
        let rounds: Vec<_> = (0..ROUNDS).map(|_| live()).collect();
        let ready = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for live in &rounds {
                    ready.wait();
                    live.revoked.revoke();
                    ready.wait();
                }
            });
            for live in &rounds {
                let mut revocation = told_of(live);
                let task = Arc::<Woken>::default();
                ready.wait();
                let heard = look(&mut revocation, &task);
                ready.wait();
                assert!(heard || woken(&task) == 1);
                assert!(look(&mut revocation, &task));
            }
        });
    }
}
