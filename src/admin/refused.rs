//! Every refusal of the admin API, and its one rendering. No message repeats what the caller sent, beyond the clean
//! name of a member that nobody knows: a key may stand anywhere in what was sent.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::pool::KeyId;
use crate::pot::{AdminError, ClientError, DonateError, SettleError};
use crate::secret::KeyFormatError;
use crate::store::StoreError;

use super::answers::{ErrorAnswer, ErrorDetail};
use super::text::TextFault;

/// Why an admin call is refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The body is no JSON.
    MalformedJson { line: usize, column: usize },
    /// The body is JSON, but no object.
    NotAnObject,
    /// The body is larger than `max` bytes.
    BodyTooLarge { max: usize },
    /// The body did not arrive in time or in whole.
    BodyBroken,
    /// A member is needed.
    Missing { field: &'static str },
    /// A member has the wrong type or an unknown value.
    WrongValue { field: &'static str, expected: &'static str },
    /// A member stands twice.
    Twice { field: String },
    /// A member that does not exist; its name where it is clean.
    Unknown { field: Option<String> },
    /// A text that is too long, empty, or not printable.
    Text { field: &'static str, fault: TextFault },
    /// `key` is no OpenRouter key.
    KeyMalformed(KeyFormatError),
    /// Neither or both of `key` and `id`.
    KeyOrId,
    /// The pool has the key.
    KeyPresent(KeyId),
    /// A management key.
    KeyManages,
    /// OpenRouter does not know the key.
    KeyRejected,
    /// No such key in the pool.
    KeyNotFound,
    /// A key that never was in the pool.
    KeyNeverThere,
    /// No such client, or its key is revoked.
    ClientNotFound,
    /// As many clients as there can be.
    TooManyClients,
    /// Too many signing keys whose tokens are not over.
    TooManySigningKeys,
    /// A change that changes nothing.
    NothingToChange,
    /// No line of the ledger of that number, or none that was ever in suspense.
    EntryNotFound,
    /// The entry's cost is known by now.
    EntrySettled,
    /// More lines than one answer may have.
    TooManyLines { max: usize },
    /// No such path.
    NoSuchPath,
    /// The path exists, the method does not.
    Method,
    /// The request target is not a plain path, or has a query.
    Query,
    /// Not addressed to this listener.
    Host,
    /// Sent by a page of another origin.
    Origin,
    /// A write without `Content-Type: application/json`.
    ContentType,
    /// No token, or a wrong one.
    Token,
    /// Too many wrong tokens from there.
    Guessing { retry_after_s: u64 },
    /// The head is not well-formed.
    Head(&'static str),
    /// The store cannot be written or read.
    Store,
    /// A write to a potluck that is shutting down: its successor would not hear of it.
    Draining,
    /// A fault of ours.
    Internal,
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::KeyNotFound | Self::KeyNeverThere | Self::ClientNotFound | Self::EntryNotFound | Self::NoSuchPath => {
                StatusCode::NOT_FOUND
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyBroken => StatusCode::REQUEST_TIMEOUT,
            Self::KeyPresent(_) | Self::EntrySettled | Self::TooManySigningKeys => StatusCode::CONFLICT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Guessing { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Store | Self::Draining | Self::TooManyClients => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Stable, for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::MalformedJson { .. } => "json_malformed",
            Self::NotAnObject => "json_not_an_object",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyBroken => "body_incomplete",
            Self::Missing { .. } => "field_missing",
            Self::WrongValue { .. } => "field_wrong_value",
            Self::Twice { .. } => "field_twice",
            Self::Unknown { .. } => "field_unknown",
            Self::Text { .. } => "field_text",
            Self::KeyMalformed(_) => "key_malformed",
            Self::KeyOrId => "key_or_id",
            Self::KeyPresent(_) => "key_present",
            Self::KeyManages => "key_manages",
            Self::KeyRejected => "key_rejected",
            Self::KeyNotFound | Self::KeyNeverThere => "key_not_found",
            Self::ClientNotFound => "client_not_found",
            Self::TooManyClients => "too_many_clients",
            Self::TooManySigningKeys => "too_many_signing_keys",
            Self::NothingToChange => "nothing_to_change",
            Self::EntryNotFound => "entry_not_found",
            Self::EntrySettled => "entry_settled",
            Self::TooManyLines { .. } => "too_many_lines",
            Self::NoSuchPath => "path_unknown",
            Self::Method => "method_not_allowed",
            Self::Query => "query_unknown",
            Self::Host => "host_foreign",
            Self::Origin => "origin_foreign",
            Self::ContentType => "content_type",
            Self::Token => "token",
            Self::Guessing { .. } => "token_guessing",
            Self::Head(_) => "head_malformed",
            Self::Store => "store_unavailable",
            Self::Draining => "draining",
            Self::Internal => "internal",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::MalformedJson { line, column } => {
                format!("the body is not well-formed JSON (line {line}, column {column})")
            }
            Self::NotAnObject => "the body must be one JSON object".to_owned(),
            Self::BodyTooLarge { max } => format!("the body is larger than {max} bytes (admin.body_max_bytes)"),
            Self::BodyBroken => "the body did not arrive whole and in time".to_owned(),
            Self::Missing { field } => format!("{field} is needed"),
            Self::WrongValue { field, expected } => format!("{field} must be {expected}"),
            Self::Twice { field } => format!("{field} stands twice"),
            Self::Unknown { field: Some(field) } => format!("{field} is not a member of this call"),
            Self::Unknown { field: None } => "the body has a member that this call does not know".to_owned(),
            Self::Text { field, fault } => format!("{field} {fault}"),
            Self::KeyMalformed(fault) => fault.to_string(),
            Self::KeyOrId => "name the key by exactly one of key and id".to_owned(),
            Self::KeyPresent(id) => format!("the key is in the pool already, as {id}"),
            Self::KeyManages => {
                "this is a management (provisioning) key: it cannot serve requests and could change the \
                 donor's account; donate an ordinary API key"
                    .to_owned()
            }
            Self::KeyRejected => {
                "OpenRouter does not accept this key: it is unknown, deleted, disabled or expired".to_owned()
            }
            Self::KeyNotFound => "no such key in the pool".to_owned(),
            Self::KeyNeverThere => "no such key is in the pool, and none was ever used".to_owned(),
            Self::ClientNotFound => {
                "no such client, or its key is revoked: `potluck clients list` and GET /clients have those there are"
                    .to_owned()
            }
            Self::TooManyClients => "there are as many clients as there can be: revoke some".to_owned(),
            Self::TooManySigningKeys => {
                "too many older signing keys have tokens that are not over: wait, or end them with endTokens".to_owned()
            }
            Self::NothingToChange => "name at least one thing to change".to_owned(),
            Self::EntryNotFound => "no entry of that number was ever in suspense".to_owned(),
            Self::EntrySettled => "the entry is not in suspense any more: its cost is known".to_owned(),
            Self::TooManyLines { max } => format!("that is more than {max} lines: ask for less, by from, to or key"),
            Self::NoSuchPath => "no such path; GET /openapi.json tells which there are".to_owned(),
            Self::Method => "this path does not take that method".to_owned(),
            Self::Query => "the request target must be a plain path, and this call takes no query".to_owned(),
            Self::Host => {
                "the Host header names neither this machine, nor the listen address, nor one of admin.hosts".to_owned()
            }
            Self::Origin => "pages of other origins may not call the admin API".to_owned(),
            Self::ContentType => "writes need Content-Type: application/json".to_owned(),
            Self::Token => "this call needs the admin token: Authorization: Bearer …".to_owned(),
            Self::Guessing { .. } => "too many wrong tokens from this address; wait a little".to_owned(),
            Self::Head(fault) => (*fault).to_owned(),
            Self::Store => "the store cannot be read or written just now; nothing was changed".to_owned(),
            Self::Draining => "this potluck is shutting down; ask its successor in a moment".to_owned(),
            Self::Internal => "a fault in potluck; its log has the place".to_owned(),
        }
    }

    /// The member or parameter that is at fault, where it is one.
    pub(super) fn field(&self) -> Option<&str> {
        match self {
            Self::Missing { field } | Self::WrongValue { field, .. } | Self::Text { field, .. } => Some(field),
            Self::Twice { field } => Some(field),
            Self::Unknown { field } => field.as_deref(),
            Self::KeyMalformed(_) | Self::KeyOrId | Self::KeyPresent(_) | Self::KeyManages | Self::KeyRejected => {
                Some("key")
            }
            Self::EntryNotFound | Self::EntrySettled => Some("entry"),
            _ => None,
        }
    }

    fn detail(&self) -> ErrorDetail {
        let id = match self {
            Self::KeyPresent(id) => Some(id.to_string()),
            _ => None,
        };
        let field = self.field().map(str::to_owned);
        ErrorDetail { code: self.code().to_owned(), message: self.message(), field, id }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let answer = ErrorAnswer { success: false, error: self.detail() };
        let mut response = (self.status(), axum::Json(answer)).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Token => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"potluck\""));
            }
            Self::Guessing { retry_after_s } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
            }
            Self::Draining => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<DonateError> for Refused {
    fn from(error: DonateError) -> Self {
        match error {
            DonateError::Malformed(fault) => Self::KeyMalformed(fault),
            DonateError::AlreadyPresent(id) => Self::KeyPresent(id),
            DonateError::ManagementKey => Self::KeyManages,
            DonateError::Rejected => Self::KeyRejected,
            DonateError::Store(error) => {
                tracing::error!(%error, "the store refused a donated key");
                Self::Store
            }
        }
    }
}

impl From<AdminError> for Refused {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound => Self::KeyNotFound,
            AdminError::Store(error) => error.into(),
        }
    }
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NotFound => Self::ClientNotFound,
            ClientError::TooMany => Self::TooManyClients,
            ClientError::TooManySigningKeys => Self::TooManySigningKeys,
            ClientError::NoRandomness => {
                tracing::error!(%error, "a secret could not be made");
                Self::Internal
            }
            ClientError::Store(error) => error.into(),
        }
    }
}

impl From<SettleError> for Refused {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::NotFound => Self::EntryNotFound,
            SettleError::Settled => Self::EntrySettled,
            SettleError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        if let StoreError::TooMuch(max) = error {
            return Self::TooManyLines { max };
        }
        tracing::error!(%error, "the store refused an admin call");
        Self::Store
    }
}
