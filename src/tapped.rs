//! A connection with something of ours between it and Pingora.
//!
//! Pingora's sessions read and write a boxed stream. Where they do so in a way that does not suit us, the stream is wrapped
//! before they get it, and a [`Tap`] sees what passes.

use std::any::Any;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What stands between. Whatever it does not care about passes as it is.
pub(crate) trait Tap: Any + Send + Sync + Unpin {
    /// Whether it has a say in writing.
    const WRITES: bool;

    /// Read.
    fn poll_read(&mut self, stream: &mut Stream, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(stream).poll_read(cx, buf)
    }

    /// Write.
    fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(stream).poll_write(cx, buf)
    }

    /// Send what was written.
    fn poll_flush(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(stream).poll_flush(cx)
    }
}

/// A wrapped connection.
pub(crate) struct Tapped<T> {
    stream: Stream,
    tap: T,
}

impl<T: Tap> Tapped<T> {
    /// Wrap a connection.
    pub(crate) fn wrap(stream: Stream, tap: T) -> Stream {
        Box::new(Self { stream, tap })
    }

    /// What stands between, where the stream was wrapped with such a one.
    pub(crate) fn tap(stream: &Stream) -> Option<&T> {
        (**stream).as_any().downcast_ref::<Self>().map(|tapped| &tapped.tap)
    }
}

impl<T: Tap> AsyncRead for Tapped<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, tap } = self.get_mut();
        tap.poll_read(stream, cx, buf)
    }
}

impl<T: Tap> AsyncWrite for Tapped<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, tap } = self.get_mut();
        tap.poll_write(stream, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, tap } = self.get_mut();
        tap.poll_flush(stream, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, tap } = self.get_mut();
        if T::WRITES {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return tap.poll_write(stream, cx, first.map_or(&[], |buf| &**buf));
        }
        Pin::new(stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        !T::WRITES && self.stream.is_write_vectored()
    }
}

#[async_trait]
impl<T: Tap> Shutdown for Tapped<T> {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.stream).await;
    }
}

impl<T> UniqueID for Tapped<T> {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl<T> Ssl for Tapped<T> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl<T> GetTimingDigest for Tapped<T> {
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

impl<T> GetProxyDigest for Tapped<T> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl<T> GetSocketDigest for Tapped<T> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}

#[async_trait]
impl<T: Tap> Peek for Tapped<T> {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.stream.try_peek(buf).await
    }
}

impl<T> fmt::Debug for Tapped<T> {
    /// Never the bytes that a tap keeps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tapped({:?})", self.stream)
    }
}
