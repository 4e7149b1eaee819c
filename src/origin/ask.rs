//! potluck's own small questions to the upstream: GET, a deadline for the whole, a bounded body.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use pingora::http::RequestHeader;

use super::peer::Purpose;
use super::{ConnectError, Origin, OriginSession};
use crate::secret::Credential;

/// What [`Origin::ask`] allows: the answers it is for have a few hundred bytes and come within a second.
const SMALL: Bounds = Bounds { deadline: Duration::from_secs(15), body_max_bytes: 256 * 1024 };
const USER_AGENT: &str = concat!("potluck/", env!("CARGO_PKG_VERSION"));

/// Limits of one question.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the first step (connecting) to the answer's last byte.
    pub deadline: Duration,
    /// A longer body is an error.
    pub body_max_bytes: usize,
}

/// An answer, whatever its status. A redirect is an answer like any other and is not followed.
pub struct Asked {
    /// Status code.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl fmt::Debug for Asked {
    /// Without the body, which may describe a donor's account.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asked({}, {} bytes)", self.status, self.body.len())
    }
}

/// Why there is no answer. None of these says anything about a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No connection.
    #[error("cannot connect to the upstream: {0}")]
    Connect(#[from] ConnectError),
    /// Not within the deadline.
    #[error("the upstream did not answer in time")]
    TimedOut,
    /// The connection broke, or what came was not HTTP. Says where; never repeats received bytes.
    #[error("the upstream's answer broke off while {0}")]
    Broken(&'static str),
    /// The body is longer than allowed.
    #[error("the upstream's answer is too long")]
    TooLarge,
    /// The target cannot be requested.
    #[error("not a request target")]
    Target,
    /// Too many questions are open already.
    #[error("too many questions to the upstream are open")]
    Busy,
}

impl Origin {
    /// Ask `target` (a path with its query, as [`Origin::target`] gives it), as `key` where one is given.
    ///
    /// # Errors
    /// [`AskError`]; any status code is an answer.
    pub async fn ask(&self, target: &str, key: Option<&Credential>) -> Result<Asked, AskError> {
        self.ask_within(target, key, SMALL).await
    }

    /// [`Origin::ask`] with other limits.
    ///
    /// # Errors
    /// As [`Origin::ask`].
    pub async fn ask_within(&self, target: &str, key: Option<&Credential>, bounds: Bounds) -> Result<Asked, AskError> {
        let whole = self.ask_twice(target, key, bounds.body_max_bytes);
        tokio::time::timeout(bounds.deadline, whole).await.unwrap_or(Err(AskError::TimedOut))
    }

    /// A kept connection may turn out to be closed; a GET may simply be sent again, once, on a fresh one.
    async fn ask_twice(&self, target: &str, key: Option<&Credential>, max: usize) -> Result<Asked, AskError> {
        let session = self.connect_for(Purpose::Question, true).await?;
        let reused = session.reused;
        match self.ask_on(session, self.question(target, key)?, max).await {
            Err(AskError::Broken(_)) if reused => {
                let fresh = self.connect_for(Purpose::Question, false).await?;
                self.ask_on(fresh, self.question(target, key)?, max).await
            }
            result => result,
        }
    }

    fn question(&self, target: &str, key: Option<&Credential>) -> Result<Box<RequestHeader>, AskError> {
        let mut request =
            RequestHeader::build_no_case("GET", target.as_bytes(), Some(5)).map_err(|_| AskError::Target)?;
        let mut put = |name, value| request.insert_header(name, value).map(drop).map_err(|_| AskError::Target);
        put(header::HOST, self.host_header())?;
        put(header::USER_AGENT, HeaderValue::from_static(USER_AGENT))?;
        put(header::ACCEPT, HeaderValue::from_static("application/json"))?;
        put(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))?;
        if let Some(key) = key {
            put(header::AUTHORIZATION, key.bearer())?;
        }
        Ok(Box::new(request))
    }

    async fn ask_on(
        &self,
        mut session: OriginSession,
        request: Box<RequestHeader>,
        max: usize,
    ) -> Result<Asked, AskError> {
        // Pingora's error texts can hold received bytes, so only the place is kept.
        let at = |place| move |_| AskError::Broken(place);
        let http = &mut session.http;
        http.write_request_header(request).await.map_err(at("sending the request"))?;
        http.finish_request_body().await.map_err(at("sending the request"))?;
        session.request_whole = true;
        let http = &mut session.http;
        let (status, headers) = loop {
            http.read_response_header().await.map_err(at("reading the head"))?;
            let head = http.response_header().ok_or(AskError::Broken("reading the head"))?;
            if !head.status.is_informational() {
                break (head.status.as_u16(), head.headers.clone());
            }
        };
        let mut body = Vec::new();
        while let Some(chunk) = http.read_response_body().await.map_err(at("reading the body"))? {
            if body.len() + chunk.len() > max {
                return Err(AskError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        self.release(session).await;
        Ok(Asked { status, headers, body: body.into() })
    }
}
