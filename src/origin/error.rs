//! Why the upstream cannot be reached.

use std::fmt;

use pingora::{Error, ErrorType};

/// Error details of libraries are cut to this before they are kept.
const DETAIL_MAX_BYTES: usize = 240;

/// Why an [`Origin`](super::Origin) cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Clear text to another machine: keys would be readable on the way.
    #[error("the upstream must be https:// unless it is a loopback address")]
    ClearText,
    /// The host is empty; an empty name would switch certificate checks off.
    #[error("the upstream has no host")]
    NoHost,
    /// The authority cannot be put into a `Host` header.
    #[error("the upstream's host cannot stand in a Host header")]
    Authority,
    /// Trusted certificates could not be read.
    #[error("trusted certificates cannot be read (set upstream.ca_file, or SSL_CERT_FILE): {0}")]
    Trust(String),
    /// There are none: nothing could ever be verified.
    #[error("no trusted certificates found (install the system's ca-certificates, or set upstream.ca_file)")]
    NoTrust,
}

/// Why there is no connection. In every case **nothing of any request was sent**.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", kind.name())]
pub struct ConnectError {
    /// What went wrong.
    pub kind: ConnectFailure,
    /// The library's or system's words, for logs; bounded, and free of secrets since nothing was sent yet.
    pub detail: String,
}

/// The ways a connection can fail to come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectFailure {
    /// The host name has no address.
    Unresolved,
    /// The upstream does not listen, or there is no way to it.
    Refused,
    /// Not within `connect_timeout`.
    TimedOut,
    /// The certificate does not hold, or TLS failed otherwise.
    Tls,
    /// Anything else, such as having no sockets left.
    Other,
}

impl ConnectFailure {
    /// The stable name used in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Tls => "tls",
            Self::Other => "other",
        }
    }
}

impl ConnectError {
    pub(super) fn new(kind: ConnectFailure, detail: impl fmt::Display) -> Self {
        let mut detail = detail.to_string().trim().to_owned();
        let cut = (0..=DETAIL_MAX_BYTES.min(detail.len())).rev().find(|at| detail.is_char_boundary(*at));
        detail.truncate(cut.unwrap_or(0));
        Self { kind, detail }
    }

    pub(super) fn from_pingora(error: &Error) -> Self {
        let kind = match error.etype() {
            ErrorType::ConnectRefused | ErrorType::ConnectNoRoute | ErrorType::ConnectError => ConnectFailure::Refused,
            ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => ConnectFailure::TimedOut,
            ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => ConnectFailure::Tls,
            _ => ConnectFailure::Other,
        };
        Self::new(kind, error)
    }
}
