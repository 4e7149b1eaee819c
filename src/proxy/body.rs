//! Request bodies: read whole, within bounds, before a key is chosen.
//!
//! The whole body is needed to try another key with it. What all requests hold together is bounded by one budget, which
//! is drawn on as bytes arrive: a client that announces 100 MiB and sends nothing holds nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pingora::protocols::http::ServerSession;
use pingora_timeout::timeout;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Tick;

use super::wire;

/// Granularity of the budget in bytes: a semaphore counts in 32 bits.
const PAGE: usize = 4096;
/// How much is set aside at most on the word of a `Content-Length` alone...
const TRUSTED_ALLOCATION: usize = 1024 * 1024;
/// ...or so many times what has come, as growing copies all of that...
const TRUSTED_TIMES: usize = 32;
/// ...but never more that has not come than so much, or as much as has.
const TRUSTED_AHEAD: usize = 16 * 1024 * 1024;

/// Bounds on one body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes of one body.
    pub bytes: usize,
    /// Longest silence between two reads.
    pub silence: Duration,
    /// Slowest acceptable average, in bytes per second, once the first `silence` has passed; 0 accepts any.
    pub bytes_per_second: usize,
}

/// The memory that all request bodies share.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / PAGE).clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Bytes nobody holds.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        self.0.available_permits().saturating_mul(PAGE)
    }

    fn take(&self, pages: usize) -> Option<OwnedSemaphorePermit> {
        let pages = u32::try_from(pages).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(pages).ok()
    }
}

/// A request body in memory, and its share of the budget.
#[derive(Debug, Default)]
pub struct HeldBody {
    /// The bytes as received.
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl HeldBody {
    /// Other bytes of about the same length, on the same share of the budget.
    pub fn replace(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes.into();
    }
}

/// Why a body could not be read.
#[derive(Debug)]
pub enum BodyFault {
    /// Larger than one body may be.
    TooLarge,
    /// All bodies together are too large just now.
    NoRoom,
    /// Too slow.
    Slow,
    /// The client broke off, or the framing is broken.
    Broken,
}

/// Read the whole body of `session`.
///
/// # Errors
/// See [`BodyFault`]; the connection must not be reused after any of them.
pub async fn read(
    session: &mut ServerSession,
    announced: Option<usize>,
    limits: BodyLimits,
    budget: &BodyBudget,
) -> Result<HeldBody, BodyFault> {
    if announced.is_some_and(|length| length > limits.bytes) {
        return Err(BodyFault::TooLarge);
    }
    let started = Tick::now();
    session.set_read_timeout(Some(limits.silence));
    let mut gathered = Gathered::new(announced);
    while !session.is_body_done()
        && let Some(chunk) = next_chunk(session, limits.silence).await?
    {
        gathered.push(chunk, limits.bytes, budget)?;
        if !session.is_body_done() && too_slow(started, gathered.len(), limits) {
            return Err(BodyFault::Slow);
        }
    }
    if !wire::body_is_whole(session) {
        return Err(BodyFault::Broken);
    }
    Ok(gathered.finish())
}

/// The next bytes. Pingora has a deadline of its own for HTTP/1 only.
async fn next_chunk(session: &mut ServerSession, silence: Duration) -> Result<Option<Bytes>, BodyFault> {
    let read = if session.is_http2() {
        timeout(silence, session.read_request_body()).await.map_err(|_| BodyFault::Slow)?
    } else {
        session.read_request_body().await
    };
    read.map_err(|error| read_fault(&error))
}

fn read_fault(error: &pingora::Error) -> BodyFault {
    match error.etype() {
        pingora::ErrorType::ReadTimedout => BodyFault::Slow,
        _ => BodyFault::Broken,
    }
}

fn too_slow(started: Tick, received: usize, limits: BodyLimits) -> bool {
    if limits.bytes_per_second == 0 {
        return false;
    }
    let allowed = limits.silence.as_secs_f64() + received as f64 / limits.bytes_per_second as f64;
    started.elapsed().as_secs_f64() > allowed
}

/// The chunks so far. A body that comes in one read is kept as it is; more are joined in one buffer.
struct Gathered {
    announced: usize,
    first: Bytes,
    joined: BytesMut,
    share: Option<OwnedSemaphorePermit>,
    pages: usize,
}

impl Gathered {
    fn new(announced: Option<usize>) -> Self {
        let announced = announced.unwrap_or(0);
        Self { announced, first: Bytes::new(), joined: BytesMut::new(), share: None, pages: 0 }
    }

    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, chunk: Bytes, max: usize, budget: &BodyBudget) -> Result<(), BodyFault> {
        let length = self.len() + chunk.len();
        if length > max {
            return Err(BodyFault::TooLarge);
        }
        self.draw(length.div_ceil(PAGE), budget)?;
        if self.len() == 0 {
            self.first = chunk;
            return Ok(());
        }
        if self.joined.capacity() < length {
            let most = length.saturating_add(TRUSTED_AHEAD.max(length));
            let trusted = length.saturating_mul(TRUSTED_TIMES).min(most).max(TRUSTED_ALLOCATION);
            let room = self.announced.min(trusted).max(length);
            self.joined.reserve(room - self.joined.len());
        }
        if self.joined.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.joined.extend_from_slice(&first);
        }
        self.joined.extend_from_slice(&chunk);
        Ok(())
    }

    fn draw(&mut self, pages: usize, budget: &BodyBudget) -> Result<(), BodyFault> {
        let more = pages.saturating_sub(self.pages);
        if more == 0 {
            return Ok(());
        }
        let taken = budget.take(more).ok_or(BodyFault::NoRoom)?;
        match &mut self.share {
            Some(share) => share.merge(taken),
            None => self.share = Some(taken),
        }
        self.pages = pages;
        Ok(())
    }

    fn finish(self) -> HeldBody {
        let bytes = if self.joined.is_empty() { self.first } else { self.joined.freeze() };
        HeldBody { bytes, _share: self.share }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(chunks: &[&'static [u8]], max: usize, budget: &BodyBudget) -> Result<HeldBody, BodyFault> {
        let mut gathered = Gathered::new(None);
        for chunk in chunks {
            gathered.push(Bytes::from_static(chunk), max, budget)?;
        }
        Ok(gathered.finish())
    }

    #[test]
    fn chunks_are_joined_and_the_share_returns() {
        let budget = BodyBudget::new(2 * PAGE);
        let body = gather(&[b"ab", b"cd", b"e"], 5, &budget).expect("fits");
        assert_eq!(&body.bytes[..], b"abcde");
        assert_eq!(budget.free(), PAGE);
        drop(body);
        assert_eq!(budget.free(), 2 * PAGE);
    }

    #[test]
    fn an_announced_body_grows_in_few_steps_and_never_far_beyond_what_has_come() {
        static CHUNK: [u8; 64 * 1024] = [7; 64 * 1024];
        // As Pingora reads them: what came with the head, what else came with that, and then as much as there is room for.
        let sizes = || [3_900, 61_440].into_iter().chain(std::iter::repeat(CHUNK.len()));
        for (announced, steps) in [(1 << 20, 1), ((1 << 20) + 60, 1), (100 << 20, 5)] {
            let budget = BodyBudget::new(256 << 20);
            let mut gathered = Gathered::new(Some(announced));
            let mut rooms = std::collections::BTreeSet::new();
            for size in sizes() {
                let chunk = &CHUNK[..size.min(announced - gathered.len())];
                if chunk.is_empty() {
                    break;
                }
                gathered.push(Bytes::from_static(chunk), announced, &budget).expect("fits");
                let room = gathered.joined.capacity();
                let most = (gathered.len() * TRUSTED_TIMES).min(gathered.len() + TRUSTED_AHEAD.max(gathered.len()));
                assert!(room <= most, "{room} for {}", gathered.len());
                rooms.insert(room);
            }
            rooms.remove(&0);
            assert_eq!(rooms.len(), steps, "{announced}: {rooms:?}");
        }
    }

    #[test]
    fn one_chunk_is_kept_without_a_copy() {
        static CHUNK: &[u8] = b"whole";
        let body = gather(&[CHUNK], 5, &BodyBudget::new(PAGE)).expect("fits");
        assert_eq!(body.bytes.as_ptr(), CHUNK.as_ptr());
    }

    #[test]
    fn bounds_hold() {
        let budget = BodyBudget::new(PAGE);
        assert!(matches!(gather(&[b"abc", b"def"], 5, &budget), Err(BodyFault::TooLarge)));
        static PAGES: [u8; 2 * PAGE] = [0; 2 * PAGE];
        assert!(matches!(gather(&[&PAGES], 1 << 20, &budget), Err(BodyFault::NoRoom)));
        assert_eq!(budget.free(), PAGE, "a refused body leaves nothing behind");
    }
}
