//! A client's connection, whose raw bytes are looked at where Pingora's reading is not strict enough.
//!
//! Pingora shows the raw bytes of a head, but not those of a body: it unpacks chunks by itself. So each connection is wrapped
//! before Pingora gets it. The wrapper passes everything on as it is; while a chunked body is read, it follows the framing
//! (`chunks`), and a read that brings an ambiguous byte fails. Bodies are read whole before anything is sent up.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use http::header::TRANSFER_ENCODING;
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunks::{Ambiguous, Chunks, HeadEnd};

/// A wrapped connection.
pub struct Wire {
    stream: Stream,
    /// Told what comes next through the session, which lends the connection only; reading has it to itself and does not lock.
    watch: Mutex<Watch>,
}

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
        Box::new(Self { stream, watch: Mutex::new(Watch::Nothing) })
    }

    /// The connection under a session, where it has one of its own (HTTP/1).
    fn under(session: &ServerSession) -> Option<&Self> {
        let ServerSession::H1(session) = session else { return None };
        (**session.stream()).as_any().downcast_ref()
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
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

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let watch = this.watch.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(ambiguous) = watch.see(buf.filled().get(before..).unwrap_or_default()) {
            *watch = Watch::Refused;
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, ambiguous)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.stream).await;
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Wire {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}

#[async_trait]
impl Peek for Wire {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.stream.try_peek(buf).await
    }
}

impl fmt::Debug for Wire {
    /// Never the bytes kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({:?})", self.stream)
    }
}
