//! A client's connection: whether it is let in, and its requests, one after the other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::ErrorType;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::ShutdownWatch;
// tokio's own timer wakes its thread by a system call for every timer that is the next one.
use pingora_timeout::timeout;

use crate::clock::Tick;
use crate::config::Config;
use crate::pot::{LastGuest, Pot};
use crate::telemetry::RequestOutcome;
use crate::upstream::Refusal;

use super::Proxy;
use super::answer::{Served, give_unreadable};
use super::gate::Gate;
use super::head::HeadFault;
use super::wire::{self, Wire};

/// HTTP/2 multiplies what a client can make us hold, so its limits are tighter than HTTP/1's
/// (`reliability.md` section 0, finding 6).
const H2_HEAD_MAX_BYTES: u32 = 16 * 1024;
/// Streams of one connection at a time.
const H2_STREAMS_MAX: u32 = 32;
/// Streams that were reset and are still remembered, before the connection is closed.
const H2_RESETS_MAX: usize = 20;

/// How an HTTP/2 connection begins (RFC 9113, 3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Shutting down: a connection that was accepted just before gets this long to show its first request. Less than the
/// drain waits before it counts what is under way.
const LAST_HEAD: Duration = Duration::from_millis(200);

/// The outer door of the proxy listener: counts connections, then serves them.
pub struct Door {
    proxy: Arc<Proxy>,
    gate: Arc<Gate>,
}

impl Door {
    /// A proxy listener's application over `pot`.
    pub fn new(pot: Arc<Pot>, config: &Config) -> Self {
        let gate = Gate::new(config.proxy.connections_max, config.proxy.connections_per_address_max);
        Self { proxy: Arc::new(Proxy::new(pot, config)), gate }
    }
}

#[async_trait]
impl ServerApp for Door {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let address = stream.get_socket_digest().and_then(|d| d.peer_addr()?.as_inet().map(|a| a.ip()));
        let Some(_entered) = self.gate.enter(address) else {
            // Closing at once is the cheapest thing to do for the many; the counter tells the operator.
            self.proxy.pot.metrics().connection_refused();
            return None;
        };
        let mut stream = Wire::wrap(stream);
        let opened = Tick::now();
        if self.proxy.options.h2c && self.proxy.speaks_http2(&mut stream, shutdown.clone()).await? {
            return self.proxy.process_new(stream, shutdown).await;
        }
        self.proxy.converse(stream, opened, shutdown.clone()).await;
        None
    }
}

/// The requests of an HTTP/2 connection, each in a task of its own.
#[async_trait]
impl HttpServerApp for Proxy {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let _underway = self.pot.request();
        if self.answer(&mut session, &mut LastGuest::default(), shutdown).await {
            // Too late is as good as done: dropping the session resets the stream.
            drop(timeout(self.limits.write_timeout, session.finish()).await);
        }
        None
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_header_list_size(u32::try_from(self.limits.head.bytes).unwrap_or(u32::MAX).min(H2_HEAD_MAX_BYTES));
        options.max_concurrent_streams(H2_STREAMS_MAX);
        options.max_pending_accept_reset_streams(H2_RESETS_MAX);
        options.max_concurrent_reset_streams(H2_RESETS_MAX);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

impl Proxy {
    /// Whether the connection begins as one of HTTP/2 does; `None` when its client does not say.
    async fn speaks_http2(&self, stream: &mut Stream, mut shutdown: ShutdownWatch) -> Option<bool> {
        let mut begin = [0; H2_PREFACE.len()];
        let seen = tokio::select! {
            biased;
            seen = timeout(self.limits.head_timeout, stream.try_peek(&mut begin)) => seen.ok()?.ok()?,
            () = last_head(&mut shutdown) => return None,
        };
        Some(seen && begin == *H2_PREFACE)
    }

    /// Serve the requests of an HTTP/1 connection. Pingora's own loop makes a box for each of them, and what a request needs
    /// is so much that making and filling it takes longer than reading its head.
    async fn converse(&self, stream: Stream, opened: Tick, mut shutdown: ShutdownWatch) -> Option<()> {
        let mut session = ServerSession::new_http1(stream);
        let mut last = LastGuest::default();
        let mut deadline = Head::First(self.limits.head_timeout.saturating_sub(opened.elapsed()));
        loop {
            // Pingora's deadline is for each read, and would be a timer more.
            session.set_keepalive(Some(0));
            self.await_head(&mut session, deadline, &mut shutdown).await?;
            let _underway = self.pot.request();
            if !self.answer(&mut session, &mut last, &shutdown).await {
                return None;
            }
            let stream = timeout(self.limits.write_timeout, session.finish()).await.ok()?.ok().flatten()?;
            session = ServerSession::new_http1(stream.into_parts().0);
            deadline = Head::Next(self.limits.idle_timeout);
        }
    }

    /// Serve the request whose head has been read; whether another may follow. If not, the connection has been ended.
    async fn answer(&self, session: &mut ServerSession, last: &mut LastGuest, shutdown: &ShutdownWatch) -> bool {
        session.set_write_timeout(Some(self.limits.write_timeout));
        if *shutdown.borrow() {
            session.set_keepalive(None);
        }
        let served = self.serve(session, last).await;
        // Pingora would read the rest of a body, for as long as the client likes to send.
        let goes_on = served.reusable && session.is_body_done();
        if !goes_on {
            self.hang_up(session, served).await;
        }
        goes_on
    }

    /// Wait for a whole request head, within one deadline: Pingora's own is per read, and there is none between the
    /// requests of a kept connection.
    async fn await_head(&self, session: &mut ServerSession, head: Head, shutdown: &mut ShutdownWatch) -> Option<()> {
        wire::head_begins(session);
        let closing = async {
            match head {
                Head::First(_) => last_head(shutdown).await,
                Head::Next(_) => drop(shutdown.wait_for(|down| *down).await),
            }
        };
        let (Head::First(deadline) | Head::Next(deadline)) = head;
        let read = tokio::select! {
            biased;
            read = timeout(deadline, session.read_request()) => read.ok()?,
            () = closing => return None,
        };
        match read {
            Ok(true) => Some(()),
            Ok(false) => None,
            Err(error) => {
                if matches!(error.etype(), ErrorType::InvalidHTTPHeader) {
                    // In a box: the future of a request that can be read has no room for this in it.
                    Box::pin(self.turn_back(session)).await;
                }
                None
            }
        }
    }

    /// Answer what is no request.
    async fn turn_back(&self, session: &mut ServerSession) {
        let fault = Refusal::MalformedHead(HeadFault::Syntax.describe());
        give_unreadable(session, &fault, self.request()).await;
        self.hang_up(session, Served { outcome: RequestOutcome::Answered, reusable: false }).await;
    }

    /// End a connection in order, unless its client has left or does not read: what is still to be written to that one
    /// would keep us here for as long as it likes.
    async fn hang_up(&self, session: &mut ServerSession, served: Served) {
        if served.outcome != RequestOutcome::ClientGone {
            // Too late is as good as done: dropping the session closes it.
            drop(timeout(self.limits.write_timeout, session.shutdown()).await);
        }
    }
}

/// Returns when a connection that has shown no request by now will not be waited for any longer.
async fn last_head(shutdown: &mut ShutdownWatch) {
    drop(shutdown.wait_for(|down| *down).await);
    tokio::time::sleep(LAST_HEAD).await;
}

/// Which head of a connection is waited for, and how long at most.
#[derive(Clone, Copy, Debug)]
enum Head {
    /// The first one.
    First(Duration),
    /// One after an answer.
    Next(Duration),
}
