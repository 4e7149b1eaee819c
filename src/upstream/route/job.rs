//! Video jobs: their ids, and what can be asked about them.

use std::fmt;

use super::path;
use super::refused::RouteRefusal;

/// Longest id of a job, in bytes.
const JOB_ID_MAX_BYTES: usize = 128;

/// OpenRouter's id of a video job: a plain path segment of at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Box<str>);

impl JobId {
    /// Accept an id as the upstream or a client sent it, or `None` when it could not be asked about.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let fits = text.len() <= JOB_ID_MAX_BYTES && path::segment(text) && text != b"models";
        let text = std::str::from_utf8(text).ok().filter(|_| fits)?;
        Some(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPart {
    /// How it is doing.
    Status,
    /// Its result.
    Content {
        /// Which of several results.
        index: Option<u16>,
    },
}

impl JobPart {
    /// Path and query of the question at the upstream.
    pub fn target(self, job: &JobId) -> String {
        match self {
            Self::Status => format!("/api/v1/videos/{job}"),
            Self::Content { index: None } => format!("/api/v1/videos/{job}/content"),
            Self::Content { index: Some(index) } => format!("/api/v1/videos/{job}/content?index={index}"),
        }
    }
}

/// What the part of a path behind `videos/` asks about which job; `None` when it is no such question.
pub(super) fn poll(rest: &str, query: &[u8]) -> Option<Result<(JobId, JobPart), RouteRefusal>> {
    match rest.split_once('/') {
        None => Some(Ok((JobId::parse(rest.as_bytes())?, JobPart::Status))),
        Some((job, "content")) => {
            let job = JobId::parse(job.as_bytes())?;
            Some(content_index(query).map(|index| (job, JobPart::Content { index })))
        }
        Some(_) => None,
    }
}

fn content_index(query: &[u8]) -> Result<Option<u16>, RouteRefusal> {
    let mut given = query.split(|b| *b == b'&').filter_map(|pair| pair.strip_prefix(b"index="));
    let Some(first) = given.next() else { return Ok(None) };
    let digits = std::str::from_utf8(first).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let index = digits.and_then(|text| text.parse().ok()).filter(|_| given.next().is_none());
    index.map(Some).ok_or(RouteRefusal::Query("index"))
}
