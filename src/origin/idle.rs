//! Connections that are kept for the next exchange.
//!
//! Pingora's pool has a task watch each connection it keeps; for one that is taken again within a millisecond that is more
//! work than the exchange's own reads and writes. Here a connection is looked at when it is taken, which costs no system call
//! where nothing has come, and all of them are looked at now and then.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use pingora::protocols::Stream;
use tokio::io::AsyncReadExt;

use super::peer::{Purpose, Route};
use crate::clock::Tick;

/// The kept connections.
pub(super) struct Idle {
    /// The most that are kept.
    max: usize,
    /// How long.
    time: Duration,
    /// The one that was used last at the end. A plain mutex, held for a push or a look.
    kept: Mutex<VecDeque<Kept>>,
}

struct Kept {
    stream: Stream,
    route: Route,
    since: Tick,
}

impl Idle {
    pub(super) fn new(max: usize, time: Duration) -> Self {
        Self { max, time, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keep a connection on which nothing is under way. Where there are too many, the one that was not used for longest is
    /// closed.
    pub(super) fn keep(&self, stream: Stream, route: Route) {
        if self.max == 0 {
            return;
        }
        let since = Tick::now();
        let mut kept = self.kept();
        let surplus = if kept.len() < self.max { None } else { kept.pop_front() };
        kept.push_back(Kept { stream, route, since });
        drop(kept);
        // Closing is a system call: not under the lock.
        drop(surplus);
    }

    /// The connection that was used last, of those that can be used still.
    pub(super) fn take(&self, purpose: Purpose) -> Option<(Stream, Route)> {
        loop {
            let mut kept = self.kept();
            let last = kept.iter().rposition(|kept| kept.route.purpose() == purpose)?;
            let last = kept.remove(last)?;
            drop(kept);
            let now = Tick::now();
            if let Ok(Kept { stream, route, .. }) = last.usable(now, self.time) {
                return Some((stream, route));
            }
        }
    }

    /// Close what cannot be used any more, and what leads to an address that `serves` not.
    pub(super) fn sweep(&self, serves: impl Fn(&Route) -> bool) {
        let now = Tick::now();
        let mut kept = self.kept();
        let before = std::mem::take(&mut *kept);
        let (mut rest, mut gone) = (VecDeque::with_capacity(before.len()), Vec::new());
        for connection in before {
            let serves = serves(&connection.route);
            match connection.usable(now, self.time) {
                Ok(connection) if serves => rest.push_back(connection),
                Ok(connection) | Err(connection) => gone.push(connection),
            }
        }
        *kept = rest;
        drop(kept);
        // Closing is not for under the lock here either.
        drop(gone);
    }
}

impl Kept {
    /// This connection; as an error where it is old, or was closed, or something has come that nobody asked for.
    fn usable(mut self, now: Tick, time: Duration) -> Result<Self, Self> {
        if now.since(self.since) < time && is_quiet(&mut self.stream) { Ok(self) } else { Err(self) }
    }
}

/// Whether nothing is to be read, not even the end.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    // A task that has used up its share of time would be told that there is nothing, without a look.
    let read = pin!(tokio::task::unconstrained(stream.read(&mut byte)));
    read.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::config::Config;
    use crate::origin::peer::Routes;

    fn route(purpose: Purpose, port: u16) -> Route {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Routes::new(&Config::default().upstream, address, 1).of(purpose).clone()
    }

    /// Keep a connection, to the address with that port.
    fn keep(idle: &Idle, purpose: Purpose, port: u16) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64);
        idle.keep(Box::new(ours), route(purpose, port));
        theirs
    }

    fn take(idle: &Idle, purpose: Purpose) -> Option<u16> {
        let (_, route) = idle.take(purpose)?;
        Some(route.address().as_inet().expect("an address").port())
    }

    const HOUR: Duration = Duration::from_secs(3600);
    use Purpose::{Question, Traffic};
    use pingora::upstreams::peer::Peer;

    #[tokio::test]
    async fn the_one_used_last_is_taken_and_the_oldest_makes_room() {
        let idle = Idle::new(3, HOUR);
        let _theirs = [(Traffic, 1), (Traffic, 2), (Question, 3), (Traffic, 4)].map(|(p, n)| keep(&idle, p, n));
        assert_eq!([take(&idle, Traffic), take(&idle, Traffic), take(&idle, Traffic)], [Some(4), Some(2), None]);
        assert_eq!([take(&idle, Question), take(&idle, Question)], [Some(3), None]);
        let none = Idle::new(0, HOUR);
        let _theirs = keep(&none, Traffic, 1);
        assert_eq!(take(&none, Traffic), None);
    }

    #[tokio::test]
    async fn what_was_closed_or_speaks_unasked_is_not_used() {
        let idle = Idle::new(9, HOUR);
        let (_quiet, closed, mut speaking) =
            (keep(&idle, Traffic, 1), keep(&idle, Traffic, 2), keep(&idle, Traffic, 3));
        drop(closed);
        speaking.write_all(b"HTTP/1.1 408").await.expect("open");
        assert_eq!([take(&idle, Traffic), take(&idle, Traffic)], [Some(1), None]);
    }

    #[tokio::test]
    async fn what_is_old_is_not_used() {
        let idle = Idle::new(9, Duration::ZERO);
        let _theirs = keep(&idle, Traffic, 1);
        assert_eq!(take(&idle, Traffic), None);
    }

    #[tokio::test]
    async fn a_sweep_closes_what_is_of_no_use() {
        let idle = Idle::new(9, HOUR);
        let (_one, closed, mut elsewhere) = (keep(&idle, Traffic, 1), keep(&idle, Traffic, 2), keep(&idle, Traffic, 3));
        drop(closed);
        idle.sweep(|route| route.address().as_inet().is_some_and(|address| address.port() != 3));
        assert_eq!(elsewhere.read_u8().await.expect_err("closed").kind(), std::io::ErrorKind::UnexpectedEof);
        assert_eq!(idle.kept().len(), 1);
        assert_eq!(take(&idle, Traffic), Some(1));
    }
}
