//! Lets a request's head wait for its body, so that both leave in one piece.
//!
//! Pingora sends a head as soon as it is written. For a small request that is a system call, a packet and, with TLS, a record
//! more than it takes.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use pingora::protocols::http::client::HttpSession;
use tokio::io::AsyncWrite;

use crate::tapped::{Tap, Tapped};

/// What is kept to go together at most, in bytes: beyond, one write more costs less than the copy.
const TOGETHER_MAX_BYTES: usize = 16 * 1024;

/// Gathers what is written while it is told to.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Nothing is sent for now. Set through the session, which lends the connection only.
    holding: AtomicBool,
    held: BytesMut,
}

impl Gather {
    /// Wrap a new connection.
    pub(super) fn wrap(stream: Stream) -> Stream {
        Tapped::wrap(stream, Self::default())
    }

    /// From now on nothing is sent (`true`), or everything from the next write on (`false`). HTTP/2 has its own way.
    pub(super) fn hold(session: &HttpSession, hold: bool) {
        let HttpSession::H1(session) = session else { return };
        if let Some(gather) = Tapped::<Self>::tap(session.stream()) {
            gather.holding.store(hold, Ordering::Relaxed);
        }
    }

    fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.has_remaining() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.held))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.held.advance(sent),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Tap for Gather {
    const WRITES: bool = true;

    fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let gathers = *self.holding.get_mut() || !self.held.is_empty();
        if gathers && self.held.len().saturating_add(buf.len()) <= TOGETHER_MAX_BYTES {
            self.held.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_send(stream, cx))?;
        Pin::new(stream).poll_write(cx, buf)
    }

    fn poll_flush(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if *self.holding.get_mut() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(stream, cx))?;
        Pin::new(stream).poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf};

    use super::*;

    fn wrapped() -> (Stream, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        (Gather::wrap(Box::new(ours)), theirs)
    }

    fn hold(stream: &Stream, hold: bool) {
        Tapped::<Gather>::tap(stream).expect("wrapped").holding.store(hold, Ordering::Relaxed);
    }

    #[tokio::test]
    async fn a_head_waits_for_its_body_and_both_arrive_whole() {
        for body in [vec![b'x'; 1], vec![b'x'; TOGETHER_MAX_BYTES], vec![b'x'; 300_000]] {
            let (mut stream, mut theirs) = wrapped();
            hold(&stream, true);
            stream.write_all(b"head|").await.expect("written");
            stream.flush().await.expect("flushed");
            let (mut room, mut context) = ([0; 8], Context::from_waker(std::task::Waker::noop()));
            assert!(Pin::new(&mut theirs).poll_read(&mut context, &mut ReadBuf::new(&mut room)).is_pending());
            hold(&stream, false);
            stream.write_all(&body).await.expect("written");
            stream.flush().await.expect("flushed");
            drop(stream);
            let mut arrived = Vec::new();
            theirs.read_to_end(&mut arrived).await.expect("open");
            assert_eq!(arrived, [b"head|", &*body].concat());
        }
    }
}
