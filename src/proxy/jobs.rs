//! Video jobs: they belong to the account that started them, so every later call is pinned to that key.

use std::borrow::Cow;

use bytes::Bytes;
use http::Method;
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::Tick;
use crate::money::{GenerationId, Outcome};
use crate::pot::Attempt;
use crate::store::Job;
use crate::upstream::{BodyShape, Dialect, Endpoint, Inside, JobId, JobPart, Refusal, UsageReader, scrub_inside};

use super::Proxy;
use super::answer::{Served, Whole, give_refusal};
use super::exchange::Inference;
use super::forward::{self, Accepted, Outgoing, Tried};
use super::hangup::Caller;
use super::relay;
use super::request::Request;

/// A job's description is a few hundred bytes; more is not one.
const DESCRIPTION_MAX_BYTES: usize = 1 << 20;

/// What matters in the description of a job.
#[derive(Debug, Deserialize)]
struct Description<'a> {
    id: String,
    #[serde(borrow, default)]
    polling_url: Option<&'a RawValue>,
    #[serde(default)]
    generation_id: Option<String>,
    #[serde(borrow, default)]
    unsigned_urls: Option<&'a RawValue>,
}

impl Inference<'_> {
    /// A job was accepted: remember whose it is, then hand out its description with our own polling address.
    pub(super) async fn submitted(
        &mut self,
        session: &mut ServerSession,
        accepted: Accepted,
        mut attempt: Box<Attempt>,
    ) -> Served {
        let status = accepted.head().status.as_u16();
        // The description of a job that has just begun tells no cost, whatever it says.
        attempt.accepted(UsageReader::new(Endpoint::Videos, BodyShape::Opaque));
        let Some(body) = read_description(self.proxy, accepted).await else {
            self.request.cost(attempt.close(Outcome::Broken));
            return self.refuse(session, &Refusal::UpstreamBroken).await;
        };
        let description = serde_json::from_slice::<Description<'_>>(&body).ok();
        let job = description.as_ref().and_then(|d| JobId::parse(d.id.as_bytes()));
        let (Some(description), Some(job)) = (description, job) else {
            self.request.cost(attempt.close(Outcome::Broken));
            return self.refuse(session, &Refusal::UpstreamBroken).await;
        };
        if let Some(generation) = description.generation_id.as_deref().and_then(|id| GenerationId::parse(id.as_bytes()))
        {
            attempt.names(generation);
        }
        let (key, number) = (attempt.chosen().key, attempt.number());
        // The job's cost is known when it is done: until then the attempt is in suspense.
        self.request.cost(attempt.close(Outcome::Answered));
        let record = Job {
            id: job.as_str().into(),
            key,
            client: self.call.seat.as_ref().map(|seat| seat.spender().client),
            request: self.call.request,
            attempt: number,
            at: self.proxy.pot.clock().now(),
        };
        if let Err(error) = self.proxy.pot.store().add_job(record).await {
            tracing::error!(%error, "a video job could not be recorded: its owner cannot be asked for it");
            return self.refuse(session, &Refusal::LedgerFull).await;
        }
        let body = cleaned(description.leading_here(&body, &here(session), &job));
        Whole::json(status, body).give(session, self.request).await
    }
}

impl Proxy {
    /// Ask after a job, or fetch its result, with the key that started it.
    pub(super) async fn poll_job(
        &self,
        session: &mut ServerSession,
        Caller { guest, hangup }: &mut Caller<'_>,
        job: &JobId,
        part: JobPart,
        request: Request,
    ) -> Served {
        let arrived = Tick::now();
        let _seat = match self.pot.take_seat(guest).await {
            Ok(seat) => seat,
            Err(denied) => return give_refusal(session, &self.denial(denied), Dialect::Chat, request).await,
        };
        let known = match self.pot.store().job(job.as_str()).await {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, "a video job cannot be looked up");
                return give_refusal(session, &Refusal::Internal, Dialect::Chat, request).await;
            }
        };
        let Some((record, chosen)) = known.filter(|record| guest.owns(record.client)).and_then(|record| {
            let chosen = self.pot.pinned(record.key)?;
            Some((record, chosen))
        }) else {
            return give_refusal(session, &Refusal::JobNotFound, Dialect::Chat, request).await;
        };
        let target = part.target(job);
        let bearer = chosen.credential.bearer();
        let outgoing = Outgoing { method: Method::GET, target: &target, bearer, body: None, arrived };
        match forward::attempt(self, session, &mut (), outgoing, hangup).await {
            Tried::Accepted(accepted) if part == JobPart::Status => {
                self.job_status(session, accepted, job, &record, request).await
            }
            Tried::Accepted(accepted) => relay::unbooked(self, session, accepted, hangup, request, arrived).await,
            // The key's own trouble (401, 402, 403) is not the client's to see, and no other key knows the job.
            Tried::Refused(answer) if matches!(answer.status, 401..=403 | 429) => {
                give_refusal(session, &Refusal::JobKeyUnwell, Dialect::Chat, request).await
            }
            Tried::Refused(answer) => answer.give(session, Dialect::Chat, request).await,
            Tried::Failed(failure) => give_refusal(session, &failure.refusal(), Dialect::Chat, request).await,
            Tried::Gone(_) => Served::GONE,
        }
    }

    async fn job_status(
        &self,
        session: &mut ServerSession,
        accepted: Accepted,
        job: &JobId,
        record: &Job,
        request: Request,
    ) -> Served {
        let status = accepted.head().status.as_u16();
        let Some(body) = read_description(self, accepted).await else {
            return give_refusal(session, &Refusal::UpstreamBroken, Dialect::Chat, request).await;
        };
        if is_over(&body) {
            self.pot.settle_job(record, &body).await;
        }
        let description = serde_json::from_slice::<Description<'_>>(&body);
        let body = description.map_or_else(|_| body.clone(), |d| d.leading_here(&body, &here(session), job));
        Whole::json(status, cleaned(body)).give(session, request).await
    }
}

/// A description without what is the donor's, should it tell of an error.
fn cleaned(description: Bytes) -> Bytes {
    match scrub_inside(&description) {
        Inside::Cleaned(bytes) => bytes.into(),
        Inside::Clean | Inside::Other => description,
    }
}

/// Whether a description is of a job that goes on no more: what it says of its cost before is not its cost.
fn is_over(description: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Progress<'a> {
        #[serde(borrow, default)]
        status: Cow<'a, str>,
    }
    let progress = serde_json::from_slice::<Progress<'_>>(description);
    progress.is_ok_and(|p| matches!(&*p.status, "completed" | "failed" | "cancelled" | "canceled" | "expired"))
}

async fn read_description(proxy: &Proxy, accepted: Accepted) -> Option<Bytes> {
    let mut upstream = accepted.into_session();
    let mut body = Vec::new();
    while let Some(chunk) = upstream.http.read_response_body().await.ok()? {
        if body.len() + chunk.len() > DESCRIPTION_MAX_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    proxy.pot.origin().release(upstream).await;
    Some(body.into())
}

/// Where the client found us, as `scheme://host`. The scheme is what a proxy in front of us says, else plain HTTP; empty
/// when the client did not say, which makes addresses relative ones.
fn here(session: &ServerSession) -> String {
    let header = |name| session.get_header(name).and_then(|v| v.to_str().ok());
    let scheme = header("x-forwarded-proto").filter(|s| *s == "https").unwrap_or("http");
    header("host").map_or_else(String::new, |host| format!("{scheme}://{host}"))
}

impl Description<'_> {
    /// The description with its addresses at the upstream replaced by ours, every other byte as it was: there the client
    /// has no key. Relative ones lead here by themselves, and signed ones of other hosts need no key.
    fn leading_here(&self, body: &Bytes, here: &str, job: &JobId) -> Bytes {
        let path = JobPart::Status.target(job);
        let contents = self.unsigned_urls.and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
        let polling = self.polling_url.filter(|url| is_absolute(url)).map(|url| (url, format!("{here}{path}")));
        let contents = contents.into_iter().flatten().filter_map(|url| {
            let text = serde_json::from_str::<String>(url.get()).ok().filter(|_| is_absolute(url))?;
            let (_, part) = text.split_once(&format!("{path}/content"))?;
            Some((url, format!("{here}{path}/content{part}")))
        });
        let mut edits: Vec<_> = polling.into_iter().chain(contents).collect();
        edits.sort_by_key(|(theirs, _)| theirs.get().as_ptr());
        rewrite(body, &edits)
    }
}

fn is_absolute(url: &RawValue) -> bool {
    url.get().starts_with("\"https://") || url.get().starts_with("\"http://")
}

/// `body` with these values of it, in their order, replaced by texts.
fn rewrite(body: &Bytes, edits: &[(&RawValue, String)]) -> Bytes {
    if edits.is_empty() {
        return body.clone();
    }
    let mut out = Vec::with_capacity(body.len());
    let mut done = 0;
    for (theirs, ours) in edits {
        let start = theirs.get().as_ptr() as usize - body.as_ptr() as usize;
        out.extend_from_slice(body.get(done..start).unwrap_or_default());
        out.extend_from_slice(serde_json::Value::from(&**ours).to_string().as_bytes());
        done = start + theirs.get().len();
    }
    out.extend_from_slice(body.get(done..).unwrap_or_default());
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_at_the_upstream_change() {
        let check = |theirs: &'static str, expected: &str| {
            let body = Bytes::from_static(theirs.as_bytes());
            let description: Description<'_> = serde_json::from_slice(&body).expect("valid");
            let job = JobId::parse(b"job-1").expect("an id");
            let ours = description.leading_here(&body, "http://h", &job);
            assert_eq!(std::str::from_utf8(&ours), Ok(expected));
        };
        check(
            r#"{"id":"job-1", "polling_url" : "https://openrouter.ai/api/v1/videos/job-1","cost":1e-7 }"#,
            r#"{"id":"job-1", "polling_url" : "http://h/api/v1/videos/job-1","cost":1e-7 }"#,
        );
        check(
            r#"{"unsigned_urls":[ "https://openrouter.ai/api/v1/videos/job-1/content?index=0" ,"https:\/\/cdn.example/x",7,
                "/api/v1/videos/job-1/content"],"id":"job-1","polling_url":"https://openrouter.ai/elsewhere"}"#,
            r#"{"unsigned_urls":[ "http://h/api/v1/videos/job-1/content?index=0" ,"https:\/\/cdn.example/x",7,
                "/api/v1/videos/job-1/content"],"id":"job-1","polling_url":"http://h/api/v1/videos/job-1"}"#,
        );
        for untouched in [
            r#"{"id":"job-1"}"#,
            r#"{"id":"job-1","polling_url":"/api/v1/videos/job-1","unsigned_urls":null}"#,
            r#"{"id":"job-1","polling_url":7,"unsigned_urls":"https://openrouter.ai/api/v1/videos/job-1/content"}"#,
            r#"{"id":"job-1","urls":["https://cdn.example/api/v1/videos/job-1/content"]}"#,
            r#"{"id":"job-1","unsigned_urls":["https://openrouter.ai/api/v1/videos/job-2/content"]}"#,
        ] {
            check(untouched, untouched);
        }
    }
}
