//! Listening sockets that are taken before anything else happens, and kept.
//!
//! Pingora takes a service's sockets when it starts the service, and tries again for half a minute when somebody else has
//! them, with its other listeners open meanwhile. Looking beforehand whether an address is free proves nothing for later:
//! two that start in the same moment both find it free. So potluck takes its sockets itself, and hands them to Pingora the way
//! a predecessor hands over its own.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;

use async_trait::async_trait;
use pingora::server::{ListenFds, RuntimeOpts, ShutdownWatch};
use pingora::services::Service;

use super::StartError;
use crate::config::Config;

/// Both listening sockets, taken.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// Of the proxy listener.
    pub(crate) proxy: TcpListener,
    /// Of the admin listener.
    pub(crate) admin: TcpListener,
}

impl Sockets {
    /// Take the addresses that the configuration names.
    pub(super) fn take(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            proxy: take(config.proxy.listen, "proxy.listen", "POTLUCK_LISTEN")?,
            admin: take(config.admin.listen, "admin.listen", "POTLUCK_ADMIN_LISTEN")?,
        })
    }
}

fn take(address: SocketAddr, setting: &'static str, variable: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => StartError::ListenerTaken { setting, variable, address },
        _ => StartError::Listener { setting, address, error },
    })
}

/// A service that listens on a socket that was taken for it.
pub(super) struct Seated<S> {
    service: S,
    /// The address as the service knows it, and its socket until it starts.
    socket: Option<(String, TcpListener)>,
}

impl<S: Service> Seated<S> {
    /// The service, which listens on `address`, where it knows that by this very text.
    pub(super) fn new(service: S, address: SocketAddr, socket: TcpListener) -> Self {
        Self { service, socket: Some((address.to_string(), socket)) }
    }
}

#[async_trait]
impl<S: Service> Service for Seated<S> {
    async fn start_service(&mut self, sockets: Option<ListenFds>, shutdown: ShutdownWatch, listeners_per_fd: usize) {
        if let (Some(known), Some((address, socket))) = (&sockets, self.socket.take()) {
            match socket.set_nonblocking(true) {
                // From here on it is Pingora's, which closes it.
                Ok(()) => known.lock().add(address, socket.into_raw_fd()),
                Err(error) => tracing::error!(%error, address, "the socket cannot be used; taking it again"),
            }
        }
        self.service.start_service(sockets, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }

    fn runtime_opts_override(&self, global: &RuntimeOpts) -> Option<RuntimeOpts> {
        self.service.runtime_opts_override(global)
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        self.service.listen_addresses()
    }
}
