//! What OpenRouter is: its routes, its headers, its errors and its usage figures. Pure: no clock, no I/O, no lock.

pub mod account;
mod blame;
mod endpoint;
mod envelope;
mod headers;
mod models;
mod refusal;
mod request;
mod route;
mod scrub;
mod sse;
mod usage;

pub use blame::{Answer, Next, Reason, Verdict, is_openrouters, judge, judge_inside};
pub use endpoint::{Dialect, Endpoint};
pub use headers::{CORS, PREFLIGHT, client_response_header, upstream_request_headers};
pub use models::{Listing, MODELS_TARGET, NoModels, parse_models, parse_providers, providers_target};
pub use refusal::{RateLimit, Refusal, RenderedRefusal, render};
pub use request::{
    BadRequest, BodyFault, FIELD_MAX_BYTES, RequestFacts, Spending, clamp_max_tokens, read_request,
    read_request_and_spending,
};
pub(crate) use request::{Facts, Files, Members, Search, list, members, string};
pub use route::{
    AiCall, Blocked, JobId, JobPart, OwnAnswer, PublicList, PublicTarget, Route, RouteRefusal, TARGETS, route,
};
pub use scrub::{Inside, Opening, scrub, scrub_inside};
pub(crate) use sse::{EventStream, Piece};
pub use usage::{BodyShape, ErrorCode, InsideError, MESSAGE_MAX_BYTES, Reading, UsageReader};
