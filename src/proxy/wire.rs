//! A client's connection, whose raw bytes are looked at where Pingora's reading is not strict enough.
//!
//! Pingora shows the raw bytes of a head, but not those of a body: it unpacks chunks by itself. So each connection is wrapped
//! before Pingora gets it. The wrapper passes everything on as it is; while a chunked body is read, it follows the framing
//! (`chunks`), and a read that brings an ambiguous byte fails. Bodies are read whole before anything is sent up.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::header::TRANSFER_ENCODING;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use tokio::io::{AsyncRead, ReadBuf};

use super::chunks::{Ambiguous, Chunks, HeadEnd};
use crate::tapped::{Tap, Tapped};

/// Looks at what is read. Told what comes next through the session, which lends the connection only; reading has it to
/// itself and does not lock.
pub struct Wire(Mutex<Watch>);

/// What is looked at.
#[derive(Debug)]
enum Watch {
    /// Nothing: a body with a length, an answer under way, HTTP/2.
    Nothing,
    /// A head is being read. What comes with it from behind its end is kept until it is known how the body is framed: less
    /// than one read.
    Head { end: HeadEnd, over: bool, behind: Vec<u8> },
    /// A chunked body.
    Body(Chunks),
    /// Nothing any more: its chunks could be read in two ways.
    Refused,
}

impl Watch {
    fn see(&mut self, bytes: &[u8]) -> Result<(), Ambiguous> {
        match self {
            Self::Nothing | Self::Refused => Ok(()),
            Self::Head { end, over, behind } => {
                let from = if *over { Some(0) } else { end.find(bytes) };
                if let Some(from) = from {
                    *over = true;
                    behind.extend_from_slice(bytes.get(from..).unwrap_or_default());
                }
                Ok(())
            }
            Self::Body(chunks) => chunks.push(bytes),
        }
    }
}

impl Wire {
    /// Wrap a connection before its first byte is read.
    pub fn wrap(stream: Stream) -> Stream {
        Tapped::wrap(stream, Self(Mutex::new(Watch::Nothing)))
    }

    /// Of the connection under a session, where it has one of its own (HTTP/1).
    fn under(session: &ServerSession) -> Option<&Self> {
        let ServerSession::H1(session) = session else { return None };
        Tapped::tap(session.stream())
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next bytes of this session are a request's head.
pub fn head_begins(session: &ServerSession) {
    if let Some(wire) = Wire::under(session) {
        *wire.watch() = Watch::Head { end: HeadEnd::default(), over: false, behind: Vec::new() };
    }
}

/// The head has been read and found in order, and the body follows.
///
/// # Errors
/// When what has come of a chunked body by now could be read in two ways; the connection must be closed.
pub fn body_begins(session: &ServerSession) -> Result<(), Ambiguous> {
    let Some(wire) = Wire::under(session) else { return Ok(()) };
    let head = std::mem::replace(&mut *wire.watch(), Watch::Nothing);
    if !session.req_header().headers.contains_key(TRANSFER_ENCODING) {
        return Ok(());
    }
    // A head that Pingora takes for whole and we do not is not plain.
    let Watch::Head { over: true, behind, .. } = head else { return Err(Ambiguous) };
    let mut chunks = Chunks::new();
    chunks.push(&behind)?;
    *wire.watch() = Watch::Body(chunks);
    Ok(())
}

/// Whether the body is over by our reading, too, now that Pingora says so.
pub fn body_is_whole(session: &ServerSession) -> bool {
    Wire::under(session).is_none_or(|wire| match &*wire.watch() {
        Watch::Body(chunks) => chunks.over(),
        Watch::Nothing | Watch::Head { .. } => true,
        Watch::Refused => false,
    })
}

/// Whether reading the body failed because its chunks could be read in two ways.
pub fn is_ambiguous(session: &ServerSession) -> bool {
    Wire::under(session).is_some_and(|wire| matches!(*wire.watch(), Watch::Refused))
}

impl Tap for Wire {
    const WRITES: bool = false;

    fn poll_read(&mut self, stream: &mut Stream, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buf))?;
        let watch = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(ambiguous) = watch.see(buf.filled().get(before..).unwrap_or_default()) {
            *watch = Watch::Refused;
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, ambiguous)));
        }
        Poll::Ready(Ok(()))
    }
}
